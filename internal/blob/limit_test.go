package blob

import (
	"os/signal"

	"golang.org/x/sys/unix"
)

// limitFileSize makes every write of this process behind n bytes of a file
// fail with EFBIG, as on a volume with a small largest file.
func limitFileSize(n uint64) {
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
}
