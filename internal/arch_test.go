// Package internal_test holds the house to its plan: imports point down,
// features are strangers to each other, SQL stands in the source, and the
// powers that must stay in few hands stay there.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors lists the building from the ground up. A package imports from its
// own floor and below. An entry that ends in /* stands for every folder below
// it, nested ones included.
var floors = [][]string{
	{"base/fault", "base/id", "base/keytree", "base/merkle"},
	{"base/policy", "base/seal"},
	{"identity/internal/principal"},
	{"identity/actor", "osproc", "mail"},
	{"blob", "postgres", "keyservice/internal/*", "keyservice/guardian"},
	{"keyservice"},
	{"store/internal/pg"},
	{"store/audit"},
	{"store/internal/unit"},
	{"store/platform", "store/platform/bootstrap", "kind"},
	{"store/tenant"},
	{"identity"},
	{"feature"},
	{"feature/*"},
	{"web/api"},
	{"web/console/*", "web/docs", "web/openapi", "web/trust"},
	{"web/console"},
	{"web"},
	{"app/*"},
	{"app"},
	{"identity/actortest", "testkit/*", "testkit", "bench"},
}

func floorOf(pkg string) int {
	for i, f := range floors {
		if slices.Contains(f, pkg) {
			return i
		}
	}
	for i, f := range floors {
		for _, name := range f {
			if prefix, ok := strings.CutSuffix(name, "*"); ok && strings.HasPrefix(pkg, prefix) {
				return i
			}
		}
	}
	return -1
}

// source is one parsed file of the house.
type source struct {
	pkg  string // folder below internal/
	path string
	file *ast.File
	test bool
}

// house parses every file. It reads them itself: go test would cache a run
// that asks the go command.
func house(t *testing.T) (all []source, fset *token.FileSet) {
	t.Helper()
	fset = token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
			return err
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path.Dir(filepath.ToSlash(p)), filepath.ToSlash(p), f, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, fset
}

// feature returns the feature that a package belongs to.
func featureOf(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "feature/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func imports(f *ast.File) (out []string) {
	for _, s := range f.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		out = append(out, p)
	}
	return out
}

func TestImportsPointDownAndFeaturesAreStrangers(t *testing.T) {
	all, _ := house(t)
	for _, s := range all {
		if s.test || s.pkg == "." {
			continue
		}
		from := floorOf(s.pkg)
		if from < 0 {
			t.Errorf("%s has no floor; add it to floors", s.pkg)
			continue
		}
		for _, imp := range imports(s.file) {
			ours, ok := strings.CutPrefix(imp, "strongroom/internal/")
			if !ok {
				continue
			}
			if to := floorOf(ours); to > from {
				t.Errorf("%s imports %s, which is above it", s.path, ours)
			}
			if a, b := featureOf(s.pkg), featureOf(ours); a != "" && b != "" && a != b {
				t.Errorf("%s imports the feature %s; features meet by ids, not by imports", s.path, b)
			}
		}
	}
}

// powers lists what only few may import.
var powers = []struct {
	imp string
	may []string
	why string
}{
	{"github.com/jackc/pgx/v5", []string{"store/", "testkit", "bench", "app"}, "connections belong to the store"},
	{"database/sql", []string{"store/", "base/id", "base/seal", "testkit"}, "connections belong to the store"},
	{"strongroom/internal/identity/actortest", []string{"testkit", "bench"}, "actors are minted by identity"},
	{"strongroom/internal/testkit", []string{"testkit", "bench"}, "test helpers stay out of the product"},
	{"os/exec", []string{"app/", "osproc", "postgres", "testkit", "bench", "store/platform"}, "processes belong to the supervisor"},
	{"unsafe", nil, "nothing here needs it"},
}

func TestPowersStayInFewHands(t *testing.T) {
	all, _ := house(t)
	for _, s := range all {
		if s.test {
			continue
		}
		for _, imp := range imports(s.file) {
			for _, p := range powers {
				if imp != p.imp && !strings.HasPrefix(imp, p.imp+"/") {
					continue
				}
				if !slices.ContainsFunc(p.may, func(m string) bool { return s.pkg == strings.TrimSuffix(m, "/") || strings.HasPrefix(s.pkg, m) }) {
					t.Errorf("%s imports %s: %s", s.path, imp, p.why)
				}
			}
		}
	}
}

