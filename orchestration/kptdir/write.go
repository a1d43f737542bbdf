package kptdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"golang.org/x/sync/errgroup"
)

// write carries out a plan.
func (d *Dir) write(ctx context.Context, p *plan) error {
	if d.noLock != nil {
		return d.noLock
	}
	if err := d.disk.mkdir(stageName); err != nil {
		return failed(stageName, "make the staging directory", err)
	}
	t := transaction{disk: &d.disk, manifest: &p.manifest, waits: make([]bool, len(p.Put))}
	if err := t.prepare(ctx, p.files); err != nil {
		return errors.Join(err, d.disk.discard())
	}
	return t.complete()
}

// recover finishes what an earlier process has decided, or removes what it had
// only begun.
func (d *Dir) recover() error {
	info, err := d.disk.root.Lstat(stageName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed(stageName, "open", err)
	}
	if !info.IsDir() {
		return refuse(stageName, "not a directory: the name is reserved for stoop, rename it")
	}
	if d.noLock != nil {
		return d.noLock
	}
	f, err := d.disk.root.OpenFile(manifestPath, openNonblock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return d.disk.discard()
	}
	if err != nil {
		return failed(manifestPath, "open", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return unusable(errors.Join(errors.New("not a file"), err))
	}
	m, err := decodeManifest(f)
	if err != nil {
		return unusable(err)
	}
	t := transaction{disk: &d.disk, manifest: m, waits: make([]bool, len(m.Put))}
	if err := t.resume(); err != nil {
		return unusable(err)
	}
	return t.complete()
}

// unusable wraps the reason why a manifest can't be carried out.
func unusable(err error) error {
	return fmt.Errorf("a crash left a write unfinished and %s can't be followed (to keep the directory as it is now, remove %s in it): %w",
		manifestPath, stageName, err)
}

// ownFile matches the names that stoop gives to files in the staging directory.
var ownFile = regexp.MustCompile(`^(?:[0-9]+|manifest\.(?:json|tmp))$`)

// discard removes the staging directory, and nothing in it that isn't stoop's.
// The manifest has to be gone already, or has never been there.
func (d *disk) discard() error {
	entries, err := d.entries(stageName)
	if err != nil {
		return failed(stageName, "list", err)
	}
	for _, e := range entries {
		if e.IsDir() || !ownFile.MatchString(e.Name()) {
			return refuse(path.Join(stageName, e.Name()), "not a file of stoop, but %s is reserved for it: move it elsewhere", stageName)
		}
	}
	for _, e := range entries {
		if err := d.remove(path.Join(stageName, e.Name())); err != nil {
			return failed(path.Join(stageName, e.Name()), "remove", err)
		}
	}
	if err := d.remove(stageName); err != nil {
		return failed(stageName, "remove", err)
	}
	return nil
}

// A transaction carries out one manifest, whose files are staged.
type transaction struct {
	*disk
	*manifest
	waits   []bool // which files of Put are still in the staging directory
	removed bool   // all of Remove is done, because a file has been put since
}

// prepare stages the files and writes the manifest. When it returns nil the
// write is decided.
func (t *transaction) prepare(ctx context.Context, files []*kptpkg.File) error {
	group, running := errgroup.WithContext(ctx)
	// Syncs that wait together cost the disk one, but each costs the processor
	// something: past a few files one for all is cheaper, and then nobody waits.
	many := canSyncFileSystem && len(files) > 16
	group.SetLimit(16)
	if many {
		group.SetLimit(1)
	}
	for i, f := range files {
		group.Go(func() error {
			if err := running.Err(); err != nil {
				return err
			}
			return t.stage(i, f, many)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if many {
		if err := t.syncAll(); err != nil {
			return failed(stageName, "sync", err)
		}
	}
	for i := range t.waits {
		t.waits[i] = true
	}
	if err := t.check(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := t.encode()
	if err != nil {
		return err
	}
	temp := path.Join(stageName, manifestTemp)
	if err := t.create(temp, text, false, nil, false); err != nil {
		return failed(temp, "write", err)
	}
	// what is staged has to last before the manifest does
	for _, dir := range []string{".", stageName} {
		if err := t.syncDir(dir); err != nil {
			return failed(dir, "sync", err)
		}
	}
	if err := t.rename(temp, manifestPath); err != nil {
		return failed(manifestPath, "write", err)
	}
	return nil
}

func (t *transaction) stage(i int, f *kptpkg.File, many bool) error {
	content, err := f.Bytes()
	if err != nil {
		return err
	}
	if f.Mode() == kptpkg.Symlink {
		err = t.symlink(string(content), staged(i))
	} else {
		old, statErr := t.root.Lstat(f.Path())
		if statErr != nil || !old.Mode().IsRegular() {
			old = nil
		}
		err = t.create(staged(i), content, f.Mode() == kptpkg.Executable, old, many)
	}
	if err != nil {
		return failed(f.Path(), "stage", err)
	}
	return nil
}

// resume looks how far an earlier process came. What it staged is not trusted.
func (t *transaction) resume() error {
	for i, c := range t.Put {
		info, err := t.root.Lstat(staged(i))
		if errors.Is(err, fs.ErrNotExist) {
			t.removed = true
			continue
		}
		if err != nil {
			return failed(staged(i), "open", err)
		}
		if !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
			return refuse(staged(i), "not a file")
		}
		is, err := t.sum(staged(i), info)
		if err != nil {
			return failed(staged(i), "read", err)
		}
		if is != c.New {
			return refuse(c.Path, "the staged file %s is not what was to be written", staged(i))
		}
		if info.Mode().Type() == fs.ModeSymlink {
			target, err := t.root.Readlink(staged(i))
			if err != nil {
				return failed(staged(i), "read link", err)
			}
			if err := checkLink(c.Path, target); err != nil {
				return err
			}
		}
		t.waits[i] = true
	}
	return t.check()
}

// complete carries out a manifest that is decided and checked.
func (t *transaction) complete() error {
	// the manifest has to last before anything changes
	err := t.syncDir(stageName)
	if err == nil {
		err = t.apply()
	}
	if err == nil {
		err = t.finish()
	}
	if err != nil {
		return fmt.Errorf("the write is not finished, the next stoop command on this directory will try to: %w", err)
	}
	return nil
}

// apply removes, renames, and removes directories left empty. Done twice it
// does nothing the second time.
func (t *transaction) apply() error {
	touched := map[string]bool{} // directories to sync
	if !t.removed {
		for _, c := range t.Remove {
			info, err := t.root.Lstat(c.Path)
			if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
				continue // gone, and a directory is there for a file of Put
			}
			if err != nil {
				return failed(c.Path, "remove", err)
			}
			if err := t.remove(c.Path); err != nil {
				return failed(c.Path, "remove", err)
			}
			touched[path.Dir(c.Path)] = true
		}
		// the first rename says that all of this is done
		if err := t.syncDirs(touched); err != nil {
			return err
		}
	}
	made := map[string]bool{} // directories that are there
	for i, c := range t.Put {
		if !t.waits[i] {
			continue
		}
		if t.isDir(c.Path) {
			if err := t.removeDirs(c.Path, touched); err != nil {
				return err
			}
		}
		for dir := range parents(c.Path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if t.isDir(dir) {
				continue
			}
			if err := t.mkdir(dir); err != nil {
				return failed(dir, "make directory", err)
			}
			touched[path.Dir(dir)] = true
		}
		if err := t.rename(staged(i), c.Path); err != nil {
			return failed(c.Path, "write", err)
		}
		touched[path.Dir(c.Path)] = true
	}
	t.prune(touched)
	return t.syncDirs(touched)
}

// prune removes the directories that the removals left empty. touched are the
// directories to sync; one that is removed needs it no more, the one above does.
func (t *transaction) prune(touched map[string]bool) {
	above := map[string]bool{}
	for _, c := range t.Remove {
		for dir := range parents(c.Path) {
			above[dir] = true
		}
	}
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(above))) { // what is inside first
		// one that isn't empty stays; one that can't be removed does no harm
		if t.realDir(dir) && t.remove(dir) == nil {
			delete(touched, dir)
			touched[path.Dir(dir)] = true
		}
	}
}

// realDir says whether name and all above it are directories, not links.
func (t *transaction) realDir(name string) bool {
	for dir := range parents(name) {
		if !t.isDir(dir) {
			return false
		}
	}
	return t.isDir(name)
}

// removeDirs removes a directory that holds nothing but directories.
func (t *transaction) removeDirs(dir string, touched map[string]bool) error {
	entries, err := t.entries(dir)
	if err != nil {
		return failed(dir, "list", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			return refuse(path.Join(dir, e.Name()), "appeared while the directory was being replaced by a file")
		}
		if err := t.removeDirs(path.Join(dir, e.Name()), touched); err != nil {
			return err
		}
	}
	if err := t.remove(dir); err != nil {
		return failed(dir, "remove", err)
	}
	delete(touched, dir)
	return nil
}

func (t *transaction) syncDirs(dirs map[string]bool) error {
	for dir := range dirs {
		if err := t.syncDir(dir); err != nil {
			return failed(dir, "sync", err)
		}
	}
	return nil
}

// finish takes the manifest away, so that what users do from now on is theirs,
// and then the staging directory.
func (t *transaction) finish() error {
	if err := t.remove(manifestPath); err != nil {
		return failed(manifestPath, "remove", err)
	}
	if err := t.syncDir(stageName); err != nil {
		return failed(stageName, "sync", err)
	}
	return t.discard()
}
