package yamldoc

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// writer makes YAML text the way people do: in every style, with comments,
// blank lines and odd spacing.
type writer struct {
	*rapid.T
	b       strings.Builder
	nl      string
	anchors int
}

func (w *writer) one(of ...string) string { return rapid.SampledFrom(of).Draw(w.T, "one") }
func (w *writer) n(max int) int           { return rapid.IntRange(0, max).Draw(w.T, "n") }
func (w *writer) rarely() bool            { return w.n(7) == 7 }

func document(t *rapid.T) string {
	w := &writer{T: t}
	w.nl = w.one("\n", "\n", "\n", "\r\n")
	w.b.WriteString(w.one("", "", "", "\ufeff"))
	w.b.WriteString(w.one("", "", "# license\n\n", "---\n", "--- # first\n", "%YAML 1.1\n---\n", "\n", "# head\n"))
	switch w.n(9) {
	case 0:
		w.b.WriteString(w.flow(2) + "\n")
	case 1:
		w.sequence(0, 2, false)
	default:
		w.mapping(0, 2, false)
	}
	w.b.WriteString(w.one("", "", "", "\n", "# end\n", "\n# end\n", "...\n"))
	s := w.b.String()
	if w.rarely() {
		s = strings.TrimSuffix(s, "\n")
	}
	return strings.ReplaceAll(s, "\n", w.nl)
}

func (w *writer) margin(col int) string { return strings.Repeat(" ", col) }

func (w *writer) above(col int) {
	switch w.n(11) {
	case 0:
		w.b.WriteString("\n")
	case 1:
		w.b.WriteString(w.margin(col) + "# above\n")
	case 2:
		w.b.WriteString("\n" + w.margin(col) + "# one\n\n" + w.margin(col) + "# two é\n")
	case 3:
		w.b.WriteString(w.margin(col) + "# below\n\n")
	case 4:
		w.b.WriteString(w.margin(w.n(col+2)) + "# anywhere\n")
	}
}

func (w *writer) mapping(col, depth int, behind bool) {
	for i, key := range []string{"name", "a", "\"q\"", "key.io/x", "é", "1", "'s'", "z"}[:1+w.n(1)+w.n(2)+w.n(2)+w.n(2)] {
		if i > 0 || !behind {
			w.above(col)
			w.b.WriteString(w.margin(col))
		}
		w.b.WriteString(key + w.one(":", ":", ":", ":", " :"))
		w.value(col, depth, false)
	}
}

func (w *writer) sequence(col, depth int, behind bool) {
	for i := range 1 + w.n(1) + w.n(2) {
		if i > 0 || !behind {
			w.above(col)
			w.b.WriteString(w.margin(col))
		}
		w.b.WriteString("-")
		w.value(col, depth, true)
	}
}

// value writes the value behind a colon or a dash, and the line's end.
func (w *writer) value(col, depth int, item bool) {
	end := w.one("", "", "", " # c", "   # c é", " ") + "\n"
	anchor := ""
	if w.n(31) == 31 {
		w.anchors++
		anchor = fmt.Sprintf(" &x%d", w.anchors)
	}
	kind := w.n(9)
	if depth == 0 {
		kind = kind%5 + 5
	}
	switch kind {
	case 0, 1, 2:
		switch {
		case item && w.rarely():
			w.b.WriteString(" # dash\n" + w.margin(col+2))
			w.mapping(col+2, depth-1, true)
		case item && anchor == "":
			w.b.WriteString(" ")
			w.mapping(col+2, depth-1, true)
		default:
			w.b.WriteString(anchor + end)
			w.mapping(col+2+2*(w.n(4)/4), depth-1, false)
		}
	case 3, 4:
		switch {
		case item && anchor == "":
			w.b.WriteString(" ")
			w.sequence(col+2, depth-1, true)
		case item:
			w.b.WriteString(anchor + end)
			w.sequence(col+2, depth-1, false)
		default:
			w.b.WriteString(anchor + end)
			w.sequence(col+2*w.n(1), depth-1, false)
		}
	case 5:
		w.b.WriteString(anchor + " " + w.flow(depth) + end)
	case 6:
		w.block(col)
	case 7:
		if w.anchors > 0 {
			w.b.WriteString(fmt.Sprintf(" *x%d", 1+w.n(w.anchors-1)) + end)
			return
		}
		w.b.WriteString(end)
	default:
		w.b.WriteString(anchor + " " + w.scalar(col) + end)
	}
}

