// Package intake takes reports of vulnerabilities from anybody.
//
// It promises that a report is sealed before it is stored, that only a system
// administrator opens it, that taking, reading and answering one is on record,
// and that senders cannot fill the store: what a report may hold, how many come
// from one network and from all in an hour, and how many may be open at a time
// is bounded. Whoever is refused is told how long to wait and where else to
// write.
//
// [Options].Notify learns that a report came, and its reference, never what it
// says.
package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// The limits. Behind a proxy everybody comes from one address.
const (
	MaxBody    = 64 << 10 // bytes of a request
	PerNetwork = 10       // reports in an hour from one address, or one /64 of IPv6
	PerHour    = 60       // reports in an hour from all
	MaxOpen    = 200      // reports that nobody has closed
	perMinute  = 120      // attempts that reach the database, on one server
)

// Notifier is told that something happened that people should look at.
type Notifier interface {
	Notify(ctx context.Context, subject string)
}

// Options configures a Service. Store is required.
type Options struct {
	Store  *platform.Store
	Notify Notifier // nil: nobody is told
	// Settled is called when no report is open any more: what Notify said is
	// over.
	Settled func()
}

// Service takes and shows reports.
type Service struct {
	o Options

	mu       sync.Mutex
	minute   time.Time
	attempts int
}

// New returns a service, or says what is wrong with o.
func New(o Options) (*Service, error) {
	if o.Store == nil {
		return nil, errors.New("intake: Options.Store is required")
	}
	return &Service{o: o}, nil
}

// State says what became of a report.
type State string

// The states.
const (
	Open         State = "open"
	Acknowledged State = "acknowledged"
	Closed       State = "closed"
)

// Text is what somebody reports.
type Text struct {
	Title       string `json:"title" minLength:"3" maxLength:"200" doc:"One line."`
	Description string `json:"description" minLength:"10" maxLength:"10000" doc:"What is wrong, how to see it, what it lets somebody do."`
	Contact     string `json:"contact,omitempty" maxLength:"200" doc:"Where to answer; may be left out."`
}

// Report is one as a system administrator reads it.
type Report struct {
	ID         id.Report `json:"report"`
	State      State     `json:"state" enum:"open,acknowledged,closed"`
	ReceivedAt time.Time `json:"received_at"`
	ChangedAt  time.Time `json:"changed_at"`
	Version    uint64    `json:"version"`
	Text
	Note string `json:"note,omitempty"`
}

// Line is a report in a list.
type Line struct {
	ID         id.Report `json:"report"`
	State      State     `json:"state" enum:"open,acknowledged,closed"`
	ReceivedAt time.Time `json:"received_at"`
	Title      string    `json:"title"`
	Version    uint64    `json:"version"`
}

// Receipt is what the sender gets.
type Receipt struct {
	ID         id.Report `json:"report" doc:"The reference: name it when you write about the report."`
	ReceivedAt time.Time `json:"received_at"`
}

type (
	createIn  struct{ Body Text }
	createOut struct{ Body Receipt }
	listIn    struct {
		feature.Listing
		State string `query:"state" enum:"open,acknowledged,closed" doc:"Only reports in this state."`
	}
	// Path names a report.
	Path struct {
		Report id.Report `path:"report" doc:"The report."`
	}
	updateIn struct {
		Path
		IfMatch feature.IfMatch `header:"If-Match" doc:"The version that the change is meant for."`
		Body    struct {
			State State  `json:"state" enum:"open,acknowledged,closed"`
			Note  string `json:"note,omitempty" maxLength:"4000" doc:"What was found or done; replaces the note before."`
		}
	}
)

// Feature offers the intake.
func Feature(s *Service) feature.Feature {
	return feature.Feature{Name: "intake",
		Promises: []feature.Promise{{ID: "INC-4", Clauses: []feature.Clause{{Name: "intake", Tag: feature.Canary, Check: s.proveIntake}}}},
		Ops: []feature.Op{
			feature.HandleSelf(feature.Meta{ID: "create-report", Method: http.MethodPost, Path: "/v1/reports", Action: policy.ReportCreate,
				Summary: "Report a vulnerability", Status: http.StatusCreated, MaxBody: MaxBody,
				Description: "Open to everybody. The report is sealed; system administrators read it. The answer holds a reference.",
				Errors:      []fault.Kind{fault.TooMany}}, s.create),
			feature.HandlePlatform(feature.Meta{ID: "list-reports", Method: http.MethodGet, Path: "/v1/reports", Action: policy.ReportList,
				Summary: "List reports of vulnerabilities"}, list),
			feature.HandlePlatform(feature.Meta{ID: "get-report", Method: http.MethodGet, Path: "/v1/reports/{report}", Action: policy.ReportRead,
				Summary: "Read a report of a vulnerability"}, func(ctx context.Context, tx *platform.Tx, in Path) (feature.Item[Report], error) {
				tx.Touch(in.Report)
				r, _, err := get(ctx, tx, in.Report)
				return feature.Item[Report]{ETag: feature.VersionTag(r.Version), Body: r}, err
			}),
			feature.HandleSelf(feature.Meta{ID: "update-report", Method: http.MethodPut, Path: "/v1/reports/{report}", Action: policy.ReportUpdate,
				Summary: "Acknowledge or close a report of a vulnerability", MaxBody: MaxBody}, s.update),
		}}
}

