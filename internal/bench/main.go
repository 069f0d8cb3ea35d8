// Command bench measures what protection costs: each figure is a ratio against
// the same work without it, taken in one run on one machine, or a size.
//
// It prints a table and writes bench.json, rows of name, value, unit and
// target. Rounds of both sides alternate and the median counts, so that a
// machine whose speed drifts gives the same ratio. docs/performance.md says
// what the figures mean.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"strongroom/internal/app"
)

// connections is how many callers work at once.
const connections = 16

// row is one figure.
type row struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target"`
}

// met says whether a figure keeps its target; one without a target does.
func (r row) met() bool {
	switch {
	case strings.HasPrefix(r.Target, ">="):
		want, err := strconv.ParseFloat(r.Target[2:], 64)
		return err == nil && r.Value >= want
	case strings.HasPrefix(r.Target, "<="):
		want, err := strconv.ParseFloat(r.Target[2:], 64)
		return err == nil && r.Value <= want
	}
	return r.Target == ""
}

type bench struct {
	rows   []row
	rounds int
	each   time.Duration
}

func (b *bench) add(name string, value float64, unit, target string) {
	r := row{name, value, unit, target}
	b.rows = append(b.rows, r)
	mark := ""
	if !r.met() {
		mark = "  MISSED"
	}
	fmt.Fprintf(os.Stderr, "%-44s %10.3f %-8s %s%s\n", name, value, unit, target, mark)
}

func main() {
	out := flag.String("out", "", "file for the rows, as JSON")
	long := flag.Bool("long", false, "also measure with 1,000 organizations")
	rounds := flag.Int("rounds", 5, "rounds of each pair")
	each := flag.Duration("each", 1500*time.Millisecond, "length of one side of a round")
	only := flag.String("only", "", "run only the parts whose name holds this")
	profile := flag.String("cpuprofile", "", "file for a profile of this process")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app.Tune() // as the server process does
	b := &bench{rounds: *rounds, each: *each}
	if err := run(ctx, b, *long, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "name\tvalue\tunit\ttarget\t")
	missed := 0
	for _, r := range b.rows {
		state := ""
		if !r.met() {
			state, missed = "missed", missed+1
		}
		fmt.Fprintf(w, "%s\t%.3f\t%s\t%s\t%s\n", r.Name, r.Value, r.Unit, r.Target, state)
	}
	_ = w.Flush()
	if *out != "" {
		j, err := json.MarshalIndent(b.rows, "", "  ")
		if err == nil {
			err = os.WriteFile(*out, append(j, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	if missed > 0 {
		fmt.Printf("%d targets missed\n", missed)
	}
}

func run(ctx context.Context, b *bench, long bool, only string) error {
	w, err := open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	for _, part := range []struct {
		name string
		long bool
		f    func(context.Context, *bench) error
	}{
		{"door", false, w.door}, {"organizations", false, w.organizations}, {"http", false, w.http}, {"pages", false, w.pages}, {"lists", false, w.lists}, {"files", false, w.files}, {"memory", false, w.memory}, {"many", true, w.many},
	} {
		if part.long && !long || !strings.Contains(part.name, only) {
			continue
		}
		if err := part.f(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// rate runs f from all connections for a while and returns calls a second.
func rate(d time.Duration, f func(worker int) error) (float64, error) {
	var done atomic.Int64
	var first atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for i := range connections {
		wg.Go(func() {
			for time.Now().Before(end) {
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}

// pair measures ours against theirs in alternating rounds and returns the
// median of the ratios and of our own rate.
func (b *bench) pair(ours, theirs func(int) error) (ratio, own float64, err error) {
	var ratios, rates []float64
	for range b.rounds + 1 {
		t, err := rate(b.each, theirs)
		if err != nil {
			return 0, 0, err
		}
		o, err := rate(b.each, ours)
		if err != nil {
			return 0, 0, err
		}
		ratios, rates = append(ratios, o/t), append(rates, o)
	}
	// The first round warms both up.
	return median(ratios[1:]), median(rates[1:]), nil
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
