package kind

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"strongroom/internal/base/fault"
)

// Limits on a declaration.
const (
	MaxDeclarationTitle = 200   // runes
	MaxDescription      = 2_000 // runes
	MaxRelations        = 50
	maxRelation         = 64 // bytes of a relation's name
	maxTargets          = 50
)

// ToFile in a relation's targets stands for the organization's files. It is
// therefore no kind's name.
const ToFile = "file"

// Related is the relation that every record may have to anything.
const Related = "related"

// The visibilities that a record begins with.
const (
	ForOrganization = "organization"
	ForOwner        = "private"
)

// Relation is one link that records of a kind carry.
type Relation struct {
	Title string   `json:"title" required:"false" maxLength:"200"`
	To    []string `json:"to" required:"false" maxItems:"50" doc:"Kinds, and file; none: anything."`
	Many  bool     `json:"many" required:"false" doc:"A record may have more than one."`
}

// Relations are a kind's, by name. None at all lets records have any.
type Relations map[string]Relation

// Declaration says what a collection holds.
type Declaration struct {
	Kind        string          `json:"kind"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Visibility  string          `json:"visibility"` // of a new record; "": ForOrganization
	Relations   Relations       `json:"relations,omitempty"`
}

// Check holds a declaration to every rule and returns its compiled schema.
// Failures point into the declaration.
func (d Declaration) Check() (*Schema, error) {
	if _, err := ParseName(d.Kind, "/kind"); err != nil {
		return nil, err
	}
	if d.Kind == ToFile {
		return nil, fault.At(fault.Invalid, "/kind", "reserved", "this word stands for the organization's files")
	}
	for _, t := range []struct {
		text, at string
		most     int
	}{{d.Title, "/title", MaxDeclarationTitle}, {d.Description, "/description", MaxDescription}} {
		if utf8.RuneCountInString(t.text) > t.most {
			return nil, fault.At(fault.Invalid, t.at, "max_length", fmt.Sprintf("must have at most %d characters", t.most))
		}
	}
	if d.Visibility != "" && d.Visibility != ForOrganization && d.Visibility != ForOwner {
		return nil, fault.At(fault.Invalid, "/visibility", "enum", "is organization or private")
	}
	if err := d.Relations.check("/relations"); err != nil {
		return nil, err
	}
	s, err := Compile(d.Schema, "/schema")
	if err != nil {
		return nil, err
	}
	_, v, err := parse(d.Schema, "/schema", MaxSchema)
	if err != nil {
		return nil, err
	}
	root, _ := v.(map[string]any)
	found, err := checkAnnotations(root, "/schema")
	if err != nil {
		return nil, err
	}
	for _, field := range sortedNames(found.people) {
		to := found.people[field]
		if to == Self {
			continue
		}
		if r, ok := d.Relations[to]; !ok || r.Many {
			return nil, fault.At(fault.Invalid, clip("/schema/properties/"+escaper.Replace(field)+"/"+Keyword+"/person"), "unknown_relation",
				"names a relation of the declaration that a record has once, or self")
		}
	}
	return s, nil
}

func (rs Relations) check(at string) error {
	if len(rs) > MaxRelations {
		return fault.At(fault.Invalid, at, "too_many", fmt.Sprintf("at most %d relations", MaxRelations))
	}
	for _, name := range sortedNames(rs) {
		r, here := rs[name], clip(at+"/"+escaper.Replace(name))
		switch {
		case !relationName(name):
			return fault.At(fault.Invalid, here, "relation_name", "a relation's name is 1 to 64 bytes of letters, digits and single spaces, hyphens or underscores between them")
		case name == Related:
			return fault.At(fault.Invalid, here, "reserved", "every record has this relation already")
		case utf8.RuneCountInString(r.Title) > MaxDeclarationTitle:
			return fault.At(fault.Invalid, here+"/title", "max_length", fmt.Sprintf("must have at most %d characters", MaxDeclarationTitle))
		case len(r.To) > maxTargets:
			return fault.At(fault.Invalid, here+"/to", "max_items", fmt.Sprintf("must have at most %d items", maxTargets))
		}
		for i, to := range r.To {
			if _, err := ParseName(to, here+"/to/"+strconv.Itoa(i)); err != nil {
				return err
			}
			if slices.Contains(r.To[:i], to) {
				return fault.At(fault.Invalid, here+"/to/"+strconv.Itoa(i), "unique_items", "must not repeat an item")
			}
		}
	}
	return nil
}

func relationName(s string) bool {
	if s == "" || len(s) > maxRelation {
		return false
	}
	joined := true
	for _, r := range s {
		switch {
		case r == ' ' || r == '-' || r == '_':
			if joined {
				return false
			}
			joined = true
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= utf8.RuneSelf && unicode.IsLetter(r):
			joined = false
		default:
			return false
		}
	}
	return !joined
}

// Allows holds a link to the declared relations: to is the kind of the other
// end, or ToFile. single says that a record has at most one of this relation.
// The failure points at at.
func (rs Relations) Allows(relation, to, at string) (single bool, err error) {
	if len(rs) == 0 || relation == Related {
		return false, nil
	}
	r, ok := rs[relation]
	if !ok {
		return false, fault.At(fault.Invalid, at, "unknown_relation", "is none of the relations that the collection declares, nor related")
	}
	if len(r.To) > 0 && !slices.Contains(r.To, to) {
		return false, fault.At(fault.Invalid, at, "relation_target", "this relation does not lead to such a thing")
	}
	return !r.Many, nil
}

// Equal reports whether two declarations say the same, white space apart.
func (d Declaration) Equal(o Declaration) bool {
	a, errA := d.canonical()
	b, errB := o.canonical()
	return errA == nil && errB == nil && a == b
}

func (d Declaration) canonical() (string, error) {
	p, _, err := parse(d.Schema, "", MaxSchema)
	if err != nil {
		return "", err
	}
	d.Schema = p.text()
	if d.Visibility == "" {
		d.Visibility = ForOrganization
	}
	if len(d.Relations) == 0 {
		d.Relations = nil
	}
	for name, r := range d.Relations {
		if len(r.To) == 0 && r.To != nil {
			d.Relations = cloneRelations(d.Relations)
			r.To = nil
			d.Relations[name] = r
		}
	}
	b, err := json.Marshal(d)
	return string(b), err
}

func cloneRelations(rs Relations) Relations {
	out := Relations{}
	for name, r := range rs {
		out[name] = r
	}
	return out
}
