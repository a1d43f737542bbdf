package merge

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// nested merges the packages with an upstream of their own into merged, which is
// t merged without them. Each is merged by the strategy it names itself, and sees
// to those within it.
func (m *merger) nested(t trees, merged kptpkg.Tree) (kptpkg.Tree, error) {
	dirs, err := t.ownUpstreams()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	for _, d := range dirs {
		if !has(merged, d) && has(t.local, d) {
			continue // gone with the package around it
		}
		sub, err := m.nestedAt(t, d)
		if err != nil {
			return kptpkg.Tree{}, err
		}
		merged = merged.Replace(d, sub)
	}
	return merged, checkNesting(merged)
}

// ownUpstreams are the packages within that have an upstream of their own, the
// outermost ones, sorted.
func (t trees) ownUpstreams() ([]string, error) {
	dirs := map[string]bool{}
	for _, s := range t.sides() {
		for _, d := range s.tree.Packages() {
			if d == "." {
				continue
			}
			own, err := t.hasOwnUpstream(d)
			if err != nil {
				return nil, err
			}
			if own {
				dirs[d] = true
			}
		}
	}
	outermost := slices.DeleteFunc(slices.Collect(maps.Keys(dirs)), func(d string) bool { return below(dirs, path.Dir(d)) })
	slices.Sort(outermost)
	return outermost, nil
}

// skipped are the packages with an upstream of their own in which merged lacks
// what upstream changed; one that is from another upstream than in base is to.
func (t trees) skipped(merged kptpkg.Tree) ([]string, error) {
	dirs, err := t.ownUpstreams()
	return slices.DeleteFunc(dirs, func(d string) bool {
		sub, is := t.sub(d), merged.Sub(d)
		return sub.ownUpstreamChanged() || treesEqual(sub.base, sub.upstream) || treesEqual(is, sub.upstream)
	}), err
}

func (m *merger) nestedAt(t trees, dir string) (kptpkg.Tree, error) {
	sub := t.sub(dir)
	inBase, inLocal, inUpstream := sub.base.Len() > 0, sub.local.Len() > 0, sub.upstream.Len() > 0
	whole := Conflict{File: dir, Base: present}
	switch {
	case !inBase && inLocal && inUpstream:
		return kptpkg.Tree{}, fmt.Errorf("subpackage %q added in both upstream and local: rename or remove the local one", dir)
	case !inBase && inUpstream:
		return sub.upstream, nil
	case !inBase, !inLocal && !inUpstream:
		return sub.local, nil
	case !inLocal:
		whole.Local, whole.Upstream, whole.Reason = deleted, changed, goneLocally
		if treesEqual(sub.base, sub.upstream) || m.settle(whole, false) == Local {
			return sub.local, nil
		}
		return sub.upstream, nil
	case !inUpstream:
		whole.Local, whole.Upstream, whole.Reason = changed, deleted, goneUpstream
		if !sub.ownUpstreamChanged() && len(changedFiles(sub.base, sub.local, nil)) == 0 || m.settle(whole, false) == Upstream {
			return sub.upstream, nil
		}
		return sub.local, nil
	}
	k, err := sub.local.Kptfile(".")
	if err != nil {
		return kptpkg.Tree{}, fmt.Errorf("%s: local side: %w", dir, err)
	}
	inner := *m
	inner.prefix = path.Join(m.prefix, dir)
	inner.conflicts = nil
	inner.Root = false
	if k.Upstream != nil {
		if inner.Strategy, err = ParseStrategy(k.Upstream.UpdateStrategy); err != nil {
			return kptpkg.Tree{}, fmt.Errorf("%s: %w", path.Join(dir, kptpkg.KptfileName), err)
		}
	}
	merged, err := inner.run(sub)
	m.conflicts = append(m.conflicts, inner.conflicts...)
	if err != nil {
		return kptpkg.Tree{}, fmt.Errorf("%s: %s: %w", path.Join(m.prefix, dir), inner.Strategy, err)
	}
	return merged, nil
}
