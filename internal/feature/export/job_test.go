package export_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature/export/archive"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

// lab is an organization with a project: a sample of it, a measurement of that
// with a file, and a sample of no project.
type lab struct {
	*testing.T
	s                             *live.Server
	org                           *live.Org
	orgID                         id.Org
	project, sample, shot, beside client.Record
	file, other                   client.File // the other belongs to nothing
}

const secretWord = "palimpsest-of-gallium"

func newLab(t *testing.T, s *live.Server, placement string) *lab {
	t.Helper()
	l := &lab{T: t, s: s, org: s.Org(t, placement)}
	var err error
	if l.orgID, err = id.ParseOrg(l.org.ID); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"project", "sample", "reading"} {
		if _, err := l.org.Owner.CreateCollection(t.Context(), l.org.ID, client.NewCollection{Kind: kind, Title: kind}); err != nil {
			t.Fatal(err)
		}
	}
	make := func(kind, name string, links ...client.NewLink) client.Record {
		r, err := l.org.Owner.CreateRecord(t.Context(), l.org.ID, kind, client.NewRecord{Content: json.RawMessage(`{"name":"` + name + `","x":1.50}`), Links: links})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	body := []byte("bytes of " + secretWord)
	if l.file, err = l.org.Owner.UploadFile(t.Context(), l.org.ID, client.Upload{Name: "frame.raw", Size: int64(len(body)), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	if l.other, err = l.org.Owner.UploadFile(t.Context(), l.org.ID, client.Upload{Name: "other.raw", Size: 1, Body: strings.NewReader("o")}); err != nil {
		t.Fatal(err)
	}
	l.project = make("project", "P")
	l.sample = make("sample", secretWord, client.NewLink{Relation: "project", To: l.project.ID})
	l.shot = make("reading", "M", client.NewLink{Relation: "sample", To: l.sample.ID}, client.NewLink{Relation: "frame", To: l.file.ID})
	l.beside = make("sample", "=Beside")
	return l
}

// export has an archive made and waits for it.
func (l *lab) export(who *live.Person, r client.ExportRequest) (client.ExportJob, []byte) {
	l.Helper()
	job, err := who.StartExport(l.Context(), l.org.ID, r)
	if err != nil {
		l.Fatalf("%+v: %v", r, err)
	}
	job = l.wait(who, job)
	if job.State != "ready" || job.Total != job.Done || time.Until(job.ExpiresAt) < 23*time.Hour || time.Until(job.ExpiresAt) > 24*time.Hour {
		l.Fatalf("%+v: ended as %+v", r, job)
	}
	a, err := who.DownloadExport(l.Context(), l.org.ID, job.ID)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	b, err := io.ReadAll(a)
	if err != nil || int64(len(b)) != job.Size {
		l.Fatalf("%d bytes of %d: %v", len(b), job.Size, err)
	}
	return job, b
}

func (l *lab) wait(who *live.Person, job client.ExportJob) client.ExportJob {
	l.Helper()
	for deadline := time.Now().Add(30 * time.Second); job.State == "waiting" || job.State == "running"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("still %s", job.State)
		}
		var err error
		if job, err = who.ExportState(l.Context(), l.org.ID, job.ID); err != nil {
			l.Fatal(err)
		}
	}
	return job
}

// holds lists the records and files of a ZIP, which must verify.
func (l *lab) holds(b []byte) (out []string) {
	l.Helper()
	if _, err := archive.Verify(bytes.NewReader(b), int64(len(b))); err != nil {
		l.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		l.Fatal(err)
	}
	for _, f := range z.File {
		switch {
		case strings.HasSuffix(f.Name, "/records.ndjson"):
			r, err := f.Open()
			if err != nil {
				l.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				l.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				var rec struct{ ID string }
				if err := json.Unmarshal(line, &rec); err != nil {
					l.Fatal(err)
				}
				out = append(out, rec.ID)
			}
		case strings.HasPrefix(f.Name, "files/fil_"):
			out = append(out, strings.Split(f.Name, "/")[1])
		}
	}
	slices.Sort(out)
	return out
}

