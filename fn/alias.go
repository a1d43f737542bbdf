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
	return e.replace(item, func(alias *yaml.Node) bool { return own[alias.Value] && inside[alias.Alias] }, own)
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
