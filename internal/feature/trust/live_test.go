package trust_test

import (
	"testing"

	"strongroom/internal/feature/trust"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestEverythingThatIsCheckedIsKeptOnARunningServer(t *testing.T) {
	s := live.Start(t)
	proofs, err := s.App.Prover.Prove(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, p := range proofs {
		for _, c := range p.Clauses {
			switch c.State {
			case trust.Kept:
				kept++
				t.Logf("%s/%s: %s", p.ID, c.Name, c.Evidence)
			case trust.Broken:
				t.Errorf("%s/%s is broken: %s", p.ID, c.Name, c.Evidence)
			}
		}
	}
	t.Logf("%d kept", kept)
}
