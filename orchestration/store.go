package orchestration

import (
	"path"
	"strings"
	"sync"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// store is the workspace while jobs work on it, each on a directory of its own:
// what a job takes and puts back costs by the size of its package, not of the
// workspace. It may be used concurrently.
type store struct {
	mu   sync.RWMutex
	root folder
	own  map[string]bool // files that are stoop's, no part of the package at the root
}

// folder is a directory: its files and the directories in it, by name.
type folder struct {
	files   map[string]*kptpkg.File
	folders map[string]*folder
	digest  string // of the package that it is, empty where nobody has asked
	changes int    // in it, by which a digest is known to be of what it was
}

func newStore(ws kptpkg.Tree, own map[string]bool) *store {
	s := &store{own: own}
	for _, p := range ws.Paths() {
		s.root.put(p, ws.File(p))
	}
	return s
}

func (d *folder) put(p string, f *kptpkg.File) {
	for {
		dir, rest, deeper := strings.Cut(p, "/")
		if !deeper {
			break
		}
		d, p = d.in(dir), rest
	}
	if d.files == nil {
		d.files = map[string]*kptpkg.File{}
	}
	d.files[p] = f
}

// in returns the folder of that name, made if there is none.
func (d *folder) in(name string) *folder {
	next := d.folders[name]
	if next == nil {
		if d.folders == nil {
			d.folders = map[string]*folder{}
		}
		next = &folder{}
		d.folders[name] = next
	}
	return next
}

// at returns the folder at dir, nil if there is none.
func (d *folder) at(dir string) *folder {
	if dir == "." {
		return d
	}
	for name := range strings.SplitSeq(dir, "/") {
		if d = d.folders[name]; d == nil {
			return nil
		}
	}
	return d
}

// any says whether there is a file below the folder of which is says yes, by its path
// there. A folder may be nil.
func (d *folder) any(prefix string, is func(p string, f *kptpkg.File) bool) bool {
	if d == nil {
		return false
	}
	for name, f := range d.files {
		if is(prefix+name, f) {
			return true
		}
	}
	for name, in := range d.folders {
		if in.any(prefix+name+"/", is) {
			return true
		}
	}
	return false
}

// each calls visit for all files below the folder, with paths below it.
func (d *folder) each(prefix string, visit func(p string, f *kptpkg.File)) {
	for name, f := range d.files {
		visit(prefix+name, f)
	}
	for name, in := range d.folders {
		in.each(prefix+name+"/", visit)
	}
}

// pkg is the package at target as it is now, without what is stoop's in it.
func (s *store) pkg(target string) kptpkg.Tree {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d := s.root.at(target)
	if d == nil {
		return kptpkg.Tree{}
	}
	if target != "." {
		return d.tree(nil)
	}
	return d.tree(s.own)
}

// has says whether there is anything at target, beside what is stoop's.
func (s *store) has(target string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.root.at(target).any("", func(p string, _ *kptpkg.File) bool { return target != "." || !s.own[p] })
}

// vacant says whether there is nothing at target that a package can't be made over.
func (s *store) vacant(target string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.vacantNow(target)
}

func (s *store) vacantNow(target string) bool {
	return !s.root.at(target).any("", func(p string, f *kptpkg.File) bool {
		return target != "." || !s.own[p] && !(p == kptpkg.KptfileName && task.IsBare(f))
	})
}

// fileAt is the file that is where dir, or a directory above it, would have to be;
// empty if there is none.
func (s *store) fileAt(dir string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, at := &s.root, ""
	for name := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, name)
		if d.files[name] != nil {
			return at
		}
		if d = d.folders[name]; d == nil {
			break
		}
	}
	return ""
}

// tree is the folder's files, with paths below it, but for those left out.
func (d *folder) tree(without map[string]bool) kptpkg.Tree {
	var files []*kptpkg.File
	d.each("", func(p string, f *kptpkg.File) {
		if !without[p] {
			files = append(files, f.At(p))
		}
	})
	t, err := kptpkg.NewTree(files...)
	if err != nil { // they are files of a Tree
		panic(err)
	}
	return t
}

// digest is the contentDigest of the package at target, which is kept until it
// changes.
func (s *store) digest(target string) (string, error) {
	s.mu.RLock()
	d := s.root.at(target)
	if d == nil || d.digest != "" {
		defer s.mu.RUnlock()
		if d == nil {
			return contentDigest(kptpkg.Tree{})
		}
		return d.digest, nil
	}
	changes := d.changes
	s.mu.RUnlock()
	sum, err := contentDigest(s.pkg(target))
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.root.at(target); err == nil && now == d && d.changes == changes {
		d.digest = sum
	}
	return sum, err
}

// changed notes that something in the folder changes.
func (d *folder) changed() {
	d.digest = ""
	d.changes++
}

// replace makes pkg the package at target; anew says that it was vacant.
func (s *store) replace(target string, pkg kptpkg.Tree) (anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	anew = s.vacantNow(target)
	d := folder{}
	if target == "." {
		s.root.each("", func(p string, f *kptpkg.File) {
			if s.own[p] {
				d.put(p, f)
			}
		})
	}
	for _, p := range pkg.Paths() {
		d.put(p, pkg.File(p).At(path.Join(target, p)))
	}
	at := &s.root
	if target != "." {
		for name := range strings.SplitSeq(target, "/") {
			at.changed()
			at = at.in(name)
		}
	}
	d.changes = at.changes + 1
	*at = d
	return anew
}

// tree is the whole workspace as it is now.
func (s *store) tree() kptpkg.Tree {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.root.tree(nil)
}
