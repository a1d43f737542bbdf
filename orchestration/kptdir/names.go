package kptdir

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Names in a directory that are stoop's own.
const (
	stageName    = ".stoop"
	lockName     = ".stoop.lock" // where directories can't be locked
	manifestName = "manifest.json"
	manifestPath = stageName + "/" + manifestName
	manifestTemp = "manifest.tmp"
)

// foreign says whether a directory entry is no part of the tree: git's, and
// stoop's own.
func foreign(name string) bool {
	return strings.EqualFold(name, ".git") || reserved(name)
}

// reserved says whether a path segment would be one of stoop's own names on
// some file system: any case, and with the dots and spaces at the end that
// Windows drops.
func reserved(segment string) bool {
	s := strings.TrimRight(segment, ". ")
	return strings.EqualFold(s, stageName) || strings.EqualFold(s, lockName)
}

// fold maps paths to one where a file system that ignores case, or the way
// letters are composed, takes them for one.
func fold(path string) string {
	return strings.ToLower(strings.ToUpper(norm.NFC.String(path)))
}
