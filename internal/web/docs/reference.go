package docs

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"strongroom/internal/base/policy"
	"strongroom/internal/web/openapi"
)

const (
	referencePath    = Prefix + "api"
	referenceSection = "API reference"
	rolesPath        = Prefix + "roles"
)

// operation is one operation as its page shows it.
type operation struct {
	ID, Method, Path, Summary string
	About                     []string // paragraphs
	Action, Words, Roles      string
	Parameters                []row
	Body                      *shape
	Answers                   []answer
	Failures                  []failure
	Curl                      string
}

// shape is a body: one line a member, nested ones by their path.
type shape struct {
	Media, About string
	Rows         []row
	Example      string
}

type row struct {
	Name, In, Type, Limits, About string
	Required                      bool
}

type answer struct {
	Status, Title, About string
	Headers              []row
	Body                 *shape
}

type failure struct{ Status, Code string }

func referencePages(doc *openapi.Document) (all []page, err error) {
	byTag := map[string][]operation{}
	for _, op := range doc.Operations() {
		byTag[op.Tags[0]] = append(byTag[op.Tags[0]], describe(doc, op))
	}
	type group struct {
		Name, About, Path string
		Operations        []operation
	}
	var groups []group
	add := func(name, about string) {
		if ops := byTag[name]; ops != nil {
			groups = append(groups, group{name, about, referencePath + "/" + anchor(name), ops})
			delete(byTag, name)
		}
	}
	for _, t := range doc.Tags {
		add(t.Name, t.Description)
	}
	var rest []string
	for name := range byTag {
		rest = append(rest, name)
	}
	slices.Sort(rest)
	for _, name := range rest {
		add(name, "")
	}
	var b bytes.Buffer
	if err := frame.ExecuteTemplate(&b, "reference", struct {
		Info   openapi.Info
		Groups []group
	}{doc.Info, groups}); err != nil {
		return nil, fmt.Errorf("docs: reference: %w", err)
	}
	all = append(all, page{path: referencePath, title: "API reference", section: referenceSection, lead: "Every operation, made from the description of the API that runs here.",
		body: template.HTML(b.String())}) //nolint:gosec // made by html/template
	for _, g := range groups {
		var b bytes.Buffer
		if err := frame.ExecuteTemplate(&b, "operations", g); err != nil {
			return nil, fmt.Errorf("docs: reference: %w", err)
		}
		p := page{path: g.Path, title: g.Name, section: referenceSection, lead: g.About, body: template.HTML(b.String())} //nolint:gosec // made by html/template
		for _, op := range g.Operations {
			p.toc = append(p.toc, heading{op.ID, op.Summary})
		}
		all = append(all, p)
	}
	return all, nil
}

