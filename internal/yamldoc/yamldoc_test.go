package yamldoc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// In the tables a document is its text, and what comes of its Root: the first
// scalar below it, "-" without content, "error" if there is none to be had.
func rootOf(d *Doc) string {
	root, err := d.Root()
	switch {
	case err != nil:
		return "error"
	case root == nil:
		return "-"
	}
	for root.Kind != yaml.ScalarNode {
		if len(root.Content) == 0 {
			return "empty"
		}
		root = root.Content[0]
	}
	return root.Value
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		src   string
		docs  []string
		roots string
	}{
		{"nothing", "", []string{""}, "-"},
		{"one", "a: 1\n", []string{"a: 1\n"}, "a"},
		{"separated", "---\na: 1\n---\nb: 2", []string{"---\na: 1\n", "---\nb: 2"}, "a b"},
		{"not before the first", "a: 1\n---\nb: 2\n", []string{"a: 1\n", "---\nb: 2\n"}, "a b"},
		{"blank lines belong to the first", "\n\n---\na: 1\n", []string{"\n\n---\na: 1\n"}, "a"},
		{"comments before the first are their own", "# lic\n---\na: 1\n", []string{"# lic\n", "---\na: 1\n"}, "- a"},
		{"content behind a separator", "--- {a: b}\n--- # c\nb: 1\n---\tc\n--- !t\nd: 1\n",
			[]string{"--- {a: b}\n", "--- # c\nb: 1\n", "---\tc\n", "--- !t\nd: 1\n"}, "a b c d"},
		{"no separators", "----\n", []string{"----\n"}, "----"},
		{"dashes in a literal", "a: |\n  ---\n  x\n", []string{"a: |\n  ---\n  x\n"}, "a"},
		{"empty documents", "---\n---\n# c\n---\n", []string{"---\n", "---\n# c\n", "---\n"}, "- - -"},
		{"document end", "a: 1\n...\nb: 2\n", []string{"a: 1\n...\n", "b: 2\n"}, "a b"},
		{"document end, then separator", "a: 1\n...\n# of b\n---\nb: 2\n", []string{"a: 1\n...\n", "# of b\n---\nb: 2\n"}, "a b"},
		{"document end, then nothing", "a: 1\n...\n# c\n\n", []string{"a: 1\n...\n# c\n\n"}, "a"},
		{"directives", "%YAML 1.1\n---\na: 1\n...\n# c\n%TAG !e! tag:e,1:\n---\nb: !e!x 1\n",
			[]string{"%YAML 1.1\n---\na: 1\n...\n", "# c\n%TAG !e! tag:e,1:\n---\nb: !e!x 1\n"}, "a b"},
		{"comment and directive", "# c\n%YAML 1.1\n---\na: 1\n", []string{"# c\n%YAML 1.1\n---\na: 1\n"}, "a"},
		{"CRLF", "---\r\na: 1\r\n---\r\nb: 2\r\n", []string{"---\r\na: 1\r\n", "---\r\nb: 2\r\n"}, "a b"},
		{"BOM", "\ufeff---\na: 1\n---\nb: 2\n", []string{"\ufeff---\na: 1\n", "---\nb: 2\n"}, "a b"},
		{"lone carriage returns", "a: 1\r---\rb: 2", []string{"a: 1\r---\rb: 2"}, "error"},
		{"broken by a separator", "a: 'x\n---\ny'\n", []string{"a: 'x\n", "---\ny'\n"}, "error y'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			docs := Split([]byte(tt.src))
			var texts, roots []string
			for _, d := range docs {
				b, err := d.Bytes()
				require.NoError(t, err)
				texts, roots = append(texts, string(b)), append(roots, rootOf(d))
			}
			assert.Equal(t, tt.docs, texts)
			assert.Equal(t, tt.roots, strings.Join(roots, " "))
			joined, err := Join(docs)
			require.NoError(t, err)
			assert.Equal(t, tt.src, string(joined))
		})
	}
}

