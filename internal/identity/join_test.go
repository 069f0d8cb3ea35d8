package identity

import (
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/id"
)

func FuzzJoinCodeText(f *testing.F) {
	f.Add(joinMark + crockford.EncodeToString(make([]byte, 69)))
	f.Add("sr_join_00")
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := decodeJoinText(s)
		if ok && (joinMark+crockford.EncodeToString(b) != s || strings.ContainsAny(s, "\r\n")) {
			t.Errorf("accepted a second spelling: %q", s)
		}
	})
}

func TestAJoinCodeNamesOnePersonAndItsEnd(t *testing.T) {
	t.Parallel()
	p, until := id.NewPerson(), time.Unix(1_800_000_000, 0)
	who, end, ok := decodeJoin(encodeJoin(p, until))
	if !ok || who != p || !end.Equal(until) {
		t.Errorf("%s until %s, %t", who, end, ok)
	}
	for _, b := range [][]byte{nil, encodeJoin(p, until)[1:], append(encodeJoin(p, until), 0), encodeJoin(id.Person{}, until)} {
		if _, _, ok := decodeJoin(b); ok {
			t.Errorf("accepted %d bytes", len(b))
		}
	}
}
