package picture

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"strongroom/internal/base/fault"
)

func preview(t testing.TB, b []byte, edge int) (image.Image, Info, error) {
	t.Helper()
	out, info, err := NewMaker().PNG(t.Context(), bytes.NewReader(b), int64(len(b)), edge)
	if err != nil {
		return nil, info, err
	}
	img, err := png.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatalf("the preview is no PNG: %v", err)
	}
	return img, info, nil
}

// code is the stable code of a refusal; "" for any other outcome.
func code(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.UnsupportedMedia && len(f.Details) == 1 {
		return f.Details[0].Code
	}
	return ""
}

func colored(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 255 / w), uint8(y * 255 / h), 128, 255})
		}
	}
	return m
}

func encoded(t testing.TB, enc func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := enc(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEveryFormatComesOutSmallWithItsProportionsAndColors(t *testing.T) {
	t.Parallel()
	src := colored(600, 300)
	paletted := image.NewPaletted(src.Rect, palette.WebSafe)
	for y := range 300 {
		for x := range 600 {
			paletted.Set(x, y, src.At(x, y))
		}
	}
	for name, b := range map[string][]byte{
		"png":  encoded(t, func(w io.Writer) error { return png.Encode(w, src) }),
		"jpeg": encoded(t, func(w io.Writer) error { return jpeg.Encode(w, src, nil) }),
		"gif":  encoded(t, func(w io.Writer) error { return gif.Encode(w, paletted, nil) }),
		"bmp":  encoded(t, func(w io.Writer) error { return bmp.Encode(w, src) }),
		"tiff": encoded(t, func(w io.Writer) error {
			return tiff.Encode(w, src, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
		}),
	} {
		img, info, err := preview(t, b, 256)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.Format != name || info.Width != 600 || info.Height != 300 || info.Stretched {
			t.Errorf("%s: told as %v", name, info)
		}
		if got := img.Bounds(); got != image.Rect(0, 0, 256, 128) {
			t.Errorf("%s: the preview measures %v", name, got)
		}
		for _, at := range []image.Point{{10, 10}, {128, 64}, {250, 120}} {
			r, g, bl, _ := img.At(at.X, at.Y).RGBA()
			wr, wg, wb, _ := src.At(at.X*600/256, at.Y*300/128).RGBA()
			for _, d := range []int{int(r>>8) - int(wr>>8), int(g>>8) - int(wg>>8), int(bl>>8) - int(wb>>8)} {
				if max(d, -d) > 40 { // the palette and JPEG are coarse
					t.Errorf("%s: at %v is %v, want about %v", name, at, img.At(at.X, at.Y), src.At(at.X*600/256, at.Y*300/128))
					break
				}
			}
		}
	}
}

func TestASmallPictureIsNotMadeLarger(t *testing.T) {
	t.Parallel()
	b := encoded(t, func(w io.Writer) error { return png.Encode(w, colored(3, 2)) })
	img, _, err := preview(t, b, 1024)
	if err != nil || img.Bounds() != image.Rect(0, 0, 3, 2) {
		t.Errorf("got %v, %v", img, err)
	}
}

func TestWhatCanBeSeenThroughStaysSo(t *testing.T) {
	t.Parallel()
	src := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	b := encoded(t, func(w io.Writer) error { return png.Encode(w, src) })
	img, _, err := preview(t, b, 256)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, a := img.At(1, 1).RGBA(); a != 0 {
		t.Errorf("a transparent pixel came out with alpha %d", a)
	}
}

// dim is a frame of a detector that uses a small part of its 16 bits, with one
// hot pixel.
func dim() *image.Gray16 {
	g := image.NewGray16(image.Rect(0, 0, 100, 100))
	for y := range 100 {
		for x := range 100 {
			g.SetGray16(x, y, color.Gray16{Y: uint16(100 + x)})
		}
	}
	g.SetGray16(50, 50, color.Gray16{Y: 65535})
	return g
}

func TestADimFrameOf16BitsIsStretchedUntilItCanBeSeen(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"png":              encoded(t, func(w io.Writer) error { return png.Encode(w, dim()) }),
		"tiff, as it is":   encoded(t, func(w io.Writer) error { return tiff.Encode(w, dim(), nil) }),
		"tiff, compressed": encoded(t, func(w io.Writer) error { return tiff.Encode(w, dim(), &tiff.Options{Compression: tiff.Deflate}) }),
	} {
		img, info, err := preview(t, b, 256)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !info.Stretched || info.Bits != 16 || info.Low != 100 || info.High != 199 {
			t.Errorf("%s: told as %+v, want black at 100 and white at 199", name, info)
		}
		if want := "bits=16, black=100, white=199"; !strings.HasSuffix(info.String(), want) {
			t.Errorf("%s: the header says %q, want it to end in %q", name, info, want)
		}
		left, right := img.(*image.Gray).GrayAt(0, 3).Y, img.(*image.Gray).GrayAt(99, 3).Y
		if left != 0 || right != 255 {
			t.Errorf("%s: from %d to %d, want black to white", name, left, right)
		}
	}
}

func TestAPictureOfOneValueKeepsIt(t *testing.T) {
	t.Parallel()
	g := image.NewGray16(image.Rect(0, 0, 8, 8))
	for i := range g.Pix {
		g.Pix[i] = 0x80
	}
	img, _, err := preview(t, encoded(t, func(w io.Writer) error { return png.Encode(w, g) }), 256)
	if err != nil || img.(*image.Gray).GrayAt(0, 0).Y != 0x80 {
		t.Errorf("got %v, %v", img, err)
	}
}

// TestPicturesOfALab reads what instruments wrote: 8-bit BMP with a palette, a
// 16-bit TIFF and a stack of them.
func TestPicturesOfALab(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "app", "demo", "data", "materials", "rheed")
	for name, want := range map[string]Info{
		"Si_111_r3Ag_112.bmp": {Format: "bmp", Width: 1388, Height: 1038, Bits: 8},
		"rheed_frame_000.tif": {Format: "tiff", Width: 64, Height: 48, Bits: 16, Stretched: true},
		"rheed_series.tif":    {Format: "tiff", Width: 64, Height: 48, Bits: 16, Stretched: true},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		img, info, err := preview(t, b, 1024)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		black, white := 255, 0
		g, ok := img.(*image.Gray)
		if !ok {
			t.Errorf("%s: a grey picture came out as %T", name, img)
			continue
		}
		for _, v := range g.Pix {
			black, white = min(black, int(v)), max(white, int(v))
		}
		if white-black < 100 {
			t.Errorf("%s: from %d to %d of 255: there is nothing to see", name, black, white)
		}
		if info.Low, info.High = 0, 0; info != want {
			t.Errorf("%s: told as %+v, want %+v", name, info, want)
		}
	}
}

// pngOf is a PNG of a few bytes that declares a size.
func pngOf(t testing.TB, w, h uint32) []byte {
	b := encoded(t, func(out io.Writer) error { return png.Encode(out, image.NewGray(image.Rect(0, 0, 1, 1))) })
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc(b[12:29]))
	return b
}

