package fn

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// links is what is known of the anchors and aliases of an old resource in a
// fresh one that may have copies in their place.
type links struct {
	inCopy    bool                      // what is healed stands for an alias
	anchored  map[*yaml.Node]*yaml.Node // fresh nodes, with the old ones that have the anchors
	unchanged map[*yaml.Node]bool       // of the fresh nodes anchored
	aliases   map[*yaml.Node]*yaml.Node // fresh copies, with the old aliases
	merges    map[*yaml.Node]*merge     // fresh mappings whose old ones have a merge key
}

func (l *links) anchor(old, fresh *yaml.Node, same bool) {
	if l.anchored == nil {
		l.anchored, l.unchanged = map[*yaml.Node]*yaml.Node{}, map[*yaml.Node]bool{}
	}
	l.anchored[fresh], l.unchanged[fresh] = old, same
}

func (l *links) merge(fresh *yaml.Node, m *merge) {
	if l.merges == nil {
		l.merges = map[*yaml.Node]*merge{}
	}
	l.merges[fresh] = m
}

// expanded mends what stands in the place of an alias, and reports whether it
// says what the alias says.
func (h *healer) expanded(alias, fresh *yaml.Node) bool {
	l := &h.links
	if l.aliases == nil {
		l.aliases = map[*yaml.Node]*yaml.Node{}
	}
	l.aliases[fresh] = alias
	old := *alias.Alias
	old.Anchor = ""
	old.HeadComment, old.LineComment, old.FootComment = alias.HeadComment, alias.LineComment, alias.FootComment
	was := l.inCopy
	l.inCopy = true
	same := h.heal(&old, fresh)
	l.inCopy = was
	return same
}

// relink puts the old resource's anchors back into a healed one, and its aliases
// and merge keys where what they would stand for is what is there.
func (h *healer) relink(root *yaml.Node) {
	l := &h.links
	if len(l.anchored) == 0 {
		return
	}
	own := map[string]bool{} // anchors that didn't get lost
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		if n.Anchor != "" {
			own[n.Anchor] = true
		}
		for _, c := range n.Content {
			collect(c)
		}
	}
	collect(root)

	at := map[string]*yaml.Node{} // what an alias would stand for, by its name
	target := func(alias *yaml.Node) *yaml.Node {
		if n := at[alias.Value]; n != nil && l.anchored[n] == alias.Alias {
			return n
		}
		return nil
	}
	link := func(alias, to *yaml.Node) *yaml.Node {
		n := *alias
		n.Alias = to
		return &n
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if old := l.anchored[n]; old != nil && n.Anchor == "" && !own[old.Anchor] {
			n.Anchor = old.Anchor
		}
		if n.Anchor != "" {
			at[n.Anchor] = n
		}
		if m := l.merges[n]; m != nil {
			m.restore(n, func(alias *yaml.Node) *yaml.Node {
				if to := target(alias); to != nil && l.unchanged[to] {
					return link(alias, to)
				}
				return nil
			})
		}
		for i, c := range n.Content {
			if alias := l.aliases[c]; alias != nil {
				if to := target(alias); to != nil && agree(to, c) {
					n.Content[i] = link(alias, to)
					continue
				}
			}
			walk(c)
		}
	}
	walk(root)
}

// agree says whether a copy says what a node says, comments included, its own
// aside.
func agree(n, copied *yaml.Node) bool {
	n = resolved(n)
	if n == nil || n.Kind != copied.Kind || n.Value != copied.Value || scalarTag(n) != scalarTag(copied) || len(n.Content) != len(copied.Content) {
		return false
	}
	for i, c := range n.Content {
		d := copied.Content[i]
		if c.HeadComment != d.HeadComment || c.LineComment != d.LineComment || c.FootComment != d.FootComment || !agree(c, d) {
			return false
		}
	}
	return true
}

// merge is a merge key of an old mapping whose fresh one has none, and the
// fields of the fresh one that are there for it.
type merge struct {
	key, value *yaml.Node // of old
	at         int        // the index of key
	names      []string   // of the fields it gives, as scalarKey has them
	gives      map[string][2]*yaml.Node
	took       map[string][2]*yaml.Node
	changed    bool
}

