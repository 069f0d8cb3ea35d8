package app

import (
	"context"
	"net/http"

	"strongroom/internal/app/metrics"
	"strongroom/internal/feature"
	"strongroom/internal/feature/status"
)

// operations are the ids under which requests are counted.
func operations(all []feature.Feature) (ids []string) {
	for _, f := range all {
		for _, op := range f.Ops {
			ids = append(ids, op.ID)
		}
	}
	return ids
}

// Metrics answers in numbers. It is for this machine's own listeners: what it
// says holds nobody's data and is nobody else's business all the same.
func (a *App) Metrics() http.Handler { return a.metrics.Handler() }

// numbers looks at the house for the metrics.
func (a *App) numbers(ctx context.Context) metrics.Numbers {
	s, _ := a.status(ctx)
	n := metrics.Numbers{Ready: s.Ready, PoolOpen: map[string]float64{}, PoolBusy: map[string]float64{}, EventsWaiting: float64(s.Events.Waiting),
		EventsLag: s.Events.LagSeconds, ChainBreaks: float64(s.ChainBreaks), KeysState: s.Keys.State, KeysEpoch: float64(s.Keys.Epoch),
		KeysServers: float64(s.Keys.Servers), SpareSchemas: float64(s.SpareSchemas), JobsOldest: s.Jobs.OldestSeconds,
		Jobs: map[string]float64{"waiting": float64(s.Jobs.Waiting), "running": float64(s.Jobs.Running), "retrying": float64(s.Jobs.Retrying),
			"failed": float64(s.Jobs.Failed)},
		Alarms: map[string]float64{"warning": 0, "critical": 0}, DiskFree: map[string]float64{}, CertificateEnd: map[string]float64{}}
	for pool, of := range map[string]interface{ Conns() (int32, int32) }{"tenant": a.Tenant, "platform": a.Platform, "audit": a.Audit, "jobs": a.jobs} {
		open, busy := of.Conns()
		n.PoolOpen[pool], n.PoolBusy[pool] = float64(open), float64(busy)
	}
	for _, g := range s.Keys.Guardians {
		if g.Answers {
			n.Guardians++
		}
	}
	for _, z := range s.Keys.Zones {
		if z.Whole {
			n.ZonesWhole++
		}
	}
	for _, alarm := range s.Alarms {
		n.Alarms[alarm.Severity]++
	}
	if p := s.Proofs; p != nil {
		n.Promises = map[string]float64{"kept": float64(p.Kept), "partly": float64(p.Partly), "not_yet": float64(p.NotYet), "stale": float64(p.Stale), "broken": float64(p.Broken)}
	}
	for _, d := range s.Disks {
		for _, store := range d.Holds {
			n.DiskFree[store] = float64(d.FreeBytes)
		}
	}
	for _, c := range s.Certificates {
		if end := float64(c.NotAfter.Unix()); !c.NotAfter.IsZero() && (n.CertificateEnd[c.Source] == 0 || end < n.CertificateEnd[c.Source]) {
			n.CertificateEnd[c.Source] = end
		}
	}
	n.Missing = float64(s.Lacking)
	return n
}

// certificates are those that the server shows, once it does.
func (a *App) certificates() []status.Certificate {
	a.mu.Lock()
	shown := a.shown
	a.mu.Unlock()
	if shown == nil {
		return []status.Certificate{}
	}
	return shown()
}

// Shows tells the app which certificates are shown.
func (a *App) Shows(list func() []status.Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shown = list
}
