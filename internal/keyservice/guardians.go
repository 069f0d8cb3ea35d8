package keyservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/keyfile"
)

// guardianTime bounds a call to a guardian.
const guardianTime = 5 * time.Second

// ward is a guardian as the key service sees it.
type ward struct {
	name   string // "a", "b", in the order of the options
	client *guardian.Client
	gate   disk.Gate
	last   atomic.Pointer[sight]
}

// sight is what a guardian last said.
type sight struct {
	guardian.Fetched
	count guardian.Count
	err   error
	at    time.Time
}

func (s sight) epoch() uint64 {
	if s.Current == nil {
		return 0
	}
	return s.Current.Epoch
}

// call makes one call. The gate stands before it and after it: a service may
// die before a guardian acts, or after it acted and before the answer came.
func (w *ward) call(ctx context.Context, op string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, guardianTime)
	defer cancel()
	if w.gate != nil {
		if err := w.gate("call", op); err != nil {
			return err
		}
	}
	err := fn(ctx)
	if w.gate != nil {
		if err := w.gate("answer", op); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("guardian %s: %s: %w", w.name, op, err)
	}
	return nil
}

func (w *ward) look(ctx context.Context) *sight {
	s := &sight{at: time.Now()}
	s.err = w.call(ctx, "fetch", func(ctx context.Context) (err error) { s.Fetched, err = w.client.Fetch(ctx); return })
	if s.err == nil {
		s.err = w.call(ctx, "counter", func(ctx context.Context) (err error) { s.count, err = w.client.Counter(ctx); return })
	}
	if s.err == nil && (s.Current == nil) != (s.EMK == nil) {
		s.err = fmt.Errorf("guardian %s: fetch: the answer names an epoch without its key", w.name)
	}
	w.last.Store(s)
	return s
}

// wards are all guardians.
type wards []*ward

// each calls fn for every guardian at the same time and waits for all.
func (ws wards) each(fn func(*ward) error) error {
	errs := make([]error, len(ws))
	var wg sync.WaitGroup
	for i, w := range ws {
		wg.Go(func() { errs[i] = fn(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (ws wards) look(ctx context.Context) map[*ward]*sight {
	var mu sync.Mutex
	seen := map[*ward]*sight{}
	_ = ws.each(func(w *ward) error {
		s := w.look(ctx)
		mu.Lock()
		defer mu.Unlock()
		seen[w] = s
		return nil
	})
	return seen
}

// prepare has every guardian hold the key of next. The caller publishes only
// after all of them do.
func (ws wards) prepare(ctx context.Context, seen map[*ward]*sight, next guardian.Epoch, emk keyfile.Key) error {
	return ws.each(func(w *ward) error {
		r := guardian.PrepareRequest{Expect: seen[w].epoch(), Next: next, EMK: guardian.Key(emk)}
		if p := seen[w].Prepared; p != nil && *p != next {
			r.Replaces = &p.Root
		}
		return w.call(ctx, "prepare", func(ctx context.Context) error { return w.client.Prepare(ctx, r) })
	})
}

func (ws wards) commit(ctx context.Context, e guardian.Epoch) error {
	return ws.each(func(w *ward) error {
		return w.call(ctx, "commit", func(ctx context.Context) error {
			return w.client.Commit(ctx, guardian.CommitRequest{Epoch: e.Epoch, Root: e.Root})
		})
	})
}

func (ws wards) advance(ctx context.Context, from, to guardian.Count) error {
	return ws.each(func(w *ward) error { return w.advance(ctx, from, to) })
}

func (w *ward) advance(ctx context.Context, from, to guardian.Count) error {
	return w.call(ctx, "advance", func(ctx context.Context) error {
		return w.client.Advance(ctx, guardian.Advance{Expect: from, To: to})
	})
}

// destroy has every guardian forget epoch, and returns their words.
func (ws wards) destroy(ctx context.Context, epoch uint64) ([]guardian.Attestation, error) {
	said := make([]guardian.Attestation, len(ws))
	err := ws.each(func(w *ward) error {
		return w.call(ctx, "destroy", func(ctx context.Context) error {
			a, err := w.client.Destroy(ctx, epoch)
			for i := range ws {
				if ws[i] == w {
					said[i] = a
				}
			}
			return err
		})
	})
	return said, err
}

// align brings one guardian to the epoch lead: it commits what it prepared,
// is enrolled when it is empty, and destroys what is past. A guardian in any
// other epoch was rolled back; it still holds a key that was destroyed
// elsewhere, so it is named and not used.
func (w *ward) align(ctx context.Context, seen *sight, lead *sight) error {
	cur := *lead.Current
	switch {
	case seen.Current != nil && *seen.Current == cur:
	case seen.Prepared != nil && *seen.Prepared == cur:
		if err := w.commit(ctx, cur); err != nil {
			return err
		}
	case seen.Current == nil:
		r := guardian.PrepareRequest{Next: cur, EMK: *lead.EMK}
		if seen.Prepared != nil {
			r.Replaces = &seen.Prepared.Root
		}
		if err := w.call(ctx, "prepare", func(ctx context.Context) error { return w.client.Prepare(ctx, r) }); err != nil {
			return err
		}
		if err := w.commit(ctx, cur); err != nil {
			return err
		}
	default:
		return fmt.Errorf("guardian %s is in epoch %d and the store in epoch %d: it was rolled back and is not used. "+
			"Move its directory away and start it empty; it is then enrolled anew", w.name, seen.epoch(), cur.Epoch)
	}
	past := seen.Undestroyed
	if seen.epoch() != 0 && seen.epoch() < cur.Epoch {
		past = append(past[:len(past):len(past)], seen.epoch())
	}
	for _, e := range past {
		if err := w.call(ctx, "destroy", func(ctx context.Context) error { _, err := w.client.Destroy(ctx, e); return err }); err != nil {
			return err
		}
	}
	return nil
}

func (w *ward) commit(ctx context.Context, e guardian.Epoch) error {
	return w.call(ctx, "commit", func(ctx context.Context) error {
		return w.client.Commit(ctx, guardian.CommitRequest{Epoch: e.Epoch, Root: e.Root})
	})
}
