package tenant_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/unit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestAnotherOrganizationsIdOpensNothing(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		// In the path of one's own organization: as if it did not exist.
		for _, rec := range []uuid.UUID{p.victim.record, p.victim.private, p.attacker.private, uuid.New()} {
			get := tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: policy.RecordRead, ID: id.NewRequest()}
			_, receipt, err := tenant.Do(t.Context(), p.store, get, func(ctx context.Context, tx *tenant.Tx) (string, error) {
				return read(ctx, tx, id.RecordOf(rec))
			})
			if !fault.Is(err, fault.NotFound) || receipt.IsZero() {
				t.Errorf("a foreign record: %v", err)
			}
			testkit.WantEvents(t, p.d, p.attacker.ID, get.ID, testkit.Event{Action: policy.RecordRead, Outcome: audit.Denied, Code: "not_found", Targets: []string{id.RecordOf(rec).String()}})
		}
		// In the path of the victim's: the organization itself is not there.
		for _, org := range []id.Org{p.victim.ID, id.NewOrg(), id.Installation, {}} {
			for _, action := range []policy.Action{policy.RecordRead, policy.RecordCreate} {
				in := tenant.Request{Actor: p.attacker.who, Org: org, Action: action, ID: id.NewRequest()}
				_, receipt, err := tenant.Do(t.Context(), p.store, in, func(context.Context, *tenant.Tx) (int, error) {
					t.Error("the function ran")
					return 0, nil
				})
				if !fault.Is(err, fault.NotFound) || receipt.IsZero() || err.Error() != "no such organization" {
					t.Errorf("another organization: %v", err)
				}
				testkit.WantEvents(t, p.d, id.Installation, in.ID, testkit.Event{Action: action, Outcome: audit.Denied, Code: "not_found"})
			}
		}
		p.visit(t, "foreign ids")
	})
}

