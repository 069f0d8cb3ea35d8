package merkle_test

import (
	"encoding/hex"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"strongroom/internal/base/merkle"
)

func TestALeafHashIsThatOfRFC6962(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{ // of the Certificate Transparency reference implementation
		"":         "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"\x00":     "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
		"\x10":     "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
		"\x20\x21": "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
	} {
		got := merkle.LeafHash([]byte(entry))
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("%x: got %x", entry, got)
		}
		if got != tlog.RecordHash([]byte(entry)) {
			t.Errorf("%x: another hash than that of the transparency log library", entry)
		}
	}
}

func FuzzLeafHash(f *testing.F) {
	f.Add([]byte("entry"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if merkle.LeafHash(b) != tlog.RecordHash(b) {
			t.Errorf("%x: another hash than that of the transparency log library", b)
		}
	})
}
