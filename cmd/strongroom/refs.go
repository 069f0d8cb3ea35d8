package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"strongroom/client"
)

// ref names a record as people do: rec_…, or KIND/rec_…
type ref struct{ kind, id string }

// An id becomes part of a path here and there: nothing but letters and digits
// follows its prefix.
var (
	recordID = regexp.MustCompile(`^rec_[0-9a-z]+$`)
	fileID   = regexp.MustCompile(`^fil_[0-9a-z]+$`)
)

func isRecord(s string) bool {
	_, id, ok := strings.Cut(s, "/")
	if !ok {
		id = s
	}
	return recordID.MatchString(id)
}

func isFile(s string) bool { return fileID.MatchString(s) }

func parseRef(s, kind string) (ref, error) {
	r := ref{kind: kind, id: s}
	if k, id, ok := strings.Cut(s, "/"); ok {
		r = ref{kind: k, id: id}
	}
	if !recordID.MatchString(r.id) {
		return ref{}, usagef("a record is named by its id, as in rec_… or KIND/rec_…")
	}
	return r, nil
}

// locate calls do with the record in the collection that holds it. Where the
// reference does not name the collection, each is tried until one does not
// answer that the record is not there.
func locate(ctx context.Context, c *client.Client, org string, r ref, do func(ref) error) error {
	if r.kind != "" {
		return do(r)
	}
	var kinds []string
	for k, err := range c.Collections(ctx, org) {
		if err != nil {
			return err
		}
		kinds = append(kinds, k.Kind)
	}
	last := fmt.Errorf("no such record: %w", errNotFound)
	for _, kind := range kinds {
		err := do(ref{kind, r.id})
		if client.Status(err) != http.StatusNotFound {
			return err
		}
		last = err
	}
	return last
}

// find is locate for reading the record.
func find(ctx context.Context, c *client.Client, org string, r ref) (client.Record, error) {
	var rec client.Record
	err := locate(ctx, c, org, r, func(r ref) (err error) {
		rec, err = c.Record(ctx, org, r.kind, r.id)
		return err
	})
	return rec, err
}
