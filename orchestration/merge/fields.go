package merge

import (
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A walker merges the nodes of one resource into its local ones.
type walker struct {
	// clash notes that both sides changed the value at a place and says which
	// one wins; prefer is the side that does where it is left to kpt's rules.
	clash func(at *place, base, local, upstream *yaml.Node, prefer Side) Side
	// entrywise is as Options have it.
	entrywise bool
}

// A place is where in a resource a walker is. Paths are only spelt out when a
// conflict wants one.
type place struct {
	parent *place
	name   string // as it goes into the path: .key, [key] or [name=value]
	line   int    // of the local document, from one; that of the parent where there is none
}

func (p *place) down(name string, local *yaml.Node) *place {
	line := p.line
	if local != nil && local.Line > 0 {
		line = local.Line
	}
	return &place{p, name, line}
}

// field is the path of the place; empty for the whole resource.
func (p *place) field() string {
	var parts []string
	for ; p.parent != nil; p = p.parent {
		parts = append(parts, p.name)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
	}
	return strings.TrimPrefix(b.String(), ".")
}

// loose says whether a mapping is a collection of entries that have nothing to
// do with each other, so that what one side added to it outlives that the other
// side deleted all it had.
func (p *place) loose() bool {
	switch p.name {
	case ".metadata":
		return true
	case ".annotations", ".labels":
		return p.parent.name == ".metadata"
	case ".data", ".binaryData", ".stringData":
		return p.parent.parent == nil
	}
	return false
}

// step is how a key reads in a path: keys with characters that paths are made
// of stand in brackets.
func step(key string) string {
	if key == "" || strings.ContainsAny(key, ".[]:=/ \t\n\"'") {
		return "[" + key + "]"
	}
	return "." + key
}

// value merges what stands at one place, nil standing for nothing there. local
// is changed in place or replaced; the result is nil when nothing is to stay.
func (w walker) value(at *place, s schema, base, local, upstream *yaml.Node) *yaml.Node {
	switch {
	case upstream == nil && base == nil:
		return local
	case isNull(local) && upstream == nil || local == nil && isNull(upstream):
		return nil // deleted on both sides
	}
	if r, ok := w.mappings(at, s, base, local, upstream); ok {
		return r
	}
	if r, ok := w.items(at, s, base, local, upstream); ok {
		return r
	}
	return w.whole(at, base, local, upstream)
}

// whole merges a value that can only be taken as a whole.
func (w walker) whole(at *place, base, local, upstream *yaml.Node) *yaml.Node {
	switch {
	case same(base, upstream) || same(local, upstream):
		if local != nil && upstream != nil {
			mergeComments(base, local, upstream)
		}
		return local
	case same(base, local):
		return taken(base, local, upstream)
	}
	prefer := Upstream
	if isNull(local) {
		prefer = Local // a null is an explicit delete, on whichever side
	}
	if w.clash(at, base, local, upstream, prefer) == Upstream {
		return taken(base, local, upstream)
	}
	if isNull(local) {
		return nil
	}
	return local
}

// mappings merges mappings key by key; ok is false when they aren't such.
func (w walker) mappings(at *place, s schema, base, local, upstream *yaml.Node) (r *yaml.Node, ok bool) {
	if base != nil && base.Kind != yaml.MappingNode {
		base = nil
	}
	switch {
	case local == nil && (base == nil || upstream == nil), upstream == nil && base == nil:
		return nil, false // nothing to merge with
	case upstream == nil && w.entrywise:
	case (local == nil || upstream == nil) && !at.loose():
		return nil, false // deleted on one side: a part of it would be no valid value
	}
	lf, ok1 := fieldsOf(local)
	uf, ok2 := fieldsOf(upstream)
	bf, ok3 := fieldsOf(base)
	if !ok1 || !ok2 || !ok3 {
		return nil, false
	}
	if local == nil {
		n := *upstream
		n.Content, n.Anchor, n.Line, n.Column = nil, "", 0, 0
		local = &n
	} else if upstream != nil {
		nodeComments(base, local, upstream)
	}
	added := newcomers{after: map[string][]*yaml.Node{}}
	if upstream != nil {
		last := ""
		for i := 0; i+1 < len(upstream.Content); i += 2 {
			key := upstream.Content[i]
			name := key.Value
			if _, have := lf[name]; have {
				last = name
				continue
			}
			v := w.value(at.down(step(name), nil), commented(s.field(name), key), bf[name].value, nil, upstream.Content[i+1])
			if v != nil {
				added.add(last, detached(key), v)
			}
		}
	}
	before := len(local.Content)
	content := make([]*yaml.Node, 0, before+added.n)
	var waiting []*yaml.Node // newcomers that come after what is only local
	for i := 0; i+1 < before; i += 2 {
		key, name := local.Content[i], local.Content[i].Value
		b, u := bf[name], uf[name]
		v := local.Content[i+1]
		if u.key != nil {
			content, waiting = append(content, waiting...), added.after[name]
		}
		if b.value != nil || u.value != nil {
			v = w.value(at.down(step(name), key), commented(s.field(name), key, u.key), b.value, v, u.value)
		}
		if v != nil {
			if u.key != nil {
				nodeComments(b.key, key, u.key)
			}
			content = append(content, key, v)
		}
	}
	local.Content = append(append(content, waiting...), added.after[""]...)
	switch {
	case len(local.Content) > 0 && before == 0 && upstream.Style&yaml.FlowStyle == 0:
		local.Style &^= yaml.FlowStyle
	case len(local.Content) == 0 && (upstream == nil || lf == nil):
		return nil, true
	}
	return local, true
}

// newcomers are nodes to be put into a collection, by the name of the element
// they come after upstream; those without any come last.
type newcomers struct {
	after map[string][]*yaml.Node
	n     int
}

func (a *newcomers) add(after string, nodes ...*yaml.Node) {
	a.after[after] = append(a.after[after], nodes...)
	a.n += len(nodes)
}

// taken is upstream's value in local's place: of a scalar the quotes, and of
// everything the comments, stay as they are locally. A null deletes.
func taken(base, local, upstream *yaml.Node) *yaml.Node {
	if upstream == nil || isNull(upstream) {
		return nil
	}
	if local == nil || local.Kind != upstream.Kind {
		return detached(upstream)
	}
	switch local.Kind {
	case yaml.ScalarNode:
		n := *upstream
		n.Anchor, n.Line, n.Column = "", 0, 0
		n.HeadComment, n.LineComment, n.FootComment = local.HeadComment, local.LineComment, local.FootComment
		quotes := yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle
		mine := n
		mine.Style = local.Style & quotes
		if n.ShortTag() == yaml.NodeTagString && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 && mine.Style != 0 && sameQuotes(&n, &mine) {
			n = mine
		}
		nodeComments(base, &n, upstream)
		return &n
	case yaml.SequenceNode:
		return takenList(base, local, upstream)
	}
	n := detached(upstream)
	n.HeadComment, n.LineComment, n.FootComment = local.HeadComment, local.LineComment, local.FootComment
	nodeComments(base, n, upstream)
	return n
}

// takenList is upstream's list made of local's items where they are equal, so
// that their comments stay.
func takenList(base, local, upstream *yaml.Node) *yaml.Node {
	have := map[string][]*yaml.Node{}
	for _, item := range local.Content {
		if item.Kind == yaml.ScalarNode {
			have[item.Value] = append(have[item.Value], item)
		}
	}
	var content []*yaml.Node
	for _, item := range upstream.Content {
		if mine := have[item.Value]; len(mine) > 0 && same(mine[0], item) {
			have[item.Value] = mine[1:]
			content = append(content, mine[0])
			continue
		}
		content = append(content, detached(item))
	}
	n := *local
	n.Content = content
	if len(local.Content) == 0 {
		n.Style = upstream.Style
	}
	nodeComments(base, &n, upstream)
	return &n
}

// detached is a deep copy fit for another document: without anchors.
func detached(n *yaml.Node) *yaml.Node {
	c := yamldoc.CopyNode(n)
	dropAnchors(c)
	return c
}

func dropAnchors(n *yaml.Node) {
	n.Anchor = ""
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		dropAnchors(c)
	}
}

