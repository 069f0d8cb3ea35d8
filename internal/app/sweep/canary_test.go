package sweep_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/postgres"
)

func TestWhatCallersTypeIsFoundNowhere(t *testing.T) {
	t.Parallel()
	settings := ""
	clock := time.Now()
	lap := func(what string) { t.Log(what, time.Since(clock)); clock = time.Now() }
	program(t)
	lap("build")
	i := install(t, settings)
	lap("up")
	v := visit(t, i)
	admin := v.account("administrator")
	founder(t, i, admin.email, v.text("name of the administrator"), admin.password)
	lap("founder")
	v.signIn(t, &admin)
	for _, placement := range []string{"schema", "pooled"} {
		v.tour(t, admin, placement)
	}
	lap("tour")
	v.complete(t)
	i.checkpoint(t)
	lap("checkpoint")
	begin := time.Now()
	h := v.inTree(t, i.layout.Path(), nil)
	t.Logf("%d canaries, %d files, %v in %v", len(v.canaries), h.files, h.bytes["."], time.Since(begin))
	report(t, h.found)
	report(t, v.inBytes(t, "the log", i.log.bytes()))
}

// checkpoint brings every page of the database to its file.
func (i *installation) checkpoint(t testing.TB) {
	t.Helper()
	if _, err := i.sql(t, postgres.DefaultSuperuser).Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
}

var _ = fmt.Sprint
var _ fs.FileInfo
var _ = os.Stat
var _ = filepath.Join
var _ = strings.Cut
var _ context.Context