const (
	table     = "platform.report"
	noteTable = "platform.report.note" // a note and a report of one version are no two values of one place
	section   = "report"
	hashFrom  = "report.source"
)

var (
	errFull  = fault.New(fault.TooMany, "as many reports are open as this installation takes; write to the contact that /.well-known/security.txt names")
	errOften = fault.New(fault.TooMany, "too many reports came in the last hour; try again later, or write to the contact that /.well-known/security.txt names")
)

// try counts an attempt, so that a flood ends before the database.
func (s *Service) try(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(s.minute) {
		s.minute, s.attempts = minute, 0
	}
	s.attempts++
	return s.attempts <= perMinute
}

// network is what counts as one sender.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}

func (s *Service) create(ctx context.Context, r tenant.Request, in createIn) (createOut, audit.Receipt, error) {
	request := platform.Request{Actor: r.Actor, Action: policy.ReportCreate, ID: r.ID, Client: r.Client}
	out, receipt, err := platform.Do(ctx, s.o.Store, request, func(ctx context.Context, tx *platform.Tx) (Receipt, error) {
		if !s.try(tx.Now()) {
			return Receipt{}, errOften
		}
		return insert(ctx, tx, network(r.Client.Address), in.Body)
	})
	if err == nil && s.o.Notify != nil {
		s.o.Notify.Notify(context.WithoutCancel(ctx), "A vulnerability was reported: "+out.ID.String())
	}
	return createOut{out}, receipt, err
}

func insert(ctx context.Context, tx *platform.Tx, from string, text Text) (Receipt, error) {
	if err := check(text); err != nil {
		return Receipt{}, err
	}
	hour := tx.Now().Truncate(time.Hour)
	source, err := tx.Hash(ctx, hashFrom, []byte(from), []byte(hour.Format(time.RFC3339)))
	if err != nil {
		return Receipt{}, err
	}
	var only bool
	if err := tx.QueryRow(ctx, platform.Lit(`SELECT only_one FROM platform.report_gate FOR UPDATE`)).Scan(&only); err != nil {
		return Receipt{}, err
	}
	var all, mine, open int
	if err := tx.QueryRow(ctx, platform.Lit(`SELECT count(*) FILTER (WHERE received_at > $1), count(*) FILTER (WHERE received_at > $1 AND source = $2), count(*) FILTER (WHERE state <> 'closed')
 FROM platform.report`), tx.Now().Add(-time.Hour), source).Scan(&all, &mine, &open); err != nil {
		return Receipt{}, err
	}
	switch {
	case open >= MaxOpen:
		return Receipt{}, errFull
	case all >= PerHour, mine >= PerNetwork:
		return Receipt{}, errOften
	}
	made := Receipt{id.NewReport(), tx.Now()}
	plain, err := json.Marshal(text)
	if err != nil {
		return Receipt{}, err
	}
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return Receipt{}, err
	}
	body, err := tx.Seal(ctx, table, made.ID.UUID(), 1, seal.Section{Name: section, Leaf: leaf, Plain: seal.NewSecret(plain)})
	if err != nil {
		return Receipt{}, err
	}
	tx.Touch(made.ID)
	_, err = tx.Exec(ctx, platform.Lit(`INSERT INTO platform.report (id, leaf, version, body, source, received_at, changed_at) VALUES ($1, $2, 1, $3, $4, $5, $5)`),
		made.ID.UUID(), int64(leaf), body, source, tx.Now())
	return made, err
}

// check refuses what has the right length and says nothing, or would change
// how the terminal or page shows it.
func check(t Text) error {
	for _, f := range []struct {
		pointer, text string
		least         int
		lines         bool
	}{{"/title", t.Title, 3, false}, {"/description", t.Description, 10, true}, {"/contact", t.Contact, 0, false}} {
		if utf8.RuneCountInString(strings.TrimSpace(f.text)) < f.least {
			return fault.At(fault.Invalid, f.pointer, "too_short", fmt.Sprintf("at least %d characters that are no blanks", f.least))
		}
		for _, r := range f.text {
			if unicode.IsControl(r) && (!f.lines || !strings.ContainsRune("\n\r\t", r)) {
				return fault.At(fault.Invalid, f.pointer, "control_character", "a control character is not allowed here")
			}
		}
	}
	return nil
}

