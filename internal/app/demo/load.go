package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/client"
)

// ErrOccupied says that the installation is not for the demo to fill, or not
// any more: somebody else runs it, or changed a password of the demo's people.
var ErrOccupied = errors.New("the installation has people of its own: the demo fills an empty one only")

// Options says where to load the demo, and how its people sign in.
type Options struct {
	Client *client.Client // of the server; calls as nobody
	// CreateAdmin makes the first system administrator, which no API does. It
	// returns false where there is one already.
	CreateAdmin func(ctx context.Context, name, email string, password client.Secret) (bool, error)
	// Password returns the password of a person of the demo, the same one at
	// every call: the loader signs in again after a restart.
	Password func(ctx context.Context, email string) (client.Secret, error)
}

// Account is a person of the demo who can sign in.
type Account struct {
	Organization string // "": the installation
	Name         string
	Email        string
	Duty         string
	Roles        []client.Role
	Owner        bool
	Password     client.Secret
}

const adminEmail, adminName = "admin@strongroom.example", "System administrator"

// Load loads what is missing of the demo and returns its accounts.
func Load(ctx context.Context, o Options) ([]Account, error) {
	all, err := organizations()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	accounts, err := o.accounts(ctx, all)
	if err != nil {
		return nil, err
	}
	admin, err := o.admin(ctx, accounts[0])
	if err != nil {
		return nil, err
	}
	defer signOut(ctx, admin)
	passwords := map[string]client.Secret{}
	for _, a := range accounts {
		passwords[a.Email] = a.Password
	}
	loaders := make([]*loader, len(all))
	for i, org := range all {
		l := &loader{org: org, nobody: o.Client, passwords: passwords, as: map[string]*client.Client{}, files: map[string]string{}, records: map[string]*held{}}
		loaders[i] = l
		defer func() { signOut(ctx, slices.Collect(maps.Values(l.as))...) }()
		if err := l.found(ctx, admin); err != nil {
			return nil, fmt.Errorf("demo: %s: %w", org.Name, err)
		}
	}
	g, run := errgroup.WithContext(ctx)
	for _, l := range loaders {
		g.Go(func() error {
			if err := l.load(run); err != nil {
				return fmt.Errorf("demo: %s: %w", l.org.Name, err)
			}
			return nil
		})
	}
	return accounts, g.Wait()
}

