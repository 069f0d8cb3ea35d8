package tenant

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
)

// onceLife is how long a repeated request is recognized.
const onceLife = 24 * time.Hour

// ForgetJob is the job that removes what is past that; it runs [Forget].
const ForgetJob = "requests.forget"

// Once is a request's idempotency key together with what it protects.
type Once struct {
	keyHash, requestHash []byte
}

// Result is what an earlier request under the same key did.
type Result struct {
	ID      uuid.UUID
	Version uint64
}

// Recall looks up a request's idempotency key inside the request's own
// transaction. It returns the earlier result, if there is one; a different
// request under the same key is refused. Keep the Once for [Remember].
func Recall(ctx context.Context, tx *Tx, key, fingerprint []byte) (Once, *Result, error) {
	var o Once
	var err error
	if o.keyHash, err = tx.Hash(ctx, "idempotency-key", key); err != nil {
		return o, nil, err
	}
	if o.requestHash, err = tx.Hash(ctx, "idempotency-request", fingerprint); err != nil {
		return o, nil, err
	}
	var request []byte
	var r Result
	var id *uuid.UUID
	var version *int64
	var created time.Time
	err = tx.QueryRow(ctx, Lit(`SELECT request_hash, result_id, result_version, created_at FROM idempotency
 WHERE org_id = $1 AND actor_id = $2 AND key_hash = $3`), tx.Org().UUID(), tx.Actor().Person().UUID(), o.keyHash).Scan(&request, &id, &version, &created)
	switch {
	case errors.Is(err, ErrNoRows):
		return o, nil, nil
	case err != nil:
		return o, nil, err
	case tx.Now().Sub(created) > onceLife:
		_, err := tx.Exec(ctx, Lit(`DELETE FROM idempotency WHERE org_id = $1 AND actor_id = $2 AND key_hash = $3`),
			tx.Org().UUID(), tx.Actor().Person().UUID(), o.keyHash)
		return o, nil, err
	case !bytes.Equal(request, o.requestHash):
		return o, nil, fault.At(fault.Invalid, "Idempotency-Key", "key_reused", "this key was used for a different request")
	}
	if id != nil {
		r.ID = *id
	}
	if version != nil {
		r.Version = uint64(*version)
	}
	return o, &r, nil
}

// Remember stores the result under the key. Two requests under one key at the
// same time cannot both commit: the later one is told to repeat.
func Remember(ctx context.Context, tx *Tx, o Once, r Result) error {
	// One job an hour forgets all that the organization's requests of that hour
	// left, whoever made them. If who started it has left by then, or may not
	// any more, the next hour's job does it.
	hour := tx.Now().Truncate(time.Hour)
	var first bool
	err := tx.QueryRow(ctx, Lit(`WITH made AS (INSERT INTO idempotency (org_id, actor_id, key_hash, request_hash, result_id, result_version, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7))
 SELECT NOT EXISTS (SELECT FROM idempotency WHERE org_id = $1 AND created_at >= $8)`),
		tx.Org().UUID(), tx.Actor().Person().UUID(), o.keyHash, o.requestHash, r.ID, int64(r.Version), tx.Now(), hour).Scan(&first)
	if IsUnique(err, "idempotency_pkey") {
		return fault.New(fault.Conflict, "a request with this Idempotency-Key is under way; repeat it in a moment")
	}
	if err == nil && first {
		tx.Enqueue(Job{Kind: ForgetJob, Ref: tx.Org(), At: hour.Add(time.Hour + onceLife + time.Minute)})
	}
	return err
}

// Forget removes the keys of an organization's requests that are not
// recognized any more, and counts them.
func Forget(ctx context.Context, tx *Tx) error {
	n, err := tx.Exec(ctx, Lit(`DELETE FROM idempotency WHERE org_id = $1 AND created_at < $2`), tx.Org().UUID(), tx.Now().Add(-onceLife))
	tx.Count("keys", n)
	return err
}