func describe(doc *openapi.Document, op *openapi.Operation) operation {
	action := policy.Action(op.Action)
	out := operation{ID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Action: op.Action, Words: policy.Describe(action), Roles: whoMay(action),
		Curl: Curl(doc, op)}
	if op.Description != "" {
		out.About = strings.Split(op.Description, "\n\n")
	}
	params := slices.Clone(op.Parameters)
	order := []string{"path", "query", "header"}
	slices.SortStableFunc(params, func(a, b openapi.Parameter) int { return slices.Index(order, a.In) - slices.Index(order, b.In) })
	for _, p := range params {
		out.Parameters = append(out.Parameters, row{p.Name, p.In, typeOf(doc, p.Schema), limits(doc.Resolve(p.Schema)), p.Description, p.Required})
	}
	if op.RequestBody != nil {
		out.Body = shapeOf(doc, op.RequestBody.Content)
		out.Body.About = op.RequestBody.Description
		if s := op.RequestBody.JSON(); s != nil {
			out.Body.Example = bodyExample(doc, op)
		}
	}
	var statuses []string
	for status := range op.Responses {
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	for _, status := range statuses {
		r := op.Responses[status]
		if status < "400" {
			a := answer{Status: status, Title: r.Description, Body: shapeOf(doc, r.Content)}
			for name, h := range r.Headers {
				about := h.Description
				if about == "" && h.Schema != nil {
					about = h.Schema.Description
				}
				a.Headers = append(a.Headers, row{Name: name, In: "header", Type: typeOf(doc, h.Schema), About: about})
			}
			slices.SortFunc(a.Headers, func(a, b row) int { return strings.Compare(a.Name, b.Name) })
			out.Answers = append(out.Answers, a)
			continue
		}
		out.Failures = append(out.Failures, failure{status, codeOf[status]})
	}
	return out
}

// codeOf gives each status of a problem the code that comes with it.
var codeOf = map[string]string{"400": "malformed", "401": "unauthenticated", "403": "denied", "404": "not_found", "405": "method_not_allowed", "408": "too_slow",
	"409": "conflict", "412": "stale", "413": "too_large", "415": "unsupported_media", "416": "range_not_satisfiable", "422": "invalid",
	"428": "precondition_required", "429": "too_many", "500": "internal", "503": "unavailable"}

func whoMay(a policy.Action) string {
	switch policy.StandingOf(a) {
	case policy.Anyone:
		return "everybody"
	case policy.SignedIn:
		return "whoever has signed in"
	}
	var names []string
	for _, r := range policy.Roles {
		if policy.Allow([]policy.Role{r}, a) {
			names = append(names, string(r))
		}
	}
	return strings.Join(names, ", ")
}

func shapeOf(doc *openapi.Document, content map[string]openapi.Media) *shape {
	for _, media := range slices.Sorted(keys(content)) {
		s := &shape{Media: media}
		members(doc, &s.Rows, "", content[media].Schema, nil)
		return s
	}
	return nil
}

// members lists what an object has, one line each, and what is in those.
func members(doc *openapi.Document, rows *[]row, prefix string, s *openapi.Schema, above []string) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		if slices.Contains(above, s.Name()) {
			return // a shape that holds itself is listed once
		}
		above = append(slices.Clone(above), s.Name())
	}
	r := doc.Resolve(s)
	if r.Type.Is("array") {
		if prefix != "" {
			prefix = strings.TrimSuffix(prefix, ".") + "[]."
		}
		members(doc, rows, prefix, r.Items, above)
		return
	}
	for _, f := range r.Fields() {
		about := f.Schema.Description
		if about == "" {
			about = doc.Resolve(f.Schema).Description
		}
		*rows = append(*rows, row{Name: prefix + f.Name, Type: typeOf(doc, f.Schema), Limits: limits(doc.Resolve(f.Schema)), About: about, Required: f.Required})
		members(doc, rows, prefix+f.Name+".", f.Schema, above)
	}
}

func typeOf(doc *openapi.Document, s *openapi.Schema) string {
	r := doc.Resolve(s)
	if r == nil {
		return ""
	}
	name := "any JSON"
	if len(r.Type) > 0 {
		name = strings.Join(r.Type, " or ")
	}
	switch {
	case r.Type.Is("array"):
		if name = "array"; r.Items != nil {
			name += " of " + typeOf(doc, r.Items)
		}
	case r.Format == "date-time":
		name = "time"
	case r.Format == "binary":
		name = "bytes"
	}
	return name
}

// limits says in words what a schema asks of a value beyond its type.
func limits(s *openapi.Schema) string {
	if s == nil {
		return ""
	}
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if s.Type.Is("array") && s.Items != nil && len(s.Items.Enum) > 0 {
		say("each one of %s", oneOf(s.Items))
	}
	if len(s.Enum) > 0 {
		say("one of %s", oneOf(s))
	}
	between := func(unit string, low, high *int) {
		switch {
		case low != nil && high != nil:
			say("%d to %d %s", *low, *high, unit)
		case low != nil:
			say("%d %s or more", *low, unit)
		case high != nil:
			say("up to %d %s", *high, unit)
		}
	}
	between("characters", s.MinLength, s.MaxLength)
	between("items", s.MinItems, s.MaxItems)
	between("members", s.MinProps, s.MaxProps)
	if s.Minimum != nil {
		say("%s or more", s.Minimum)
	}
	if s.Maximum != nil {
		say("%s or less", s.Maximum)
	}
	if s.Pattern != "" {
		say("matches %s", s.Pattern)
	}
	if len(s.Default) > 0 {
		say("default %s", strings.Trim(string(s.Default), `"`))
	}
	return strings.Join(all, "; ")
}

func oneOf(s *openapi.Schema) string {
	var names []string
	for _, v := range s.Enum {
		names = append(names, strings.Trim(string(v), `"`))
	}
	return strings.Join(names, ", ")
}

