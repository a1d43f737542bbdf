package yamldoc

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// encodePlain is what the library writes of block collections without comments,
// tags and anchors whose scalars are on one line each, in a tenth of the time;
// nil of others.
func encodePlain(n *yaml.Node, l layout) []byte {
	if n.Kind == yaml.DocumentNode && bareNode(n) {
		n = content(n)
	}
	if n == nil || n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode || l.indent != 2 {
		return nil
	}
	e := plainEncoder{wide: l.wide}
	if !e.collection(n, 0, false) {
		return nil
	}
	return e.out
}

type plainEncoder struct {
	wide bool
	out  []byte
}

// bareNode says whether n has nothing beside its value or content.
func bareNode(n *yaml.Node) bool {
	return n.HeadComment == "" && n.LineComment == "" && n.FootComment == "" && n.Anchor == ""
}

// collection writes a collection in a column; begun says that the line is there,
// up to that column.
func (e *plainEncoder) collection(n *yaml.Node, column int, begun bool) bool {
	if !bareNode(n) || isFlow(n) || explicitTag(n) || n.Kind == yaml.MappingNode && len(n.Content)%2 != 0 {
		return false
	}
	for i := 0; i < len(n.Content); i++ {
		if !begun {
			e.out = append(e.out, strings.Repeat(" ", column)...)
		}
		begun = false
		c := n.Content[i]
		if n.Kind == yaml.SequenceNode {
			if e.out = append(e.out, '-'); c.Kind == yaml.MappingNode {
				e.out = append(e.out, ' ')
				if !e.collection(c, column+2, true) {
					return false
				}
				continue
			}
			if c.Kind != yaml.ScalarNode || !e.scalar(c) {
				return false
			}
			continue
		}
		if c.Kind != yaml.ScalarNode || !bareNode(c) {
			return false
		}
		key, ok := scalarText(c, asKey)
		if !ok {
			return false
		}
		e.out = append(append(e.out, key...), ':')
		i++
		switch c := n.Content[i]; {
		case c.Kind == yaml.ScalarNode:
			if !e.scalar(c) {
				return false
			}
		case c.Kind != yaml.MappingNode && c.Kind != yaml.SequenceNode:
			return false
		default:
			e.out = append(e.out, '\n')
			inner := column + 2
			if c.Kind == yaml.SequenceNode && !e.wide {
				inner = column
			}
			if !e.collection(c, inner, false) {
				return false
			}
		}
	}
	return true
}

// scalar ends a line with a scalar.
func (e *plainEncoder) scalar(n *yaml.Node) bool {
	if !bareNode(n) || look(n).style&blocky != 0 {
		return false
	}
	s, ok := scalarText(n, inBlock)
	if !ok {
		return false
	}
	if s != "" {
		e.out = append(append(e.out, ' '), s...)
	}
	e.out = append(e.out, '\n')
	return true
}
