package trust_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trust"
)

type check = func(context.Context, feature.Env) (string, error)

func says(evidence string) check {
	return func(context.Context, feature.Env) (string, error) { return evidence, nil }
}

func fails(err error) check {
	return func(context.Context, feature.Env) (string, error) { return "evidence that does not count", err }
}

// offers is a feature that checks clauses, named as in ENC-1/records.
func offers(tag feature.Tag, checks map[string]check) feature.Feature {
	f := feature.Feature{Name: "test"}
	for name, c := range checks {
		promise, clause, _ := strings.Cut(name, "/")
		f.Promises = append(f.Promises, feature.Promise{ID: promise, Clauses: []feature.Clause{{Name: clause, Tag: tag, Check: c}}})
	}
	return f
}

func prover(t *testing.T, f ...feature.Feature) *trust.Prover {
	t.Helper()
	p, err := trust.New(f, fixed(feature.Env{}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func prove(t *testing.T, p *trust.Prover, ids ...string) []trust.Proof {
	t.Helper()
	proofs, err := p.Prove(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return proofs
}

func TestAPromiseIsKeptOnlyWhenAllItsClausesAre(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		checks map[string]check
		want   trust.State
	}{
		{"all three kept", map[string]check{"ISO-2/policies": says("a"), "ISO-2/arbitrary_sql": says("b"), "ISO-2/private_rows": says("c")}, trust.Kept},
		{"one not built", map[string]check{"ISO-2/policies": says("a"), "ISO-2/private_rows": says("c")}, trust.NotYet},
		{"none built", nil, trust.NotYet},
		{"one broken", map[string]check{"ISO-2/policies": says("a"), "ISO-2/arbitrary_sql": fails(errors.New("no")), "ISO-2/private_rows": says("c")}, trust.Broken},
		{"one broken and one not built", map[string]check{"ISO-2/policies": fails(errors.New("no")), "ISO-2/private_rows": says("c")}, trust.Broken},
		{"no evidence", map[string]check{"ISO-2/policies": says(" \n"), "ISO-2/arbitrary_sql": says("b"), "ISO-2/private_rows": says("c")}, trust.Broken},
		{"a panic", map[string]check{"ISO-2/policies": func(context.Context, feature.Env) (string, error) { panic("content") }, "ISO-2/arbitrary_sql": says("b"), "ISO-2/private_rows": says("c")}, trust.Broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := prove(t, prover(t, offers(feature.Passive, tt.checks)), "ISO-2")
			if len(got) != 1 || got[0].State != tt.want {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
			for _, c := range got[0].Clauses {
				if c.CheckedAt == "" || strings.TrimSpace(c.Evidence) == "" {
					t.Errorf("%s has no time or no evidence: %+v", c.Name, c)
				}
				if strings.Contains(c.Evidence, "does not count") || strings.Contains(c.Evidence, "content") {
					t.Errorf("%s shows %q", c.Name, c.Evidence)
				}
			}
		})
	}
}

func TestACheckThatHangsIsBrokenAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _ feature.Env) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		begin := time.Now()
		got := prove(t, prover(t, offers(feature.Passive, map[string]check{"ENC-2/keys": hangs})), "ENC-2")
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if got[0].State != trust.Broken || !strings.Contains(got[0].Clauses[0].Evidence, "no answer within 10s") {
			t.Errorf("%+v", got)
		}
	})
}

func TestACheckThatIgnoresItsDeadlineIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(context.Context, feature.Env) (string, error) {
			time.Sleep(11 * time.Second)
			return "seen, too late", nil
		}
		if got := prove(t, prover(t, offers(feature.Passive, map[string]check{"ENC-2/keys": slow})), "ENC-2"); got[0].State != trust.Broken {
			t.Errorf("%+v", got)
		}
	})
}

func TestWithoutCanariesWhatNeedsThemIsBrokenAndTheRestIsTried(t *testing.T) {
	t.Parallel()
	p, err := trust.New([]feature.Feature{
		offers(feature.Canary, map[string]check{"ENC-2/keys": says("a")}), offers(feature.Passive, map[string]check{"API-3/https": says("b")}),
	}, func(context.Context) (feature.Env, error) { return feature.Env{}, errors.New("the database is away") })
	if err != nil {
		t.Fatal(err)
	}
	got := prove(t, p, "ENC-2", "API-3", "EXP-6")
	if got[0].State != trust.Broken || !strings.Contains(got[0].Clauses[0].Evidence, "the database is away") || got[1].State != trust.Kept || got[2].State != trust.NotYet {
		t.Errorf("%+v", got)
	}
}

