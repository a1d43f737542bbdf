// Package kptdir is a directory on disk as a [kptpkg.Tree]. It is read without
// following a link, and written as a whole or not at all:
//
//	stage      every new file goes to .stoop/ inside the directory and is synced
//	check      every path that will change still holds what was read
//	commit     a synced manifest of all renames and removals appears in .stoop/
//	apply      removals, then renames, then directories left empty are removed
//	finish     the manifest goes, then .stoop/
//
// A process that dies before the commit leaves files in .stoop/ that the next
// [Open] removes; one that dies after it leaves a manifest that the next Open
// carries out. Every link of the apply can be repeated: a staged file that is
// gone has been renamed.
//
// What a directory holds besides its tree is never touched: .git, and .stoop
// directories further down. Directories without files are not represented.
package kptdir

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A Dir is a directory that one process has to itself from Open to Close, as
// far as other processes of stoop are concerned. It is not for concurrent use.
type Dir struct {
	name   string // as the caller wrote it, for messages
	disk   disk
	unlock func() error
	noLock error // why the directory can't be locked, nil when it is
	tree   kptpkg.Tree
}

// Open locks the directory name, finishes or removes what a crash left there,
// and reads it. name may be a symlink to a directory. The lock is of the kernel:
// it ends with the process and leaves no file. When another process holds it
// the error wraps a [*LockedError]. A directory that can't be locked can still
// be read, but not written.
func Open(ctx context.Context, name string, limits Limits) (*Dir, error) {
	d, err := attach(name)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", name, err)
	}
	if err := d.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("recover directory %s: %w", name, err), d.Close())
	}
	if d.tree, err = read(ctx, d.disk.root, limits); err != nil {
		return nil, errors.Join(fmt.Errorf("read directory %s: %w", name, err), d.Close())
	}
	return d, nil
}

// Read is the tree of the directory name, for a caller that won't write it:
// Open, Tree, Close.
func Read(ctx context.Context, name string, limits Limits) (kptpkg.Tree, error) {
	d, err := Open(ctx, name, limits)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return d.tree, d.Close()
}

// Tree is what the directory holds: what Open read, or what the last successful
// Write wrote.
func (d *Dir) Tree() kptpkg.Tree { return d.tree }

// Write makes the directory hold after instead of d.Tree(). Only files that
// differ are written; they keep their permissions, but for the executable bit,
// and where the system lets them their owner. Directories that become empty are
// removed. Where nothing differs nothing on disk is touched.
//
// An error before the commit leaves the directory as it was: a file that changed
// on disk since it was read, paths that one file system can't tell apart, a link
// that points outside, a full disk, ctx cancelled. From the commit on ctx is
// ignored; an error then says that the write is unfinished, and the next Open
// finishes it.
func (d *Dir) Write(ctx context.Context, after kptpkg.Tree) error {
	p, err := newPlan(d.tree, after)
	if err == nil && !p.empty() {
		err = d.write(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("write directory %s: %w", d.name, err)
	}
	d.tree = after
	return nil
}

// Writable says, with an error, why no Write that changes something can succeed,
// as far as that shows without touching anything: the directory is read-only, or
// another user's.
func (d *Dir) Writable() error {
	err := d.noLock
	if err == nil {
		if err = d.disk.writable("."); err != nil {
			err = failed(stageName, "make the staging directory", err)
		}
	}
	if err != nil {
		return fmt.Errorf("write directory %s: %w", d.name, err)
	}
	return nil
}

// Close gives the directory back to other processes.
func (d *Dir) Close() error {
	return errors.Join(d.unlock(), d.disk.root.Close())
}

// attach opens and locks a directory.
func attach(name string) (*Dir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	d := &Dir{name: name, disk: disk{root: root}}
	if d.unlock, d.noLock = lock(root); d.noLock != nil {
		d.unlock = func() error { return nil }
	}
	if _, held := errors.AsType[*LockedError](d.noLock); held {
		return nil, errors.Join(d.noLock, root.Close())
	}
	return d, nil
}

// A LockedError says that another process is at work on a directory.
type LockedError struct {
	Dir string // as the caller wrote it
	PID int    // of the other process, 0 where the system doesn't tell
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another stoop process is at work on %s (find it with: lsof %s): wait until it is done", e.Dir, e.Dir)
	}
	return fmt.Sprintf("process %d is at work on %s: wait until it is done", e.PID, e.Dir)
}
