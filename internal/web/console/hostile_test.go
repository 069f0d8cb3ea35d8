package console_test

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/testkit/live"
)

// What somebody writes is shown to others with their rights. It stays text,
// wherever it stands.
func TestWhatPeopleStoreIsTextOnEveryPageAndInEveryHeader(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "schema")
	owner := org.Owner
	const bad = `"'><img src=x onerror=alert(1)></textarea></script><script>alert(2)</script>{{.}}<!--`
	text, err := json.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.ReplaceAll(`{"type":"object","title":BAD,"description":BAD,"properties":{"name":{"type":"string","title":BAD,"description":BAD,"x-strongroom":{"title":true}},
 "choice":{"enum":[BAD,"b"],"title":BAD},"mail":{"type":"string","title":"Mail"},"rows":{"type":"array","title":BAD,"items":{"type":"object","properties":{"a":{"type":"string","title":BAD}}}},
 "any":{}, "fixed":{"const":BAD}}}`, "BAD", string(text))
	if _, err := owner.CreateCollection(t.Context(), org.ID, client.NewCollection{Kind: "note", Title: bad, Description: bad, Schema: json.RawMessage(schema),
		Relations: map[string]client.Relation{"about": {Title: bad, To: []string{"note"}, Many: true}}}); err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(`{"name":BAD,"choice":BAD,"mail":"javascript:alert(3)","rows":[{"a":BAD}],"any":{"k":BAD},"fixed":BAD,"beside":BAD}`, "BAD", string(text))
	first, err := owner.CreateRecord(t.Context(), org.ID, "note", client.NewRecord{Content: json.RawMessage(content)})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := owner.CreateRecord(t.Context(), org.ID, "note", client.NewRecord{Content: json.RawMessage(content), Links: []client.NewLink{{Relation: "about", To: first.ID}}})
	if err != nil {
		t.Fatal(err)
	}
	name := `a";x="` + strings.ReplaceAll(bad, "/", "∕") + `.html`
	file, err := owner.UploadFile(t.Context(), org.ID, client.Upload{Name: name, MediaType: "text/html", Body: strings.NewReader("<script>alert(4)</script>")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.CreateLink(t.Context(), org.ID, "note", rec.ID, file.ID, "related"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // something for the trash
		gone, err := owner.CreateRecord(t.Context(), org.ID, "note", client.NewRecord{Content: json.RawMessage(content)})
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.DeleteRecord(t.Context(), org.ID, "note", gone.ID, gone.Version); err != nil {
			t.Fatal(err)
		}
	}
	h := newHand(t, s, owner)
	quoted, alive := regexp.MustCompile(`="[^"]*"`), regexp.MustCompile(`(?i)<img src=x|<script>alert|onerror\s*=[^&]*>|</script><script>`)
	address := regexp.MustCompile(`(?i)(href|src|action)="\s*(javascript|data):`)
	find := func(p page) string {
		if m := address.FindString(p.body); m != "" {
			return m
		}
		return alive.FindString(quoted.ReplaceAllString(p.body, ""))
	}
	at := "/o/" + org.ID
	note := at + "/c/note/" + rec.ID
	for _, path := range []string{at, at + "/c/note", at + "/c/note?linked_to=" + first.ID + "&relation=about", note, note + "/edit", note + "/history", note + "/json", note + "/link", note + "/link?relation=about", note + "/link?relation=related",
		at + "/c/note/new?link=about:" + first.ID, at + "/c/note/new?link=" + url.QueryEscape("about:"+bad), at + "/files", at + "/files/" + file.ID, at + "/trash", at + "/export?collection=note&record=" + rec.ID,
		at + "/export?file=" + file.ID, at + "/settings", at + "/settings/collections/note", at + "/collections/note", at + "/people", at + "/log", "/sign-in?next=" + url.QueryEscape(bad), at + "/export?chosen=" + url.QueryEscape(bad)} {
		h.jar["__Host-strongroom-said"] = &http.Cookie{Name: "__Host-strongroom-said", Value: url.QueryEscape(bad)}
		got := h.get(path)
		if m := find(got); m != "" {
			t.Errorf("%s (%d) holds %q", path, got.status, m)
		}
		if media := got.header.Get("Content-Type"); got.status == http.StatusOK && !strings.HasPrefix(media, "text/html") && !strings.HasPrefix(media, "application/json") {
			t.Errorf("%s comes as %s", path, media)
		}
	}
	form := url.Values{"f/name": {bad}, "f/choice": {bad + bad}, "f/any": {bad}, "link/about": {bad}}
	if got := h.post(at+"/c/note/new", form); got.status != http.StatusUnprocessableEntity || find(got) != "" {
		t.Errorf("a refused form: %d, %q", got.status, find(got))
	}

	got := h.get(at + "/files/" + file.ID + "/content")
	kind, params, err := mime.ParseMediaType(got.header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || params["filename"] != name || len(params) != 1 {
		t.Errorf("the file is sent as %q (%v)", got.header.Get("Content-Disposition"), err)
	}
	if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox") || got.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a stored page could run: %q", policy)
	}
}

