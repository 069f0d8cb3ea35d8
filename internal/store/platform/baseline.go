package platform

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// baselineSQL builds the tables of a new schema at once. It is generated from
// the migrations (go test -run Baseline -update), and a test holds the two
// equal, catalog row by catalog row.
//
//go:embed baseline.sql
var baselineSQL string

var baselineHeader = regexp.MustCompile(`^-- Organization tables at migration (\d+)\.`)

// baselineVersion says which migrations the baseline equals.
func baselineVersion(script string) (int64, error) {
	found := baselineHeader.FindStringSubmatch(script)
	if found == nil {
		return 0, fmt.Errorf("platform: the baseline does not say which migration it equals")
	}
	return strconv.ParseInt(found[1], 10, 64)
}

// installBaseline stores the script that platform.build runs. It waits for
// builds that still run the script before.
func installBaseline(ctx context.Context, conn *pgx.Conn, wanted int64) error {
	version, err := baselineVersion(baselineSQL)
	if err != nil {
		return err
	}
	if version != wanted {
		return fmt.Errorf("platform: the baseline equals migration %d, the organizations' tables are at %d; generate it again", version, wanted)
	}
	_, err = conn.Exec(ctx, `INSERT INTO platform.baseline (version, script) VALUES ($1, $2)
 ON CONFLICT (only_one) DO UPDATE SET version = excluded.version, script = excluded.script
 WHERE baseline.script <> excluded.script`, version, strings.TrimSpace(baselineSQL))
	if err != nil {
		return fmt.Errorf("platform: baseline: %w", err)
	}
	return nil
}
