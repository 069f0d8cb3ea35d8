// Package docs_test holds the pages to the code: what they list is what there
// is, what they quote is what the program says, and links lead somewhere.
package docs_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/app/config"
	"strongroom/internal/base/fault"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns what stands under a heading, up to the next one of its rank
// or above.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	rank := strings.IndexByte(heading, ' ')
	_, rest, found := strings.Cut("\n"+page, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	if end := regexp.MustCompile(fmt.Sprintf(`\n#{1,%d} `, rank)).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// rows returns the cells of the tables in text, headings left out.
func rows(text string) (all [][]string) {
	head := true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			head = true
		case strings.HasPrefix(line, "|---"):
			head = false
		case !head:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
	}
	return all
}

func same(t *testing.T, where string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s lists what there is not: %s", where, g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s lacks: %s", where, w)
		}
	}
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("%s lists something twice", where)
	}
}

// The golden list is taken from a migrated database by a test of its own.
func TestTheThreatModelListsEveryClearColumnWithItsReason(t *testing.T) {
	t.Parallel()
	page := section(t, read(t, "threat-model.md"), "## The clear columns")
	var got []string
	for _, part := range strings.Split(page, "\n#### `")[1:] {
		table, rest, _ := strings.Cut(part, "`\n")
		for _, cells := range rows(rest) {
			if len(cells) != 3 || len(cells[2]) < 3 {
				t.Fatalf("%s: no reason is given in %q", table, cells)
			}
			got = append(got, table+"."+strings.Trim(cells[0], "`")+" "+cells[1])
		}
	}
	golden := read(t, filepath.FromSlash("../internal/store/platform/testdata/clear_columns.golden"))
	same(t, "threat-model.md", got, strings.Split(strings.TrimSpace(golden), "\n"))
}

// code is a file of the product.
type code struct {
	dir  string
	file *ast.File
}

var product = sync.OnceValues(func() (all []code, err error) {
	for _, root := range []string{"../internal", "../cmd", "../client"} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.Contains(filepath.ToSlash(p), "/testkit/") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
			all = append(all, code{strings.TrimPrefix(filepath.ToSlash(filepath.Dir(p)), "../"), f})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
})

func each(t *testing.T, do func(dir string, n ast.Node)) {
	t.Helper()
	all, err := product()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		ast.Inspect(c.file, func(n ast.Node) bool { do(c.dir, n); return true })
	}
}

// text returns the value of a string constant written out, + included.
func text(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, ok := text(e.X)
		y, also := text(e.Y)
		return x + y, ok && also && e.Op == token.ADD
	case *ast.ParenExpr:
		return text(e.X)
	}
	return "", false
}

func selector(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return selector(e.X) + "." + e.Sel.Name
	}
	return ""
}

var httpStatus = map[string]int{
	"http.StatusBadRequest": http.StatusBadRequest, "http.StatusUnauthorized": http.StatusUnauthorized, "http.StatusForbidden": http.StatusForbidden,
	"http.StatusNotFound": http.StatusNotFound, "http.StatusMethodNotAllowed": http.StatusMethodNotAllowed, "http.StatusRequestTimeout": http.StatusRequestTimeout,
	"http.StatusConflict": http.StatusConflict, "http.StatusPreconditionFailed": http.StatusPreconditionFailed,
	"http.StatusRequestEntityTooLarge": http.StatusRequestEntityTooLarge, "http.StatusUnsupportedMediaType": http.StatusUnsupportedMediaType,
	"http.StatusRequestedRangeNotSatisfiable": http.StatusRequestedRangeNotSatisfiable, "http.StatusUnprocessableEntity": http.StatusUnprocessableEntity,
	"http.StatusPreconditionRequired": http.StatusPreconditionRequired, "http.StatusTooManyRequests": http.StatusTooManyRequests,
	"http.StatusInternalServerError": http.StatusInternalServerError, "http.StatusServiceUnavailable": http.StatusServiceUnavailable,
}

// kinds gives each constant of fault its code.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	each(t, func(dir string, n ast.Node) {
		d, ok := n.(*ast.GenDecl)
		if !ok || dir != "internal/base/fault" || d.Tok != token.CONST || len(d.Specs) == 0 {
			return
		}
		if first := d.Specs[0].(*ast.ValueSpec); selector(first.Type) != "Kind" {
			return
		}
		for i, s := range d.Specs {
			out["fault."+s.(*ast.ValueSpec).Names[0].Name] = fault.Kind(i).String()
		}
	})
	return out
}

func TestTheProblemCodesAreTheCodes(t *testing.T) {
	t.Parallel()
	names := kinds(t)
	var want []string
	each(t, func(dir string, n ast.Node) {
		c, ok := n.(*ast.CompositeLit)
		if !ok || dir != "internal/web/api" {
			return
		}
		switch m, isMap := c.Type.(*ast.MapType); {
		case isMap && selector(m.Key) == "fault.Kind":
			for _, e := range c.Elts {
				pair := e.(*ast.KeyValueExpr)
				want = append(want, fmt.Sprint(httpStatus[selector(pair.Value)], " ", names[selector(pair.Key)]))
			}
		case selector(c.Type) == "refusal":
			s, _ := text(c.Elts[2])
			want = append(want, fmt.Sprint(httpStatus[selector(c.Elts[1])], " ", s))
		}
	})
	if len(want) < len(names) || len(names) < 10 {
		t.Fatalf("found %d problems of %d kinds: the test looks in the wrong place", len(want), len(names))
	}
	var got []string
	for _, cells := range rows(section(t, read(t, "errors.md"), "## Codes of a problem")) {
		got = append(got, cells[0]+" "+strings.Trim(cells[1], "`"))
	}
	same(t, "errors.md", got, want)
}

