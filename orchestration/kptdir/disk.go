package kptdir

import (
	"errors"
	"io/fs"
	"os"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A disk is a directory as os.Root sees it, which nothing escapes through
// symlinks. All changes that this package makes to a directory go through its
// methods, one method call being one step that a crash can come before.
type disk struct {
	root *os.Root
	// fault is called before each step, from several goroutines; its error is
	// the step's. Only tests set it.
	fault func(op, name string) error
}

func (d *disk) step(op, name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, name)
}

func (d *disk) mkdir(name string) error {
	if err := d.step("mkdir", name); err != nil {
		return err
	}
	return d.root.Mkdir(name, 0o777)
}

func (d *disk) rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	return d.root.Rename(from, to)
}

func (d *disk) remove(name string) error {
	if err := d.step("remove", name); err != nil {
		return err
	}
	return d.root.Remove(name)
}

func (d *disk) symlink(target, name string) error {
	if err := d.step("symlink", name); err != nil {
		return err
	}
	return d.root.Symlink(target, name)
}

// create makes a new file and syncs it, unless many are made that syncAll will
// sync together. It gets the owner and permissions of the file old where there
// is one, and is executable as asked.
func (d *disk) create(name string, content []byte, executable bool, old fs.FileInfo, many bool) error {
	if err := d.step("create", name); err != nil {
		return err
	}
	perm := fs.FileMode(0o666)
	if executable {
		perm = 0o777
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	return errors.Join(d.fill(f, name, content, executable, old, many), f.Close())
}

func (d *disk) fill(f *os.File, name string, content []byte, executable bool, old fs.FileInfo, many bool) error {
	if err := d.step("write", name); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if old != nil {
		is, err := f.Stat()
		if err != nil {
			return err
		}
		keepOwner(f, is, old)
		perm := old.Mode().Perm()
		switch was := modeOf(perm) == kptpkg.Executable; {
		case executable && !was:
			perm |= perm >> 2 & 0o111 // for those who may read it
		case !executable:
			perm &^= 0o111
		}
		if perm != is.Mode().Perm() {
			if err := f.Chmod(perm); err != nil {
				return err
			}
		}
	}
	if many {
		return nil
	}
	if err := d.step("sync", name); err != nil {
		return err
	}
	return f.Sync()
}

// syncAll makes everything written to the directory's file system last.
func (d *disk) syncAll() error {
	if err := d.step("sync", "."); err != nil {
		return err
	}
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(syncFileSystem(f), f.Close())
}

// syncDir makes the renames and removals in a directory last.
func (d *disk) syncDir(name string) error {
	if err := d.step("sync", name); err != nil {
		return err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(syncDirectory(f), f.Close())
}

// isDir says whether name is a directory, and not a link to one.
func (d *disk) isDir(name string) bool {
	info, err := d.root.Lstat(name)
	return err == nil && info.IsDir()
}

// entries lists a directory.
func (d *disk) entries(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}
