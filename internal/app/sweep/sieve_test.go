package sweep_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

// sieve knows the values that were planted and finds them in bytes, in every
// form in which software is likely to write them down.
type sieve struct {
	mu       sync.Mutex
	canaries []canary
	index    *index
	indexed  int // canaries that are in index
}

// canary is a value that was planted in one field, or a part of it.
type canary struct{ field, text string }

const asciiLength = 26 // enough for two whole groups of the form pglz

var lowerCase = []rune("abcdefghijklmnopqrstuvwxyz0123456789")

// Letters that JSON may escape and a URL must; those that normalization takes
// apart are left out.
var wideLetters = []rune("абвгдежзиклмнопрстуфхцчшщыэюя")

func draw(from []rune, n int) string {
	out := make([]rune, n)
	for i := range out {
		out[i] = from[rand.N(len(from))]
	}
	return string(out)
}

// watch registers a value that came from elsewhere, such as a token.
func (n *sieve) watch(field, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.canaries = append(n.canaries, canary{field, text})
}

// ascii plants letters and digits, which pass through every field as they are.
func (n *sieve) ascii(field string) string {
	s := draw(lowerCase, asciiLength)
	n.watch(field, s)
	return s
}

// digits plants the digits of a number.
func (n *sieve) digits(field string) string {
	s := "1" + draw([]rune("0123456789"), 25)
	n.watch(field, s)
	return s
}

// text plants a value of two parts: one that no encoding changes, and one that
// most do.
func (n *sieve) text(field string) string {
	wide := draw(wideLetters, 14)
	n.watch(field+" (non-ASCII part)", wide)
	return n.ascii(field) + " " + wide
}

// holds reports whether something planted is in a value.
func (n *sieve) holds(value any) bool {
	text, err := json.Marshal(value)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.canaries, func(c canary) bool { return bytes.Contains(text, []byte(c.text)) })
}

type form struct {
	name string
	text []byte
}

func lowerHex(to []byte, b byte) []byte {
	const digits = "0123456789abcdef"
	return append(to, digits[b>>4], digits[b&15])
}

func upperHex(to []byte, b byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(to, digits[b>>4], digits[b&15])
}

func decimal(to []byte, b byte) []byte { return strconv.AppendUint(to, uint64(b), 10) }

// forms lists the ways in which a value may have been written down.
func forms(s string) (out []form) {
	add := func(name string, text string) {
		if len(text) >= head && !slices.ContainsFunc(out, func(f form) bool { return string(f.text) == text }) {
			out = append(out, form{name, []byte(text)})
		}
	}
	each := func(name, before string, write func([]byte, byte) []byte, between string) {
		var out []byte
		for i := range len(s) {
			if i > 0 {
				out = append(out, between...)
			}
			out = write(append(out, before...), s[i])
		}
		add(name, string(out))
	}
	add("as it is", s)
	add("in upper case", strings.ToUpper(s))
	add("hex", hex.EncodeToString([]byte(s)))
	add("HEX", strings.ToUpper(hex.EncodeToString([]byte(s))))
	each("hex with spaces", "", lowerHex, " ")
	each("Go syntax of bytes", "0x", lowerHex, ", ") // no byte of ours is below 0x10
	each("decimal bytes", "", decimal, " ")
	each("decimal bytes in JSON", "", decimal, ",")
	for shift := range 3 {
		// Only the characters that no neighbouring byte has a part in.
		from, to := (8*shift+5)/6, 8*(shift+len(s))/6
		in := append(make([]byte, shift), s...)
		add("base64", base64.RawStdEncoding.EncodeToString(in)[from:to])
		add("base64url", base64.RawURLEncoding.EncodeToString(in)[from:to])
	}
	var little, big []byte
	for _, u := range utf16.Encode([]rune(s)) {
		little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
	}
	add("UTF-16LE", string(little))
	add("UTF-16BE", string(big))
	if strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		var lower, upper, octal strings.Builder
		for _, u := range utf16.Encode([]rune(s)) {
			fmt.Fprintf(&lower, `\u%04x`, u)
			fmt.Fprintf(&upper, `\u%04X`, u)
		}
		for _, b := range []byte(s) {
			fmt.Fprintf(&octal, `\%03o`, b)
		}
		add("JSON escapes", lower.String())
		add("JSON escapes", upper.String())
		add("octal escapes", octal.String())
		for _, before := range []string{"%", "=", `\x`} {
			each("escapes with "+before, before, lowerHex, "")
			each("escapes with "+before, before, upperHex, "")
		}
	}
	// PostgreSQL compresses long values by pglz, which leaves a value that is
	// new to it as it is but for a control byte before every eighth literal,
	// 0 where all eight of its group are literals.
	for first := 0; first < 8 && first+16 <= len(s); first++ {
		add("compressed by pglz", "\x00"+s[first:first+8]+"\x00"+s[first+8:first+16])
	}
	return out
}

// head is the number of leading bytes by which a pattern is looked up.
const head = 8

type pattern struct {
	text   []byte
	canary int
	form   string
}

// index finds patterns by their first bytes; bloom tells in one step that
// there are none, which is so nearly everywhere.
type index struct {
	byHead  map[uint64][]pattern
	bloom   []uint64
	longest int
}

const bloomBits = 24

func slot(h uint64) uint64 { return h * 0x9e3779b97f4a7c15 >> (64 - bloomBits) }

