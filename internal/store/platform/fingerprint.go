package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
)

// Fingerprint names what [Bootstrap] and [Migrator.MigrateAll] make: equal
// fingerprints, equal databases. Tests name their template after it.
func Fingerprint(organizations fs.FS) (string, error) {
	control, err := fs.Sub(controlMigrations, "migrations")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, s := range []string{rolesSQL, databaseSQL, jobsGrants, baselineSQL} {
		fmt.Fprintf(h, "%d %s", len(s), s)
	}
	for _, set := range []fs.FS{control, organizations} {
		names, err := fs.Glob(set, "*.sql")
		if err != nil {
			return "", err
		}
		for _, name := range names {
			b, err := fs.ReadFile(set, name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d %s", name, len(b), b)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
