package merge

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A part is one package of a tree without the packages in it: what is merged
// together, and where an object is only once.
type part struct {
	*merger
	trees
	dir     string   // "." is the root
	paths   []string // of its files on all sides, sorted
	sheets  map[string]*sheets
	schemas *schemas
	inputs  map[string]bool // paths of functionConfigs
	out     *output
}

// resourceMerge merges package by package, parents first.
func (m *merger) resourceMerge(t trees) (kptpkg.Tree, error) {
	if !m.Root && t.ownUpstreamChanged() {
		if !treesEqual(t.base, t.upstream) {
			m.skipped = []string{"."}
		}
		return t.local, nil
	}
	division, err := t.divide()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	parts, err := m.open(t, division)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	out := newOutput(t.local)
	settled := map[string]bool{} // directories that nothing below needs looking at
	for _, p := range parts {
		p.out = out
		if below(settled, p.dir) {
			continue
		}
		done, err := p.merge()
		if err != nil {
			return kptpkg.Tree{}, err
		}
		settled[p.dir] = done
	}
	return out.tree()
}

// below says whether dir is below a directory of set.
func below(set map[string]bool, dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if set[dir] {
			return true
		}
	}
	return false
}

// merge merges a package. done says that all below its directory is settled too.
func (p *part) merge() (done bool, err error) {
	if p.dir == "." {
		return false, p.mergeContent()
	}
	inBase, inLocal, inUpstream := has(p.base, p.dir), has(p.local, p.dir), has(p.upstream, p.dir)
	switch {
	case !inBase && inLocal && inUpstream:
		return false, fmt.Errorf("subpackage %q added in both upstream and local: rename or remove the local one", p.dir)
	case !inBase && inUpstream:
		p.copyUpstream()
		return false, nil
	case !inBase, !inLocal && !inUpstream:
		return false, nil
	case !inLocal:
		if treesEqual(p.base.Sub(p.dir), p.upstream.Sub(p.dir)) ||
			p.settle(Conflict{File: p.dir, Base: present, Local: deleted, Upstream: changed, Reason: goneLocally}, false) == Local {
			return true, nil
		}
		p.copyUpstream()
		return false, nil
	case !inUpstream:
		if len(changedFiles(p.base.Sub(p.dir), p.local.Sub(p.dir), nil)) == 0 ||
			p.settle(Conflict{File: p.dir, Base: present, Local: changed, Upstream: deleted, Reason: goneUpstream}, false) == Upstream {
			for _, f := range pathsBelow(p.local, p.dir) {
				p.out.put(f, nil)
			}
		}
		return true, nil
	}
	return false, p.mergeContent()
}

// copyUpstream adds the files of a package that is new.
func (p *part) copyUpstream() {
	for _, f := range p.paths {
		if u := p.upstream.File(f); u != nil {
			p.out.put(f, u)
		}
	}
}

// mergeContent merges the files and resources of a package.
func (p *part) mergeContent() error {
	if err := p.checkKptfiles(p.dir); err != nil {
		return err
	}
	p.inputs = p.findInputs()
	var base, local, upstream []*resource
	for _, f := range p.paths {
		if path.Base(f) == kptpkg.KptfileName {
			merged, err := p.mergeKptfile(p.trees, f, p.dir != "." || !p.Root)
			if err != nil {
				return err
			}
			p.out.put(f, merged)
			continue
		}
		s := p.sheets[f]
		if s == nil || s.plain {
			merged, err := p.mergeFile(f)
			if err != nil {
				return err
			}
			p.out.put(f, merged)
			continue
		}
		p.out.open(f, s)
		base = s.base.append(base)
		local = s.local.append(local)
		upstream = s.upstream.append(upstream)
	}
	triples, err := match(base, local, upstream)
	if err != nil {
		return err
	}
	for _, t := range triples {
		doc, err := p.mergeResource(t)
		if err != nil {
			return err
		}
		follow := t.movedUpstream() && (t.local.path == t.base.path ||
			doc != nil && t.local.path != t.upstream.path && p.settleMove(t) == Upstream)
		p.out.place(t, doc, follow)
	}
	return nil
}

// findInputs are the files that steps of the pipeline are configured by, locally
// or upstream.
func (p *part) findInputs() map[string]bool {
	found := map[string]bool{}
	for _, tree := range []kptpkg.Tree{p.local, p.upstream} {
		addInputs(found, tree, p.dir)
	}
	return found
}

// addInputs adds the files that configure the pipeline of the package at dir.
func addInputs(found map[string]bool, tree kptpkg.Tree, dir string) {
	k, err := tree.Kptfile(dir)
	if err != nil {
		return // there is none: it would have been refused before
	}
	for _, step := range slices.Concat(k.Pipeline.Mutators, k.Pipeline.Validators) {
		if step.ConfigPath != "" {
			found[path.Join(dir, step.ConfigPath)] = true
		}
	}
}

