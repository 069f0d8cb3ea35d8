package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// Page is a part of a list, in the server's order.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // cursor of the next page; empty: this is the last
}

// List says which part of a list to return.
type List struct {
	Limit  int    // items; 0: the server's default of 50; at most 200
	Cursor string // empty: from the beginning
}

func (l List) query() url.Values {
	q := url.Values{}
	if l.Limit > 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	if l.Cursor != "" {
		q.Set("cursor", l.Cursor)
	}
	return q
}

func page[T any](ctx context.Context, c *Client, l List, path ...string) (Page[T], error) {
	var p Page[T]
	_, err := c.call(ctx, call{method: http.MethodGet, path: path, query: l.query(), out: &p, repeat: always})
	return p, err
}

// Items returns an iterator over every item of a list, page after page. It
// ends after the first error. Use it with a method that returns one page:
//
//	for r, err := range client.Items(ctx, client.List{}, func(ctx context.Context, l client.List) (client.Page[client.Record], error) {
//		return c.ListRecords(ctx, org, kind, l)
//	}) { … }
func Items[T any](ctx context.Context, l List, get func(context.Context, List) (Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		for {
			p, err := get(ctx, l)
			if err != nil {
				yield(zero, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			// A list that leads back to where it was would never end.
			if p.Next == l.Cursor {
				yield(zero, errors.New("client: the list's next page is the page itself"))
				return
			}
			l.Cursor = p.Next
		}
	}
}
