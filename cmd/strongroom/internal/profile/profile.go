// Package profile keeps what the command line remembers between commands: the
// servers it has signed in to, the certificate each is trusted by, the token
// and the organization in use.
//
// It promises that the file is never readable by anybody else: it is written
// with mode 0600, whole or not at all, and a file that others can read is
// refused, not used.
package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"

	"strongroom/client"
)

// Profile is one way to sign in to one server.
type Profile struct {
	URL       string
	CA        string // PEM; empty: the system's certificates
	Token     client.Secret
	Email     string // who signed in; empty: Token is an API key
	ExpiresAt time.Time
	Org       string // the organization in use
}

// File is the configuration of one user on one machine.
type File struct {
	Current  string // the profile in use
	Profiles map[string]*Profile

	path string
}

// The form on disk, where the token is in clear.
type stored struct {
	Current  string                   `toml:"current"`
	Profiles map[string]storedProfile `toml:"profiles"`
}

type storedProfile struct {
	URL       string    `toml:"url"`
	CA        string    `toml:"ca,omitempty"`
	Email     string    `toml:"email,omitempty"`
	Token     string    `toml:"token,omitempty"`
	ExpiresAt time.Time `toml:"expires_at,omitempty"`
	Org       string    `toml:"org,omitempty"`
}

// Path returns where the file is, by the XDG base directory specification.
func Path(getenv func(string) string) (string, error) {
	base := getenv("XDG_CONFIG_HOME")
	// The specification tells us to ignore a relative path.
	if !filepath.IsAbs(base) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", errors.New("neither XDG_CONFIG_HOME nor HOME says where the configuration is")
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "strongroom", "config.toml"), nil
}

// Load reads the file at path. A missing file is an empty configuration.
func Load(path string) (*File, error) {
	f := &File{Profiles: map[string]*Profile{}, path: path}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	// The mode of the open file, not of the path, which may change meanwhile.
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s holds tokens and can be used by others (mode %04o): run chmod 600 on it, and sign in again if somebody may have read it", path, perm)
	}
	var s stored
	md, err := toml.NewDecoder(in).Decode(&s)
	if err != nil {
		return nil, fmt.Errorf("%s is not well-formed: %w", path, place(err))
	}
	if extra := md.Undecoded(); len(extra) > 0 {
		return nil, fmt.Errorf("%s has a key that is not known: %s", path, extra[0])
	}
	f.Current = s.Current
	for name, p := range s.Profiles {
		f.Profiles[name] = &Profile{URL: p.URL, CA: p.CA, Token: client.NewSecret(p.Token), Email: p.Email, ExpiresAt: p.ExpiresAt, Org: p.Org}
	}
	return f, nil
}

// place says where the file is wrong without a line of it, which may hold the
// token.
func place(err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d", parse.Position.Line)
	}
	return errors.New("a value has the wrong type")
}

// Get returns the profile of this name; empty: the one in use. It may not
// exist: then it is new, and in the file once saved.
func (f *File) Get(name string) (string, *Profile) {
	if name == "" {
		name = f.Current
	}
	if name == "" {
		name = "default"
	}
	p := f.Profiles[name]
	if p == nil {
		p = &Profile{}
	}
	return name, p
}

// Put sets a profile.
func (f *File) Put(name string, p *Profile) { f.Profiles[name] = p }

// Save writes the file: whole or not at all.
func (f *File) Save() (err error) {
	s := stored{Current: f.Current, Profiles: map[string]storedProfile{}}
	for name, p := range f.Profiles {
		s.Profiles[name] = storedProfile{URL: p.URL, CA: p.CA, Email: p.Email, Token: p.Token.Reveal(), ExpiresAt: p.ExpiresAt, Org: p.Org}
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(s); err != nil {
		return err
	}
	path := f.path
	// Who keeps the file elsewhere and links to it keeps the link.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".config-*.toml") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(b.Bytes())
	if err == nil {
		err = tmp.Sync()
	}
	if err2 := tmp.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}
