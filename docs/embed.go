// Package docs holds the pages of the documentation, as the binary serves them.
//
// It promises to be the very files of this folder: what a reader of the
// repository and a reader of the running installation see is one text. A new
// page is a new file; internal/web/docs puts it under a heading.
package docs

import "embed"

// Pages are the files, by their paths in this folder.
//
//go:embed *.md design/*.md
var Pages embed.FS
