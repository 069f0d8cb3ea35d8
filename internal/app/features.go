package app

import (
	"io/fs"

	"strongroom/internal/feature"
	"strongroom/internal/feature/export"
	"strongroom/internal/feature/files"
	"strongroom/internal/feature/members"
	"strongroom/internal/feature/records"
	"strongroom/internal/feature/status"
	"strongroom/internal/feature/trail"
	"strongroom/internal/feature/trust/checks"
	"strongroom/internal/web/api"
)

// features lists what the house offers.
func (a *App) features() []feature.Feature {
	data := []feature.Feature{ // what an export takes along
		records.Feature(records.New(a.Tenant)),
		files.Feature(files.New(a.Tenant, a.Blobs, a.Log)),
	}
	return append(data,
		feature.Feature{Name: "edge", Promises: api.Promises()},
		checks.Feature(),
		members.Feature(a.Identity),
		trail.Feature(),
		status.Feature(a.status),
		export.Feature(a.Tenant, data...),
	)
}

// migrations lists the features that have tables.
func migrations() []fs.FS {
	return []fs.FS{records.Migrations, files.Migrations}
}
