package picture

import (
	"errors"
	"io"
	"sync"
)

var (
	errSpent = errors.New("picture: more was read than a preview may read")
	errEnded = errors.New("picture: the time is over")
)

// page is how much is read at once: the least that the store of files
// decrypts.
const page = 64 << 10

// input bounds what a decoder reads, and takes the file away from it once
// nobody waits any more.
type input struct {
	size int64
	done <-chan struct{}

	mu     sync.Mutex
	src    io.ReaderAt // nil: taken away
	left   int64       // bytes that may still be asked for
	at     int64       // of the page in hand
	page   []byte
	broken error // the first failure that is not the decoder's
}

// ReadAt implements io.ReaderAt.
func (in *input) ReadAt(p []byte, off int64) (n int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	select {
	case <-in.done:
		return 0, in.fail(errEnded)
	default:
	}
	switch {
	case in.src == nil:
		return 0, in.fail(errEnded)
	case off < 0 || off >= in.size:
		return 0, io.EOF
	}
	want := min(int64(len(p)), in.size-off)
	// What is asked for counts, not what is read from the store: the same page
	// read over and over is work too.
	if in.left -= want; in.left < 0 {
		return 0, in.fail(errSpent)
	}
	for int64(n) < want {
		k, err := in.readPage(p[n:want], off+int64(n))
		if err != nil {
			return n, in.fail(err)
		}
		n += k
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readPage copies what the page at off holds, fetching it if it is another one.
func (in *input) readPage(p []byte, off int64) (int, error) {
	start := off - off%page
	if in.page == nil || in.at != start {
		if in.page == nil {
			in.page = make([]byte, page)
		}
		b := in.page[:min(page, in.size-start)]
		if n, err := in.src.ReadAt(b, start); n < len(b) {
			in.page = nil
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		in.at = start
	}
	have := in.page[off-start : min(page, in.size-start)]
	return copy(p, have), nil
}

func (in *input) fail(err error) error {
	if in.broken == nil {
		in.broken = err
	}
	return err
}

func (in *input) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.broken
}

// end takes the file away. It waits for a read that is under way.
func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.src, in.page = nil, nil
}

// reader reads from the beginning, at most step bytes at a time. It is an
// io.ReaderAt too: without one the TIFF decoder would hold the whole file.
func (in *input) reader(step int) *reader {
	return &reader{in, io.NewSectionReader(in, 0, in.size), step}
}

type reader struct {
	io.ReaderAt
	r    io.Reader
	step int
}

func (r *reader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), r.step)]) }
