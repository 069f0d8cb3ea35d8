package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"strongroom/client"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/base/id"
	"strongroom/internal/blob"
	"strongroom/internal/store/platform"
	"strongroom/internal/web/api"
)

// listen serves the API, and beside it the same server without protection:
// bytes in and out of the same store of objects, over the same TLS, with no
// sealing, no database and no log.
func (w *world) listen(ctx context.Context) (url, bare string, ca []byte, err error) {
	dir := filepath.Join(w.dir, "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", nil, err
	}
	if err := tlsca.Ensure(tlsca.Options{Dir: dir}); err != nil {
		return "", "", nil, err
	}
	cfg, err := tlsca.Server(filepath.Join(dir, tlsca.CertFile), filepath.Join(dir, tlsca.KeyFile))
	if err != nil {
		return "", "", nil, err
	}
	if ca, err = os.ReadFile(filepath.Join(dir, tlsca.CAFile)); err != nil {
		return "", "", nil, err
	}
	serve := func(h http.Handler) (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		run, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = api.Serve(run, api.ServeOptions{Listener: l, TLS: cfg, Handler: h, Grace: time.Second, Log: slog.New(slog.DiscardHandler)})
		}()
		w.closers = append(w.closers, func() { stop(); <-done })
		return "https://" + l.Addr().String(), nil
	}
	if url, err = serve(w.app.Front); err != nil {
		return "", "", nil, err
	}
	bare, err = serve(bareStore{w.app.Blobs})
	return url, bare, ca, err
}

// bareStore stores and serves objects as they are.
type bareStore struct{ dir *blob.Dir }

