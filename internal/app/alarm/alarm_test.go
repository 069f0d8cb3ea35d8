package alarm

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/mail"
)

// ear is a destination that remembers.
type ear struct {
	name string
	mu   sync.Mutex
	got  []Notice
	deaf error
}

func (e *ear) Name() string { return e.name }

func (e *ear) Deliver(_ context.Context, n Notice) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf != nil {
		return e.deaf
	}
	e.got = append(e.got, n)
	return nil
}

func (e *ear) heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, n := range e.got {
		all = append(all, string(n.Kind)+" "+n.Name)
	}
	return strings.Join(all, ", ")
}

type bench struct {
	*Book
	t    *testing.T
	now  time.Time
	file string
	ears []Destination
}

func open(t *testing.T, ears ...Destination) *bench {
	b := &bench{t: t, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), file: filepath.Join(t.TempDir(), "alarms.json"), ears: ears}
	b.reopen()
	return b
}

func (b *bench) reopen() {
	b.t.Helper()
	var err error
	b.Book, err = Open(BookOptions{File: b.file, Destinations: b.ears, Again: time.Hour, Settle: 30 * time.Second, Installation: "https://room.example",
		Version: "1", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now }})
	if err != nil {
		b.t.Fatal(err)
	}
}

// after moves the clock and says what is wrong.
func (b *bench) after(d time.Duration, wrong ...Condition) {
	b.t.Helper()
	b.now = b.now.Add(d)
	if err := b.Update(wrong); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Deliver(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

var down = Condition{"process/server", Critical, "server is restarting"}

func TestAnAlarmIsToldOnceAgainAfterItsPeriodAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	e := &ear{name: "mail"}
	b := open(t, e)
	b.after(0, down)
	b.after(20*time.Second, down)
	if got := e.heard(); got != "" {
		t.Fatalf("told before it settled: %s", got)
	}
	b.after(10*time.Second, down)
	for range 20 {
		b.after(2*time.Minute, down)
	}
	if got := e.heard(); got != "raised process/server" {
		t.Fatalf("told: %s", got)
	}
	b.after(20*time.Minute, down)
	if got := e.heard(); got != "raised process/server, lasting process/server" {
		t.Fatalf("told: %s", got)
	}
	b.after(time.Minute)
	b.after(29 * time.Second)
	if got := e.heard(); strings.Contains(got, "resolved") {
		t.Fatalf("over too early: %s", got)
	}
	b.after(time.Second)
	if got := e.heard(); got != "raised process/server, lasting process/server, resolved process/server" {
		t.Fatalf("told: %s", got)
	}
	if raised, _, err := Read(b.file); err != nil || len(raised) != 0 {
		t.Errorf("the book still has %v, %v", raised, err)
	}
}

func TestWhatComesAndGoesWithinAMomentIsNotTold(t *testing.T) {
	t.Parallel()
	e := &ear{name: "mail"}
	b := open(t, e)
	for range 10 {
		b.after(10*time.Second, down)
		b.after(10 * time.Second)
	}
	b.after(time.Second, down)
	b.after(time.Minute, down) // it settled
	for range 10 {             // and flaps: it is one alarm, not ten
		b.after(10 * time.Second)
		b.after(10*time.Second, down)
	}
	if got := e.heard(); got != "raised process/server" {
		t.Errorf("told: %s", got)
	}
}

func TestAWarningThatTurnsCriticalIsToldAtOnce(t *testing.T) {
	t.Parallel()
	e := &ear{name: "mail"}
	b := open(t, e)
	b.after(0, Condition{"disk/data", Warning, "nearly full"})
	b.after(time.Minute, Condition{"disk/data", Warning, "nearly full"})
	b.after(time.Minute, Condition{"disk/data", Critical, "full"})
	b.after(time.Minute, Condition{"disk/data", Critical, "full"})
	if got := e.heard(); got != "raised disk/data, lasting disk/data" || e.got[1].Text != "full" || e.got[1].Severity != Critical {
		t.Errorf("told: %s", got)
	}
}

func TestARestartNeitherForgetsNorRepeats(t *testing.T) {
	t.Parallel()
	e := &ear{name: "mail"}
	b := open(t, e)
	b.after(0, down)
	b.after(time.Minute, down)
	b.reopen()
	b.after(time.Second, down)
	b.after(time.Minute, down)
	if got := e.heard(); got != "raised process/server" {
		t.Errorf("told: %s", got)
	}
	b.reopen()
	b.after(time.Second)
	b.after(time.Minute)
	if got := e.heard(); got != "raised process/server, resolved process/server" {
		t.Errorf("told: %s", got)
	}
}

func TestADestinationThatDoesNotAnswerIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	deaf, good := &ear{name: "mail", deaf: errors.New("connection refused")}, &ear{name: "webhook"}
	b := open(t, deaf, good)
	b.after(0, down)
	b.after(time.Minute, down)
	if _, why, err := Read(b.file); err != nil || len(why) != 1 || why[0] != "mail: connection refused" {
		t.Errorf("the book says %q, %v", why, err)
	}
	b.reopen() // what waits outlives the process
	b.after(time.Minute, down)
	if got := good.heard(); got != "raised process/server" {
		t.Errorf("the other heard: %s", got)
	}
	deaf.deaf = nil
	b.after(5*time.Minute, down)
	if got := deaf.heard(); got != "raised process/server" {
		t.Errorf("later: %s", got)
	}
	if _, why, _ := Read(b.file); len(why) != 0 {
		t.Errorf("the book still says %q", why)
	}
}

func TestNoticesThatNobodyTakesAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t, &ear{name: "mail", deaf: errors.New("no")})
	for i := range maxPending + 50 {
		c := Condition{fmt.Sprintf("n/%d", i), Warning, strings.Repeat("x", 3*maxText)}
		b.after(0, c)
		b.after(time.Minute, c)
	}
	if n := len(b.state.Pending); n > maxPending {
		t.Errorf("%d wait", n)
	}
	if info, err := os.Stat(b.file); err != nil || info.Size() > maxBook {
		t.Errorf("the file has %v, %v", info, err)
	}
}

func TestABookThatCannotBeReadBeginsAnew(t *testing.T) {
	t.Parallel()
	e := &ear{name: "mail"}
	b := open(t, e)
	if err := os.WriteFile(b.file, []byte(`{"alarms": 7`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.after(0, down)
	b.after(time.Minute, down)
	if got := e.heard(); got != "raised process/server" {
		t.Errorf("told: %s", got)
	}
}

func TestTheBoardHoldsEachConditionOnceAndIsBounded(t *testing.T) {
	t.Parallel()
	var b Board
	b.Raise("reports", Warning, "one report\nof a vulnerability")
	b.Raise("reports", Warning, "two reports")
	b.Resolve("never raised")
	if all := b.Conditions(); len(all) != 1 || all[0].Text != "two reports" {
		t.Errorf("got %v", all)
	}
	b.Resolve("reports")
	for i := range 3 * maxRaised {
		b.Raise(fmt.Sprint(i), Warning, "x")
	}
	if n := len(b.Conditions()); n != maxRaised {
		t.Errorf("%d on the board", n)
	}
}

// receiver checks a signature as the documentation tells its readers to.
func receiver(t *testing.T, secret string) (url string, ca []byte, got func() []Notice, answer *int) {
	t.Helper()
	var mu sync.Mutex
	var all []Notice
	status := http.StatusNoContent
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var at, sum string
		_, _ = fmt.Sscanf(strings.ReplaceAll(r.Header.Get("Strongroom-Signature"), ",", " "), "t=%s v1=%s", &at, &sum)
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(at + "." + string(body)))
		if hex.EncodeToString(h.Sum(nil)) != sum || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var n Notice
		if err := json.Unmarshal(body, &n); err != nil {
			t.Errorf("the body: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, n)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return s.URL + "/hook?token=hunter2", ca, func() []Notice { mu.Lock(); defer mu.Unlock(); return all }, &status
}

var notice = Notice{ID: "n1", Kind: Raised, Name: "keys", Severity: Critical, Text: "guardian b does not answer", Installation: "https://room.example", Version: "1",
	Since: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), At: time.Date(2026, 5, 1, 12, 1, 0, 0, time.UTC)}

func TestAWebhookGetsASignedNotice(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", MinSecret)
	url, ca, got, _ := receiver(t, secret)
	w := Webhook{URL: url, Secret: []byte(secret), CA: ca}
	if err := w.Deliver(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	if all := got(); len(all) != 1 || all[0] != notice {
		t.Errorf("got %+v", all)
	}
	w.Secret = []byte(strings.Repeat("t", MinSecret))
	if err := w.Deliver(t.Context(), notice); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("another secret: %v", err)
	}
}

func TestAWebhookThatIsNotWhatWasConfiguredGetsNothing(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", MinSecret)
	url, ca, got, answer := receiver(t, secret)
	good := Webhook{URL: url, Secret: []byte(secret), CA: ca}
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something came in clear") }))
	defer plain.Close()
	for name, w := range map[string]Webhook{
		"no TLS":                    {URL: plain.URL, Secret: good.Secret},
		"an authority unknown":      {URL: url, Secret: good.Secret},
		"a secret that is a word":   {URL: url, Secret: []byte("word"), CA: ca},
		"an authority that is none": {URL: url, Secret: good.Secret, CA: []byte("x")},
	} {
		err := w.Deliver(t.Context(), notice)
		if err == nil {
			t.Errorf("%s: delivered", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the URL: %v", name, err)
		}
	}
	if len(got()) != 0 {
		t.Errorf("it heard %v", got())
	}
	*answer = http.StatusFound
	if err := good.Deliver(t.Context(), notice); err == nil || len(got()) != 1 {
		t.Errorf("a redirect was followed: %v, heard %d", err, len(got()))
	}
	*answer = http.StatusInternalServerError
	if err := good.Deliver(t.Context(), notice); err == nil {
		t.Error("500 counts as delivered")
	}
}

type box struct{ got []mail.Message }

func (b *box) Send(_ context.Context, m mail.Message) error { b.got = append(b.got, m); return nil }

func TestAMailSaysWhatIsWrongAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	b := &box{}
	m := Mail{From: "room@lab.example", To: []string{"ops@lab.example"}, Sender: b}
	over := notice
	over.Kind = Resolved
	for _, n := range []Notice{notice, over} {
		if err := m.Deliver(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.got[0].Subject; s != "[Strongroom critical] ALARM: keys" {
		t.Errorf("subject: %s", s)
	}
	if s := b.got[0].Text; !strings.Contains(s, "guardian b does not answer") || !strings.Contains(s, "Since 2026-05-01T12:00:00Z") {
		t.Errorf("text: %s", s)
	}
	if s := b.got[1].Text; !strings.Contains(s, "This is over") || !strings.Contains(s, "to 2026-05-01T12:01:00Z") {
		t.Errorf("text: %s", s)
	}
}
