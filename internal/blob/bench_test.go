package blob

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"strongroom/internal/base/id"
)

// The same 100 MB through the same store, sealed and not: the ratio is what
// sealing costs an upload and a download.
const benchSize = 100 << 20

// source yields n bytes in reads of at most 32 KiB, the size in which an HTTP
// server hands a body over.
type source struct {
	b []byte
	n int
}

func (s *source) Read(p []byte) (int, error) {
	if s.n == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.n, 32<<10)], s.b)
	s.n -= n
	return n, nil
}

func noise() []byte {
	b := make([]byte, 32<<10)
	rand.Read(b)
	return b
}

func BenchmarkUpload(b *testing.B) {
	for _, seal := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "sealed"}[seal], func(b *testing.B) {
			d, _ := newDir(b)
			org, block, buf := id.NewOrg(), noise(), make([]byte, 256<<10)
			b.SetBytes(benchSize)
			for b.Loop() {
				k := Key{org, id.NewFile(), 1}
				w, err := d.Create(b.Context(), k)
				if err != nil {
					b.Fatal(err)
				}
				var dst io.Writer = w
				var s *Sealer
				if seal {
					if s, err = SealWriter(w, [32]byte{1}); err != nil {
						b.Fatal(err)
					}
					dst = s
				}
				if _, err := io.CopyBuffer(dst, &source{block, benchSize}, buf); err != nil {
					b.Fatal(err)
				}
				if seal {
					if err := s.Close(); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Commit(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				_ = d.Delete(b.Context(), k)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkDownload(b *testing.B) {
	d, _ := newDir(b)
	plain, sealed := newObject(), newObject()
	block := noise()
	for k, seal := range map[Key]bool{plain: false, sealed: true} {
		w, err := d.Create(b.Context(), k)
		if err != nil {
			b.Fatal(err)
		}
		if seal {
			s, err := SealWriter(w, [32]byte{1})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(s, &source{block, benchSize}); err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		} else if _, err := io.Copy(w, &source{block, benchSize}); err != nil {
			b.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("plain", func(b *testing.B) {
		buf := make([]byte, bufferSize)
		b.SetBytes(benchSize)
		for b.Loop() {
			o, err := d.Open(b.Context(), plain)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.NewSectionReader(o, 0, o.Size()), buf); err != nil {
				b.Fatal(err)
			}
			o.Close()
		}
	})
	b.Run("sealed", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			o, err := d.Open(b.Context(), sealed)
			if err != nil {
				b.Fatal(err)
			}
			r, err := OpenReaderAt([32]byte{1}, o, o.Size())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := r.Range(0, r.Size()).WriteTo(onlyWriter{io.Discard}); err != nil {
				b.Fatal(err)
			}
			o.Close()
		}
	})
}

func BenchmarkSealOnly(b *testing.B) {
	block := make([]byte, 256<<10)
	b.SetBytes(benchSize)
	for b.Loop() {
		s, err := SealWriter(onlyWriter{io.Discard}, [32]byte{1})
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < benchSize; n += len(block) {
			if _, err := s.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// onlyWriter hides every other method, so that both sides copy by the same way.
type onlyWriter struct{ io.Writer }

// BenchmarkServer is the promise as a user meets it: 100 MB over HTTPS.
func BenchmarkServer(b *testing.B) {
	d, _ := newDir(b)
	org := id.NewOrg()
	key := [32]byte{1}
	var last Key
	upload := func(seal bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, rq *http.Request) {
			last = Key{org, id.NewFile(), 1}
			w, err := d.Create(rq.Context(), last)
			if err != nil {
				b.Error(err)
				return
			}
			defer w.Abort()
			if !seal {
				_, err = io.CopyBuffer(onlyWriter{w}, rq.Body, make([]byte, 256<<10))
			} else {
				s, serr := SealWriter(w, key)
				if serr != nil {
					b.Error(serr)
					return
				}
				if _, err = s.ReadFrom(rq.Body); err == nil {
					err = s.Close()
				}
			}
			if err == nil {
				err = w.Commit()
			}
			if err != nil {
				b.Error(err)
			}
		}
	}
	download := func(seal bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, rq *http.Request) {
			o, err := d.Open(rq.Context(), last)
			if err != nil {
				b.Error(err)
				return
			}
			defer o.Close()
			if !seal {
				rw.Header().Set("Content-Length", strconv.FormatInt(o.Size(), 10))
				_, _ = io.CopyBuffer(onlyWriter{rw}, io.NewSectionReader(o, 0, o.Size()), make([]byte, 256<<10))
				return
			}
			r, err := OpenReaderAt(key, o, o.Size())
			if err != nil {
				b.Error(err)
				return
			}
			rw.Header().Set("Content-Length", strconv.FormatInt(r.Size(), 10))
			_, _ = r.Range(0, r.Size()).WriteTo(rw)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("POST /plain", upload(false))
	mux.Handle("POST /sealed", upload(true))
	mux.Handle("GET /plain", download(false))
	mux.Handle("GET /sealed", download(true))
	srv := httptest.NewTLSServer(mux)
	defer srv.Close()
	client, block := srv.Client(), noise()
	for _, path := range []string{"/plain", "/sealed"} {
		b.Run("upload"+path, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				rq, _ := http.NewRequestWithContext(b.Context(), "POST", srv.URL+path, &source{block, benchSize})
				rq.ContentLength = benchSize
				rs, err := client.Do(rq)
				if err != nil {
					b.Fatal(err)
				}
				rs.Body.Close()
				b.StopTimer()
				_ = d.Delete(b.Context(), last)
				b.StartTimer()
			}
		})
		b.Run("download"+path, func(b *testing.B) {
			rq, _ := http.NewRequestWithContext(b.Context(), "POST", srv.URL+path, &source{block, benchSize})
			rs, err := client.Do(rq)
			if err != nil {
				b.Fatal(err)
			}
			rs.Body.Close()
			b.SetBytes(benchSize)
			for b.Loop() {
				rs, err := client.Get(srv.URL + path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, rs.Body); err != nil {
					b.Fatal(err)
				}
				rs.Body.Close()
			}
		})
	}
}