// TestExportsInTheBackground runs on one server: jobs go to any server of an
// installation, and the servers of two tests share no files.
func TestExportsInTheBackground(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *live.Server)
	}{
		{"each scope is made in the background and holds what it says", eachScopeIsMadeInTheBackgroundAndHoldsWhatItSays},
		{"the records alone come as lines and as a table", theRecordsAloneComeAsLinesAndAsATable},
		{"every step of an export is on record", everyStepOfAnExportIsOnRecord},
		{"an archive is its makers alone and sealed where it lies", anArchiveIsItsMakersAloneAndSealedWhereItLies},
		{"what is private to another is in nobody elses archive", whatIsPrivateToAnotherIsInNobodyElsesArchive},
		{"what makes no sense is refused before anything is made", whatMakesNoSenseIsRefusedBeforeAnythingIsMade},
		{"an export of what is not there fails and says so", anExportOfWhatIsNotThereFailsAndSaysSo},
		{"who loses the role gets no archive", whoLosesTheRoleGetsNoArchive},
		{"after a day an archive is gone", afterADayAnArchiveIsGone},
		{"an export that is removed while it is made leaves no archive", anExportThatIsRemovedWhileItIsMadeLeavesNoArchive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, s)
		})
	}
}

func sorted(s ...string) []string { slices.Sort(s); return s }

func eachScopeIsMadeInTheBackgroundAndHoldsWhatItSays(t *testing.T, s *live.Server) {
	for _, placement := range []string{"schema", "pooled"} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, s, placement)
			analyst := l.org.Member(t, client.Analyst)
			for _, tt := range []struct {
				ask  client.ExportRequest
				want []string
			}{
				{client.ExportRequest{Scope: client.OfOrganization}, sorted(l.project.ID, l.sample.ID, l.shot.ID, l.beside.ID, l.file.ID, l.other.ID)},
				{client.ExportRequest{Scope: client.OfProject, Collection: "project", Record: l.project.ID}, sorted(l.project.ID, l.sample.ID, l.shot.ID, l.file.ID)},
				{client.ExportRequest{Scope: client.OfCollection, Collection: "sample"}, sorted(l.sample.ID, l.beside.ID)},
				{client.ExportRequest{Scope: client.OfRecord, Collection: "reading", Record: l.shot.ID}, sorted(l.shot.ID, l.file.ID)},
				{client.ExportRequest{Scope: client.OfFile, File: l.file.ID}, sorted(l.file.ID)},
			} {
				job, b := l.export(analyst, tt.ask)
				if got := l.holds(b); !slices.Equal(got, tt.want) {
					t.Errorf("%s holds %v, want %v", tt.ask.Scope, got, tt.want)
				}
				if job.Done != int64(len(tt.want)) {
					t.Errorf("%s counts %d, want %d", tt.ask.Scope, job.Done, len(tt.want))
				}
			}
		})
	}
}

func theRecordsAloneComeAsLinesAndAsATable(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	_, b := l.export(analyst, client.ExportRequest{Scope: client.OfOrganization, Format: client.AsNDJSON})
	if n := bytes.Count(b, []byte("\n")); n != 4 || !bytes.Contains(b, []byte(`{"name":"`+secretWord+`","x":1.50}`)) {
		t.Errorf("%d lines: %s", n, b)
	}
	_, b = l.export(analyst, client.ExportRequest{Scope: client.OfCollection, Collection: "sample", Format: client.AsCSV})
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(rows) != 3 || !slices.Contains(rows[0], "name") || !slices.Contains(rows[1], "1.50") || !slices.Contains(rows[2], "'=Beside") {
		t.Errorf("%v: %v", err, rows)
	}
}

func everyStepOfAnExportIsOnRecord(t *testing.T, s *live.Server) {
	l := newLab(t, s, "schema")
	analyst := l.org.Member(t, client.Analyst)
	job, b := l.export(analyst, client.ExportRequest{Scope: client.OfProject, Collection: "project", Record: l.project.ID})
	var created, begun, ended, opened, fetched bool
	seen := map[string]bool{}
	for _, e := range testkit.AllEvents(t, l.s.Doors, l.orgID) {
		about := slices.Contains(e.Targets, job.ID)
		switch {
		case e.Action == policy.ExportCreate && e.Outcome == audit.Done && about:
			created = true
		case e.Action == policy.ExportBuild && e.Outcome == audit.Done && about && e.Counts["bytes"] == 0:
			begun = true
		case e.Action == policy.ExportBuild && e.Outcome == audit.Done && about && e.Counts["bytes"] == int64(len(b)):
			ended = true
		case e.Action == policy.ExportRun && e.Outcome == audit.Done:
			for _, x := range e.Targets {
				seen[x] = true
			}
		case e.Action == policy.ExportDownload && e.Outcome == audit.Opened && about:
			opened = true
		case e.Action == policy.ExportDownload && e.Outcome == audit.Done && about && e.Counts["bytes"] == int64(len(b)):
			fetched = opened
		}
	}
	if !created || !begun || !ended || !fetched {
		t.Errorf("on record: asked for %t, begun %t, made %t, fetched %t", created, begun, ended, fetched)
	}
	for _, x := range []string{l.project.ID, l.sample.ID, l.shot.ID, l.file.ID} {
		if !seen[x] {
			t.Errorf("no event of a page names %s", x)
		}
	}
}

