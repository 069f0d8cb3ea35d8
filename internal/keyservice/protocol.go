package keyservice

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/keyfile"
	"strongroom/internal/keyservice/internal/wire"
)

// The calls of the key service; docs/key-service.md specifies them.
type (
	heartbeatRequest struct {
		Client string `json:"client"` // 32 hexadecimal digits, one for each start of a server
		Serial uint64 `json:"serial"` // nothing older is in the client's cache
	}
	heartbeatAnswer struct {
		Serial      uint64 `json:"serial"`       // caches of another serial are to be dropped
		LeaseMillis int64  `json:"lease_millis"` // counted from when the request was sent
	}
	createRequest struct {
		Org id.Org `json:"org"`
	}
	pageRequest struct {
		Client     string `json:"client"`
		Org        id.Org `json:"org"`
		Generation uint32 `json:"generation"` // 0: the current one
		Page       uint16 `json:"page"`
	}
	pageAnswer struct {
		Generation uint32 `json:"generation"`
		Current    uint32 `json:"current"`
		Serial     uint64 `json:"serial"`
		Cover      []byte `json:"cover"` // docs/key-tree.md, base64
	}
	leaseRequest struct {
		Org   id.Org `json:"org"`
		Count uint32 `json:"count"`
	}
	leaseAnswer struct {
		First uint32 `json:"first"`
		Count uint32 `json:"count"` // may be less than was asked for, never 0
	}
	rotateAnswer struct {
		Epoch        uint64                 `json:"epoch"`
		Attestations []guardian.Attestation `json:"attestations"`
	}
	checkRequest struct {
		Nonce wire.Hash `json:"nonce"`
	}
	checkAnswer struct {
		Paths []checkPath `json:"paths"`
	}
	// checkPath is one way from a guardian's key through a zone's bytes to a
	// leaf: what it derived, as a proof that shows no key, or why it could not.
	checkPath struct {
		Guardian string    `json:"guardian"`
		Zone     string    `json:"zone"`
		Proof    wire.Hash `json:"proof"`
		Failure  string    `json:"failure"`
	}
)

// Status is the state of the key service, its zones and its guardians.
type Status struct {
	State         string           `json:"state"`   // ok; degraded: reads go on and writes wait; damaged: keys are lost
	Trouble       []string         `json:"trouble"` // one sentence each
	Epoch         uint64           `json:"epoch"`
	EpochSince    time.Time        `json:"epoch_since"`
	Revision      uint64           `json:"revision"`
	Fence         uint64           `json:"fence"`
	Organizations int              `json:"organizations"`
	Servers       int              `json:"servers"` // that hold a lease
	Zones         []ZoneStatus     `json:"zones"`
	Guardians     []GuardianStatus `json:"guardians"`
	Healed        uint64           `json:"healed"` // files repaired since the start
	Lost          uint64           `json:"lost"`   // reads since the start that no zone could serve
	Grade         string           `json:"grade"`  // demo, or independent
	GradeReasons  []string         `json:"grade_reasons"`
}

// ZoneStatus is one copy of the store.
type ZoneStatus struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Whole  bool   `json:"whole"` // holds the root of the current revision
}

// GuardianStatus is one guardian, as last seen.
type GuardianStatus struct {
	Name     string    `json:"name"`
	Socket   string    `json:"socket"`
	Guardian string    `json:"guardian"`
	Grade    string    `json:"grade"`
	Answers  bool      `json:"answers"`
	Counted  uint64    `json:"counted"` // revision
	SeenAt   time.Time `json:"seen_at"`
}

func (s *service) handler() http.Handler {
	m := http.NewServeMux()
	m.Handle("POST /v1/heartbeat", wire.Handle(s.log, s.heartbeat))
	m.Handle("POST /v1/create", wire.Handle(s.log, s.create))
	m.Handle("POST /v1/page", wire.Handle(s.log, s.page))
	m.Handle("POST /v1/lease", wire.Handle(s.log, s.lease))
	m.Handle("POST /v1/rotate", wire.Handle(s.log, s.rotate))
	m.Handle("POST /v1/status", wire.Handle(s.log, s.status))
	m.Handle("POST /v1/check", wire.Handle(s.log, s.check))
	return m
}

// maxMembers bounds the servers of one key service.
const maxMembers = 1024

// leads refuses when no guardian has agreed for the time of a lease that this
// service's revision is the newest: another one may have punctured leaves.
func (s *service) leads() error {
	if silent := time.Since(s.began) - time.Duration(s.confirmed.Load()); silent > MaxLease {
		return wire.Errorf(wire.Unavailable, "no guardian has answered for %s, so this key service cannot know that it still leads", silent.Round(time.Second))
	}
	return nil
}

