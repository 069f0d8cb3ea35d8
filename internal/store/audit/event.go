// Package audit writes down every request: who asked for what, where, why,
// and how it ended.
//
// It promises that an event is durable before the answer it describes is sent
// (AUD-2): [Log.Append] returns a [Receipt] only then, and the edge sends
// nothing without one. An event of a change commits in the transaction of the
// change (see [Log.Draft]). Events wait in audit.pending until a leader gives
// them their place in their organization's own sequence. An event's bytes are
// frozen as event v1: docs/audit-event.md is their specification, and the log
// trees and signatures that come later hash these very bytes.
package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/merkle"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
)

// Outcome says how a request ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // it took place
	Denied  Outcome = "denied"  // it was not allowed, or its target is not visible to the actor
	Refused Outcome = "refused" // it was malformed or in conflict, and nothing took place
	Failed  Outcome = "failed"  // it went wrong inside, and nothing took place
	Opened  Outcome = "opened"  // a stream was authorized; its end is an event of its own
	Unknown Outcome = "unknown" // the connection was lost while it was being committed
)

// OutcomeOf gives the outcome that an error stands for.
func OutcomeOf(err error) (Outcome, string) {
	if err == nil {
		return Done, ""
	}
	f := fault.From(err)
	switch f.Kind {
	case fault.Unauthenticated, fault.Denied, fault.NotFound:
		return Denied, f.Kind.String()
	case fault.Internal, fault.Unavailable:
		return Failed, f.Kind.String()
	}
	return Refused, f.Kind.String()
}

// Entry is what the door knows of a request when it writes its event.
type Entry struct {
	Org     id.Org // id.Installation for what belongs to no organization
	Request id.Request
	Actor   actor.Actor
	Action  policy.Action
	Purpose string
	Outcome Outcome
	Code    string           // the fault's code, where it was not done
	Targets []id.Ref         // everything touched; a list names every id it returned
	Counts  map[string]int64 // bytes, rows
	// Openings are personal data: the event commits to each without showing
	// it, and the row carries them sealed (AUD-7).
	Openings []Opening
}

// Opening is a piece of personal data that belongs to an event.
type Opening struct {
	Name    string // client_address, client_agent, address
	Value   string
	Subject keytree.Leaf // whose it is, where known: destroying this leaf erases it
}

// Event is event v1, in the order of its bytes.
type Event struct {
	V           int              `json:"v"`
	ID          id.Event         `json:"id"`
	Org         id.Org           `json:"org"`
	Request     id.Request       `json:"request_id"`
	Time        string           `json:"time"`
	Actor       Who              `json:"actor"`
	Action      policy.Action    `json:"action"`
	Purpose     string           `json:"purpose"`
	Outcome     Outcome          `json:"outcome"`
	Code        string           `json:"code,omitempty"`
	Targets     []string         `json:"targets"`
	Counts      map[string]int64 `json:"counts,omitempty"`
	Commitments []Commitment     `json:"openings,omitempty"`
	Salt        string           `json:"salt"`
}

// Who is the actor of an event.
type Who struct {
	Kind      actor.Kind `json:"kind"`
	ID        string     `json:"id,omitempty"`
	Via       string     `json:"via,omitempty"`
	Initiator string     `json:"initiator,omitempty"`
}

// Commitment binds an event to an opening: SHA-256(domain ‖ r ‖ length ‖
// value), with 32 random bytes r that only the opening holds. Without r it
// tells nothing, not even to somebody who can list every address.
type Commitment struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

const (
	commitDomain = "strongroom/audit/opening/v1\x00"
	// Table and section names under which events are sealed.
	sealTable   = "audit_event"
	bodySection = "body"
)

// Commit computes the commitment to an opening.
func Commit(r [32]byte, value string) [32]byte {
	h := sha256.New()
	h.Write([]byte(commitDomain))
	h.Write(r[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(value)))
	h.Write(n[:])
	h.Write([]byte(value))
	return [32]byte(h.Sum(nil))
}

// maxTargets bounds what one event names; Bulk writes an event a chunk and
// pages are shorter than this.
const maxTargets = 5000

