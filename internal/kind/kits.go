package kind

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

//go:embed kits
var kitFiles embed.FS

// Kit is a set of kinds that ships with the product, for one trade.
//
// A kit is plain files: kits/<kit>/kit.json, and one file a kind. To change
// one, edit the file, raise the version in kit.json and keep the released text
// in testdata/kits/<kit>/<version>. A test refuses a kind that would refuse
// what an older version took.
type Kit struct {
	Name        string            `json:"kit"`
	Version     int               `json:"version"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Roles       map[string]string `json:"roles"` // what the trade calls the roles of an organization
	Kinds       []KitKind         `json:"kinds"`
}

// KitKind is a kind of a kit.
type KitKind struct {
	Kind string `json:"kind"`
	// Measurement marks what a laboratory's instruments bring: pooled
	// organizations have none of it (ISO-1).
	Measurement bool        `json:"measurement,omitempty"`
	Declaration Declaration `json:"-"`
}

// Kits returns the kits that ship with the product. The caller must not change
// them.
func Kits() []Kit {
	all, err := kits()
	if err != nil {
		panic(err) // the files are part of the program, and a test reads them
	}
	return all
}

// KitOf finds a kit by its name.
func KitOf(name string) (Kit, bool) {
	all := Kits()
	i := slices.IndexFunc(all, func(k Kit) bool { return k.Name == name })
	if i < 0 {
		return Kit{}, false
	}
	return all[i], true
}

// Of finds a kind of the kit.
func (k Kit) Of(name string) (KitKind, bool) {
	i := slices.IndexFunc(k.Kinds, func(n KitKind) bool { return n.Kind == name })
	if i < 0 {
		return KitKind{}, false
	}
	return k.Kinds[i], true
}

// Measures reports whether a declaration is one for measurements as the kits
// know them: by its name, or by its schema under another name. What an
// organization puts into a kind of its own making, no schema tells.
func Measures(d Declaration) bool {
	own := schemaHash(d.Schema)
	for _, k := range Kits() {
		for _, n := range k.Kinds {
			if n.Measurement && (n.Kind == d.Kind || schemaHash(n.Declaration.Schema) == own) {
				return true
			}
		}
	}
	return false
}

func schemaHash(schema []byte) [sha256.Size]byte {
	p, _, err := parse(schema, "", MaxSchema)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(p.text())
}

var kits = sync.OnceValues(func() ([]Kit, error) {
	sub, err := fs.Sub(kitFiles, "kits")
	if err != nil {
		return nil, err
	}
	return readKits(sub)
})

// readKits reads every folder of files as a kit, and holds each kind to the
// rules of any declaration.
func readKits(files fs.FS) (all []Kit, err error) {
	folders, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		k, err := readKit(files, folder.Name())
		if err != nil {
			return nil, fmt.Errorf("kind: the kit %s: %w", folder.Name(), err)
		}
		all = append(all, k)
	}
	return all, nil
}

func readKit(files fs.FS, name string) (k Kit, err error) {
	if err := readJSON(files, name+"/kit.json", &k); err != nil {
		return k, err
	}
	if k.Name != name || k.Version < 1 || k.Title == "" || len(k.Kinds) == 0 {
		return k, fmt.Errorf("kit.json names no version, title and kinds of the kit %s", name)
	}
	listed := map[string]bool{"kit.json": true}
	for i := range k.Kinds {
		n := &k.Kinds[i]
		if err := readJSON(files, name+"/"+n.Kind+".json", &n.Declaration); err != nil {
			return k, err
		}
		if n.Declaration.Kind != n.Kind || n.Declaration.Title == "" {
			return k, fmt.Errorf("%s.json names another kind, or has no title", n.Kind)
		}
		if _, err := n.Declaration.Check(); err != nil {
			return k, fmt.Errorf("%s.json: %w", n.Kind, err)
		}
		p, _, err := parse(n.Declaration.Schema, "", MaxSchema)
		if err != nil {
			return k, err
		}
		n.Declaration.Schema = p.text()
		listed[n.Kind+".json"] = true
	}
	for _, n := range k.Kinds {
		for relation, r := range n.Declaration.Relations {
			for _, to := range r.To {
				if to != ToFile && !listed[to+".json"] {
					return k, fmt.Errorf("%s.json: the relation %s leads to %s, which the kit does not have", n.Kind, relation, to)
				}
			}
		}
	}
	entries, err := fs.ReadDir(files, name)
	if err != nil {
		return k, err
	}
	for _, e := range entries {
		if !listed[e.Name()] {
			return k, fmt.Errorf("%s is not listed in kit.json", e.Name())
		}
	}
	return k, nil
}

func readJSON(files fs.FS, name string, v any) error {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s goes on after its value", name)
	}
	return nil
}
