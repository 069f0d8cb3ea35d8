package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"strongroom/internal/app/alarm"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/base/fault"
	"strongroom/internal/feature/status"
	"strongroom/internal/feature/trust"
	"strongroom/internal/keyservice"
)

// The supervisor's files for those who ask how the installation stands.
const (
	alarmsFile   = "alarms.json" // in the data directory: it outlives a restart
	servicesFile = "services.json"
)

// Services is what the supervisor says about itself and its processes.
type Services struct {
	Version   string           `json:"version"`
	PID       int              `json:"pid"`
	URL       string           `json:"url"`
	StartedAt time.Time        `json:"started_at"`
	Services  []status.Service `json:"services"`
}

func servicesPath(l datadir.Layout) string { return filepath.Join(l.Run(""), servicesFile) }

// maxServices bounds the file.
const maxServices = 64 << 10

// ReadServices returns what the supervisor of an installation said last. It
// says nothing about whether the supervisor runs: see datadir.Running.
func ReadServices(l datadir.Layout) (s Services, err error) {
	f, err := os.Open(servicesPath(l))
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }()
	err = json.NewDecoder(io.LimitReader(f, maxServices)).Decode(&s)
	return s, err
}

// ReadAlarms returns the alarms of an installation, whether or not it runs.
func ReadAlarms(l datadir.Layout) (all []status.Alarm, undelivered []string, err error) {
	raised, undelivered, err := alarm.Read(filepath.Join(l.Path(), alarmsFile))
	all = make([]status.Alarm, len(raised))
	for i, a := range raised {
		all[i] = status.Alarm{Name: a.Name, Severity: string(a.Severity), Text: a.Text, Since: a.Since}
	}
	return all, undelivered, err
}

func servicesOf(all []supervisor.Status) []status.Service {
	out := make([]status.Service, len(all))
	for i, s := range all {
		out[i] = status.Service{Name: s.Name, State: string(s.State), Since: s.Since.UTC().Truncate(time.Second), Restarts: s.Restarts}
	}
	return out
}

