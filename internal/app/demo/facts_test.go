package demo

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"mime"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/internal/kind"
)

func unmarshal(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

func TestEveryRecordIsWhatItsCollectionDeclares(t *testing.T) {
	t.Parallel()
	for _, o := range Organizations(t) {
		schemas := map[string]*kind.Schema{}
		for _, c := range o.Collections {
			if _, err := kind.ParseName(c.Kind, "/kind"); err != nil {
				t.Error(err)
			}
			var err error
			if schemas[c.Kind], err = kind.Compile(c.Schema, "/schema"); err != nil {
				t.Fatalf("%s/%s: %v", o.Name, c.Kind, err)
			}
		}
		seen := map[string]bool{}
		for _, e := range o.Records {
			if seen[e.ref()] {
				t.Errorf("%s: %s stands twice", o.Name, e.ref())
			}
			for _, l := range e.Links {
				if (l.To == "") == (l.File == "") || l.To != "" && !seen[l.To] || l.Relation == "" {
					t.Errorf("%s: %s leads to %s%s, which does not stand above it", o.Name, e.ref(), l.To, l.File)
				}
			}
			seen[e.ref()] = true
			if !slices.ContainsFunc(o.People, func(p person) bool { return p.Key == e.By && slices.Contains(p.Roles, "scientist") }) {
				t.Errorf("%s: %s is made by somebody who may not", o.Name, e.ref())
			}
			for _, text := range [][]byte{e.Content, e.Then} {
				if text == nil {
					continue
				}
				content, err := kind.ParseContent(text, "/content")
				if err == nil {
					err = schemas[e.Kind].Validate(content, "/content")
				}
				if err != nil {
					t.Errorf("%s: %s: %v", o.Name, e.ref(), err)
				}
			}
			if name, err := nameOf(e.Content, "name"); e.Then != nil && err == nil && !strings.Contains(string(e.Then), name) {
				t.Errorf("%s: %s changes its name", o.Name, e.ref())
			}
		}
	}
}

func TestEveryFileIsStoredOnceUnderAnUnmistakableName(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, o := range Organizations(t) {
		names := map[string]bool{}
		for _, u := range o.uploads() {
			used[o.at(u.file)] = true
			if names[path.Base(u.file)] {
				t.Errorf("%s: two files are called %s", o.Name, path.Base(u.file))
			}
			names[path.Base(u.file)] = true
			if mediaType(u.file) == "" {
				t.Errorf("%s: no media type", u.file)
			}
		}
	}
	for _, s := range sources(t) {
		if !used["data/"+s.file] {
			t.Errorf("%s belongs to no record", s.file)
		}
	}
}

// own are the members of contents that are in the demo's words; everything
// else is what a file says.
var own = map[string]bool{"technique": true, "method": true, "unit": true, "description": true, "synthetic": true, "service": true, "format": true, "source": true, "licence": true,
	"pages": true, "success": true, "image": true, "type": true, "tool": true, "quantity": true, "orientation": true, "status": true, "state": true, "external": true, "geometry_unit": true,
	"basis": true, "formula": true, "algorithm": true}

// ours are lists whose names are the demo's, and whose values are the file's.
var ours = map[string]bool{"parameters": true}

// named are collections whose name is the demo's; elsewhere it is the file's.
var named = map[string]bool{"project": true, "measurement": true, "tool-parameters": true, "time-series": true, "analysis-result": true, "sample/Si(111)-r3Ag": true, "structure/water": true, "composition": true,
	"run-configuration": true, "provenance": true, "conversation": true, "document": true, "briefing": true, "decision": true, "run": true, "result": true}

// words are collections of what people of the demo say themselves.
var words = map[string]bool{"project": true, "annotation": true, "decision-packet": true}

// What a record states stands in a file that it is linked to, letter for
// letter and digit for digit.
func TestEveryFactStandsInAFile(t *testing.T) {
	t.Parallel()
	facts := 0
	texts := map[string]string{}
	for _, o := range Organizations(t) {
		for _, e := range o.Records {
			if e.bulk || words[e.Kind] {
				continue
			}
			var read strings.Builder
			for _, l := range e.Links {
				if l.File == "" {
					continue
				}
				if _, ok := texts[o.at(l.File)]; !ok {
					texts[o.at(l.File)] = textOf(t, o.at(l.File))
				}
				read.WriteString(texts[o.at(l.File)] + "\n")
			}
			for _, content := range []json.RawMessage{e.Content, e.Then} {
				if content == nil {
					continue
				}
				d := json.NewDecoder(bytes.NewReader(content))
				d.UseNumber()
				var members map[string]any
				if err := d.Decode(&members); err != nil {
					t.Fatal(err)
				}
				if named[e.Kind] || named[e.ref()] {
					delete(members, "name")
					delete(members, "title")
				}
				if e.Kind == "conversation" { // through which it was led, the file's format says
					delete(members, "channel")
				}
				if e.Kind == "time-series" { // counted by a test of their own
					for _, k := range []string{"points", "minimum", "maximum"} {
						delete(members, k)
					}
				}
				// "John Doe" is on the cards in two parts.
				if given, ok := members["given_name"].(string); ok && members["name"] == given+" "+members["family_name"].(string) {
					delete(members, "name")
				}
				walk(members, func(value string) {
					facts++
					if !stands(value, read.String()) {
						t.Errorf("%s: %s: %q stands in none of its files", o.Name, e.ref(), value)
					}
				})
			}
		}
	}
	if facts < 250 {
		t.Errorf("only %d facts were looked up", facts)
	}
}

func walk(v any, fact func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			switch {
			case ours[k]:
				for _, p := range v[k].([]any) {
					walk(p.(map[string]any)["value"], fact)
				}
			case k == "duration":
				fact("duration " + v[k].(json.Number).String())
			case !own[k]:
				walk(v[k], fact)
			}
		}
	case []any:
		for _, e := range v {
			walk(e, fact)
		}
	case string:
		fact(v)
	case json.Number:
		fact(v.String())
	}
}

