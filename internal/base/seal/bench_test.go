package seal_test

import (
	"crypto/rand"
	"testing"

	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

// The leaf key is at hand, as it is with a warm cache of the key service's
// client: what is measured is the envelope.
func BenchmarkSealOneKilobyte(b *testing.B) {
	k := newKeys(b)
	k.warm(leafRecord)
	p := place(k, 1)
	plain := make([]byte, 1024)
	_, _ = rand.Read(plain)
	section := seal.Section{Name: "content", Leaf: leafRecord, Plain: seal.NewSecret(plain)}
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := seal.Seal(b.Context(), k, p, section); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenOneKilobyte(b *testing.B) {
	k := newKeys(b)
	k.warm(leafRecord)
	p := place(k, 1)
	s, err := seal.Seal(b.Context(), k, p, seal.Section{Name: "content", Leaf: leafRecord, Plain: seal.NewSecret(make([]byte, 1024))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := seal.OpenOne(b.Context(), k, p, s, "content"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	h, err := seal.NewHasher(b.Context(), newKeys(b), keytree.LeafIndex, "benchmark")
	if err != nil {
		b.Fatal(err)
	}
	part := []byte("somebody@example.org")
	b.ReportAllocs()
	for b.Loop() {
		h.Sum(part)
	}
}
