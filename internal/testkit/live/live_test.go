package live_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"strongroom/client"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestAServerAnswersOverTLSInBothPlacementsAndAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := live.StartWith(t, live.Options{DataDir: dir})
	type kept struct {
		org *live.Org
		rec client.Record
	}
	var all []kept
	for _, placement := range []string{"schema", "pooled"} {
		org := s.Org(t, placement)
		if _, err := org.Owner.CreateCollection(t.Context(), org.ID, client.NewCollection{Kind: "note", Title: "Notes", Schema: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
		bob := org.Member(t, client.Scientist)
		rec, err := bob.CreateRecord(t.Context(), org.ID, "note", client.NewRecord{Content: json.RawMessage(`{"a":1.50}`)})
		if err != nil {
			t.Fatal(err)
		}
		if eve := org.Member(t, client.Analyst); client.Status(eve.DeleteRecord(t.Context(), org.ID, "note", rec.ID, 1)) != http.StatusForbidden {
			t.Error("an analyst deletes")
		}
		all = append(all, kept{org, rec})
	}
	s.Stop()
	if _, err := all[0].org.Owner.Record(t.Context(), all[0].org.ID, "note", all[0].rec.ID); err == nil {
		t.Error("a stopped server answers")
	}
	again := live.StartWith(t, live.Options{DataDir: dir})
	for _, k := range all {
		p := *k.org.Owner
		again.SignIn(t, &p)
		if rec, err := p.Record(t.Context(), k.org.ID, "note", k.rec.ID); err != nil || string(rec.Content) != `{"a":1.50}` {
			t.Errorf("after the restart: %s, %v", rec.Content, err)
		}
	}
}
