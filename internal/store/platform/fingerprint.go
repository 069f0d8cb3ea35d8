package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
)

// Fingerprint names what [Bootstrap] and [Migrator.MigrateAll] make: equal
// fingerprints, equal databases. Tests name their template after it.
func Fingerprint(organizations fs.FS) string {
	h := sha256.New()
	for _, s := range []string{rolesSQL, databaseSQL, jobsGrants, baselineSQL} {
		h.Write([]byte(s))
	}
	for _, set := range []fs.FS{controlMigrations, organizations} {
		_ = fs.WalkDir(set, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(set, name)
			h.Write(b)
			return err
		})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
