package records

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// Who sees a private record: its owner, and the people to whom she gave it.
// They work with it as far as their roles go, and the owner alone says who they
// are. Row-level security reads the grants, so a statement that forgets to ask
// shows nothing more.
//
// A private file goes with a record: whoever a record is shared with also sees
// the private files of its owner that she linked it to. Linking shares them,
// unlinking ends it, nobody else's link does either. Making the record the
// organization's does not: a file that was stored as private stays so.

const sharingPath = recordPath + "/sharing"

// sharingOps are the operations of this file.
func (s *Records) sharingOps() []feature.Op {
	return []feature.Op{
		feature.Handle(feature.Meta{ID: "get-sharing", Method: http.MethodGet, Path: sharingPath, Action: policy.RecordShare,
			Summary: "Say who sees one's own record"}, s.getSharing),
		feature.Handle(feature.Meta{ID: "set-sharing", Method: http.MethodPut, Path: sharingPath, Action: policy.RecordShare,
			Summary: "Change who sees one's own record", Description: "The people of a private record see it, its history and the owner's private files that she linked it to. " +
				"Whoever is left out sees them no more."}, s.setSharing),
	}
}

// Sharing says who sees a record.
type Sharing struct {
	Visibility string      `json:"visibility" enum:"organization,private"`
	People     []id.Person `json:"people" maxItems:"100" doc:"Who sees a private record beside its owner: members of the organization."`
}

type (
	getSharingIn struct{ RecordPath }
	setSharingIn struct {
		RecordPath
		Body Sharing
	}
	sharingOut struct{ Body Sharing }
)

// Members says who of some people belongs to an organization.
type Members func(ctx context.Context, org id.Org, people []id.Person) ([]id.Person, error)

var errNotOwner = fault.New(fault.Denied, "only its owner changes who sees a record")

func (r *row) isOwner(tx *tenant.Tx) bool {
	return r.owner != nil && *r.owner == tx.Actor().Person().UUID()
}

// owned locks a record of the caller's own.
func (s *Records) owned(ctx context.Context, tx *tenant.Tx, name string, rec id.Record) (row, error) {
	tx.Touch(rec)
	c, err := s.collection(ctx, tx, name)
	if err != nil {
		return row{}, err
	}
	r, _, err := s.lock(ctx, tx, c, rec)
	if err == nil && !r.isOwner(tx) {
		err = errNotOwner
	}
	return r, err
}

func (s *Records) getSharing(ctx context.Context, tx *tenant.Tx, in getSharingIn) (sharingOut, error) {
	r, err := s.owned(ctx, tx, in.Kind, in.ID)
	if err != nil {
		return sharingOut{}, err
	}
	out := sharingOut{Sharing{Visibility: feature.Visibility(r.visibility), People: []id.Person{}}}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT person_id FROM record_grant WHERE org_id = $1 AND target_id = $2 AND record_id = $2 AND owner_id = $3 ORDER BY granted_at, person_id`),
		tx.Org().UUID(), r.id, tx.Actor().Person().UUID())
	if err != nil {
		return sharingOut{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var u uuid.UUID
		if err := rows.Scan(&u); err != nil {
			return sharingOut{}, err
		}
		out.Body.People = append(out.Body.People, id.PersonOf(u))
	}
	return out, rows.Err()
}

func (s *Records) setSharing(ctx context.Context, tx *tenant.Tx, in setSharingIn) (sharingOut, error) {
	for _, p := range in.Body.People {
		tx.Touch(p)
	}
	r, err := s.owned(ctx, tx, in.Kind, in.ID)
	if err != nil {
		return sharingOut{}, err
	}
	if err := s.checkPeople(ctx, tx, in.Body); err != nil {
		return sharingOut{}, err
	}
	sight := feature.Sight(in.Body.Visibility)
	if sight != r.visibility {
		if _, err := tx.Exec(ctx, tenant.Lit(`UPDATE record SET visibility = $3::text::"char" WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), r.id, sight); err != nil {
			return sharingOut{}, err
		}
		if err := sightChanged(ctx, tx, in.ID, sight); err != nil {
			return sharingOut{}, err
		}
	}
	if sight == feature.SightPrivate {
		err = shareWith(ctx, tx, in.ID, in.Body.People)
	}
	if in.Body.People == nil {
		in.Body.People = []id.Person{}
	}
	return sharingOut{in.Body}, err
}

