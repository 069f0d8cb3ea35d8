// Package demo fills an empty installation with three organizations that work:
// a materials lab, a team's memory and a molecular group.
//
// It promises that what it shows is true. The files are real, copied byte for
// byte from public projects (data/SOURCES.md says from where, under which
// licence), and what a record states stands in a file that it is linked to; a
// test holds both. The people who sign in are made up.
//
// [Load] acts as its users do, through the public client. It looks before it
// makes: broken off anywhere, it goes on where it stopped and makes nothing
// twice. To show something else, edit orgs/*.json.
package demo

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"

	"strongroom/client"
	"strongroom/internal/kind"
)

//go:embed data orgs
var embedded embed.FS

// organization is one file of orgs.
type organization struct {
	Name      string   `json:"name"`
	Placement string   `json:"placement"`
	Folder    string   `json:"folder"`  // of its files in data
	People    []person `json:"people"`  // the owner is one of them
	Kit       string   `json:"kit"`     // its collections are those of this kit
	Records   []entry  `json:"records"` // a link leads to what stands above it

	Collections []collection `json:"-"`
}

type person struct {
	Key   string        `json:"key"`
	Name  string        `json:"name"`
	Email string        `json:"email"`
	Duty  string        `json:"duty"`
	Owner bool          `json:"owner"`
	Roles []client.Role `json:"roles"`
}

// collection is a kind of the organization's kit.
type collection struct {
	Kind     string
	Identity string // the title, which tells the demo's records apart
	Schema   json.RawMessage
}

// entry is a record with its links.
type entry struct {
	Kind    string          `json:"kind"`
	By      string          `json:"by"` // key of the person who makes it
	Private bool            `json:"private"`
	Content json.RawMessage `json:"content"`
	Then    json.RawMessage `json:"then"` // the content of a second version
	Links   []link          `json:"links"`

	name string // value of the collection's identity
	bulk bool   // made together with others
}

func (e entry) ref() string { return e.Kind + "/" + e.name }

// link leads to another record (kind/name) or to a file below the
// organization's folder.
type link struct {
	To       string `json:"to"`
	File     string `json:"file"`
	Private  bool   `json:"private"` // of the file
	Relation string `json:"relation"`
}

// organizations reads what there is to load.
var organizations = sync.OnceValues(func() ([]organization, error) {
	var all []organization
	for _, name := range []string{"materials", "memory", "molecules"} {
		b, err := embedded.ReadFile("orgs/" + name + ".json")
		if err != nil {
			return nil, err
		}
		var o organization
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			return nil, fmt.Errorf("orgs/%s.json: %w", name, err)
		}
		if err := o.readKit(); err != nil {
			return nil, fmt.Errorf("orgs/%s.json: %w", name, err)
		}
		if name == "molecules" {
			if err := o.readMolecules(); err != nil {
				return nil, fmt.Errorf("data/molecules: %w", err)
			}
		}
		if err := o.prepare(); err != nil {
			return nil, fmt.Errorf("orgs/%s.json: %w", name, err)
		}
		all = append(all, o)
	}
	return all, nil
})

// readKit lists the collections that the kit starts.
func (o *organization) readKit() error {
	k, ok := kind.KitOf(o.Kit)
	if !ok {
		return fmt.Errorf("there is no kit %s", o.Kit)
	}
	for _, n := range k.Kinds {
		s, err := kind.Compile(n.Declaration.Schema, "/schema")
		if err != nil {
			return err
		}
		o.Collections = append(o.Collections, collection{n.Kind, s.TitleField(), n.Declaration.Schema})
	}
	return nil
}

// prepare names the records and takes the white space out of their contents.
func (o *organization) prepare() error {
	identity := map[string]string{}
	for _, c := range o.Collections {
		identity[c.Kind] = c.Identity
	}
	for i := range o.Records {
		e := &o.Records[i]
		for _, text := range []*json.RawMessage{&e.Content, &e.Then} {
			if *text == nil {
				continue
			}
			var b bytes.Buffer
			if err := json.Compact(&b, *text); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
			*text = b.Bytes()
		}
		var err error
		if e.name, err = nameOf(e.Content, identity[e.Kind]); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	return nil
}

func nameOf(content json.RawMessage, identity string) (string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(content, &members); err != nil {
		return "", err
	}
	var name string
	if err := json.Unmarshal(members[identity], &name); err != nil || name == "" {
		return "", fmt.Errorf("no %s to tell the record apart by", identity)
	}
	return name, nil
}

// at returns where a file named in a link lies.
func (o organization) at(file string) string { return path.Join("data", o.Folder, file) }

// upload is a file to store.
type upload struct {
	file    string // as in a link
	by      string
	private bool
}

// uploads lists the files that the records name, each once, by whoever names
// it first.
func (o organization) uploads() (all []upload) {
	seen := map[string]bool{}
	for _, e := range o.Records {
		for _, l := range e.Links {
			if l.File != "" && !seen[l.File] {
				seen[l.File] = true
				all = append(all, upload{l.File, e.By, l.Private})
			}
		}
	}
	return all
}

// mediaTypes do not come from the system's list, which differs between systems.
var mediaTypes = map[string]string{
	".bmp": "image/bmp", ".csv": "text/csv; charset=utf-8", ".dat": "text/plain; charset=utf-8", ".gz": "application/gzip", ".ics": "text/calendar; charset=utf-8",
	".json": "application/json", ".md": "text/markdown; charset=utf-8", ".nxs": "application/x-hdf5", ".pdf": "application/pdf", ".raw": "message/rfc822",
	".sdf": "chemical/x-mdl-sdfile", ".spe": "application/octet-stream", ".tif": "image/tiff", ".txt": "text/plain; charset=utf-8", ".vcf": "text/vcard; charset=utf-8",
	".vms": "text/plain; charset=utf-8", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xml": "application/xml", ".xy": "text/plain; charset=utf-8",
}

func mediaType(name string) string { return mediaTypes[strings.ToLower(path.Ext(name))] }