func TestOnlyWhatTheListNamesCanBeAskedForOrOffered(t *testing.T) {
	t.Parallel()
	p := prover(t)
	for _, id := range []string{"ENC-99", "enc-1", "ENC-1/secrets", "ENC/records", "E", "", "ENC-1/", "ENC-", "/records", "ENC-1/records/x", " ENC-1"} {
		if got, err := p.Prove(t.Context(), []string{"ENC-2", id}); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %d proofs, %v", id, len(got), err)
		}
	}
	for _, id := range []string{"ENC-99/records", "ENC-1/secrets", "/", ""} {
		if _, err := trust.New([]feature.Feature{offers(feature.Passive, map[string]check{id: says("x")})}, fixed(feature.Env{})); err == nil {
			t.Errorf("a check for %q was taken", id)
		}
	}
	one := offers(feature.Passive, map[string]check{"ENC-2/keys": says("x")})
	if _, err := trust.New([]feature.Feature{one, one}, fixed(feature.Env{})); err == nil {
		t.Error("two checks for one clause were taken")
	}
}

func TestGroupsPromisesAndClausesCanBeAskedFor(t *testing.T) {
	t.Parallel()
	p := prover(t)
	for _, tt := range []struct {
		ids  []string
		want string
	}{
		{[]string{"ENC"}, "ENC-1 ENC-2 ENC-3 ENC-4 ENC-5 ENC-6"},
		{[]string{"ISO-2", "ENC-2"}, "ENC-2 ISO-2"}, // in the order of the list
		{[]string{"ISO-1", "ISO-1"}, "ISO-1"},       // not ISO-10, and once
		{[]string{"ENC-1/names", "ENC-1/records"}, "ENC-1/records,names"},
		{[]string{"ENC-1/names", "ENC-1"}, "ENC-1"},
	} {
		var got []string
		for _, pr := range prove(t, p, tt.ids...) {
			var names []string
			for _, c := range pr.Clauses {
				names = append(names, c.Name)
			}
			if strings.Contains(tt.want, "/") {
				pr.ID += "/" + strings.Join(names, ",")
			}
			got = append(got, pr.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v: %v, want %s", tt.ids, got, tt.want)
		}
	}
}

// permanent are the groups of the list and how many promises each has. The
// ids are in contracts and reports: none is ever renumbered.
var permanent = []struct {
	group string
	n     int
}{{"OWN", 6}, {"DATA", 8}, {"TEL", 4}, {"ENC", 6}, {"ISO", 10}, {"IAM", 10}, {"AUD", 8}, {"API", 4}, {"BAK", 7}, {"DEL", 10}, {"EXP", 6}, {"CMP", 4}, {"INC", 4}, {"PLAN", 3}}

func TestTheNinetyPromisesAreListedInTheirOrder(t *testing.T) {
	t.Parallel()
	var want []string
	for _, g := range permanent {
		for i := range g.n {
			want = append(want, fmt.Sprintf("%s-%d", g.group, i+1))
		}
	}
	var got []string
	clauses := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, p := range prove(t, prover(t)) {
		got = append(got, p.ID)
		if p.State != trust.NotYet || p.Text == "" || len(p.Clauses) == 0 {
			t.Errorf("%s without a check: %+v", p.ID, p)
		}
		seen := map[string]bool{}
		for _, c := range p.Clauses {
			if c.State != trust.NotYet || seen[c.Name] || !clauses.MatchString(c.Name) {
				t.Errorf("%s/%s: %+v", p.ID, c.Name, c)
			}
			seen[c.Name] = true
		}
	}
	if len(got) != 90 || !slices.Equal(got, want) {
		t.Errorf("%d promises: %v", len(got), got)
	}
}

// TestTheWordingIsTheLists compares with the page that the wording comes from,
// where it is at hand.
func TestTheWordingIsTheLists(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "shared", "design", "promises.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Log("the page of promises is not beside the source: its wording is not compared")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	texts := trust.Texts()
	row := regexp.MustCompile(`^\| ([A-Z]+-[0-9]+) \| (.*) \| [^|]* \|$`)
	found := 0
	lines := bufio.NewScanner(bytes.NewReader(page))
	for lines.Scan() {
		m := row.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		found++
		if texts[m[1]] != m[2] {
			t.Errorf("%s is worded\n%s\nwant\n%s", m[1], texts[m[1]], m[2])
		}
	}
	if found != 90 {
		t.Errorf("%d rows were found", found)
	}
}

func TestARowOfJSONHasExactlyItsFields(t *testing.T) {
	t.Parallel()
	proofs := prove(t, prover(t, offers(feature.Passive, map[string]check{"ENC-2/keys": says("seen")})), "ENC-2", "ISO-3")
	b, err := json.Marshal(proofs)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(`"checked_at":"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"`)
	got := at.ReplaceAllString(string(b), `"checked_at":"T"`)
	const want = `[{"id":"ENC-2","state":"kept","clauses":[{"name":"keys","state":"kept","evidence":"seen","checked_at":"T"}]},` +
		`{"id":"ISO-3","state":"not_yet","clauses":[{"name":"foreign_keys","state":"not_yet","evidence":"not built","checked_at":"T"}]}]`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
