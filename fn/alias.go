package fn

import (
	"errors"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// expander makes the items of an answer stand alone. Some YAML writers, PyYAML
// for one, put an alias wherever a program used one value twice, even across
// items; in files nobody wants them, and across items they would break.
type expander struct {
	needed bool // any alias or anchor in the answer at all
	left   int  // nodes that aliases may still become
}

// newExpander looks at all items once. Aliases may make an answer ten times as
// large, beyond that somebody means harm.
func newExpander(items []*yaml.Node) *expander {
	e := &expander{}
	n := 0
	var walk func(*yaml.Node)
	walk = func(x *yaml.Node) {
		n++
		e.needed = e.needed || x.Kind == yaml.AliasNode || x.Anchor != ""
		for _, c := range x.Content {
			walk(c)
		}
	}
	for _, x := range items {
		walk(x)
	}
	e.left = 10*n + 10_000
	return e
}

var errAliases = errors.New("its YAML aliases contain themselves or expand to too much")

// expand replaces the aliases of an item by what they stand for, except those
// that old, which may be nil, has too.
func (e *expander) expand(old, item *yaml.Node) error {
	if !e.needed {
		return nil
	}
	own := map[string]bool{} // anchors of old
	if old != nil {
		var collect func(*yaml.Node)
		collect = func(x *yaml.Node) {
			if x.Anchor != "" {
				own[x.Anchor] = true
			}
			for _, c := range x.Content {
				collect(c)
			}
		}
		collect(old)
	}
	inside := map[*yaml.Node]bool{}
	var enter func(*yaml.Node)
	enter = func(x *yaml.Node) {
		inside[x] = true
		for _, c := range x.Content {
			enter(c)
		}
	}
	if len(own) > 0 {
		enter(item)
	}
	if err := e.replace(item, func(alias *yaml.Node) bool { return own[alias.Value] && inside[alias.Alias] }, own); err != nil {
		return err
	}
	// What hosts write to stands for nothing else.
	meta, err := e.field(item, "metadata")
	if err == nil && meta != nil {
		_, err = e.field(meta, "annotations")
	}
	return err
}

// field is the value of a mapping's field, in which an alias has been replaced
// by what it stands for; nil where there is none.
func (e *expander) field(n *yaml.Node, name string) (*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != name {
			continue
		}
		if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
			c, err := e.value(v, 0)
			if err != nil {
				return nil, err
			}
			n.Content[i+1] = c
		}
		return n.Content[i+1], nil
	}
	return nil, nil
}

// detached is n with copies in the place of the aliases of the nodes that shared
// holds. What doesn't change is n's own.
func (e *expander) detached(n *yaml.Node, shared map[*yaml.Node]bool) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode && shared[n.Alias] {
		c, err := e.value(n, 0)
		if err == nil {
			c.HeadComment, c.LineComment, c.FootComment = n.HeadComment, n.LineComment, n.FootComment
		}
		return c, err
	}
	out := n
	for i, c := range n.Content {
		d, err := e.detached(c, shared)
		if err != nil {
			return nil, err
		}
		if d != c {
			if out == n {
				out = shallow(n)
			}
			out.Content[i] = d
		}
	}
	return out, nil
}

// replace expands the aliases below n that aren't to be kept.
func (e *expander) replace(n *yaml.Node, keep func(*yaml.Node) bool, own map[string]bool) error {
	if !own[n.Anchor] {
		n.Anchor = ""
	}
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode && !keep(c) {
			var err error
			if c, err = e.value(c, 0); err != nil {
				return err
			}
			n.Content[i] = c
			continue
		}
		if err := e.replace(c, keep, own); err != nil {
			return err
		}
	}
	return nil
}

// value is a deep copy of n without aliases and anchors.
func (e *expander) value(n *yaml.Node, depth int) (*yaml.Node, error) {
	if e.left--; e.left < 0 || depth > 10_000 {
		return nil, errAliases
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil {
			return nil, errAliases
		}
		return e.value(n.Alias, depth+1)
	}
	c := *n
	c.Anchor, c.Content = "", make([]*yaml.Node, len(n.Content))
	for i, x := range n.Content {
		var err error
		if c.Content[i], err = e.value(x, depth+1); err != nil {
			return nil, err
		}
	}
	return &c, nil
}
