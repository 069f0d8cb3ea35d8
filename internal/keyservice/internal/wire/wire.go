// Package wire carries the calls between servers, key service and guardians:
// HTTP/1.1 with one JSON document each way, over a unix socket.
//
// It promises both ends three things: the peer runs as a user that was named
// (SO_PEERCRED, unix(7)), a document is exactly what its type says (unknown,
// duplicate, differently spelt or trailing input is refused), and nothing is
// unbounded in size or time. It knows no keys and takes no decision.
package wire

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Limits of a call.
const (
	MaxRequest  = 64 << 10 // bytes
	MaxResponse = 8 << 20  // bytes: the cover of the most punctured page there can be is 1.6 MB in JSON
	maxDepth    = 6
	callTime    = 15 * time.Second
	maxConns    = 1024
)

// Code classifies a refusal on the wire.
type Code string

// The codes, each with its HTTP status.
const (
	Malformed   Code = "malformed"   // 400
	NotFound    Code = "not_found"   // 404
	Conflict    Code = "conflict"    // 409 the compare of a compare-and-swap failed
	Refused     Code = "refused"     // 422 the call can never succeed as it is
	Internal    Code = "internal"    // 500
	Unavailable Code = "unavailable" // 503 try again later
)

var statuses = map[Code]int{Malformed: 400, NotFound: 404, Conflict: 409, Refused: 422, Internal: 500, Unavailable: 503}

// Error is a refusal that the other end sent. Its text names places and
// numbers of epochs and revisions, never a key.
type Error struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

func (e *Error) Error() string { return e.Detail }

// Errorf returns a refusal.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...)}
}

// Is reports whether err's chain holds a refusal of code c.
func Is(err error, c Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == c
}

// Hash is a SHA-256 value, in JSON 64 lowercase hexadecimal digits.
type Hash [32]byte

// String returns the hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText makes hashes strings in JSON.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the one spelling.
func (h *Hash) UnmarshalText(b []byte) error { return unhex((*[32]byte)(h), b) }

// Key is 32 secret bytes. It prints as [secret] everywhere but in the JSON of
// a call, which is its purpose.
type Key [32]byte

// Format keeps every verb of fmt from printing the bytes.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[secret]") }

// LogValue keeps slog from printing the bytes.
func (Key) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText writes 64 hexadecimal digits.
func (k Key) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(k[:])), nil }

// UnmarshalText reads the one spelling.
func (k *Key) UnmarshalText(b []byte) error { return unhex((*[32]byte)(k), b) }

func unhex(dst *[32]byte, b []byte) error {
	if len(b) != 64 || bytes.ContainsFunc(b, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return errors.New("want 64 lowercase hexadecimal digits")
	}
	_, err := hex.Decode(dst[:], b)
	if err != nil {
		return errors.New("want 64 lowercase hexadecimal digits")
	}
	return nil
}

// Empty is the body of calls and answers that carry nothing.
type Empty struct{}

// Listen makes a socket that only mode's users can open. The directory of the
// socket is made 0700 where it is missing. A socket that a killed process
// left is replaced; one that somebody serves is not.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > 107 { // sun_path, unix(7)
		return nil, fmt.Errorf("the socket path %s has %d bytes; the system allows 107", path, len(path))
	}
	if mode&^0o660 != 0 || mode == 0 {
		return nil, fmt.Errorf("the socket mode %04o is not 0600 or 0660", mode)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is in the way of the socket", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is served by another process", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Users completes a list of allowed users with the process's own and root:
// both can read the store itself, so refusing them would guard nothing.
func Users(uids []uint32) []uint32 {
	return append(slices.Clone(uids), uint32(os.Geteuid()), 0)
}

// peer returns the user at the other end of c: for an accepted connection the
// one that connected, for a dialled one the one that listens.
func peer(c net.Conn) (uint32, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}

type guarded struct {
	net.Listener
	uids []uint32
	log  *slog.Logger
	slot chan struct{}
}

// Accept hands on connections from allowed users only; the others are closed
// before a byte of theirs is read.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peer(c)
		if err != nil || !slices.Contains(g.uids, uid) {
			g.log.Warn("a connection was refused: its user is not on the list", "uid", uid, "error", err)
			c.Close()
			continue
		}
		select {
		case g.slot <- struct{}{}:
			return &slotted{Conn: c, free: g.slot}, nil
		default:
			g.log.Warn("a connection was refused: too many are open", "limit", maxConns)
			c.Close()
		}
	}
}

type slotted struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (s *slotted) Close() error {
	s.once.Do(func() { <-s.free })
	return s.Conn.Close()
}

