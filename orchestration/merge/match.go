package merge

import (
	"fmt"
	"slices"
)

// A triple is one object on the three sides, nil where a side doesn't have it.
type triple struct{ base, local, upstream *resource }

// movedUpstream says whether upstream has an object that is there locally in
// another file than base.
func (t *triple) movedUpstream() bool {
	return t.base != nil && t.local != nil && t.upstream != nil && t.base.path != t.upstream.path
}

// match finds out which resources are the same object: those of one identity.
// Where more than one file of a side has an object of that identity, those in
// files of the same path belong together, and what is then left over if there is
// just one on each side. The error names a resource that one file holds twice.
func match(base, local, upstream []*resource) ([]*triple, error) {
	type group struct {
		byPath map[string]*triple
		all    []*triple
	}
	settleNamespaces(base, local, upstream)
	groups := map[identity]*group{}
	var order []*group
	for _, side := range []struct {
		name      string
		resources []*resource
		of        func(*triple) **resource
	}{
		{"local", local, func(t *triple) **resource { return &t.local }},
		{"base", base, func(t *triple) **resource { return &t.base }},
		{"upstream", upstream, func(t *triple) **resource { return &t.upstream }},
	} {
		for _, r := range side.resources {
			g := groups[r.id]
			if g == nil {
				g = &group{byPath: map[string]*triple{}}
				groups[r.id] = g
				order = append(order, g)
			}
			t := g.byPath[r.path]
			if t == nil {
				t = new(triple)
				g.byPath[r.path] = t
				g.all = append(g.all, t)
			}
			at := side.of(t)
			if *at != nil {
				return nil, twice(side.name, *at, r)
			}
			*at = r
		}
	}
	var out []*triple
	for _, g := range order {
		out = append(out, rejoin(g.all)...)
	}
	return out, nil
}

// rejoin brings together the parts of an object that stand at different paths.
func rejoin(all []*triple) []*triple {
	if len(all) == 1 {
		return all
	}
	only := func(pick func(*triple) bool) *triple {
		var found *triple
		for _, t := range all {
			if pick(t) {
				if found != nil {
					return nil
				}
				found = t
			}
		}
		return found
	}
	drop := func(t *triple) { all = slices.DeleteFunc(all, func(o *triple) bool { return o == t }) }
	moved := only(func(t *triple) bool { return t.base == nil && t.upstream != nil })
	if from := only(func(t *triple) bool { return t.base != nil && t.upstream == nil }); moved != nil && from != nil &&
		(from.local == nil || moved.local == nil) {
		from.upstream = moved.upstream
		if from.local == nil {
			from.local = moved.local
		}
		drop(moved)
	}
	moved = only(func(t *triple) bool { return t.base == nil && t.local != nil && t.upstream == nil })
	if from := only(func(t *triple) bool { return t.base != nil && t.local == nil }); moved != nil && from != nil {
		from.local = moved.local
		drop(moved)
	}
	moved = only(func(t *triple) bool { return t.base == nil && t.local != nil && t.upstream == nil })
	if to := only(func(t *triple) bool { return t.base == nil && t.local == nil }); moved != nil && to != nil && len(all) == 2 {
		to.local = moved.local // added on both sides, in different files
		drop(moved)
	}
	return all
}

func twice(side string, a, b *resource) error {
	where := func(r *resource) string { return fmt.Sprintf("%s (document %d)", r.path, r.index+1) }
	name := b.id.kind
	if b.id.name != "" {
		name += " " + b.id.name
	}
	hint := ""
	if side == "local" {
		hint = ": remove one, or the comment kpt-merge or annotation upstream-identifier from the one that isn't upstream's"
	}
	return fmt.Errorf("%s side: %s is there twice, in %s and %s%s", side, name, where(a), where(b), hint)
}
