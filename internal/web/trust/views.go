package trust

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature/plans"
	proofs "strongroom/internal/feature/trust"
)

// views are the pages.
type views struct{ page, report, unavailable *template.Template }

// view is what the page is written from.
type view struct {
	Document
	Signed bool
	KeyID  string
}

// bareView is what a page without proofs is written from.
type bareView struct {
	Organization string
	Contact      Contact
}

func (p *Page) bare() bareView { return bareView{p.o.Settings.Organization, p.contact()} }

// stateWords are how people read a state. A state is a sign and a word, never
// a color alone.
var stateWords = map[proofs.Standing]struct{ Sign, Word, Means string }{
	proofs.StandsKept:   {"✓", "Kept", "every clause was shown by a check that is not too old"},
	proofs.StandsPartly: {"◐", "Partly", "some clauses are kept, the others are not built"},
	proofs.StandsNotYet: {"○", "Not yet", "not built"},
	proofs.StandsStale:  {"△", "Too old", "the last proof is older than twice its period, or there is none yet"},
	proofs.StandsBroken: {"✕", "Broken", "a check failed, or a stored proof is not to be believed"},
}

// order is that of the summary: what needs a look stands before what is
// missing.
var order = []proofs.Standing{proofs.StandsKept, proofs.StandsPartly, proofs.StandsBroken, proofs.StandsStale, proofs.StandsNotYet}

func countOf(s proofs.Summary, state proofs.Standing) int {
	return map[proofs.Standing]int{proofs.StandsKept: s.Kept, proofs.StandsPartly: s.Partly, proofs.StandsNotYet: s.NotYet,
		proofs.StandsStale: s.Stale, proofs.StandsBroken: s.Broken}[state]
}

// share is one part of the summary's bar.
type share struct {
	State    proofs.Standing
	Count    int
	X, Width string
}

func shares(s proofs.Summary) (out []share) {
	at := 0.0
	for _, state := range order {
		n := countOf(s, state)
		if n == 0 || s.Promises == 0 {
			continue
		}
		width := 100 * float64(n) / float64(s.Promises)
		out = append(out, share{state, n, strconv.FormatFloat(at, 'f', 3, 64), strconv.FormatFloat(width, 'f', 3, 64)})
		at += width
	}
	return out
}

// headline says in a sentence how it stands, the worst first.
func headline(s proofs.Summary) string {
	switch {
	case s.Broken > 0:
		return of(s.Broken, s.Promises) + " broken at this moment."
	case s.Stale > 0:
		return of(s.Stale, s.Promises) + " not proved recently enough."
	case s.Kept == s.Promises:
		return "All promises are kept, each shown by a check."
	}
	return fmt.Sprintf("Nothing is broken. %s kept in full; what is missing is marked.", of(s.Kept, s.Promises))
}

// standing lists the promises that stand in a way.
func standing(groups []Group, state proofs.Standing) (ids []string) {
	for _, g := range groups {
		for _, p := range g.Promises {
			if p.State == state {
				ids = append(ids, p.ID)
			}
		}
	}
	return ids
}

// phrase is a part of a text: words, or what stands in `backquotes`.
type phrase struct {
	Text string
	Code bool
}

func words(text string) (out []phrase) {
	for i, part := range strings.Split(text, "`") {
		out = append(out, phrase{part, i%2 == 1})
	}
	return out
}

func of(n, all int) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %d promises %s", n, all, verb)
}

// ago says how old something is, as of a moment.
func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return span(now.Sub(*t)) + " ago"
}

