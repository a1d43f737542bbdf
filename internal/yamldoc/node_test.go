package yamldoc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func TestEqual(t *testing.T) {
	scalar := func(value, tag string, style yaml.Style) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value, Tag: tag, Style: style}
	}
	for _, tt := range []struct {
		name string
		a, b *yaml.Node
		want bool
	}{
		{"tag left to the value", scalar("x", strTag, 0), scalar("x", "", 0), true},
		{"tag left to the value, a number", scalar("1", "!!int", 0), scalar("1", "", 0), true},
		{"long tag", scalar("x", "tag:yaml.org,2002:str", 0), scalar("x", strTag, 0), true},
		{"a string that must be quoted", scalar("1", strTag, 0), scalar("1", strTag, yaml.DoubleQuotedStyle), true},
		{"a quoted number", scalar("1", "!!int", yaml.DoubleQuotedStyle), scalar("1", "!!int", 0), true},
		{"several lines", scalar("a\nb\n", strTag, 0), scalar("a\nb\n", strTag, yaml.LiteralStyle), true},
		{"another value", scalar("x", strTag, 0), scalar("y", strTag, 0), false},
		{"another type", scalar("1", "!!int", 0), scalar("1", strTag, 0), false},
		{"other quotes", scalar("x", strTag, 0), scalar("x", strTag, yaml.DoubleQuotedStyle), false},
		{"written tag", scalar("x", strTag, yaml.TaggedStyle), scalar("x", strTag, 0), false},
		{"empty collections are flow", &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}, true},
		{"nothing", nil, nil, true},
		{"nothing and something", nil, scalar("", "", 0), false},
	} {
		assert.Equal(t, tt.want, Equal(tt.a, tt.b), tt.name)
		assert.Equal(t, tt.want, Equal(tt.b, tt.a), tt.name)
	}
	for _, change := range []func(*yaml.Node){
		func(n *yaml.Node) { n.HeadComment = "# x" },
		func(n *yaml.Node) { n.LineComment = "# x" },
		func(n *yaml.Node) { n.FootComment = "# x" },
		func(n *yaml.Node) { n.Anchor = "x" },
		func(n *yaml.Node) { n.Kind = yaml.AliasNode },
	} {
		a, b := scalar("x", strTag, 0), scalar("x", strTag, 0)
		change(b)
		assert.False(t, Equal(a, b))
	}
}

func TestCopyNode(t *testing.T) {
	assert.Nil(t, CopyNode(nil))
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte("a: &x {b: 1}\nc: [*x, d]\n"), &doc))
	c := CopyNode(&doc)
	require.True(t, Equal(&doc, c))
	m, cm := doc.Content[0], c.Content[0]
	assert.Same(t, cm.Content[1], cm.Content[3].Content[0].Alias, "an alias points into the copy")
	assert.Same(t, m.Content[1], m.Content[3].Content[0].Alias)

	// Growing one slice must not write into its neighbour.
	cm.Content = append(cm.Content, str("new"), str("new"))
	cm.Content[1].Content = append(cm.Content[1].Content, str("k"), str("v"))
	assert.Equal(t, "d", cm.Content[3].Content[1].Value)
	assert.Len(t, m.Content, 4)
	assert.Len(t, m.Content[1].Content, 2)

	alias := CopyNode(m.Content[3])
	assert.Same(t, m.Content[1], alias.Content[0].Alias, "what is outside stays outside")
}

func TestCopyNodeAllocates(t *testing.T) {
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(resources(1), &doc))
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { CopyNode(&doc) }), 2.0)
	c := CopyNode(&doc)
	assert.Zero(t, testing.AllocsPerRun(10, func() { Equal(&doc, c) }))
}
