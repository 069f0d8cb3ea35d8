package blob

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/minio/sio"
	"pgregory.net/rapid"
)

func sealed(t testing.TB, key [32]byte, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := SealWriter(&out, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// opened reads the whole object, the way a download does.
func opened(key [32]byte, object []byte) ([]byte, error) {
	r, err := OpenReaderAt(key, bytes.NewReader(object), int64(len(object)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = r.Range(0, r.Size()).WriteTo(&out)
	return out.Bytes(), err
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func newKey() (k [32]byte) {
	rand.Read(k[:])
	return
}

// The sizes at which a package, the closing byte or both begin anew.
var edges = []int{0, 1, PackageSize - 2, PackageSize - 1, PackageSize, PackageSize + 1, 2*PackageSize - 1, 2 * PackageSize, 5*PackageSize + 77}

func TestWhatIsSealedOpensTheSame(t *testing.T) {
	t.Parallel()
	for _, n := range edges {
		key, plain := newKey(), random(n)
		object := sealed(t, key, plain)
		got, err := opened(key, object)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: got %d bytes, %v", n, len(got), err)
		}
		if size, err := SealedSize(int64(n)); err != nil || size != int64(len(object)) {
			t.Errorf("%d bytes: SealedSize says %d (%v), the object has %d", n, size, err, len(object))
		}
		if size, err := PlainSize(int64(len(object))); err != nil || size != int64(n) {
			t.Errorf("%d bytes: PlainSize says %d (%v)", n, size, err)
		}
		if n > 16 && bytes.Contains(object, plain[:16]) {
			t.Errorf("%d bytes: plaintext in the object", n)
		}
	}
}

// Objects of version 1, written once: whatever changes in the code, they open.
func TestObjectsWrittenBeforeStillOpen(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/objects-v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	var key [32]byte
	for i := range key {
		key[i] = byte(i)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if line[0] == '#' {
			continue
		}
		object, plain, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		sealed, err := hex.DecodeString(object)
		if err != nil {
			t.Fatal(err)
		}
		got, err := opened(key, sealed)
		if err != nil || hex.EncodeToString(got) != plain {
			t.Errorf("line %d: %q, %v", n, got, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d objects", n)
	}
}

func TestAnyRangeReadsTheSameAsTheWhole(t *testing.T) {
	t.Parallel()
	key, plain := newKey(), random(4*PackageSize+1234)
	object := sealed(t, key, plain)
	r, err := OpenReaderAt(key, bytes.NewReader(object), int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.OneOf(rapid.IntRange(0, len(plain)+10), rapid.SampledFrom([]int{0, PackageSize - 1, PackageSize, PackageSize + 1, 4 * PackageSize, len(plain)})).Draw(t, "off")
		n := rapid.OneOf(rapid.IntRange(0, 3*PackageSize), rapid.SampledFrom([]int{0, 1, PackageSize, len(plain) + 5})).Draw(t, "n")
		want := plain[min(off, len(plain)):min(off+n, len(plain))]

		got, err := io.ReadAll(r.Range(int64(off), int64(n)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Range(%d, %d): %d bytes, %v", off, n, len(got), err)
		}
		p := make([]byte, n)
		m, err := r.ReadAt(p, int64(off))
		if m != len(want) && n > 0 || !bytes.Equal(p[:m], want[:m]) {
			t.Fatalf("ReadAt(%d, %d): %d bytes, %v", off, n, m, err)
		}
		if m < n && err != io.EOF {
			t.Fatalf("a short ReadAt answered %v", err)
		}
	})
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
}

func TestReaderAtKeepsTheContractOfSectionReader(t *testing.T) {
	t.Parallel()
	key, plain := newKey(), random(2*PackageSize+99)
	object := sealed(t, key, plain)
	r, err := OpenReaderAt(key, bytes.NewReader(object), int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Every byte of a small object, and one in each region of every package of a
// large one.
func TestNoChangedByteIsEverRead(t *testing.T) {
	t.Parallel()
	check := func(n int, places func(object []byte) []int) {
		key, plain := newKey(), random(n)
		object := sealed(t, key, plain)
		for _, at := range places(object) {
			for _, bit := range []byte{1, 0x80} {
				object[at] ^= bit
				if got, err := opened(key, object); !errors.Is(err, ErrUnreadable) || !bytes.HasPrefix(plain, got) {
					t.Errorf("%d bytes, byte %d changed: read %d bytes, %v", n, at, len(got), err)
				}
				object[at] ^= bit
			}
		}
	}
	every := func(object []byte) (all []int) {
		for i := range object {
			all = append(all, i)
		}
		return
	}
	check(0, every)
	check(100, every)
	check(3*PackageSize+10, func(object []byte) []int {
		places := []int{0, 3, 4, headerSize - 1}
		for p := headerSize; p < len(object); p += sealedPackage {
			end := min(p+sealedPackage, len(object))
			// version, suite, length, nonce, its position bits, ciphertext, tag
			places = append(places, p, p+1, p+2, p+3, p+4, p+11, p+12, p+15, p+16, (p+end)/2, end-16, end-1)
		}
		return places
	})
}

func TestMovedCutReorderedAndAppendedBytesAreUnreadable(t *testing.T) {
	t.Parallel()
	key, other := newKey(), newKey()
	a, b := sealed(t, key, random(4*PackageSize+50)), sealed(t, key, random(4*PackageSize+50))
	pkg := func(o []byte, i int) []byte {
		return o[headerSize+i*sealedPackage : min(headerSize+(i+1)*sealedPackage, len(o))]
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, object := range map[string][]byte{
		"nothing":                          {},
		"only a header":                    a[:headerSize],
		"a cut header":                     a[:headerSize-1],
		"no header":                        a[headerSize:],
		"the header of another object":     join(b[:headerSize], a[headerSize:]),
		"a package of another object":      join(a[:headerSize], pkg(a, 0), pkg(b, 1), pkg(a, 2), pkg(a, 3), pkg(a, 4)),
		"the end of another object":        join(a[:headerSize], pkg(a, 0), pkg(a, 1), pkg(a, 2), pkg(a, 3), pkg(b, 4)),
		"two packages exchanged":           join(a[:headerSize], pkg(a, 1), pkg(a, 0), pkg(a, 2), pkg(a, 3), pkg(a, 4)),
		"a package twice":                  join(a[:headerSize], pkg(a, 0), pkg(a, 0), pkg(a, 2), pkg(a, 3), pkg(a, 4)),
		"a package left out":               join(a[:headerSize], pkg(a, 0), pkg(a, 2), pkg(a, 3), pkg(a, 4)),
		"a package put in":                 join(a[:headerSize], pkg(a, 0), pkg(a, 1), pkg(a, 2), pkg(a, 3), pkg(a, 3), pkg(a, 4)),
		"cut behind a package":             a[:headerSize+3*sealedPackage],
		"cut in a package":                 a[:headerSize+3*sealedPackage+1000],
		"the last byte cut":                a[:len(a)-1],
		"a byte appended":                  join(a, []byte{0}),
		"a package appended":               join(a, pkg(a, 4)),
		"a whole object appended":          join(a, b),
		"a package appended from elsewere": join(a, pkg(b, 4)),
	} {
		if got, err := opened(key, object); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := opened(other, a); !errors.Is(err, ErrUnreadable) {
		t.Errorf("another key: %v", err)
	}
}

// shuffled XORs c into the nonce of every package and moves package i^c to
// place i: valid DARE 2.0, as sio itself shows below.
func shuffled(stream []byte, c, packages int) []byte {
	var out []byte
	for i := range packages {
		from := i ^ c
		p := bytes.Clone(stream[from*sealedPackage : min((from+1)*sealedPackage, len(stream))])
		p[12] ^= byte(c)
		out = append(out, p...)
	}
	return out
}

func TestAPermutationThatDAREItselfAcceptsIsUnreadable(t *testing.T) {
	t.Parallel()
	key := newKey()
	plain := random(3*PackageSize + 100) // four packages, the final one at 3
	object := sealed(t, key, plain)

	// With c=1 package 3 comes to place 2, 0 and 1 change places, 2 is lost.
	moved := append(bytes.Clone(object[:headerSize]), shuffled(object[headerSize:], 1, 3)...)
	stream, _, err := streamKeys(key, object[:headerSize])
	if err != nil {
		t.Fatal(err)
	}
	dare, err := sio.DecryptReader(bytes.NewReader(moved[headerSize:]), sio.Config{Key: stream})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := io.ReadAll(dare)
	if err != nil || !bytes.Equal(accepted[:PackageSize], plain[PackageSize:2*PackageSize]) {
		t.Fatalf("the attack is not the one this test is about: %d bytes, %v", len(accepted), err)
	}
	if got, err := opened(key, moved); !errors.Is(err, ErrUnreadable) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestAPackageShownAtAnotherPlaceIsUnreadableInARangeThatStartsThere(t *testing.T) {
	t.Parallel()
	key := newKey()
	object := sealed(t, key, random(4*PackageSize))
	at := func(i int) []byte { return object[headerSize+i*sealedPackage:][:sealedPackage] }
	first := bytes.Clone(at(0))
	copy(at(0), at(1))
	at(0)[12] ^= 1 // position 1 shown at position 0
	r, err := OpenReaderAt(key, bytes.NewReader(object), int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a moved package: %v", err)
	}
	copy(at(0), first)
	if _, err := r.ReadAt(make([]byte, 10), 0); err != nil {
		t.Errorf("put back: %v", err)
	}
}

func TestTwoStreamsUnderOneKeyShareNothing(t *testing.T) {
	t.Parallel()
	key, plain := newKey(), random(1000)
	a, b := sealed(t, key, plain), sealed(t, key, plain)
	if bytes.Equal(a[headerSize+4:headerSize+16], b[headerSize+4:headerSize+16]) {
		t.Error("the same nonce twice")
	}
	if bytes.Equal(a[headerSize+16:], b[headerSize+16:]) {
		t.Error("the same ciphertext twice")
	}
}

func TestSizesThatNoObjectHasAreRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{-1, 0, headerSize - 1, headerSize, headerSize + 1, headerSize + overhead, headerSize + sealedPackage + overhead, 1 << 62} {
		if plain, err := PlainSize(n); !errors.Is(err, ErrUnreadable) {
			t.Errorf("a sealed size of %d is a plain size of %d", n, plain)
		}
	}
	for _, n := range []int64{-1, MaxSize + 1} {
		if _, err := SealedSize(n); err == nil {
			t.Errorf("a size of %d was accepted", n)
		}
	}
	if n, err := SealedSize(MaxSize); err != nil {
		t.Errorf("the largest size: %d, %v", n, err)
	} else if back, err := PlainSize(n); err != nil || back != MaxSize {
		t.Errorf("the largest size comes back as %d, %v", back, err)
	}
}

func TestABodyThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 10, bufferSize, bufferSize + 10} {
		w, err := SealWriter(io.Discard, newKey())
		if err != nil {
			t.Fatal(err)
		}
		body := io.MultiReader(bytes.NewReader(make([]byte, n)), iotest.ErrReader(io.ErrUnexpectedEOF))
		if got, err := w.ReadFrom(body); err != io.ErrUnexpectedEOF || got != int64(n) {
			t.Errorf("%d bytes and a break: %d, %v", n, got, err)
		}
		var out bytes.Buffer
		key := newKey()
		if w, err = SealWriter(&out, key); err != nil {
			t.Fatal(err)
		}
		if got, err := w.ReadFrom(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(make([]byte, n))))); err != nil || got != int64(n) {
			t.Errorf("%d bytes in halves: %d, %v", n, got, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := opened(key, out.Bytes()); err != nil || len(got) != n {
			t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
		}
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errors.New("no more")
	}
	return len(p), nil
}

func TestAStreamThatFailedOnceNeverCloses(t *testing.T) {
	t.Parallel()
	for _, after := range []int{40, 3 * PackageSize} {
		w, err := SealWriter(&failing{after: after}, newKey())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // sealed behind the caller's back, so the failure may come late
			if _, err = w.Write(make([]byte, 4*PackageSize)); err != nil {
				break
			}
		}
		if err == nil {
			t.Error("the failure was lost")
		}
		for range 2 {
			if w.Close() == nil {
				t.Error("a broken stream closed as if it were whole")
			}
		}
	}
	if _, err := SealWriter(&failing{}, newKey()); err == nil {
		t.Error("a header that could not be written was lost")
	}
}

func TestAStoreErrorIsNotTakenForTampering(t *testing.T) {
	t.Parallel()
	key := newKey()
	object := sealed(t, key, random(3*PackageSize))
	src := &flaky{ReaderAt: bytes.NewReader(object)}
	r, err := OpenReaderAt(key, src, int64(len(object)))
	if err != nil {
		t.Fatal(err)
	}
	src.err = errors.New("the device is gone")
	if _, err := r.ReadAt(make([]byte, 10), 0); !errors.Is(err, src.err) || errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
}

type flaky struct {
	io.ReaderAt
	err error
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

func FuzzOpen(f *testing.F) {
	key := [32]byte{1}
	for _, n := range []int{0, 10, PackageSize} {
		f.Add(sealed(f, key, make([]byte, n)))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, object []byte) {
		r, err := OpenReaderAt(key, bytes.NewReader(object), int64(len(object)))
		if err != nil {
			return
		}
		// Only what SealWriter made under this key opens: all zeros here.
		p := make([]byte, min(r.Size(), 1<<20))
		if _, err := r.ReadAt(p, 0); err == nil && len(bytes.Trim(p, "\x00")) != 0 {
			t.Error("bytes came out that never went in")
		}
	})
}

func FuzzSizes(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(PackageSize))
	f.Fuzz(func(t *testing.T, n int64) {
		if plain, err := PlainSize(n); err == nil {
			if back, err := SealedSize(plain); err != nil || back != n {
				t.Errorf("%d → %d → %d, %v", n, plain, back, err)
			}
		}
		if s, err := SealedSize(n); err == nil {
			if back, err := PlainSize(s); err != nil || back != n {
				t.Errorf("%d → %d → %d, %v", n, s, back, err)
			}
		}
	})
}

func Example() {
	var object bytes.Buffer
	key := [32]byte{} // from seal.FileKey
	w, _ := SealWriter(&object, key)
	fmt.Fprint(w, "a diffraction pattern")
	w.Close()
	r, _ := OpenReaderAt(key, bytes.NewReader(object.Bytes()), int64(object.Len()))
	part, _ := io.ReadAll(r.Range(2, 11))
	fmt.Printf("%s\n", part)
	// Output: diffraction
}