// TestTheConsoleHasNoPowerOfItsOwn holds the pages to the API: of the house
// they know what is pure (the forms of kinds, the words of policy) and nothing
// that could read or write by itself.
func TestTheConsoleHasNoPowerOfItsOwn(t *testing.T) {
	all, _ := house(t)
	seen := 0
	for _, s := range all {
		if s.test || s.pkg != "web/console" && !strings.HasPrefix(s.pkg, "web/console/") {
			continue
		}
		seen++
		for _, imp := range imports(s.file) {
			ours, ok := strings.CutPrefix(imp, "strongroom/internal/")
			if !ok || ours == "kind" || strings.HasPrefix(ours, "base/") || strings.HasPrefix(ours, "web/console/") {
				continue
			}
			t.Errorf("%s imports %s: a page asks the API, through the client", s.path, ours)
		}
	}
	if seen == 0 {
		t.Error("no page was found: the test looks in the wrong place")
	}
}

// TestPeekIsForIdentityAlone holds the one way past the audit rule where it
// belongs.
func TestPeekIsForIdentityAlone(t *testing.T) {
	all, fset := house(t)
	for _, s := range all {
		if s.test || s.pkg == "identity" || strings.HasPrefix(s.pkg, "store/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Peek" {
				if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "platform" || x.Name == "unit") {
					t.Errorf("%s: %s.Peek is for identity.Authenticate", fset.Position(n.Pos()), x.Name)
				}
			}
			return true
		})
	}
}

// TestOnlyChecksLookAtRowsAsTheyAreStored holds what the checks of the
// promises need, and nobody else, where it belongs: reading tables as text, and
// running hostile SQL.
func TestOnlyChecksLookAtRowsAsTheyAreStored(t *testing.T) {
	all, fset := house(t)
	seen := 0
	for _, s := range all {
		if s.test || strings.HasPrefix(s.pkg, "store/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Raw" && sel.Sel.Name != "Probe" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "tenant" {
				seen++
				if path.Base(s.path) != "prove.go" && s.pkg != "feature/trust/checks" {
					t.Errorf("%s: tenant.%s is for the checks of the promises", fset.Position(n.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no check was found: the test looks in the wrong place")
	}
}

// forbidden is SQL that a feature has no business with: it ends or begins
// transactions, changes settings or roles, or puts several statements in one.
var forbidden = regexp.MustCompile(`(?i)(^|[\s;(])(begin|commit|rollback|savepoint|release|set\s+(local|session|role|transaction|search_path)|reset|set_config|copy|listen|notify|unlisten|prepare|deallocate|discard|create|alter|drop|grant|revoke|do\s+\$|declare|lock\s+table|vacuum|truncate)(\s|\(|;|$)|;\s*\S|\bselect\s+\*`)

// TestSQLStandsInTheSource refuses SQL that is built at run time, and SQL
// that could leave its transaction.
func TestSQLStandsInTheSource(t *testing.T) {
	all, fset := house(t)
	seen := 0
	for _, s := range all {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if !isLit(s.pkg, n.Fun) {
					return true
				}
				seen++
				lit, ok := n.Args[0].(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING || len(n.Args) != 1 {
					t.Errorf("%s: Lit takes one literal, written out", fset.Position(n.Pos()))
					return false
				}
				text, _ := strconv.Unquote(lit.Value)
				if m := forbidden.FindString(text); m != "" {
					t.Errorf("%s: this SQL does not belong in a feature: %q", fset.Position(n.Pos()), strings.TrimSpace(m))
				}
				return false
			case *ast.SelectorExpr:
				// Lit handed on as a value could be called with anything.
				if isLit(s.pkg, n) && !strings.HasPrefix(s.pkg, "store/") {
					t.Errorf("%s: Lit is called, not passed on", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no statement was found: the test looks in the wrong place")
	}
}

func isLit(pkg string, fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Lit" {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && (x.Name == "tenant" || x.Name == "platform" || x.Name == "unit")
}

func TestTheGuardsSeeWhatTheyForbid(t *testing.T) {
	for _, sql := range []string{"COMMIT", "SELECT 1; SELECT 2", "set role w_1", "SELECT set_config('role','x',true)", "RESET ROLE", "COPY t TO STDOUT",
		"SELECT * FROM record", "CREATE TEMP TABLE x()", "DO $$ BEGIN END $$", "WITH x AS (SELECT 1) SELECT 1 FROM x; ROLLBACK"} {
		if !forbidden.MatchString(sql) {
			t.Errorf("%q passes", sql)
		}
	}
	for _, sql := range []string{"SELECT id, created_at FROM record WHERE org_id = $1", "INSERT INTO record (org_id) VALUES ($1) ON CONFLICT DO NOTHING",
		"UPDATE record SET version = $2 WHERE org_id = $1 AND id = $3", "SELECT released FROM link"} {
		if m := forbidden.FindString(sql); m != "" {
			t.Errorf("%q is refused for %q", sql, m)
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	all, _ := house(t)
	doc := map[string]bool{}
	for _, s := range all {
		if s.test || s.pkg == "." {
			continue
		}
		doc[s.pkg] = doc[s.pkg] || s.file.Doc != nil && len(s.file.Doc.Text()) > 40
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}