func span(d time.Duration) string {
	count := func(n int, unit string) string {
		if n != 1 {
			unit += "s"
		}
		return strconv.Itoa(n) + " " + unit
	}
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

// planLine is a line of the table of plans.
type planLine struct {
	Words string
	Cells []string
}

// planLines writes the plans side by side.
func planLines(all []plans.Plan) (out []planLine) {
	add := func(words string, cell func(plans.Plan) string) {
		l := planLine{Words: words}
		for _, p := range all {
			l.Cells = append(l.Cells, cell(p))
		}
		out = append(out, l)
	}
	on := func(words string, is func(plans.Features) bool) {
		add(words, func(p plans.Plan) string {
			if is(p.Features) {
				return "yes"
			}
			return "no"
		})
	}
	on("Sign in by password", func(f plans.Features) bool { return f.Password })
	on("Second factor", func(f plans.Features) bool { return f.MFA })
	on("Predefined roles", func(f plans.Features) bool { return f.Roles })
	on("Service accounts", func(f plans.Features) bool { return f.ServiceAccounts })
	on("Keys for programs", func(f plans.Features) bool { return f.APIKeys })
	on("Sign in by identity provider", func(f plans.Features) bool { return f.SSO })
	on("Own periods of retention", func(f plans.Features) bool { return f.Periods })
	on("Own rate limits", func(f plans.Features) bool { return f.Thresholds })
	on("Choice of region", func(f plans.Features) bool { return f.Residency })
	on("Dedicated infrastructure", func(f plans.Features) bool { return f.Dedicated })
	add("Audit log", func(p plans.Plan) string {
		return map[string]string{"none": "written", "basic": "written, readable", "full": "written, readable, exportable"}[p.Audit]
	})
	add("Requests a minute, per person", func(p plans.Plan) string { return limit(p.Limits.PerPerson) })
	add("Requests a minute, per organization", func(p plans.Plan) string { return limit(p.Limits.PerOrganization) })
	add("Evaluation period", func(p plans.Plan) string {
		if p.Periods.Evaluation == 0 {
			return "none"
		}
		return strconv.Itoa(p.Periods.Evaluation) + " days"
	})
	add("Purged after the end, within", func(p plans.Plan) string { return strconv.Itoa(p.Periods.PurgeAfter) + " days" })
	add("Undo window", func(p plans.Plan) string { return strconv.Itoa(p.Periods.Undo) + " days" })
	add("Log of sign-ins", func(p plans.Plan) string { return strconv.Itoa(p.Periods.SignInLog) + " days" })
	return out
}

func limit(n int) string {
	if n == 0 {
		return "no limit"
	}
	text := strconv.Itoa(n)
	if n >= 1000 {
		text = strconv.Itoa(n/1000) + "," + fmt.Sprintf("%03d", n%1000)
	}
	return text
}

// permissionGroups cuts the table of roles at its headings.
func permissionGroups(all []Permission) (out []struct {
	Name  string
	Lines []Permission
}) {
	for _, p := range all {
		if n := len(out); n == 0 || out[n-1].Name != p.Group {
			out = append(out, struct {
				Name  string
				Lines []Permission
			}{Name: p.Group})
		}
		out[len(out)-1].Lines = append(out[len(out)-1].Lines, p)
	}
	return out
}

var roleTitles = map[policy.Role]string{policy.Scientist: "Scientist", policy.Analyst: "Analyst", policy.OrgAdmin: "Org admin",
	policy.SecurityAdmin: "Security admin", policy.BillingAdmin: "Billing admin", policy.SystemAdmin: "System admin"}

func parseViews(cssTag string) (v views, err error) {
	funcs := template.FuncMap{
		"css":    func() string { return cssPath + "?v=" + cssTag },
		"sign":   func(s proofs.Standing) string { return stateWords[s].Sign },
		"word":   func(s proofs.Standing) string { return stateWords[s].Word },
		"means":  func(s proofs.Standing) string { return stateWords[s].Means },
		"states": func() []proofs.Standing { return order },
		"count":  countOf, "shares": shares, "headline": headline, "ago": ago, "planLines": planLines, "permissionGroups": permissionGroups,
		"role":      func(r policy.Role) string { return roleTitles[r] },
		"needsLook": func() []proofs.Standing { return []proofs.Standing{proofs.StandsBroken, proofs.StandsStale} },
		"standing":  standing,
		"words":     words,
		"bare":      func(s string) string { return strings.TrimPrefix(s, "mailto:") },
		"lower":     strings.ToLower,
		"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"date":      func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04") + " UTC" },
		"every":     func(seconds int64) string { return span(time.Duration(seconds) * time.Second) },
		"kept":      keptOf,
		"anchor":    strings.ToLower,
		// Checked when the settings were read: html/template knows no tel.
		"uri": func(s string) template.URL { return template.URL(s) },
	}
	for name, at := range map[string]**template.Template{"trust.html": &v.page, "report.html": &v.report, "unavailable.html": &v.unavailable} {
		if *at, err = template.New(name).Funcs(funcs).ParseFS(pageFiles, "page/frame.html", "page/"+name); err != nil {
			return v, fmt.Errorf("trust: %w", err)
		}
	}
	return v, nil
}

func keptOf(cs []Clause) (n int) {
	for _, c := range cs {
		if c.State == proofs.StandsKept {
			n++
		}
	}
	return n
}

func (p *Page) show(w http.ResponseWriter, status int, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		p.o.Log.Error("a page cannot be written", "err", err)
		plainText(w, http.StatusInternalServerError, "The page cannot be shown.\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