func TestJoin(t *testing.T) {
	made := func(key string) *Doc {
		return FromNode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{str(key), str("x")}})
	}
	read := func(s string) *Doc { return Split([]byte(s))[0] }
	for _, tt := range []struct {
		name string
		docs []*Doc
		want string
	}{
		{"none", nil, ""},
		{"a separator between", []*Doc{made("a"), made("b")}, "a: x\n---\nb: x\n"},
		{"none twice", []*Doc{read("a: 1\n"), read("---\nb: 2\n")}, "a: 1\n---\nb: 2\n"},
		{"a last line without a break", []*Doc{read("a: 1"), made("b")}, "a: 1\n---\nb: x\n"},
		{"as the lines end", []*Doc{read("a: 1\r\n"), read("b: 2\r\n")}, "a: 1\r\n---\r\nb: 2\r\n"},
		{"comments are no document", []*Doc{made("a"), read("# c\n"), made("b")}, "a: x\n# c\n---\nb: x\n"},
		{"directives need the document before to end", []*Doc{made("a"), read("%YAML 1.1\n---\nb: 1\n")}, "a: x\n...\n%YAML 1.1\n---\nb: 1\n"},
		{"a byte order mark is for the beginning", []*Doc{made("a"), read("\ufeffb: 1\n")}, "a: x\n---\nb: 1\n"},
		{"nothing from nothing", []*Doc{FromNode(nil), made("a")}, "a: x\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Join(tt.docs)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(b))
		})
	}
}

func TestRootError(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"a:\n  - b\n c: 1\n", "line 3: did not find expected key"},
		{"a: 1\nb: 2\n- c\n", "line 3: did not find expected key"},
		{"a: 1\n b: 2\n", "line 2: mapping values are not allowed in this context"},
		{"x: @foo\n", "line 1: found character that cannot start any token"},
		{"a: 1\nb: *nope\n", "line 2: unknown anchor 'nope' referenced"},
		{"a: 1\r---\rb: 2", "line 2: a second document begins where no separator line shows it"},
		{strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), "line 1: nested deeper than 1000 levels"},
		{strings.Repeat("- ", MaxDepth) + "a", "line 1: nested deeper than 1000 levels"},
		{strings.Repeat("[", 1<<20), "line 1: exceeded max depth of 10000"},
	} {
		_, err := Split([]byte(tt.src))[0].Root()
		assert.EqualError(t, err, tt.want)
	}
}

func TestDeepestDocumentCanBeWritten(t *testing.T) {
	for _, src := range []string{
		strings.Repeat("[", MaxDepth-1) + "x" + strings.Repeat("]", MaxDepth-1),
		strings.Repeat("- ", MaxDepth-1) + "x",
	} {
		d := Split([]byte(src))[0]
		root, err := d.Copy()
		require.NoError(t, err)
		n := root
		for len(n.Content) > 0 {
			n = n.Content[0]
		}
		n.Value = "y"
		out, err := d.With(root).Bytes()
		require.NoError(t, err)
		assert.Equal(t, strings.Replace(src, "x", "y", 1), string(out))
	}
}

// An alias bomb is a small document and stays one.
func TestAliasBomb(t *testing.T) {
	src := "a0: &a0 [x, x]\n"
	for i := range 40 {
		n, m := string(rune('0'+i/10))+string(rune('0'+i%10)), string(rune('0'+(i+1)/10))+string(rune('0'+(i+1)%10))
		if i == 0 {
			n = "0"
		}
		src += "a" + m + ": &a" + m + " [*a" + n + ", *a" + n + "]\n"
	}
	assert.Equal(t, strings.Replace(src, "[x, x]", "[y, x]", 1), changed(t, src, "set a0/0 y"))
}

