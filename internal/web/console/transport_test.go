package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom/client"
)

// over calls h through the transport, as a page calls the API.
func over(t *testing.T, h http.HandlerFunc) (*inside, *http.Client) {
	t.Helper()
	in := &inside{api: h, remote: "203.0.113.9:4711"}
	t.Cleanup(in.calls.Wait)
	return in, &http.Client{Transport: in}
}

func get(t *testing.T, c *http.Client, method string, body io.Reader) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://this-server/v1/x?a=b", body)
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(r)
}

func TestTheHandlerSeesARequestAsAServerWouldHandItOver(t *testing.T) {
	t.Parallel()
	_, c := over(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if r.RemoteAddr != "203.0.113.9:4711" || r.RequestURI != "/v1/x?a=b" || r.Host != "this-server" || r.Header.Get("Expect") != "" || string(b) != "sent" || err != nil {
			t.Errorf("the handler sees %s %s %s %q %v", r.RemoteAddr, r.RequestURI, r.Host, b, err)
		}
		w.Header().Set("ETag", `"7"`)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("ETag", "too late")
		_, _ = io.WriteString(w, "answer")
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://this-server/v1/x?a=b", strings.NewReader("sent"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Expect", "100-continue")
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if b, err := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated || res.Header.Get("ETag") != `"7"` || string(b) != "answer" || err != nil {
		t.Errorf("the answer is %d %q %q %v", res.StatusCode, res.Header.Get("ETag"), b, err)
	}
}

// endless gives n bytes without holding any.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.n)
	e.n -= n
	return int(n), nil
}

func TestBodiesOfAnySizePassInConstantMemory(t *testing.T) {
	const size = 512 << 20
	var before, after runtime.MemStats
	_, c := over(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != size || err != nil {
			t.Errorf("%d bytes came in, %v", n, err)
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = io.Copy(w, &endless{size})
	})
	runtime.ReadMemStats(&before)
	res, err := get(t, c, http.MethodPost, io.NopCloser(&endless{size}))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	runtime.ReadMemStats(&after)
	if n != size || err != nil || res.ContentLength != size {
		t.Errorf("%d of %d bytes came out, %v", n, res.ContentLength, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d bytes were allocated for %d", grown, size)
	}
}

func TestWhatBreaksOffNeverLooksWhole(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"an abort after some bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		},
		"a panic after some bytes": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("something")
		},
		"fewer bytes than declared": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
		},
	} {
		_, c := over(t, h)
		res, err := get(t, c, http.MethodGet, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil || string(b) != "half" {
			t.Errorf("%s reads as %q, %v", name, b, err)
		}
	}
}

func TestAHandlerThatAnswersNothingIsAnErrorOrAnEmptyAnswer(t *testing.T) {
	t.Parallel()
	_, c := over(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if res, err := get(t, c, http.MethodGet, nil); err == nil {
		_ = res.Body.Close()
		t.Error("a handler that aborts at once answers")
	}
	_, c = over(t, func(http.ResponseWriter, *http.Request) {})
	res, err := get(t, c, http.MethodGet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || len(b) > 0 || err != nil {
		t.Errorf("a handler that returns at once answers %d %q %v", res.StatusCode, b, err)
	}
	_ = res.Body.Close()
}

func TestAHandlerCannotWriteMoreThanItDeclaredOrABodyWhereNoneBelongs(t *testing.T) {
	t.Parallel()
	said := make(chan error, 3)
	_, c := over(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, err := io.WriteString(w, "three")
		said <- err
		_, _ = io.WriteString(w, "no")
	})
	res, err := get(t, c, http.MethodGet, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(b) != "no" || err != nil || !errors.Is(<-said, http.ErrContentLength) {
		t.Errorf("more than declared reads as %q, %v", b, err)
	}
	_, c = over(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, err := io.WriteString(w, "body")
		said <- err
	})
	if res, err = get(t, c, http.MethodGet, nil); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if !errors.Is(<-said, http.ErrBodyNotAllowed) {
		t.Error("a 204 has a body")
	}
	_, c = over(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		w.WriteHeader(http.StatusOK)
	})
	if res, err = get(t, c, http.MethodHead, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); len(b) > 0 || err != nil || res.ContentLength != 9 {
		t.Errorf("HEAD reads as %q, %v, length %d", b, err, res.ContentLength)
	}
	_ = res.Body.Close()
}

func TestWhoStopsReadingEndsTheHandler(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	in, c := over(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(w, rand.Reader)
		<-r.Context().Done()
		ended <- err
	})
	res, err := get(t, c, http.MethodGet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the handler's writes went somewhere")
		}
	case <-time.After(10 * time.Second):
		t.Error("the handler goes on writing for nobody")
	}
	in.calls.Wait()
}

func TestWhoGoesAwayBeforeTheAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	began, gone := make(chan struct{}), make(chan struct{})
	in, c := over(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://this-server/", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-began; cancel() }()
	if res, err := c.Do(r); !errors.Is(err, context.Canceled) {
		if res != nil {
			_ = res.Body.Close()
		}
		t.Errorf("the call ends with %v", err)
	}
	<-gone
	in.calls.Wait()
}

// TestAPageThatEndsLeavesNoCallBehind: a page that forgets to close what it
// opened, or whose reader is gone, must not leave a handler running.
func TestAPageThatEndsLeavesNoCallBehind(t *testing.T) {
	t.Parallel()
	running := make(chan struct{})
	c, err := New(Options{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = io.Copy(w, &endless{1 << 30})
		close(running)
	})})
	if err != nil {
		t.Fatal(err)
	}
	v := c.visit(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), Page{})
	f, err := v.API.DownloadFile(v.Context(), "org_x", "fil_x", 0, client.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { v.end(); close(done) }()
	select {
	case <-done:
		<-running
	case <-time.After(10 * time.Second):
		t.Fatal("the page waits for a call that nobody reads")
	}
	_ = f.Close()
}

func TestTheUploadOfABrowserArrivesByteForByteWithItsAddressAndName(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20)
	_, _ = rand.Read(content)
	var got []byte
	c, err := New(Options{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		if r.RemoteAddr != "198.51.100.7:999" || r.UserAgent() != "Agent/1" || r.Header.Get("Authorization") != "Bearer sr_ses_x" || r.Header.Get("Cookie") != "" {
			t.Errorf("the API sees %s, %s, %v", r.RemoteAddr, r.UserAgent(), r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"fil_1"}`)
	})})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(content))
	r.RemoteAddr = "198.51.100.7:999"
	r.Header.Set("User-Agent", "Agent/1")
	r.AddCookie(cookie(sessionCookie, "sr_ses_x", 0))
	v := c.visit(httptest.NewRecorder(), r, Page{})
	defer v.end()
	f, err := v.API.UploadFile(v.Context(), "org_x", client.Upload{Name: "a", Body: r.Body})
	if err != nil || f.ID != "fil_1" || !bytes.Equal(got, content) {
		t.Errorf("the upload ends with %v, %d bytes of %d", err, len(got), len(content))
	}
}