// newMerge is nil where there is no merge key, or one that the fresh mapping
// can't have been made from.
func newMerge(old, fresh *yaml.Node) *merge {
	var m *merge
	explicit := map[string]bool{}
	for i := 0; i+1 < len(old.Content); i += 2 {
		k := old.Content[i]
		if isMergeKey(k) {
			if m != nil {
				return nil
			}
			m = &merge{key: k, value: old.Content[i+1], at: i}
		}
	}
	if m == nil {
		return nil
	}
	for i := 0; i+1 < len(fresh.Content); i += 2 {
		if isMergeKey(fresh.Content[i]) {
			return nil
		}
	}
	for i := 0; i+1 < len(old.Content); i += 2 {
		explicit[scalarKey(old.Content[i])] = true
	}
	from := m.value.Content
	if m.value.Kind == yaml.AliasNode {
		from = []*yaml.Node{m.value}
	}
	m.gives, m.took = map[string][2]*yaml.Node{}, map[string][2]*yaml.Node{}
	left := 4*len(fresh.Content) + 100 // fields to look at: who gives more than there are isn't copied
	for _, alias := range from {
		if alias.Kind != yaml.AliasNode || alias.Alias == nil || alias.Alias.Kind != yaml.MappingNode {
			return nil
		}
		c := alias.Alias.Content
		if left -= len(c) + 1; left < 0 {
			return nil
		}
		for i := 0; i+1 < len(c); i += 2 {
			name := scalarKey(c[i])
			if isMergeKey(c[i]) || c[i].Kind != yaml.ScalarNode {
				return nil
			}
			if _, ok := m.gives[name]; !ok && !explicit[name] {
				m.gives[name] = [2]*yaml.Node{c[i], c[i+1]}
				m.names = append(m.names, name)
			}
		}
	}
	return m
}

func isMergeKey(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (n.Tag == "" || n.Tag == "!!merge")
}

// take mends a fresh field that the merge key gives. False when it gives none
// of that name.
func (m *merge) take(h *healer, k, v *yaml.Node) bool {
	if m == nil || k.Kind != yaml.ScalarNode {
		return false
	}
	name := scalarKey(k)
	old, ok := m.gives[name]
	if _, twice := m.took[name]; !ok || twice {
		return false
	}
	was := h.links.inCopy
	h.links.inCopy = true
	sameKey := h.heal(old[0], k)
	sameValue := h.heal(old[1], v)
	h.links.inCopy = was
	m.changed = m.changed || !sameKey || !sameValue
	m.took[name] = [2]*yaml.Node{k, v}
	return true
}

// whole says whether the fresh mapping has all that the merge key gives.
func (m *merge) whole() bool { return !m.changed && len(m.took) == len(m.gives) }

// content are the fields taken, in the order in which they are given.
func (m *merge) content() []*yaml.Node {
	var out []*yaml.Node
	for _, name := range m.names {
		if f, ok := m.took[name]; ok {
			out = append(out, f[0], f[1])
		}
	}
	return out
}

// restore puts the merge key in the place of what was taken, if link has an
// alias for each of its own.
func (m *merge) restore(n *yaml.Node, link func(alias *yaml.Node) *yaml.Node) {
	value := link(m.value)
	if m.value.Kind == yaml.SequenceNode {
		list := *m.value
		list.Content = nil
		for _, alias := range m.value.Content {
			list.Content = append(list.Content, link(alias))
		}
		if value = &list; slices.Contains(list.Content, nil) {
			value = nil
		}
	}
	if value == nil {
		return
	}
	key := *m.key
	content := make([]*yaml.Node, 0, len(n.Content))
	done := false
	taken := make(map[*yaml.Node]bool, len(m.took))
	for _, f := range m.took {
		taken[f[0]] = true
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !taken[n.Content[i]] {
			content = append(content, n.Content[i], n.Content[i+1])
		} else if !done {
			content = append(content, &key, value)
			done = true
		}
	}
	if !done { // it gives nothing
		content = append(content, &key, value)
	}
	n.Content = content
}
