package docs

import (
	"bytes"
	"fmt"
	"html/template"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown renders CommonMark with tables. Markup in a page is shown as the text
// that it is, and a picture by its words: a page is text.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone))),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(ours{}, 100))),
)

// elsewhere are files of the repository that pages refer to and that are
// served as pages of their own.
var elsewhere = map[string]string{
	"internal/base/policy/testdata/roles.golden": rolesPath,
	"README.md": pathOf("quickstart.md"),
}

func renderMarkdown(file string, source []byte, files []string) (page, error) {
	p := page{path: pathOf(file), section: sectionOf(file)}
	ctx := parser.NewContext(parser.WithIDs(&anchors{seen: map[string]int{}}))
	doc := markdown.Parser().Parse(text.NewReader(source), parser.WithContext(ctx))
	rank := 0 // of the heading before
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			// A page that skips a rank for its looks reads as if a part were missing.
			n.Level = min(n.Level, rank+1)
			rank = n.Level
			words := plain(n, source)
			if n.Level == 1 && p.title == "" {
				p.title = words
			}
			if id, ok := n.AttributeString("id"); ok && n.Level == 2 {
				p.toc = append(p.toc, heading{string(id.([]byte)), words})
			}
		case *ast.Paragraph:
			if p.lead == "" && n.Parent() == doc {
				p.lead = firstSentence(plain(n, source))
			}
		case *ast.Link:
			to, ok := target(file, string(n.Destination), files)
			if !ok {
				// A file of the repository that is not served: its name stays.
				n.SetAttributeString("plain", true)
			}
			n.Destination = []byte(to)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return page{}, err
	}
	if p.title == "" {
		p.title = strings.TrimSuffix(path.Base(file), ".md")
	}
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, source, doc); err != nil {
		return page{}, err
	}
	p.body = template.HTML(b.String()) //nolint:gosec // rendered from our own pages, raw HTML refused
	return p, nil
}

func firstSentence(s string) string {
	if i := strings.Index(s, ". "); i > 0 {
		s = s[:i+1]
	}
	if strings.Contains(s, "{") || len(s) > 180 { // more example than sentence
		return ""
	}
	if rest, ok := strings.CutSuffix(s, ":"); ok {
		s = rest + "."
	}
	return s
}

// target says where a link of a page leads to here; false: nowhere.
func target(file, to string, files []string) (string, bool) {
	name, anchor, has := strings.Cut(to, "#")
	if has {
		anchor = "#" + anchor
	}
	switch {
	case strings.Contains(to, "://"), strings.HasPrefix(to, "/"):
		return to, true
	case name == "":
		return anchor, true
	}
	at := path.Join("docs", path.Dir(file), name) // in the repository
	if inDocs, ok := strings.CutPrefix(at, "docs/"); ok && slices.Contains(files, inDocs) {
		return pathOf(inDocs) + anchor, true
	}
	if page, ok := elsewhere[at]; ok {
		return page + anchor, true
	}
	return "", false
}

func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			switch n := n.(type) {
			case *ast.Text:
				b.Write(n.Value(source))
				if n.SoftLineBreak() {
					b.WriteByte(' ')
				}
			case *ast.String:
				b.Write(n.Value)
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchors names headings as code hosts do, so that one link works in both
// places.
type anchors struct{ seen map[string]int }

// Generate implements parser.IDs.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	name := anchor(strings.NewReplacer("`", "", "*", "").Replace(string(value)))
	n := a.seen[name]
	a.seen[name]++
	if n > 0 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return []byte(name)
}

// Put implements parser.IDs.
func (a *anchors) Put(value []byte) { a.seen[string(value)]++ }

func anchor(words string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
			return r
		}
		return -1
	}, strings.ToLower(words))
}

// ours renders what should be other than goldmark's own: headings with a link
// to themselves, and wide things that scroll in a box of their own, which the
// keyboard reaches.
type ours struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (ours) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindHeading, func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		n := node.(*ast.Heading)
		id, _ := n.AttributeString("id")
		name, _ := id.([]byte)
		if entering {
			_, _ = fmt.Fprintf(w, `<h%d id="%s">`, n.Level, template.HTMLEscapeString(string(name)))
			return ast.WalkContinue, nil
		}
		if n.Level > 1 {
			_, _ = fmt.Fprintf(w, ` <a class="anchor" href="#%s" aria-label="Link to %s">#</a>`, template.HTMLEscapeString(string(name)), template.HTMLEscapeString(plain(n, source)))
		}
		_, _ = fmt.Fprintf(w, "</h%d>\n", n.Level)
		return ast.WalkContinue, nil
	})
	code := func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			_, _ = w.WriteString("</code></pre>\n")
			return ast.WalkContinue, nil
		}
		_, _ = w.WriteString(`<pre tabindex="0"><code>`)
		for i := range node.Lines().Len() {
			line := node.Lines().At(i)
			_, _ = w.WriteString(template.HTMLEscapeString(string(line.Value(source))))
		}
		return ast.WalkContinue, nil
	}
	r.Register(ast.KindRawHTML, func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		if markup := string(node.(*ast.RawHTML).Segments.Value(source)); entering && !strings.HasPrefix(markup, "<!--") {
			_, _ = w.WriteString(template.HTMLEscapeString(markup))
		}
		return ast.WalkSkipChildren, nil
	})
	r.Register(ast.KindHTMLBlock, func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		n := node.(*ast.HTMLBlock)
		if n.HTMLBlockType == ast.HTMLBlockType2 { // a comment
			return ast.WalkContinue, nil
		}
		_, _ = w.WriteString("<p>")
		for i := range n.Lines().Len() {
			at := n.Lines().At(i)
			_, _ = w.WriteString(template.HTMLEscapeString(string(at.Value(source))))
		}
		if n.HasClosure() {
			_, _ = w.WriteString(template.HTMLEscapeString(string(n.ClosureLine.Value(source))))
		}
		_, _ = w.WriteString("</p>\n")
		return ast.WalkContinue, nil
	})
	r.Register(ast.KindImage, func(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			_, _ = w.WriteString(template.HTMLEscapeString(plain(node, source)))
		}
		return ast.WalkSkipChildren, nil
	})
	r.Register(ast.KindCodeBlock, code)
	r.Register(ast.KindFencedCodeBlock, code)
	r.Register(ast.KindLink, func(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
		n := node.(*ast.Link)
		_, bare := n.AttributeString("plain")
		switch {
		case bare:
		case entering:
			_, _ = fmt.Fprintf(w, `<a href="%s">`, template.HTMLEscapeString(string(util.URLEscape(n.Destination, true))))
		default:
			_, _ = w.WriteString("</a>")
		}
		return ast.WalkContinue, nil
	})
	r.Register(east.KindTable, func(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			_, _ = w.WriteString(`<div class="wide" tabindex="0"><table>` + "\n")
		} else {
			_, _ = w.WriteString("</tbody></table></div>\n")
		}
		return ast.WalkContinue, nil
	})
	r.Register(east.KindTableHeader, func(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			_, _ = w.WriteString("<thead><tr>")
		} else {
			_, _ = w.WriteString("</tr></thead>\n<tbody>")
		}
		return ast.WalkContinue, nil
	})
	r.Register(east.KindTableRow, func(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			_, _ = w.WriteString("<tr>")
		} else {
			_, _ = w.WriteString("</tr>\n")
		}
		return ast.WalkContinue, nil
	})
}
