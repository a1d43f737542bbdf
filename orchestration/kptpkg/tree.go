// Package kptpkg holds kpt packages as values: no I/O, no clock, nothing that
// changes under a reader.
package kptpkg

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stoop-dev/stoop/internal/yamldoc"
)

// KptfileName is the file that makes a directory a kpt package.
const KptfileName = "Kptfile"

// A Tree is a directory of files as a value: a package when there is a Kptfile
// at its root, a workspace when it is all that stoop was given. With and
// Without return a changed copy, so a retry starts from what the first try was
// given. The zero Tree is empty. Paths have slashes, are clean and relative.
type Tree struct {
	files map[string]*File
	index *index // of files, made on first use
}

type index struct {
	once     sync.Once
	paths    []string // sorted
	packages []string // directories with a Kptfile, sorted, "." for the root
}

// NewTree makes a Tree of files. Paths are checked as [CheckPath] does, and the
// same path twice is an error.
func NewTree(files ...*File) (Tree, error) {
	t := Tree{files: make(map[string]*File, len(files)), index: new(index)}
	for _, f := range files {
		if err := CheckPath(f.path); err != nil {
			return Tree{}, err
		}
		if _, twice := t.files[f.path]; twice {
			return Tree{}, fmt.Errorf("file %q: given twice", f.path)
		}
		t.files[f.path] = f
	}
	return t, nil
}

