package identity

import (
	"context"
	"errors"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/internal/principal"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// Session is a sign-in as its owner sees it.
type Session struct {
	ID        id.Session `json:"id"`
	ExpiresAt time.Time  `json:"expires_at" doc:"When it ends, unless it is used before; it never outlasts a day."`
}

// SignedIn is who is signed in, and where she belongs.
type SignedIn struct {
	Token   Token // only where the session is new
	Session Session
	Person  Person
	Roles   []policy.Role // on the installation
	Orgs    []Org
}

// errSignIn is the one answer to a wrong password, an address that nobody has
// and an account that is disabled.
var errSignIn = fault.New(fault.Unauthenticated, "the address or the password is wrong")

// maxOrgsShown bounds the organizations that the answer to a sign-in names;
// GET /v1/orgs lists all of them.
const maxOrgsShown = 200

// SignIn checks an address and a password and opens a session. A refusal is on
// the record with the address as an opening: the log commits to it and does
// not show it. The attempt takes the same steps whether or not the address has
// an account: one lookup, one hash, one event.
func (s *Service) SignIn(ctx context.Context, r platform.Request, address string, password seal.Secret) (SignedIn, audit.Receipt, error) {
	r.Action, r.Actor, r.Org = policy.SessionCreate, actor.Actor{}, id.Org{}
	who, stored, err := s.lookUp(ctx, address)
	if err == nil {
		var v Verdict
		if v, err = s.passwords.Verify(ctx, stored, password.Reveal()); err == nil {
			if v.OK {
				return s.open(ctx, r, who, v.Rehash, password)
			}
			err = errSignIn
		}
	}
	_, receipt, err := platform.Do(ctx, s.store, r, func(_ context.Context, tx *platform.Tx) (struct{}, error) {
		var leaf keytree.Leaf
		if who != nil {
			leaf = who.leaf
			tx.Touch(who.id)
		}
		tx.Opening("address", clip(address), leaf)
		return struct{}{}, err
	})
	return SignedIn{}, receipt, err
}

// clip bounds what a refused attempt leaves in the log.
func clip(address string) string { return address[:min(len(address), maxAddressBytes)] }

// lookUp finds the person behind an address and the hash of her password. It
// gives no hash for somebody who may not sign in. It holds no connection while
// the password is checked.
func (s *Service) lookUp(ctx context.Context, address string) (who *person, stored string, err error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, "", nil
	}
	type result struct {
		who    *person
		stored string
	}
	got, err := platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (result, error) {
		p, err := findPerson(ctx, tx, a)
		if p == nil || err != nil {
			return result{}, err
		}
		if p.state != "active" {
			return result{who: p}, nil
		}
		hash, err := p.openPassword(ctx, tx)
		return result{p, hash}, err
	})
	if err != nil {
		return nil, "", fault.Wrap(fault.Unavailable, err, "sign-in is not available")
	}
	return got.who, got.stored, nil
}

// open starts a session for somebody whose password was right.
func (s *Service) open(ctx context.Context, r platform.Request, who *person, rehash bool, password seal.Secret) (SignedIn, audit.Receipt, error) {
	out := SignedIn{Token: NewSessionToken(), Session: Session{ID: id.NewSession()}, Roles: sortedRoles(who.roles)}
	hash := ""
	if rehash {
		// Old parameters, or brought along from another system: this is the
		// one moment when the password is at hand to do better.
		h, err := s.passwords.Hash(ctx, password.Reveal())
		if err != nil {
			s.log.Warn("identity: an old password hash was not replaced", "person", who.id.String(), "error", err)
		}
		hash = h
	}
	r.Actor = principal.New(principal.Spec{Kind: principal.Person, ID: who.id, Person: who.id, Via: out.Session.ID,
		Platform: toRoles(who.roles), Subjects: subject(int64(who.leaf))})
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (SignedIn, error) {
		var version int64
		var state string
		if err := tx.QueryRow(ctx, sqlPersonVersion, who.id).Scan(&version, &state); err != nil {
			return SignedIn{}, err
		}
		// The password was changed, or the account disabled, while it was
		// being checked.
		if uint64(version) != who.version || state != "active" {
			return SignedIn{}, errSignIn
		}
		var err error
		if out.Person, err = openPerson(ctx, tx, who.id, who.version, who.profile); err != nil {
			return SignedIn{}, err
		}
		if hash != "" {
			if err := replacePassword(ctx, tx, who, out.Person, hash); err != nil {
				return SignedIn{}, err
			}
		}
		sums, err := hashes(ctx, tx, hashSession, out.Token.Reveal())
		if err != nil {
			return SignedIn{}, err
		}
		idle, absolute := tx.Now().Add(s.idle), tx.Now().Add(s.absolute)
		if _, err := tx.Exec(ctx, sqlInsertSession, out.Session.ID, who.id, sums[0], tx.Now(), idle, absolute); err != nil {
			return SignedIn{}, err
		}
		tx.Touch(out.Session.ID)
		out.Session.ExpiresAt = earlier(idle, absolute)
		out.Orgs, err = orgsOf(ctx, tx, who.id)
		return out, err
	})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// replacePassword seals a new hash, and the profile with it: both carry the
