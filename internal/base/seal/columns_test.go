package seal_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

func TestASecretIsPrintedNowhere(t *testing.T) {
	t.Parallel()
	const content = "KKKKKKKKKKKKKKKK"
	s := seal.NewSecretString(content)
	type inside struct {
		hidden seal.Secret // fmt does not ask the methods of an unexported field
		Shown  seal.Secret
	}
	section := seal.Section{Name: "n", Leaf: 16, Plain: s}
	var out bytes.Buffer
	jsonLog := slog.New(slog.NewJSONHandler(&out, nil))
	textLog := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{s, &s, inside{s, s}, &inside{s, s}, []seal.Secret{s}, map[string]any{"k": s}, section, &section, []seal.Section{section}} {
		for verb := rune(0x21); verb < 0x7f; verb++ {
			for _, flags := range []string{"", "+", "#", "-20", "020", "10.5"} {
				_, _ = fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", v)
			}
		}
		_, _ = fmt.Fprintln(&out, v)
		jsonLog.Info("x", "v", v)
		textLog.Info("x", "v", v)
		_ = json.NewEncoder(&out).Encode(v)
		_ = xml.NewEncoder(&out).Encode(v)
		_ = gob.NewEncoder(&out).Encode(v)
	}
	for _, leak := range []string{"KKKK", "4b4b", "4B4B", "75 75", "75, 75", "75,75", "0x4b, 0x4b", "0x4b 0x4b", "113 113", "U+004B", "S0tL"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the output shows the content as %q", leak)
		}
	}
	for verb, want := range map[string]string{"%v": "[secret]", "%s": "[secret]", "%x": "[secret]", "%q": "[secret]", "%#v": "[secret]", "%d": "[secret]"} {
		if got := fmt.Sprintf(verb, s); got != want {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if b, err := json.Marshal(s); string(b) != `"[secret]"` || err != nil {
		t.Errorf("JSON: %s, %v", b, err)
	}
	if s.String() != "[secret]" || s.GoString() != "[secret]" || s.LogValue().String() != "[secret]" {
		t.Error("a method shows more than [secret]")
	}
}

func TestAHasherDoesNotPrintItsKey(t *testing.T) {
	t.Parallel()
	h, err := seal.NewHasher(t.Context(), newKeys(t), keytree.LeafIndex, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		for _, v := range []any{h, *h} {
			if got := fmt.Sprintf(verb, v); got != "[hasher]" {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

func TestTheZeroSecretIsNotEmptyContent(t *testing.T) {
	t.Parallel()
	var zero seal.Secret
	if !zero.IsZero() || zero.Reveal() != nil || zero.Len() != 0 {
		t.Error("the zero Secret holds something")
	}
	if s := seal.NewSecretString(""); s.IsZero() || s.Len() != 0 {
		t.Error("empty content is taken for none")
	}
	if s := seal.NewSecret(nil); s.IsZero() {
		t.Error("empty content is taken for none")
	}
}

func TestASecretDoesNotGoIntoAColumn(t *testing.T) {
	t.Parallel()
	m := pgtype.NewMap()
	s := seal.NewSecretString("in the clear")
	for _, oid := range []uint32{pgtype.ByteaOID, pgtype.TextOID, pgtype.JSONBOID} {
		for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
			if b, err := m.Encode(oid, format, s, nil); err == nil {
				t.Errorf("type %d, format %d: stored %q", oid, format, b)
			}
		}
	}
	if _, err := s.Value(); err == nil {
		t.Error("database/sql would store it")
	}
}

func TestAnEnvelopeGoesThroughAByteaColumn(t *testing.T) {
	t.Parallel()
	m := pgtype.NewMap()
	for _, s := range []seal.Sealed{{1, 2, 3, 0, 255}, {}, nil} {
		for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
			b, err := m.Encode(pgtype.ByteaOID, format, s, make([]byte, 0, 32))
			if err != nil || (b == nil) != (s == nil) {
				t.Fatalf("%#v in format %d: %q, %v", []byte(s), format, b, err)
			}
			if format == pgtype.BinaryFormatCode && !bytes.Equal(b, s) {
				t.Errorf("the binary format is not the envelope: %q", b)
			}
			got := seal.Sealed("before")
			if err := m.Scan(pgtype.ByteaOID, format, b, &got); err != nil || !bytes.Equal(got, s) || (got == nil) != (s == nil) {
				t.Errorf("format %d: came back as %#v, %v", format, []byte(got), err)
			}
			if len(b) > 0 {
				clear(b) // the driver's buffer, reused for the next row
				if !bytes.Equal(got, s) {
					t.Error("the envelope shares the driver's buffer")
				}
			}
		}
		v, err := s.Value()
		if err != nil {
			t.Fatal(err)
		}
		got := seal.Sealed("before")
		if b, ok := v.([]byte); ok {
			v = bytes.Clone(b)
		}
		if err := got.Scan(v); err != nil || !bytes.Equal(got, s) || (got == nil) != (s == nil) {
			t.Errorf("database/sql: %#v, %v", []byte(got), err)
		}
		if b, ok := v.([]byte); ok {
			clear(b)
			if !bytes.Equal(got, s) {
				t.Error("the envelope shares the driver's buffer")
			}
		}
	}
	var s seal.Sealed
	if err := s.Scan("text"); err == nil {
		t.Error("a text column was taken for an envelope")
	}
}

func TestAnEnvelopePrintsItsLength(t *testing.T) {
	t.Parallel()
	s := seal.Sealed("KKKKKKKK")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, s); got != "[sealed 8 bytes]" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := s.LogValue().String(); got != "[sealed 8 bytes]" {
		t.Errorf("slog shows %s", got)
	}
	if b, err := json.Marshal(map[string]any{"body": s}); err == nil {
		t.Errorf("an envelope went into JSON: %s", b)
	}
}