func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}

func TestWhatHasNoPreviewIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	whole := encoded(t, func(w io.Writer) error { return png.Encode(w, colored(40, 40)) })
	float := encoded(t, func(w io.Writer) error { return tiff.Encode(w, image.NewGray16(image.Rect(0, 0, 4, 4)), nil) })
	// Turn the photometric tag into a color model that the decoder does not have.
	for i := 0; i+12 <= len(float); i++ {
		if binary.LittleEndian.Uint16(float[i:]) == 262 && binary.LittleEndian.Uint16(float[i+2:]) == 3 {
			binary.LittleEndian.PutUint16(float[i+8:], 8) // CIE L*a*b*
		}
	}
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "not_a_picture"},
		{"text", []byte("P1 0.5 0.5"), "not_a_picture"},
		{"a page in disguise", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "not_a_picture"},
		{"half a picture", whole[:len(whole)/2], "picture_damaged"},
		{"a head alone", whole[:8], "picture_damaged"},
		{"a color model of print", float, "picture_form"},
		{"a square of a thousand million pixels", pngOf(t, 32000, 32000), "picture_too_large"},
		{"a line of a thousand million pixels", pngOf(t, 1<<30, 1), "picture_too_large"},
	} {
		_, _, err := preview(t, tt.file, 256)
		if got := code(err); got != tt.want {
			t.Errorf("%s: refused as %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}

// TestABombStaysSmall decodes a picture whose few bytes unpack to more than
// anything may hold, and looks at what was allocated.
func TestABombStaysSmall(t *testing.T) {
	var deflated bytes.Buffer
	z := zlib.NewWriter(&deflated)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b := encoded(t, func(w io.Writer) error {
		return tiff.Encode(w, image.NewGray(image.Rect(0, 0, 64, 64)), &tiff.Options{Compression: tiff.Deflate})
	})
	// One strip that claims to be the picture and is the bomb.
	bomb := append(bytes.Clone(b), deflated.Bytes()...)
	for i := 0; i+12 <= len(b); i++ {
		switch tag := binary.LittleEndian.Uint16(b[i:]); {
		case tag == 273 && binary.LittleEndian.Uint16(b[i+2:]) == 4:
			binary.LittleEndian.PutUint32(bomb[i+8:], uint32(len(b)))
		case tag == 279 && binary.LittleEndian.Uint16(b[i+2:]) == 4:
			binary.LittleEndian.PutUint32(bomb[i+8:], uint32(deflated.Len()))
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := preview(t, bomb, 256); err != nil && code(err) != "picture_damaged" {
		t.Errorf("got %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a picture of 64 by 64 pixels took %d bytes", took)
	}
}

// source counts what is asked of a file, and can fail or hang.
type source struct {
	r    io.ReaderAt
	err  error
	hang chan struct{}
	read int
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.hang != nil {
		<-s.hang
	}
	if s.err != nil {
		return 0, s.err
	}
	s.read += len(p)
	return s.r.ReadAt(p, off)
}

func TestOnlyTheFirstPageOfALargeStackIsRead(t *testing.T) {
	t.Parallel()
	first := encoded(t, func(w io.Writer) error { return tiff.Encode(w, dim(), nil) })
	stack := &padded{first, 8 << 30}
	counted := &source{r: stack}
	if _, _, err := NewMaker().PNG(t.Context(), counted, stack.size, 256); err != nil {
		t.Fatal(err)
	}
	if counted.read > 1<<20 {
		t.Errorf("%d bytes were read of a page of %d", counted.read, len(first))
	}
}

// padded is a file that goes on for long behind what matters.
type padded struct {
	head []byte
	size int64
}

func (p *padded) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(p.head)) {
		copy(b, p.head[off:])
	}
	return len(b), nil
}

func TestAFailureOfTheStoreIsNotThePictures(t *testing.T) {
	t.Parallel()
	mine := fault.New(fault.Internal, "the file's bytes are damaged")
	_, _, err := NewMaker().PNG(t.Context(), &source{err: mine}, 100, 256)
	if !errors.Is(err, mine) {
		t.Errorf("got %v, want the store's own failure", err)
	}
}

func TestReadingTheSameBytesOverAndOverEnds(t *testing.T) {
	t.Parallel()
	in := &input{src: bytes.NewReader(make([]byte, 100)), size: 100, left: 250, done: make(chan struct{})}
	b := make([]byte, 100)
	for range 2 {
		if _, err := in.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.ReadAt(b, 0); !errors.Is(err, errSpent) {
		t.Errorf("the third reading of 100 bytes, of 250 allowed: %v", err)
	}
	if err := classify(t.Context(), in, io.ErrUnexpectedEOF); code(err) != "picture_too_large" {
		t.Errorf("told as %v", err)
	}
}

func TestWhoGoesAwayWaitsForNoDecoderAndKeepsItsShareHeld(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	s := &source{hang: make(chan struct{}), r: bytes.NewReader(make([]byte, 100))}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		// The file is taken away only between two reads, so the hanging one
		// ends first; the caller's answer is the end of its own time.
		time.AfterFunc(50*time.Millisecond, func() { close(s.hang) })
		_, _, err := m.PNG(ctx, s, 100, 256)
		gone <- err
	}()
	time.Sleep(30 * time.Millisecond)
	if m.share.TryAcquire(memory) {
		t.Error("a decoder that is still at work has given its memory back")
	}
	if err := <-gone; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); !m.share.TryAcquire(memory); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the memory was never given back")
		}
	}
}

