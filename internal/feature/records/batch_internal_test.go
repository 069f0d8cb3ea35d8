package records

import (
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
)

// A bulk request goes on over several transactions, and the collection may get
// another schema between two of them.
func TestItemsAreHeldAgainstEachVersionOfTheSchema(t *testing.T) {
	t.Parallel()
	b := batch{}
	b.in.Body.Items = []NewRecord{{Content: feature.Object(`{ "n": 1 }`)}}
	for _, tt := range []struct {
		version int64
		schema  string
		fits    bool
	}{{1, `{}`, true}, {1, `{}`, true}, {2, `{"required":["m"]}`, false}, {3, `{"required":["n"]}`, true}} {
		s, err := kind.Compile([]byte(tt.schema), "/schema")
		if err != nil {
			t.Fatal(err)
		}
		err = b.check(collection{Version: tt.version, Schema: s})
		if (err == nil) != tt.fits || err != nil && !fault.Is(err, fault.Invalid) || string(b.texts[0]) != `{"n":1}` {
			t.Errorf("version %d: %v, keeps %s", tt.version, err, b.texts)
		}
	}
}
