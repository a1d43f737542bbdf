package kptdir

import (
	"errors"
	"io/fs"
	"path"
)

// check refuses to go on where a path doesn't hold what the manifest found
// there, or can't be changed. What has happened already is fine.
func (t *transaction) check() error {
	root, err := t.root.Stat(".")
	if err != nil {
		return failed(".", "open", err)
	}
	c := checker{transaction: t, root: root, dirs: map[string]dirState{}, locked: map[string]error{},
		goes: map[string]bool{}, twins: map[string]sum{}, needed: map[string]bool{}}
	var remove, put []change // what is still to be done
	if !t.removed {
		remove = t.Remove
	}
	for i, p := range t.Put {
		if t.waits[i] {
			put = append(put, p)
		}
	}
	for _, r := range remove {
		c.goes[r.Path] = true
		c.twins[fold(r.Path)] = r.Old
	}
	for _, p := range put {
		for dir := range parents(p.Path) {
			c.needed[dir] = true
		}
	}
	for _, r := range remove {
		if err := c.remove(r); err != nil {
			return err
		}
	}
	for _, p := range put {
		if err := c.put(p); err != nil {
			return err
		}
	}
	return nil
}

// A checker checks the changes of a transaction that are still to be made.
type checker struct {
	*transaction
	root   fs.FileInfo         // of the directory itself
	dirs   map[string]dirState // directories above changes, as seen
	locked map[string]error    // why entries of a directory can't be changed, nil when they can
	goes   map[string]bool     // files to remove
	twins  map[string]sum      // what they hold, by folded path
	needed map[string]bool     // directories that files of Put go to
}

// remove checks a path to remove: what was read is there, or nothing.
func (c *checker) remove(r change) error {
	is, err := c.find(r.Path)
	switch {
	case err != nil:
		return err
	case is == none, is == r.Old, is == directory && c.needed[r.Path]:
		return nil
	}
	return changed(r.Path)
}

// put checks a path to write: what was read is there, or already what is to be.
func (c *checker) put(p change) error {
	is, err := c.find(p.Path)
	switch {
	case err != nil:
		return err
	case is == p.Old, is == p.New:
		return nil
	case is == directory && p.Old == none:
		return c.onlyRemoved(p.Path, p.Path)
	case p.Old == none && is == c.twins[fold(p.Path)]:
		return nil // another spelling of a file to remove, where both are one
	}
	return changed(p.Path)
}

// onlyRemoved checks that a directory which a file takes the place of holds
// nothing but files to remove.
func (c *checker) onlyRemoved(dir, put string) error {
	entries, err := c.entries(dir)
	if err != nil {
		return failed(dir, "list", err)
	}
	if err := c.changeable(dir); err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if e.IsDir() {
			if err := c.onlyRemoved(p, put); err != nil {
				return err
			}
		} else if !c.goes[p] {
			return refuse(p, "is in the way: %s has to become a file; move it elsewhere", put)
		}
	}
	return nil
}

// directory is what find returns for a directory.
const directory sum = "directory"

// find returns what is at p: none, directory, or the sum of a file. It refuses
// what can't be replaced.
func (c *checker) find(p string) (sum, error) {
	if there, err := c.above(p); err != nil || !there {
		return none, err
	}
	info, err := c.disk.root.Lstat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case err != nil:
		return none, failed(p, "open", err)
	case info.IsDir():
		return directory, nil
	case !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink:
		return none, changed(p)
	case !sameDevice(info, c.root):
		return none, refuse(p, "a mount point: it can't be replaced")
	}
	s, err := c.sum(p, info)
	if err != nil {
		return none, failed(p, "read", err)
	}
	return s, nil
}

// above checks the directories above p: whether they are all there, and that
// the nearest one that is can be changed.
func (c *checker) above(p string) (there bool, err error) {
	nearest := "."
	for dir := range parents(p) {
		state, seen := c.dirs[dir]
		if !seen {
			state = c.dir(dir)
			c.dirs[dir] = state
		}
		if state.err != nil {
			return false, state.err
		}
		if !state.there {
			return false, c.changeable(nearest)
		}
		nearest = dir
	}
	return true, c.changeable(nearest)
}

// dirState is what is where a directory is expected: one, nothing, or something
// that is in the way.
type dirState struct {
	there bool
	err   error
}

func (c *checker) dir(dir string) dirState {
	info, err := c.disk.root.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dirState{}
	case err != nil:
		return dirState{err: failed(dir, "open", err)}
	case !info.IsDir() && c.goes[dir]:
		return dirState{}
	case !info.IsDir():
		return dirState{err: refuse(dir, "a file or symlink where a directory was expected: stoop doesn't write through links")}
	case !sameDevice(info, c.root):
		return dirState{err: refuse(dir, "a mount point: files can't be moved there, run stoop on this directory itself")}
	}
	return dirState{there: true}
}

// changeable checks that files can be made and removed in a directory.
func (c *checker) changeable(dir string) error {
	err, seen := c.locked[dir]
	if seen {
		return err
	}
	if err = c.writable(dir); err != nil {
		err = failed(dir, "write directory", err)
	}
	c.locked[dir] = err
	return err
}

// writable says, with an error, why entries of a directory can't be changed.
func (d *disk) writable(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(writable(f), f.Close())
}

func changed(p string) error {
	return refuse(p, "changed on disk since stoop read it: run stoop again")
}
