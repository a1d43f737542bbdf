package repository

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// maxAlternates bounds how many object directories one repository may borrow.
const maxAlternates = 32

// maxSymbolic bounds how many symbolic refs may lead to one another; git's own
// bound.
const maxSymbolic = 5

// maxPointer bounds the small files that lead from one directory to another.
const maxPointer = 1 << 20

// IsRepository says whether dir is a git repository on disk, bare or with a
// .git in it.
func IsRepository(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		return true
	}
	return isGitDir(dir)
}

func isGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// local reads a repository on disk in place, without git and without writing.
type local struct {
	given  string // the repository as the user named it
	dir    string // the same, permitted, absolute and without symlinks
	access Access

	stores    []*filesystem.ObjectStorage // its own, then those it borrows from; nil until open
	headDir   string                      // where HEAD is
	commonDir string                      // where refs are that worktrees share
	objectDir string                      // where objects are written
}

func (l *local) refs(context.Context) (refs, error) {
	if err := l.open(); err != nil {
		return refs{}, err
	}
	list, _, err := l.readRefs()
	if err != nil {
		return refs{}, fmt.Errorf("reading refs: %w", err)
	}
	return list, nil
}

// readRefs reads the refs, and the file that has most of them.
func (l *local) readRefs() (refs, *packedRefs, error) {
	list := refs{hashes: map[string]plumbing.Hash{}}
	symbolic := map[string]string{} // what a ref is another name of
	// Git moves refs from files of their own to packed-refs: read in that order
	// none is missed.
	if err := l.looseRefs(list.hashes, symbolic); err != nil {
		return refs{}, nil, err
	}
	packed, err := readPackedRefs(filepath.Join(l.commonDir, "packed-refs"))
	if err != nil {
		return refs{}, nil, err
	}
	for name, line := range packed.lines {
		_, loose := list.hashes[name]
		if _, named := symbolic[name]; !loose && !named {
			list.hashes[name] = plumbing.NewHash(line[:len(plumbing.ZeroHash)*2])
		}
	}
	for name, to := range symbolic {
		if name == "HEAD" && strings.HasPrefix(to, "refs/heads/") {
			list.head = strings.TrimPrefix(to, "refs/heads/")
		}
		for range maxSymbolic {
			next, ok := symbolic[to]
			if !ok {
				break
			}
			to = next
		}
		if h, ok := list.hashes[to]; ok {
			list.hashes[name] = h // one that leads nowhere is as good as none
		}
	}
	return list, packed, nil
}

// looseRefs reads the refs that have files of their own. go-git's reader takes
// the lock files of somebody who is about to change a ref for refs, and fails
// when they are empty.
func (l *local) looseRefs(hashes map[string]plumbing.Hash, symbolic map[string]string) error {
	read := func(name, file string) error {
		content, err := readSmall(file)
		text := strings.TrimSpace(string(content))
		switch to, isName := strings.CutPrefix(text, "ref:"); {
		case errors.Is(err, fs.ErrNotExist), err == nil && text == "": // gone, or about to be
		case err != nil:
			return err
		case isName:
			symbolic[name] = strings.TrimSpace(to)
		case len(text) == 2*len(plumbing.ZeroHash) && plumbing.IsHash(text):
			hashes[name] = plumbing.NewHash(text)
		default:
			return fmt.Errorf("%s holds %q, and no commit", name, shorten(text))
		}
		return nil
	}
	err := filepath.WalkDir(filepath.Join(l.commonDir, "refs"), func(file string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.Type().IsRegular() || strings.HasSuffix(file, ".lock"):
			return nil
		}
		name, err := filepath.Rel(l.commonDir, file)
		if err != nil {
			return err
		}
		return read(filepath.ToSlash(name), file)
	})
	if err != nil {
		return err
	}
	return read("HEAD", filepath.Join(l.headDir, "HEAD"))
}

