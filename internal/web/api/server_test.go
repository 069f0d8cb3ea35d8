package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// up serves h on a port of its own and returns its address and trusted roots.
func up(t *testing.T, h http.Handler) (addr string, roots *x509.CertPool, stop func() error) {
	t.Helper()
	cert, roots := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, ServeOptions{Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: h,
			Grace: 5 * time.Second, Log: slog.New(slog.DiscardHandler)})
	}()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("the server does not stop")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), roots, stop
}

func client(roots *x509.CertPool, version uint16) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version}, ForceAttemptHTTP2: true}}
}

func TestTLSIsNewEnoughOrThereIsNoConnection(t *testing.T) {
	t.Parallel()
	addr, roots, _ := up(t, newHouse(t))
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		res, err := client(roots, version).Get("https://" + addr + "/healthz")
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") == "" || res.ProtoMajor != 2 {
				t.Errorf("%s: got %s %d", tls.VersionName(version), res.Proto, res.StatusCode)
			}
		}
	}
}

func TestPlainHTTPIsSentToTLSAndTakesNothingAlong(t *testing.T) {
	t.Parallel()
	addr, _, _ := up(t, newHouse(t))
	for request, location := range map[string]string{
		"GET /v1/status?token=" + canary + " HTTP/1.1\r\nHost: lab.example:8443\r\n\r\n":                                                 "https://lab.example:8443/v1/status",
		"POST /v1/sessions HTTP/1.1\r\nHost: lab.example\r\nContent-Length: 14\r\nAuthorization: Bearer " + canary + "\r\n\r\n" + canary: "https://lab.example/v1/sessions",
		"GET / HTTP/1.0\r\nHost: [::1]:8443\r\n\r\n":                                                                                     "https://[::1]:8443/",
		"GET //evil.example/%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: lab.example\r\n\r\n":                                                    "",
		"GET / HTTP/1.1\r\nHost: user@" + canary + "\r\n\r\n":                                                                            "",
		"GET / HTTP/1.0\r\n\r\n": "",
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, request)
		answer, _ := io.ReadAll(c)
		_ = c.Close()
		head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
		got := ""
		for _, line := range strings.Split(string(head), "\r\n") {
			if v, ok := strings.CutPrefix(line, "Location: "); ok {
				got = v
			}
		}
		want := "308"
		if location == "" {
			want = "400"
		}
		if got != location || !strings.Contains(string(head), " "+want+" ") || strings.Contains(string(answer), canary) {
			t.Errorf("%q: got %q", request, answer)
		}
		// net/http itself answers what is not HTTP, in a few words of its own.
		if location != "" && len(body) > 0 {
			t.Errorf("%q: the redirect has a body: %q", request, body)
		}
	}
}

func dialTLS(t *testing.T, addr string, roots *x509.CertPool) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// answer reads one answer whole.
func answer(t *testing.T, c io.Reader) (status int, last bool, body string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Close, string(b)
}

