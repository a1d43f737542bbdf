package kptdir

import (
	"bytes"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A Change is one path at which two trees differ, in bytes or in mode.
type Change struct {
	Path   string
	Before *kptpkg.File // nil: added
	After  *kptpkg.File // nil: removed
}

// ChangeKind says what happened to a path.
type ChangeKind string

// The kinds of changes.
const (
	Added    ChangeKind = "added"
	Modified ChangeKind = "modified"
	Removed  ChangeKind = "removed"
)

// Kind is what happened to the path.
func (c Change) Kind() ChangeKind {
	switch {
	case c.Before == nil:
		return Added
	case c.After == nil:
		return Removed
	}
	return Modified
}

// Diff lists the paths at which two trees differ, sorted. The error is one of
// [kptpkg.File.Bytes].
func Diff(before, after kptpkg.Tree) ([]Change, error) {
	var changes []Change
	old, now := before.Paths(), after.Paths()
	for len(old) > 0 || len(now) > 0 {
		var c Change
		switch {
		case len(now) == 0 || len(old) > 0 && old[0] < now[0]:
			c = Change{Path: old[0], Before: before.File(old[0])}
			old = old[1:]
		case len(old) == 0 || now[0] < old[0]:
			c = Change{Path: now[0], After: after.File(now[0])}
			now = now[1:]
		default:
			c = Change{Path: now[0], Before: before.File(now[0]), After: after.File(now[0])}
			old, now = old[1:], now[1:]
			same, err := equal(c.Before, c.After)
			if err != nil {
				return nil, err
			}
			if same {
				continue
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func equal(a, b *kptpkg.File) (bool, error) {
	if a == b {
		return true, nil
	}
	if a.Mode() != b.Mode() {
		return false, nil
	}
	was, err := a.Bytes()
	if err != nil {
		return false, err
	}
	is, err := b.Bytes()
	if err != nil {
		return false, err
	}
	return bytes.Equal(was, is), nil
}
