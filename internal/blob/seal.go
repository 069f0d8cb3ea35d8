package blob

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/minio/sio"
)

// A sealed object is
//
//	header  "SRF" ‖ 0x01 ‖ 28 random bytes
//	stream  DARE 2.0 (minio/sio, AES-256-GCM, packages of 64 KiB) of
//	        plaintext ‖ one closing byte
//
// DARE alone binds less than we promise, in three places:
//
//   - Each package carries the stream's nonce, XORed with its position when it
//     is opened, and a reader takes the nonce from the first package it meets.
//     Whoever can write the store may XOR a constant into every nonce and
//     permute the packages to match (positions i and i^c change places), or
//     show any package at any place to a reader that starts there. Here the
//     nonce comes from the key and the header, and every package must carry
//     exactly that one.
//   - An empty stream has no package, so cutting a file to nothing would go
//     unseen. The closing byte gives every file a final package.
//   - A reader of a range never meets the final package, so it would not see
//     that the object was cut or extended. Opening verifies the final package
//     first, at the position that the object's size asks for.
//
// The 28 random bytes are the salt of the stream's own key, so even two
// streams under one file key share neither key nor nonce.
const (
	headerSize = 32
	// PackageSize is the unit of sealing in bytes: the least that a ranged read decrypts.
	PackageSize   = 64 << 10
	overhead      = 32 // DARE header and tag of one package
	sealedPackage = PackageSize + overhead
	closingByte   = 0xC5
	streamInfo    = "strongroom/file/1/dare-2.0/aes-256-gcm"

	dareHeader = 16
	dareFinal  = 0x80 // in the first byte of the nonce: this package ends the stream
)

var magic = [4]byte{'S', 'R', 'F', 1}

// MaxSize is the largest plaintext in bytes that one object holds: DARE
// numbers packages with 32 bits.
const MaxSize = int64(PackageSize)<<32 - PackageSize

// SealedSize returns how many bytes plain bytes of plaintext become.
func SealedSize(plain int64) (int64, error) {
	if plain < 0 || plain > MaxSize {
		return 0, fmt.Errorf("blob: a size outside 0 to %d", MaxSize)
	}
	n, err := sio.EncryptedSize(uint64(plain) + 1)
	return headerSize + int64(n), err
}

// PlainSize is the inverse of SealedSize. A size that no sealed object has is ErrUnreadable.
func PlainSize(sealed int64) (int64, error) {
	if sealed < headerSize {
		return 0, ErrUnreadable
	}
	n, err := sio.DecryptedSize(uint64(sealed - headerSize))
	if err != nil || n == 0 || int64(n)-1 > MaxSize {
		return 0, ErrUnreadable
	}
	return int64(n) - 1, nil
}

// streamKeys derives what seals one stream from the file's key and the stream's header.
func streamKeys(key [32]byte, header []byte) (stream []byte, nonce [12]byte, err error) {
	okm, err := hkdf.Key(sha256.New, key[:], header, streamInfo, 32+len(nonce))
	if err != nil {
		return nil, nonce, err
	}
	copy(nonce[:], okm[32:])
	nonce[0] &^= dareFinal
	return okm[:32:32], nonce, nil
}

// Sealer seals what is written to it, in constant memory: while the caller
// brings and seals one buffer, the one before it is being stored, so that an
// upload costs little more than the slower of the two.
type Sealer struct {
	enc    io.WriteCloser
	behind *behind
	size   int64
	err    error
	done   bool
}