// open reads the resources of all packages and learns the kinds they define.
func (m *merger) open(t trees, division []*part) ([]*part, error) {
	var paths []string
	for _, p := range division {
		paths = append(paths, p.paths...)
	}
	all, err := readSheets(t, paths)
	if err != nil {
		return nil, err
	}
	kinds := new(schemas)
	for _, f := range paths {
		s := all[f]
		if s.base == nil && s.local == nil && s.upstream == nil {
			delete(all, f)
			continue
		}
		if err := s.stock(); err != nil {
			return nil, err
		}
	}
	for _, side := range []func(*sheets) *sheet{
		func(s *sheets) *sheet { return s.upstream },
		func(s *sheets) *sheet { return s.local },
		func(s *sheets) *sheet { return s.base },
	} {
		for _, f := range paths {
			if s := all[f]; s != nil && !s.plain {
				for _, r := range side(s).append(nil) {
					kinds.add(r.root)
				}
			}
		}
	}
	for _, p := range division {
		p.merger, p.sheets, p.schemas = m, all, kinds
	}
	return division, nil
}

// divide divides the trees into packages, parents first. A directory that is a
// package on any side is one. Packages with an upstream of their own are left
// out, with all that is in them.
func (t trees) divide() ([]*part, error) {
	dirs := map[string]*part{".": {trees: t, dir: "."}}
	for _, s := range t.sides() {
		for _, d := range s.tree.Packages() {
			dirs[d] = &part{trees: t, dir: d}
		}
	}
	foreign := map[string]bool{}
	for d := range dirs {
		if d == "." {
			continue
		}
		own, err := t.hasOwnUpstream(d)
		if err != nil {
			return nil, err
		}
		foreign[d] = own
	}
	seen := map[string]bool{}
	for _, s := range t.sides() {
		for _, f := range s.tree.Paths() {
			if seen[f] {
				continue
			}
			seen[f] = true
			d := path.Dir(f)
			for dirs[d] == nil {
				d = path.Dir(d)
			}
			dirs[d].paths = append(dirs[d].paths, f)
		}
	}
	var out []*part
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		if !below(foreign, d) {
			slices.Sort(dirs[d].paths)
			out = append(out, dirs[d])
		}
	}
	slices.SortStableFunc(out, func(a, b *part) int { return depth(a.dir) - depth(b.dir) })
	return out, nil
}

func depth(dir string) int {
	if dir == "." {
		return 0
	}
	return 1 + strings.Count(dir, "/")
}

// hasOwnUpstream says whether the package at dir has an upstream of its own on
// every side that has it.
func (t trees) hasOwnUpstream(dir string) (bool, error) {
	own := true
	for _, s := range t.sides() {
		f := s.tree.File(path.Join(dir, kptpkg.KptfileName))
		if f == nil {
			continue
		}
		root, _, err := kptfileRoot(f)
		if err != nil {
			return false, fmt.Errorf("%s side: %w", s.name, err)
		}
		own = own && child(root, "upstream") != nil && !isNull(child(root, "upstream"))
	}
	return own, nil
}

// ownUpstreamChanged says whether local comes from another upstream than base:
// its owner has updated it independently.
func (t trees) ownUpstreamChanged() bool {
	base, _, err1 := kptfileRoot(t.base.File(kptpkg.KptfileName))
	local, _, err2 := kptfileRoot(t.local.File(kptpkg.KptfileName))
	if err1 != nil || err2 != nil || base == nil || local == nil {
		return false
	}
	was := child(base, "upstream")
	return was != nil && !same(was, child(local, "upstream"))
}

// has says whether a tree has files below dir.
func has(t kptpkg.Tree, dir string) bool { return len(pathsBelow(t, dir)) > 0 }

// pathsBelow are the paths of a tree's files below dir, sorted.
func pathsBelow(t kptpkg.Tree, dir string) []string {
	paths := t.Paths()
	from, _ := slices.BinarySearch(paths, dir+"/")
	to, _ := slices.BinarySearch(paths, dir+"0") // '0' follows '/'
	return paths[from:to]
}

// treesEqual says whether two trees have the same files.
func treesEqual(a, b kptpkg.Tree) bool {
	if a.Len() != b.Len() {
		return false
	}
	for _, p := range a.Paths() {
		x, y := a.File(p), b.File(p)
		if y == nil || x.Mode() != y.Mode() || !sameBytes(x, y) {
			return false
		}
	}
	return true
}

// append adds the sheet's resources to a list; nil has none.
func (s *sheet) append(to []*resource) []*resource {
	if s == nil {
		return to
	}
	return append(to, s.resources...)
}