func TestAPanicIsARefusalAndGivesItsMemoryBack(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	_, _, err := m.PNG(t.Context(), panics{}, 100, 256)
	if code(err) != "picture_damaged" {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); !m.share.TryAcquire(memory); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the memory was never given back")
		}
	}
}

type panics struct{}

func (panics) ReadAt([]byte, int64) (int, error) { panic("a decoder's mistake") }

func TestWhenMemoryIsTakenOthersAreAskedToComeAgain(t *testing.T) {
	t.Parallel()
	m := NewMaker()
	if err := m.share.Acquire(t.Context(), memory); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := m.PNG(ctx, bytes.NewReader(nil), 0, 256); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !fault.Is(busy(t.Context()), fault.Unavailable) {
		t.Error("who still waits is not told to come again")
	}
}

func TestTheKindOfAJPEGIsSeenInItsFrameHeader(t *testing.T) {
	t.Parallel()
	b := encoded(t, func(w io.Writer) error { return jpeg.Encode(w, colored(20, 20), nil) })
	in := func(b []byte) *input {
		return &input{src: bytes.NewReader(b), size: int64(len(b)), left: 1 << 20, done: make(chan struct{})}
	}
	if progressive(in(b)) {
		t.Error("a sequential JPEG counts as progressive")
	}
	i := bytes.Index(b, []byte{0xff, 0xc0})
	if i < 0 {
		t.Fatal("no frame header")
	}
	b[i+1] = 0xc2
	if !progressive(in(b)) || !progressive(in(b[:3])) {
		t.Error("a progressive JPEG, or one without a frame header, counts as the cheap kind")
	}
}

