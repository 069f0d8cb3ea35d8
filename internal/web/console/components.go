package console

import (
	"fmt"
	"html/template"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"strongroom/client"
)

// The ready components, for templates of all pages. In templates/_components.html:
//
//	{{template "field" (field "name" "Name" .Data.Name .Data.Errors | required | hint "As people know it.")}}
//	{{template "errors" .Data.Errors}}            what is wrong with a whole form
//	{{template "time" .CreatedAt}}                a time, in the reader's own form
//	{{template "empty" (empty "No keys yet" "A key lets a program …" "/path" "Make a key")}}
//	{{template "more" (more .Path .Next)}}        the next page of a list
//	{{template "tag" "private"}}                  a small mark
//	{{template "crumbs" (crumbs "People" (.Link "people") .Title)}}   where the page is
//
// and functions: bytes (a size), number, roleName, roleWords, plural, lower,
// add, list, static.
var functions = template.FuncMap{
	"static": static, "bytes": sizeWords, "number": number, "plural": plural, "roleName": roleName, "join": strings.Join,
	"field": newField, "required": required, "filter": filter, "hint": hint, "kind": kindOf, "autocomplete": autocomplete, "options": options, "choice": choice,
	"empty": newEmpty, "more": newMore, "lower": strings.ToLower, "list": func(s ...string) []string { return s },
	"add": func(a, b int) int { return a + b }, "day": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
	"initial": initial, "ending": ending, "crumbs": newCrumbs, "roleset": newRoleSet, "title": title, "noErrors": func() Errors { return nil }, "hasError": func(e Errors, at string) bool { return e[at] != "" },
}

// Field is one input with its label, its hint and what is wrong with it.
type Field struct {
	Name, Label, Value string
	Type               string // as <input> has it; "textarea", "select"
	Hint, Error        string
	Autocomplete       string
	Required           bool
	Filter             bool     // of a search: that it may stay empty goes without saying
	Options            []Option // of a select
}

// Rows is how tall a field of code is: as its text, within reason.
func (f Field) Rows() int { return min(max(strings.Count(f.Value, "\n")+2, 4), 24) }

// Option is one choice.
type Option struct{ Value, Label string }

func newField(name, label, value string, errors Errors) Field {
	return Field{Name: name, Label: label, Value: value, Type: "text", Error: errors[name]}
}

func required(f Field) Field                  { f.Required = true; return f }
func filter(f Field) Field                    { f.Filter = true; return f }
func hint(text string, f Field) Field         { f.Hint = text; return f }
func kindOf(kind string, f Field) Field       { f.Type = kind; return f }
func autocomplete(what string, f Field) Field { f.Autocomplete = what; return f }
func options(all []Option, f Field) Field     { f.Type, f.Options = "select", all; return f }
func choice(value, label string, f Field) Field {
	f.Type, f.Options = "select", append(f.Options[:len(f.Options):len(f.Options)], Option{value, label})
	return f
}

// Empty stands where a list has nothing: what it is for, and what to do next.
type Empty struct{ Heading, Words, Path, Label string }

func newEmpty(heading, words string, next ...string) Empty {
	e := Empty{Heading: heading, Words: words}
	if len(next) == 2 {
		e.Path, e.Label = next[0], next[1]
	}
	return e
}

// More leads to the next page of a list.
type More struct{ Path string }

func newMore(path, cursor string) More {
	if cursor == "" {
		return More{}
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return More{path + sep + "cursor=" + template.URLQueryEscaper(cursor)}
}

// sizeWords writes a size as people read it.
func sizeWords(n int64) string {
	const unit = 1000
	if n < unit {
		return plural(n, "byte", "bytes")
	}
	f, i := float64(n), -1
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	digits := 1
	if f >= 100 {
		digits = 0
	}
	return strconv.FormatFloat(f, 'f', digits, 64) + " " + []string{"kB", "MB", "GB", "TB", "PB"}[i]
}

// number groups digits by thousands, with a narrow space.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func plural(n any, one, many string) string {
	var count int64
	switch n := n.(type) {
	case int:
		count = int64(n)
	case int64:
		count = n
	}
	if count == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return number(count) + " " + many
}

func roleName(r client.Role) string {
	switch r {
	case client.Scientist:
		return "Scientist"
	case client.Analyst:
		return "Analyst"
	case client.OrgAdmin:
		return "Organization admin"
	case client.SecurityAdmin:
		return "Security admin"
	case client.BillingAdmin:
		return "Billing admin"
	case client.SystemAdmin:
		return "System admin"
	}
	return string(r)
}

// initial is the letter that stands for a person.
func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return "?"
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Crumb is one step of the way to a page; the last has no path.
type Crumb struct{ Label, Path string }

// newCrumbs takes label and path in turns, and at last the page's own label.
func newCrumbs(steps ...string) (out []Crumb) {
	for i := 0; i < len(steps); i += 2 {
		c := Crumb{Label: steps[i]}
		if i+1 < len(steps) {
			c.Path = steps[i+1]
		}
		out = append(out, c)
	}
	return out
}

// RoleSet is a choice among roles.
type RoleSet struct {
	Legend  string
	Choices []RoleChoice
	Error   string
	Part    string // tells two of one page apart
}

func newRoleSet(legend string, choices []RoleChoice, err any, part string) RoleSet {
	text, _ := err.(string)
	return RoleSet{legend, choices, text, part}
}

// ending is that of a file's name, where it is one that says something.
func ending(name string) string {
	if e := strings.TrimPrefix(path.Ext(name), "."); len(e) <= 4 && !strings.ContainsFunc(e, func(r rune) bool { return r > unicode.MaxASCII }) {
		return e
	}
	return ""
}