// layouts are how the files write a time; each part must be there.
var layouts = [][]string{
	{"2006-01-02T15:04:05.999999"}, {"2006-01-02", "15:04:05"}, {"2006-01-02 15:04"}, {"2006 1 2"}, {"20060102"}, {"02/01/2006 15:04:05.000"}, {"2006/01/02, 15:04"}, {"2006-01-02, 15:04"}, {time.RFC1123Z},
}

func stands(value, text string) bool {
	if strings.Contains(text, value) {
		return true
	}
	// The sheets write durations in minutes, or in hours, minutes and seconds.
	if seconds, ok := strings.CutPrefix(value, "duration "); ok {
		d, err := time.ParseDuration(seconds + "s")
		return err == nil && (strings.Contains(text, fmt.Sprintf("%02d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)) ||
			d%time.Minute == 0 && strings.Contains(text, "\n"+strconv.Itoa(int(d.Minutes()))+"\n"))
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999", "2006-01-02T15:04", "2006-01-02"} {
		at, err := time.Parse(layout, value)
		if err != nil {
			continue
		}
		if strings.Contains(text, strconv.FormatInt(at.Unix(), 10)) {
			return true
		}
		for _, parts := range layouts {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, at.Format(p)) }) {
				return true
			}
		}
	}
	return false
}

// textOf returns what a file says, with what its format wraps taken off.
func textOf(t *testing.T, name string) string {
	t.Helper()
	b, err := embedded.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	switch path.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		text = all(t, z)
	case ".json":
		// One escape is undone that JSON need not have.
		text = strings.ReplaceAll(text, `\u0027`, "'")
	case ".vcf", ".raw":
		text += quoted(text)
		for line := range strings.Lines(text) {
			if decoded, err := new(mime.WordDecoder).DecodeHeader(strings.TrimSpace(line)); err == nil {
				text += "\n" + decoded
			}
		}
	case ".xlsx":
		text = cells(t, b)
	case ".pdf":
		text += streams(b)
	}
	return text
}

func all(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// quoted decodes =C3=91 wherever it stands (RFC 2045 section 6.7).
func quoted(text string) string {
	text = strings.NewReplacer("=\r\n", "", "=\n", "").Replace(text)
	return regexp.MustCompile(`=[0-9A-F]{2}`).ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseUint(s[1:], 16, 8)
		return string([]byte{byte(n)})
	})
}

// cells are the values of a workbook, one a line.
func cells(t *testing.T, b []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("\n")
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, "xl/sharedStrings") && !strings.HasPrefix(f.Name, "xl/worksheets/sheet") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(r); ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, ok := token.(xml.CharData); ok {
				out.WriteString(string(text) + "\n")
			}
		}
	}
	return out.String()
}

// streams are the compressed parts of a PDF.
func streams(b []byte) (text string) {
	for _, part := range bytes.Split(b, []byte("stream"))[1:] {
		z, err := zlib.NewReader(bytes.NewReader(bytes.TrimLeft(part, "\r\n")))
		if err != nil {
			continue
		}
		s, _ := io.ReadAll(z) // what follows the stream is not of it
		text += string(s)
	}
	return text
}

type image struct{ Width, Height, Bits, Frames int }