func TestASlowBodyIsCutOffAndOnRecord(t *testing.T) {
	t.Parallel()
	meta := feature.Meta{ID: "hurry", Method: "POST", Path: orgPath + "/hurry", Action: policy.RecordCreate, Summary: "Hurries.", BodyTime: 300 * time.Millisecond}
	h := newHouse(t, feature.Handle(meta, func(context.Context, *tenant.Tx, struct{ Body struct{} }) (feature.NoContent, error) {
		t.Error("the operation ran")
		return feature.NoContent{}, nil
	}))
	addr, roots, _ := up(t, h)
	c := dialTLS(t, addr, roots)
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer scientist\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", h.path(meta.Path))
	start := time.Now()
	go func() {
		for range 40 { // a byte now and then does not help
			time.Sleep(50 * time.Millisecond)
			if _, err := io.WriteString(c, " "); err != nil {
				return
			}
		}
	}()
	status, last, body := answer(t, c)
	if status != 408 || !strings.Contains(body, `"code":"too_slow"`) || !last {
		t.Errorf("got %d, close %v: %s", status, last, body)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if seen := h.recorder.all(); len(seen) != 1 {
		t.Errorf("on record %d times", len(seen))
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	addr, roots, _ := up(t, h)
	for name, rest := range map[string]string{
		"a chunk that is none":  "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"less than it promised": "Content-Length: 50\r\n\r\n{}",
	} {
		c := dialTLS(t, addr, roots)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer scientist\r\nContent-Type: application/json\r\n%s", h.path(recordsPath), rest)
		_ = c.CloseWrite()
		status, _, body := answer(t, c)
		if status != 400 || !strings.Contains(body, `"code":"malformed"`) {
			t.Errorf("%s: got %d %s", name, status, body)
		}
	}
	if h.ran != 0 {
		t.Error("the operation ran")
	}
}

// TestALongOperationKeepsItsContext: the deadline for the body must not strike
// while the operation works on what has long arrived.
func TestALongOperationKeepsItsContext(t *testing.T) {
	t.Parallel()
	meta := feature.Meta{ID: "think", Method: "POST", Path: orgPath + "/think", Action: policy.RecordCreate, Summary: "Thinks.", BodyTime: 200 * time.Millisecond}
	h := newHouse(t, feature.Handle(meta, func(ctx context.Context, _ *tenant.Tx, _ struct{ Body struct{} }) (feature.NoContent, error) {
		select {
		case <-ctx.Done():
			return feature.NoContent{}, ctx.Err()
		case <-time.After(600 * time.Millisecond):
			return feature.NoContent{}, nil
		}
	}))
	addr, roots, _ := up(t, h)
	c := dialTLS(t, addr, roots)
	for range 2 { // the connection is good for more
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer scientist\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", h.path(meta.Path))
		if status, _, _ := answer(t, c); status != 204 {
			t.Fatalf("got %d", status)
		}
	}
}

func TestRequestsUnderWayEndBeforeTheServerDoes(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	meta := feature.Meta{ID: "wait", Method: "GET", Path: orgPath + "/wait", Action: policy.RecordRead, Summary: "Waits."}
	h := newHouse(t, feature.Handle(meta, func(context.Context, *tenant.Tx, struct{}) (feature.NoContent, error) {
		close(begun)
		<-finish
		return feature.NoContent{}, nil
	}))
	addr, roots, stop := up(t, h)
	status := make(chan int, 1)
	go func() {
		r, _ := http.NewRequest("GET", "https://"+addr+h.path(meta.Path), nil)
		r.Header.Set("Authorization", "Bearer scientist")
		res, err := client(roots, tls.VersionTLS13).Do(r)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-begun
	time.AfterFunc(200*time.Millisecond, func() { close(finish) })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-status; got != 204 {
		t.Errorf("the request under way got %d", got)
	}
	if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
}

func TestAnUploadPassesThroughAndABigHeadDoesNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	addr, roots, _ := up(t, h)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	r, _ := http.NewRequest("POST", "https://"+addr+h.path(orgPath+"/files"), bytes.NewReader(big))
	r.Header.Set("Authorization", "Bearer scientist")
	res, err := client(roots, tls.VersionTLS13).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 201 || string(body) != fmt.Sprintf(`{"size":%d}`+"\n", len(big)) || !bytes.Equal(h.last.([]byte), big) {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	c := dialTLS(t, addr, roots)
	fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	if status, _, _ := answer(t, c); status != 431 {
		t.Errorf("64 KiB of headers: got %d", status)
	}
}

func TestServeRefusesToStartWithoutTLS(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for name, cfg := range map[string]*tls.Config{
		"no configuration":  nil,
		"no certificate":    {},
		"TLS 1.1 permitted": {Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS11},
	} {
		if err := Serve(context.Background(), ServeOptions{Listener: l, TLS: cfg, Handler: http.NotFoundHandler()}); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}