// CheckPath refuses what must never be written below a package: an empty,
// absolute, unclean or escaping path, a backslash, a control character, and
// anything in a .git directory.
func CheckPath(p string) error {
	why := ""
	switch {
	case p == "" || p == ".":
		why = "is empty"
	case strings.HasPrefix(p, "/"):
		why = "is absolute"
	case p == ".." || strings.HasPrefix(p, "../") || strings.Contains(p, "/../") || strings.HasSuffix(p, "/.."):
		why = "leads out of the package (..)"
	case strings.ContainsRune(p, '\\'):
		why = "has a backslash"
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		why = "has a control character"
	case path.Clean(p) != p:
		why = "is not clean (write " + path.Clean(p) + ")"
	case len(p) > 2 && p[1] == ':' && p[2] == '/':
		why = "is absolute"
	default:
		for _, seg := range strings.Split(p, "/") {
			if isGitDir(seg) {
				why = "is inside a .git directory"
			}
		}
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("path %q %s: files stay inside the package, with a clean relative path", p, why)
}

// isGitDir says whether a path segment would be .git on some file system: any
// case, the names Windows takes for it (git~1, trailing dots and spaces, the name of
// a stream), and those HFS+ does, which sees some characters not at all.
func isGitDir(seg string) bool {
	s, _, _ := strings.Cut(seg, ":")
	s = strings.Map(func(r rune) rune {
		if unseenByHFS(r) {
			return -1
		}
		return r
	}, s)
	s = strings.ToLower(strings.TrimRight(s, ". "))
	return s == ".git" || s == "git~1"
}

// unseenByHFS says whether HFS+ takes names with and without a character for the
// same. The list is git's.
func unseenByHFS(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}

func (t Tree) idx() *index {
	if t.index == nil {
		return &index{}
	}
	t.index.once.Do(func() {
		t.index.paths = slices.Sorted(maps.Keys(t.files))
		for _, p := range t.index.paths {
			if path.Base(p) == KptfileName {
				t.index.packages = append(t.index.packages, path.Dir(p))
			}
		}
		slices.Sort(t.index.packages)
	})
	return t.index
}

// Paths are the paths of all files, sorted. The slice is shared: don't change it.
func (t Tree) Paths() []string { return t.idx().paths }

// Packages are the directories that hold a Kptfile, sorted; "." is the root.
// The slice is shared: don't change it.
func (t Tree) Packages() []string { return t.idx().packages }

// Len is the number of files.
func (t Tree) Len() int { return len(t.files) }

// File returns the file at path, nil when there is none.
func (t Tree) File(path string) *File { return t.files[path] }

// With returns the tree with files added or replaced. Paths are checked.
func (t Tree) With(files ...*File) (Tree, error) {
	out := Tree{files: maps.Clone(t.files), index: new(index)}
	if out.files == nil {
		out.files = make(map[string]*File, len(files))
	}
	for _, f := range files {
		if err := CheckPath(f.path); err != nil {
			return Tree{}, err
		}
		out.files[f.path] = f
	}
	return out, nil
}

// Without returns the tree without the files at paths.
func (t Tree) Without(paths ...string) Tree {
	out := Tree{files: maps.Clone(t.files), index: new(index)}
	for _, p := range paths {
		delete(out.files, p)
	}
	return out
}

// Sub returns the tree below dir with paths relative to it; "." is the tree
// itself.
func (t Tree) Sub(dir string) Tree {
	if dir == "." || dir == "" {
		return t
	}
	out := Tree{files: map[string]*File{}, index: new(index)}
	paths := t.Paths()
	from, _ := slices.BinarySearch(paths, dir+"/")
	for _, p := range paths[from:] {
		rel, ok := strings.CutPrefix(p, dir+"/")
		if !ok {
			break
		}
		out.files[rel] = t.files[p].At(rel)
	}
	return out
}

// Replace returns the tree with everything below dir replaced by sub.
func (t Tree) Replace(dir string, sub Tree) Tree {
	if dir == "." || dir == "" {
		return sub
	}
	out := Tree{files: make(map[string]*File, len(t.files)+len(sub.files)), index: new(index)}
	for p, f := range t.files {
		if !strings.HasPrefix(p, dir+"/") {
			out.files[p] = f
		}
	}
	for p, f := range sub.files {
		out.files[path.Join(dir, p)] = f.At(path.Join(dir, p))
	}
	return out
}

// PackageOf returns the directory of the nearest Kptfile at or above dir; ok is
// false when there is none up to the root.
func (t Tree) PackageOf(dir string) (pkg string, ok bool) {
	for {
		if t.files[path.Join(dir, KptfileName)] != nil {
			return dir, true
		}
		if dir == "." || dir == "" {
			return "", false
		}
		dir = path.Dir(dir)
	}
}

// Mode is what kind of file a File is.
type Mode uint8

// The modes that git knows and packages can hold.
const (
	Regular Mode = iota
	Executable
	Symlink // the content is the link's target
)

// A File is one file of a Tree: bytes, or documents that have yet to be turned
// into bytes. It is immutable.
type File struct {
	path string
	mode Mode
	*body
}

// body is shared by a file and its copies at other paths.
type body struct {
	read    bool // from bytes; else it was made of docs
	rawOnce sync.Once
	raw     []byte
	rawErr  error

	docsOnce sync.Once
	docs     []*yamldoc.Doc
}

// NewFile is a file read from bytes. The caller gives up content.
func NewFile(path string, mode Mode, content []byte) *File {
	b := &body{read: true, raw: content}
	b.rawOnce.Do(func() {})
	return &File{path: path, mode: mode, body: b}
}

// NewDocs is a regular file made of YAML documents.
func NewDocs(path string, docs ...*yamldoc.Doc) *File {
	b := &body{docs: docs}
	b.docsOnce.Do(func() {})
	return &File{path: path, body: b}
}

// Path is where the file is, relative to its tree.
func (f *File) Path() string { return f.path }

// Mode is what kind of file it is.
func (f *File) Mode() Mode { return f.mode }

// At is the same file at another path.
func (f *File) At(path string) *File {
	if f.path == path {
		return f
	}
	return &File{path: path, mode: f.mode, body: f.body}
}

// Bytes is the content of the file: of a file read, the bytes as they came; of
// a file made of documents, their bytes joined, with separator lines where
// documents have none of their own.
func (f *File) Bytes() ([]byte, error) {
	f.rawOnce.Do(func() { f.raw, f.rawErr = yamldoc.Join(f.docs) })
	if f.rawErr != nil {
		return nil, fmt.Errorf("%s: %w", f.path, f.rawErr)
	}
	return f.raw, nil
}

// Text is the bytes that the file was read from, nil for a file made of
// documents: what to look at before anything is parsed.
func (f *File) Text() []byte {
	if !f.read {
		return nil
	}
	return f.raw
}

// Docs are the YAML documents of the file, in order, those without content
// included. Nothing is parsed until a document's Root is asked for. Only ask
// for the documents of a file that [File.IsYAML].
func (f *File) Docs() []*yamldoc.Doc {
	f.docsOnce.Do(func() { f.docs = yamldoc.Split(f.raw) })
	return f.docs
}

// WithDocs is the file with other documents.
func (f *File) WithDocs(docs ...*yamldoc.Doc) *File {
	n := NewDocs(f.path, docs...)
	n.mode = f.mode
	return n
}

// IsYAML says whether the name is one that kpt reads resources from: *.yaml,
// *.yml, *.json and Kptfile. A symlink is none.
func (f *File) IsYAML() bool {
	if f.mode == Symlink {
		return false
	}
	switch path.Ext(f.path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return path.Base(f.path) == KptfileName
}
