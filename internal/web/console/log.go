package console

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"strongroom/client"
)

var logPages = []Page{
	{Pattern: "GET /o/{org}/log", Access: InOrg, Serve: showLog},
}

// The API reads the log by time. Who and what are asked for here, over at most
// logReads pages of logPage events; a question that finds little goes on from
// there by a link.
const (
	logPage  = 200
	logReads = 5
	logLines = 50
)

type logView struct {
	Lines   []logLine
	More    string // the next part of the same question
	Looked  int    // events read for this answer
	Query   logQuery
	Actions []Option
	People  []Option
	Errors  Errors
}

type logQuery struct{ Since, Until, Action, Person string }

func (q logQuery) values() url.Values {
	out := url.Values{}
	for name, value := range map[string]string{"since": q.Since, "until": q.Until, "action": q.Action, "person": q.Person} {
		if value != "" {
			out.Set(name, value)
		}
	}
	return out
}

// logLine is an event in words.
type logLine struct {
	client.Event
	Who     string
	What    string
	Outcome string
	Tone    string // of the outcome's tag
	About   string
}

func showLog(v *Visit) error {
	q := logQuery{v.Query("since"), v.Query("until"), v.Query("action"), v.Query("person")}
	view := logView{Query: q, Errors: Errors{}}
	since, until := view.day("since", q.Since), view.day("until", q.Until)
	if !until.IsZero() {
		until = until.AddDate(0, 0, 1) // the day itself belongs to it
	}
	t, err := v.API.RoleTable(v.Context())
	if err != nil {
		return err
	}
	words := map[string]string{}
	view.Actions = []Option{{"", "anything"}}
	for _, g := range t.Groups {
		for _, a := range g.Actions {
			words[a.Action] = a.Words
			view.Actions = append(view.Actions, Option{a.Action, a.Words})
		}
	}
	view.People = []Option{{"", "anybody"}}
	for p, err := range v.API.People(v.Context(), v.Org.ID) {
		if err != nil {
			return err
		}
		view.People = append(view.People, Option{p.ID, p.Name})
	}
	slices.SortFunc(view.People[1:], func(a, b Option) int { return cmp.Compare(a.Label, b.Label) })

	cursor := v.Query("cursor")
	limit := logLines
	if q.Action != "" || q.Person != "" {
		limit = logPage
	}
	if len(view.Errors) == 0 {
		for range logReads {
			p, err := v.API.ListAuditBetween(v.Context(), v.Org.ID, since, until, client.List{Limit: limit, Cursor: cursor})
			if err != nil {
				return err
			}
			for _, e := range p.Items {
				view.Looked++
				if (q.Action == "" || e.Action == q.Action) && (q.Person == "" || e.Actor.ID == q.Person) {
					view.Lines = append(view.Lines, v.logLine(e, words))
				}
			}
			if cursor = p.Next; cursor == "" || len(view.Lines) >= logLines {
				break
			}
		}
		if cursor != "" {
			next := q.values()
			next.Set("cursor", cursor)
			view.More = v.OrgPath("log") + "?" + next.Encode()
		}
	}
	return v.Render("log", "Log", view)
}

// day reads a date of the form. Days are those of UTC, as the page says.
func (w *logView) day(name, value string) time.Time {
	if value == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, value)
	if err != nil {
		w.Errors[name] = "Write a date as 2026-01-31."
	}
	return t
}

func (v *Visit) logLine(e client.Event, words map[string]string) logLine {
	l := logLine{Event: e, What: words[e.Action], Who: v.Name(e.Actor.ID)}
	if e.Actor.ID == "" {
		l.Who = "nobody signed in"
	}
	if strings.HasPrefix(e.Actor.Via, "key_") && e.Actor.Kind != "key" {
		l.Who += ", by API key"
	}
	if l.What == "" {
		l.What = e.Action
	}
	switch e.Outcome {
	case "done", "ok", "success":
		l.Outcome, l.Tone = "done", "good"
	case "denied", "refused":
		l.Outcome, l.Tone = "refused", "bad"
	case "failed", "unknown":
		l.Outcome, l.Tone = e.Outcome, "warn"
	default:
		l.Outcome = e.Outcome
	}
	switch {
	case e.Damaged:
		l.What, l.Outcome, l.Tone = "this event was changed after it was recorded", "damaged", "bad"
	case e.Pruned:
		l.What, l.Who, l.Outcome = "past its retention", "", "pruned"
	}
	if n := len(e.Targets); n > 0 {
		l.About = targetWords(e.Targets)
	}
	return l
}

// targetWords says what an event is about, by the kinds of its targets.
func targetWords(targets []string) string {
	var order []string
	count := map[string]int{}
	for _, t := range targets {
		kind, _, _ := strings.Cut(t, "_")
		if count[kind] == 0 {
			order = append(order, kind)
		}
		count[kind]++
	}
	var parts []string
	for _, kind := range order {
		name, ok := targetNames[kind]
		if !ok {
			name = [2]string{"thing", "things"}
		}
		parts = append(parts, plural(count[kind], name[0], name[1]))
	}
	return strings.Join(parts, ", ")
}

var targetNames = map[string][2]string{
	"rec": {"record", "records"}, "fil": {"file", "files"}, "per": {"person", "people"}, "key": {"key", "keys"}, "col": {"collection", "collections"},
	"lnk": {"link", "links"}, "evt": {"event", "events"}, "org": {"organization", "organizations"}, "ses": {"session", "sessions"}, "exp": {"export", "exports"},
}