// encode makes the exact bytes of an event, and what its openings seal.
func encode(e Entry, now time.Time) (ev id.Event, body []byte, openings []seal.Section, err error) {
	if len(e.Targets) > maxTargets {
		return id.Event{}, nil, nil, fmt.Errorf("audit: an event may name %d targets at most", maxTargets)
	}
	ev = id.NewEvent()
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return id.Event{}, nil, nil, err
	}
	v := Event{
		V: 1, ID: ev, Org: e.Org, Request: e.Request, Time: now.UTC().Format("2006-01-02T15:04:05.000000Z"),
		Actor:  Who{Kind: e.Actor.Kind(), ID: e.Actor.ID(), Via: e.Actor.Via(), Initiator: e.Actor.Initiator()},
		Action: e.Action, Purpose: e.Purpose, Outcome: e.Outcome, Code: e.Code,
		Targets: make([]string, 0, len(e.Targets)), Counts: e.Counts, Salt: base64.RawURLEncoding.EncodeToString(salt[:]),
	}
	for _, t := range e.Targets {
		v.Targets = append(v.Targets, t.String())
	}
	for _, o := range e.Openings {
		if o.Value == "" {
			continue
		}
		var r [32]byte
		if _, err := rand.Read(r[:]); err != nil {
			return id.Event{}, nil, nil, err
		}
		d := Commit(r, o.Value)
		v.Commitments = append(v.Commitments, Commitment{o.Name, base64.RawURLEncoding.EncodeToString(d[:])})
		openings = append(openings, seal.Section{Name: o.Name, Leaf: keytree.LeafAudit, Subject: o.Subject,
			Plain: seal.NewSecret(append(r[:], o.Value...))})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return id.Event{}, nil, nil, err
	}
	return ev, bytes.TrimSuffix(b.Bytes(), []byte("\n")), openings, nil
}

// row is an event as audit.pending holds it.
type row struct {
	org      id.Org
	event    id.Event
	leaf     [32]byte
	body     seal.Sealed
	openings seal.Sealed
	link     link
	void     bool
}

func (l *Log) seal(ctx context.Context, e Entry) (row, error) {
	ev, body, openings, err := encode(e, time.Now())
	if err != nil {
		return row{}, err
	}
	keys := l.keys(e.Org)
	place := seal.Place{Org: e.Org, Table: sealTable, Row: ev.UUID(), Version: 1}
	r := row{org: e.Org, event: ev, leaf: merkle.LeafHash(body)}
	r.body, err = seal.Seal(ctx, keys, place, seal.Section{Name: bodySection, Leaf: keytree.LeafAudit, Plain: seal.NewSecret(body)})
	if err != nil {
		return row{}, fmt.Errorf("audit: seal: %w", err)
	}
	if len(openings) > 0 {
		place.Table = sealTable + "_opening"
		if r.openings, err = seal.Seal(ctx, keys, place, openings...); err != nil {
			return row{}, fmt.Errorf("audit: seal openings: %w", err)
		}
	}
	return r, nil
}

// OpenBody unseals an event's exact bytes and checks them against its leaf.
func OpenBody(ctx context.Context, keys seal.Keys, ev id.Event, leaf []byte, body seal.Sealed) ([]byte, error) {
	plain, err := seal.OpenOne(ctx, keys, seal.Place{Org: keys.Org(), Table: sealTable, Row: ev.UUID(), Version: 1}, body, bodySection)
	if err != nil {
		return nil, err
	}
	got := merkle.LeafHash(plain.Reveal())
	if !bytes.Equal(got[:], leaf) {
		return nil, fmt.Errorf("audit: the event's bytes do not match its leaf")
	}
	return plain.Reveal(), nil
}

// OpenOpenings unseals an event's personal data. Those whose keys are
// destroyed are left out; those that do not match their commitment are an
// error.
func OpenOpenings(ctx context.Context, keys seal.Keys, e Event, openings seal.Sealed) (map[string]string, error) {
	if len(openings) == 0 {
		return nil, nil
	}
	sections, err := seal.Open(ctx, keys, seal.Place{Org: keys.Org(), Table: sealTable + "_opening", Row: e.ID.UUID(), Version: 1}, openings)
	if err != nil {
		return nil, err
	}
	want := map[string]string{}
	for _, c := range e.Commitments {
		want[c.Name] = c.Digest
	}
	out := map[string]string{}
	for _, s := range sections {
		if s.Erased {
			continue
		}
		b := s.Plain.Reveal()
		if len(b) < 32 {
			return nil, fmt.Errorf("audit: an opening is too short")
		}
		d := Commit([32]byte(b[:32]), string(b[32:]))
		if base64.RawURLEncoding.EncodeToString(d[:]) != want[s.Name] {
			return nil, fmt.Errorf("audit: an opening does not match its commitment")
		}
		out[s.Name] = string(b[32:])
	}
	return out, nil
}
