package yamldoc

import (
	"hash/maphash"
	"slices"
	"sort"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// match says that an element of the old block lives on in the new one.
type match struct{ old, new int }

// align finds which elements stay: a row of matches rising on both sides, to be
// changed where they stand. Elements that stay but change their order are
// noted in b.moved if nothing else about them changed. False when it can't say.
func (b *block) align() ([]match, bool) {
	n, m := b.count(b.old), b.count(b.new)
	if n == m && b.inStep(n) {
		out := make([]match, n)
		for i := range out {
			out[i] = match{i, i}
		}
		return out, true
	}
	a := aligner{block: b, seed: maphash.MakeSeed(), to: make([]int, n), from: make([]int, m)}
	for i := range a.to {
		a.to[i] = none
	}
	for j := range a.from {
		a.from[j] = none
	}
	if b.mapping {
		if !scalarKeys(b.old) || !scalarKeys(b.new) {
			return nil, false
		}
		a.by(func(n *yaml.Node, i int) (uint64, bool) { return a.hash(bareScalar(n.Content[2*i])), true }, a.sameKey)
	} else {
		a.by(func(n *yaml.Node, i int) (uint64, bool) { return a.hash(n.Content[i]), true }, a.equalItems)
		a.by(a.nameOf, a.sameName)
	}
	kept := a.rising()
	a.fill(kept)
	kept = a.rising()
	for j, i := range a.from {
		if i == none {
			continue
		}
		if _, ok := slices.BinarySearchFunc(kept, j, func(m match, j int) int { return m.new - j }); !ok && a.equalElements(i, j) {
			if b.moved == nil {
				b.moved = make(map[int]int)
			}
			b.moved[j] = i
		}
	}
	return kept, true
}

// inStep says whether the elements pair up as they stand: the keys are the
// same, or no item is found elsewhere.
func (b *block) inStep(n int) bool {
	if b.mapping {
		for i := range n {
			o, k := b.old.Content[2*i], b.new.Content[2*i]
			if o.Kind != k.Kind || o.Kind == yaml.ScalarNode && (o.Value != k.Value || o.ShortTag() != k.ShortTag()) ||
				o.Kind != yaml.ScalarNode && !equal(bare(o), bare(k), b.flow) {
				return false
			}
		}
		return true
	}
	differ := 0
	for i := range n {
		if !equal(b.old.Content[i], b.new.Content[i], b.flow) {
			differ++
		}
	}
	return differ <= 1
}

// aligner pairs elements: to says for an old one which new one it is, from the
// reverse.
type aligner struct {
	*block
	seed     maphash.Seed
	to, from []int
}

// by pairs the unpaired elements that have the same hash and are the same, in
// order.
func (a *aligner) by(hash func(*yaml.Node, int) (uint64, bool), same func(i, j int) bool) {
	free := make(map[uint64][]int)
	for i := range a.to {
		if a.to[i] == none {
			if h, ok := hash(a.old, i); ok {
				free[h] = append(free[h], i)
			}
		}
	}
	for j := range a.from {
		if a.from[j] != none {
			continue
		}
		h, ok := hash(a.new, j)
		if !ok {
			continue
		}
		if l := free[h]; len(l) > 0 && same(l[0], j) {
			a.to[l[0]], a.from[j] = j, l[0]
			free[h] = l[1:]
		}
	}
}

// rising is the longest row of pairs that rises on both sides.
func (a *aligner) rising() []match {
	var ends []match // ends[k]: the smallest end of a row of k+1 pairs
	prev := make([]int, len(a.to))
	for j, i := range a.from {
		if i == none {
			continue
		}
		k := sort.Search(len(ends), func(k int) bool { return ends[k].old >= i })
		prev[i] = none
		if k > 0 {
			prev[i] = ends[k-1].old
		}
		if k == len(ends) {
			ends = append(ends, match{i, j})
		} else {
			ends[k] = match{i, j}
		}
	}
	if len(ends) == 0 {
		return nil
	}
	out := make([]match, len(ends))
	for k, i := len(ends)-1, ends[len(ends)-1].old; k >= 0; k, i = k-1, prev[i] {
		out[k] = match{i, a.to[i]}
	}
	return out
}

// fill pairs what is left between two pairs when it is as much on both sides:
// renamed entries, changed items.
func (a *aligner) fill(kept []match) {
	last := match{none, none}
	for _, m := range append(slices.Clone(kept), match{len(a.to), len(a.from)}) {
		lo, from := last.old+1, last.new+1
		for lo < m.old && from < m.new && m.old-lo == m.new-from {
			if a.to[lo] == none && a.from[from] == none && a.related(lo, from) {
				a.to[lo], a.from[from] = from, lo
			}
			lo, from = lo+1, from+1
		}
		last = m
	}
}

// related says whether one element may be what became of another.
func (a *aligner) related(i, j int) bool {
	_, o := a.at(a.old, i)
	_, n := a.at(a.new, j)
	if a.mapping {
		return equal(o, n, a.flow)
	}
	if o.Kind == yaml.MappingNode && n.Kind == yaml.MappingNode {
		// Another name is another thing.
		_, was := name(o)
		_, is := name(n)
		return !was || !is
	}
	return o.Kind == n.Kind
}

func (a *aligner) sameKey(i, j int) bool {
	o, n := a.old.Content[2*i], a.new.Content[2*j]
	return o.Value == n.Value && o.ShortTag() == n.ShortTag()
}

func (a *aligner) equalItems(i, j int) bool {
	return equal(a.old.Content[i], a.new.Content[j], a.flow)
}

func (a *aligner) equalElements(i, j int) bool {
	ok, ov := a.at(a.old, i)
	nk, nv := a.at(a.new, j)
	return equal(ov, nv, a.flow) && (ok == nil || equal(ok, nk, a.flow))
}

func (a *aligner) nameOf(n *yaml.Node, i int) (uint64, bool) {
	s, ok := name(n.Content[i])
	return maphash.String(a.seed, s), ok
}

func (a *aligner) sameName(i, j int) bool {
	o, _ := name(a.old.Content[i])
	n, _ := name(a.new.Content[j])
	return o == n
}

// name is what tells an item from its like: the name it has.
func name(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "name" && n.Content[i+1].Kind == yaml.ScalarNode {
				return n.Content[i+1].Value, true
			}
		}
	}
	return "", false
}

// hash is the same for nodes that are equal.
func (a *aligner) hash(n *yaml.Node) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	writeHash(&h, n)
	return h.Sum64()
}

func writeHash(h *maphash.Hash, n *yaml.Node) {
	h.WriteByte(byte(n.Kind))
	h.WriteString(n.Value)
	h.WriteByte(byte(len(n.Content)))
	for _, c := range n.Content {
		writeHash(h, c)
	}
}

// bareScalar is a key for hashing: only the value counts.
func bareScalar(n *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: n.Kind, Value: n.Value}
}

func scalarKeys(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Kind != yaml.ScalarNode {
			return false
		}
	}
	return true
}
