package kptdir

import (
	"os"

	"golang.org/x/sys/unix"
)

// canSyncFileSystem says whether one call makes all that was written last.
const canSyncFileSystem = true

func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
