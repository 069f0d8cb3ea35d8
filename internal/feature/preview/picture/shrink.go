package picture

import (
	"image"
	"image/color"
	"image/draw"
)

// The shares of the darkest and the brightest pixels of 16-bit grey that are
// left out of the stretch: one in a thousand, so that a dead or a hot pixel of
// a detector does not decide how all the others look.
const outliers = 1000

// shrink averages a picture down until its longer side is at most edge, and
// never makes it larger. Beside the small picture it holds one row.
func shrink(src image.Image, edge int) (out image.Image, stretched bool, low, high uint16) {
	rows := rowsOf(src)
	if g, ok := src.(*image.Gray16); ok {
		rows, low, high = stretch(g)
		stretched = true
	}
	b := src.Bounds()
	w, h := fit(b.Dx(), b.Dy(), edge)
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	row := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1))
	sums := make([][4]uint32, w) // of at most maxPixels/edge values of 8 bits
	counts := make([]uint32, w)
	grey := true
	y := 0
	for dy := range h {
		clear(sums)
		clear(counts)
		for end := (dy + 1) * b.Dy() / h; y < end; y++ {
			rows(row, y)
			for dx, x := 0, 0; dx < w; dx++ {
				for to := (dx + 1) * b.Dx() / w; x < to; x++ {
					p := row.Pix[4*x : 4*x+4 : 4*x+4]
					s := &sums[dx]
					s[0], s[1], s[2], s[3] = s[0]+uint32(p[0]), s[1]+uint32(p[1]), s[2]+uint32(p[2]), s[3]+uint32(p[3])
					counts[dx]++
				}
			}
		}
		for dx, s := range sums {
			n := counts[dx]
			p := dst.Pix[dst.PixOffset(dx, dy):]
			for i := range 4 {
				p[i] = uint8((s[i] + n/2) / n)
			}
			grey = grey && p[0] == p[1] && p[1] == p[2] && p[3] == 0xff
		}
	}
	if !grey {
		return dst, stretched, low, high
	}
	g := image.NewGray(dst.Bounds())
	for i := range g.Pix {
		g.Pix[i] = dst.Pix[4*i]
	}
	return g, stretched, low, high
}

// fit gives the size of a picture within a square, its proportions kept.
func fit(w, h, edge int) (int, int) {
	long := max(w, h)
	if long <= edge {
		return w, h
	}
	return max(1, (w*edge+long/2)/long), max(1, (h*edge+long/2)/long)
}

// rowsOf returns what copies row y of a picture, counted from its top.
func rowsOf(src image.Image) func(row *image.RGBA, y int) {
	at := src.Bounds().Min
	if p, ok := src.(*image.Paletted); ok {
		// image/draw has no short way for palettes.
		var colors [256]color.RGBA
		for i, c := range p.Palette[:min(256, len(p.Palette))] {
			colors[i] = color.RGBAModel.Convert(c).(color.RGBA)
		}
		return func(row *image.RGBA, y int) {
			line := p.Pix[y*p.Stride : y*p.Stride+p.Rect.Dx()]
			for x, i := range line {
				c := colors[i]
				row.Pix[4*x], row.Pix[4*x+1], row.Pix[4*x+2], row.Pix[4*x+3] = c.R, c.G, c.B, c.A
			}
		}
	}
	return func(row *image.RGBA, y int) {
		draw.Draw(row, row.Rect, src, image.Pt(at.X, at.Y+y), draw.Src)
	}
}

// stretch maps 16-bit grey to 8 bits so that all but the outliers span black
// to white. A picture of one value keeps it.
func stretch(g *image.Gray16) (rows func(*image.RGBA, int), low, high uint16) {
	var counts [1 << 16]uint32
	b := g.Bounds()
	for y := range b.Dy() {
		line := g.Pix[y*g.Stride : y*g.Stride+2*b.Dx()]
		for i := 0; i < len(line); i += 2 {
			counts[uint16(line[i])<<8|uint16(line[i+1])]++
		}
	}
	skip := uint32(b.Dx()*b.Dy()) / outliers
	low, high = quantile(&counts, skip, 0, 1), quantile(&counts, skip, 1<<16-1, -1)
	if high <= low { // nearly all pixels are alike: the outliers are the picture
		low, high = quantile(&counts, 0, 0, 1), quantile(&counts, 0, 1<<16-1, -1)
	}
	var to [1 << 16]uint8
	for v := range to {
		switch {
		case high == low:
			to[v] = uint8(v >> 8)
		case v >= int(high):
			to[v] = 255
		case v > int(low):
			to[v] = uint8((v - int(low)) * 255 / (int(high) - int(low)))
		}
	}
	return func(row *image.RGBA, y int) {
		line := g.Pix[y*g.Stride : y*g.Stride+2*b.Dx()]
		for x := range b.Dx() {
			v := to[uint16(line[2*x])<<8|uint16(line[2*x+1])]
			row.Pix[4*x], row.Pix[4*x+1], row.Pix[4*x+2], row.Pix[4*x+3] = v, v, v, 255
		}
	}, low, high
}

// quantile returns the first value from one end on that more than skip pixels
// have, or have passed.
func quantile(counts *[1 << 16]uint32, skip uint32, from, step int) uint16 {
	seen := uint32(0)
	for v := from; v >= 0 && v < len(counts); v += step {
		if seen += counts[v]; seen > skip {
			return uint16(v)
		}
	}
	return uint16(from)
}
