package app

import (
	"io/fs"

	"strongroom/internal/feature"
	"strongroom/internal/feature/files"
	"strongroom/internal/feature/members"
	"strongroom/internal/feature/records"
)

// features lists what the house offers.
func (a *App) features() []feature.Feature {
	return []feature.Feature{
		members.Feature(a.Identity),
		records.Feature(records.New(a.Tenant)),
	}
}

// migrations lists the features that have tables.
func migrations() []fs.FS {
	return []fs.FS{records.Migrations, files.Migrations}
}
