package yamldoc

import (
	"errors"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

var errAliases = errors.New("YAML aliases contain themselves or expand to too much")

// Expand is a deep copy of n with what its aliases stand for in their place, with
// merge keys (<<) written out and without anchors; n itself where it has neither
// aliases nor anchors. Aliases may make it ten times as large, beyond that somebody
// means harm, and it is an error.
func Expand(n *yaml.Node) (*yaml.Node, error) {
	if !hasAnchors(n) {
		return n, nil
	}
	var aliases bool
	nodes, _ := count(n, &aliases)
	e := expansion{left: 10*nodes + 10_000}
	return e.value(n, 0, 0)
}

// expansion is a copy in the making.
type expansion struct{ left int } // nodes that it may still get

// value is a copy of n. line, if not zero, is that of the alias it stands for.
func (e *expansion) value(n *yaml.Node, line, depth int) (*yaml.Node, error) {
	if e.left--; e.left < 0 || depth > MaxDepth {
		return nil, errAliases
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil {
			return nil, errAliases
		}
		if line == 0 {
			line = n.Line
		}
		c, err := e.value(n.Alias, line, depth+1)
		if err == nil {
			c.HeadComment, c.LineComment, c.FootComment = n.HeadComment, n.LineComment, n.FootComment
		}
		return c, err
	}
	c := *n
	c.Anchor, c.Content = "", make([]*yaml.Node, len(n.Content))
	if line != 0 {
		c.Line = line
	}
	for i, x := range n.Content {
		var err error
		if c.Content[i], err = e.value(x, line, depth+1); err != nil {
			return nil, err
		}
	}
	if c.Kind == yaml.MappingNode {
		writeMergeKeys(&c)
	}
	return &c, nil
}

// writeMergeKeys puts the fields that merge keys bring into a mapping without
// aliases, in their place; fields that it has itself stay, and of several that are
// brought the first counts.
func writeMergeKeys(n *yaml.Node) {
	isMerge := func(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == mergeTag }
	have, merges := map[string]bool{}, false
	for i := 0; i+1 < len(n.Content); i += 2 {
		merges = merges || isMerge(n.Content[i])
		have[n.Content[i].Value] = true
	}
	if !merges {
		return
	}
	var content []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		if !isMerge(key) {
			content = append(content, key, v)
			continue
		}
		brought := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			brought = v.Content
		}
		for _, m := range brought {
			if m.Kind != yaml.MappingNode {
				continue // no YAML reader takes that
			}
			for j := 0; j+1 < len(m.Content); j += 2 {
				if name := m.Content[j].Value; !have[name] {
					have[name] = true
					content = append(content, m.Content[j], m.Content[j+1])
				}
			}
		}
	}
	n.Content = content
}