func TestASealedRowOpensInItsPlaceAlone(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		// A row of the victim's that found its way into the attacker's tables.
		rec := id.NewRecord()
		stolen, err := seal.Seal(t.Context(), p.d.Keys(p.victim.ID), seal.Place{Org: p.victim.ID, Table: "record", Row: rec.UUID(), Version: 1},
			seal.Section{Name: "content", Leaf: 30, Plain: seal.NewSecretString(p.victim.secret)})
		if err != nil {
			t.Fatal(err)
		}
		in := tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: policy.RecordRead}
		_, _, err = tenant.Do(t.Context(), p.store, in, func(ctx context.Context, tx *tenant.Tx) (int, error) {
			if s, err := tx.Open(ctx, "record", rec.UUID(), 1, stolen); err == nil {
				t.Errorf("the victim's row opened: %d sections", len(s))
			}
			mine, err := tx.Seal(ctx, "record", rec.UUID(), 1, seal.Section{Name: "content", Leaf: 30, Plain: seal.NewSecretString("mine")})
			if err != nil {
				return 0, err
			}
			for name, open := range map[string]func() error{
				"another row":     func() error { _, err := tx.Open(ctx, "record", uuid.New(), 1, mine); return err },
				"another table":   func() error { _, err := tx.Open(ctx, "trash", rec.UUID(), 1, mine); return err },
				"another version": func() error { _, err := tx.Open(ctx, "record", rec.UUID(), 2, mine); return err },
			} {
				if open() == nil {
					t.Errorf("a row opened as %s", name)
				}
			}
			_, err = tx.Open(ctx, "record", rec.UUID(), 1, mine)
			return 0, err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestACursorServesItsOwnCallerAndQueryAlone(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		inside := func(who actor.Actor, org id.Org, f func(ctx context.Context, tx *tenant.Tx)) {
			t.Helper()
			_, _, err := tenant.Do(t.Context(), p.store, tenant.Request{Actor: who, Org: org, Action: policy.RecordList}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
				f(ctx, tx)
				return 0, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var cursor string
		position := p.victim.record[:]
		inside(p.victim.who, p.victim.ID, func(ctx context.Context, tx *tenant.Tx) {
			var err error
			if cursor, err = tx.SealCursor(ctx, "records", position); err != nil {
				t.Fatal(err)
			}
		})
		opens := func(who actor.Actor, org id.Org, query, cursor string) (ok bool) {
			inside(who, org, func(ctx context.Context, tx *tenant.Tx) {
				got, err := tx.OpenCursor(ctx, query, cursor)
				ok = err == nil
				if err != nil && (!fault.Is(err, fault.Malformed) || got != nil) {
					t.Errorf("a bad cursor: %v", err)
				}
			})
			return ok
		}
		if !opens(p.victim.who, p.victim.ID, "records", cursor) {
			t.Fatal("a cursor does not serve its own caller")
		}
		// Somebody of both organizations, so that only the cursor decides.
		both := actortest.Person(t, p.victim.who.Person(), p.attacker.ID, policy.Scientist)
		context24h := func(at time.Time, query string) string {
			plain := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
			b, err := seal.SealToken(t.Context(), p.d.Keys(p.victim.ID), keytree.LeafToken, "cursor", append(plain, position...), []byte(p.victim.who.ID()+"\x00"+query))
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		if !opens(p.victim.who, p.victim.ID, "records", context24h(time.Now().Add(time.Minute), "records")) {
			t.Fatal("the test does not know how a cursor is made")
		}
		raw, _ := base64.RawURLEncoding.DecodeString(cursor)
		for name, ok := range map[string]bool{
			"by the attacker":                  opens(p.attacker.who, p.attacker.ID, "records", cursor),
			"by its caller elsewhere":          opens(both, p.attacker.ID, "records", cursor),
			"by a colleague":                   opens(actortest.With(t, p.victim.ID, policy.Scientist), p.victim.ID, "records", cursor),
			"for another query":                opens(p.victim.who, p.victim.ID, "files", cursor),
			"for a query that continues it":    opens(p.victim.who, p.victim.ID, "records\x00", cursor),
			"after a day":                      opens(p.victim.who, p.victim.ID, "records", context24h(time.Now().Add(-2*time.Second), "records")),
			"with a shorter tail":              opens(p.victim.who, p.victim.ID, "records", cursor[:len(cursor)-1]),
			"with padding":                     opens(p.victim.who, p.victim.ID, "records", cursor+"="),
			"with a line break":                opens(p.victim.who, p.victim.ID, "records", cursor[:8]+"\n"+cursor[8:]),
			"in the clear":                     opens(p.victim.who, p.victim.ID, "records", base64.RawURLEncoding.EncodeToString(position)),
			"twice":                            opens(p.victim.who, p.victim.ID, "records", cursor+cursor),
			"as the identifier that is inside": opens(p.victim.who, p.victim.ID, "records", id.RecordOf(p.victim.record).String()),
		} {
			if ok {
				t.Errorf("a cursor opened %s", name)
			}
		}
		inside(p.victim.who, p.victim.ID, func(ctx context.Context, tx *tenant.Tx) {
			for i := range raw {
				b := append([]byte{}, raw...)
				b[i] ^= 1
				if _, err := tx.OpenCursor(ctx, "records", base64.RawURLEncoding.EncodeToString(b)); err == nil {
					t.Errorf("a cursor opened with a bit of byte %d turned", i)
				}
			}
		})
	})
}

// A job that the door put into the queue runs; one that SQL put there, or
// changed, does not.
func TestAJobInAnotherOrganizationsNameIsNotBelieved(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		minted := 0
		believed := func(args tenant.JobArgs) bool {
			r, err := p.store.JobRequest(t.Context(), args, policy.FileSweep, func(_ context.Context, job id.Job, initiator id.Person, org id.Org) (actor.Actor, error) {
				minted++
				return actortest.Person(t, initiator, org, policy.Scientist), nil
			})
			return err == nil && !r.Actor.IsNobody()
		}
		enqueue := tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: policy.RecordUpdate, ID: id.NewRequest()}
		ref := id.NewFile()
		if _, _, err := tenant.Do(t.Context(), p.store, enqueue, func(_ context.Context, tx *tenant.Tx) (int, error) {
			tx.Enqueue(tenant.Job{Kind: "files.sweep", Ref: ref})
			return 0, nil
		}); err != nil {
			t.Fatalf("an honest job: %v", err)
		}
		var args tenant.JobArgs
		var mac string
		if err := p.root.QueryRow(t.Context(), `SELECT args->>'job', args->>'org', args->>'initiator', args->>'request', args->>'ref', args->>'mac' FROM jobs.river_job WHERE args->>'ref' = $1`, ref.String()).
			Scan(&args.Job, &args.Org, &args.Initiator, &args.Request, &args.Ref, &mac); err != nil {
			t.Fatal(err)
		}
		args.MAC, _ = base64.StdEncoding.DecodeString(mac)
		if !believed(args) {
			t.Fatal("the door's own job is not believed")
		}
		minted = 0
		change := func(f func(*tenant.JobArgs)) tenant.JobArgs { a := args; f(&a); return a }
		forged := map[string]tenant.JobArgs{
			"in the victim's name":    change(func(a *tenant.JobArgs) { a.Org = p.victim.ID.String() }),
			"started by the victim":   change(func(a *tenant.JobArgs) { a.Initiator = id.PersonOf(p.victim.other).String() }),
			"about the victim's file": change(func(a *tenant.JobArgs) { a.Ref = id.FileOf(p.victim.file).String() }),
			"of another kind":         change(func(a *tenant.JobArgs) { a.Job = "files.purge" }),
			"of another request":      change(func(a *tenant.JobArgs) { a.Request = id.NewRequest().String() }),
			"without a code":          change(func(a *tenant.JobArgs) { a.MAC = nil }),
			"with half a code":        change(func(a *tenant.JobArgs) { a.MAC = a.MAC[:16] }),
			"with a capability's code": change(func(a *tenant.JobArgs) {
				a.MAC = []byte(unit.NewMinter(p.d.Capability).Mint(p.victim.ID.UUID(), uuid.Nil, 1, time.Now())[88:])
			}),
			"with another key's code":    change(func(a *tenant.JobArgs) { a.MAC = unit.NewMinter([32]byte{1}).SignJob(a.Bytes()) }),
			"whose fields run together":  change(func(a *tenant.JobArgs) { a.Job, a.Org = a.Job+`","org":"`+p.victim.ID.String(), "" }),
			"that is empty":              {},
			"that names no organization": {Job: "files.sweep", MAC: args.MAC},
		}
		for i := range args.MAC {
			forged[fmt.Sprintf("with byte %d of its code turned", i)] = change(func(a *tenant.JobArgs) {
				a.MAC = append([]byte{}, a.MAC...)
				a.MAC[i] ^= 0x80
			})
		}
		for name, a := range forged {
			if believed(a) || minted > 0 {
				t.Errorf("a job %s is believed", name)
			}
		}
		// SQL in a request cannot even reach the queue; on the bare connection
		// it can, and the code is what it lacks.
		r := p.seize(t, "a job by SQL", "RESET ROLE; INSERT INTO jobs.river_job (kind, queue, args, metadata, max_attempts, priority, state, scheduled_at) VALUES ('door', 'default', '"+
			strings.ReplaceAll(string(forged["in the victim's name"].Bytes()), "'", "''")+"', '{}', 1, 1, 'available', now())")
		if r.err != nil {
			t.Errorf("the login adds no job: %v", r.err)
		}
	})
}
