// Package trust proves the promises on the running system.
//
// Every promise of the list is in the catalog, with its clauses. A clause is
// kept when the feature that offers it has just exercised the real mechanism,
// broken when that failed, and not_yet when nothing checks it. A promise is
// kept only when all of its clauses are: this package has no way to say more
// than was shown. To prove something new, name the clause in the catalog and
// offer its check in the feature's Promises.
package trust

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
)

// State says how a promise or a clause stands.
type State string

// The states.
const (
	Kept   State = "kept"
	Broken State = "broken"
	NotYet State = "not_yet"
)

// Proof is how one promise stands. Its JSON is the row of `strongroom prove`.
type Proof struct {
	ID      string   `json:"id"`
	State   State    `json:"state"`
	Clauses []Clause `json:"clauses"`
	Text    string   `json:"-"`
}

// Clause is how one clause stands, and what was seen.
type Clause struct {
	Name      string `json:"name"`
	State     State  `json:"state"`
	Evidence  string `json:"evidence"`
	CheckedAt string `json:"checked_at"`
	at        time.Time
}

// checkTime bounds one check.
const checkTime = 10 * time.Second

// Prover runs the checks.
type Prover struct {
	checks map[string]map[string]feature.Clause
	env    func(context.Context) (feature.Env, error)
	now    func() time.Time
	mu     sync.Mutex // one run at a time: checks share the canary organizations
}

// New collects the checks that features offer. A check for a clause that the
// catalog does not name is a mistake in the source and refused.
func New(features []feature.Feature, env func(context.Context) (feature.Env, error)) (*Prover, error) {
	p := &Prover{checks: map[string]map[string]feature.Clause{}, env: env, now: time.Now}
	for _, f := range features {
		for _, pr := range f.Promises {
			at := slices.IndexFunc(catalog, func(c promise) bool { return c.id == pr.ID })
			if at < 0 {
				return nil, fmt.Errorf("trust: %s offers a check for %s, which is no promise", f.Name, pr.ID)
			}
			if p.checks[pr.ID] == nil {
				p.checks[pr.ID] = map[string]feature.Clause{}
			}
			for _, c := range pr.Clauses {
				if !slices.Contains(catalog[at].clauses, c.Name) {
					return nil, fmt.Errorf("trust: %s offers a check for %s/%s, which the catalog does not name", f.Name, pr.ID, c.Name)
				}
				if _, twice := p.checks[pr.ID][c.Name]; twice {
					return nil, fmt.Errorf("trust: %s/%s has two checks", pr.ID, c.Name)
				}
				p.checks[pr.ID][c.Name] = c
			}
		}
	}
	return p, nil
}

// Select resolves what a person asked for: a promise (ENC-1), a clause
// (ENC-1/records), a group (ENC), or nothing for all.
func Select(ids []string) (func(id, clause string) bool, error) {
	if len(ids) == 0 {
		return func(string, string) bool { return true }, nil
	}
	for _, want := range ids {
		id, clause, one := strings.Cut(want, "/")
		known := slices.ContainsFunc(catalog, func(c promise) bool {
			return (c.id == id || !one && strings.HasPrefix(c.id, id+"-")) && (!one || slices.Contains(c.clauses, clause))
		})
		if !known {
			return nil, fault.At(fault.NotFound, "ids", "unknown_promise", "one of the ids names no promise, clause or group; without ids all are listed")
		}
	}
	return func(id, clause string) bool {
		return slices.ContainsFunc(ids, func(want string) bool {
			wantID, wantClause, one := strings.Cut(want, "/")
			return (wantID == id || !one && strings.HasPrefix(id, wantID+"-")) && (!one || wantClause == clause)
		})
	}, nil
}

// Prove runs the selected checks now and returns a proof for every selected
// promise, in the order of the list.
func (p *Prover) Prove(ctx context.Context, ids []string) ([]Proof, error) {
	wanted, err := Select(ids)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	env, err := p.env(ctx)
	if err != nil {
		// Without canaries nothing can be exercised, so nothing is shown.
		err = fmt.Errorf("the canary organizations are not to be had: %w", err)
	}
	var out []Proof
	for _, pr := range catalog {
		proof := Proof{ID: pr.id, Text: pr.text, State: Kept}
		for _, name := range pr.clauses {
			if !wanted(pr.id, name) {
				continue
			}
			proof.Clauses = append(proof.Clauses, p.check(ctx, pr.id, name, env, err))
		}
		if len(proof.Clauses) == 0 {
			continue
		}
		proof.State = stateOf(proof.Clauses)
		out = append(out, proof)
	}
	return out, nil
}

// stateOf is the rule for a promise: one broken clause breaks it, one that is
// not built keeps it from being kept.
func stateOf(clauses []Clause) State {
	state := Kept
	for _, c := range clauses {
		switch {
		case c.State == Broken:
			return Broken
		case c.State != Kept:
			state = NotYet
		}
	}
	if len(clauses) == 0 {
		return NotYet
	}
	return state
}

func (p *Prover) check(ctx context.Context, id, name string, env feature.Env, noEnv error) Clause {
	now := p.now().UTC().Truncate(time.Microsecond)
	out := Clause{Name: name, CheckedAt: now.Format(time.RFC3339), at: now}
	c, ok := p.checks[id][name]
	if !ok {
		out.State, out.Evidence = NotYet, "not built"
		return out
	}
	if noEnv != nil && c.Tag != feature.Passive {
		out.State, out.Evidence = Broken, public(noEnv)
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	evidence, err := within(ctx, c, env)
	switch {
	case err != nil:
		out.State, out.Evidence = Broken, public(err)
	case strings.TrimSpace(evidence) == "":
		// A check that cannot say what it saw has shown nothing.
		out.State, out.Evidence = Broken, "the check gave no evidence"
	default:
		out.State, out.Evidence = Kept, evidence
	}
	return out
}

// grace is how long a check whose time is up may take to clear up after
// itself.
const grace = 5 * time.Second

// within runs a check and does not wait for one that never ends: the others
// are to be heard all the same. What was seen too late was not shown.
func within(ctx context.Context, c feature.Clause, env feature.Env) (evidence string, err error) {
	type result struct {
		evidence string
		err      error
	}
	done := make(chan result, 1)
	go func() {
		evidence, err := guarded(ctx, c, env)
		done <- result{evidence, err}
	}()
	var r result
	select {
	case r = <-done:
		return r.evidence, r.err
	case <-ctx.Done():
	}
	select {
	case r = <-done:
	case <-time.After(grace):
	}
	if r.err == nil {
		r.err = ctx.Err()
	}
	return "", r.err
}

func guarded(ctx context.Context, c feature.Clause, env feature.Env) (evidence string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the check panicked (%T) at %s", r, firstFrame(debug.Stack()))
		}
	}()
	return c.Check(ctx, env)
}

func firstFrame(stack []byte) string {
	for _, line := range strings.Split(string(stack), "\n") {
		if strings.HasPrefix(line, "strongroom/internal/") && !strings.Contains(line, "trust.guarded") {
			// The words of the arguments follow in brackets; they may be keys.
			if at := strings.LastIndexByte(line, '('); at > 0 {
				line = line[:at]
			}
			return strings.TrimSpace(line)
		}
	}
	return "an unknown place"
}

// public gives the words of an error. Checks act on canary organizations
// only, whose content is random, so their errors may be shown.
func public(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s: %v", checkTime, err)
	}
	return err.Error()
}

// Texts returns the wording of each promise by id.
func Texts() map[string]string {
	out := make(map[string]string, len(catalog))
	for _, c := range catalog {
		out[c.id] = c.text
	}
	return out
}
