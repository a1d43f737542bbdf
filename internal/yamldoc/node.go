package yamldoc

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const (
	strTag   = "!!str"
	nullTag  = "!!null"
	mergeTag = "!!merge"
)

// Styles as sets of bits. kyaml has them as variables.
const (
	tagged  yaml.Style = 1 << 0
	quoted  yaml.Style = 1<<1 | 1<<2 // double or single
	blocky  yaml.Style = 1<<3 | 1<<4 // literal or folded
	flowBit yaml.Style = 1 << 5
)

// CopyNode is a deep copy. Aliases within n point to the copy of what they
// pointed to. The Content slices may be appended to; growing one never touches
// another.
func CopyNode(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	c := copier{}
	nodes, children := count(n, &c.aliases)
	c.nodes, c.children = make([]yaml.Node, nodes), make([]*yaml.Node, children)
	if c.aliases {
		c.at = make(map[*yaml.Node]*yaml.Node, nodes)
	}
	out := c.copy(n)
	if c.aliases {
		c.relink(out)
	}
	return out
}

// copier hands out nodes and child slices from two blocks.
type copier struct {
	nodes    []yaml.Node
	children []*yaml.Node
	aliases  bool
	at       map[*yaml.Node]*yaml.Node // original to copy, only with aliases
}

func count(n *yaml.Node, aliases *bool) (nodes, children int) {
	nodes, children = 1, len(n.Content)
	*aliases = *aliases || n.Alias != nil
	for _, c := range n.Content {
		if c != nil {
			a, b := count(c, aliases)
			nodes, children = nodes+a, children+b
		}
	}
	return nodes, children
}

func (c *copier) copy(n *yaml.Node) *yaml.Node {
	out := &c.nodes[0]
	c.nodes = c.nodes[1:]
	*out = *n
	if c.aliases {
		c.at[n] = out
	}
	if k := len(n.Content); k > 0 {
		out.Content = c.children[:k:k]
		c.children = c.children[k:]
		for i, child := range n.Content {
			if child != nil {
				out.Content[i] = c.copy(child)
			}
		}
	}
	return out
}

func (c *copier) relink(n *yaml.Node) {
	if to, ok := c.at[n.Alias]; ok && n.Alias != nil {
		n.Alias = to
	}
	for _, child := range n.Content {
		if child != nil {
			c.relink(child)
		}
	}
}

// Equal says whether two nodes would be written alike: same values, types,
// order, anchors, comments and styles. Differences that don't show in the text
// don't count, such as a tag left empty where it is what the value resolves to,
// or a plain style for a string that has to be quoted anyhow. Positions are
// ignored.
func Equal(a, b *yaml.Node) bool { return equal(a, b, false) }

func equal(a, b *yaml.Node, flow bool) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.HeadComment != b.HeadComment || a.LineComment != b.LineComment ||
		a.FootComment != b.FootComment || !alike(a, b, flow) || len(a.Content) != len(b.Content) {
		return false
	}
	flow = flow || isFlow(a)
	for i := range a.Content {
		if !equal(a.Content[i], b.Content[i], flow) {
			return false
		}
	}
	return true
}

// alike says whether two nodes would be written alike, their comments and
// contents aside. flow: they stand within a flow collection.
func alike(a, b *yaml.Node, flow bool) bool {
	if a.Kind != b.Kind || a.Value != b.Value || a.Anchor != b.Anchor {
		return false
	}
	if a.Tag == b.Tag && a.Style == b.Style {
		return true
	}
	switch a.Kind {
	case yaml.ScalarNode:
		return look(a) == look(b)
	case yaml.MappingNode, yaml.SequenceNode:
		return a.ShortTag() == b.ShortTag() && explicitTag(a) == explicitTag(b) &&
			(flow || isFlow(a) == isFlow(b))
	}
	return true
}

// isFlow says whether a collection is written in flow style. Empty ones have no
// other.
func isFlow(n *yaml.Node) bool {
	return (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) &&
		(n.Style&flowBit != 0 || len(n.Content) == 0)
}

// explicitTag says whether a collection is written with its tag.
func explicitTag(n *yaml.Node) bool {
	switch n.ShortTag() {
	case "!!map", "!!seq":
		return n.Style&tagged != 0
	}
	return true
}

// appearance is what the text of a scalar shows besides its value.
type appearance struct {
	style    yaml.Style // zero is plain
	tag      string     // short
	explicit bool       // the tag is written
}

// look settles how a scalar is written so that it reads back with its tag.
func look(n *yaml.Node) appearance {
	l := appearance{style: n.Style & (quoted | blocky), tag: n.ShortTag(), explicit: n.Style&tagged != 0}
	if l.style&yaml.DoubleQuotedStyle != 0 {
		l.style = yaml.DoubleQuotedStyle
	} else if l.style&yaml.SingleQuotedStyle != 0 {
		l.style = yaml.SingleQuotedStyle
	}
	if l.explicit {
		return l
	}
	if l.tag != strTag {
		// Quotes would make it a string.
		if resolve(n.Value) == l.tag {
			l.style = 0
		} else {
			l.explicit = true
		}
		return l
	}
	if l.style == 0 {
		switch {
		case strings.Contains(n.Value, "\n"):
			l.style = yaml.LiteralStyle
		case resolve(n.Value) != strTag:
			l.style = yaml.DoubleQuotedStyle
		}
	}
	return l
}

// resolve is the tag that a plain scalar reads back with.
func resolve(value string) string {
	if isText(value) {
		return strTag
	}
	if value == "<<" {
		return mergeTag // which the library knows when reading only
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: value}
	return n.ShortTag()
}

// sameContent says whether two trees hold the same data: kinds, values, types,
// order, anchors. Comments and styles don't count, nor how null, true and false
// are spelt.
func sameContent(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.AliasNode:
		return a.Value == b.Value
	case yaml.ScalarNode:
		tag := a.ShortTag()
		if tag != b.ShortTag() {
			return false
		}
		return a.Value == b.Value || tag == nullTag || tag == "!!bool" && strings.EqualFold(a.Value, b.Value)
	}
	if a.ShortTag() != b.ShortTag() {
		return false
	}
	for i := range a.Content {
		if !sameContent(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
