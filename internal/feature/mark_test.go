package feature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"

	"strongroom/internal/feature"
)

func TestAMarkIsFoundInEveryFormInWhichItCouldStand(t *testing.T) {
	t.Parallel()
	m := feature.NewMark()
	for _, around := range []string{"%s", `{"a":"%s"}`, "x%s", "xy%s", "%sz", "abc%sdef"} {
		plain := fmt.Appendf(nil, around, m.Text)
		forms := map[string][]byte{
			"as it is": plain, "hexadecimal": []byte(hex.EncodeToString(plain)), "capital hexadecimal": bytes.ToUpper([]byte(hex.EncodeToString(plain))),
			"base64": []byte(base64.StdEncoding.EncodeToString(plain)), "base64url": []byte(base64.RawURLEncoding.EncodeToString(plain)),
		}
		for name, b := range maps.Clone(forms) {
			// A bytea column of it, as text.
			forms[name+" in bytea"] = []byte(`(1,"\\x` + hex.EncodeToString(b) + `")`)
		}
		for name, b := range forms {
			if !m.In(b) {
				t.Errorf("%s is not found in %s", around, name)
			}
			if feature.NewMark().In(b) {
				t.Errorf("another mark is found in %s", name)
			}
		}
	}
	if n := feature.NewMark(); n.Text == m.Text || len(n.Text) < 24 || strings.ToLower(n.Text) != n.Text {
		t.Errorf("%q, %q", n.Text, m.Text)
	}
	if m.In(nil) || m.In([]byte(m.Text[1:])) {
		t.Error("a mark is found where it is not")
	}
}
