package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom/internal/app/alarm"
	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/osproc"
)

// watch is how the supervisor looks after what it runs: it sees what the
// server cannot say of itself, asks the server for the rest, and keeps the
// book of alarms. It is the one process that is there while others are not;
// what happens when it dies itself is told by whoever started it (systemd) and
// by a look at /readyz from elsewhere.
type watch struct {
	book     *alarm.Book
	services *Services
	status   func() []supervisor.Status
	layout   datadir.Layout
	reader   *osproc.User // who may read the supervisor's files
	server   *http.Client
	log      *slog.Logger

	written  string
	restarts map[string][]time.Time
	counted  map[string]int
}

// The pace of the watch.
const (
	watchEvery  = 5 * time.Second
	askTime     = 15 * time.Second
	flapping    = 3 // restarts
	flappingFor = 15 * time.Minute
)

func newWatch(cfg config.Config, dir datadir.Layout, users datadir.Users, adminPath, url, version string, log *slog.Logger) (*watch, error) {
	out, err := loadOutgoing(cfg, dir)
	if err != nil {
		return nil, err
	}
	again, err := cfg.AlarmsAgain()
	if err != nil {
		return nil, err
	}
	book, err := alarm.Open(alarm.BookOptions{File: filepath.Join(dir.Path(), alarmsFile), Reader: users.Server, Destinations: couriers(out, users.Server),
		Again: again, Installation: url, Version: version, Log: log})
	if err != nil {
		return nil, err
	}
	return &watch{book: book, layout: dir, reader: users.Server, log: log, server: overSocket(adminPath),
		services: &Services{Version: version, PID: os.Getpid(), URL: url, StartedAt: time.Now().UTC().Truncate(time.Second)},
		restarts: map[string][]time.Time{}, counted: map[string]int{}}, nil
}

// overSocket is a client of the operator's socket.
func overSocket(path string) *http.Client {
	return &http.Client{Timeout: askTime, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
}

// run looks until ctx ends. It begins when everything is up: before, a start
// that fails is told by the error that it ends with.
func (w *watch) run(ctx context.Context) {
	delivered := make(chan struct{}, 1)
	delivered <- struct{}{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-delivered:
			// A mail server that hangs must not keep the watch from looking.
			go func() {
				if err := w.book.Deliver(ctx); err != nil {
					w.log.Error("the book of alarms cannot be written", "error", err)
				}
				delivered <- struct{}{}
			}()
		default:
		}
		select {
		case <-ctx.Done():
			<-delivered
			return
		case <-tick.C:
		}
	}
}

func (w *watch) look(ctx context.Context) {
	found := w.processes(time.Now())
	disks, err := Disks(w.layout)
	if err != nil {
		found = append(found, alarm.Condition{Name: "disk", Severity: alarm.Critical, Text: err.Error()})
	}
	for _, d := range disks {
		if s := diskTrouble(d); s != "" {
			found = append(found, alarm.Condition{Name: "disk/" + d.Holds[0], Severity: s, Text: diskText(d)})
		}
	}
	seen, err := w.ask(ctx)
	if ctx.Err() != nil {
		return // it is being stopped: nothing is wrong
	}
	if err != nil {
		found = append(found, alarm.Condition{Name: "ready", Severity: alarm.Critical, Text: "the server does not answer: " + oneSentence(err)})
	}
	if err := w.book.Update(append(found, seen...)); err != nil {
		w.log.Error("the book of alarms cannot be written", "error", err)
	}
	if err := w.write(); err != nil {
		w.log.Error("the state of the services cannot be written", "error", err)
	}
}

func oneSentence(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// processes says which of the services are down, or come and go.
func (w *watch) processes(now time.Time) (found []alarm.Condition) {
	for _, s := range w.status() {
		if s.State != supervisor.Up {
			found = append(found, alarm.Condition{Name: "process/" + s.Name, Severity: alarm.Critical,
				Text: fmt.Sprintf("%s is %s since %s", s.Name, s.State, s.Since.UTC().Format(time.RFC3339))})
		}
		for ; w.counted[s.Name] < s.Restarts; w.counted[s.Name]++ {
			w.restarts[s.Name] = append(w.restarts[s.Name], now)
		}
		at := w.restarts[s.Name]
		for len(at) > 0 && now.Sub(at[0]) > flappingFor {
			at = at[1:]
		}
		w.restarts[s.Name] = at
		if len(at) >= flapping {
			found = append(found, alarm.Condition{Name: "restarts/" + s.Name, Severity: alarm.Warning,
				Text: fmt.Sprintf("%s ended and was started again %d times within %v; its log says why", s.Name, len(at), flappingFor)})
		}
	}
	return found
}

// maxConditions bounds what the server may say.
const maxConditions = 256 << 10

func (w *watch) ask(ctx context.Context) (out []alarm.Condition, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://the-admin-socket/conditions", nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.server.Do(req)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return out, json.NewDecoder(io.LimitReader(resp.Body, maxConditions)).Decode(&out)
}

// write tells others how the services are.
func (w *watch) write() error {
	w.services.Services = servicesOf(w.status())
	text, err := json.Marshal(w.services)
	if err != nil || string(text) == w.written {
		return err
	}
	if err := alarm.WriteFile(servicesPath(w.layout), text, w.reader); err != nil {
		return err
	}
	w.written = string(text)
	return nil
}
