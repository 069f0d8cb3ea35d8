package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/platform"
)

// door measures a protected, audited create and read against the bare
// statements, at the door itself: an organization for each connection, and one
// organization and person for all of them, where callers share transactions.
func (w *world) door(ctx context.Context, b *bench) error {
	for _, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		members := make([]*member, connections)
		for i := range members {
			var err error
			if members[i], err = w.organization(ctx, placement, i); err != nil {
				return err
			}
		}
		for _, shape := range []struct {
			name   string
			member func(int) *member
		}{
			{placement, func(i int) *member { return members[i] }},
			{placement + "_together", func(int) *member { return members[0] }},
		} {
			if err := w.through(ctx, b, shape.name, shape.member); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) through(ctx context.Context, b *bench, name string, member func(int) *member) error {
	var last [connections]atomic.Pointer[uuid.UUID]
	for _, of := range []struct {
		name, target string
		ours, theirs func(int) error
	}{
		{"create_", ">=0.5", func(i int) error { return w.create(ctx, member(i)) }, func(i int) error { return w.rawInsert(ctx, &last[i]) }},
		{"read_", ">=0.2", func(i int) error { return w.read(ctx, member(i)) }, func(i int) error { return w.rawSelect(ctx, &last[i]) }},
	} {
		ratio, own, err := b.pair(of.ours, of.theirs)
		if err != nil {
			return err
		}
		b.add(of.name+"ratio_"+name, ratio, "x", of.target)
		b.add(of.name+"rate_"+name, own, "1/s", "")
		if err := w.cost(b, of.name+name, of.ours, of.theirs); err != nil {
			return err
		}
	}
	return nil
}

// organizations measures what adding an organization takes: keys, place,
// owner and events. The owner is somebody who has an account, so no password
// is hashed in it.
func (w *world) organizations(ctx context.Context, b *bench) error {
	m, err := w.organization(ctx, platform.PlacementPooled, 40_000)
	if err != nil {
		return err
	}
	for _, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		var took []float64
		for range 15 {
			// Let the stock fill up again: the figure is for one from stock.
			time.Sleep(400 * time.Millisecond)
			code, _, err := w.app.Identity.MakeJoinCode(ctx, platform.Request{Actor: m.who})
			if err != nil {
				return err
			}
			start := time.Now()
			_, _, _, err = w.app.Identity.CreateOrg(ctx, platform.Request{Actor: identity.System(id.NewServer())}, identity.NewOrg{Name: "Bench", Placement: placement, OwnerCode: code.Code})
			if err != nil {
				return err
			}
			took = append(took, float64(time.Since(start).Microseconds())/1000)
		}
		b.add("add_organization_"+placement, median(took), "ms", "<=50")
	}
	return nil
}

// many measures the database's CPU for a read among many organizations, each
// read in turn so that no back-end stays with one.
func (w *world) many(ctx context.Context, b *bench) error {
	for i, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		owner, err := w.organization(ctx, platform.PlacementPooled, 70_000+i)
		if err != nil {
			return err
		}
		var members []*member
		cost := map[int]float64{}
		for _, n := range []int{10, 1000} {
			if members, err = w.found(ctx, owner, placement, members, n); err != nil {
				return err
			}
			var next atomic.Int64
			one := func(int) error { return w.read(ctx, members[int(next.Add(1))%n]) }
			if _, err := rate(3*b.each, one); err != nil {
				return err
			}
			before, calls := w.databaseCPU(), next.Load()
			if _, err := rate(3*b.each, one); err != nil {
				return err
			}
			cost[n] = (w.databaseCPU() - before) / float64(next.Load()-calls)
		}
		target := "<=1.5"
		if placement == platform.PlacementPooled {
			target = "<=1.2"
		}
		b.add("read_cpu_1000_to_10_"+placement, cost[1000]/cost[10], "x", target)
	}
	return nil
}

// found adds organizations until there are n, all of one owner: the measure is
// the database's, and hashing a password for each would take an hour.
func (w *world) found(ctx context.Context, owner *member, placement string, members []*member, n int) ([]*member, error) {
	from := len(members)
	roles := []policy.Role{policy.OrgAdmin, policy.Scientist, policy.Analyst}
	for len(members) < n {
		code, _, err := w.app.Identity.MakeJoinCode(ctx, platform.Request{Actor: owner.who})
		if err != nil {
			return nil, err
		}
		o, _, _, err := w.app.Identity.CreateOrg(ctx, platform.Request{Actor: identity.System(id.NewServer())},
			identity.NewOrg{Name: "Bench", Placement: placement, OwnerCode: code.Code})
		if err != nil {
			return nil, err
		}
		members = append(members, &member{org: o.ID})
	}
	for _, admin := range []bool{true, false} {
		// What the owner may is looked up once she owns all of them, and again
		// when she holds the roles.
		who, err := w.identify(ctx, owner)
		if err != nil {
			return nil, err
		}
		for _, m := range members[from:] {
			if m.who = who; !admin {
				if m.collection, err = w.declare(ctx, m); err == nil {
					err = w.create(ctx, m)
				}
			} else {
				_, _, err = w.app.Identity.UpdateMember(ctx, platform.Request{Actor: who, Org: m.org}, who.Person(), identity.MemberChange{Roles: &roles})
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return members, nil
}

// identify asks who the owner is until what changed just now is known.
func (w *world) identify(ctx context.Context, owner *member) (actor.Actor, error) {
	time.Sleep(2 * identity.Freshness)
	token, err := identity.ParseToken(owner.token)
	if err != nil {
		return actor.Actor{}, err
	}
	return w.app.Identity.Identify(ctx, token)
}

// databaseCPU sums the seconds that the cluster's processes have used.
func (w *world) databaseCPU() (seconds float64) {
	root := strconv.Itoa(w.cluster.PID())
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+2:])
		pid := filepath.Base(filepath.Dir(f))
		if len(fields) < 2 || fields[1] != root && pid != root {
			continue
		}
		s, err := os.ReadFile(filepath.Join(filepath.Dir(f), "schedstat"))
		if err != nil {
			continue
		}
		ns, _, _ := strings.Cut(string(s), " ")
		v, _ := strconv.ParseFloat(ns, 64)
		seconds += v / 1e9
	}
	return seconds
}

// cost adds what one call takes of the processor on both sides, which a busy
// machine disturbs less than the rates.
func (w *world) cost(b *bench, name string, ours, theirs func(int) error) error {
	for _, side := range []struct {
		name string
		f    func(int) error
	}{{"", ours}, {"raw_", theirs}} {
		client, database := selfCPU(), w.databaseCPU()
		start := time.Now()
		n, err := rate(b.each, side.f)
		if err != nil {
			return err
		}
		calls := n * time.Since(start).Seconds()
		b.add("cpu_"+side.name+name+"_server", (selfCPU()-client)/calls*1e6, "µs", "")
		b.add("cpu_"+side.name+name+"_database", (w.databaseCPU()-database)/calls*1e6, "µs", "")
	}
	return nil
}

func selfCPU() float64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