// nodeComments brings in the comments that upstream changed where local's are
// still base's. base may be nil.
func nodeComments(base, local, upstream *yaml.Node) {
	var none yaml.Node
	if base == nil {
		base = &none
	}
	merge := func(b string, l *string, u string) {
		if *l == b {
			*l = u
		}
	}
	merge(base.HeadComment, &local.HeadComment, upstream.HeadComment)
	merge(base.LineComment, &local.LineComment, upstream.LineComment)
	merge(base.FootComment, &local.FootComment, upstream.FootComment)
}

// mergeComments is nodeComments for nodes and all below them, as far as their
// shapes agree.
func mergeComments(base, local, upstream *yaml.Node) {
	nodeComments(base, local, upstream)
	if local.Kind != upstream.Kind {
		return
	}
	switch local.Kind {
	case yaml.SequenceNode:
		if len(local.Content) != len(upstream.Content) {
			return
		}
		for i, l := range local.Content {
			var b *yaml.Node
			if base != nil && base.Kind == yaml.SequenceNode && len(base.Content) == len(local.Content) {
				b = base.Content[i]
			}
			mergeComments(b, l, upstream.Content[i])
		}
	case yaml.MappingNode:
		if base != nil && base.Kind != yaml.MappingNode {
			base = nil
		}
		uf, ok1 := fieldsOf(upstream)
		bf, ok2 := fieldsOf(base)
		if !ok1 || !ok2 {
			return
		}
		for i := 0; i+1 < len(local.Content); i += 2 {
			key := local.Content[i]
			if u, ok := uf[key.Value]; ok {
				b := bf[key.Value]
				nodeComments(b.key, key, u.key)
				mergeComments(b.value, local.Content[i+1], u.value)
			}
		}
	}
}