// checkPeople refuses whom a record cannot be shared with.
func (s *Records) checkPeople(ctx context.Context, tx *tenant.Tx, in Sharing) error {
	if len(in.People) == 0 {
		return nil
	}
	if in.Visibility != feature.ForOwner {
		return fault.At(fault.Invalid, "/people", "not_private", "everybody in the organization sees the record already: only a private one is shared with people")
	}
	members, err := s.members(ctx, tx.Org(), in.People)
	if err != nil {
		return err
	}
	for i, p := range in.People {
		at := "/people/" + strconv.Itoa(i)
		switch {
		case p == tx.Actor().Person():
			return fault.At(fault.Invalid, at, "owner", "the owner sees the record already")
		case slices.Contains(in.People[:i], p):
			return fault.At(fault.Invalid, at, "unique_items", "must not repeat a person")
		case !slices.Contains(members, p):
			return fault.At(fault.Invalid, at, "not_a_member", "is not a member of the organization")
		}
	}
	return nil
}

// sightChanged settles what follows a record whose visibility its owner has
// just changed. Links that were the organization's for certain are not any
// more; a record that is everybody's is given to nobody in particular.
func sightChanged(ctx context.Context, tx *tenant.Tx, rec id.Record, sight string) error {
	if sight == feature.SightPrivate {
		_, err := tx.Exec(ctx, tenant.Lit(`UPDATE link SET visibility = 'p' WHERE org_id = $1 AND (from_id = $2 OR to_id = $2) AND visibility = 'o'`), tx.Org().UUID(), rec.UUID())
		return err
	}
	_, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM record_grant WHERE org_id = $1 AND record_id = $2 AND owner_id = $3`), tx.Org().UUID(), rec.UUID(), tx.Actor().Person().UUID())
	return err
}

// shareWith gives a private record of the caller's to people and to nobody
// else, and with it her private files that she linked it to.
func shareWith(ctx context.Context, tx *tenant.Tx, rec id.Record, people []id.Person) error {
	ids := make([][16]byte, len(people))
	for i, p := range people {
		ids[i] = p.UUID()
	}
	me := tx.Actor().Person().UUID()
	if _, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM record_grant g WHERE g.org_id = $1 AND g.record_id = $2 AND g.owner_id = $3 AND (g.person_id <> ALL ($4::uuid[])
 OR g.target_id <> $2 AND NOT EXISTS (SELECT FROM link l WHERE l.org_id = $1 AND l.from_id = $2 AND l.to_id = g.target_id AND l.created_by = $3))`),
		tx.Org().UUID(), rec.UUID(), me, ids); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record_grant (org_id, target_id, person_id, record_id, owner_id, granted_at)
 SELECT $1, t.id, p.id, $2, $3, $5 FROM unnest($4::uuid[]) AS p(id), (
  SELECT $2::uuid AS id UNION SELECT f.id FROM link l JOIN file f ON f.org_id = l.org_id AND f.id = l.to_id
  WHERE l.org_id = $1 AND l.from_id = $2 AND l.to_kind = 'file' AND l.created_by = $3 AND f.owner_id = $3 AND f.visibility = 'p') t
 ON CONFLICT DO NOTHING`), tx.Org().UUID(), rec.UUID(), me, ids, tx.Now())
	return err
}

// shareFile gives a private file of the caller's to the people of a record of
// hers that she just linked it to.
func shareFile(ctx context.Context, tx *tenant.Tx, rec id.Record, file uuid.UUID) error {
	_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record_grant (org_id, target_id, person_id, record_id, owner_id, granted_at)
 SELECT $1, f.id, g.person_id, $2, $4, $5 FROM record_grant g, file f
 WHERE g.org_id = $1 AND g.target_id = $2 AND g.record_id = $2 AND g.owner_id = $4 AND f.org_id = $1 AND f.id = $3 AND f.owner_id = $4 AND f.visibility = 'p'
 ON CONFLICT DO NOTHING`), tx.Org().UUID(), rec.UUID(), file, tx.Actor().Person().UUID(), tx.Now())
	return err
}

// unshareFile ends the sharing of a file with the people of a record that it
// was unlinked from. Only who shared a file ends that: for anybody else the
// link stays.
func unshareFile(ctx context.Context, tx *tenant.Tx, rec, file uuid.UUID) error {
	me := tx.Actor().Person().UUID()
	var others bool
	if err := tx.QueryRow(ctx, tenant.Lit(`SELECT EXISTS (SELECT FROM record_grant g WHERE g.org_id = $1 AND g.target_id = $2 AND g.record_id = $3 AND g.owner_id <> $4
 AND NOT EXISTS (SELECT FROM link l WHERE l.org_id = $1 AND l.from_id = $3 AND l.to_id = $2 AND l.created_by = g.owner_id))`),
		tx.Org().UUID(), file, rec, me).Scan(&others); err != nil {
		return err
	}
	if others {
		return fault.New(fault.Denied, "this link shares a private file; only the file's owner removes it")
	}
	_, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM record_grant g WHERE g.org_id = $1 AND g.target_id = $2 AND g.record_id = $3 AND g.owner_id = $4
 AND NOT EXISTS (SELECT FROM link l WHERE l.org_id = $1 AND l.from_id = $3 AND l.to_id = $2 AND l.created_by = $4)`), tx.Org().UUID(), file, rec, me)
	return err
}
