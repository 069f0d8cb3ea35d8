// Package picture makes small pictures of large ones that strangers stored.
//
// It reads PNG, JPEG, GIF (the first frame), BMP and TIFF (the first page; 1,
// 8 and 16 bits a sample; uncompressed, LZW, deflate, PackBits and CCITT), and
// writes PNG. Grey of 16 bits is stretched: detectors fill a small part of
// their range, and what they saw would be black. [Info] says so.
//
// Whatever the bytes are, a [Maker] spends a bounded amount on them: of bytes
// read, of pixels declared, of memory over all pictures at the same time, and
// of time. A panic of a decoder is a refusal like any other. Nothing of a
// picture is kept, and no failure repeats anything of it.
package picture

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/sync/semaphore"

	"strongroom/internal/base/fault"
)

// Limits on one picture, and on all together.
const (
	maxPixels = 32 << 20
	maxSide   = 1 << 16
	maxRead   = 96 << 20 // bytes of the file
	maxTime   = 10 * time.Second
	maxWait   = 5 * time.Second // for others to be done
	memory    = 256 << 20       // bytes, over all pictures at the same time
	base      = 1 << 20         // bytes that any picture costs beside its pixels
)

// Info says what was found, and what was done with it.
type Info struct {
	Format        string // png, jpeg, gif, bmp, tiff
	Width, Height int    // of the original
	Bits          int    // of one sample
	// Stretched says that grey values from Low to High became black to white.
	Stretched bool
	Low, High uint16
}

// Maker makes previews within its share of memory. It is safe for concurrent use.
type Maker struct{ share *semaphore.Weighted }

// NewMaker returns a Maker.
func NewMaker() *Maker { return &Maker{semaphore.NewWeighted(memory)} }

var (
	errNotPicture  = fault.At(fault.UnsupportedMedia, "id", "not_a_picture", "the file is none of PNG, JPEG, GIF, BMP and TIFF")
	errUnsupported = fault.At(fault.UnsupportedMedia, "id", "picture_form", "the file uses a form of its picture format that has no preview")
	errDamaged     = fault.At(fault.UnsupportedMedia, "id", "picture_damaged", "the file does not hold a whole picture")
	errTooLarge    = fault.At(fault.UnsupportedMedia, "id", "picture_too_large", "the picture is too large for a preview")
	errTooSlow     = fault.At(fault.UnsupportedMedia, "id", "picture_too_slow", "the picture takes too long for a preview")
	errBusy        = fault.New(fault.Unavailable, "too many previews are being made; try again")
)

// PNG reads a picture of size bytes and returns it as a PNG whose longer side
// is at most edge pixels. Once it returned, src is read no more.
func (m *Maker) PNG(ctx context.Context, src io.ReaderAt, size int64, edge int) ([]byte, Info, error) {
	waiting, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if err := m.share.Acquire(waiting, base); err != nil {
		return nil, Info{}, busy(ctx)
	}
	working, stop := context.WithTimeout(ctx, maxTime+maxWait)
	in := &input{src: src, size: size, left: maxRead, done: working.Done()}
	type result struct {
		png  []byte
		info Info
		err  error
	}
	out := make(chan result, 1)
	// A decoder cannot be interrupted but where it reads. One that goes on
	// behind its time keeps its share of memory until it ends, so that many of
	// them cannot add up.
	go func() {
		held := int64(base)
		defer func() {
			m.share.Release(held)
			if p := recover(); p != nil {
				// What a panic says may hold bytes of the picture.
				out <- result{err: errDamaged}
			}
		}()
		var r result
		r.png, r.info, r.err = render(in, edge, func(cost int64) error {
			if err := m.share.Acquire(waiting, cost); err != nil {
				return busy(ctx)
			}
			held += cost
			return nil
		})
		out <- r
	}()
	defer func() {
		stop()
		in.end()
	}()
	select {
	case r := <-out:
		if r.err == nil {
			return r.png, r.info, nil
		}
		return nil, Info{}, classify(ctx, in, r.err)
	case <-working.Done():
		if ctx.Err() != nil {
			return nil, Info{}, ctx.Err()
		}
		return nil, Info{}, errTooSlow
	}
}

func busy(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errBusy
}

// classify gives a decoder's failure the words that a caller may read.
func classify(ctx context.Context, in *input, err error) error {
	var ours *fault.Error
	if errors.As(err, &ours) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if broken := in.failure(); broken != nil {
		switch {
		case errors.Is(broken, errSpent):
			return errTooLarge
		case errors.Is(broken, errEnded):
			return errTooSlow
		}
		return broken // the store's, not the picture's
	}
	var a tiff.UnsupportedError
	var b jpeg.UnsupportedError
	var c png.UnsupportedError
	if errors.As(err, &a) || errors.As(err, &b) || errors.As(err, &c) || errors.Is(err, bmp.ErrUnsupported) {
		return errUnsupported
	}
	return errDamaged
}