// compiled returns the index of all that was planted so far. Nobody plants
// while it is in use.
func (n *sieve) compiled() *index {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.index == nil {
		n.index = &index{byHead: map[uint64][]pattern{}, bloom: make([]uint64, 1<<bloomBits/64), longest: head}
	}
	x := n.index
	for ; n.indexed < len(n.canaries); n.indexed++ {
		for _, f := range forms(n.canaries[n.indexed].text) {
			h := binary.LittleEndian.Uint64(f.text)
			x.byHead[h] = append(x.byHead[h], pattern{f.text, n.indexed, f.name})
			x.bloom[slot(h)>>6] |= 1 << (slot(h) & 63)
			x.longest = max(x.longest, len(f.text))
		}
	}
	return x
}

// catch is a value that was found. It names the field, never the value.
type catch struct {
	where  string
	offset int64
	field  string
	form   string
}

func (c catch) String() string {
	return fmt.Sprintf("%s at byte %d: %s, %s", c.where, c.offset, c.field, c.form)
}

// hits is what was found in one place, each field and form once.
type hits struct {
	*sieve
	where string
	seen  map[hit]bool
	found []catch
}

type hit struct {
	canary int
	form   string
}

// look searches for patterns that begin in buf before end. start is where buf
// stands in the whole.
func (h *hits) look(x *index, buf []byte, end int, start int64) {
	for at := 0; at < end && at+head <= len(buf); at++ {
		first := binary.LittleEndian.Uint64(buf[at:])
		if s := slot(first); x.bloom[s>>6]&(1<<(s&63)) == 0 {
			continue
		}
		for _, p := range x.byHead[first] {
			if one := (hit{p.canary, p.form}); bytes.HasPrefix(buf[at:], p.text) && !h.seen[one] {
				if h.seen == nil {
					h.seen = map[hit]bool{}
				}
				h.seen[one] = true
				h.found = append(h.found, catch{h.where, start + int64(at), h.canaries[p.canary].field, p.form})
			}
		}
	}
}

// in finds planted values in a stream.
func (n *sieve) in(where string, r io.Reader) (found []catch, size int64, err error) {
	x, h := n.compiled(), hits{sieve: n, where: where}
	room := 1 << 20
	if b, ok := r.(*bytes.Reader); ok {
		room = min(room, b.Len()+1)
	}
	buf := make([]byte, 0, room+x.longest)
	for ended := false; !ended; {
		k, rerr := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
		ended = rerr != nil
		if ended && rerr != io.EOF && rerr != io.ErrUnexpectedEOF {
			err = rerr
		}
		end := max(len(buf)-x.longest, 0) // what begins behind it is looked at again
		if ended {
			end = len(buf)
		}
		h.look(x, buf, end, size)
		size += int64(end)
		buf = append(buf[:0], buf[end:]...)
	}
	return h.found, size, err
}

func (n *sieve) inBytes(where string, b []byte) []catch {
	h := hits{sieve: n, where: where}
	h.look(n.compiled(), b, len(b), 0)
	return h.found
}

// haul is what a search through files brought up.
type haul struct {
	found  []catch
	packed []string         // files that cannot be searched, because they are compressed
	bytes  map[string]int64 // that were searched, by the folders below the root
	files  int
}

// packed are the first bytes of compressed files, in which nothing would be
// found.
var packed = map[string]string{"gzip": "\x1f\x8b\x08", "ZIP": "PK\x03\x04", "Zstandard": "\x28\xb5\x2f\xfd", "xz": "\xfd7zXZ\x00", "bzip2": "BZh", "LZ4": "\x04\x22\x4d\x18"}

// inTree searches every file below root that pick, if not nil, wants. Files
// that are gone by the time they are opened have nothing to tell.
func (n *sieve) inTree(t testing.TB, root string, pick func(path string, info fs.FileInfo) bool) haul {
	t.Helper()
	h := haul{bytes: map[string]int64{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		h.found = append(h.found, n.inBytes("the name of "+filepath.Dir(rel)+"/…", []byte(d.Name()))...)
		info, err := d.Info()
		if os.IsNotExist(err) || err == nil && pick != nil && !pick(path, info) {
			if err == nil && d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		// Most files are small, and not worth a buffer each.
		read := io.Reader(f)
		if info.Size() < 1<<18 {
			b, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			read = bytes.NewReader(b)
		}
		found, size, err := n.in(rel, read)
		h.found, h.files = append(h.found, found...), h.files+1
		var first [8]byte
		if k, _ := f.ReadAt(first[:], 0); k > 0 {
			for name, magic := range packed {
				if strings.HasPrefix(string(first[:k]), magic) {
					h.packed = append(h.packed, rel+" ("+name+")")
				}
			}
		}
		for dir := filepath.Dir(rel); ; dir = filepath.Dir(dir) {
			h.bytes[dir] += size
			if dir == "." {
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatalf("searching %s: %v", root, err)
	}
	return h
}

// report fails the test with what was found: at most so many lines a test can
// be read by.
func report(t testing.TB, found []catch) {
	t.Helper()
	const lines = 60
	slices.SortFunc(found, func(a, b catch) int { return cmp.Or(cmp.Compare(a.where, b.where), cmp.Compare(a.field, b.field)) })
	for i, c := range found {
		if i == lines {
			t.Errorf("… and %d more", len(found)-lines)
			break
		}
		t.Errorf("found in the clear: %s", c)
	}
}