func (o Options) accounts(ctx context.Context, all []organization) ([]Account, error) {
	accounts := []Account{{Name: adminName, Email: adminEmail, Duty: "runs the installation, sees nobody's data", Roles: []client.Role{client.SystemAdmin}}}
	for _, org := range all {
		for _, p := range org.People {
			accounts = append(accounts, Account{Organization: org.Name, Name: p.Name, Email: p.Email, Duty: p.Duty, Roles: p.Roles, Owner: p.Owner})
		}
	}
	for i := range accounts {
		var err error
		if accounts[i].Password, err = o.Password(ctx, accounts[i].Email); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	return accounts, nil
}

// admin signs the system administrator in, and makes her the first time.
func (o Options) admin(ctx context.Context, a Account) (*client.Client, error) {
	in, err := o.Client.SignIn(ctx, a.Email, a.Password)
	if client.Status(err) == http.StatusUnauthorized {
		made, cerr := o.CreateAdmin(ctx, a.Name, a.Email, a.Password)
		if cerr != nil {
			return nil, fmt.Errorf("demo: the first administrator: %w", cerr)
		}
		if !made {
			return nil, ErrOccupied
		}
		in, err = o.Client.SignIn(ctx, a.Email, a.Password)
	}
	if err != nil {
		return nil, fmt.Errorf("demo: the first administrator: %w", err)
	}
	return o.Client.WithToken(in.Token), nil
}

// signOut leaves no sessions behind. One that stays ends by itself.
func signOut(ctx context.Context, all ...*client.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, c := range all {
		_ = c.SignOut(ctx)
	}
}

// loader loads one organization.
type loader struct {
	org       organization
	nobody    *client.Client
	passwords map[string]client.Secret
	id        string                    // of the organization
	as        map[string]*client.Client // by person's key
	files     map[string]string         // ids, by path as in a link
	records   map[string]*held          // by ref
}

// held is a record that the server has.
type held struct {
	id      string
	version int64
	fresh   bool // made just now, with its links
}

func (l *loader) load(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"members", l.members},
		{"collections", l.collections},
		{"files", l.upload},
		{"records", l.create},
		{"versions", l.revise},
		{"links", l.connect},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (l *loader) owner() person {
	return l.org.People[slices.IndexFunc(l.org.People, func(p person) bool { return p.Owner })]
}

func (l *loader) signIn(ctx context.Context, p person) (client.SignedIn, error) {
	in, err := l.nobody.SignIn(ctx, p.Email, l.passwords[p.Email])
	if err == nil {
		l.as[p.Key] = l.nobody.WithToken(in.Token)
	}
	return in, err
}

// found finds the organization through its owner, or makes both: whether there
// is one shows by whether the owner can sign in.
func (l *loader) found(ctx context.Context, admin *client.Client) error {
	p := l.owner()
	in, err := l.signIn(ctx, p)
	if client.Status(err) == http.StatusUnauthorized {
		// Not to be called off half way: an organization without its owner could
		// not be taken up again.
		_, err = admin.CreateOrganization(context.WithoutCancel(ctx), client.NewOrganization{Name: l.org.Name, Placement: l.org.Placement,
			Owner: client.NewMember{Email: p.Email, Name: p.Name, Password: l.passwords[p.Email]}})
		if client.Status(err) == http.StatusConflict {
			return ErrOccupied // the account exists and has another password
		}
		if err != nil {
			return err
		}
		in, err = l.signIn(ctx, p)
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(in.Organizations, func(o client.Organization) bool { return o.Name == l.org.Name })
	if i < 0 {
		return ErrOccupied
	}
	l.id = in.Organizations[i].ID
	if !holds(in.Organizations[i].Roles, p.Roles) {
		_, err = l.as[p.Key].UpdateMember(ctx, l.id, in.Person.ID, client.MemberChange{Roles: p.Roles})
	}
	return err
}

func holds(has, want []client.Role) bool {
	return !slices.ContainsFunc(want, func(r client.Role) bool { return !slices.Contains(has, r) })
}

func (l *loader) members(ctx context.Context) error {
	owner := l.as[l.owner().Key]
	there := map[string]bool{}
	for m, err := range owner.Members(ctx, l.id) {
		if err != nil {
			return err
		}
		there[m.Email] = true
	}
	for _, p := range l.org.People {
		if !there[p.Email] {
			_, err := owner.AddMember(ctx, l.id, client.NewMember{Email: p.Email, Name: p.Name, Password: l.passwords[p.Email], Roles: p.Roles})
			if client.Status(err) == http.StatusConflict {
				return ErrOccupied
			}
			if err != nil {
				return err
			}
		}
		// Only who makes something has to sign in.
		makes := slices.ContainsFunc(l.org.Records, func(e entry) bool { return e.By == p.Key })
		if l.as[p.Key] != nil || !makes {
			continue
		}
		if _, err := l.signIn(ctx, p); client.Status(err) == http.StatusUnauthorized {
			return ErrOccupied
		} else if err != nil {
			return err
		}
	}
	return nil
}

// collections starts those of the kit.
func (l *loader) collections(ctx context.Context) error {
	k, err := l.as[l.owner().Key].InstallKit(ctx, l.id, l.org.Kit)
	if err == nil && !k.Installed {
		err = errors.New("the kit is not installed as a whole")
	}
	return err
}

// page is the server's largest.
var page = client.List{Limit: 200}

// upload stores the files. A file that is there has the same name and size:
// the names in one organization differ.
func (l *loader) upload(ctx context.Context) error {
	seen := map[string]map[string]client.File{} // by person: what is private shows to its owner alone
	for _, u := range l.org.uploads() {
		c := l.as[u.by]
		if seen[u.by] == nil {
			seen[u.by] = map[string]client.File{}
			for f, err := range client.Items(ctx, page, func(ctx context.Context, p client.List) (client.Page[client.File], error) {
				return c.ListFiles(ctx, l.id, p)
			}) {
				if err != nil {
					return err
				}
				seen[u.by][f.Name] = f
			}
		}
		content, err := embedded.ReadFile(l.org.at(u.file))
		if err != nil {
			return err
		}
		name := path.Base(u.file)
		if f, ok := seen[u.by][name]; ok && f.Size == int64(len(content)) {
			l.files[u.file] = f.ID
			continue
		}
		f, err := c.UploadFile(ctx, l.id, client.Upload{Name: name, MediaType: mediaType(name), Visibility: visibility(u.private), Size: int64(len(content)), Body: bytes.NewReader(content)})
		if err != nil {
			return fmt.Errorf("%s: %w", u.file, err)
		}
		l.files[u.file] = f.ID
	}
	return nil
}

func visibility(private bool) string {
	if private {
		return client.ForOwner
	}
	return client.ForOrganization
}

// create makes the records that are not there.
func (l *loader) create(ctx context.Context) error {
	identity := map[string]string{}
	for _, c := range l.org.Collections {
		identity[c.Kind] = c.Identity
	}
	listed := map[string]bool{}
	together := map[[2]string][]entry{} // by kind and person
	var order [][2]string
	for _, e := range l.org.Records {
		key := [2]string{e.Kind, e.By}
		if k := strings.Join(key[:], "/"); !listed[k] {
			listed[k] = true
			if err := l.list(ctx, e.Kind, identity[e.Kind], l.as[e.By]); err != nil {
				return err
			}
		}
		switch {
		case l.records[e.ref()] != nil:
		case e.bulk:
			if together[key] == nil {
				order = append(order, key)
			}
			together[key] = append(together[key], e)
		default:
			r, err := l.as[e.By].CreateRecord(ctx, l.id, e.Kind, l.with(e))
			if err != nil {
				return fmt.Errorf("%s: %w", e.ref(), err)
			}
			l.records[e.ref()] = &held{r.ID, r.Version, true}
		}
	}
	// A link leads to what stands above it, so the kinds come in their order.
	for _, key := range order {
		for chunk := range slices.Chunk(together[key], client.MaxBulk) {
			items := make([]client.NewRecord, len(chunk))
			for i, e := range chunk {
				items[i] = l.with(e)
			}
			made, err := l.as[key[1]].CreateRecords(ctx, l.id, key[0], items)
			if err == nil && len(made) != len(chunk) {
				err = errors.New("the server made another number of records than it was asked for")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", key[0], err)
			}
			for i, e := range chunk {
				l.records[e.ref()] = &held{made[i].ID, made[i].Version, true}
			}
		}
	}
	return nil
}

// with is a record that is made together with its links.
func (l *loader) with(e entry) client.NewRecord {
	n := e.new(e.Content)
	for _, k := range e.Links {
		n.Links = append(n.Links, client.NewLink{Relation: k.Relation, To: l.target(k)})
	}
	return n
}

// target is the identifier of what a link leads to.
func (l *loader) target(k link) string {
	if k.File != "" {
		return l.files[k.File]
	}
	return l.records[k.To].id
}

func (e entry) new(content []byte) client.NewRecord {
	return client.NewRecord{Content: content, Visibility: visibility(e.Private)}
}

// list remembers the records of a collection that c can see.
func (l *loader) list(ctx context.Context, kind, identity string, c *client.Client) error {
	for r, err := range client.Items(ctx, page, func(ctx context.Context, p client.List) (client.Page[client.Record], error) {
		return c.ListRecords(ctx, l.id, kind, p)
	}) {
		if err != nil {
			return err
		}
		// What somebody else wrote need not have a name.
		name, err := nameOf(r.Content, identity)
		if err != nil {
			continue
		}
		if ref := kind + "/" + name; l.records[ref] == nil {
			l.records[ref] = &held{r.ID, r.Version, false}
		}
	}
	return nil
}

// revise makes the second versions, so that there is a history to see.
func (l *loader) revise(ctx context.Context) error {
	for _, e := range l.org.Records {
		h := l.records[e.ref()]
		if e.Then == nil || h.version > 1 {
			continue
		}
		if _, err := l.as[e.By].ReplaceRecord(ctx, l.id, e.Kind, h.id, h.version, e.new(e.Then)); err != nil {
			return fmt.Errorf("%s: %w", e.ref(), err)
		}
	}
	return nil
}

// connect makes the links of records that were there and lack some.
func (l *loader) connect(ctx context.Context) error {
	for _, e := range l.org.Records {
		h, c := l.records[e.ref()], l.as[e.By]
		if len(e.Links) == 0 || h.fresh {
			continue
		}
		there := map[[2]string]bool{}
		for k, err := range c.Links(ctx, l.id, e.Kind, h.id) {
			if err != nil {
				return fmt.Errorf("%s: %w", e.ref(), err)
			}
			if k.Direction == "out" {
				there[[2]string{k.To, k.Relation}] = true
			}
		}
		for _, k := range e.Links {
			to := l.target(k)
			if there[[2]string{to, k.Relation}] {
				continue
			}
			if _, err := c.CreateLink(ctx, l.id, e.Kind, h.id, to, k.Relation); err != nil {
				return fmt.Errorf("%s: link to %s%s: %w", e.ref(), k.To, k.File, err)
			}
		}
	}
	return nil
}
