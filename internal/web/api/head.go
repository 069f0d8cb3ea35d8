package api

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/store/tenant"
)

// setHeaders gives every answer the headers that tell browsers to be careful
// with it. Nothing that the API sends is meant to be framed, sniffed, cached
// or run.
func setHeaders(h http.Header, request id.Request) {
	h.Set(RequestIDHeader, request.String())
	h.Set("Strict-Transport-Security", "max-age=63072000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

const maxAgent = 256

// clientOf says where r came from: the address of the connection itself, as
// headers that speak of other addresses are anybody's to write.
func clientOf(r *http.Request) tenant.Client {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = ""
	}
	agent := r.UserAgent()
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	agent = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, agent)
	return tenant.Client{Address: host, Agent: agent}
}

// purpose reads what the data is asked for. Training is refused whoever asks
// and wherever: it is known to the API only so that an attempt can be told
// from a slip of the pen (OWN-2).
func (c *call) purpose(r *http.Request) error {
	c.incoming.Purpose = tenant.Service
	name := r.Header.Get(PurposeHeader)
	if name == "" {
		return nil
	}
	if !slices.Contains(tenant.Purposes, tenant.Purpose(name)) {
		return fault.At(fault.Invalid, PurposeHeader, "unknown_purpose", "the purpose is not one of those that the API names")
	}
	c.incoming.Purpose = tenant.Purpose(name)
	if c.incoming.Purpose == tenant.Training {
		return fault.At(fault.Denied, PurposeHeader, "training", "no data is read for training")
	}
	return nil
}

// checkQuery refuses a query that two readers could understand in two ways.
func checkQuery(r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.At(fault.Malformed, "", "query_syntax", "the query is not well-formed")
	}
	for name, values := range q {
		if len(values) > 1 {
			return fault.At(fault.Malformed, "", "repeated_parameter", "a query parameter comes twice")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(values[0]) {
			return fault.At(fault.Malformed, "", "invalid_utf8", "the query is not UTF-8")
		}
		if strings.ContainsRune(values[0], 0) {
			return fault.At(fault.Malformed, "", "nul", "the query contains a NUL")
		}
	}
	return nil
}
