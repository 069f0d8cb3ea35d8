package clitest_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/cmd/strongroom/clitest"
	"strongroom/internal/testkit/live"
)

// TestAReviewerVerifiesTheDocumentWithoutTheServer fetches document and key as
// anybody can, and hands them to a command line that knows no server.
func TestAReviewerVerifiesTheDocumentWithoutTheServer(t *testing.T) {
	s := live.Start(t)
	env, err := s.App.Env(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fetch := func(path, name string) string {
		res, err := env.HTTP.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, res.StatusCode, err)
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	document, key := fetch("/trust.json", "trust.json"), fetch("/trust/key", "key.json")
	c := clitest.New(t, bin)
	out := c.Must("trust", "verify", document, "--key", key)
	for _, want := range []string{"signature", "good", "promises", "90"} {
		if !strings.Contains(out.Stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, out.Stdout)
		}
	}
	if out := c.Must("trust", "verify", document, "--key", key, "--output", "json"); !strings.HasPrefix(out.Stdout, `{"kind":"strongroom-trust"`) {
		t.Errorf("%.200s", out.Stdout)
	}
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	if err := os.WriteFile(document, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := c.Run("trust", "verify", document, "--key", key); out.Code != 1 || out.Stdout != "" || !strings.Contains(out.Stderr, "signature does not match") && !strings.Contains(out.Stderr, "not a signed document") {
		t.Errorf("a changed document: %+v", out)
	}
}

func TestAnAdministratorAnswersReportsAndEditsPlans(t *testing.T) {
	s := live.Start(t)
	sent, err := s.Client(t, client.Secret{}).CreateReport(t.Context(), client.NewReport{Title: "Paper clip \x1b", Description: "no"})
	if err == nil {
		t.Fatalf("an unreadable report was taken: %+v", sent)
	}
	if sent, err = s.Client(t, client.Secret{}).CreateReport(t.Context(), client.NewReport{Title: "Paper clip", Description: "The lock opens with one.", Contact: "me@finder.example"}); err != nil {
		t.Fatal(err)
	}
	admin := s.Admin(t)
	c := clitest.New(t, bin)
	c.Login(s.URL, s.CAFile, admin.Email, admin.Password.Reveal())
	if out := c.Must("reports", "list", "--state", "open"); !strings.Contains(out.Stdout, sent.ID) || !strings.Contains(out.Stdout, "Paper clip") {
		t.Errorf("%s", out.Stdout)
	}
	if out := c.Must("reports", "show", sent.ID); !strings.Contains(out.Stdout, "The lock opens with one.") || !strings.Contains(out.Stdout, "me@finder.example") {
		t.Errorf("%s", out.Stdout)
	}
	if out := c.Must("reports", "acknowledge", sent.ID, "--note", "Seen."); !strings.Contains(out.Stdout, "acknowledged") || !strings.Contains(out.Stdout, "Seen.") {
		t.Errorf("%s", out.Stdout)
	}
	if out := c.Must("reports", "close", sent.ID); !strings.Contains(out.Stdout, "closed") || !strings.Contains(out.Stdout, "Seen.") {
		t.Errorf("closing loses the note: %s", out.Stdout)
	}
	if out := c.Must("plans", "list"); !strings.Contains(out.Stdout, "pilot") || !strings.Contains(out.Stdout, "api_keys") {
		t.Errorf("%s", out.Stdout)
	}
	if out := c.Must("plans", "set", "team", "features.sso=true", "limits.requests_per_minute_person=900"); !strings.Contains(out.Stdout, "900") {
		t.Errorf("%s", out.Stdout)
	}
	c.Must("plans", "set", "team", "features.sso=false", "limits.requests_per_minute_person=600")
	for _, change := range []string{"features.gold=true", "features.sso=perhaps", "limits=1", "limits.requests_per_minute_person=many", "plan=gold", "features.sso"} {
		if out := c.Run("plans", "set", "team", change); out.Code != 2 {
			t.Errorf("%s: %+v", change, out)
		}
	}
	org := s.Org(t, "pooled")
	member := clitest.New(t, bin)
	member.Login(s.URL, s.CAFile, org.Owner.Email, org.Owner.Password.Reveal())
	for _, args := range [][]string{{"reports", "list"}, {"reports", "show", sent.ID}, {"plans", "list"}, {"plans", "set", "team", "features.sso=true"}} {
		if out := member.Run(args...); out.Code != 3 {
			t.Errorf("%v as an owner of an organization: %+v", args, out)
		}
	}
}
