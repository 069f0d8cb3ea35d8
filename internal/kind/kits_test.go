package kind

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"strongroom/internal/base/fault"
)

var update = flag.Bool("update", false, "write the list of kinds in docs/kits.md anew")

func TestTheKitsAreWhatTheyPromise(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"materials": "project sample measurement* recipe tool-parameters time-series* analysis-result* annotation",
		"memory":    "person account task conversation document briefing decision profile",
		"molecules": "structure composition run-configuration run result provenance decision-packet",
	}
	for _, k := range Kits() {
		var kinds []string
		for _, n := range k.Kinds {
			name := n.Kind
			if n.Measurement {
				name += "*"
			}
			kinds = append(kinds, name)
			d := n.Declaration
			s := compile(t, string(d.Schema))
			if s.TitleField() == "" || d.Description == "" {
				t.Errorf("%s/%s has no title or no description", k.Name, n.Kind)
			}
			if private := d.Visibility == ForOwner; private != (k.Name == "memory") {
				t.Errorf("%s/%s begins %s", k.Name, n.Kind, d.Visibility)
			}
			required := 0
			for _, f := range s.Fields() {
				if f.Required {
					required++
				}
				if f.Title == "" {
					t.Errorf("%s/%s/%s has no title", k.Name, n.Kind, f.Name)
				}
			}
			if required == 0 || required > 2 {
				t.Errorf("%s/%s asks for %d fields", k.Name, n.Kind, required)
			}
			// What is closed can get new members later without refusing any old
			// content.
			if (Field{Fields: s.Fields()}).Open || !strings.Contains(string(d.Schema), `"additionalProperties":false`) {
				t.Errorf("%s/%s is open", k.Name, n.Kind)
			}
		}
		if got := strings.Join(kinds, " "); got != want[k.Name] {
			t.Errorf("%s has %s, want %s", k.Name, got, want[k.Name])
		}
		if len(k.Roles) != 5 {
			t.Errorf("%s names %d roles", k.Name, len(k.Roles))
		}
	}
	if _, ok := KitOf("bakery"); ok {
		t.Error("there is a kit that nobody made")
	}
}

// Whatever is about a person in the memory's records of people is sealed under
// her own leaf: a field that was forgotten here would outlive her.
func TestAPersonsFieldsAreHerOwn(t *testing.T) {
	t.Parallel()
	memory, _ := KitOf("memory")
	for name, whose := range map[string]string{"person": Self, "profile": "person"} {
		n, _ := memory.Of(name)
		s := compile(t, string(n.Declaration.Schema))
		for _, f := range s.Fields() {
			public := f.Name == "labels" || f.Name == "updated"
			if got := s.People()[f.Name]; public != (got == "") || !public && got != whose {
				t.Errorf("%s/%s is about %q", name, f.Name, got)
			}
		}
	}
}