func TestErrorsOfNodes(t *testing.T) {
	loop := &yaml.Node{Kind: yaml.SequenceNode}
	loop.Content = []*yaml.Node{loop}
	for name, root := range map[string]*yaml.Node{
		"loop":             loop,
		"missing":          {Kind: yaml.SequenceNode, Content: []*yaml.Node{nil}},
		"alias of nothing": {Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.AliasNode, Value: "x"}}},
		"not UTF-8":        {Kind: yaml.ScalarNode, Tag: strTag, Value: "\xff"},
		"no kind":          {Value: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Split([]byte("a: 1\n"))[0].With(root).Bytes()
			assert.ErrorContains(t, err, "writing YAML: ")
			_, err = FromNode(root).Bytes()
			assert.ErrorContains(t, err, "writing YAML: ")
		})
	}
}

func TestDocumentsWithoutContentGetSome(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"", "a: x\n"},
		{"# c\n", "# c\na: x\n"},
		{"---\n", "---\na: x\n"},
		{"---", "---\na: x\n"},
		{"--- # c\r\n", "--- # c\r\na: x\r\n"},
	} {
		root := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{str("a"), str("x")}}
		out, err := Split([]byte(tt.src))[0].With(root).Bytes()
		require.NoError(t, err)
		assert.Equal(t, tt.want, string(out))
	}
}

// Nodes from another parser have no positions to go by, and may have others'.
func TestNodesFromElsewhere(t *testing.T) {
	d := Split([]byte("# head\na:   1 # one\nl:\n    - {x: y}\nz: 'q'\n"))[0]
	var other yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte("\n\n\n# head\na: 2 # one\nl:\n- {x: y}\n- w\nz: 'q'\n"), &other))
	out, err := d.With(&other).Bytes()
	require.NoError(t, err)
	assert.Equal(t, "# head\na:   2 # one\nl:\n    - {x: y}\n    - w\nz: 'q'\n", string(out))
}

func TestUnchangedStaysAsItIs(t *testing.T) {
	src := "a:   1\nb: [ x ]\r\n"
	d := Split([]byte(src))[0]
	root, err := d.Copy()
	require.NoError(t, err)
	root.Content[1].Tag = ""
	assert.False(t, d.With(root).Changed())
	out, err := d.With(root).Bytes()
	require.NoError(t, err)
	assert.Equal(t, src, string(out))
	assert.False(t, d.With(nil).Changed())
	assert.True(t, FromNode(root).Changed())
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a: 1\n---\nb: 2\n", "\ufeff%YAML 1.1\n---\na\n...\n# c\n", "--- |\n x\n...\n...\n---", "a: &b [*b, \"\\x\"]\r\n- ? c\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		docs := Split(src)
		var all []byte
		for _, d := range docs {
			b, err := d.Bytes()
			require.NoError(t, err)
			all = append(all, b...)
			if _, err := d.Root(); err != nil {
				require.Regexp(t, `^line \d+: `, err.Error())
			}
		}
		require.Equal(t, string(src), string(all))
		joined, err := Join(docs)
		require.NoError(t, err)
		require.Equal(t, string(src), string(joined))
	})
}

// FuzzSet sets a scalar of any document to any text.
func FuzzSet(f *testing.F) {
	f.Add([]byte("a: 1 # c\nb: [x, 'y']\n"), "v", uint(1))
	f.Add([]byte("- |\n  x\n- \"a\\\n  b\"\r\n"), "a\nb\n", uint(0))
	f.Add([]byte("? a\n: !!str &x b\n"), "", uint(1))
	f.Fuzz(func(t *testing.T, src []byte, value string, at uint) {
		for _, d := range Split(src) {
			root, err := d.Copy()
			if err != nil || root == nil {
				continue
			}
			nodes, _ := nodesOf(root)
			n := nodes[at%uint(len(nodes))]
			if n.Kind != yaml.ScalarNode {
				continue
			}
			n.Value = value
			out, err := d.With(root).Bytes()
			if err != nil {
				continue
			}
			doc, err := parse(out)
			require.NoError(t, err, "%q", out)
			if got := content(doc); got != nil {
				require.True(t, sameContent(root, got), "%q\n%s\n%s", out, describe(root), describe(got))
			} else {
				require.Equal(t, nullTag, root.ShortTag())
			}
		}
	})
}
