package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"strongroom/internal/feature"
)

// Promises offers the checks of what the edge itself promises. Each goes out
// and comes in again through the server's own port.
func Promises() []feature.Promise {
	return []feature.Promise{
		{ID: "ENC-4", Clauses: []feature.Clause{{Name: "api", Tag: feature.Passive, Check: proveTLS}}},
		{ID: "API-2", Clauses: []feature.Clause{{Name: "schema", Tag: feature.Passive, Check: proveSchema}}},
		{ID: "API-3", Clauses: []feature.Clause{{Name: "https", Tag: feature.Passive, Check: proveHTTPS}}},
		{ID: "API-4", Clauses: []feature.Clause{{Name: "openapi", Tag: feature.Passive, Check: proveDescription}}},
	}
}

const proveAnswer = 1 << 20

// heard is a whole answer.
type heard struct {
	status int
	header http.Header
	tls    uint16 // version; 0: none
	body   []byte
}

// ask sends a request and reads the whole answer.
func ask(ctx context.Context, env feature.Env, method, path, body string, head map[string]string) (heard, error) {
	r, err := http.NewRequestWithContext(ctx, method, env.URL+path, strings.NewReader(body))
	if err != nil {
		return heard{}, err
	}
	for name, value := range head {
		r.Header.Set(name, value)
	}
	res, err := env.HTTP.Do(r)
	if err != nil {
		return heard{}, fmt.Errorf("the server cannot be reached: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, proveAnswer+1))
	if err == nil && len(b) > proveAnswer {
		err = errors.New("the answer is larger than expected")
	}
	h := heard{status: res.StatusCode, header: res.Header, body: b}
	if res.TLS != nil {
		h.tls = res.TLS.Version
	}
	return h, err
}

// proveTLS connects as the client does, and as clients of old did.
func proveTLS(ctx context.Context, env feature.Env) (string, error) {
	res, err := ask(ctx, env, http.MethodGet, "/healthz", "", nil)
	switch {
	case err != nil:
		return "", err
	case res.tls < tls.VersionTLS12:
		return "", errors.New("the connection is not TLS 1.2 or newer")
	case res.header.Get("Strict-Transport-Security") == "":
		return "", errors.New("the answer has no Strict-Transport-Security")
	}
	at, err := url.Parse(env.URL)
	if err != nil {
		return "", err
	}
	for _, old := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		// The certificate is not looked at: the handshake has to end before it.
		d := tls.Dialer{Config: &tls.Config{MinVersion: old, MaxVersion: old, InsecureSkipVerify: true}}
		c, err := d.DialContext(ctx, "tcp", at.Host)
		if err == nil {
			_ = c.Close()
			return "", fmt.Errorf("a connection with %s was accepted", tls.VersionName(old))
		}
		// Only the server's own refusal counts: it answers with an alert.
		var alert *net.OpError
		if !errors.As(err, &alert) || alert.Op != "remote error" {
			return "", fmt.Errorf("%s was tried and ended without the server's refusal: %w", tls.VersionName(old), err)
		}
	}
	if err := onlyRedirects(ctx, at); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s in use; TLS 1.0 and 1.1 refused; HSTS %s; plain HTTP redirected without content",
		tls.VersionName(res.tls), res.header.Get("Strict-Transport-Security")), nil
}

// proveHTTPS speaks plain HTTP to the server's port.
func proveHTTPS(ctx context.Context, env feature.Env) (string, error) {
	at, err := url.Parse(env.URL)
	if err != nil {
		return "", err
	}
	if at.Scheme != "https" {
		return "", errors.New("the server's address is not https")
	}
	if err := onlyRedirects(ctx, at); err != nil {
		return "", err
	}
	return "plain HTTP gets a redirect to https: no content, no query", nil
}

func onlyRedirects(ctx context.Context, at *url.URL) error {
	for _, request := range []string{"GET /v1/orgs?mark=once HTTP/1.1", "POST /v1/sessions HTTP/1.1", "GET /openapi.json HTTP/1.1"} {
		if err := redirected(ctx, at, request); err != nil {
			return err
		}
	}
	return nil
}

func redirected(ctx context.Context, at *url.URL, request string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Host)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", request, at.Host); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil {
		return err
	}
	head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	switch {
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 308 ")) || !bytes.Contains(head, []byte("\r\nLocation: https://")):
		return errors.New("plain HTTP was answered with something else than a redirect to https")
	case len(body) > 0:
		return errors.New("the redirect from plain HTTP has content")
	case bytes.Contains(head, []byte("mark=once")):
		return errors.New("the redirect from plain HTTP repeats the query")
	}
	return nil
}