func (l *local) open() error {
	if l.stores != nil {
		return nil
	}
	gitDir, err := l.gitDir()
	if err != nil {
		return err
	}
	commonDir := gitDir
	if to, err := readPointer(filepath.Join(gitDir, "commondir"), ""); err == nil {
		if commonDir, err = l.follow(gitDir, to, "a worktree of"); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := checkFormat(filepath.Join(commonDir, "config")); err != nil {
		return err
	}
	dirs, err := l.objectDirs(filepath.Join(commonDir, "objects"))
	if err != nil {
		return err
	}
	objects := cache.NewObjectLRUDefault()
	var stores []*filesystem.ObjectStorage
	for _, dir := range dirs {
		// Descriptors stay open between reads, until close.
		stores = append(stores, filesystem.NewObjectStorageWithOptions(
			dotgit.New(quickMiss{osfs.New(filepath.Dir(dir)), filepath.Dir(dir)}), objects, filesystem.Options{KeepDescriptors: true}))
	}
	l.stores, l.headDir, l.commonDir, l.objectDir = stores, gitDir, commonDir, dirs[0]
	return nil
}

// quickMiss is a file system that says sooner what isn't there: go-git looks for
// a file of each object before it looks into packs, and go-billy looks for
// symlinks on every way.
type quickMiss struct {
	billy.Filesystem
	root string
}

// Open implements billy.Basic.
func (q quickMiss) Open(name string) (billy.File, error) {
	if _, err := os.Lstat(filepath.Join(q.root, name)); err != nil {
		return nil, err
	}
	return q.Filesystem.Open(name)
}

// gitDir finds the repository's own files: in .git, where .git leads to, or in
// the directory itself.
func (l *local) gitDir() (string, error) {
	if _, err := os.Stat(l.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if bare, ok := l.access.permitDir(l.dir + ".git"); ok && isGitDir(bare) {
				return bare, nil // where git looks too
			}
			return "", fmt.Errorf("repository %w%s", ErrNotFound, l.whereLooked())
		}
		return "", err
	}
	dot := filepath.Join(l.dir, ".git")
	info, err := os.Stat(dot)
	switch {
	case err == nil && info.IsDir():
		return l.follow(l.dir, ".git", "")
	case err == nil:
		to, err := readPointer(dot, "gitdir: ")
		if err != nil {
			return "", err
		}
		return l.follow(l.dir, to, "its .git leads to")
	case isGitDir(l.dir):
		return l.dir, nil
	}
	return "", fmt.Errorf("git repository %w in that directory%s", ErrNotFound, l.whereLooked())
}

// whereLooked names the repository's directory where the user's text doesn't.
func (l *local) whereLooked() string {
	switch {
	case !filepath.IsAbs(l.given):
		return fmt.Sprintf(": looked for at %s, as relative paths begin at the working directory", l.dir)
	case filepath.Clean(l.given) != l.dir:
		return fmt.Sprintf(": looked for at %s, where symlinks lead", l.dir)
	}
	return ""
}

