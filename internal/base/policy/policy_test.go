package policy

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/roles.golden anew")

const golden = "testdata/roles.golden"

func TestTheRoleMatrixIsTheOneThatPeopleRead(t *testing.T) {
	got := matrix()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the table of roles has changed: read it, then run go test -update\n%s", got)
	}
}

// matrix prints who may do what, for people who do not read Go.
func matrix() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("WHO MAY DO WHAT")
	p("")
	p("  yes   somebody in this role may do it, in the organization where she holds the role")
	p("  own   everybody may do it, for herself alone; no role is needed")
	p("  yes*  the same, for people only: a key for a program never gets it")
	p("  -     the role does not allow it; the attempt is refused and goes on the record")
	p("")
	p("Somebody with several roles may do what any of them allows. A role in one")
	p("organization means nothing in another. What this table does not name, nobody may do.")
	p("")
	for _, r := range Roles {
		p("  %-15s %s", r, DescribeRole(r))
	}
	for _, g := range Groups() {
		p("")
		p("%-58s  %s", strings.ToUpper(g.Name), "Scientist  Analyst  OrgAdmin  SecurityAdmin  BillingAdmin  SystemAdmin")
		for _, a := range g.Actions {
			line := fmt.Sprintf("  %-58s", Describe(a))
			for i, r := range Roles {
				width := []int{11, 9, 10, 15, 14, 11}[i]
				line += fmt.Sprintf("%-*s", width, cell(r, a))
			}
			p("%s[%s]", line, a)
		}
	}
	return b.Bytes()
}

func cell(r Role, a Action) string {
	switch {
	case Open(a, true):
		return "own"
	case Allow([]Role{r}, a) && IsOrgRole(r) && !Delegable(a):
		return "yes*"
	case Allow([]Role{r}, a):
		return "yes"
	}
	return "-"
}

func TestNobodyButTheNamedRolesMay(t *testing.T) {
	holders := func(a Action) (got []Role) {
		for _, r := range Roles {
			if Allow([]Role{r}, a) {
				got = append(got, r)
			}
		}
		return
	}
	for _, tt := range []struct {
		action Action
		want   []Role
	}{
		{MemberAdd, []Role{OrgAdmin}},
		{MemberUpdate, []Role{OrgAdmin}},
		{MemberRemove, []Role{OrgAdmin}},
		{KeyCreate, []Role{OrgAdmin}},
		{KeyRevoke, []Role{OrgAdmin, SecurityAdmin}},
		{CollectionCreate, []Role{OrgAdmin}},
		{RecordDeleteAny, []Role{OrgAdmin}},
		{FileDeleteAny, []Role{OrgAdmin}},
		{RecordCreate, []Role{Scientist}},
		{RecordUpdate, []Role{Scientist}},
		{RecordRead, []Role{Scientist, Analyst}},
		{FileDownload, []Role{Scientist, Analyst}},
		{ExportRun, []Role{Analyst}},
		{TrailRead, []Role{SecurityAdmin}},
		{OrgCreate, []Role{SystemAdmin}},
		{OrgListAll, []Role{SystemAdmin}},
	} {
		if got := holders(tt.action); !slices.Equal(got, tt.want) {
			t.Errorf("to %s: held by %v, want %v", Describe(tt.action), got, tt.want)
		}
	}
}

// inside lists the actions that happen within an organization, taken from the
// headings, so that a new action is judged by the laws without being listed
// here.
func inside() (all []Action) {
	for _, g := range Groups() {
		if g.Name != "The installation" && g.Name != "Signing in" {
			all = append(all, g.Actions...)
		}
	}
	return
}

func TestASystemAdminMayDoNothingInsideAnOrganization(t *testing.T) {
	for _, a := range inside() {
		if Allow([]Role{SystemAdmin}, a) {
			t.Errorf("SystemAdmin may %s", Describe(a))
		}
	}
}

func TestNoRoleOfAnOrganizationReachesTheInstallation(t *testing.T) {
	in := inside()
	for _, r := range Roles {
		for _, a := range Actions() {
			if IsOrgRole(r) && !slices.Contains(in, a) && Allow([]Role{r}, a) {
				t.Errorf("%s may %s", r, Describe(a))
			}
		}
	}
	if IsOrgRole(SystemAdmin) || IsOrgRole("") || IsOrgRole("owner") {
		t.Error("a role that no organization gives counts as one of theirs")
	}
}

