package merge

import (
	"bytes"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// fastForward replaces a package that says locally what base says, apart from
// what cloning and rendering it changed.
func (m *merger) fastForward(t trees) (kptpkg.Tree, error) {
	division, err := t.divide()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	var mine []string
	for _, p := range division {
		mine = append(mine, p.paths...)
	}
	slices.Sort(mine)
	dir := path.Clean(m.prefix)
	files, known := m.settled.packages[dir]
	if !known {
		files = m.prefixed(changedFiles(t.base, t.local, mine))
	}
	if len(files) > 0 {
		return kptpkg.Tree{}, &changedError{dir: dir, files: files}
	}
	return m.replace(t)
}

// changedFiles are the files that differ between base and local, of those at
// paths; nil is all. Merge keys, the package context, a Kptfile's status and
// where it comes from don't count, nor does the root's Kptfile when base has
// none.
func changedFiles(base, local kptpkg.Tree, paths []string) []string {
	if paths == nil {
		paths = append(slices.Clone(base.Paths()), local.Paths()...)
		slices.Sort(paths)
		paths = slices.Compact(paths)
	}
	var out []string
	for _, p := range paths {
		if !fileUnchanged(p, base.File(p), local.File(p)) {
			out = append(out, p)
		}
	}
	return out
}

func fileUnchanged(name string, base, local *kptpkg.File) bool {
	switch {
	case base == nil && local == nil:
		return true
	case local == nil:
		return onlyContext(base)
	case base == nil:
		return name == kptpkg.KptfileName && kptfileUnchanged(nil, local) || onlyContext(local)
	case base.Mode() != local.Mode():
		return false
	case sameBytes(base, local):
		return true
	case path.Base(name) == kptpkg.KptfileName:
		return kptfileUnchanged(base, local)
	}
	return mergeable(base) && sheetUnchanged(&sheet{docs: base.Docs()}, &sheet{docs: local.Docs()})
}

func sameBytes(a, b *kptpkg.File) bool {
	x, err1 := a.Bytes()
	y, err2 := b.Bytes()
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// onlyContext says whether a file holds the package context and nothing else.
func onlyContext(f *kptpkg.File) bool {
	if f == nil || !mergeable(f) {
		return false
	}
	found := false
	for _, d := range f.Docs() {
		switch root, err := d.Root(); {
		case err != nil || root != nil && !isContext(root):
			return false
		case root != nil:
			found = true
		}
	}
	return found
}

// ownContext says whether a file is package context that is the package's own to
// have or, where a clone took it out, not to have.
func (t trees) ownContext(name string) bool {
	l := t.local.File(name)
	return onlyContext(l) || l == nil && onlyContext(t.base.File(name))
}

// replace puts upstream in local's place. The root's Kptfile is merged, less
// what rendering said of the old content; the package context stays, and so do
// packages with an upstream of their own.
func (m *merger) replace(t trees) (kptpkg.Tree, error) {
	division, err := t.divide()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	var gone []string
	var files []*kptpkg.File
	for _, p := range division {
		for _, f := range p.paths {
			if f == kptpkg.KptfileName || t.ownContext(f) {
				continue
			}
			if u := t.upstream.File(f); u != nil {
				files = append(files, u)
			} else {
				gone = append(gone, f)
			}
		}
	}
	out, err := t.local.Without(gone...).With(files...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return m.withKptfile(t, out, true)
}

// withKptfile merges the root's Kptfile into out.
func (m *merger) withKptfile(t trees, out kptpkg.Tree, rerender bool) (kptpkg.Tree, error) {
	k, err := m.mergeKptfile(t, kptpkg.KptfileName, true)
	if err == nil && k != nil && rerender {
		k, err = withoutRenderStatus(k)
	}
	if err != nil {
		return kptpkg.Tree{}, err
	}
	if k == nil {
		out = out.Without(kptpkg.KptfileName)
	} else if out, err = out.With(k); err != nil {
		return kptpkg.Tree{}, err
	}
	return out, checkNesting(out)
}

// copyOver copies upstream's files over local's. Files that upstream deleted go,
// files that are only local stay, the package context stays as it is or away.
func (m *merger) copyOver(t trees) (kptpkg.Tree, error) {
	var gone []string
	var files []*kptpkg.File
	report := func(name, upstream, reason string) bool {
		b, l := t.base.File(name), t.local.File(name)
		if l == nil || b != nil && fileUnchanged(name, b, l) {
			return true
		}
		if u := t.upstream.File(name); u != nil && sameBytes(l, u) {
			return true
		}
		base, local := present, changed
		if b == nil {
			base, local = "", added
		}
		return m.settle(Conflict{File: name, Base: base, Local: local, Upstream: upstream, Reason: reason, Taken: Upstream, Info: true}, true) == Upstream
	}
	for _, f := range t.upstream.Paths() {
		if f != kptpkg.KptfileName && !t.ownContext(f) && report(f, changed, copiedOver) {
			files = append(files, t.upstream.File(f))
		}
	}
	for _, f := range t.base.Paths() {
		if f != kptpkg.KptfileName && t.upstream.File(f) == nil && report(f, deleted, removedByCopy) {
			gone = append(gone, f)
		}
	}
	out, err := t.local.Without(gone...).With(files...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return m.withKptfile(t, out, false)
}