// Disks returns the file systems under the stores of an installation.
func Disks(l datadir.Layout) (disks []status.Disk, err error) {
	at := map[uint64]int{}
	for _, store := range []struct{ name, path string }{
		{"data", l.Path()}, {"postgres", l.Postgres()}, {"objects", l.Objects()}, {"keys/zone-a", l.KeyZone("a")}, {"keys/zone-b", l.KeyZone("b")},
		{"guardians/a", l.Guardian("a")}, {"guardians/b", l.Guardian("b")},
	} {
		info, err := os.Stat(store.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return disks, fmt.Errorf("disk of %s: %w", store.name, err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			continue
		}
		i, known := at[uint64(stat.Dev)]
		if !known {
			var s syscall.Statfs_t
			if err := syscall.Statfs(store.path, &s); err != nil {
				return disks, fmt.Errorf("disk of %s: %w", store.name, err)
			}
			i = len(disks)
			at[uint64(stat.Dev)] = i
			disks = append(disks, status.Disk{FreeBytes: s.Bavail * uint64(s.Bsize), TotalBytes: s.Blocks * uint64(s.Bsize)})
		}
		disks[i].Holds = append(disks[i].Holds, store.name)
	}
	return disks, nil
}

// A disk is nearly full below the smaller of these, so that neither a huge nor
// a small one cries for nothing; and it is full when PostgreSQL may soon have
// no room for its own log.
const (
	lowDisk      = 5 << 30
	lowShare     = 20 // a twentieth
	criticalDisk = 512 << 20
)

// diskTrouble says how short a disk is of room: "", warning or critical.
func diskTrouble(d status.Disk) alarm.Severity {
	switch {
	case d.FreeBytes < criticalDisk:
		return alarm.Critical
	case d.FreeBytes < min(lowDisk, d.TotalBytes/lowShare):
		return alarm.Warning
	}
	return ""
}

func diskText(d status.Disk) string {
	return fmt.Sprintf("the disk that holds %s is nearly full: %d MB of %d MB are free", strings.Join(d.Holds, ", "), d.FreeBytes>>20, d.TotalBytes>>20)
}

// status gathers how the installation stands. What cannot be found out is left
// out and named in Problem: half an answer is worth more than none to somebody
// who looks for what is wrong.
func (a *App) status(ctx context.Context) (status.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s := status.Status{Version: a.options.Version, URL: a.options.Address, StartedAt: a.started, ChainBreaks: a.Audit.Broken(),
		Services: []status.Service{}, Alarms: []status.Alarm{}, Disks: []status.Disk{}, Certificates: a.certificates()}
	a.mu.Lock()
	if s.URL == "" {
		s.URL = a.public.url
	}
	a.mu.Unlock()
	if err := a.Ready(ctx); err != nil {
		s.Problem = fault.From(err).Public
	} else {
		s.Ready = true
	}
	var missing []string
	try := func(what string, err error) {
		if err != nil {
			a.Log.Warn("the status is not complete", "lacks", what, "cause", err)
			missing = append(missing, what)
		}
	}
	var err error
	s.SetUp, err = a.Identity.HasSystemAdmin(ctx)
	try("whether it is set up", err)
	s.SpareSchemas, err = a.provisioner.Stock(ctx)
	try("spare schemas", err)
	s.Keys, err = a.Keys.Status(ctx)
	try("the key service", err)
	s.Jobs, err = a.jobs.counts(ctx)
	try("jobs", err)
	s.Events, err = a.events(ctx)
	try("events", err)
	s.Proofs, _, err = a.proofs(ctx)
	try("proofs", err)
	if a.options.DataDir != "" {
		l := datadir.At(a.options.DataDir)
		s.Disks, err = Disks(l)
		try("disks", err)
		s.Alarms, s.Undelivered, err = ReadAlarms(l)
		try("alarms", err)
		if sv, err := ReadServices(l); err == nil {
			s.Services = sv.Services
		}
	}
	s.Lacking = len(missing)
	if s.Problem == "" && len(missing) > 0 {
		s.Problem = "not known: " + strings.Join(missing, ", ")
	}
	return s, nil
}

func (a *App) events(ctx context.Context) (status.Events, error) {
	n, oldest, err := a.Audit.Waiting(ctx)
	e := status.Events{Waiting: n}
	if !oldest.IsZero() {
		e.LagSeconds = max(0, time.Since(oldest).Seconds())
	}
	return e, err
}

// proofs counts the promises by their last proofs, and names those that are
// broken.
func (a *App) proofs(ctx context.Context) (*status.Proofs, []string, error) {
	if a.overview == nil {
		return nil, nil, nil
	}
	o, err := a.overview(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := o.Summary()
	return &status.Proofs{Kept: s.Kept, Partly: s.Partly, NotYet: s.NotYet, Stale: s.Stale, Broken: s.Broken, At: o.At}, brokenClauses(o), nil
}

// Limits beyond which the server says that something is wrong.
const (
	lagLimit      = 2 * time.Minute // longer than the longest wait for a missing number in a chain
	jobWaitLimit  = 15 * time.Minute
	certWarning   = 14 * 24 * time.Hour
	certCritical  = 3 * 24 * time.Hour
	maxNamedParts = 10
)

// conditions lists what this server sees to be wrong now.
func (a *App) conditions(ctx context.Context) []alarm.Condition {
	out := a.Alarms.Conditions()
	add := func(name string, severity alarm.Severity, format string, args ...any) {
		out = append(out, alarm.Condition{Name: name, Severity: severity, Text: fmt.Sprintf(format, args...)})
	}
	if err := a.Ready(ctx); err != nil {
		add("ready", alarm.Critical, "the server is not ready: %s", fault.From(err).Public)
		return out // what follows asks the same stores
	}
	if n := a.Audit.Broken(); n > 0 {
		add("log/chain", alarm.Critical, "the chain of waiting events broke %d times: events were taken out or put in, or a process died at a bad moment", n)
	}
	if e, err := a.events(ctx); err != nil || e.LagSeconds > lagLimit.Seconds() {
		add("log", alarm.Critical, "the event log is stuck: %d events wait for their place, the oldest for %.0f s", e.Waiting, e.LagSeconds)
	}
	if k, err := a.Keys.Status(ctx); err == nil {
		out = append(out, keyConditions(k)...)
	}
	if j, err := a.jobs.counts(ctx); err == nil {
		switch {
		case j.Failed > 0:
			add("jobs", alarm.Warning, "%d jobs were given up in the last day; the server's log has their ids", j.Failed)
		case j.OldestSeconds > jobWaitLimit.Seconds():
			add("jobs", alarm.Warning, "jobs do not run: the oldest that is due has waited for %.0f s", j.OldestSeconds)
		}
	}
	if _, broken, err := a.proofs(ctx); err == nil && len(broken) > 0 {
		names := strings.Join(broken[:min(len(broken), maxNamedParts)], ", ")
		if len(broken) > maxNamedParts {
			names += fmt.Sprintf(" and %d more", len(broken)-maxNamedParts)
		}
		add("promise", alarm.Critical, "a check of a promise fails: %s; strongroom prove says what it found", names)
	}
	for _, c := range a.certificates() {
		left := time.Until(c.NotAfter)
		severity := alarm.Warning
		if left < certCritical {
			severity = alarm.Critical
		}
		switch {
		case c.NotAfter.IsZero():
			add("certificate/"+c.Source, alarm.Warning, "there is no certificate for %s: %s", strings.Join(c.Names, ", "), c.Problem)
		case left < certWarning:
			add("certificate/"+c.Source, severity, "the certificate of %s ends at %s and was not renewed. %s", strings.Join(c.Names, ", "), c.NotAfter.UTC().Format(time.RFC3339), c.Problem)
		}
	}
	return out
}

// keyConditions says what is wrong with the key service. That a zone's copy is
// being refilled, or a guardian enrolled, is over before it is told.
func keyConditions(k keyservice.Status) (out []alarm.Condition) {
	trouble := strings.Join(k.Trouble, "; ")
	switch k.State {
	case "ok":
	case "damaged":
		out = append(out, alarm.Condition{Name: "keys", Severity: alarm.Critical, Text: "keys are lost or damaged: " + trouble})
	default:
		out = append(out, alarm.Condition{Name: "keys", Severity: alarm.Critical, Text: "the key service is degraded, reads go on and writes will wait: " + trouble})
	}
	for _, g := range k.Guardians {
		if !g.Answers {
			out = append(out, alarm.Condition{Name: "guardian/" + g.Name, Severity: alarm.Critical,
				Text: fmt.Sprintf("guardian %s does not answer; with the loss of every guardian all content is lost", g.Name)})
		}
	}
	for _, z := range k.Zones {
		if !z.Whole {
			out = append(out, alarm.Condition{Name: "zone/" + z.Name, Severity: alarm.Warning, Text: fmt.Sprintf("zone %s of the key store is not whole: one copy is left", z.Name)})
		}
	}
	return out
}

func brokenClauses(o trust.Overview) (names []string) {
	for _, g := range o.Groups {
		for _, p := range g.Promises {
			for _, c := range p.Clauses {
				if c.Standing == trust.StandsBroken {
					names = append(names, p.ID+"/"+c.Name)
				}
			}
		}
	}
	return names
}
