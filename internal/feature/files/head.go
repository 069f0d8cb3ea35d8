package files

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
)

const (
	maxName  = 255 // characters
	maxMedia = 255 // bytes
	octets   = "application/octet-stream"
)

// nameOf reads a file's name from Content-Disposition (RFC 6266): filename*
// (RFC 8187) goes before filename. An absent header gives "".
func nameOf(disposition string) (string, error) {
	if disposition == "" {
		return "", nil
	}
	kind, params, err := mime.ParseMediaType(disposition)
	name, ok := params["filename"]
	if err != nil || kind != "attachment" || !ok {
		return "", fault.At(fault.Malformed, "Content-Disposition", "syntax", "expected attachment; filename*=UTF-8''… with the name in percent-encoding (RFC 8187)")
	}
	return name, checkName(name)
}

// checkName refuses what nobody could take for a name, and what a careless
// recipient could take for a path (RFC 6266, section 4.3).
func checkName(name string) error {
	bad := func(r rune) bool {
		return unicode.IsControl(r) || r == '/' || r == '\\' || r == '\u2028' || r == '\u2029'
	}
	if !utf8.ValidString(name) || strings.TrimSpace(name) == "" || name == "." || name == ".." || strings.ContainsFunc(name, bad) || utf8.RuneCountInString(name) > maxName {
		return fault.At(fault.Invalid, "Content-Disposition", "name", "a name has 1 to 255 characters, none of them a control character or a slash")
	}
	return nil
}

// mediaOf reads a media type into its one spelling. An absent header gives "".
func mediaOf(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	unsupported := func(detail string) (string, error) {
		return "", fault.At(fault.UnsupportedMedia, "Content-Type", "media_type", detail)
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || len(header) > maxMedia || !strings.Contains(kind, "/") {
		return unsupported("expected one media type (RFC 9110, section 8.3.1)")
	}
	if strings.HasPrefix(kind, "multipart/") {
		// A form's envelope would be stored with the file in it.
		return unsupported("send the file's bytes as the body, not a form")
	}
	one := mime.FormatMediaType(kind, params)
	if one == "" || len(one) > maxMedia {
		return unsupported("expected one media type (RFC 9110, section 8.3.1)")
	}
	return one, nil
}

// disposition writes a name for a download: always as an attachment, so that
// no browser opens what somebody stored as a page of ours.
func disposition(name string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// span is a part of a file.
type span struct {
	off, n int64
	part   bool // less than the whole was asked for
}

// spanOf reads a Range header (RFC 9110, section 14). What is not understood,
// and more than one range, asks for the whole; a range that starts behind the
// end is an error.
func spanOf(header string, size int64) (span, error) {
	whole := span{0, size, false}
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return whole, nil
	}
	first, last, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok {
		return whole, nil
	}
	outside := fault.Wrap(fault.Invalid, feature.RangeError{Size: size}, "the range lies outside the file")
	if first == "" { // the last so many bytes
		n, ok := digits(last)
		switch {
		case !ok:
			return whole, nil
		case n == 0 || size == 0:
			return whole, outside
		}
		n = min(n, size)
		return span{size - n, n, true}, nil
	}
	from, ok := digits(first)
	if !ok {
		return whole, nil
	}
	to := size - 1
	if last != "" {
		n, ok := digits(last)
		if !ok || n < from {
			return whole, nil
		}
		to = min(to, n)
	}
	if from >= size {
		return whole, outside
	}
	return span{from, to - from + 1, true}, nil
}

// digits reads a position; one too large for any file is a very large one.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// has reports whether a list of entity tags names tag (RFC 9110, section
// 13.1.2: the weak comparison).
func has(list, tag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

func (s span) head(h http.Header, size int64) (status int) {
	h.Set("Content-Length", strconv.FormatInt(s.n, 10))
	if !s.part {
		return http.StatusOK
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(s.off, 10)+"-"+strconv.FormatInt(s.off+s.n-1, 10)+"/"+strconv.FormatInt(size, 10))
	return http.StatusPartialContent
}