// SealWriter begins a sealed stream into w under a file's key. The stream is
// complete only after Close, which does not close w.
func SealWriter(w io.Writer, key [32]byte) (*Sealer, error) {
	var header [headerSize]byte
	copy(header[:], magic[:])
	if _, err := rand.Read(header[len(magic):]); err != nil {
		return nil, err
	}
	stream, nonce, err := streamKeys(key, header[:])
	if err != nil {
		return nil, err
	}
	s := &Sealer{behind: &behind{w: w}}
	s.enc, err = sio.EncryptWriter(s.behind, sio.Config{
		MinVersion: sio.Version20, MaxVersion: sio.Version20,
		CipherSuites: []byte{sio.AES_256_GCM}, Key: stream, Nonce: &nonce,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(header[:]); err != nil {
		return nil, err
	}
	return s, nil
}

// Write seals p. An error may belong to bytes of an earlier call; after it the
// stream is lost.
func (s *Sealer) Write(p []byte) (int, error) {
	switch {
	case s.err != nil:
		return 0, s.err
	case s.done:
		return 0, errors.New("blob: write to a stream that is closed")
	case s.size > MaxSize-int64(len(p)):
		s.err = fmt.Errorf("blob: a stream over %d bytes", MaxSize)
		return 0, s.err
	}
	n, err := s.enc.Write(p)
	s.size += int64(n)
	s.err = err
	return n, err
}

// ReadFrom implements io.ReaderFrom: whole packages are sealed from the buffer
// that r reads into. Only io.EOF ends it well: a body that broke off
// (io.ErrUnexpectedEOF) is an error like any other.
func (s *Sealer) ReadFrom(r io.Reader) (total int64, err error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for err != io.EOF {
		n := 0
		for n < bufferSize && err == nil {
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		m, werr := s.Write(buf[:n])
		total += int64(m)
		switch {
		case werr != nil:
			return total, werr
		case err != nil && err != io.EOF:
			return total, err
		}
	}
	return total, nil
}

// Size is the number of plaintext bytes written so far.
func (s *Sealer) Size() int64 { return s.size }

// Close ends the stream. Only after it returns nil is the stream complete. It
// may be left out where the object is aborted.
func (s *Sealer) Close() error {
	if s.done || s.err != nil {
		return s.err
	}
	s.done = true
	if _, s.err = s.enc.Write([]byte{closingByte}); s.err == nil {
		s.err = s.enc.Close()
	}
	if err := s.behind.flush(); s.err == nil {
		s.err = err
	}
	return s.err
}

// behind gathers sealed bytes and writes each full buffer in a goroutine that
// ends with that one write, so nothing has to be stopped.
type behind struct {
	w    io.Writer
	buf  *[bufferSize]byte // nil until it is needed
	n    int               // bytes of buf in use
	busy chan error        // the buffer that is being written, or nil
	err  error
}

func (b *behind) Write(p []byte) (total int, err error) {
	for len(p) > 0 && b.err == nil {
		if b.buf == nil {
			b.buf = buffers.Get().(*[bufferSize]byte)
		}
		n := copy(b.buf[b.n:], p)
		b.n, p, total = b.n+n, p[n:], total+n
		if b.n < bufferSize {
			break
		}
		if b.settle(); b.err != nil {
			break
		}
		full, busy := b.buf, make(chan error, 1)
		b.buf, b.n, b.busy = nil, 0, busy
		go func() {
			_, err := b.w.Write(full[:])
			buffers.Put(full)
			busy <- err
		}()
	}
	return total, b.err
}

// settle waits for the buffer that is being written.
func (b *behind) settle() {
	if b.busy != nil {
		if err := <-b.busy; b.err == nil {
			b.err = err
		}
		b.busy = nil
	}
}

// flush writes what is left and reports every failure so far.
func (b *behind) flush() error {
	b.settle()
	if b.err == nil && b.n > 0 {
		_, b.err = b.w.Write(b.buf[:b.n])
	}
	if b.buf != nil {
		buffers.Put(b.buf)
		b.buf, b.n = nil, 0
	}
	return b.err
}

// Reader opens a sealed object: any range of it, in constant memory. It is
// safe for concurrent use.
type Reader struct {
	src    io.ReaderAt
	stream []byte
	nonce  [12]byte
	size   int64 // plaintext bytes
	last   int64 // index of the final package
	tail   int   // plaintext bytes in the final package, the closing byte included
}

// OpenReaderAt opens the sealed object of sealedSize bytes behind src. It
// verifies the header and the final package, so the object's length is
// authentic when it returns; every other package is verified when it is read.
func OpenReaderAt(key [32]byte, src io.ReaderAt, sealedSize int64) (*Reader, error) {
	size, err := PlainSize(sealedSize)
	if err != nil {
		return nil, err
	}
	var header [headerSize]byte
	if err := readFull(src, header[:], 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(header[:len(magic)], magic[:]) {
		return nil, ErrUnreadable
	}
	r := &Reader{src: src, size: size, last: size / PackageSize}
	r.tail = int(size + 1 - r.last*PackageSize) // size+1: the closing byte
	if r.stream, r.nonce, err = streamKeys(key, header[:]); err != nil {
		return nil, err
	}
	end := make([]byte, r.tail)
	open, err := r.packages(r.last)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(open, end); err != nil {
		return nil, readError(err)
	}
	if end[len(end)-1] != closingByte {
		return nil, ErrUnreadable
	}
	return r, nil
}

// Size is the number of plaintext bytes, authenticated.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads plaintext. Each call decrypts whole packages: to read much in a
// row, take a Range.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("blob: a negative offset")
	}
	if off >= r.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.size-off
	if short {
		p = p[:r.size-off]
	}
	n, err := io.ReadFull(r.Range(off, int64(len(p))), p)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// Range reads n bytes from off on, in order. What lies outside the object is
// left out, as in an [io.SectionReader].
func (r *Reader) Range(off, n int64) *Range {
	off = min(max(off, 0), r.size)
	n = min(max(n, 0), r.size-off)
	return &Range{r: r, off: off, left: n}
}

// Range is a part of an object, read in order, each package decrypted once.
type Range struct {
	r    *Reader
	off  int64
	left int64
	open io.Reader // begun at the package that holds off
	err  error
}

// Len is the number of bytes still to come.
func (g *Range) Len() int64 { return g.left }

func (g *Range) start() error {
	if g.open != nil || g.err != nil {
		return g.err
	}
	g.open, g.err = g.r.packages(g.off / PackageSize)
	if skip := g.off % PackageSize; g.err == nil && skip > 0 {
		buf := buffers.Get().(*[bufferSize]byte)
		defer buffers.Put(buf)
		if _, err := io.ReadFull(g.open, buf[:skip]); err != nil {
			g.err = readError(err)
		}
	}
	return g.err
}

// Read implements io.Reader. It never returns a byte that was not verified.
func (g *Range) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, g.err
	}
	if err := g.start(); err != nil {
		return 0, err
	}
	if int64(len(p)) > g.left {
		p = p[:g.left]
	}
	n, err := g.open.Read(p)
	g.left -= int64(n)
	if err != nil && g.left > 0 {
		g.err = readError(err)
		return n, g.err
	}
	return n, nil
}

const bufferSize = 4 * PackageSize

// A buffer is overwritten by its next user, not cleared: it never leaves this
// process.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// WriteTo implements io.WriterTo. It decrypts ahead: while w takes one buffer,
// the next is read and opened.
func (g *Range) WriteTo(w io.Writer) (total int64, err error) {
	buf, next := buffers.Get().(*[bufferSize]byte), buffers.Get().(*[bufferSize]byte)
	defer func() { buffers.Put(buf); buffers.Put(next) }()
	fill := func(b *[bufferSize]byte) (int, error) { return io.ReadFull(g, b[:min(g.left, bufferSize)]) }
	n, ferr := fill(buf)
	for n > 0 {
		var m int
		ahead := make(chan error, 1)
		more := ferr == nil && g.left > 0
		if more {
			go func() {
				var err error
				m, err = fill(next)
				ahead <- err
			}()
		}
		written, werr := w.Write(buf[:n])
		total += int64(written)
		if more {
			ferr = <-ahead // also after a failed write: the buffer goes back to the pool
		}
		if werr != nil {
			return total, werr
		}
		if !more {
			break
		}
		buf, next, n = next, buf, m
	}
	return total, ferr
}

// packages decrypts from package number first on, to the end of the stream.
func (r *Reader) packages(first int64) (io.Reader, error) {
	return sio.DecryptReader(&packageReader{r: r, next: first}, sio.Config{
		MinVersion: sio.Version20, MaxVersion: sio.Version20,
		CipherSuites: []byte{sio.AES_256_GCM}, Key: r.stream, SequenceNumber: uint32(first),
	})
}

// packageReader hands sio one sealed package a call, and only with the header
// that a package at this place must have. sio reads with a buffer of exactly
// one package.
type packageReader struct {
	r    *Reader
	next int64
}

func (p *packageReader) Read(b []byte) (int, error) {
	r := p.r
	if p.next > r.last {
		return 0, io.EOF
	}
	n := sealedPackage
	want := r.nonce
	if p.next == r.last {
		n = r.tail + overhead
		want[0] |= dareFinal
	}
	if len(b) < n {
		return 0, io.ErrShortBuffer
	}
	if err := readFull(r.src, b[:n], headerSize+p.next*sealedPackage); err != nil {
		return 0, err
	}
	if b[0] != sio.Version20 || b[1] != sio.AES_256_GCM || !bytes.Equal(b[4:dareHeader], want[:]) {
		return 0, ErrUnreadable
	}
	p.next++
	return n, nil
}

// readFull reads the sealed bytes at off. An object that ends too early was cut.
func readFull(src io.ReaderAt, b []byte, off int64) error {
	n, err := src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil:
		return ErrUnreadable
	}
	return err
}

// readError keeps a store's own errors apart from bytes that do not open.
func readError(err error) error {
	var s sio.Error
	if errors.As(err, &s) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrUnreadable
	}
	return err
}