// row's version.
func replacePassword(ctx context.Context, tx *platform.Tx, who *person, p Person, hash string) error {
	next := who.version + 1
	profile, err := sealProfile(ctx, tx, who.id, next, who.leaf, p.Email, p.Name)
	if err != nil {
		return err
	}
	password, err := sealPassword(ctx, tx, who.id, next, who.leaf, hash)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, sqlReplaceSealed, who.id, int64(who.version), int64(next), profile, password)
	if err == nil && n != 1 {
		err = fault.New(fault.Conflict, "the account was changed at the same moment; try again")
	}
	tx.Touch(who.id)
	return err
}

// Current says who is signed in by the session that the request came with.
func (s *Service) Current(ctx context.Context, r platform.Request) (SignedIn, audit.Receipt, error) {
	r.Action, r.Org = policy.SessionRead, id.Org{}
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (SignedIn, error) {
		session, err := sessionOf(r.Actor)
		if err != nil {
			return SignedIn{}, err
		}
		var created, until, expires time.Time
		err = tx.QueryRow(ctx, sqlGetSession, session, r.Actor.Person()).Scan(&created, &until, &expires)
		if errors.Is(err, platform.ErrNoRows) {
			return SignedIn{}, errCredential
		}
		if err != nil {
			return SignedIn{}, err
		}
		tx.Touch(session)
		out := SignedIn{Session: Session{session, utc(until)}}
		p, err := scanPerson(tx.QueryRow(ctx, sqlGetPerson, r.Actor.Person()))
		if err != nil {
			return SignedIn{}, err
		}
		if p == nil {
			return SignedIn{}, errCredential
		}
		if out.Person, err = openPerson(ctx, tx, p.id, p.version, p.profile); err != nil {
			return SignedIn{}, err
		}
		out.Roles = sortedRoles(p.roles)
		out.Orgs, err = orgsOf(ctx, tx, p.id)
		return out, err
	})
}

// SignOut ends the session that the request came with: here at once, on every
// other server within Freshness.
func (s *Service) SignOut(ctx context.Context, r platform.Request) (audit.Receipt, error) {
	r.Action, r.Org = policy.SessionEnd, id.Org{}
	_, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		session, err := sessionOf(r.Actor)
		if err != nil {
			return struct{}{}, err
		}
		tx.Touch(session)
		n, err := tx.Exec(ctx, sqlEndSession, session, r.Actor.Person(), tx.Now())
		if err == nil && n == 0 {
			err = errCredential
		}
		return struct{}{}, err
	})
	if err == nil {
		if session, err := sessionOf(r.Actor); err == nil {
			s.known.forget(via(session))
		}
	}
	return receipt, err
}

// sessionOf returns the session that an actor came with.
func sessionOf(a actor.Actor) (id.Session, error) {
	if a.IsNobody() {
		return id.Session{}, fault.New(fault.Unauthenticated, "sign in first")
	}
	session, err := id.ParseSession(a.Via())
	if err != nil {
		return id.Session{}, fault.New(fault.NotFound, "this request came with a key, not with a session")
	}
	return session, nil
}

// ChangePassword replaces the caller's own password and ends every one of her
// sessions, on every server within Freshness (IAM-9). It asks for the old
// password: a session left open on a shared machine must not be enough.
func (s *Service) ChangePassword(ctx context.Context, r platform.Request, old, fresh seal.Secret) (audit.Receipt, error) {
	r.Action, r.Org = policy.PasswordChange, id.Org{}
	fail := func(err error) (audit.Receipt, error) {
		_, receipt, err := platform.Do(ctx, s.store, r, func(context.Context, *platform.Tx) (struct{}, error) { return struct{}{}, err })
		return receipt, err
	}
	if _, err := sessionOf(r.Actor); err != nil {
		return fail(err)
	}
	type current struct {
		who     *person
		stored  string
		profile Person
	}
	cur, err := platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (c current, err error) {
		if c.who, err = scanPerson(tx.QueryRow(ctx, sqlGetPerson, r.Actor.Person())); err != nil {
			return c, err
		}
		if c.who == nil || c.who.state != "active" {
			return c, errCredential
		}
		if c.profile, err = openPerson(ctx, tx, c.who.id, c.who.version, c.who.profile); err != nil {
			return c, err
		}
		c.stored, err = c.who.openPassword(ctx, tx)
		return c, err
	})
	if err != nil {
		return fail(err)
	}
	if err := CheckNew("/new_password", fresh.Reveal(), cur.profile.Email); err != nil {
		return fail(err)
	}
	v, err := s.passwords.Verify(ctx, cur.stored, old.Reveal())
	if err != nil {
		return fail(err)
	}
	if !v.OK {
		return fail(fault.At(fault.Denied, "/password", "wrong_password", "the old password is wrong"))
	}
	hash, err := s.passwords.Hash(ctx, fresh.Reveal())
	if err != nil {
		return fail(err)
	}
	_, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		// The person's row first, then her sessions: a sign-in under way holds
		// the row shared, and its session is seen here once it lets go.
		if err := replacePassword(ctx, tx, cur.who, cur.profile, hash); err != nil {
			return struct{}{}, err
		}
		_, err := tx.Exec(ctx, sqlEndSessions, cur.who.id, tx.Now())
		return struct{}{}, err
	})
	if err == nil {
		s.known.forget(of(cur.who.id))
	}
	return receipt, err
}
