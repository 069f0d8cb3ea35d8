package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

// What the lists show, in one place, so that a thing looks the same wherever
// it is listed.

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func whenMaybe(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

func join[S ~string](s []S) string {
	out := make([]string, len(s))
	for i, v := range s {
		out[i] = string(v)
	}
	return strings.Join(out, ", ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

// oneLine is a JSON text without its spaces.
func oneLine(text json.RawMessage) string {
	if len(text) == 0 {
		return "-"
	}
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return string(text)
	}
	return b.String()
}

var orgColumns = []show.Column[client.Organization]{
	{Name: "ID", Value: func(o client.Organization) string { return o.ID }},
	{Name: "NAME", Value: func(o client.Organization) string { return o.Name }},
	{Name: "ROLES", Value: func(o client.Organization) string { return join(o.Roles) }},
	{Name: "PLAN", Value: func(o client.Organization) string { return o.Plan }},
	{Name: "PLACEMENT", Value: func(o client.Organization) string { return o.Placement }},
}

var memberColumns = []show.Column[client.Member]{
	{Name: "ID", Value: func(m client.Member) string { return m.ID }},
	{Name: "NAME", Value: func(m client.Member) string { return m.Name }},
	{Name: "EMAIL", Value: func(m client.Member) string { return m.Email }},
	{Name: "ROLES", Value: func(m client.Member) string { return join(m.Roles) }},
	{Name: "OWNER", Value: func(m client.Member) string { return yes(m.Owner) }},
	{Name: "STATE", Value: func(m client.Member) string { return m.State }},
}

var keyColumns = []show.Column[client.Key]{
	{Name: "ID", Value: func(k client.Key) string { return k.ID }},
	{Name: "NAME", Value: func(k client.Key) string { return k.Name }},
	{Name: "PREFIX", Value: func(k client.Key) string { return k.Prefix }},
	{Name: "ROLES", Value: func(k client.Key) string { return join(k.Roles) }},
	{Name: "SCOPES", Value: func(k client.Key) string { return join(k.Scopes) }},
	{Name: "EXPIRES", Value: func(k client.Key) string { return whenMaybe(k.ExpiresAt) }},
	{Name: "LAST USED", Value: func(k client.Key) string { return whenMaybe(k.LastUsedAt) }},
	{Name: "REVOKED", Value: func(k client.Key) string { return whenMaybe(k.RevokedAt) }},
}

var collectionColumns = []show.Column[client.Collection]{
	{Name: "KIND", Value: func(c client.Collection) string { return c.Kind }},
	{Name: "TITLE", Value: func(c client.Collection) string { return c.Title }, Width: 48},
	{Name: "VERSION", Value: func(c client.Collection) string { return num(c.Version) }},
	{Name: "CREATED", Value: func(c client.Collection) string { return when(c.CreatedAt) }},
	{Name: "ID", Value: func(c client.Collection) string { return c.ID }},
}

var recordColumns = []show.Column[client.Record]{
	{Name: "ID", Value: func(r client.Record) string { return r.ID }},
	{Name: "VERSION", Value: func(r client.Record) string { return num(r.Version) }},
	{Name: "UPDATED", Value: func(r client.Record) string { return when(r.UpdatedAt) }},
	{Name: "VISIBILITY", Value: func(r client.Record) string { return r.Visibility }},
	{Name: "CONTENT", Value: func(r client.Record) string { return oneLine(r.Content) }, Width: 72},
}

var fileColumns = []show.Column[client.File]{
	{Name: "ID", Value: func(f client.File) string { return f.ID }},
	{Name: "VERSION", Value: func(f client.File) string { return num(f.Version) }},
	{Name: "SIZE", Value: func(f client.File) string { return num(f.Size) }},
	{Name: "TYPE", Value: func(f client.File) string { return f.MediaType }},
	{Name: "UPDATED", Value: func(f client.File) string { return when(f.UpdatedAt) }},
	{Name: "NAME", Value: func(f client.File) string { return f.Name }},
}

var versionColumns = []show.Column[client.FileVersion]{
	{Name: "VERSION", Value: func(v client.FileVersion) string { return num(v.Version) }},
	{Name: "SIZE", Value: func(v client.FileVersion) string { return num(v.Size) }},
	{Name: "AT", Value: func(v client.FileVersion) string { return when(v.At) }},
	{Name: "BY", Value: func(v client.FileVersion) string { return v.By }},
}

var refColumns = []show.Column[client.Ref]{
	{Name: "ID", Value: func(r client.Ref) string { return r.ID }},
	{Name: "VERSION", Value: func(r client.Ref) string { return num(r.Version) }},
}

var changeColumns = []show.Column[client.Change]{
	{Name: "VERSION", Value: func(c client.Change) string { return num(c.Version) }},
	{Name: "ACTION", Value: func(c client.Change) string { return c.Action }},
	{Name: "AT", Value: func(c client.Change) string { return when(c.At) }},
	{Name: "BY", Value: func(c client.Change) string { return c.By }},
	{Name: "CONTENT", Value: func(c client.Change) string { return oneLine(c.Content) }, Width: 72},
}

var linkColumns = []show.Column[client.Link]{
	{Name: "ID", Value: func(l client.Link) string { return l.ID }},
	{Name: "FROM", Value: func(l client.Link) string { return l.From }},
	{Name: "RELATION", Value: func(l client.Link) string { return l.Relation }},
	{Name: "TO", Value: func(l client.Link) string { return l.To }},
	{Name: "CREATED", Value: func(l client.Link) string { return when(l.CreatedAt) }},
	{Name: "TITLE", Value: func(l client.Link) string { return l.Title }, Width: 40},
}

var eventColumns = []show.Column[client.Event]{
	{Name: "TIME", Value: func(e client.Event) string { return when(e.Time) }},
	{Name: "ACTOR", Value: func(e client.Event) string {
		if e.Actor.ID == "" {
			return e.Actor.Kind
		}
		return e.Actor.ID
	}},
	{Name: "ACTION", Value: func(e client.Event) string { return e.Action }},
	{Name: "OUTCOME", Value: func(e client.Event) string {
		switch {
		case e.Damaged:
			return "DAMAGED"
		case e.Pruned:
			return "pruned"
		case e.Code != "":
			return e.Outcome + " (" + e.Code + ")"
		}
		return e.Outcome
	}},
	{Name: "TARGETS", Value: func(e client.Event) string { return join(e.Targets) }, Width: 62},
	{Name: "REQUEST", Value: func(e client.Event) string { return e.Request }},
}