// objectDirs returns dir and the object directories it borrows from, each once.
func (l *local) objectDirs(dir string) ([]string, error) {
	main, err := l.follow(filepath.Dir(dir), filepath.Base(dir), "objects are in")
	if err != nil {
		return nil, err
	}
	dirs := []string{main}
	for i := 0; i < len(dirs); i++ {
		if filepath.Base(dirs[i]) != "objects" {
			return nil, fmt.Errorf("objects are in %s, and can only be read from directories of the name objects", dirs[i])
		}
		f, err := os.Open(filepath.Join(dirs[i], "info", "alternates"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(io.LimitReader(f, maxPointer))
		for lines.Scan() {
			line := lines.Text()
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			to, err := l.follow(dirs[i], line, "objects are borrowed from")
			if err != nil {
				f.Close()
				return nil, err
			}
			if slices.Contains(dirs, to) {
				continue
			}
			if dirs = append(dirs, to); len(dirs) > maxAlternates {
				f.Close()
				return nil, fmt.Errorf("objects are borrowed from more than %d directories", maxAlternates)
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("reading alternates: %w", err)
		}
	}
	return dirs, nil
}

// follow returns the real path of what a repository's file leads to, which must
// be permitted as the repository itself is.
func (l *local) follow(from, to, why string) (string, error) {
	if !filepath.IsAbs(to) {
		to = filepath.Join(from, to)
	}
	real, ok := l.access.permitDir(to)
	if !ok {
		return "", &deniedError{fmt.Sprintf("%s %s, and reading there is not allowed; allow it with %s",
			why, real, allowFlag("file-repos", real))}
	}
	if _, err := os.Stat(real); err != nil {
		return "", err
	}
	return real, nil
}

// readSmall reads a file that is small where it is what it should be.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPointer))
}

func readPointer(name, prefix string) (string, error) {
	content, err := readSmall(name)
	if err != nil {
		return "", err
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(content)), strings.TrimSpace(prefix))
	if to = strings.TrimSpace(to); !ok || to == "" || strings.ContainsAny(to, "\n\x00") {
		return "", fmt.Errorf("%s leads nowhere", name)
	}
	return to, nil
}

// checkFormat refuses repositories whose refs or objects can't be read here,
// rather than find nothing in them.
func checkFormat(config string) error {
	f, err := os.Open(config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	raw := gitconfig.New()
	if err := gitconfig.NewDecoder(io.LimitReader(f, maxPointer)).Decode(raw); err != nil {
		return fmt.Errorf("reading its config: %w", err)
	}
	extensions := raw.Section("extensions")
	if format := extensions.Option("objectformat"); format != "" && !strings.EqualFold(format, "sha1") {
		return fmt.Errorf("its object format %s can't be read: only sha1 can", format)
	}
	if refs := extensions.Option("refstorage"); refs != "" && !strings.EqualFold(refs, "files") {
		return fmt.Errorf("its ref storage %s can't be read: only files can (git refs migrate --ref-format=files)", refs)
	}
	return nil
}

func (l *local) trees(_ context.Context, want ...plumbing.Hash) error {
	for _, h := range want {
		if _, err := l.size(h); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) blobs(context.Context, plumbing.Hash, []plumbing.Hash) error { return nil }

func (l *local) size(h plumbing.Hash) (int64, error) {
	n, _, err := l.find(h)
	return n, err
}

// find returns the store that has the object. Asking for the size first keeps
// go-git from following alternates on its own: it neither asks whether that is
// permitted nor notices circles.
func (l *local) find(h plumbing.Hash) (int64, *filesystem.ObjectStorage, error) {
	for _, store := range l.stores {
		n, err := store.EncodedObjectSize(h)
		if err == nil {
			return n, store, nil
		}
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return 0, nil, fmt.Errorf("object %s: %w", h, err)
		}
	}
	return 0, nil, fmt.Errorf("%w: %s", errNoObject, h)
}

func (l *local) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	n, store, err := l.find(h)
	if err == nil {
		err = checkSize(n, limit)
	}
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	o, err := store.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("object %s: %w", h, err)
	}
	r, err := o.Reader()
	if err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("object %s: %w", h, err)
	}
	defer r.Close()
	content := make([]byte, n)
	if _, err := io.ReadFull(r, content); err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("object %s: %w", h, err)
	}
	return o.Type(), content, nil
}

func (l *local) expand(prefix string) (plumbing.Hash, error) {
	var found []plumbing.Hash
	whole := plumbing.NewHash(prefix + strings.Repeat("0", 40-len(prefix)))
	for _, store := range l.stores {
		hashes, err := store.HashesWithPrefix(whole[:len(prefix)/2])
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("looking for commit %s: %w", prefix, err)
		}
		for _, h := range hashes {
			if !strings.HasPrefix(h.String(), prefix) || slices.Contains(found, h) {
				continue
			}
			if _, _, err := peel(l, h); err == nil {
				found = append(found, h)
			}
		}
	}
	switch len(found) {
	case 0:
		return plumbing.ZeroHash, ErrNotFound
	case 1:
		return found[0], nil
	}
	return plumbing.ZeroHash, fmt.Errorf("commit %s is ambiguous: write more digits of one of %s and %s", prefix, found[0], found[1])
}

func (l *local) close() {
	for _, store := range l.stores {
		_ = store.Close() // opened for reading: nothing can be lost
	}
}
