package app

import (
	pages "strongroom/docs"
	"strongroom/internal/web"
	"strongroom/internal/web/console"
	"strongroom/internal/web/docs"
)

// faces puts what is served in front of the API. Each face is a handler of its
// own; a path of one that is not set is answered by the API.
func (a *App) faces() (err error) {
	a.Front = &web.Front{API: a.API}
	if a.Front.Console, err = console.New(console.Options{API: a.API, Version: a.options.Version, Log: a.Log}); err != nil {
		return err
	}
	if a.Front.Trust, err = a.trustPage(); err != nil {
		return err
	}
	a.Front.Docs, err = docs.New(docs.Options{Pages: pages.Pages, OpenAPI: a.API.OpenAPI(), Version: a.options.Version, Console: true})
	return err
}