func (s bareStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := blob.Key{Org: id.Installation, File: id.NewFile(), Version: 1}
	if r.Method == http.MethodPost {
		obj, err := s.dir.Create(r.Context(), key)
		if err == nil {
			defer func() { _ = obj.Abort() }()
			if _, err = io.CopyBuffer(struct{ io.Writer }{obj}, r.Body, make([]byte, 256<<10)); err == nil {
				err = obj.Commit()
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, key.File.String())
		return
	}
	var err error
	if key.File, err = id.ParseFile(strings.TrimPrefix(r.URL.Path, "/")); err == nil {
		var obj blob.Object
		if obj, err = s.dir.Open(r.Context(), key); err == nil {
			defer func() { _ = obj.Close() }()
			w.Header().Set("Content-Length", strconv.FormatInt(obj.Size(), 10))
			_, err = io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(obj, 0, obj.Size()), make([]byte, 256<<10))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// http measures a create and a read through the API, reported beside the
// figures of the door.
func (w *world) http(ctx context.Context, b *bench) error {
	url, _, ca, err := w.listen(ctx)
	if err != nil {
		return err
	}
	m, err := w.organization(ctx, platform.PlacementSchema, 50_000)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{URL: url, Token: client.NewSecret(m.token), CA: ca})
	if err != nil {
		return err
	}
	defer c.Close()
	org := m.org.String()
	if _, err := c.CreateCollection(ctx, org, client.NewCollection{Kind: "bench-http"}); err != nil {
		return err
	}
	var last atomic.Pointer[string]
	create := func(int) error {
		r, err := c.CreateRecord(ctx, org, "bench-http", client.NewRecord{Content: json.RawMessage(content)})
		if err == nil {
			last.Store(&r.ID)
		}
		return err
	}
	read := func(int) error {
		_, err := c.Record(ctx, org, "bench-http", *last.Load())
		return err
	}
	for name, f := range map[string]func(int) error{"create": create, "read": read} {
		if name == "read" && last.Load() == nil {
			if err := create(0); err != nil {
				return err
			}
		}
		if _, err := rate(b.each, f); err != nil {
			return err
		}
		n, err := rate(2*b.each, f)
		if err != nil {
			return err
		}
		b.add("http_"+name+"_rate", n, "1/s", "")
	}
	return nil
}

const fileSize = 100 << 20

// files measures the way of 100 MB in and out, against the same server
// without sealing.
func (w *world) files(ctx context.Context, b *bench) error {
	url, bare, ca, err := w.listen(ctx)
	if err != nil {
		return err
	}
	m, err := w.organization(ctx, platform.PlacementSchema, 60_000)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{URL: url, Token: client.NewSecret(m.token), CA: ca})
	if err != nil {
		return err
	}
	defer c.Close()
	tlsConfig, err := tlsca.Client(filepath.Join(w.dir, "tls", tlsca.CAFile))
	if err != nil {
		return err
	}
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}}
	defer plain.CloseIdleConnections()
	data := make([]byte, fileSize)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(data)

	var sealed, unsealed string
	up := func() error {
		f, err := c.UploadFile(ctx, m.org.String(), client.Upload{Name: "frame.bin", Size: fileSize, Body: bytes.NewReader(data)})
		sealed = f.ID
		return err
	}
	bareUp := func() error {
		r, err := plain.Post(bare, "application/octet-stream", bytes.NewReader(data))
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		name, err := io.ReadAll(r.Body)
		unsealed = string(name)
		if r.StatusCode != http.StatusOK {
			err = errors.Join(err, errors.New(r.Status))
		}
		return err
	}
	down := func() error {
		f, err := c.DownloadFile(ctx, m.org.String(), sealed, 0, client.Range{})
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		n, err := io.Copy(io.Discard, f)
		if err == nil && n != fileSize {
			err = fmt.Errorf("%d of %d bytes came back", n, fileSize)
		}
		return err
	}
	bareDown := func() error {
		r, err := plain.Get(bare + "/" + unsealed)
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil && n != fileSize {
			err = fmt.Errorf("%d of %d bytes came back", n, fileSize)
		}
		return err
	}
	for _, way := range []struct {
		name         string
		ours, theirs func() error
	}{{"upload", up, bareUp}, {"download", down, bareDown}} {
		var ratios, speeds []float64
		for range b.rounds + 1 {
			t, err := took(way.theirs)
			if err != nil {
				return err
			}
			o, err := took(way.ours)
			if err != nil {
				return err
			}
			ratios, speeds = append(ratios, t/o), append(speeds, fileSize/o/(1<<20))
		}
		b.add(way.name+"_100mb_ratio", median(ratios[1:]), "x", ">=0.6")
		b.add(way.name+"_100mb", median(speeds[1:]), "MiB/s", "")
	}
	return nil
}

func took(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return time.Since(start).Seconds(), err
}

// memory measures a whole idle installation, as processes of their own: the
// proportional set sizes, which count a shared page once.
func (w *world) memory(ctx context.Context, b *bench) error {
	dir := filepath.Join(w.dir, "installation")
	cmd := exec.CommandContext(ctx, "bin/strongroom", "up", "--data", dir, "--listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make build first: %w", err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "strongroom: ready ") {
		return fmt.Errorf("the installation did not become ready: %w", err)
	}
	time.Sleep(10 * time.Second) // the stock of schemas is made, the first leases are taken
	all, server := pss(cmd.Process.Pid)
	b.add("memory_idle_up", all, "MiB", "<=350")
	b.add("memory_server", server, "MiB", "<=200")
	return nil
}

// pss sums the proportional set sizes of a process and all below it, and
// gives that of the server among them.
func pss(root int) (all, server float64) {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		parents[pid], _ = strconv.Atoi(fields[1])
	}
	for pid := range parents {
		in := false
		for p := pid; p > 1; p = parents[p] {
			if p == root {
				in = true
				break
			}
		}
		if !in {
			continue
		}
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(rollup)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				all += kb / 1024
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				if bytes.Contains(args, []byte("\x00serve\x00")) {
					server = kb / 1024
				}
			}
		}
	}
	return all, server
}
