package tenant

import "github.com/jackc/pgx/v5/pgxpool"

// Bare hands out the very connections that serve a slice, for the tests that
// put them into an attacker's hands.
func Bare(s *Store, slice int) *pgxpool.Pool { return s.pools[slice].Raw() }
