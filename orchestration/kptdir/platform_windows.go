package kptdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	openNonblock      = 0
	hasExecutableBits = false
)

// Directories can't be synced; NTFS keeps its metadata in order.
func syncDirectory(*os.File) error { return nil }

// Files take their owner and access list from the directory they are in.
func keepOwner(*os.File, fs.FileInfo, fs.FileInfo) {}

// What tells volumes apart is not in a FileInfo: the rename will say it.
func sameDevice(fs.FileInfo, fs.FileInfo) bool { return true }

// Access lists are evaluated by the system only: the rename will say it.
func writable(*os.File) error { return nil }

// nativeName says why a path segment is impossible here, "" when it isn't.
func nativeName(segment string) string {
	switch {
	case strings.ContainsAny(segment, `<>:"|?*`):
		return `has one of <>:"|?*`
	case strings.TrimRight(segment, ". ") != segment:
		return "ends in a dot or space"
	case !filepath.IsLocal(segment):
		return "is the name of a device"
	}
	return ""
}
