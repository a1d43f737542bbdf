//go:build unix

package kptdir

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	openNonblock      = syscall.O_NONBLOCK
	hasExecutableBits = true
)

func syncDirectory(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // a file system that has no such thing
	}
	return err
}

// keepOwner gives f the owner of the file it will replace, so that a root user
// (a container, sudo) does not take files from their owner. Others can't, and
// need not.
func keepOwner(f *os.File, is, old fs.FileInfo) {
	was, ok := old.Sys().(*syscall.Stat_t)
	now, ok2 := is.Sys().(*syscall.Stat_t)
	if ok && ok2 && (was.Uid != now.Uid || was.Gid != now.Gid) {
		_ = f.Chown(int(was.Uid), int(was.Gid))
	}
}

// sameDevice says whether a rename from one to the other's place can work.
func sameDevice(a, b fs.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return !ok || !ok2 || x.Dev == y.Dev
}

// writable says, with an error, why entries of the directory can't be changed.
func writable(dir *os.File) error {
	return unix.Faccessat(int(dir.Fd()), ".", unix.W_OK|unix.X_OK, 0)
}

// nativeName says why a path segment is impossible here, "" when it isn't.
func nativeName(string) string { return "" }
