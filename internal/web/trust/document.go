package trust

import (
	"context"
	"strings"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature/plans"
	proofs "strongroom/internal/feature/trust"
)

// Kind names the document, so that nothing else that the key may ever sign is
// taken for one.
const Kind = "strongroom-trust"

// Document is everything that the page says: what is signed, and what the page
// is written from. docs/trust.md describes it.
type Document struct {
	Kind         string         `json:"kind"`
	Version      int            `json:"version"` // of this form
	Organization string         `json:"organization"`
	URL          string         `json:"url"`
	Software     string         `json:"software"`
	AsOf         time.Time      `json:"as_of"` // when the stored proofs were read
	Grade        GradeLine      `json:"grade"`
	Summary      proofs.Summary `json:"summary"`
	Groups       []Group        `json:"groups"`
	Answers      []Answer       `json:"answers"`
	Inherited    []Inherited    `json:"inherited"`
	Roadmap      []RoadmapLine  `json:"roadmap"`
	Roles        []Role         `json:"roles"`
	Permissions  []Permission   `json:"permissions"`
	Plans        []plans.Plan   `json:"plans"` // null where they could not be read
	Contact      Contact        `json:"contact"`
}

// GradeLine says what promises about zones and guardians rest on.
type GradeLine struct {
	Grade   string   `json:"grade"` // independent, demo, unknown
	Reasons []string `json:"reasons"`
}

// Group is a heading of the list.
type Group struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Promises []Promise `json:"promises"`
}

// Promise is one promise as it stands.
type Promise struct {
	ID       string          `json:"id"`
	Text     string          `json:"text"`
	Beyond   bool            `json:"beyond"` // more than the field offers
	State    proofs.Standing `json:"state"`
	ProvedAt *time.Time      `json:"proved_at"` // of the oldest of its clauses' last proofs
	Clauses  []Clause        `json:"clauses"`
}

// Clause is one check of it.
type Clause struct {
	Name      string          `json:"name"`
	Words     string          `json:"words"`
	State     proofs.Standing `json:"state"`
	Note      string          `json:"note"`
	CheckedAt *time.Time      `json:"checked_at"`
	Since     *time.Time      `json:"since"` // the first of the checks in a row that ended so
	Checks    int64           `json:"checks"`
	Period    int64           `json:"period_seconds"` // 0: never checked
	Source    string          `json:"source"`
}

// Answer is a plain answer to what people ask.
type Answer struct {
	Question string    `json:"question"`
	Answer   string    `json:"answer"`
	Basis    string    `json:"basis"` // promises, statement
	Claim    string    `json:"claim"` // what it is worth, in words
	Promises []Reading `json:"promises"`
}

// Reading is how a promise stands, where another part of the page names it.
type Reading struct {
	ID    string          `json:"id"`
	State proofs.Standing `json:"state"`
}

// Inherited is what somebody else keeps.
type Inherited struct {
	What string `json:"what"`
	From string `json:"from"`
}

// Role is one of the six roles.
type Role struct {
	Role  policy.Role `json:"role"`
	Words string      `json:"words"`
}

// Permission is one line of the table of roles.
type Permission struct {
	Group  string   `json:"group"`
	Action string   `json:"action"`
	Words  string   `json:"words"`
	Cells  []string `json:"cells"` // yes, own, no; in the order of roles
}

// Contact is how to reach who runs the installation.
type Contact struct {
	Security string `json:"security"` // a URI; "" where the operator has set none
	Policy   string `json:"policy"`
	Report   string `json:"report"` // the form
}

func (p *Page) describe(ctx context.Context, o proofs.Overview) Document {
	extra := p.more(ctx, o.At)
	d := Document{Kind: Kind, Version: 1, Organization: p.o.Settings.Organization, URL: p.o.URL(), Software: strings.TrimSpace("Strongroom " + p.o.Version),
		AsOf: o.At.Truncate(time.Second), Summary: o.Summary(), Grade: p.grade(extra.grade), Roadmap: p.o.Settings.roadmap(), Plans: extra.plans, Contact: p.contact()}
	for _, g := range o.Groups {
		group := Group{ID: g.Code, Title: g.Title}
		for _, pr := range g.Promises {
			text, beyond := strings.CutPrefix(pr.Text, "+ ")
			promise := Promise{ID: pr.ID, Text: text, Beyond: beyond, State: pr.Standing, ProvedAt: moment(pr.ProvedAt)}
			for _, c := range pr.Clauses {
				promise.Clauses = append(promise.Clauses, Clause{Name: c.Name, Words: c.Words, State: c.Standing, Note: c.Note, CheckedAt: moment(c.CheckedAt),
					Since: moment(c.Since), Checks: c.Checks, Period: int64(c.Period / time.Second), Source: string(c.Source)})
			}
			group.Promises = append(group.Promises, promise)
		}
		d.Groups = append(d.Groups, group)
	}
	d.Answers = p.answers(o)
	d.Inherited = []Inherited{
		{"Building, power, network and hardware", orElse(p.o.Settings.Hosting, "whoever hosts the machine; the operator has not said who that is")},
		{"Ciphers, TLS and signatures", "the cryptography of Go's standard library, Google Tink and MinIO sio, used as they are"},
		{"Transactions, row-level security and roles", "PostgreSQL"},
		{"Isolation between processes and users", "the operating system's kernel"},
	}
	for _, r := range policy.Roles {
		d.Roles = append(d.Roles, Role{r, policy.DescribeRole(r)})
	}
	for _, g := range policy.Groups() {
		for _, a := range g.Actions {
			if policy.StandingOf(a) == policy.Nobody {
				continue
			}
			line := Permission{Group: g.Name, Action: string(a), Words: policy.Describe(a)}
			for _, r := range policy.Roles {
				line.Cells = append(line.Cells, cell(r, a))
			}
			d.Permissions = append(d.Permissions, line)
		}
	}
	return d
}

