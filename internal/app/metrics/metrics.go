// Package metrics says how the server does, in numbers for Prometheus.
//
// It promises that the numbers hold no content and nobody's name: labels are
// the product's own words (operation ids, classes of status, names of its
// processes and stores), fixed when the server is built, so that neither what
// a caller sends nor how many organizations there are makes a new series
// (TEL-2). What an organization does is not told apart from what another does.
//
// The server counts requests by [Metrics.Request]; everything else is looked
// at when somebody asks, by a function of the house. To add a number, add a
// field to [Numbers] and its line in numbers.
package metrics

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Numbers are what is looked at when somebody asks. A missing map entry is a
// number that could not be had.
type Numbers struct {
	Ready          bool
	PoolOpen       map[string]float64 // connections, by pool
	PoolBusy       map[string]float64
	EventsWaiting  float64
	EventsLag      float64 // seconds
	ChainBreaks    float64
	KeysState      string // ok, degraded, damaged, unknown
	KeysEpoch      float64
	KeysServers    float64
	Guardians      float64 // that answer
	ZonesWhole     float64
	Jobs           map[string]float64 // by state
	JobsOldest     float64            // seconds
	SpareSchemas   float64
	Alarms         map[string]float64 // by severity
	Promises       map[string]float64 // by standing
	DiskFree       map[string]float64 // bytes, by store
	CertificateEnd map[string]float64 // seconds since 1970, by source
	Missing        float64            // kinds of number that could not be had
}

// Options configures Metrics.
type Options struct {
	Version    string
	Operations []string // every operation id
	Look       func(context.Context) Numbers
}

// Metrics counts and shows.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	known    map[string]bool
}

// other stands for an operation that was not named at the start.
const other = "other"

// broken is the class of an answer whose connection ended first.
const broken = "broken"

var classes = []string{"1xx", "2xx", "3xx", "4xx", "5xx", broken}

// New returns metrics whose series all exist already.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), known: map[string]bool{}}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strongroom_requests_total", Help: "Requests answered, by operation and class of status."},
		[]string{"operation", "class"})
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strongroom_request_duration_seconds", Help: "From a request's first byte to the end of its answer.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}}, []string{"operation"})
	for _, op := range append([]string{"unaudited", "unrouted", other}, o.Operations...) {
		m.known[op] = true
		for _, class := range classes {
			m.requests.WithLabelValues(op, class)
		}
		m.duration.WithLabelValues(op)
	}
	version, revision := o.Version, ""
	if version == "" {
		version = "development"
	}
	goVersion := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "strongroom_build_info", Help: "1; its labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go": goVersion}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.duration, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&looker{look: o.Look})
	return m
}

// Request counts one answer.
func (m *Metrics) Request(operation string, status int, took time.Duration) {
	if !m.known[operation] {
		operation = other
	}
	class := broken
	if status >= 100 && status < 600 {
		class = classes[status/100-1]
	}
	m.requests.WithLabelValues(operation, class).Inc()
	m.duration.WithLabelValues(operation).Observe(took.Seconds())
}

// Handler answers in the formats of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 15 * time.Second})
}

// looker asks the house. What was seen is shown for a moment, so that many who
// ask cost as much as one.
type looker struct {
	look func(context.Context) Numbers

	mu   sync.Mutex
	at   time.Time
	seen Numbers
}

const (
	lookFor   = 10 * time.Second
	lookFresh = 5 * time.Second
)

// Describe implements prometheus.Collector.
func (l *looker) Describe(out chan<- *prometheus.Desc) {
	for _, n := range numbers {
		out <- n.desc
	}
}

// Collect implements prometheus.Collector.
func (l *looker) Collect(out chan<- prometheus.Metric) {
	l.mu.Lock()
	if time.Since(l.at) > lookFresh {
		ctx, cancel := context.WithTimeout(context.Background(), lookFor)
		l.seen, l.at = l.look(ctx), time.Now()
		cancel()
	}
	seen := l.seen
	l.mu.Unlock()
	for _, n := range numbers {
		n.show(n.desc, seen, out)
	}
}

type number struct {
	desc *prometheus.Desc
	show func(*prometheus.Desc, Numbers, chan<- prometheus.Metric)
}

func one(name, help string, get func(Numbers) float64) number {
	return number{prometheus.NewDesc(name, help, nil, nil), func(d *prometheus.Desc, n Numbers, out chan<- prometheus.Metric) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, get(n))
	}}
}

func by(label, name, help string, get func(Numbers) map[string]float64) number {
	return number{prometheus.NewDesc(name, help, []string{label}, nil), func(d *prometheus.Desc, n Numbers, out chan<- prometheus.Metric) {
		for value, v := range get(n) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, value)
		}
	}}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var numbers = []number{
	one("strongroom_ready", "1 when the database and the key service answer.", func(n Numbers) float64 { return yes(n.Ready) }),
	by("pool", "strongroom_pool_open_connections", "Open connections to PostgreSQL.", func(n Numbers) map[string]float64 { return n.PoolOpen }),
	by("pool", "strongroom_pool_busy_connections", "Connections to PostgreSQL in use.", func(n Numbers) map[string]float64 { return n.PoolBusy }),
	one("strongroom_events_waiting", "Events on their way to their place in the log.", func(n Numbers) float64 { return n.EventsWaiting }),
	one("strongroom_events_lag_seconds", "Age of the oldest of them.", func(n Numbers) float64 { return n.EventsLag }),
	one("strongroom_log_chain_breaks", "Breaks of the chain of waiting events since the start.", func(n Numbers) float64 { return n.ChainBreaks }),
	by("state", "strongroom_keys_state", "1 for the state that the key service is in.", func(n Numbers) map[string]float64 {
		out := map[string]float64{"ok": 0, "degraded": 0, "damaged": 0, "unknown": 0}
		if _, known := out[n.KeysState]; known {
			out[n.KeysState] = 1
		} else {
			out["unknown"] = 1
		}
		return out
	}),
	one("strongroom_keys_epoch", "Epoch of the key store.", func(n Numbers) float64 { return n.KeysEpoch }),
	one("strongroom_keys_leases", "Servers that hold a lease of the key service.", func(n Numbers) float64 { return n.KeysServers }),
	one("strongroom_guardians_answering", "Guardians that answer.", func(n Numbers) float64 { return n.Guardians }),
	one("strongroom_zones_whole", "Copies of the key store that are whole.", func(n Numbers) float64 { return n.ZonesWhole }),
	by("state", "strongroom_jobs", "Jobs; failed: given up in the last day.", func(n Numbers) map[string]float64 { return n.Jobs }),
	one("strongroom_jobs_oldest_seconds", "How long the oldest job that is due has waited.", func(n Numbers) float64 { return n.JobsOldest }),
	one("strongroom_spare_schemas", "Schemas in stock for new organizations.", func(n Numbers) float64 { return n.SpareSchemas }),
	by("severity", "strongroom_alarms", "Alarms that have been told and are not over.", func(n Numbers) map[string]float64 { return n.Alarms }),
	by("standing", "strongroom_promises", "Promises, by how they stand.", func(n Numbers) map[string]float64 { return n.Promises }),
	by("store", "strongroom_disk_free_bytes", "Free room on the disk of a store.", func(n Numbers) map[string]float64 { return n.DiskFree }),
	by("source", "strongroom_certificate_end_timestamp_seconds", "When a certificate ends.", func(n Numbers) map[string]float64 { return n.CertificateEnd }),
	one("strongroom_numbers_missing", "Kinds of number above that could not be had.", func(n Numbers) float64 { return n.Missing }),
}