// detailAt says which argument of the functions that make a detail is its
// code.
var detailAt = map[string]int{
	"internal fault.At": 2, "internal/web/api malformed": 1, "internal/web/api s.fail": 0, "internal/kind p.fail": 1, "internal/kind w.add": 2, "internal/kind bad": 1,
}

func TestTheDetailCodesAreTheCodes(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	add := func(e ast.Expr) {
		if s, ok := text(e); ok {
			found[s] = true
		}
	}
	each(t, func(dir string, n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			fun := selector(n.Fun)
			for key, i := range detailAt {
				if where, name, _ := strings.Cut(key, " "); name == fun && (dir == where || where == "internal") && len(n.Args) > i {
					add(n.Args[i])
				}
			}
		case *ast.CompositeLit:
			if selector(n.Type) == "fault.Detail" {
				for _, e := range n.Elts {
					if p, ok := e.(*ast.KeyValueExpr); ok && selector(p.Key) == "Code" {
						add(p.Value)
					}
				}
			}
		case *ast.ValueSpec: // the words for huma's findings
			if dir != "internal/feature" || n.Names[0].Name != "explanations" {
				return
			}
			for _, e := range n.Values[0].(*ast.CompositeLit).Elts {
				add(e.(*ast.CompositeLit).Elts[1])
			}
		case *ast.FuncDecl:
			if dir != "internal/feature" || n.Name.Name != "explain" {
				return
			}
			ast.Inspect(n, func(n ast.Node) bool {
				if r, ok := n.(*ast.ReturnStmt); ok {
					add(r.Results[0])
				}
				return true
			})
		}
	})
	if len(found) < 50 {
		t.Fatalf("found %d codes: the test looks in the wrong place", len(found))
	}
	var got []string
	for _, cells := range rows(section(t, read(t, "errors.md"), "## Codes of a detail")) {
		got = append(got, strings.Trim(cells[0], "`"))
	}
	same(t, "errors.md", got, slices.Collect(maps.Keys(found)))
}

func TestTheSettingsAreTheSettings(t *testing.T) {
	t.Parallel()
	var got, want []string
	for _, cells := range rows(section(t, read(t, "operations.md"), "## Settings")) {
		got = append(got, strings.Join(cells, " | "))
	}
	for _, s := range config.Describe() {
		want = append(want, strings.Join([]string{"`" + s.Key + "`", "`" + s.Variable + "`", cmp.Or(s.Default, "—"), s.Doc}, " | "))
	}
	same(t, "operations.md", got, want)
}

var (
	verbs       = regexp.MustCompile(`%[-+#0 ]*[0-9.*]*[a-zA-Z]`)
	placeholder = regexp.MustCompile(`<[a-z ]+>`)
)

// TestTheSentencesAreTheProgramsOwn cuts every quoted sentence at its
// placeholders and lays it out with what stands in the source.
func TestTheSentencesAreTheProgramsOwn(t *testing.T) {
	t.Parallel()
	pieces := map[byte][]string{}
	each(t, func(_ string, n ast.Node) {
		e, ok := n.(ast.Expr)
		if !ok {
			return
		}
		s, ok := text(e)
		if !ok {
			return
		}
		for _, p := range verbs.Split(strings.TrimSuffix(s, "\n"), -1) {
			if p != "" && !slices.Contains(pieces[p[0]], p) {
				pieces[p[0]] = append(pieces[p[0]], p)
			}
		}
	})
	page := read(t, "operations.md")
	quotes := regexp.MustCompile("(?m)^```text\n((?s:.+?))\n```$").FindAllStringSubmatch(page, -1)
	if len(quotes) < 10 {
		t.Fatalf("%d quotes: the test looks in the wrong place", len(quotes))
	}
	for _, q := range quotes {
		sentence := strings.ReplaceAll(q[1], "\n", " ")
		for _, part := range placeholder.Split(sentence, -1) {
			if rest := unlaid(part, pieces); rest != "" {
				t.Errorf("the program does not say %q, in:\n%s", rest, sentence)
			}
		}
	}
}

// unlaid returns what is left of s when as much of it as possible is covered by
// pieces, end to end.
func unlaid(s string, pieces map[byte][]string) string {
	reach := make([]bool, len(s)+1)
	reach[0] = true
	far := 0
	for i := range s {
		if !reach[i] {
			continue
		}
		far = i
		for _, p := range pieces[s[i]] {
			if (len(p) > 3 || len(p) == len(s)-i || i == 0) && strings.HasPrefix(s[i:], p) {
				reach[i+len(p)] = true
			}
		}
		if strings.ContainsRune(" :0123456789", rune(s[i])) { // numbers, and what stands before a cause
			reach[i+1] = true
		}
	}
	if reach[len(s)] {
		return ""
	}
	return s[far:]
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("design/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(append(pages, more...), "../README.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && (info.IsDir() || !slices.Contains(anchors(read(t, target)), anchor)) {
				t.Errorf("%s: %s has no such heading", page, m[1])
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		all = append(all, name)
	}
	return all
}