func cell(r policy.Role, a policy.Action) string {
	switch {
	case policy.StandingOf(a) != policy.ByRole:
		return "own"
	case policy.Allow([]policy.Role{r}, a):
		return "yes"
	}
	return "no"
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (p *Page) grade(g *Grade) GradeLine {
	out := GradeLine{Grade: "unknown", Reasons: []string{}}
	if g != nil {
		out.Grade = "independent"
		if g.Demo {
			out.Grade = "demo"
		}
		out.Reasons = append(out.Reasons, g.Reasons...)
	}
	if p.o.Settings.Demo {
		out.Grade = "demo"
		out.Reasons = append(out.Reasons, "it was started with demonstration data (--demo)")
	}
	return out
}

func (p *Page) contact() Contact {
	return Contact{Security: p.o.Settings.Contact, Policy: p.o.Settings.Policy, Report: p.o.URL() + reportPath}
}

// answers are plain answers. One that names promises says what was promised,
// with how they stand beside it; one that names none is a statement.
func (p *Page) answers(o proofs.Overview) (out []Answer) {
	for _, a := range []struct {
		question, answer string
		promises         []string
	}{
		{"How long is data kept?", "Until its organization deletes it. What was deleted stays in a sealed trash for the undo window (7 days, unless the plan says less), so that it can be taken back, and is then to go from everything, backups included, within 30 days of the request. Pilot data goes 30 days after the evaluation ends.",
			[]string{"DEL-1", "DEL-3", "DEL-5", "DEL-6"}},
		{"What happens when an account is closed?", "All of the organization's data goes the same way, within 30 days. What stays is a billing record where the law asks for one, and hashes and certificates that hold no content.", []string{"DEL-4", "DEL-7"}},
		{"Can something be erased at once?", "Erasing destroys the key, so that the content is unreadable in every backup within minutes.", []string{"DEL-9", "BAK-7"}},
		{"Where is the data?", orElse(p.o.Settings.Location, "On the machines of whoever runs this installation. The operator has not said where they are."), nil},
		{"Does it stay there?", "A region is part of the contract, and a change needs notice first.", []string{"OWN-6", "PLAN-2"}},
		{"Is customer data used to train AI?", "No. Every read carries a purpose, and the purpose training cannot be granted to anybody.", []string{"OWN-2"}},
		{"Who can see customer data?", "Members of the organization, as far as their roles go; what is private, its owner alone. No role of the installation opens a record. Staff need an approved request of the customer.", []string{"IAM-6", "ISO-2", "OWN-4"}},
		{"And who could, all the same?", "Whoever controls the running machine as root can read what the server has in memory. No software on that machine can rule this out; a stolen disk, database or backup is another matter (ENC-1).", nil},
		{"Is it encrypted?", "At rest with AES-256, by keys that each organization has for itself; on every connection with TLS 1.2 or newer.", []string{"ENC-1", "ENC-2", "ENC-3", "ENC-4"}},
		{"Is it shared or sold?", "No. No interface reads across organizations, and data leaves only to registered destinations.", []string{"OWN-3", "OWN-5"}},
		{"How does one take everything out?", "By export, at any time, in open formats.", []string{"OWN-1", "EXP-1", "EXP-2", "EXP-3"}},
		{"Would a customer hear of a breach?", "Yes, directly, with a 72-hour clock that starts when it is found.", []string{"INC-2", "INC-3"}},
		{"Who checked all this?", "The installation did: its own checks, on its own machine, run by its operator. The signature shows that this installation said so, and when. It is no audit by somebody else; what there is of that stands in the roadmap.", nil},
	} {
		answer := Answer{Question: a.question, Answer: a.answer, Basis: "statement", Promises: []Reading{}}
		for _, id := range a.promises {
			if pr, ok := o.Promise(id); ok {
				answer.Basis = "promises"
				answer.Promises = append(answer.Promises, Reading{id, pr.Standing})
			}
		}
		answer.Claim = claim(answer)
		out = append(out, answer)
	}
	return out
}

// claim says what an answer is worth: as much as its worst promise.
func claim(a Answer) string {
	if a.Basis == "statement" {
		return "Statement, not proof"
	}
	count := map[proofs.Standing]int{}
	for _, r := range a.Promises {
		count[r.State]++
	}
	switch {
	case count[proofs.StandsBroken] > 0:
		return "Promised, and broken now"
	case count[proofs.StandsKept] == len(a.Promises):
		return "Shown by proof"
	case count[proofs.StandsNotYet] == len(a.Promises):
		return "Promised, not built yet"
	}
	return "Promised, not all of it shown"
}
