package merge

import (
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// entryOf returns the key and value nodes of a mapping's field, nil when there
// is none.
func entryOf(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// child is the value of a mapping's field, nil when there is none.
func child(n *yaml.Node, name string) *yaml.Node {
	_, v := entryOf(n, name)
	return v
}

// text is the value of a scalar, empty for anything else.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || isNull(n) {
		return ""
	}
	return n.Value
}

// isNull says whether a node is there and null, which in kpt deletes the field.
func isNull(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull
}

// without is a mapping less the fields that drop names. n itself stays as it is.
func without(n *yaml.Node, drop func(key string) bool) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return n
	}
	c := *n
	c.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !drop(n.Content[i].Value) {
			c.Content = append(c.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &c
}

// with is a mapping with another value for a field it has; nil takes the field
// away. n itself stays as it is.
func with(n *yaml.Node, name string, value *yaml.Node) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return n
	}
	c := *n
	c.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		v := n.Content[i+1]
		if n.Content[i].Value == name {
			if v = value; v == nil {
				continue
			}
		}
		c.Content = append(c.Content, n.Content[i], v)
	}
	return &c
}

// fields is a mapping by key.
type fields map[string]field

type field struct{ key, value *yaml.Node }

// fieldsOf indexes a mapping; nil has no fields. ok is false for what isn't a
// mapping, and for one with keys that aren't scalars or come twice: it can only
// be taken as a whole.
func fieldsOf(n *yaml.Node) (fs fields, ok bool) {
	if n == nil {
		return nil, true
	}
	if n.Kind != yaml.MappingNode || len(n.Content)%2 != 0 {
		return nil, false
	}
	fs = make(fields, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			return nil, false
		}
		if _, twice := fs[k.Value]; twice {
			return nil, false
		}
		fs[k.Value] = field{k, n.Content[i+1]}
	}
	return fs, true
}

// same says whether two nodes hold the same data. Comments, styles and the order
// of keys don't count. nil is equal to nil alone.
func same(a, b *yaml.Node) bool { return alike(a, b, false) }

// sameText is same, with comments counting too.
func sameText(a, b *yaml.Node) bool { return alike(a, b, true) }

func alike(a, b *yaml.Node, comments bool) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if comments && !sameComments(a, b) {
		return false
	}
	switch a.Kind {
	case yaml.ScalarNode:
		return a.ShortTag() == b.ShortTag() && (a.Value == b.Value && sameQuotes(a, b) || isNull(a))
	case yaml.AliasNode:
		return a.Value == b.Value
	case yaml.MappingNode:
		return a.ShortTag() == b.ShortTag() && a.Anchor == b.Anchor && alikeMappings(a, b, comments)
	}
	if a.ShortTag() != b.ShortTag() || a.Anchor != b.Anchor {
		return false
	}
	for i := range a.Content {
		if !alike(a.Content[i], b.Content[i], comments) {
			return false
		}
	}
	return true
}

// sameQuotes says whether two scalars of the same text are so to Kubernetes too:
// it reads YAML 1.1, where yes without quotes is no text.
func sameQuotes(a, b *yaml.Node) bool {
	quoted := yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return (a.Style&quoted == 0) == (b.Style&quoted == 0) || !yaml.IsYaml1_1NonString(a)
}

func alikeMappings(a, b *yaml.Node, comments bool) bool {
	var byKey fields
	for i := 0; i+1 < len(a.Content); i += 2 {
		k, v := b.Content[i], b.Content[i+1]
		if !alike(a.Content[i], k, false) {
			if byKey == nil {
				var ok bool
				if byKey, ok = fieldsOf(b); !ok {
					return false
				}
			}
			f, ok := byKey[a.Content[i].Value]
			if !ok || !alike(a.Content[i], f.key, false) {
				return false
			}
			k, v = f.key, f.value
		}
		if comments && !sameComments(a.Content[i], k) || !alike(a.Content[i+1], v, comments) {
			return false
		}
	}
	return true
}

func sameComments(a, b *yaml.Node) bool {
	return a.HeadComment == b.HeadComment && a.LineComment == b.LineComment && a.FootComment == b.FootComment
}

// hasAliases says whether a tree has aliases, which tie its parts together.
func hasAliases(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		return true
	}
	for _, c := range n.Content {
		if hasAliases(c) {
			return true
		}
	}
	return false
}

// oneLine is a value as YAML in flow style, empty for nil.
func oneLine(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	c := yamldoc.CopyNode(n)
	flow(c)
	out, err := yaml.Marshal(c)
	s := strings.TrimSpace(string(out))
	if err != nil {
		s = n.Value
	}
	if lines := strings.Split(s, "\n"); len(lines) > 1 {
		for i, l := range lines {
			lines[i] = strings.TrimSpace(l)
		}
		s = strings.Join(lines, " ")
	}
	return s
}

func flow(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		n.Style |= yaml.FlowStyle
	case yaml.ScalarNode:
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || strings.Contains(n.Value, "\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		flow(c)
	}
}
