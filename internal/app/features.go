package app

import (
	"io/fs"

	"strongroom/internal/feature"
	"strongroom/internal/feature/export"
	"strongroom/internal/feature/files"
	"strongroom/internal/feature/intake"
	"strongroom/internal/feature/members"
	"strongroom/internal/feature/plans"
	"strongroom/internal/feature/preview"
	"strongroom/internal/feature/records"
	"strongroom/internal/feature/sandbox"
	"strongroom/internal/feature/setup"
	"strongroom/internal/feature/status"
	"strongroom/internal/feature/trail"
	"strongroom/internal/feature/trust/checks"
	"strongroom/internal/web/api"
	trustpage "strongroom/internal/web/trust"
)

// features lists what the house offers.
func (a *App) features() []feature.Feature {
	data := []feature.Feature{ // what an export takes along
		records.Feature(records.New(a.Tenant, records.Options{Members: a.Identity.Belong, Files: files.Title})),
		files.Feature(files.New(a.Tenant, a.Blobs, a.Log)),
	}
	return append(data,
		feature.Feature{Name: "edge", Promises: api.Promises()},
		checks.Feature(),
		members.Feature(a.Identity),
		trail.Feature(),
		status.Feature(a.status),
		setup.Feature(a.Identity, a.setupOptions()),
		export.Feature(a.Tenant, a.Blobs, a.Log, data...),
		preview.Feature(a.Tenant, data...),
		plans.Feature(a.plans),
		intake.Feature(a.intake),
		feature.Feature{Name: "trust page", Promises: trustpage.Promises()},
		sandbox.Feature(a.Identity, sandbox.Options{On: a.options.Sandboxes}),
	)
}

// migrations lists the features that have tables.
func migrations() []fs.FS {
	return []fs.FS{records.Migrations, files.Migrations, export.Migrations}
}