// FuzzPNG gives the decoders anything: whatever comes back is a small PNG or a
// refusal, never a panic, and the memory is given back.
func FuzzPNG(f *testing.F) {
	for _, enc := range []func(io.Writer) error{
		func(w io.Writer) error { return png.Encode(w, colored(9, 5)) },
		func(w io.Writer) error { return png.Encode(w, dim()) },
		func(w io.Writer) error { return jpeg.Encode(w, colored(9, 5), nil) },
		func(w io.Writer) error { return bmp.Encode(w, colored(9, 5)) },
		func(w io.Writer) error {
			return tiff.Encode(w, colored(9, 5), &tiff.Options{Compression: tiff.Deflate, Predictor: true})
		},
		func(w io.Writer) error { return tiff.Encode(w, dim(), nil) },
		func(w io.Writer) error {
			p := image.NewPaletted(image.Rect(0, 0, 9, 5), palette.Plan9)
			return gif.EncodeAll(w, &gif.GIF{Image: []*image.Paletted{p, p}, Delay: []int{1, 1}})
		},
	} {
		f.Add(encoded(f, enc))
	}
	m := NewMaker()
	f.Fuzz(func(t *testing.T, b []byte) {
		out, info, err := m.PNG(t.Context(), bytes.NewReader(b), int64(len(b)), 64)
		if err != nil {
			if code(err) == "" {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		c, err := png.DecodeConfig(bytes.NewReader(out))
		if err != nil || max(c.Width, c.Height) > 64 || info.Width < 1 || info.Height < 1 {
			t.Fatalf("%v: %v, %v", info, c, err)
		}
	})
}