func TestAnAnalystChangesNothing(t *testing.T) {
	// An archive of one's own is a copy: what it was made of stays as it is.
	own := []Action{ExportCreate, ExportBuild, ExportExpire}
	for _, a := range Actions() {
		if Allow([]Role{Analyst}, a) && !IsRead(a) && !slices.Contains(own, a) {
			t.Errorf("Analyst may %s", Describe(a))
		}
	}
}

func TestAnAdministratorOpensNoRecordAndNoFile(t *testing.T) {
	for _, a := range []Action{RecordRead, RecordList, RecordHistory, FileRead, FileDownload, FileList, LinkList, ExportRun} {
		for _, r := range []Role{OrgAdmin, SecurityAdmin, BillingAdmin, SystemAdmin} {
			if Allow([]Role{r}, a) {
				t.Errorf("%s may %s", r, Describe(a))
			}
		}
	}
}

func TestEveryActionIsHeldBySomebodyOrSaysWhyNot(t *testing.T) {
	for _, a := range Actions() {
		held := Allow(Roles, a)
		switch StandingOf(a) {
		case ByRole:
			if !held {
				t.Errorf("%q: no role may do it", a)
			}
		default:
			if held {
				t.Errorf("%q: a role grants what needs no role, or nobody may have", a)
			}
		}
	}
}

func TestOpenActionsAreAboutTheCallerAlone(t *testing.T) {
	in := inside()
	for _, a := range Actions() {
		if (Open(a, true) || Open(a, false)) && slices.Contains(in, a) {
			t.Errorf("%q needs no role, yet happens inside an organization", a)
		}
		if Open(a, false) && a != SessionCreate && a != ReportCreate && a != RolesRead && a != SetupRead && a != SetupRun {
			t.Errorf("%q is open to somebody who has not signed in", a)
		}
	}
	if Open(Unrouted, true) || Open("no.such", true) {
		t.Error("what is no action is open")
	}
}

func TestAKeyCannotMakeAStrongerKey(t *testing.T) {
	for _, a := range []Action{MemberAdd, MemberUpdate, MemberRemove, KeyCreate, KeyRevoke, SessionCreate, SessionEnd, Unrouted, "", "no.such"} {
		if Delegable(a) {
			t.Errorf("a key may carry %q", a)
		}
	}
	if !Delegable(RecordCreate) || !Delegable(TrailRead) {
		t.Error("a key may carry nothing")
	}
}

func TestNobodyMayDoAnything(t *testing.T) {
	for _, a := range append(Actions(), "", "no.such") {
		if Allow(nil, a) || Allow([]Role{""}, a) || Allow([]Role{"owner"}, a) {
			t.Errorf("%q is allowed to somebody without a role", a)
		}
	}
	if Allow(Roles, "") || Allow(Roles, "no.such") || Allow(Roles, Unrouted) {
		t.Error("what is no action is allowed")
	}
}

func TestTheTableNamesEveryActionOnce(t *testing.T) {
	declared := declaredActions(t)
	listed := Actions()
	for _, a := range declared {
		if n := count(listed, a); n != 1 {
			t.Errorf("%q is declared and stands %d times in the table", a, n)
		}
		if Describe(a) == "" {
			t.Errorf("%q has no plain words", a)
		}
	}
	for _, a := range listed {
		if !slices.Contains(declared, a) {
			t.Errorf("%q stands in the table and is not declared", a)
		}
	}
	for a := range words {
		if !slices.Contains(declared, a) {
			t.Errorf("%q is described and not declared", a)
		}
	}
	for _, a := range reads {
		if !slices.Contains(declared, a) {
			t.Errorf("%q counts as a read and is not declared", a)
		}
	}
	for r, as := range allowed {
		if DescribeRole(r) == "" || !slices.Contains(Roles, r) {
			t.Errorf("role %q has no plain words, or is none of the six", r)
		}
		for _, a := range as {
			if n := count(as, a); n != 1 {
				t.Errorf("%s: %q stands %d times", r, a, n)
			}
		}
	}
	if len(allowed) != 6 || len(Roles) != 6 {
		t.Errorf("%d roles in the table, %d listed; IAM-6 says six", len(allowed), len(Roles))
	}
}

func count(as []Action, a Action) (n int) {
	for _, x := range as {
		if x == a {
			n++
		}
	}
	return
}

// declaredActions reads the constants of type Action out of the source: a
// constant that somebody forgot to list cannot be found in any other way.
func declaredActions(t *testing.T) (out []Action) {
	f, err := parser.ParseFile(token.NewFileSet(), "policy.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Action" {
				continue
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, Action(text))
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d actions found in the source: is the parser looking at the right file?", len(out))
	}
	return out
}