func (w *writer) scalar(col int) string {
	return w.one("x", "true", "123", "null", "~", "\"true\"", "'it''s'", "\"a\\tb # c\"", "2020-01-01", "!!str 5", "!t v", "http://x:80/#y",
		"a b c", "\"é\"", "😀 x", "1.5", "'a\n"+w.margin(col+3)+"b\n\n"+w.margin(col+1)+"c'", "many words\n"+w.margin(col+4)+"on lines",
		"\"fold \\\n"+w.margin(col+2)+"ed\"", "\"\"", "''", "0o7", "-", "[]", "{}")
}

func (w *writer) block(col int) {
	in := w.margin(col + 2)
	w.b.WriteString(" " + w.one("|", "|-", "|+", ">", ">-", ">+", "|2", "| # c") + "\n")
	w.b.WriteString(w.one(in+"x\n", in+"a\n\n"+in+"  b: 1\n"+in+"c # no comment\n", in+"a \n"+in+"b\n\n", in+"é\n"+in+"- y\n"))
}

func (w *writer) flow(depth int) string {
	leaf := func() string {
		return w.one("x", "1", "\"q, r\"", "'s'", "null", "é", "true", "a b")
	}
	switch {
	case depth > 0 && w.n(3) == 0:
		return w.one("[", "[ ") + w.flow(depth-1) + w.one(", ", ",") + w.flow(depth-1) + w.one("]", " ]", ",]")
	case w.n(1) == 0:
		return "[" + leaf() + ", " + leaf() + "]"
	case depth > 0 && w.n(2) == 0:
		return "{a: " + w.flow(depth-1) + ",\n      b: " + leaf() + "}"
	}
	return w.one("{", "{ ") + "\"k\": " + leaf() + ", l: " + leaf() + w.one("}", " }")
}

// nodesOf lists the nodes of a tree with their parents.
func nodesOf(n *yaml.Node) (nodes, parents []*yaml.Node) {
	var walk func(n, parent *yaml.Node)
	walk = func(n, parent *yaml.Node) {
		nodes, parents = append(nodes, n), append(parents, parent)
		for _, c := range n.Content {
			walk(c, n)
		}
	}
	walk(n, nil)
	return nodes, parents
}

// mutate does something to a tree that a function could do.
func mutate(t *rapid.T, root *yaml.Node) string {
	w := &writer{T: t}
	nodes, _ := nodesOf(root)
	n := rapid.SampledFrom(nodes).Draw(t, "node")
	value := func() *yaml.Node {
		v := &yaml.Node{Kind: yaml.ScalarNode, Tag: strTag, Value: w.one("v", "", "true", "12", "a: b", "a #b", "x\ny\n", " lead\nx", "\ttab", "~", "é",
			"- x", "tail \n", "line\n\n\n", "#", "'", "\"", "a\rb", "...", "---", "\n", "null", "<<", "{x", "2001-01-01", "with, comma", "trail ")}
		switch w.n(6) {
		case 0:
			v.Style = yaml.DoubleQuotedStyle
		case 1:
			v.Style = yaml.SingleQuotedStyle
		case 2:
			v.Style = yaml.LiteralStyle
		case 3:
			v.Style = yaml.FoldedStyle
		case 4:
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "7"}
		}
		return v
	}
	child := func() *yaml.Node {
		switch w.n(4) {
		case 0:
			return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{str("in"), value(), str("on"), value()}}
		case 1:
			return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{value(), value()}}
		case 2:
			return &yaml.Node{Kind: yaml.MappingNode}
		}
		return value()
	}
	switch n.Kind {
	case yaml.ScalarNode:
		switch w.n(5) {
		case 0:
			n.LineComment = w.one("", "# new", "# kpt-set: ${x}")
			return "comment"
		case 1:
			n.Style = []yaml.Style{0, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle}[w.n(3)]
			return "style"
		case 2:
			n.HeadComment = w.one("", "# new head", "# two\n# lines")
			return "comment"
		}
		v := value()
		n.Value, n.Tag = v.Value, v.Tag
		if w.n(1) == 0 {
			n.Style = v.Style
		}
		if n.Tag != strTag {
			n.Style = 0
		}
		return "set"
	case yaml.MappingNode:
		k := len(n.Content) / 2
		switch op := w.n(5); {
		case op == 0 && k > 0:
			i := 2 * w.n(k-1)
			n.Content = append(n.Content[:i:i], n.Content[i+2:]...)
			return "remove"
		case op == 1 && k > 1:
			i, j := 2*w.n(k-1), 2*w.n(k-1)
			c := n.Content
			c[i], c[j], c[i+1], c[j+1] = c[j], c[i], c[j+1], c[i+1]
			return "swap"
		case op == 2 && k > 0:
			n.Content[2*w.n(k-1)+1] = child()
			return "replace"
		}
		i := 2 * w.n(k)
		key := str(w.one("new", "app.io/n", "true", "with space", "5", "é", ": x"))
		n.Content = append(n.Content[:i:i], append([]*yaml.Node{key, child()}, n.Content[i:]...)...)
		return "add"
	case yaml.SequenceNode:
		k := len(n.Content)
		switch op := w.n(4); {
		case op == 0 && k > 0:
			i := w.n(k - 1)
			n.Content = append(n.Content[:i:i], n.Content[i+1:]...)
			return "remove"
		case op == 1 && k > 1:
			i, j := w.n(k-1), w.n(k-1)
			n.Content[i], n.Content[j] = n.Content[j], n.Content[i]
			return "swap"
		case op == 2:
			n.FootComment = w.one("", "# foot")
			return "comment"
		}
		i := w.n(k)
		n.Content = append(n.Content[:i:i], append([]*yaml.Node{child()}, n.Content[i:]...)...)
		return "add"
	}
	return "nothing"
}

