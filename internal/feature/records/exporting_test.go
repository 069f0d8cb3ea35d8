package records_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// pages opens the transactions of an export, and counts them.
type pages struct {
	l   *lab
	who actor.Actor
	id  id.Request
	n   int
}

func (p *pages) Chunk(ctx context.Context, fn func(context.Context, *tenant.Tx) error) error {
	p.n++
	r := tenant.Request{Actor: p.who, Org: p.l.org, Action: policy.ExportRun, Purpose: tenant.Export, ID: p.id}
	_, _, err := tenant.Do(ctx, p.l.d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (int, error) { return 0, fn(ctx, tx) })
	return err
}

// taken is an export in memory: text by entry, and the rows of tables.
type taken struct {
	entries map[string]*bytes.Buffer
	tables  map[string][][]string
}

func (s *taken) Entry(name string, _ time.Time) (io.Writer, error) {
	s.entries[name] = &bytes.Buffer{}
	return s.entries[name], nil
}

func (s *taken) Table(name string, _ time.Time, columns []string) (feature.Table, error) {
	s.tables[name] = [][]string{columns}
	return &rows{s, name}, nil
}

type rows struct {
	s    *taken
	name string
}

func (r *rows) Row(cells []json.RawMessage) error {
	var row []string
	for _, c := range cells {
		row = append(row, string(c))
	}
	r.s.tables[r.name] = append(r.s.tables[r.name], row)
	return nil
}

func (s *taken) lines(name string) []string {
	return strings.Split(strings.TrimSuffix(s.entries[name].String(), "\n"), "\n")
}

func (l *lab) export(who actor.Actor, scope feature.Scope) (*taken, *pages, error) {
	l.Helper()
	out, in := &taken{map[string]*bytes.Buffer{}, map[string][][]string{}}, &pages{l: l, who: who, id: id.NewRequest()}
	err := l.f.Export(l.Context(), in, scope, out)
	return out, in, err
}

func TestAnExportByPagesHoldsAll(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.declare("others", "")
		other, err := l.as(l.ada).create("others", `{}`, "")
		if err != nil {
			t.Fatal(err)
		}
		var made []records.Record
		for i := range 7 {
			made = append(made, l.as(l.ada).put(fmt.Sprintf(`{"n":%d.0}`, i)))
		}
		for version := range uint64(4) {
			if _, err := l.as(l.ada).update(made[2].ID, version+1, fmt.Sprintf(`{"n":2.%d}`, version+1), ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.as(l.ada).update(made[5].ID, 1, `{"n":5.1}`, ""); err != nil {
			t.Fatal(err)
		}
		in := records.UpdateIn{RecordPath: path("others", other.ID), Match: feature.MatchVersion(1), Body: records.ChangedRecord{Content: feature.Object(`{"o":1}`)}}
		if _, err := call[feature.Item[records.Record]](l.as(l.ada), "update-record", in); err != nil {
			t.Fatal(err)
		}
		var links []string
		for i := range 7 {
			k, err := l.as(l.ada).link(made[i].ID, other.ID.String(), "x")
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, k.ID.String())
		}

		got, walked, err := l.export(l.ann, feature.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		folder := "records/" + anything
		if lines := got.lines(folder + "/records.ndjson"); len(lines) != 7 || !strings.Contains(lines[2], `"content":{"n":2.4}`) {
			t.Errorf("records: %q", lines)
		}
		if table := got.tables[folder+"/records.csv"]; len(table) != 8 || table[3][len(table[3])-1] != "2.4" {
			t.Errorf("table: %q", table)
		}
		var versions []string
		for _, line := range got.lines(folder + "/history.ndjson") {
			var v records.Version
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			versions = append(versions, string(v.Content))
		}
		if !equal(versions, []string{`{"n":2.0}`, `{"n":2.1}`, `{"n":2.2}`, `{"n":2.3}`, `{"n":5.0}`}) {
			t.Errorf("history: %q", versions)
		}
		var ids []string
		for _, line := range got.lines(folder + "/links.ndjson") {
			var k records.Link
			if err := json.Unmarshal([]byte(line), &k); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, k.ID.String())
		}
		if !equal(ids, links) {
			t.Errorf("links: %q", ids)
		}
		if n := len(testkit.Events(t, l.d, l.org, walked.id)); n != walked.n || n < 12 {
			t.Errorf("%d pages, %d events", walked.n, n)
		}

		one, walked, err := l.export(l.ann, feature.Scope{Collection: anything, Record: made[2].ID})
		if err != nil || len(one.lines(folder+"/records.ndjson")) != 1 || len(one.tables[folder+"/records.csv"]) != 2 ||
			len(one.lines(folder+"/history.ndjson")) != 4 || len(one.lines(folder+"/links.ndjson")) != 1 || len(one.entries) != 4 {
			t.Errorf("one record: %v, %v", one, err)
		}
		for _, e := range testkit.Events(t, l.d, l.org, walked.id) {
			for _, target := range e.Targets {
				if target == made[3].ID.String() || target == links[3] {
					t.Error("an export of one record touches another")
				}
			}
		}
		// A record is exported from its own collection alone.
		if _, _, err := l.export(l.ann, feature.Scope{Collection: "others", Record: made[2].ID}); !fault.Is(err, fault.NotFound) {
			t.Errorf("from another collection: %v", err)
		}
		if _, _, err := l.export(l.ann, feature.Scope{Collection: "nothing"}); !fault.Is(err, fault.NotFound) {
			t.Errorf("a collection that is not there: %v", err)
		}
	})
}

func TestATableHasAColumnForWhatSchemaAndRecordsName(t *testing.T) {
	t.Parallel()
	l := openEmpty(t, "pooled")
	l.declare(anything, `{"properties":{"z":{},"a":{}}}`)
	l.as(l.ada).put(`{"b":"text","a":{"x":[1.0]}}`)
	l.as(l.ada).put(`{"z":null,"":true}`)
	got, _, err := l.export(l.ann, feature.Scope{Collection: anything})
	if err != nil {
		t.Fatal(err)
	}
	table := got.tables["records/"+anything+"/records.csv"]
	for i, want := range [][]string{{"z", "a", "b", ""}, {"", `{"x":[1.0]}`, `"text"`, ""}, {"null", "", "", "true"}} {
		if row := table[i]; !equal(row[len(row)-4:], want) {
			t.Errorf("row %d: %q, want %q", i, row, want)
		}
	}
}

func TestATableOfManyMembersKeepsTheRestInOneColumn(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	object := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, `,"m%03d":%d.0`, i, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	l.as(l.ada).put(object(0, 500))
	l.as(l.ada).put(object(498, 502))
	got, _, err := l.export(l.ann, feature.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	table := got.tables["records/"+anything+"/records.csv"]
	last := len(table[0]) - 1
	if last != 8+500 || table[0][last] != "(rest)" || table[1][last] != "" || table[2][last] != `{"m500":500.0,"m501":501.0}` || table[2][last-1] != "499.0" {
		t.Errorf("%d columns, rest %q and %q", len(table[0]), table[1][last], table[2][last])
	}
}