// proveMark stands for what somebody might send by mistake.
const proveMark = "mark-7f3a-never-repeated"

// proveSchema sends one request of each malformed kind to the one operation
// that is open to everybody, and so the first to be tried.
func proveSchema(ctx context.Context, env feature.Env) (string, error) {
	quoted := `"` + proveMark + `"`
	cases := []struct {
		name, body, media string
		status            int
		code, pointer     string
	}{
		{"a duplicate field", `{"email":` + quoted + `,"email":` + quoted + `,"password":"x"}`, "application/json", 400, "duplicate_field", ""},
		{"trailing data", `{"email":"a","password":"x"}` + quoted, "application/json", 400, "trailing_data", ""},
		{"bad UTF-8", "{\"email\":\"" + proveMark + "\xff\",\"password\":\"x\"}", "application/json", 400, "invalid_utf8", "/email"},
		{"a NUL", `{"email":"` + proveMark + `\u0000","password":"x"}`, "application/json", 400, "nul", "/email"},
		{"deep nesting", `{"email":` + strings.Repeat("[", 40) + quoted + strings.Repeat("]", 40) + `,"password":"x"}`, "application/json", 400, "too_deep", "/email" + strings.Repeat("/0", 31)},
		{"an unknown field", `{"email":"a","password":"x",` + quoted + `:1}`, "application/json", 422, "unknown_field", ""},
		{"a wrong type", `{"email":[` + quoted + `],"password":"x"}`, "application/json", 422, "wrong_type", "/email"},
		{"a missing field", `{"email":` + quoted + `}`, "application/json", 422, "required", "/password"},
		{"another media type", quoted, "text/plain", 415, "unsupported_media", "Content-Type"},
		{"an oversized body", `{"email":"` + strings.Repeat(proveMark, 64<<10/len(proveMark)) + `"}`, "application/json", 413, "too_large", ""},
	}
	for _, c := range cases {
		res, err := ask(ctx, env, http.MethodPost, "/v1/sessions", c.body, map[string]string{"Content-Type": c.media})
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		var p Problem
		if err := json.Unmarshal(res.body, &p); err != nil || res.status != c.status || p.Status != c.status {
			return "", fmt.Errorf("%s was answered with %d, not refused with %d", c.name, res.status, c.status)
		}
		if len(p.Errors) != 1 || p.Errors[0].Code != c.code || p.Errors[0].Pointer != c.pointer {
			return "", fmt.Errorf("the refusal of %s does not name the place", c.name)
		}
		if bytes.Contains(res.body, []byte(proveMark)) {
			return "", fmt.Errorf("the refusal of %s repeats what was sent", c.name)
		}
	}
	return fmt.Sprintf("%d of %d kinds of malformed request refused, each with its place and without its value", len(cases), len(cases)), nil
}

// proveDescription reads the description and knocks at every operation in it:
// each is there, and there is none for a path that it does not have.
func proveDescription(ctx context.Context, env feature.Env) (string, error) {
	spec, err := ask(ctx, env, http.MethodGet, "/openapi.json", "", nil)
	if err != nil {
		return "", err
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ Security []any }
	}
	if err := json.Unmarshal(spec.body, &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		return "", errors.New("/openapi.json is not a description in OpenAPI 3.1")
	}
	known := 0
	for path, methods := range doc.Paths {
		at := wildcard.ReplaceAllString(path, "none")
		for method, op := range methods {
			if len(op.Security) == 0 {
				continue // open to everybody: a knock would be an attempt to sign in
			}
			// Nobody's request is refused with 401 where there is an operation,
			// and with 404 or 405 where there is none.
			res, err := ask(ctx, env, strings.ToUpper(method), at, "", nil)
			if err != nil {
				return "", err
			}
			if res.status != http.StatusUnauthorized {
				return "", fmt.Errorf("%s %s is described and answers %d", strings.ToUpper(method), path, res.status)
			}
			known++
		}
		for _, method := range []string{http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodPost} {
			if _, described := methods[strings.ToLower(method)]; described {
				continue
			}
			res, err := ask(ctx, env, method, at, "", nil)
			if err != nil {
				return "", err
			}
			if !slices.Contains([]int{http.StatusMethodNotAllowed, http.StatusNotFound}, res.status) {
				return "", fmt.Errorf("%s %s answers %d and is not described", method, path, res.status)
			}
		}
	}
	if known == 0 {
		return "", errors.New("the description has no operations")
	}
	return fmt.Sprintf("OpenAPI %s; %d operations described and present, no other method on their paths", doc.OpenAPI, known), nil
}
