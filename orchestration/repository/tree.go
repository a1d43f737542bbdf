package repository

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

const (
	maxLinkTarget = 4096   // bytes; what file systems take
	maxLFSPointer = 1024   // bytes; the LFS specification's bound
	maxSearched   = 10_000 // directories, for a hint
)

// lfsPointer begins the file that Git LFS keeps in place of the content.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/")

// entry is a file of a package whose content is still to be read.
type entry struct {
	path string
	mode kptpkg.Mode
	hash plumbing.Hash
}

// readPackage reads the directory of a commit: all of the names first, then the
// sizes, then the content, so that what won't do costs as little as possible.
func (r *repo) readPackage(ctx context.Context, commit, root plumbing.Hash, dir string) (kptpkg.Tree, error) {
	at, err := r.findDirectory(root, dir)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	w := walker{objects: r, limits: r.limits, paths: paths{}}
	if err := w.walk(ctx, at, "", 1); err != nil {
		return kptpkg.Tree{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	want := make([]plumbing.Hash, 0, len(w.files))
	for _, f := range w.files {
		want = append(want, f.hash)
	}
	slices.SortFunc(want, func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
	if err := r.blobs(ctx, commit, slices.Compact(want)); err != nil {
		return kptpkg.Tree{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	if err := r.checkSizes(w.files); err != nil {
		return kptpkg.Tree{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	tree, err := r.readFiles(ctx, w.files)
	if err != nil {
		return kptpkg.Tree{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	return tree, nil
}

// findDirectory returns the git tree of dir.
func (r *repo) findDirectory(root plumbing.Hash, dir string) (plumbing.Hash, error) {
	if dir == "/" {
		return root, nil
	}
	at := root
	for seg := range strings.SplitSeq(dir, "/") {
		entries, err := readTree(r, at)
		if err != nil {
			return at, fmt.Errorf("directory %s: %w", dir, err)
		}
		i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.name == seg })
		if i < 0 {
			return at, r.directoryNotFound(root, dir)
		}
		switch entries[i].mode & modeType {
		case modeDir:
		case modeGitlink:
			return at, fmt.Errorf("directory %s is in the submodule %q: fetch it from the submodule's own repository", dir, seg)
		default:
			return at, fmt.Errorf("directory %s %w: %q is a file", dir, ErrNotFound, seg)
		}
		at = entries[i].hash
	}
	return at, nil
}

func (r *repo) directoryNotFound(root plumbing.Hash, dir string) error {
	hint := ": no directory has a Kptfile"
	if near := nearest(dir, r.packageDirs(root)); len(near) > 0 {
		hint = ": there are packages in " + strings.Join(near, ", ")
	}
	return fmt.Errorf("directory %s %w%s", dir, ErrNotFound, hint)
}

// packageDirs are the directories with a Kptfile, for a hint: it stops quietly
// after enough of a large repository, and at what can't be read.
func (r *repo) packageDirs(root plumbing.Hash) []string {
	type dir struct {
		path string
		hash plumbing.Hash
	}
	var found []string
	todo := []dir{{".", root}}
	for i := 0; i < len(todo) && i < maxSearched; i++ {
		entries, err := readTree(r, todo[i].hash)
		if err != nil {
			return found
		}
		for _, e := range entries {
			switch {
			case e.mode&modeType == modeDir && len(todo) < maxSearched && len(todo[i].path) < maxLocation:
				todo = append(todo, dir{path.Join(todo[i].path, e.name), e.hash})
			case e.name == kptpkg.KptfileName && e.mode&modeType == modeRegular:
				found = append(found, todo[i].path)
			}
		}
	}
	return found
}

// walker lists the files of a package.
type walker struct {
	objects
	limits Limits
	files  []entry
	count  int // of files and directories
	paths  paths
}

// paths are those of a package, each by its name on a file system that ignores
// case.
type paths map[string]string

// add refuses what can't be in a package, alone or beside the paths before.
func (p paths) add(name string) error {
	if err := kptpkg.CheckPath(name); err != nil {
		return err
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("path %q is not UTF-8: rename the file", name)
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg = strings.TrimRight(seg, ". "); strings.EqualFold(seg, ".stoop") || strings.EqualFold(seg, ".stoop.lock") {
			return fmt.Errorf("%s: the name %s is reserved for stoop's own files: rename it", name, seg)
		}
	}
	fold := strings.ToLower(strings.ToUpper(name))
	if other, twice := p[fold]; twice {
		return fmt.Errorf("paths %q and %q are the same where case is ignored: rename one", other, name)
	}
	p[fold] = name
	return nil
}

func (w *walker) walk(ctx context.Context, tree plumbing.Hash, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if depth > w.limits.Depth {
		return fmt.Errorf("%s: directories are nested more than %d deep", shorten(dir), w.limits.Depth)
	}
	entries, err := readTree(w, tree)
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(".", dir), err)
	}
	// Directories count too: a few small trees that hold one another many
	// times over make millions of them.
	if w.count += len(entries); w.count > w.limits.Files {
		return fmt.Errorf("has more than %d files and directories: --max-files sets another limit", w.limits.Files)
	}
	for _, e := range entries {
		p := e.name
		if dir != "" {
			p = dir + "/" + e.name
		}
		if strings.Contains(e.name, "/") {
			return fmt.Errorf("path %q: a name has a slash", p)
		}
		if err := w.paths.add(p); err != nil {
			return err
		}
		f := entry{path: p, hash: e.hash}
		switch e.mode & modeType {
		case modeDir:
			if err := w.walk(ctx, e.hash, p, depth+1); err != nil {
				return err
			}
			continue
		case modeSymlink:
			f.mode = kptpkg.Symlink
		case modeGitlink:
			return fmt.Errorf("%s is a submodule: packages can't hold one; commit its files instead", p)
		case modeRegular:
			if e.mode&0o100 != 0 {
				f.mode = kptpkg.Executable
			}
		default:
			return fmt.Errorf("%s: git mode %o is neither a file nor a symlink", p, e.mode)
		}
		w.files = append(w.files, f)
	}
	return nil
}

func (r *repo) checkSizes(files []entry) error {
	total := int64(0)
	for _, f := range files {
		n, err := r.size(f.hash)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if err := r.limits.checkFile(n, f.mode); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if total += n; total > r.limits.TotalBytes {
			return fmt.Errorf("its files have more than %s: --max-total-bytes sets another limit", size(r.limits.TotalBytes))
		}
	}
	return nil
}

func (r *repo) readFiles(ctx context.Context, files []entry) (kptpkg.Tree, error) {
	out := make([]*kptpkg.File, 0, len(files))
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return kptpkg.Tree{}, context.Cause(ctx)
		}
		typ, content, err := r.read(f.hash, r.limits.FileBytes)
		if err != nil {
			return kptpkg.Tree{}, fmt.Errorf("%s: %w", f.path, err)
		}
		if typ != plumbing.BlobObject {
			return kptpkg.Tree{}, fmt.Errorf("%s: malformed git tree: a file is a %s", f.path, typ)
		}
		if err := checkContent(f.path, f.mode, content); err != nil {
			return kptpkg.Tree{}, err
		}
		out = append(out, kptpkg.NewFile(f.path, f.mode, content))
	}
	return kptpkg.NewTree(out...)
}

// checkContent refuses files that aren't what they seem.
func checkContent(p string, mode kptpkg.Mode, content []byte) error {
	switch {
	case mode == kptpkg.Symlink:
		return checkLink(p, string(content))
	case len(content) < maxLFSPointer && bytes.HasPrefix(content, lfsPointer):
		return fmt.Errorf("%s is a Git LFS pointer: its content is not in the repository; commit the file without LFS", p)
	}
	return nil
}

// checkLink refuses a symlink that leads out of the package. A .. is only
// understood at the front, where it climbs real directories: after a name it
// climbs from wherever that name, if a symlink itself, leads.
func checkLink(p, target string) error {
	bad := func(why string) error {
		return fmt.Errorf("%s is a symlink to %q, which %s: packages keep to themselves", p, target, why)
	}
	if target == "" || path.IsAbs(target) {
		return bad("is no relative path")
	}
	named := false
	for seg := range strings.SplitSeq(target, "/") {
		switch seg {
		case "", ".":
		case "..":
			if named {
				return bad("goes up (..) after it went down")
			}
		default:
			named = true
		}
	}
	to := path.Join(path.Dir(p), target)
	if to == "." {
		return nil
	}
	if err := kptpkg.CheckPath(to); err != nil {
		return bad("leads out of the package, or to what can't be in one")
	}
	return nil
}
