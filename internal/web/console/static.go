package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var staticFiles embed.FS

const staticPrefix = "/static/console/"

// asset is a file as it is served. Its name holds the hash of its bytes, so
// that a browser may keep it for ever and still gets the next one.
type asset struct {
	path  string
	media string
	bytes []byte
}

var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png"}

// assets are by their plain name; served by the hashed one.
var assets = sync.OnceValue(func() (all struct{ byName, byPath map[string]asset }) {
	all.byName, all.byPath = map[string]asset{}, map[string]asset{}
	_ = fs.WalkDir(staticFiles, "static", func(p string, d fs.DirEntry, err error) error {
		ext := path.Ext(p)
		if err != nil || d.IsDir() || mediaTypes[ext] == "" {
			return err // licences lie beside and are not served
		}
		b, err := staticFiles.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		name := path.Base(p)
		a := asset{staticPrefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext, mediaTypes[ext], b}
		all.byName[name], all.byPath[a.path] = a, a
		return nil
	})
	return all
})

// static gives the path of a file: {{static "console.css"}}.
func static(name string) string { return assets().byName[name].path }

func serveStatic(w http.ResponseWriter, r *http.Request) {
	a, ok := assets().byPath[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.bytes)
}
