//go:build !linux

package kptdir

import "os"

// canSyncFileSystem says whether one call makes all that was written last.
const canSyncFileSystem = false

func syncFileSystem(f *os.File) error { return f.Sync() }
