package show

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// patience is how long something may take before it shows its progress.
const patience = time.Second

// Progress shows how far things are. Without a terminal it shows nothing.
type Progress struct{ w io.Writer }

// NewProgress returns a Progress on w, or a silent one if w is nil.
func NewProgress(w io.Writer) *Progress { return &Progress{w} }

// Task is one thing under way. Its methods are safe for concurrent use.
type Task struct {
	done atomic.Int64
	stop chan struct{}
	over chan struct{}
}

// Start begins a task of total bytes; 0 or less: nobody knows. The caller ends
// it with End before it prints anything else.
func (p *Progress) Start(label string, total int64) *Task {
	t := &Task{stop: make(chan struct{}), over: make(chan struct{})}
	if p == nil || p.w == nil {
		close(t.over)
		return t
	}
	go t.draw(p.w, Short(label, 40), total)
	return t
}

func (t *Task) draw(w io.Writer, label string, total int64) {
	defer close(t.over)
	begun := time.Now()
	select {
	case <-t.stop:
		return
	case <-time.After(patience):
	}
	screen := mpb.New(mpb.WithOutput(w), mpb.WithWidth(32), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())
	name := mpb.PrependDecorators(decor.Name(label+" "), decor.Any(func(s decor.Statistics) string {
		if s.Total > 0 {
			return Size(s.Current) + " of " + Size(s.Total) + " "
		} else if s.Current > 0 {
			return Size(s.Current) + " "
		}
		return ""
	}))
	var bar *mpb.Bar
	if total > 0 {
		bar = screen.New(total, mpb.BarStyle(), name, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(
			decor.Percentage(), decor.Any(func(s decor.Statistics) string {
				passed := time.Since(begun)
				if s.Current <= 0 || s.Total <= s.Current {
					return ""
				}
				left := time.Duration(float64(passed) / float64(s.Current) * float64(s.Total-s.Current))
				return " " + left.Round(time.Second).String() + " left"
			})))
	} else {
		bar = screen.New(0, mpb.SpinnerStyle(), name, mpb.BarRemoveOnComplete(), mpb.AppendDecorators(
			decor.Any(func(decor.Statistics) string { return time.Since(begun).Round(time.Second).String() })))
	}
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// Full is for End alone: a full bar could not be shown again.
			if n := t.done.Load(); total <= 0 || n < total {
				bar.SetCurrent(n)
			}
		case <-t.stop:
			bar.Abort(true)
			screen.Wait()
			return
		}
	}
}

// Set says how many bytes are done.
func (t *Task) Set(n int64) { t.done.Store(n) }

// Add says that n more bytes are done.
func (t *Task) Add(n int64) { t.done.Add(n) }

// End takes the task off the screen. It may be called once only.
func (t *Task) End() {
	close(t.stop)
	<-t.over
}

// Reader counts what is read from r.
func (t *Task) Reader(r io.Reader) io.Reader { return &counting{r, t} }

type counting struct {
	r io.Reader
	t *Task
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.t.done.Add(int64(n))
	return n, err
}
