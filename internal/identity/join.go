package identity

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
)

// maxJoinChars bounds the text of a join code before it is decoded.
const maxJoinChars = 256

func encodeJoin(p id.Person, until time.Time) []byte {
	return binary.BigEndian.AppendUint64(p.Bytes(), uint64(until.Unix()))
}

func decodeJoin(b []byte) (p id.Person, until time.Time, ok bool) {
	if len(b) != 16+8 {
		return p, until, false
	}
	_ = p.Scan(b[:16])
	return p, time.Unix(int64(binary.BigEndian.Uint64(b[16:])), 0), p.UUID() != uuid.Nil
}

func decodeJoinText(code string) ([]byte, bool) {
	text, ok := strings.CutPrefix(code, joinMark)
	if !ok || len(text) > maxJoinChars || !canonical(text) {
		return nil, false
	}
	b, err := crockford.DecodeString(text)
	return b, err == nil
}
