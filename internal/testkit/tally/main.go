// Command tally reads the events of `go test -json` and tells people what
// happened: a line for each package, the output of what failed, and at the very
// end the counts, as in
//
//	412 passed, 0 failed, 3 skipped
//
// Subtests count. A package that fails without a failing test (it does not
// build, it panics outside of a test, it runs out of time) counts as one
// failure. The exit code is 1 when anything failed or nothing ran.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	code, err := tally(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		code = 1
	}
	os.Exit(code)
}

// event is what cmd/test2json and go build write.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

type counts struct{ passed, failed, skipped int }

type pkg struct {
	counts
	output map[string]*strings.Builder // by test; "" is the package's own
	failed []string                    // names of tests, as they ended
}

// maxLine bounds one event: the output of a test is split into lines.
const maxLine = 16 << 20

func tally(in io.Reader, out io.Writer) (code int, err error) {
	w := bufio.NewWriter(out)
	defer func() {
		if ferr := w.Flush(); err == nil {
			err = ferr
		}
	}()
	packages := map[string]*pkg{}
	builds := map[string]*strings.Builder{}
	var sum counts
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintf(w, "%s\n", lines.Bytes()) // of the go command itself
			continue
		}
		if e.Action == "build-output" || e.Action == "build-fail" {
			if builds[e.ImportPath] == nil {
				builds[e.ImportPath] = &strings.Builder{}
			}
			builds[e.ImportPath].WriteString(e.Output)
			continue
		}
		p := packages[e.Package]
		if p == nil {
			p = &pkg{output: map[string]*strings.Builder{}}
			packages[e.Package] = p
		}
		if e.Test == "" {
			if p.ended(w, e, builds) {
				sum.passed += p.passed
				sum.failed += p.counts.failed
				sum.skipped += p.skipped
				delete(packages, e.Package)
				if err := w.Flush(); err != nil {
					return 1, err
				}
			}
			continue
		}
		p.test(e)
	}
	if err := lines.Err(); err != nil {
		return 1, err
	}
	// The stream was cut: what had not ended has failed.
	for _, name := range sortedKeys(packages) {
		p := packages[name]
		p.ended(w, event{Action: "fail", Package: name, FailedBuild: ""}, builds)
		sum.passed += p.passed
		sum.failed += p.counts.failed
		sum.skipped += p.skipped
	}
	fmt.Fprintf(w, "%d passed, %d failed", sum.passed, sum.failed)
	if sum.skipped > 0 {
		fmt.Fprintf(w, ", %d skipped", sum.skipped)
	}
	fmt.Fprintln(w)
	if sum.failed > 0 || sum.passed == 0 {
		return 1, nil
	}
	return 0, nil
}

// test takes in an event of one test.
func (p *pkg) test(e event) {
	switch e.Action {
	case "output":
		p.say(e.Test, e.Output)
	case "pass":
		p.passed++
		delete(p.output, e.Test)
	case "skip":
		p.skipped++
		delete(p.output, e.Test)
	case "fail":
		p.counts.failed++
		p.failed = append(p.failed, e.Test)
	}
}

// ended takes in an event of the package itself, and reports whether it was
// the last one.
func (p *pkg) ended(w io.Writer, e event, builds map[string]*strings.Builder) bool {
	took := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	switch e.Action {
	case "output":
		p.say("", e.Output)
		return false
	case "pass":
		fmt.Fprintf(w, "ok    %s  %d tests, %v\n", e.Package, p.passed, took)
		return true
	case "skip": // it has no test files
		return true
	case "fail":
	default:
		return false
	}
	if p.counts.failed == 0 {
		p.counts.failed = 1
	}
	fmt.Fprintf(w, "FAIL  %s  %d passed, %d failed, %v\n", e.Package, p.passed, p.counts.failed, took)
	if b := builds[e.FailedBuild]; e.FailedBuild != "" && b != nil {
		fmt.Fprint(w, indent(b.String()))
	}
	// What had not ended when the package did is where it panicked or hung.
	for _, name := range append(p.failed, without(sortedKeys(p.output), p.failed)...) {
		if b := p.output[name]; b != nil && (name != "" || len(p.failed) == 0) {
			fmt.Fprint(w, indent(b.String()))
		}
	}
	return true
}

// maxOutput bounds what is kept of one test's output: its beginning.
const maxOutput = 1 << 20

func (p *pkg) say(test, text string) {
	b := p.output[test]
	if b == nil {
		b = &strings.Builder{}
		p.output[test] = b
	}
	if b.Len() < maxOutput {
		b.WriteString(text)
	}
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("      " + line)
	}
	return b.String()
}

func without(all, gone []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(gone, s) })
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