var (
	wildcard   = regexp.MustCompile(`\{([a-z]+)\}`)
	beforeVerb = regexp.MustCompile(`\$([A-Z_]+):`)
)

// variable names the shell variable that stands for a parameter of a path.
func variable(op *openapi.Operation, name string) string {
	if name == "id" {
		before, _, _ := strings.Cut(op.Path, "/{id}")
		noun := before[strings.LastIndexByte(before, '/')+1:]
		return strings.ToUpper(strings.TrimSuffix(noun, "s"))
	}
	return strings.ToUpper(name)
}

func bodyExample(doc *openapi.Document, op *openapi.Operation) string {
	if e := op.RequestBody.Content["application/json"].Example; len(e) > 0 {
		return indent(e)
	}
	return doc.Example(op.RequestBody.JSON())
}

// Curl writes an operation as a command that works once its variables are set:
// $URL, $TOKEN and those of the path.
func Curl(doc *openapi.Document, op *openapi.Operation) string {
	var b strings.Builder
	b.WriteString("curl --cacert ca.pem")
	if op.Method != http.MethodGet {
		b.WriteString(" -X " + op.Method)
	}
	url := wildcard.ReplaceAllStringFunc(op.Path, func(m string) string { return "$" + variable(op, m[1:len(m)-1]) })
	// zsh reads what follows a variable's colon as a modifier.
	url = beforeVerb.ReplaceAllString(url, "$${$1}:")
	var query []string
	for _, p := range op.Parameters {
		if p.In == "query" && p.Required {
			query = append(query, p.Name+"="+strings.Trim(doc.Example(p.Schema), `"`))
		}
	}
	if len(query) > 0 {
		url += "?" + strings.Join(query, "&")
	}
	fmt.Fprintf(&b, ` "$URL%s"`, url)
	head := func(text string) { b.WriteString(" \\\n  -H " + text) }
	if len(op.Security) > 0 {
		head(`"Authorization: Bearer $TOKEN"`)
	}
	for _, p := range op.Parameters {
		switch {
		case p.In == "header" && p.Name == "If-Match" && p.Required:
			head(`'If-Match: "1"'`)
		case p.In == "header" && p.Name == "Content-Disposition":
			head(`"Content-Disposition: attachment; filename=\"frame.tif\""`)
		}
	}
	if op.RequestBody != nil {
		if op.RequestBody.JSON() != nil {
			head("'Content-Type: application/json'")
			b.WriteString(" \\\n  --data '" + strings.ReplaceAll(bodyExample(doc, op), "'", `'\''`) + "'")
		} else {
			head("'Content-Type: image/tiff'")
			b.WriteString(" \\\n  --data-binary @frame.tif")
		}
	}
	if _, r := op.Success(); r != nil && r.JSON() == nil && len(r.Content) > 0 {
		b.WriteString(" \\\n  -o answer")
	}
	return b.String()
}

func rolesPage() page {
	type line struct {
		Words, Action string
		May           []bool
	}
	type group struct {
		Name  string
		Lines []line
	}
	type role struct{ Name, Words string }
	var v struct {
		Roles  []role
		Groups []group
	}
	for _, r := range policy.Roles {
		v.Roles = append(v.Roles, role{string(r), policy.DescribeRole(r)})
	}
	p := page{path: rolesPath, title: "Who may do what", section: "The API", lead: "The six roles and every action, as the code has them."}
	for _, g := range policy.Groups() {
		out := group{Name: g.Name}
		for _, a := range g.Actions {
			l := line{Words: policy.Describe(a), Action: string(a)}
			for _, r := range policy.Roles {
				l.May = append(l.May, policy.Allow([]policy.Role{r}, a) || policy.Open(a, true))
			}
			out.Lines = append(out.Lines, l)
		}
		v.Groups = append(v.Groups, out)
		p.toc = append(p.toc, heading{anchor(g.Name), g.Name})
	}
	var b bytes.Buffer
	if err := frame.ExecuteTemplate(&b, "roles", v); err != nil {
		panic("docs: roles: " + err.Error()) // of data that the code itself holds
	}
	p.body = template.HTML(b.String()) //nolint:gosec // made by html/template
	return p
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
