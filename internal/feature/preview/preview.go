// Package preview shows a stored picture small, so that a page of twenty
// samples does not fetch twenty frames of a detector.
//
// It promises that a preview is a read of the file like any other: whoever may
// not open the file gets none, the opening event names the file and is durable
// before a byte is read, and a terminal event counts what was sent. A preview
// is made when it is asked for and kept nowhere: there is no cache that could
// outlive an erasure or be shared by mistake, and the browser is told to keep
// none either. What strangers stored is decoded within the limits of
// [picture.Maker].
package preview

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/preview/picture"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// InfoHeader says what the original is, as a dictionary of structured fields
// (RFC 9651): format, width, height, bits, and where grey was stretched the
// values that became black and white.
const InfoHeader = "Strongroom-Picture"

// Feature offers previews of the files of the one feature that hands out
// their content.
func Feature(store *tenant.Store, features ...feature.Feature) feature.Feature {
	p := &previews{store: store, maker: picture.NewMaker()}
	for _, f := range features {
		if f.Content != nil {
			p.content = f.Content
		}
	}
	if p.content == nil {
		panic("preview: no feature hands out the content of files")
	}
	return feature.Feature{Name: "preview", Ops: []feature.Op{
		feature.Raw(feature.Meta{ID: "preview-file", Method: http.MethodGet, Path: "/v1/orgs/{org}/files/{id}/preview", Action: policy.FilePreview,
			Summary: "Show a stored picture small",
			Description: "PNG, JPEG, GIF (the first frame), BMP and TIFF (the first page) become a PNG. Grey of 16 bits is stretched, the darkest and brightest thousandth aside, so that it can be seen: " +
				"the header " + InfoHeader + " says from which value to which. What is no picture, or one that takes too much work, is refused with 415 and a code that says why.",
			Errors: []fault.Kind{fault.UnsupportedMedia}}, document(), p.show),
	}}
}

type previews struct {
	store   *tenant.Store
	content feature.Content
	maker   *picture.Maker
}

type showIn struct {
	Org     id.Org  `path:"org" doc:"The organization."`
	ID      id.File `path:"id" doc:"The file."`
	Size    string  `query:"size" enum:"256,1024" default:"256" doc:"The longer side in pixels, at most."`
	Version uint64  `query:"version" minimum:"1" maximum:"9223372036854775807" doc:"An earlier version. Default: the newest."`
}

func (in showIn) edge() int {
	if in.Size == "1024" {
		return 1024
	}
	return 256
}

func document() huma.Operation {
	text := &huma.Schema{Type: huma.TypeString}
	return huma.Operation{Responses: map[string]*huma.Response{"200": {Description: "The small picture.",
		Content: map[string]*huma.MediaType{"image/png": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		Headers: map[string]*huma.Param{
			"ETag":     {Description: "The version of the file.", Schema: text},
			InfoHeader: {Description: "The original: format, width, height, bits; where stretched, black and white.", Schema: text},
		}}}}
}

func (p *previews) show(ctx context.Context, x *feature.Exchange, in showIn) error {
	r := x.Request
	r.Targets = append(r.Targets, in.ID) // for both events: the second has no transaction to touch it in
	_, receipt, err := tenant.Stream(ctx, p.store, r, tenant.Steps[feature.Bytes, struct{}]{
		Open: func(ctx context.Context, tx *tenant.Tx) (feature.Bytes, error) {
			return p.content(ctx, tx, in.ID, in.Version)
		},
		Bytes: func(ctx context.Context, b feature.Bytes, opened audit.Receipt) (map[string]int64, error) {
			out, info, err := p.draw(ctx, b, in.edge())
			if err != nil {
				return nil, err
			}
			x.Recorded(opened)
			h := x.Writer.Header()
			h.Set("Content-Type", "image/png")
			h.Set("Content-Length", strconv.Itoa(len(out)))
			h.Set("ETag", feature.VersionTag(b.Version).String())
			h.Set(InfoHeader, info.String())
			n, err := x.Writer.Write(out)
			return map[string]int64{"bytes": int64(n)}, err
		},
	})
	x.Recorded(receipt)
	return err
}

func (p *previews) draw(ctx context.Context, b feature.Bytes, edge int) ([]byte, picture.Info, error) {
	src, file, err := b.Open(ctx)
	if err != nil {
		return nil, picture.Info{}, err
	}
	defer func() { _ = file.Close() }()
	return p.maker.PNG(ctx, src, b.Size, edge)
}
