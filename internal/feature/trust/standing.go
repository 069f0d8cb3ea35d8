package trust

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// Standing says how a promise or a clause stands by what is stored. It is what
// the public page shows.
type Standing string

// The standings, of promises and of clauses.
const (
	StandsKept   Standing = "kept"    // every clause was shown, and not too long ago
	StandsPartly Standing = "partly"  // some clauses are kept, the others are not built
	StandsNotYet Standing = "not_yet" // not built
	StandsStale  Standing = "stale"   // the last proof is too old, or there is none yet
	StandsBroken Standing = "broken"  // a check failed, or what is stored is not to be believed
)

// Overview is how everything stood at one moment.
type Overview struct {
	At      time.Time
	Reading uint64 // counts how often this process has read the store
	Groups  []GroupStanding
}

// GroupStanding is a heading and what is under it.
type GroupStanding struct {
	Code, Title string
	Promises    []PromiseStanding
}

// PromiseStanding is one promise.
type PromiseStanding struct {
	ID, Text string
	Standing Standing
	Clauses  []ClauseStanding
	// ProvedAt is the age of the claim: when the oldest of its clauses' last
	// proofs was made. It is zero while one has none, or none is built.
	ProvedAt time.Time
}

// ClauseStanding is one clause.
type ClauseStanding struct {
	Name, Words string
	Standing    Standing
	Note        string // what was seen, or why it stands as it does
	CheckedAt   time.Time
	Since       time.Time // the first of the checks in a row that ended like the last
	Checks      int64     // how many those are
	Period      time.Duration
	Source      Source
}

// Summary counts the promises by how they stand.
type Summary struct {
	Promises int `json:"promises"`
	Kept     int `json:"kept"`
	Partly   int `json:"partly"`
	NotYet   int `json:"not_yet"`
	Stale    int `json:"stale"`
	Broken   int `json:"broken"`
}

// Summary counts.
func (o Overview) Summary() (s Summary) {
	for _, g := range o.Groups {
		for _, p := range g.Promises {
			s.Promises++
			switch p.Standing {
			case StandsKept:
				s.Kept++
			case StandsPartly:
				s.Partly++
			case StandsNotYet:
				s.NotYet++
			case StandsStale:
				s.Stale++
			default:
				s.Broken++
			}
		}
	}
	return s
}

// Promise finds one by its id.
func (o Overview) Promise(id string) (PromiseStanding, bool) {
	for _, g := range o.Groups {
		for _, p := range g.Promises {
			if p.ID == id {
				return p, true
			}
		}
	}
	return PromiseStanding{}, false
}

// Overview returns how everything stands now. An error means that the stored
// proofs could not be read: nothing is known then.
func (p *Proofs) Overview(ctx context.Context) (Overview, error) {
	rows, at, reading, err := p.load(ctx)
	if err != nil {
		return Overview{}, err
	}
	now := p.o.Now()
	o := Overview{At: at.UTC(), Reading: reading}
	for _, g := range groups {
		group := GroupStanding{Code: g.Code, Title: g.Title}
		for _, pr := range catalog {
			if !strings.HasPrefix(pr.id, g.Code+"-") {
				continue
			}
			promise := PromiseStanding{ID: pr.id, Text: pr.text}
			for _, name := range pr.clauses {
				promise.Clauses = append(promise.Clauses, p.clause(pr.id, name, rows, now))
			}
			promise.Standing, promise.ProvedAt = together(promise.Clauses)
			group.Promises = append(group.Promises, promise)
		}
		o.Groups = append(o.Groups, group)
	}
	return o, nil
}

// skew is how far ahead another server's clock may be.
const skew = 5 * time.Minute

func (p *Proofs) clause(id, name string, rows map[string]stored, now time.Time) ClauseStanding {
	c := ClauseStanding{Name: name, Words: wordsOf(id, name), Standing: StandsNotYet, Note: "not built"}
	if _, built := p.o.Prover.checks[id][name]; !built {
		return c
	}
	c.Period = p.period(id + "/" + name)
	s, proved := rows[id+"/"+name]
	if !proved {
		c.Standing, c.Note = StandsStale, "not proved yet on this installation"
		return c
	}
	if s.altered != "" {
		c.Standing, c.Note = StandsBroken, s.altered+"; it does not count"
		return c
	}
	c.CheckedAt, c.Since, c.Checks, c.Source = s.checkedAt, s.since, s.checks, s.source
	age := now.Sub(s.checkedAt)
	switch {
	case s.state != Kept:
		// What an error says is written for the operator: it may name a path
		// or an address, and where to push.
		c.Standing, c.Note = StandsBroken, "the check failed; the operator sees what it found"
	case age > 2*c.Period || age < -skew:
		c.Standing, c.Note = StandsStale, "kept when it was last checked, too long ago to count"
	default:
		c.Standing, c.Note = StandsKept, Public(s.evidence)
	}
	return c
}

// together is the rule for a promise. What is worst is what it says.
func together(clauses []ClauseStanding) (Standing, time.Time) {
	var oldest time.Time
	count := map[Standing]int{}
	unproved := false
	for _, c := range clauses {
		count[c.Standing]++
		switch {
		case c.Standing == StandsNotYet:
		case c.CheckedAt.IsZero():
			unproved = true
		case oldest.IsZero() || c.CheckedAt.Before(oldest):
			oldest = c.CheckedAt
		}
	}
	if unproved {
		oldest = time.Time{}
	}
	switch {
	case count[StandsBroken] > 0:
		return StandsBroken, oldest
	case count[StandsStale] > 0:
		return StandsStale, oldest
	case count[StandsNotYet] == 0 && count[StandsKept] > 0:
		return StandsKept, oldest
	case count[StandsKept] > 0:
		return StandsPartly, oldest
	}
	return StandsNotYet, time.Time{}
}

// private is what evidence for everybody does not hold: identifiers, schemas
// of organizations, uuids, paths of files, addresses of machines and people.
var private = regexp.MustCompile(`\b[a-z]{3}_[0-9a-z]{26}\b|\bw_[0-9a-f]{32}\b|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|(^|[\s("'=])/(var|tmp|etc|home|root|opt|srv|usr|run|proc|dev|mnt|data)\b|\b\d{1,3}(\.\d{1,3}){3}\b|://|[^\s@]+@[^\s@]+\.[a-z]+`)

// Public gives evidence as everybody may read it. A check's evidence is
// written for that; one that names a place all the same is withheld.
func Public(evidence string) string {
	if private.MatchString(evidence) {
		return "kept; what was seen names a place of this installation, and is shown to its operator alone"
	}
	return evidence
}