func (s *service) heartbeat(_ context.Context, r heartbeatRequest) (heartbeatAnswer, error) {
	if b, err := hex.DecodeString(r.Client); err != nil || len(b) != 16 {
		return heartbeatAnswer{}, wire.Errorf(wire.Malformed, "client is not 32 hexadecimal digits")
	}
	if err := s.leads(); err != nil {
		return heartbeatAnswer{}, err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.clients[r.Client]
	if !ok {
		for name, old := range s.clients {
			if now.After(old.expires) {
				delete(s.clients, name)
			}
		}
		if len(s.clients) == maxMembers {
			return heartbeatAnswer{}, wire.Errorf(wire.Unavailable, "%d servers hold a lease, which is the most", maxMembers)
		}
		m = &member{}
		s.clients[r.Client] = m
	}
	m.serial, m.expires = r.Serial, now.Add(s.o.Lease)
	return heartbeatAnswer{Serial: s.store.cur.Load().root.Serial, LeaseMillis: s.o.Lease.Milliseconds()}, nil
}

func (s *service) holdsLease(client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.clients[client]
	return ok && time.Now().Before(m.expires)
}

func (s *service) create(ctx context.Context, r createRequest) (wire.Empty, error) {
	if r.Org.IsZero() {
		return wire.Empty{}, wire.Errorf(wire.Malformed, "org is missing")
	}
	_, err := s.submit(ctx, &request{create: r.Org.UUID()})
	return wire.Empty{}, err
}

func (s *service) page(_ context.Context, r pageRequest) (pageAnswer, error) {
	if !s.holdsLease(r.Client) {
		return pageAnswer{}, wire.Errorf(wire.Conflict, "the client holds no lease")
	}
	c, gen, cur, serial, err := s.store.cover(r.Org.UUID(), r.Generation, r.Page)
	if err != nil {
		return pageAnswer{}, err
	}
	defer c.Wipe()
	return pageAnswer{Generation: gen, Current: cur, Serial: serial, Cover: c.Marshal()}, nil
}

func (s *service) lease(ctx context.Context, r leaseRequest) (leaseAnswer, error) {
	if r.Count == 0 || r.Count > maxBlock {
		return leaseAnswer{}, wire.Errorf(wire.Malformed, "count is not 1 to %d", maxBlock)
	}
	first, n, err := s.take(ctx, r.Org.UUID(), uint64(r.Count))
	return leaseAnswer{First: uint32(first), Count: uint32(n)}, err
}

func (s *service) rotate(ctx context.Context, _ wire.Empty) (rotateAnswer, error) {
	res, err := s.submit(ctx, &request{rotate: true})
	if err != nil {
		return rotateAnswer{}, err
	}
	return rotateAnswer{Epoch: s.store.cur.Load().root.Epoch, Attestations: res.attested}, nil
}

func (s *service) status(context.Context, wire.Empty) (Status, error) {
	s.store.files.RLock()
	defer s.store.files.RUnlock()
	st := s.store.cur.Load()
	out := Status{
		State: "ok", Trouble: []string{}, Epoch: st.root.Epoch, EpochSince: time.Unix(st.root.Since, 0).UTC(), Revision: st.root.Revision,
		Fence: st.root.Fence, Organizations: st.organizations(), Healed: s.store.healed.Load(), Lost: s.store.lost.Load(),
		Zones: []ZoneStatus{}, Guardians: []GuardianStatus{}, Grade: "demo",
		// The guardians' sockets are of this host: while that is the only way
		// to reach one, a stolen host is every guardian.
		GradeReasons: []string{"the guardians run on the host of the key service"},
	}
	if !s.store.settled.Load() {
		out.State = "degraded"
		if t := s.store.trouble.Load(); t != nil {
			out.Trouble = *t
		}
		if len(out.Trouble) == 0 {
			out.Trouble = []string{"the store is being checked: keys can be read; new organizations and leases wait"}
		}
	}
	if out.Lost > 0 {
		out.State = "damaged"
		out.Trouble = append(out.Trouble[:len(out.Trouble):len(out.Trouble)], "keys of an organization are whole in no zone; the log names them")
	}
	f := keyfile.ID{Kind: keyfile.KindRoot, Epoch: st.root.Epoch, Revision: st.root.Revision}
	for _, z := range s.store.zones {
		zs := ZoneStatus{Name: z.name, Path: z.path}
		if o, err := z.held(); err == nil {
			zs.Device, _ = o.dir.Device()
		}
		_, err := z.read(f, st.hash)
		zs.Whole = err == nil
		out.Zones = append(out.Zones, zs)
	}
	if out.Zones[0].Device == out.Zones[1].Device {
		out.GradeReasons = append(out.GradeReasons, "both zones are on one device")
	}
	for _, w := range s.store.wards {
		g := GuardianStatus{Name: w.name, Socket: w.client.Socket()}
		if l := w.last.Load(); l != nil {
			g.Guardian, g.Grade, g.Answers, g.Counted, g.SeenAt = l.Guardian, l.Grade, l.err == nil, l.count.Revision, l.at.UTC()
		}
		out.Guardians = append(out.Guardians, g)
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.clients {
		if now.Before(m.expires) {
			out.Servers++
		}
	}
	return out, nil
}

// checkLeaf is what the self-check derives: a reserved leaf of the
// installation that nothing is sealed under.
const checkLeaf = keytree.FirstLease - 1

func proof(k keytree.Key, nonce wire.Hash) (p wire.Hash) {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte("strongroom/keyservice/check/v1"))
	m.Write(nonce[:])
	m.Sum(p[:0])
	return p
}

// check derives the installation's check leaf anew for every guardian and
// every zone: from the key that the guardian holds now and the bytes that
// the disk holds now, using nothing that this process remembers.
func (s *service) check(ctx context.Context, r checkRequest) (checkAnswer, error) {
	out := checkAnswer{Paths: []checkPath{}}
	for _, w := range s.store.wards {
		for _, z := range s.store.zones {
			p := checkPath{Guardian: w.name, Zone: z.name}
			k, err := s.store.derive(ctx, w, z, id.Installation.UUID(), checkLeaf)
			if err != nil {
				p.Failure = err.Error()
			} else {
				p.Proof = proof(k, r.Nonce)
			}
			out.Paths = append(out.Paths, p)
		}
	}
	return out, nil
}

// derive goes from one guardian's key through one zone's bytes to a leaf of
// an organization's current generation.
func (s *store) derive(ctx context.Context, w *ward, z *zone, org uuid.UUID, leaf keytree.Leaf) (k keytree.Key, err error) {
	var g guardian.Fetched
	if err := w.call(ctx, "fetch", func(ctx context.Context) (err error) { g, err = w.client.Fetch(ctx); return }); err != nil {
		return k, err
	}
	if g.Current == nil || g.EMK == nil {
		return k, fmt.Errorf("guardian %s is empty", w.name)
	}
	s.files.RLock()
	defer s.files.RUnlock()
	o, err := z.held()
	if err != nil {
		return k, err
	}
	have, err := z.list()
	if err != nil {
		return k, err
	}
	var newest keyfile.ID
	for f := range have {
		if f.Kind == keyfile.KindRoot && f.Epoch == g.Current.Epoch && f.Revision >= newest.Revision {
			newest = f
		}
	}
	read := func(f keyfile.ID, k keyfile.Key, want *keyfile.Hash) ([]byte, error) {
		b, err := o.at(f).Read(f.Name())
		if err == nil && want != nil && keyfile.Sum(b) != *want {
			err = keyfile.ErrDamaged
		}
		if err == nil {
			b, err = keyfile.Open(f, k, b)
		}
		if err != nil {
			return nil, fmt.Errorf("zone %s: %s: %w", z.name, f.Name(), err)
		}
		return b, nil
	}
	plain, err := read(newest, keyfile.Key(*g.EMK), nil)
	if err != nil {
		return k, err
	}
	rt, err := keyfile.ParseRoot(plain)
	clear(plain)
	if err != nil {
		return k, err
	}
	pr := rt.Pages[keyfile.PageOf(org)]
	plain, err = read(keyfile.ID{Kind: keyfile.KindPage, Number: keyfile.PageOf(org), Revision: pr.Revision}, pr.Key, &pr.Hash)
	if err != nil {
		return k, err
	}
	es, err := keyfile.ParsePage(keyfile.PageOf(org), plain)
	clear(plain)
	if err != nil {
		return k, err
	}
	i, ok := keyfile.Find(es, org)
	if !ok {
		return k, errUnknownOrg
	}
	gen := es[i].Current()
	t, err := openTop(es[i], gen, z.read)
	if err != nil {
		return k, err
	}
	defer t.Tree.Wipe()
	if r, ok := t.Splits[leaf.Page()]; ok {
		plain, err := read(keyfile.ID{Kind: keyfile.KindSplit, Org: org, Generation: gen.Number, Page: leaf.Page(), Revision: r.Revision}, r.Key, &r.Hash)
		if err != nil {
			return k, err
		}
		defer clear(plain)
		c, err := keytree.ParseCover(plain)
		if err == nil {
			err = t.Tree.Load(c)
		}
		if err != nil {
			return k, err
		}
	}
	return t.Tree.Derive(leaf)
}
