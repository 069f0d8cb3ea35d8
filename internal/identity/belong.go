package identity

import (
	"context"

	"strongroom/internal/base/id"
	"strongroom/internal/store/platform"
)

// Belong returns those of people who belong to an organization now. It is for
// a request that the tenant's door has let into that organization already, and
// is part of what that one records.
func (s *Service) Belong(ctx context.Context, org id.Org, people []id.Person) ([]id.Person, error) {
	return platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (out []id.Person, err error) {
		wanted := make([][16]byte, len(people))
		for i, p := range people {
			wanted[i] = p.UUID()
		}
		rows, err := tx.Query(ctx, platform.Lit(`SELECT m.person_id FROM platform.membership m JOIN platform.person p ON p.id = m.person_id
 WHERE m.org_id = $1 AND m.person_id = ANY ($2::uuid[]) AND p.state = 'active'`), org, wanted)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var p id.Person
			if err := rows.Scan(&p); err != nil {
				return nil, err
			}
			out = append(out, p)
		}
		return out, rows.Err()
	})
}
