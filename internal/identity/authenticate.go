package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/internal/principal"
	"strongroom/internal/store/platform"
)

// renewAfter is how often the use of a session or key is written down. It
// bounds the writes of a busy caller, and by how much a session may end before
// its idle time.
const renewAfter = 5 * time.Minute

var errCredential = fault.New(fault.Unauthenticated, "the credential is not valid, has expired or was revoked; sign in again")

// Authenticate says who sent r. A request without an Authorization header
// comes from nobody, and the door decides what nobody may do; one with a
// header that proves nothing is an error of kind Unauthenticated.
//
// It leaves no event of its own: the event of the request names the session or
// key that it came with, and whoever refuses the request records that.
func (s *Service) Authenticate(ctx context.Context, r *http.Request) (actor.Actor, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return actor.Actor{}, nil
	}
	// Two headers: a proxy and this server could each believe another one.
	if len(values) > 1 {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "send one Authorization header")
	}
	scheme, text, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "send the credential as Authorization: Bearer")
	}
	token, err := ParseToken(text)
	if err != nil {
		return actor.Actor{}, errCredential
	}
	return s.Identify(ctx, token)
}

// Identify says who holds token.
func (s *Service) Identify(ctx context.Context, token Token) (actor.Actor, error) {
	digest := sha256.Sum256([]byte(token.Reveal()))
	began := time.Now()
	if a, ok := s.known.get(digest, began); ok {
		return a, nil
	}
	f, err := platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (found, error) {
		if token.Kind() == KeyToken {
			return findKey(ctx, tx, token)
		}
		return findSession(ctx, tx, token, s.idle)
	})
	if err != nil {
		if fault.Is(err, fault.Unauthenticated) {
			return actor.Actor{}, err
		}
		return actor.Actor{}, fault.Wrap(fault.Unavailable, err, "the credential could not be checked")
	}
	if f.renew != nil {
		// A failure here costs nobody the request; if the log is down, the
		// request's own event says so.
		r := platform.Request{Actor: f.actor, Action: policy.CredentialUse}
		if _, _, err := platform.Do(ctx, s.store, r, f.renew); err != nil {
			s.log.Warn("identity: the use of a credential was not written down", "via", f.actor.Via(), "error", err)
		}
	}
	s.known.put(digest, f.actor, began)
	return f.actor, nil
}

// found is a credential that is good, and what has to be written about its use.
type found struct {
	actor actor.Actor
	renew func(context.Context, *platform.Tx) (struct{}, error)
}

func findSession(ctx context.Context, tx *platform.Tx, token Token, idle time.Duration) (found, error) {
	sums, err := hashes(ctx, tx, hashSession, token.Reveal())
	if err != nil {
		return found{}, err
	}
	rows, err := tx.Query(ctx, sqlFindSession, sums, tx.Now())
	if err != nil {
		return found{}, err
	}
	defer rows.Close()
	var (
		session   id.Session
		idleUntil time.Time
		leaf      int64
		platf     []string
		spec      = principal.Spec{Kind: principal.Person, Roles: map[id.Org][]policy.Role{}}
	)
	for rows.Next() {
		var org id.Org
		var roles []string
		if err := rows.Scan(&session, &idleUntil, &spec.Person, &leaf, &platf, &org, &roles); err != nil {
			return found{}, err
		}
		if !org.IsZero() {
			spec.Roles[org] = toRoles(roles)
		}
	}
	if err := rows.Err(); err != nil {
		return found{}, err
	}
	if session.IsZero() {
		return found{}, errCredential
	}
	spec.ID, spec.Via, spec.Platform = spec.Person, session, toRoles(platf)
	spec.Subjects = subject(leaf)
	f := found{actor: principal.New(spec)}
	if idleUntil.Sub(tx.Now()) < idle-min(renewAfter, idle/2) {
		f.renew = func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
			tx.Touch(session)
			_, err := tx.Exec(ctx, sqlRenewSession, session, tx.Now(), tx.Now().Add(idle))
			return struct{}{}, err
		}
	}
	return f, nil
}

func findKey(ctx context.Context, tx *platform.Tx, token Token) (found, error) {
	sums, err := hashes(ctx, tx, hashKey, token.Reveal())
	if err != nil {
		return found{}, err
	}
	rows, err := tx.Query(ctx, sqlFindKey, sums, tx.Now())
	if err != nil {
		return found{}, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return found{}, err
		}
		return found{}, errCredential
	}
	var (
		org                   id.Org
		key                   id.Key
		roles, scopes, makers []string
		used                  *time.Time
		maker                 id.Person
		leaf                  int64
	)
	if err := rows.Scan(&org, &key, &roles, &scopes, &used, &maker, &leaf, &makers); err != nil {
		return found{}, err
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return found{}, err
	}
	// What the maker has lost since, the key has lost too.
	held := slices.DeleteFunc(toRoles(roles), func(r policy.Role) bool { return !slices.Contains(makers, string(r)) })
	if len(held) == 0 {
		return found{}, errCredential
	}
	spec := principal.Spec{Kind: principal.APIKey, ID: key, Person: maker, Via: key,
		Roles: map[id.Org][]policy.Role{org: held}, Scoped: true, Subjects: subject(leaf)}
	for _, a := range scopes {
		if policy.Delegable(policy.Action(a)) {
			spec.Scopes = append(spec.Scopes, policy.Action(a))
		}
	}
	f := found{actor: principal.New(spec)}
	if used == nil || tx.Now().Sub(*used) > renewAfter {
		f.renew = func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
			tx.AlsoIn(org)
			tx.Touch(key)
			_, err := tx.Exec(ctx, sqlUseKey, org, key, tx.Now())
			return struct{}{}, err
		}
	}
	return f, nil
}

// subject is a person's own leaf; the installation's tree is the only one in
// which she has one.
func subject(leaf int64) map[id.Org]keytree.Leaf {
	return map[id.Org]keytree.Leaf{id.Installation: keytree.Leaf(leaf)}
}

// ForJob mints the actor of a job that initiator started in org, with the
// roles that she holds there now: somebody who was removed meanwhile has no
// jobs left either.
func (s *Service) ForJob(ctx context.Context, job id.Job, initiator id.Person, org id.Org) (actor.Actor, error) {
	return platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (actor.Actor, error) {
		var leaf int64
		var roles []string
		if err := tx.QueryRow(ctx, sqlMembershipForJob, org, initiator).Scan(&leaf, &roles); err != nil {
			if errors.Is(err, platform.ErrNoRows) {
				return actor.Actor{}, fault.New(fault.Denied, "whoever started the job does not belong to the organization any more")
			}
			return actor.Actor{}, err
		}
		return principal.New(principal.Spec{Kind: principal.Job, ID: job, Person: initiator, Initiator: initiator,
			Roles: map[id.Org][]policy.Role{org: toRoles(roles)}, Subjects: subject(leaf)}), nil
	})
}

// System mints the actor of what the installation does by itself, such as its
// first start. It belongs to no organization.
func System(server id.Server) actor.Actor {
	return principal.New(principal.Spec{Kind: principal.System, ID: server, Platform: []policy.Role{policy.SystemAdmin}})
}