func TestAKitThatDoesNotHoldTogetherIsRefused(t *testing.T) {
	t.Parallel()
	kit := `{"kit":"a","version":1,"title":"A","description":"","roles":{},"kinds":[{"kind":"b"}]}`
	b := `{"kind":"b","title":"B","description":"","visibility":"private","relations":{},"schema":{}}`
	for _, tt := range []struct{ name, kit, b, more string }{
		{"none", kit, b, ""},
		{"another name", strings.Replace(kit, `"a"`, `"c"`, 1), b, ""},
		{"no version", strings.Replace(kit, `1`, `0`, 1), b, ""},
		{"an unknown member", strings.Replace(kit, `"version"`, `"color":1,"version"`, 1), b, ""},
		{"text behind it", kit + "{}", b, ""},
		{"a kind that names another", kit, strings.Replace(b, `"b"`, `"c"`, 1), ""},
		{"a schema that is none", kit, strings.Replace(b, `{}}`, `{"type":"thing"}}`, 1), ""},
		{"a relation that leads out of it", kit, strings.Replace(b, `"relations":{}`, `"relations":{"r":{"title":"","to":["c"],"many":false}}`, 1), ""},
		{"a file that is not listed", kit, b, "{}"},
	} {
		files := fstest.MapFS{"a/kit.json": {Data: []byte(tt.kit)}, "a/b.json": {Data: []byte(tt.b)}}
		if tt.more != "" {
			files["a/more.json"] = &fstest.MapFile{Data: []byte(tt.more)}
		}
		if _, err := readKits(files); (err == nil) != (tt.name == "none") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestMeasurementsAreKnownByNameAndBySchema(t *testing.T) {
	t.Parallel()
	materials, _ := KitOf("materials")
	measurement, _ := materials.Of("measurement")
	sample, _ := materials.Of("sample")
	spaced := bytes.Buffer{}
	if err := json.Indent(&spaced, measurement.Declaration.Schema, "", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		d    Declaration
		want bool
	}{
		{measurement.Declaration, true},
		{Declaration{Kind: "measurement", Schema: json.RawMessage(`{}`)}, true},
		{Declaration{Kind: "readings", Schema: spaced.Bytes()}, true},
		{sample.Declaration, false},
		{Declaration{Kind: "readings", Schema: json.RawMessage(`{}`)}, false},
	} {
		if got := Measures(tt.d); got != tt.want {
			t.Errorf("%s measures: %v", tt.d.Kind, got)
		}
	}
}

// keeps says what a later version of a kind takes away from an older one.
func keeps(old, next KitKind) error {
	o, n := old.Declaration, next.Declaration
	switch {
	case old.Measurement != next.Measurement:
		return fmt.Errorf("it changes whether the pool may have it")
	case o.Visibility != n.Visibility:
		return fmt.Errorf("it changes who sees a new record")
	case !Widens(o.Schema, n.Schema):
		return fmt.Errorf("its schema may refuse what the older one took")
	}
	for name, r := range o.Relations {
		later, ok := n.Relations[name]
		if !ok || r.Many && !later.Many {
			return fmt.Errorf("the relation %s is gone or holds less", name)
		}
		for _, to := range r.To {
			if len(later.To) > 0 && !slices.Contains(later.To, to) {
				return fmt.Errorf("the relation %s does not lead to %s any more", name, to)
			}
		}
	}
	return nil
}

// Each version that was released stays accepted by those after it.
func TestAReleasedKitStaysAccepted(t *testing.T) {
	t.Parallel()
	for _, k := range Kits() {
		released, err := os.ReadDir("testdata/kits/" + k.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(released) != k.Version {
			t.Errorf("%s: version %d, and %d are kept in testdata", k.Name, k.Version, len(released))
		}
		for v := 1; v <= len(released); v++ {
			files := folder(t, k.Name, fmt.Sprint("testdata/kits/", k.Name, "/", v))
			old, err := readKits(files)
			if err != nil {
				t.Fatal(err)
			}
			if old[0].Version != v {
				t.Errorf("%s: version %d says that it is %d", k.Name, v, old[0].Version)
			}
			if v == k.Version {
				sameFiles(t, k.Name, files)
			}
			for _, was := range old[0].Kinds {
				now, ok := k.Of(was.Kind)
				if !ok {
					t.Errorf("%s: the kind %s of version %d is gone", k.Name, was.Kind, v)
					continue
				}
				if err := keeps(was, now); err != nil {
					t.Errorf("%s/%s since version %d: %v", k.Name, was.Kind, v, err)
				}
				accepts(t, fmt.Sprint(k.Name, "/", was.Kind, " since version ", v), was.Declaration, now.Declaration)
			}
		}
	}
}

func folder(t *testing.T, name, from string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(path.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[name+"/"+e.Name()] = &fstest.MapFile{Data: b}
	}
	return files
}

func sameFiles(t *testing.T, kit string, released fstest.MapFS) {
	t.Helper()
	for name, f := range released {
		now, err := fs.ReadFile(kitFiles, "kits/"+name)
		if err != nil || !bytes.Equal(now, f.Data) {
			t.Errorf("%s has changed since it was released: raise the version in kit.json and keep the new files in testdata/kits/%s", name, kit)
		}
	}
}

// accepts holds contents that the older schema takes, the smallest and the
// fullest, against the newer one.
func accepts(t *testing.T, name string, old, next Declaration) {
	t.Helper()
	o, n := compile(t, string(old.Schema)), compile(t, string(next.Schema))
	for _, full := range []bool{false, true} {
		b, err := json.Marshal(sampleOf(t, name, o.Fields(), full))
		if err != nil {
			t.Fatal(err)
		}
		c := content(t, string(b))
		if err := o.Validate(c, ""); err != nil {
			t.Errorf("%s: the sample does not fit its own schema: %v\n%s", name, fault.From(err).Details, b)
		}
		if err := n.Validate(c, ""); err != nil {
			t.Errorf("%s: refused now: %v\n%s", name, fault.From(err).Details, b)
		}
		if full && n.Title(b) == "" {
			t.Errorf("%s: a full record has no title", name)
		}
	}
}

// texts are tried in turn where a pattern or a format asks for something.
var texts = []string{"a text", "2026-11-22", "2026-11-22T10:15:30Z", "nm", "Ga", "#00ff7f", "--02-03", "BQJCRHHNABKAKU-KBQPJGBKSA-N", "d41d8cd98f00b204e9800998ecf8427e"}

func sampleOf(t *testing.T, name string, fields []Field, full bool) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, f := range fields {
		if full || f.Required {
			out[f.Name] = sampleValue(t, name, f, full)
		}
	}
	return out
}

func sampleValue(t *testing.T, name string, f Field, full bool) any {
	t.Helper()
	switch {
	case f.Const != nil:
		return f.Const
	case len(f.Enum) > 0:
		return f.Enum[len(f.Enum)-1]
	case f.Is("string"):
		for _, text := range texts {
			if fits(f, text) {
				return text
			}
		}
		t.Errorf("%s%s: no sample", name, f.Pointer)
		return ""
	case f.Is("integer") || f.Is("number"):
		for _, n := range []string{"1", "0.5", "50"} {
			if f.Is("number") && f.Types[0] == "number" || n == "1" {
				return json.Number(n)
			}
		}
	case f.Is("array"):
		if f.Items == nil {
			return []any{}
		}
		return []any{sampleValue(t, name, *f.Items, full)}
	case f.Is("object"):
		return sampleOf(t, name, f.Fields, full)
	}
	return true
}

func fits(f Field, text string) bool {
	if n, err := strconv.Atoi(string(f.MinLength)); err == nil && len(text) < n {
		return false
	}
	switch {
	case f.Pattern != "":
		return regexp.MustCompile(f.Pattern).MatchString(text)
	case f.Format == FormatUnit:
		return CheckUnit(text) == nil
	case f.Format == "date":
		return len(text) == len("2026-11-22") && text[4] == '-'
	}
	return true
}

// The rule for releases finds what it is there for.
func TestAKitThatTakesSomethingAwayIsFound(t *testing.T) {
	t.Parallel()
	materials, _ := KitOf("materials")
	sample, _ := materials.Of("sample")
	for _, tt := range []struct {
		name   string
		change func(*KitKind)
		keeps  bool
	}{
		{"nothing", func(*KitKind) {}, true},
		{"another title", func(k *KitKind) { k.Declaration.Title = "Pieces" }, true},
		{"a member more", replaced(`"properties":{`, `"properties":{"mass":{"type":"number"},`), true},
		{"a word more to choose from, a longer text", replaced(`"maxLength":500`, `"maxLength":600`), true},
		{"a relation more", func(k *KitKind) {
			k.Declaration.Relations = cloneRelations(k.Declaration.Relations)
			k.Declaration.Relations["twin"] = Relation{To: []string{"sample"}}
		}, true},
		{"a member must be there", replaced(`"required":["name"]`, `"required":["name","batch"]`), false},
		{"a shorter text", replaced(`"maxLength":500`, `"maxLength":100`), false},
		{"a member less", replaced(`"batch":`, `"lot":`), false},
		{"another type", replaced(`"type":"number"`, `"type":"integer"`), false},
		{"a relation less", func(k *KitKind) {
			k.Declaration.Relations = cloneRelations(k.Declaration.Relations)
			delete(k.Declaration.Relations, "project")
		}, false},
		{"a relation that leads to less", func(k *KitKind) {
			k.Declaration.Relations = cloneRelations(k.Declaration.Relations)
			k.Declaration.Relations["project"] = Relation{To: []string{"sample"}, Many: true}
		}, false},
		{"a relation that holds one", func(k *KitKind) {
			k.Declaration.Relations = cloneRelations(k.Declaration.Relations)
			k.Declaration.Relations["project"] = Relation{To: []string{"project"}}
		}, false},
		{"another visibility", func(k *KitKind) { k.Declaration.Visibility = ForOwner }, false},
		{"the pool may have it", func(k *KitKind) { k.Measurement = !k.Measurement }, false},
	} {
		next := sample
		tt.change(&next)
		if err := keeps(sample, next); (err == nil) != tt.keeps {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func replaced(old, by string) func(*KitKind) {
	return func(k *KitKind) {
		k.Declaration.Schema = json.RawMessage(strings.Replace(string(k.Declaration.Schema), old, by, 1))
	}
}

const (
	docs   = "../../docs/kits.md"
	marker = "<!-- Below: the kinds of the kits, written by internal/kind from their files. -->\n"
)

// The page about kits says what the files say.
func TestThePageAboutKitsIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	intro, rest, ok := strings.Cut(string(page), marker)
	if !ok {
		t.Fatalf("%s has no line that says where the kinds begin", docs)
	}
	want := describeKits()
	if *update {
		if err := os.WriteFile(docs, []byte(intro+marker+want), 0o644); err != nil {
			t.Fatal(err)
		}
		rest = want
	}
	if rest != want {
		t.Errorf("%s does not say what the kits are: run go test ./internal/kind -update", docs)
	}
}

func describeKits() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, k := range Kits() {
		p("\n## %s: `%s`, version %d\n\n%s", k.Title, k.Name, k.Version, k.Description)
		var roles []string
		for _, r := range []string{"scientist", "analyst", "org_admin", "security_admin", "billing_admin"} {
			roles = append(roles, fmt.Sprintf("%s is `%s`", k.Roles[r], r))
		}
		p("\nIn its words: %s.", strings.Join(roles, ", "))
		for _, n := range k.Kinds {
			d := n.Declaration
			p("\n### %s: `%s`\n\n%s", d.Title, n.Kind, d.Description)
			var notes []string
			if d.Visibility == ForOwner {
				notes = append(notes, "Its author's own until she shares it.")
			}
			if n.Measurement {
				notes = append(notes, "Measurement data: not for pooled organizations.")
			}
			if len(notes) > 0 {
				p("\n%s", strings.Join(notes, " "))
			}
			p("\n| field | type | unit | what it is |\n|---|---|---|---|")
			describeFields(p, "", FieldsOf(d.Schema))
			p("\n| relation | to | how many | |\n|---|---|---|---|")
			for _, name := range sortedNames(d.Relations) {
				r := d.Relations[name]
				many := "one"
				if r.Many {
					many = "any number"
				}
				p("| `%s` | %s | %s | %s |", name, strings.Join(r.To, ", "), many, r.Title)
			}
		}
	}
	return b.String()
}

func describeFields(p func(string, ...any), above string, fields []Field) {
	for _, f := range fields {
		name, items := above+f.Name, f
		for items.Items != nil {
			name, items = name+"[]", *items.Items
		}
		what := []string{f.Label()}
		if f.Description != "" {
			what = append(what, strings.TrimSuffix(f.Description, "."))
		}
		if items.Annotation.Title {
			what = append(what, "the record's title")
		}
		if f.Required {
			what = append(what, "required")
		}
		if person := f.Annotation.Person; person == Self {
			what = append(what, "the person's own")
		} else if person != "" {
			what = append(what, "about the one whom `"+person+"` leads to")
		}
		typ := strings.Join(items.Types, ", ")
		if items.Format != "" {
			typ = items.Format
		}
		if len(items.Enum) > 0 {
			var values []string
			for _, v := range items.Enum {
				values = append(values, strings.Trim(string(v), `"`))
			}
			typ = "one of " + strings.Join(values, ", ")
		}
		unit := items.Unit
		if unit != "" {
			unit = "`" + unit + "`"
		}
		p("| `%s` | %s | %s | %s |", name, typ, unit, strings.Join(what, ". "))
		describeFields(p, name+".", items.Fields)
	}
}
