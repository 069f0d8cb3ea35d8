package unit

import (
	"errors"
	"testing"

	"strongroom/internal/store/internal/pg"
)

func TestAVolleyThatDoesNotReturnSettlesNothingForThoseInIt(t *testing.T) {
	own, other := &shot{done: make(chan error, 1)}, &shot{done: make(chan error, 1)}
	l := &lane{flying: 1, waiting: []*shot{other}}
	g := &Gathering{lanes: map[laneKey]*lane{{}: l}}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a volley without a host returned")
			}
		}()
		_ = g.lead(t.Context(), &Work{}, laneKey{}, l, own)
	}()
	// "Nothing took place" would have the other one repeat what may be
	// committed.
	if err := <-other.done; !errors.Is(err, pg.ErrUnknown) {
		t.Errorf("the other one is told %v", err)
	}
	if len(g.lanes) != 0 {
		t.Error("the lane stays taken")
	}
}