func list(ctx context.Context, tx *platform.Tx, in listIn) (feature.List[Line], error) {
	query := "reports/" + in.State
	at, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[Line]{}, err
	}
	below := uuid.Max
	if len(at) == len(below) {
		below = uuid.UUID(at)
	}
	limit := in.Limit
	if limit <= 0 {
		limit = 50
	}
	rows, err := tx.Query(ctx, platform.Lit(`SELECT id, state, received_at, version, body FROM platform.report
 WHERE id < $1 AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3`), below, in.State, limit+1)
	if err != nil {
		return feature.List[Line]{}, err
	}
	defer rows.Close()
	var out []Line
	for rows.Next() {
		var row uuid.UUID
		var state string
		var l Line
		var body seal.Sealed
		if err := rows.Scan(&row, &state, &l.ReceivedAt, &l.Version, &body); err != nil {
			return feature.List[Line]{}, err
		}
		text, err := open(ctx, tx, row, body)
		if err != nil {
			return feature.List[Line]{}, err
		}
		l.ID, l.State, l.ReceivedAt, l.Title = id.ReportOf(row), State(state), l.ReceivedAt.UTC(), text.Title
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return feature.List[Line]{}, err
	}
	next := ""
	if len(out) > limit {
		out = out[:limit]
		if next, err = tx.SealCursor(ctx, query, out[limit-1].ID.Bytes()); err != nil {
			return feature.List[Line]{}, err
		}
	}
	for _, l := range out {
		tx.Touch(l.ID)
	}
	return feature.List[Line]{Body: feature.NewPage(out, next)}, nil
}

func open(ctx context.Context, tx *platform.Tx, row uuid.UUID, body seal.Sealed) (t Text, err error) {
	plain, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: id.Installation, Table: table, Row: row, Version: 1}, body, section)
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(plain.Reveal(), &t)
}

var errNoReport = fault.New(fault.NotFound, "no such report")

func get(ctx context.Context, tx *platform.Tx, which id.Report) (r Report, leaf keytree.Leaf, err error) {
	var state string
	var index int64
	var body, note seal.Sealed
	err = tx.QueryRow(ctx, platform.Lit(`SELECT leaf, version, state, received_at, changed_at, body, note FROM platform.report WHERE id = $1`), which.UUID()).
		Scan(&index, &r.Version, &state, &r.ReceivedAt, &r.ChangedAt, &body, &note)
	if errors.Is(err, platform.ErrNoRows) {
		return r, 0, errNoReport
	}
	if err != nil {
		return r, 0, err
	}
	r.ID, r.State, r.ReceivedAt, r.ChangedAt = which, State(state), r.ReceivedAt.UTC(), r.ChangedAt.UTC()
	if r.Text, err = open(ctx, tx, which.UUID(), body); err != nil {
		return r, 0, err
	}
	if len(note) > 0 {
		plain, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: id.Installation, Table: noteTable, Row: which.UUID(), Version: r.Version}, note, section)
		if err != nil {
			return r, 0, err
		}
		r.Note = string(plain.Reveal())
	}
	return r, keytree.Leaf(index), nil
}

func (s *Service) update(ctx context.Context, r tenant.Request, in updateIn) (feature.Item[Report], audit.Receipt, error) {
	waiting := -1
	out, receipt, err := platform.Do(ctx, s.o.Store, platform.Request{Actor: r.Actor, Action: policy.ReportUpdate, ID: r.ID, Client: r.Client},
		func(ctx context.Context, tx *platform.Tx) (feature.Item[Report], error) {
			out, err := update(ctx, tx, in)
			if err == nil {
				err = tx.QueryRow(ctx, platform.Lit(`SELECT count(*) FROM platform.report WHERE state = 'open'`)).Scan(&waiting)
			}
			return out, err
		})
	if err == nil && waiting == 0 && s.o.Settled != nil {
		s.o.Settled()
	}
	return out, receipt, err
}

func update(ctx context.Context, tx *platform.Tx, in updateIn) (feature.Item[Report], error) {
	tx.Touch(in.Report)
	r, leaf, err := get(ctx, tx, in.Report)
	if err != nil {
		return feature.Item[Report]{}, err
	}
	version := in.IfMatch.Version() + 1
	var note seal.Sealed
	if in.Body.Note != "" {
		if note, err = tx.Seal(ctx, noteTable, in.Report.UUID(), version, seal.Section{Name: section, Leaf: leaf, Plain: seal.NewSecretString(in.Body.Note)}); err != nil {
			return feature.Item[Report]{}, err
		}
	}
	var by any
	if person := tx.Actor().Person(); !person.IsZero() {
		by = person.UUID()
	}
	n, err := tx.Exec(ctx, platform.Lit(`UPDATE platform.report SET version = $3, state = $4, note = $5, changed_at = $6, changed_by = $7 WHERE id = $1 AND version = $2`),
		in.Report.UUID(), int64(in.IfMatch.Version()), int64(version), string(in.Body.State), note, tx.Now(), by)
	if err != nil {
		return feature.Item[Report]{}, err
	}
	if n == 0 {
		return feature.Item[Report]{}, fault.New(fault.Stale, "the report has another version by now")
	}
	r.Version, r.State, r.Note, r.ChangedAt = version, in.Body.State, in.Body.Note, tx.Now()
	return feature.Item[Report]{ETag: feature.VersionTag(version), Body: r}, nil
}