// format is one that is known by its first bytes, whatever the file's name and
// type say.
type format struct {
	name   string
	magic  string // ? stands for any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	step   int // most bytes that one read gives
}

var formats = []format{
	{"png", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode, 32 << 10},
	// A scan of a progressive JPEG may be a few bytes and go over all of the
	// picture. Small steps let the clock in between.
	{"jpeg", "\xff\xd8", jpeg.DecodeConfig, jpeg.Decode, 512},
	{"gif", "GIF8?a", gif.DecodeConfig, gif.Decode, 32 << 10},
	{"bmp", "BM", bmp.DecodeConfig, bmp.Decode, 32 << 10},
	{"tiff", "II\x2a\x00", tiff.DecodeConfig, tiff.Decode, 32 << 10},
	{"tiff", "MM\x00\x2a", tiff.DecodeConfig, tiff.Decode, 32 << 10},
}

func formatOf(head string) (format, bool) {
	for _, f := range formats {
		if len(head) < len(f.magic) {
			continue
		}
		same := true
		for i := range len(f.magic) {
			same = same && (f.magic[i] == '?' || f.magic[i] == head[i])
		}
		if same {
			return f, true
		}
	}
	return format{}, false
}

func render(in *input, edge int, reserve func(int64) error) ([]byte, Info, error) {
	head := make([]byte, 8)
	n, err := in.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, Info{}, err
	}
	f, ok := formatOf(string(head[:n]))
	if !ok {
		return nil, Info{}, errNotPicture
	}
	config, err := f.config(in.reader(f.step))
	if err != nil {
		return nil, Info{}, err
	}
	info := Info{Format: f.name, Width: config.Width, Height: config.Height, Bits: bitsOf(config.ColorModel)}
	cost, err := costOf(in, f.name, config)
	if err != nil {
		return nil, info, err
	}
	if err := reserve(cost); err != nil {
		return nil, info, err
	}
	img, err := f.decode(in.reader(f.step))
	if err != nil {
		return nil, info, err
	}
	// A decoder that returned another size than it declared would be let
	// around the limits.
	if b := img.Bounds(); b.Dx() < 1 || b.Dy() < 1 || b.Dx() > config.Width || b.Dy() > config.Height {
		return nil, info, errDamaged
	}
	var small image.Image
	small, info.Stretched, info.Low, info.High = shrink(img, edge)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, small)
	return out.Bytes(), info, err
}

func bitsOf(m color.Model) int {
	switch m {
	case color.Gray16Model, color.RGBA64Model, color.NRGBA64Model:
		return 16
	}
	return 8
}

// costOf bounds the memory that decoding takes: the picture, and what a decoder
// holds beside it.
func costOf(in *input, name string, c image.Config) (int64, error) {
	if c.Width < 1 || c.Height < 1 {
		return 0, errDamaged
	}
	pixels := int64(c.Width) * int64(c.Height)
	if c.Width > maxSide || c.Height > maxSide || pixels > maxPixels {
		return 0, errTooLarge
	}
	each := int64(4)
	switch {
	case bitsOf(c.ColorModel) == 16:
		each = 8
	case name == "jpeg" && progressive(in):
		each = 20 // all coefficients of all components, as 32-bit numbers
	case name == "tiff":
		each = 6 // one block as it is decompressed, at worst as large as the whole
	}
	cost := pixels * each
	if cost > memory-base {
		return 0, errTooLarge
	}
	return cost, nil
}

// progressive looks for the frame header of a JPEG (ITU T.81, annex B): a
// progressive one keeps every coefficient in memory until its last scan.
// Where it is not found the costly kind is assumed.
func progressive(in *input) bool {
	r := in.reader(512)
	var b [4]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return true
	}
	for range 1000 {
		if _, err := io.ReadFull(r, b[:4]); err != nil || b[0] != 0xff {
			return true
		}
		if kind := b[1]; kind >= 0xc0 && kind <= 0xc2 {
			return kind == 0xc2
		}
		if _, err := io.CopyN(io.Discard, r, int64(b[2])<<8+int64(b[3])-2); err != nil {
			return true
		}
	}
	return true
}

// String writes the info as a dictionary of structured fields (RFC 9651).
func (i Info) String() string {
	var b strings.Builder
	write := func(name string, v int) {
		b.WriteString(", " + name + "=")
		b.WriteString(strconv.Itoa(v))
	}
	b.WriteString("format=" + i.Format)
	write("width", i.Width)
	write("height", i.Height)
	write("bits", i.Bits)
	if i.Stretched {
		write("black", int(i.Low))
		write("white", int(i.High))
	}
	return b.String()
}