// Whether something private is there, or nothing, is one answer.
func TestWhatIsPrivateToAnotherLooksLikeNothingOnEveryPage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	mine := client.NewRecord{Content: json.RawMessage(`{"name":"Unseen"}`), Visibility: client.ForOwner}
	rec, err := l.org.Owner.CreateRecord(t.Context(), l.org.ID, "sample", mine)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte("unseen")
	file, err := l.org.Owner.UploadFile(t.Context(), l.org.ID, client.Upload{Name: "unseen.bmp", Visibility: client.ForOwner, Size: int64(len(b)), Body: bytes.NewReader(b)})
	if err != nil {
		t.Fatal(err)
	}
	h := newHand(t, l.s, l.org.Member(t, client.Scientist, client.Analyst, client.OrgAdmin))
	requests := regexp.MustCompile(`req_[0-9a-z]+`)
	// Both have identifiers of the same moment, so that what a page shortens is
	// cut at the same place.
	plain := func(p page, ids ...string) string {
		for _, x := range ids {
			p.body = strings.ReplaceAll(p.body, x, "ID")
			p.body = strings.ReplaceAll(p.body, x[len(x)-6:], "ID")
		}
		return requests.ReplaceAllString(p.body, "req")
	}
	for _, format := range []string{"c/sample/REC", "c/sample/REC/edit", "c/sample/REC/history", "c/sample/REC/json", "c/sample/REC/link?relation=related", "c/measurement/new?link=sample:REC",
		"c/measurement?linked_to=REC&relation=sample", "files/FILE", "files/FILE/content", "files/FILE/preview", "export?collection=sample&record=REC", "export?file=FILE", "files?undo=FILE"} {
		none := []string{id.NewRecord().String(), id.NewFile().String()}
		path := func(ids ...string) string {
			return l.path(strings.NewReplacer("REC", ids[0], "FILE", ids[1]).Replace(format))
		}
		there, nothing := h.get(path(rec.ID, file.ID)), h.get(path(none...))
		if there.status != nothing.status || plain(there, rec.ID, file.ID) != plain(nothing, none...) {
			t.Errorf("%s: %d for what is private, %d for nothing:\n%s\n%s", format, there.status, nothing.status, there.text(), nothing.text())
		}
	}
	for _, format := range []string{"c/sample/REC/edit", "c/sample/REC/delete", "c/sample/REC/sharing", "c/sample/REC/restore", "files/FILE/delete", "files/FILE/restore"} {
		none := []string{id.NewRecord().String(), id.NewFile().String()}
		form := url.Values{"version": {"1"}, "f/name": {"Taken"}, "visibility": {"organization"}}
		path := func(ids ...string) string {
			return l.path(strings.NewReplacer("REC", ids[0], "FILE", ids[1]).Replace(format))
		}
		there, nothing := h.post(path(rec.ID, file.ID), form), h.post(path(none...), form)
		if there.status != http.StatusNotFound || there.status != nothing.status || plain(there, rec.ID, file.ID) != plain(nothing, none...) {
			t.Errorf("POST %s: %d for what is private, %d for nothing:\n%s\n%s", format, there.status, nothing.status, there.text(), nothing.text())
		}
	}
}