// Serve answers calls on l until ctx ends, then lets the running ones finish
// for a moment. It closes l.
func Serve(ctx context.Context, l net.Listener, uids []uint32, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      callTime + 5*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() {
		done <- srv.Serve(&guarded{Listener: l, uids: Users(uids), log: log, slot: make(chan struct{}, maxConns)})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handle makes a handler of a function. In is decoded strictly; an error that
// is no [Error] is logged and answered as internal, without its text.
func Handle[In, Out any](log *slog.Logger, fn func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := func() (out Out, err error) {
			if ct := r.Header.Get("Content-Type"); ct != "application/json" {
				return out, Errorf(Malformed, "the content type is not application/json")
			}
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
			if err != nil {
				return out, Errorf(Malformed, "the body could not be read within its limits")
			}
			var in In
			if err := Decode(body, &in); err != nil {
				return out, Errorf(Malformed, "%v", err)
			}
			ctx, cancel := context.WithTimeout(r.Context(), callTime)
			defer cancel()
			return fn(ctx, in)
		}()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				log.Error("a call failed", "path", r.URL.Path, "error", err)
				e = Errorf(Internal, "internal error; the log of this process has the cause")
			}
			w.WriteHeader(statuses[e.Code])
			_ = json.NewEncoder(w).Encode(e)
			return
		}
		b, err := json.Marshal(out)
		if err != nil {
			log.Error("an answer could not be encoded", "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(b)
	})
}

// Decode reads exactly one JSON document into v: keys are spelt as v spells
// them, none is unknown or named twice, and nothing follows.
func Decode(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("the document is not UTF-8")
	}
	if err := scan(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return fmt.Errorf("%s has the wrong type", te.Field)
		}
		return errors.New("the document is not of the expected form")
	}
	return nil
}

// scan refuses what encoding/json lets pass: duplicate keys, keys in another
// case (all of ours are lowercase), deep nesting and trailing data.
func scan(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	type level struct {
		object, value bool
		seen          map[string]bool
	}
	var stack []level
	for {
		tok, err := d.Token()
		if err != nil {
			return errors.New("the document is not JSON")
		}
		top := len(stack) - 1
		isKey := top >= 0 && stack[top].object && !stack[top].value
		if delim, ok := tok.(json.Delim); ok {
			switch delim {
			case '{', '[':
				if len(stack) == maxDepth {
					return errors.New("the document is nested too deeply")
				}
				if top >= 0 {
					stack[top].value = false
				}
				stack = append(stack, level{object: delim == '{', seen: map[string]bool{}})
			default:
				stack = stack[:top]
			}
		} else if isKey {
			k := tok.(string)
			for _, c := range []byte(k) {
				if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
					return errors.New("the document has a key that is not of the expected form")
				}
			}
			if stack[top].seen[k] {
				return errors.New("the document has a key twice")
			}
			stack[top].seen[k], stack[top].value = true, true
		} else if top >= 0 {
			stack[top].value = false
		}
		if len(stack) == 0 {
			break
		}
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data follows the document")
	}
	return nil
}

// Client calls one socket. The zero value is not usable.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client of the service at socket, which must run as one
// of uids, as this user or as root: whoever else put a socket there gets no
// call, and so no key.
func NewClient(socket string, uids []uint32) *Client {
	allowed := Users(uids)
	t := &http.Transport{
		Proxy:               nil,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 16,
		MaxConnsPerHost:     64,
		IdleConnTimeout:     time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, err
			}
			uid, err := peer(c)
			if err == nil && !slices.Contains(allowed, uid) {
				err = fmt.Errorf("the process behind the socket runs as uid %d, which is not on the list", uid)
			}
			if err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
	}
	return &Client{socket: socket, http: &http.Client{Transport: t, Timeout: callTime + 5*time.Second}}
}

// Socket returns the path.
func (c *Client) Socket() string { return c.socket }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrUnreachable reports that no answer came: nothing is known about whether
// the call took effect.
var ErrUnreachable = errors.New("no answer")

// Call makes one call. A refusal is an [Error]; no answer is [ErrUnreachable].
func Call[Out any](ctx context.Context, c *Client, path string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://unix"+path, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return out, fmt.Errorf("%s: %w: %w", c.socket, ErrUnreachable, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxResponse+1))
	if err != nil {
		return out, fmt.Errorf("%s: %w: %w", c.socket, ErrUnreachable, err)
	}
	if len(b) > MaxResponse {
		return out, fmt.Errorf("%s: the answer is larger than %d bytes", c.socket, MaxResponse)
	}
	if res.StatusCode != http.StatusOK {
		var e Error
		if err := Decode(b, &e); err != nil || statuses[e.Code] != res.StatusCode {
			return out, fmt.Errorf("%s: the answer has status %d and is none of this protocol", c.socket, res.StatusCode)
		}
		return out, &e
	}
	if err := Decode(b, &out); err != nil {
		return out, fmt.Errorf("%s: the answer: %w", c.socket, err)
	}
	return out, nil
}