func TestTheImagesHaveTheSizesThatTheRecordsSay(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, o := range Organizations(t) {
		for _, e := range o.Records {
			var says struct{ Image *image }
			unmarshal(t, e.Content, &says)
			if says.Image == nil {
				continue
			}
			checked++
			file := e.Links[slices.IndexFunc(e.Links, func(l link) bool { return l.File != "" })].File
			b, err := embedded.ReadFile(o.at(file))
			if err != nil {
				t.Fatal(err)
			}
			is := bmp(b)
			if path.Ext(file) == ".tif" {
				is = tiff(t, b)
			}
			if is != *says.Image {
				t.Errorf("%s is %+v and the record says %+v", file, is, *says.Image)
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d images were looked at", checked)
	}
}

func bmp(b []byte) image {
	le := binary.LittleEndian
	return image{Width: int(le.Uint32(b[18:])), Height: int(le.Uint32(b[22:])), Bits: int(le.Uint16(b[28:]))}
}

// tiff reads the first page's tags (TIFF 6.0 section 2). The writer of these
// files says in the description how many pages it put behind each other.
func tiff(t *testing.T, b []byte) image {
	t.Helper()
	le := binary.LittleEndian
	var is image
	at := int(le.Uint32(b[4:]))
	for i := range int(le.Uint16(b[at:])) {
		tag := b[at+2+12*i:]
		value := int(le.Uint32(tag[8:]))
		if le.Uint16(tag[2:]) == 3 { // SHORT
			value = int(le.Uint16(tag[8:]))
		}
		switch le.Uint16(tag) {
		case 256:
			is.Width = value
		case 257:
			is.Height = value
		case 258:
			is.Bits = value
		case 270:
			var d struct{ Shape []int }
			text, _, _ := bytes.Cut(b[value:], []byte{0})
			unmarshal(t, text, &d)
			if is.Frames = 1; len(d.Shape) == 3 {
				is.Frames = d.Shape[0]
			}
		}
	}
	return is
}

func TestTheDocumentsHaveTheirPages(t *testing.T) {
	t.Parallel()
	for _, o := range Organizations(t) {
		for _, e := range o.Records {
			var says struct {
				Format string
				Pages  int
			}
			if unmarshal(t, e.Content, &says); says.Pages == 0 {
				continue
			}
			text := textOf(t, o.at(e.Links[0].File))
			if got := len(regexp.MustCompile(`/Type\s*/Page[^s]`).FindAllString(text, -1)); got != says.Pages || !strings.HasPrefix(text, "%"+says.Format) {
				t.Errorf("%s has %d pages", e.ref(), got)
			}
		}
	}
}

func TestTheTablesBecomeRecordsWithEveryDigit(t *testing.T) {
	t.Parallel()
	o := Organizations(t)[2]
	count := map[string]int{}
	for _, e := range o.Records {
		if e.bulk {
			count[e.Kind]++
		}
	}
	// 1,128 of ESOL, 21 of QM9 and 16 of the NCI; the properties of the 21.
	if count["structure"] != 1128+21+16 || count["result"] != 21 {
		t.Errorf("%v", count)
	}
	find := func(ref string) string {
		i := slices.IndexFunc(o.Records, func(e entry) bool { return e.ref() == ref })
		if i < 0 {
			t.Fatalf("no %s", ref)
		}
		return string(o.Records[i].Content)
	}
	for ref, want := range map[string]string{
		"structure/Amigdalin": `{"name":"Amigdalin","smiles":"OCC3OC(OCC2OC(OC(C#N)c1ccccc1)C(O)C(O)C2O)C(O)C(O)C3O","molecular_weight":457.4320000000001,"properties":[` +
			`{"name":"log solubility","value":-0.77,"unit":"{log10(mol/L)}","method":"measured"},{"name":"log solubility","value":-0.9740000000000001,"unit":"{log10(mol/L)}","method":"predicted by ESOL"}],"source":"delaney-processed.csv"}`,
		// Counted in the file: methane, ammonia, water, acetylene, hydrogen cyanide.
		"structure/gdb_1":   `{"name":"gdb_1","formula":"CH4","source":"qm9_mini.sdf"}`,
		"structure/gdb_2":   `{"name":"gdb_2","formula":"H3N","source":"qm9_mini.sdf"}`,
		"structure/gdb_3":   `{"name":"gdb_3","formula":"H2O","source":"qm9_mini.sdf"}`,
		"structure/gdb_4":   `{"name":"gdb_4","formula":"C2H2","source":"qm9_mini.sdf"}`,
		"structure/gdb_5":   `{"name":"gdb_5","formula":"CHN","source":"qm9_mini.sdf"}`,
		"structure/NSC 170": `{"name":"NSC 170","cas":"999-99-9","identifiers":[{"scheme":"NSC","value":"170"}],"source":"NCI_aids_few.sdf"}`,
	} {
		if got := find(ref); got != want {
			t.Errorf("%s is %s", ref, got)
		}
	}
	if got := find("result/gdb_1: QM9 properties"); !strings.Contains(got, `{"name":"g298","value":-40.498597,"unit":"{hartree}"},{"name":"cv","value":6.469,"unit":"cal/mol/K"}`) {
		t.Error(got)
	}
	sdf := textOf(t, o.at(qm9SDF))
	for _, e := range o.Records {
		if e.bulk && e.Kind == "structure" && len(e.Links) > 0 && e.Links[0].File == qm9SDF && !strings.Contains("\n"+sdf, "\n"+e.name+"\n") {
			t.Errorf("%s is not in %s", e.name, qm9SDF)
		}
	}
}

func TestTheTimeSeriesAreAsLongAndAsHighAsTheRecordsSay(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, o := range Organizations(t) {
		for _, e := range o.Records {
			if e.Kind != "time-series" {
				continue
			}
			checked++
			var says struct {
				Points           int
				Minimum, Maximum *float64
			}
			unmarshal(t, e.Content, &says)
			var points int
			var values []float64
			for line := range strings.Lines(textOf(t, o.at(e.Links[0].File))) {
				cells := strings.Split(strings.TrimSpace(line), ",")
				v, err := strconv.ParseFloat(cells[len(cells)-1], 64)
				if err == nil {
					points++
					values = append(values, v)
				}
			}
			if says.Points != points || says.Minimum != nil && (*says.Minimum != slices.Min(values) || *says.Maximum != slices.Max(values)) {
				t.Errorf("%s has %d points from %g to %g", e.ref(), points, slices.Min(values), slices.Max(values))
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d series were looked at", checked)
	}
}

// Every role of an organization can be tried alone.
func TestEveryRoleHasSomebody(t *testing.T) {
	t.Parallel()
	alone := map[client.Role]string{client.SystemAdmin: adminEmail}
	for _, o := range Organizations(t) {
		for _, p := range o.People {
			if len(p.Roles) == 1 && !p.Owner {
				alone[p.Roles[0]] = p.Email
			}
		}
	}
	for _, r := range []client.Role{client.Scientist, client.Analyst, client.OrgAdmin, client.SecurityAdmin, client.BillingAdmin, client.SystemAdmin} {
		if alone[r] == "" {
			t.Errorf("nobody is %s and nothing else", r)
		}
	}
}

func TestEveryLinkIsOneThatItsKindDeclares(t *testing.T) {
	t.Parallel()
	links, used := 0, map[string]bool{}
	for _, o := range Organizations(t) {
		k, _ := kind.KitOf(o.Kit)
		for _, e := range o.Records {
			n, _ := k.Of(e.Kind)
			used[e.Kind] = true
			single := map[string]bool{}
			for _, l := range e.Links {
				to, _, _ := strings.Cut(l.To, "/")
				if l.File != "" {
					to = kind.ToFile
				}
				one, err := n.Declaration.Relations.Allows(l.Relation, to, "/relation")
				if err != nil || one && single[l.Relation] {
					t.Errorf("%s: %s to %s%s: %v", e.ref(), l.Relation, l.To, l.File, err)
				}
				single[l.Relation] = true
				links++
			}
		}
		for _, n := range k.Kinds {
			if !used[n.Kind] {
				t.Errorf("%s: nothing of the kind %s", o.Name, n.Kind)
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links", links)
	}
}

func TestTheSheetIsWrittenForAShellAndForPeople(t *testing.T) {
	t.Parallel()
	got := Sheet([]Account{
		{Name: "System administrator", Email: "admin@strongroom.example", Duty: "runs it", Roles: []client.Role{client.SystemAdmin}, Password: client.NewSecret("first")},
		{Organization: "Lab", Name: "Ada", Email: "ada@lab.example", Duty: "heads it", Owner: true, Roles: []client.Role{client.OrgAdmin, client.Scientist}, Password: client.NewSecret("second")},
	}, "https://127.0.0.1:8443", "/srv/my data")
	for _, want := range []string{
		"\n  bin/strongroom login https://127.0.0.1:8443 --data '/srv/my data' --email ada@lab.example\n",
		"\nThe installation\n  admin@strongroom.example  first  System administrator, runs it  system_admin\n",
		"\nLab\n  ada@lab.example  second  Ada, heads it  owner, org_admin, scientist\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