func anArchiveIsItsMakersAloneAndSealedWhereItLies(t *testing.T, s *live.Server) {
	l := newLab(t, s, "schema")
	analyst, other := l.org.Member(t, client.Analyst), l.org.Member(t, client.Analyst)
	job, _ := l.export(analyst, client.ExportRequest{Scope: client.OfOrganization, Format: client.AsNDJSON})
	if _, err := other.ExportState(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusNotFound {
		t.Errorf("a colleague sees it: %v", err)
	}
	if _, err := other.DownloadExport(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusNotFound {
		t.Errorf("a colleague fetches it: %v", err)
	}
	if p, err := other.ListExports(t.Context(), l.org.ID, client.List{}); err != nil || len(p.Items) != 0 {
		t.Errorf("a colleague's list has %d: %v", len(p.Items), err)
	}
	objects := 0
	err := filepath.WalkDir(filepath.Join(l.s.DataDir, "objects"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		objects++
		b, err := os.ReadFile(p)
		if bytes.Contains(b, []byte(secretWord)) || bytes.Contains(b, []byte("1.50")) {
			t.Errorf("%s holds plaintext", filepath.Base(p))
		}
		return err
	})
	if err != nil || objects < 2 {
		t.Errorf("%d objects: %v", objects, err)
	}
}

func whatIsPrivateToAnotherIsInNobodyElsesArchive(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	hidden, err := l.org.Owner.CreateRecord(t.Context(), l.org.ID, "sample", client.NewRecord{Content: json.RawMessage(`{"name":"mine"}`), Visibility: client.ForOwner,
		Links: []client.NewLink{{Relation: "project", To: l.project.ID}}})
	if err != nil {
		t.Fatal(err)
	}
	analyst := l.org.Member(t, client.Analyst)
	for _, ask := range []client.ExportRequest{{Scope: client.OfOrganization}, {Scope: client.OfProject, Collection: "project", Record: l.project.ID}} {
		if _, b := l.export(analyst, ask); slices.Contains(l.holds(b), hidden.ID) {
			t.Errorf("%s takes a private record of somebody else", ask.Scope)
		}
		if _, b := l.export(l.org.Owner, ask); !slices.Contains(l.holds(b), hidden.ID) {
			t.Errorf("%s leaves the owner's private record out", ask.Scope)
		}
	}
}

func whatMakesNoSenseIsRefusedBeforeAnythingIsMade(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	for _, ask := range []client.ExportRequest{
		{Scope: "all"}, {Scope: client.OfCollection}, {Scope: client.OfRecord, Collection: "sample"}, {Scope: client.OfRecord, Collection: "sample", Record: "rec_x"},
		{Scope: client.OfOrganization, Collection: "sample"}, {Scope: client.OfFile}, {Scope: client.OfOrganization, Format: "xlsx"},
		{Scope: client.OfOrganization, Format: client.AsCSV}, {Scope: client.OfFile, File: l.file.ID, Format: client.AsNDJSON},
	} {
		if _, err := analyst.StartExport(t.Context(), l.org.ID, ask); client.Status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %v", ask, err)
		}
	}
	if p, err := analyst.ListExports(t.Context(), l.org.ID, client.List{}); err != nil || len(p.Items) != 0 {
		t.Errorf("%d were made (%v)", len(p.Items), err)
	}
	if _, err := l.org.Member(t, client.Scientist).StartExport(t.Context(), l.org.ID, client.ExportRequest{Scope: client.OfOrganization}); client.Status(err) != http.StatusForbidden {
		t.Errorf("a scientist: %v", err)
	}
}

func anExportOfWhatIsNotThereFailsAndSaysSo(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	for _, ask := range []client.ExportRequest{{Scope: client.OfCollection, Collection: "nothing"}, {Scope: client.OfProject, Collection: "project", Record: id.NewRecord().String()}, {Scope: client.OfFile, File: id.NewFile().String()}} {
		job, err := analyst.StartExport(t.Context(), l.org.ID, ask)
		if err != nil {
			t.Fatal(err)
		}
		if job = l.wait(analyst, job); job.State != "failed" || job.Code != "not_found" {
			t.Errorf("%+v ended as %s %q", ask, job.State, job.Code)
		}
		if _, err := analyst.DownloadExport(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusConflict {
			t.Errorf("it can be fetched: %v", err)
		}
	}
}

// whoLosesTheRoleGetsNoArchive takes the role away after the archive was
// made: it is not handed over any more.
func whoLosesTheRoleGetsNoArchive(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	job, _ := l.export(analyst, client.ExportRequest{Scope: client.OfOrganization})
	if _, err := l.org.Owner.UpdateMember(t.Context(), l.org.ID, analyst.ID, client.MemberChange{Roles: []client.Role{client.Scientist}}); err != nil {
		t.Fatal(err)
	}
	if _, err := analyst.DownloadExport(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusForbidden {
		t.Errorf("got %v", err)
	}
}

// afterADayAnArchiveIsGone moves the day into the past, as time does, and
// lets the job of another member's export clear it away.
func afterADayAnArchiveIsGone(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	job, _ := l.export(analyst, client.ExportRequest{Scope: client.OfOrganization})
	exp, err := id.ParseExport(job.ID)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), l.s.Doors.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `SET session_replication_role = replica`); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Exec(t.Context(), `UPDATE pool.export SET expires_at = now() - interval '1 hour' WHERE id = $1`, exp.UUID()); err != nil || n.RowsAffected() != 1 {
		t.Fatal(n, err)
	}
	if _, err := analyst.ExportState(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusNotFound {
		t.Errorf("it is still shown: %v", err)
	}
	if _, err := analyst.DownloadExport(t.Context(), l.org.ID, job.ID); client.Status(err) != http.StatusNotFound {
		t.Errorf("it is still handed over: %v", err)
	}
	object := filepath.Join(l.s.DataDir, "objects", "orgs", l.org.ID, id.FileOf(exp.UUID()).String())
	if _, err := os.Stat(object); err != nil {
		t.Fatalf("the test looks in the wrong place: %v", err)
	}
	// The colleague's own export is due to be cleared at once.
	colleague := l.org.Member(t, client.Analyst)
	next, _ := l.export(colleague, client.ExportRequest{Scope: client.OfOrganization})
	nextID, _ := id.ParseExport(next.ID)
	if _, err := conn.Exec(t.Context(), `UPDATE jobs.river_job SET scheduled_at = now(), state = 'available' WHERE state = 'scheduled' AND args->>'job' = 'export.expire' AND args->>'ref' = $1`, nextID.String()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, _ := filepath.Glob(object + "/*")
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the archive still lies there")
		}
	}
	if _, err := colleague.ExportState(t.Context(), l.org.ID, next.ID); err != nil {
		t.Errorf("the colleague's own, which has a day left, is gone too: %v", err)
	}
}

// anExportThatIsRemovedWhileItIsMadeLeavesNoArchive takes the row away as soon
// as an attempt has claimed it: no job would ever come for its archive.
func anExportThatIsRemovedWhileItIsMadeLeavesNoArchive(t *testing.T, s *live.Server) {
	l := newLab(t, s, "pooled")
	analyst := l.org.Member(t, client.Analyst)
	person, err := id.ParsePerson(analyst.ID)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), l.s.Doors.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `CREATE FUNCTION pool.take_away() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
 DELETE FROM pool.export WHERE org_id = NEW.org_id AND id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER take_away AFTER UPDATE ON pool.export FOR EACH ROW WHEN (NEW.state = 'running' AND NEW.created_by = '`+person.UUID().String()+`') EXECUTE FUNCTION pool.take_away()`); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), `DROP FUNCTION pool.take_away() CASCADE`); err != nil {
			t.Error(err)
		}
	}()
	job, err := analyst.StartExport(t.Context(), l.org.ID, client.ExportRequest{Scope: client.OfOrganization})
	if err != nil {
		t.Fatal(err)
	}
	exp, err := id.ParseExport(job.ID)
	if err != nil {
		t.Fatal(err)
	}
	made := func() bool {
		return slices.ContainsFunc(testkit.AllEvents(t, l.s.Doors, l.orgID), func(e audit.Event) bool {
			return e.Action == policy.ExportBuild && e.Counts["bytes"] > 0 && slices.Contains(e.Targets, job.ID)
		})
	}
	for deadline := time.Now().Add(30 * time.Second); !made(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it was never made")
		}
	}
	left, err := filepath.Glob(filepath.Join(l.s.DataDir, "objects", "orgs", l.org.ID, id.FileOf(exp.UUID()).String(), "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