// aliasesHold says whether every alias comes after its anchor.
func aliasesHold(root *yaml.Node) bool {
	seen := map[string]bool{}
	nodes, _ := nodesOf(root)
	for _, n := range nodes {
		if n.Anchor != "" {
			seen[n.Anchor] = true
		}
		if n.Kind == yaml.AliasNode && !seen[n.Value] {
			return false
		}
	}
	return true
}

func TestAnyChangeReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := document(t)
		docs := Split([]byte(src))
		doc := docs[len(docs)-1]
		root, err := doc.Copy()
		if err != nil || root == nil {
			t.Skip("not YAML")
		}
		fresh, _ := doc.Root()
		require.True(t, Equal(root, fresh))
		var did []string
		for range 1 + rapid.IntRange(0, 3).Draw(t, "changes") {
			did = append(did, mutate(t, root))
		}
		if !aliasesHold(root) {
			t.Skip("alias without anchor")
		}
		want := CopyNode(root)
		d := doc.With(root)
		out, err := d.Bytes()
		require.NoError(t, err, "%q: %v\n%s", did, err, src)
		require.True(t, Equal(want, root), "With's nodes were changed")
		again, err := parse(out)
		require.NoError(t, err, "%q\n%s\n--- became\n%s", did, src, out)
		got := content(again)
		if got == nil {
			got = &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag}
		}
		require.True(t, sameContent(want, got), "%q\n%s\n--- became\n%s\nwant %s\ngot %s", did, src, out, describe(want), describe(got))
		if !d.Changed() {
			require.Equal(t, string(doc.read.bytes), string(out))
			return
		}
	})
}

// Setting a scalar leaves every other line as it was.
func TestScalarSetTouchesOneLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := Split([]byte(document(t)))
		doc := docs[len(docs)-1]
		root, err := doc.Copy()
		if err != nil || root == nil {
			t.Skip("not YAML")
		}
		var fit []*yaml.Node
		nodes, parents := nodesOf(root)
		for i, n := range nodes {
			if p := parents[i]; n.Kind == yaml.ScalarNode && n.Tag == strTag && n.Anchor == "" && n.Style&(tagged|blocky) == 0 &&
				!strings.Contains(n.Value, "\n") && n.Value != "many words on lines" && n.Value != "fold ed" && n.Value != "a b c" &&
				(p == nil || p.Kind == yaml.SequenceNode || slices.Index(p.Content, n)%2 == 1) {
				fit = append(fit, n)
			}
		}
		if len(fit) == 0 {
			t.Skip("no scalar")
		}
		n := rapid.SampledFrom(fit).Draw(t, "scalar")
		n.Value = rapid.SampledFrom([]string{"new", "", "true", "it's", "a: b", "x #y", "é", "12"}).Draw(t, "value")
		out, err := doc.With(root).Bytes()
		require.NoError(t, err)
		was, is := bytes.Split(doc.read.bytes, []byte("\n")), bytes.Split(out, []byte("\n"))
		require.Len(t, is, len(was))
		for i := range was {
			if i != n.Line-1 {
				require.Equal(t, string(was[i]), string(is[i]), "line %d", i+1)
			}
		}
	})
}
