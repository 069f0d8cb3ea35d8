package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type ping struct {
	Name string `json:"name"`
	Sub  *struct {
		N uint64 `json:"n"`
	} `json:"sub"`
	List []int `json:"list"`
	Hash Hash  `json:"hash"`
}

func TestDecodeTakesOneSpelling(t *testing.T) {
	t.Parallel()
	good := `{"name":"a","sub":{"n":1},"list":[1,2],"hash":"` + strings.Repeat("0a", 32) + `"}`
	var p ping
	if err := Decode([]byte(good), &p); err != nil || p.Sub.N != 1 || p.Hash[0] != 10 {
		t.Fatalf("%+v %v", p, err)
	}
	for name, doc := range map[string]string{
		"nothing":                "",
		"an unknown key":         `{"name":"a","nome":"b"}`,
		"a key twice":            `{"name":"a","name":"b"}`,
		"a key twice inside":     `{"sub":{"n":1,"n":2}}`,
		"a key in another case":  `{"Name":"a"}`,
		"a key that folds":       "{\"li\u017ft\":[1]}",
		"a wrong type":           `{"name":1}`,
		"a number out of range":  `{"sub":{"n":-1}}`,
		"a second document":      `{"name":"a"}{}`,
		"trailing text":          `{"name":"a"} x`,
		"an open end":            `{"name":"a"`,
		"no object":              `["name"]`,
		"bytes that are no UTF8": "{\"name\":\"\xff\"}",
		"deep nesting":           strings.Repeat("[", 50) + strings.Repeat("]", 50),
		"an upper-case hash":     `{"hash":"` + strings.Repeat("0A", 32) + `"}`,
		"a short hash":           `{"hash":"0a"}`,
		"a hash of other digits": `{"hash":"` + strings.Repeat("0g", 32) + `"}`,
	} {
		if err := Decode([]byte(doc), new(ping)); err == nil {
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "nome") || strings.Contains(err.Error(), "0A0A") {
			t.Errorf("%s: the error repeats the input: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","sub":{"n":1},"list":[1,2]}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p ping
		if Decode(b, &p) != nil {
			return
		}
		// What is accepted means the same to any other decoder.
		var q ping
		if err := json.Unmarshal(b, &q); err != nil || fmt.Sprintf("%+v", q.List) != fmt.Sprintf("%+v", p.List) || q.Name != p.Name {
			t.Errorf("%q is read in two ways", b)
		}
	})
}

var discard = slog.New(slog.DiscardHandler)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	run, err := os.MkdirTemp("", "srt")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(run, "sub", "x.sock")
	l, err := Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, nil, h, discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(run)
	})
	return socket
}

func TestACallCarriesAnswersAndRefusalsAndHidesCauses(t *testing.T) {
	t.Parallel()
	socket := serve(t, Handle(discard, func(_ context.Context, p ping) (ping, error) {
		switch p.Name {
		case "refuse":
			return ping{}, Errorf(Conflict, "came between")
		case "break":
			return ping{}, fmt.Errorf("the cause: %s", "confidential")
		}
		return p, nil
	}))
	c := NewClient(socket, nil)
	defer c.Close()
	if got, err := Call[ping](t.Context(), c, "/x", ping{Name: "a"}); err != nil || got.Name != "a" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := Call[ping](t.Context(), c, "/x", ping{Name: "refuse"}); !Is(err, Conflict) || err.Error() != "came between" {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := Call[ping](t.Context(), c, "/x", ping{Name: "break"}); !Is(err, Internal) || strings.Contains(err.Error(), "confidential") {
		t.Errorf("a failure: %v", err)
	}
	if _, err := Call[ping](t.Context(), c, "/x", Empty{}); err != nil {
		t.Errorf("an empty document: %v", err)
	}
	if _, err := Call[ping](t.Context(), c, "/x", map[string]any{"zzz": 1}); !Is(err, Malformed) {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := Call[ping](t.Context(), c, "/x", ping{Name: strings.Repeat("a", MaxRequest)}); !Is(err, Malformed) {
		t.Errorf("a large document: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://unix/x", bytes.NewReader([]byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 400 {
		t.Errorf("without a content type: %d", res.StatusCode)
	}
}

func TestAPeerThatIsNotOnTheListIsCutOff(t *testing.T) {
	t.Parallel()
	l, err := Listen(filepath.Join(t.TempDir(), "x"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{Listener: l, uids: []uint32{uint32(os.Geteuid()) + 1}, log: discard, slot: make(chan struct{}, 1)}
	go func() {
		if c, err := g.Accept(); err == nil {
			c.Close()
			t.Error("the connection was accepted")
		}
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is open: %v", err)
	}
	l.Close()
	if uid, err := peer(c); err != nil || uid != uint32(os.Geteuid()) {
		t.Errorf("the peer is %d, %v", uid, err)
	}
}

func TestASlowRequestIsEnded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return
	}
	socket := serve(t, Handle(discard, func(context.Context, Empty) (Empty, error) { return Empty{}, nil }))
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\n") // and no more
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection stays open: %v", err)
	}
}

func TestASocketInUseOrAFileInTheWayIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	l, err := Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path, 0o600); err == nil {
		t.Error("a socket in use was replaced")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
	l.Close()
	l, err = Listen(path, 0o600)
	if err != nil {
		t.Errorf("the socket of a dead process stays in the way: %v", err)
	} else {
		l.Close()
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, 0o600); err == nil {
		t.Error("a file was replaced")
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 108)), 0o600); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a long path: %v", err)
	}
	for _, mode := range []os.FileMode{0, 0o666, 0o700} {
		if _, err := Listen(filepath.Join(dir, "y"), mode); err == nil {
			t.Errorf("mode %04o was accepted", mode)
		}
	}
}
