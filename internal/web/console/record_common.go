package console

import (
	"context"
	"slices"
	"strings"
	"sync"

	"strongroom/client"
	"strongroom/internal/web/console/form"
)

// The relation that every record may have to anything, and the word that
// stands for files in a relation's targets.
const (
	relatedRelation = "related"
	toFiles         = "file"
)

// shelf is the organization's collections, by kind.
type shelf struct {
	all    []client.Collection
	byKind map[string]client.Collection
}

// shelf asks for the collections once a page: the menu shows them on each.
func (v *Visit) shelf() (s shelf, err error) {
	if v.shelved != nil {
		return *v.shelved, nil
	}
	s.byKind = map[string]client.Collection{}
	for c, err := range v.API.Collections(v.Context(), v.Org.ID) {
		if err != nil {
			return s, err
		}
		s.all = append(s.all, c)
		s.byKind[c.Kind] = c
	}
	v.shelved = &s
	return s, nil
}

// title is a collection's name for people.
func (s shelf) title(kind string) string {
	if kind == "" || kind == toFiles {
		return "Files"
	}
	if c, ok := s.byKind[kind]; ok && c.Title != "" {
		return c.Title
	}
	return kind
}

// relation is a relation's name for people, as the collection it starts from
// declares it.
func (s shelf) relation(from, relation string) string {
	if r, ok := s.byKind[from].Relations[relation]; ok && r.Title != "" {
		return r.Title
	}
	return relationWords(relation)
}

func relationWords(relation string) string {
	words := strings.NewReplacer("-", " ", "_", " ").Replace(relation)
	if words != "" && words[0] >= 'a' && words[0] <= 'z' {
		words = strings.ToUpper(words[:1]) + words[1:]
	}
	return words
}

// schemaOf reads a collection's schema. One that is no JSON never left the
// API.
func schemaOf(c client.Collection) (*form.Schema, error) {
	if len(c.Schema) == 0 {
		return form.Compile([]byte("{}"))
	}
	return form.Compile(c.Schema)
}

// recordTitle is what people call a record: its title, else its first words,
// else its identifier.
func recordTitle(s *form.Schema, r client.Record) string {
	if r.Title != "" {
		return r.Title
	}
	if s != nil {
		if t := s.Summary(r.Content); t != "" {
			return t
		}
	}
	return shortID(r.ID)
}

// shortID is enough of an identifier to tell two apart on one page.
func shortID(id string) string {
	kind, rest, ok := strings.Cut(id, "_")
	if !ok || len(rest) < 8 {
		return id
	}
	return kind + " …" + rest[len(rest)-6:]
}

// isFile reports whether an identifier names a file.
func isFile(id string) bool { return strings.HasPrefix(id, "fil_") }

// pictureEndings are those of files that may have a preview. Whether one has
// is decided by its bytes; this only spares asking for all the others.
var pictureEndings = []string{".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff"}

func looksLikePicture(name, media string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(pictureEndings, func(e string) bool { return strings.HasSuffix(name, e) }) ||
		strings.HasPrefix(media, "image/") && media != "image/svg+xml"
}

// inParallel runs some calls of the API at the same time, a few at once.
func inParallel[T any](ctx context.Context, items []T, do func(context.Context, int, T)) {
	const width = 4
	var wg sync.WaitGroup
	turn := make(chan struct{}, width)
	for i, item := range items {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			if ctx.Err() == nil {
				do(ctx, i, item)
			}
		})
	}
	wg.Wait()
}

// page sizes of this console's lists.
const (
	listLimit = 50
	pickLimit = 200 // of what a picker offers
)
