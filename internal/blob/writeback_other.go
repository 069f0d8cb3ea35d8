//go:build !linux

package blob

import "os"

func beginWriteBack(*os.File, int64, int64) {}
