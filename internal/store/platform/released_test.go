package platform_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// released are the migrations that installations have run already. A database
// remembers the number of a migration and not its text: one that is edited
// afterwards leaves old and new installations with different tables, and an
// upgrade that nobody has tried. What must change goes into a new migration.
var released = map[string]string{
	"migrations/0001_capability.sql":                    "245a2377501d027e73f0222fe351383c298396fa860a040de567e656dca2b65a",
	"migrations/0002_audit.sql":                         "4e09da5f716001a531062eff9bdf68954109f78990738f708f82b507c4ccd876",
	"migrations/0003_platform.sql":                      "a67cd1ec94b88f76882c127b9e06f074a535875e73a509f5488f79a58f57ee76",
	"migrations/0004_provisioning.sql":                  "1ed18ac95e2da0ae116514bb8399c9c8c536d6228a44f55d3688cddd07a8d678",
	"migrations/0005_jobs.sql":                          "a6be28eb0de508538325bdcf16a48769166804a5dfd768e9c69b210005e06b08",
	"../../feature/records/migrations/0001_records.sql": "09e59e7d8219f163a9a37b4b7d8b3cba79c51c2b70e8f23793222bf642472be0",
	"../../feature/files/migrations/0002_files.sql":     "da8856276d30ef443c92ceb8825f72bb4ce9acf5a9343a8fba1be71e0f3e2241",
}

func TestAReleasedMigrationIsNeverEdited(t *testing.T) {
	t.Parallel()
	for path, want := range released {
		b, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			t.Errorf("a released migration is gone: %v", err)
			continue
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s was edited after its release: put it back as it was, and make the change in a new migration", path)
		}
	}
}
