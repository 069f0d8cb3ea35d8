package app

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"strongroom/client"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/demo"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/osproc"
	"strongroom/internal/store/platform"
)

// DemoFile is the file in the data directory that says who can sign in to the
// demo. While something stands in it, the demo is loaded and left alone.
const DemoFile = "demo-accounts.txt"

// PrepareDemo makes the empty file: the data directory belongs to whoever runs
// the installation, and the server may write what is its own alone.
func PrepareDemo(l datadir.Layout, server *osproc.User) error {
	name := filepath.Join(l.Path(), DemoFile)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Chmod(name, 0o600), server.Own(name))
	}
	if err != nil {
		return fmt.Errorf("the demo's accounts: %w", err)
	}
	return nil
}

// demo fills an empty installation with the demo's organizations.
func (a *App) demo(ctx context.Context) error { return a.LoadDemo(ctx) }

// LoadDemo fills an empty installation with the demo's organizations, through
// the server's own API, and writes down who can sign in. Broken off, it goes on
// where it stopped; done, it does nothing any more.
func (a *App) LoadDemo(ctx context.Context) error {
	name := filepath.Join(a.options.DataDir, DemoFile)
	sheet, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = sheet.Close() }()
	if info, err := sheet.Stat(); err != nil || info.Size() > 0 {
		return err
	}
	c, err := a.loopback()
	if err != nil {
		return err
	}
	defer c.Close()
	a.Log.Info("loading the demo: three organizations with real files")
	accounts, err := demo.Load(ctx, a.DemoOptions(c))
	if errors.Is(err, demo.ErrOccupied) {
		a.Log.Warn("the demo is not loaded", "cause", err)
		return nil
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	at := a.public.url
	a.mu.Unlock()
	// In one write: a start that finds half a sheet would take it for a whole.
	if _, err := sheet.WriteString(demo.Sheet(accounts, at, a.options.DataDir)); err != nil {
		return err
	}
	if err := sheet.Sync(); err != nil {
		return err
	}
	a.Log.Info("the demo is loaded; who can sign in to it stands in the file", "file", name)
	return nil
}

// DemoOptions says how the demo is loaded into this installation through c.
func (a *App) DemoOptions(c *client.Client) demo.Options {
	return demo.Options{Client: c, Password: a.demoPassword,
		CreateAdmin: func(ctx context.Context, name, email string, password client.Secret) (bool, error) {
			if has, err := a.Identity.HasSystemAdmin(ctx); err != nil || has {
				return false, err
			}
			_, _, err := a.Identity.CreateSystemAdmin(ctx, platform.Request{Actor: identity.System(a.server)},
				identity.NewPerson{Address: email, Name: name, Password: seal.NewSecretString(password.Reveal())})
			return err == nil, err
		}}
}

// loopback is a client of this server. Where it listens on every address, it is
// reached on this machine's own, which its certificate names.
func (a *App) loopback() (*client.Client, error) {
	a.mu.Lock()
	at, err := url.Parse(a.public.url)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(at.Hostname()); ip != nil && ip.IsUnspecified() {
		at.Host = net.JoinHostPort("localhost", at.Port())
	}
	ca, err := os.ReadFile(filepath.Join(datadir.At(a.options.DataDir).TLS(), tlsca.CAFile))
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{URL: at.String(), CA: ca, UserAgent: "strongroom-demo"})
}

// demoPassword derives a password of the demo from the installation's keys, as
// a canary's is: a start that was broken off knows it again, and nothing is
// stored. Its hundred bits are written for people to type.
func (a *App) demoPassword(ctx context.Context, email string) (client.Secret, error) {
	h, err := seal.NewHasher(ctx, a.Keys.Keys(id.Installation), keytree.LeafIndex, "demo-password")
	if err != nil {
		return client.Secret{}, err
	}
	text := strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum([]byte(email))[:15]))
	return client.NewSecret(strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:20]}, "-")), nil
}
