// Package platform keeps the control plane: the roles and the database, the
// schemas of people, jobs and the audit log, and where each organization
// lives.
//
// It promises that every object belongs to a role that cannot log in, that
// each login may do no more than its work needs (see the tests, which list
// what each is refused), that all organizations have the same tables whether
// they were migrated or built new, and that an organization exists wholly or
// not at all.
//
// [Bootstrap] runs once as the superuser, [Migrator] at each start,
// [Provisioner] makes organizations and keeps spare schemas in stock, and
// [Placements] says where an organization's rows are. Nothing here serves a
// request; that is the tenant package's door.
package platform

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Slices is the number of application logins. Each is a member of its share of
// the organizations' roles only: changing role costs what the login's
// memberships cost, and no back end meets every schema.
const Slices = 16

// AppLogin names the login that serves the organizations of a slice.
func AppLogin(slice int) string { return fmt.Sprintf("sr_app_%02d", slice) }

// Logins lists every role that may connect, the superuser apart.
func Logins() []string {
	all := make([]string, 0, Slices+6)
	for n := range Slices {
		all = append(all, AppLogin(n))
	}
	return append(all, "sr_platform", "sr_audit", "sr_jobs", "sr_provisioner", "sr_migrator", "sr_inspector")
}

// connect opens one connection with the given settings.
func connect(ctx context.Context, url string, settings map[string]string) (*pgx.Conn, error) {
	cfg, err := config(url, settings)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

func config(url string, settings map[string]string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("platform: connection string: %w", err)
	}
	// Nothing here repeats a statement often enough to prepare it.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	for k, v := range settings {
		cfg.RuntimeParams[k] = v
	}
	return cfg, nil
}
