package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriteBack asks the kernel to start writing a range out. It waits for
// nothing and promises nothing: durability comes from the flush in Commit.
func beginWriteBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
