package platform

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed bootstrap/roles.sql
var rolesSQL string

//go:embed bootstrap/database.sql
var databaseSQL string

// bootstrapLock is held in the maintenance database while roles change, so
// that two servers may start on one cluster at once.
const bootstrapLock = 0x73747267_01

// Bootstrap makes the roles, the database that url names, and takes from
// PUBLIC what nobody needs. url is the superuser's; it is the only work that
// role ever does. Running it again mends what was changed and is otherwise
// without effect.
func Bootstrap(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("platform: connection string: %w", err)
	}
	name := cfg.Database
	if name == "" || name == "postgres" || strings.HasPrefix(name, "template") {
		return fmt.Errorf("platform: bootstrap needs the name of a database of its own")
	}
	main, err := pgx.ConnectConfig(ctx, maintenance(cfg))
	if err != nil {
		return fmt.Errorf("platform: bootstrap: %w", err)
	}
	defer func() { _ = main.Close(context.WithoutCancel(ctx)) }()
	if _, err := main.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(bootstrapLock)); err != nil {
		return fmt.Errorf("platform: bootstrap: %w", err)
	}
	for _, sql := range []string{
		rolesSQL,
		// Who may connect to the maintenance databases could make temporary
		// tables there, or look at the cluster from outside our revokes.
		"REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC",
	} {
		if _, err := main.Exec(ctx, sql); err != nil {
			return fmt.Errorf("platform: bootstrap: roles: %w", err)
		}
	}
	var exists bool
	if err := main.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("platform: bootstrap: %w", err)
	}
	quoted := pgx.Identifier{name}.Sanitize()
	if !exists {
		if _, err := main.Exec(ctx, "CREATE DATABASE "+quoted+" OWNER sr_owner TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
			return fmt.Errorf("platform: bootstrap: database: %w", err)
		}
	}
	for _, sql := range []string{
		"ALTER DATABASE " + quoted + " OWNER TO sr_owner",
		"REVOKE ALL ON DATABASE " + quoted + " FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + quoted + " TO " + strings.Join(Logins(), ", "),
	} {
		if _, err := main.Exec(ctx, sql); err != nil {
			return fmt.Errorf("platform: bootstrap: database: %w", err)
		}
	}
	db, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("platform: bootstrap: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if _, err := db.Exec(ctx, databaseSQL); err != nil {
		return fmt.Errorf("platform: bootstrap: revokes: %w", err)
	}
	return nil
}

func maintenance(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	c := cfg.Copy()
	c.Database = "postgres"
	return c
}
