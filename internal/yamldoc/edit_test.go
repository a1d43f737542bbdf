package yamldoc

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// An edit is one thing done to nodes, in the words of the tables below:
//
//	set PATH VALUE         a scalar, with the style it has
//	put PATH YAML          a value anew, or a key at the end
//	first PATH KEY YAML    a key at the beginning of the mapping at PATH
//	before PATH KEY YAML   a key before the one at PATH
//	rename PATH KEY
//	remove PATH
//	add PATH YAML          an item at the end of a sequence
//	insert PATH YAML       an item before the one at PATH
//	swap PATH PATH         two elements of one collection
//	style PATH STYLE       plain, double, single, literal, folded, flow, block
//	tag PATH TAG
//	head, line, foot PATH COMMENT
//
// A path joins keys and indexes with slashes; "." is the root. What YAML holds
// is written with \n for line breaks.
func doEdit(t *testing.T, root *yaml.Node, edit string) *yaml.Node {
	t.Helper()
	verb, rest, _ := strings.Cut(edit, " ")
	path, arg, _ := strings.Cut(rest, " ")
	arg = strings.ReplaceAll(arg, `\n`, "\n")
	parent, i := locate(t, root, path)
	key, value := elementAt(parent, i)
	commented := value
	if key != nil {
		commented = key
	}
	switch verb {
	case "set":
		value.Value = arg
	case "put":
		if path == "." {
			return parseNode(t, arg)
		}
		if value == nil {
			parent.Content = append(parent.Content, str(path[strings.LastIndex(path, "/")+1:]), parseNode(t, arg))
		} else {
			parent.Content[i] = parseNode(t, arg)
		}
	case "first":
		k, v, _ := strings.Cut(arg, " ")
		value.Content = append([]*yaml.Node{str(k), parseNode(t, v)}, value.Content...)
	case "before":
		k, v, _ := strings.Cut(arg, " ")
		c := append([]*yaml.Node{}, parent.Content[:i-1]...)
		parent.Content = append(append(c, str(k), parseNode(t, v)), parent.Content[i-1:]...)
	case "rename":
		key.Value = arg
	case "remove":
		from := i
		if key != nil {
			from--
		}
		parent.Content = append(parent.Content[:from:from], parent.Content[i+1:]...)
	case "add":
		value.Content = append(value.Content, parseNode(t, arg))
	case "insert":
		c := append([]*yaml.Node{}, parent.Content[:i]...)
		parent.Content = append(append(c, parseNode(t, arg)), parent.Content[i:]...)
	case "swap":
		_, j := locate(t, root, arg)
		c := parent.Content
		c[i], c[j] = c[j], c[i]
		if key != nil {
			c[i-1], c[j-1] = c[j-1], c[i-1]
		}
	case "style":
		value.Style = map[string]yaml.Style{"plain": 0, "block": 0, "double": yaml.DoubleQuotedStyle, "single": yaml.SingleQuotedStyle,
			"literal": yaml.LiteralStyle, "folded": yaml.FoldedStyle, "flow": yaml.FlowStyle}[arg]
	case "tag":
		value.Tag = arg
	case "head":
		commented.HeadComment = arg
	case "line":
		value.LineComment = arg
	case "keyline":
		key.LineComment = arg
	case "foot":
		commented.FootComment = arg
	default:
		require.Fail(t, "unknown edit "+verb)
	}
	return root
}

// locate is the collection an element is in and the index of its value; of a
// key that isn't there, the length.
func locate(t *testing.T, root *yaml.Node, path string) (*yaml.Node, int) {
	t.Helper()
	doc := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{root}}
	if path == "." {
		return doc, 0
	}
	parent, i := doc, 0
	for step := range strings.SplitSeq(path, "/") {
		require.Less(t, i, len(parent.Content), "%s: nothing there", path)
		parent = parent.Content[i]
		i = len(parent.Content)
		if parent.Kind == yaml.SequenceNode {
			n, err := strconv.Atoi(step)
			require.NoError(t, err)
			i = n
			continue
		}
		for k := 0; k < len(parent.Content); k += 2 {
			if parent.Content[k].Value == step {
				i = k + 1
				break
			}
		}
	}
	return parent, i
}

func elementAt(parent *yaml.Node, i int) (key, value *yaml.Node) {
	if i >= len(parent.Content) {
		return nil, nil
	}
	if parent.Kind == yaml.MappingNode {
		return parent.Content[i-1], parent.Content[i]
	}
	return nil, parent.Content[i]
}

func str(v string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: strTag, Value: v} }

func parseNode(t *testing.T, s string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(s), &doc))
	n := doc.Content[0]
	n.HeadComment, n.FootComment = "", ""
	return n
}

// changed is the document in with edits made, checked to read back as them.
func changed(t *testing.T, in string, edits ...string) string {
	t.Helper()
	docs := Split([]byte(in))
	require.Len(t, docs, 1)
	root, err := docs[0].Copy()
	require.NoError(t, err)
	for _, e := range edits {
		root = doEdit(t, root, e)
	}
	want := CopyNode(root)
	out, err := docs[0].With(root).Bytes()
	require.NoError(t, err)
	again, err := Split(out)[0].Root()
	require.NoError(t, err, "%s", out)
	require.True(t, sameContent(want, again), "does not read back:\n%s\nwant %s", out, describe(want))
	return string(out)
}

func describe(n *yaml.Node) string {
	var b strings.Builder
	var walk func(n *yaml.Node, in string)
	walk = func(n *yaml.Node, in string) {
		fmt.Fprintf(&b, "\n%s%d %s %q &%s style=%d #%q %q %q", in, n.Kind, n.Tag, n.Value, n.Anchor, n.Style, n.HeadComment, n.LineComment, n.FootComment)
		for _, c := range n.Content {
			walk(c, in+"  ")
		}
	}
	walk(n, "")
	return b.String()
}

var editCases = []struct {
	name  string
	in    string
	edits []string
	want  string
}{
	{"a line comment stays where it is",
		"a: 1    # one\nb: 2\n",
		[]string{"set a 22222"},
		"a: 22222    # one\nb: 2\n"},
	{"quotes stay",
		"a: 'x'\nb: \"y\"\nc: z\n",
		[]string{"set a it's", "set b yy", "set c zz"},
		"a: 'it''s'\nb: \"yy\"\nc: zz\n"},
	{"a string that would read as something else is quoted",
		"a: x\nb: x\nc: x\nd: x\ne: x\nf: x\n",
		[]string{"set a true", "set b 123", "set c 1e3", "set d ~", "set e 2020-01-01", "set f 0o7"},
		"a: \"true\"\nb: \"123\"\nc: \"1e3\"\nd: \"~\"\ne: \"2020-01-01\"\nf: \"0o7\"\n"},
	{"a string that plain style cannot hold is quoted",
		"a: x\nb: x\nc: x\nd: x\n",
		[]string{"set a k: v", "set b a #b", "set c - x", "set d "},
		"a: 'k: v'\nb: 'a #b'\nc: '- x'\nd: \"\"\n"},
	{"a number stays plain",
		"a: 1\n",
		[]string{"set a 2"},
		"a: 2\n"},
	{"another type",
		"a: \"1\"\nb: yes\n",
		[]string{"tag a !!int", "set b 5", "tag b !!int"},
		"a: 1\nb: 5\n"},
	{"null to value and back",
		"a:\nb:  # c\nc: x # d\nd: null\n",
		[]string{"put a v", "put b 1", "put c null", "put d x"},
		"a: v\nb: 1  # c\nc: null\nd: x\n"},
	{"value of an empty item",
		"-\n- x\n",
		[]string{"put 0 v"},
		"- v\n- x\n"},
	{"value on the next line",
		"a:\n  x\nb: y\n",
		[]string{"set a z"},
		"a:\n  z\nb: y\n"},
	{"plain of several lines",
		"a: one\n  two\n\n  three # c\nb: y\n",
		[]string{"set a short"},
		"a: short # c\nb: y\n"},
	{"quoted of several lines",
		"a: 'one\n\n  two' # c\nb: y\n",
		[]string{"set a short"},
		"a: 'short' # c\nb: y\n"},
	{"double quoted with escapes",
		"a: \"x\\ty\\\"\" # c\n",
		[]string{"set a z"},
		"a: \"z\" # c\n"},
	{"tabs",
		"a:\tx\t# c\n",
		[]string{"set a y"},
		"a:\ty\t# c\n"},
	{"trailing spaces",
		"a: x   \nb: y\n",
		[]string{"set a z"},
		"a: z   \nb: y\n"},
	{"runes before a value",
		"{é: a, 😀: b} # c\n",
		[]string{"set é x", "set 😀 y"},
		"{é: x, 😀: y} # c\n"},
	{"literal",
		"a: |\n    one\n    two\nb: x\n",
		[]string{"set a one\\n2\\n"},
		"a: |\n    one\n    2\nb: x\n"},
	{"literal loses its last break",
		"a: |\n  one\nb: x\n",
		[]string{"set a one"},
		"a: |-\n  one\nb: x\n"},
	{"literal with trailing spaces",
		"a: |-\n  one  \n  two\nb: x\n",
		[]string{"set a one  \\nTWO"},
		"a: |-\n  one  \n  TWO\nb: x\n"},
	{"literal with indicator",
		"a: |2-\n   one\n  two\nb: x\n",
		[]string{"set a  1\\n2"},
		"a: |2-\n   1\n  2\nb: x\n"},
	{"literal that keeps",
		"a: |+\n  one\n\n\nb: x\n",
		[]string{"set a 1\\n\\n\\n", "set b y"},
		"a: |+\n  1\n\n\nb: y\n"},
	{"literal header comment",
		"a: | # c\n  one\nb: x\n",
		[]string{"set a 1\\n"},
		"a: | # c\n  1\nb: x\n"},
	{"folded gets a value",
		"a: >\n  one\n  two\nb: x # c\n",
		[]string{"set a three\\n", "set b y"},
		"a: >\n  three\n\nb: y # c\n"},
	{"text becomes several lines",
		"a: one # c\nb: x\n",
		[]string{"set a 1\\n2\\n"},
		"a: | # c\n  1\n  2\nb: x\n"},
	{"literal becomes short",
		"a: |\n  one\n  two\nb: x\n",
		[]string{"style a plain", "set a one"},
		"a: one\nb: x\n"},
	{"style",
		"a: x\nb: 'y'\n",
		[]string{"style a double", "style b plain"},
		"a: \"x\"\nb: y\n"},
	{"key added",
		"metadata:\n  name: x\n\n# spec\nspec: {}\n",
		[]string{"put metadata/namespace y"},
		"metadata:\n  name: x\n  namespace: y\n\n# spec\nspec: {}\n"},
	{"key added first",
		"metadata:\n  # name\n  name: x\n",
		[]string{"first metadata a b"},
		"metadata:\n  a: b\n  # name\n  name: x\n"},
	{"key added in the middle",
		"a: 1\n\n# c\nc: 3\n",
		[]string{"before c b 2"},
		"a: 1\nb: 2\n\n# c\nc: 3\n"},
	{"mapping added",
		"metadata:\n    name: x\nspec: {}\n",
		[]string{"put metadata/labels {a: b}", "style metadata/labels block"},
		"metadata:\n    name: x\n    labels:\n        a: b\nspec: {}\n"},
	{"sequence added, compact",
		"a:\n- x\nb: y\n",
		[]string{"put c [1]", "style c block"},
		"a:\n- x\nb: y\nc:\n- 1\n"},
	{"sequence added, wide",
		"a:\n  - x\nb: y\n",
		[]string{"put c [1]", "style c block"},
		"a:\n  - x\nb: y\nc:\n  - 1\n"},
	{"empty mapping filled",
		"a: {} # c\nb: 1\n",
		[]string{"put a {x: y}", "style a block"},
		"a:\n  x: y\nb: 1\n"},
	{"mapping emptied",
		"a:\n  x: y\nb: 1\n",
		[]string{"remove a/x"},
		"a: {}\nb: 1\n"},
	{"key removed with its comment, not a neighbour's",
		"# of a\na: 1\n# of b\nb: 2\n# of c\nc: 3\n",
		[]string{"remove b"},
		"# of a\na: 1\n# of c\nc: 3\n"},
	{"key removed with what is below it",
		"a:\n  x: 1\n  # y: 2\n# of b\nb: 2\n",
		[]string{"remove a"},
		"# of b\nb: 2\n"},
	{"a free comment stays when a key goes",
		"a: 1\n# free\n\nb: 2\n",
		[]string{"remove a"},
		"# free\n\nb: 2\n"},
	{"key removed between blank lines",
		"a: 1\n\nb: 2\n\nc: 3\n",
		[]string{"remove b"},
		"a: 1\n\nc: 3\n"},
	{"last key removed",
		"a: 1\n\nb: 2\n",
		[]string{"remove b"},
		"a: 1\n"},
	{"key renamed",
		"a: 1 # c\nb:\n  x: [y,  z]\n",
		[]string{"rename a aa", "rename b true"},
		"aa: 1 # c\n\"true\":\n  x: [y,  z]\n"},
	{"keys reordered",
		"b:   1 # b\n\n# of a\na: 'x'\nc: 3\n",
		[]string{"swap a b"},
		"# of a\na: 'x'\nb:   1 # b\n\nc: 3\n"},
	{"first key of an item",
		"l:\n- name: x\n  v: 1\n- name: y\n",
		[]string{"rename l/0/name id", "first l/1 a b"},
		"l:\n- id: x\n  v: 1\n- a: b\n  name: y\n"},
	{"first key of an item removed",
		"l:\n- name: x\n  v: 1 # c\n- name: y\n",
		[]string{"remove l/0/name"},
		"l:\n- v: 1 # c\n- name: y\n"},
	{"item added",
		"l:\n- a # c\n- b\nx: 1\n",
		[]string{"add l c"},
		"l:\n- a # c\n- b\n- c\nx: 1\n"},
	{"item inserted",
		"l:\n  # of a\n  - a\n  # of b\n  - b\n",
		[]string{"insert l/1 new"},
		"l:\n  # of a\n  - a\n  - new\n  # of b\n  - b\n"},
	{"item removed",
		"l:\n  # of a\n  - a\n  # of b\n  - b\n  # of c\n  - c\n",
		[]string{"remove l/1"},
		"l:\n  # of a\n  - a\n  # of c\n  - c\n"},
	{"items reordered",
		"l:\n- name: a\n  v:   1 # c\n- name: b\n  v: 2\n",
		[]string{"swap l/0 l/1"},
		"l:\n- name: b\n  v: 2\n- name: a\n  v:   1 # c\n"},
	{"item changed among items",
		"l:\n- name: a\n  v: [1,   2] # c\n- name: b\n  v: 2\n",
		[]string{"set l/1/v 3", "insert l/1 {name: n}"},
		"l:\n- name: a\n  v: [1,   2] # c\n- {name: n}\n- name: b\n  v: 3\n"},
	{"mapping item added",
		"l:\n- name: a\n",
		[]string{"add l {name: b, ports: [1]}", "style l/1 block", "style l/1/ports block"},
		"l:\n- name: a\n- name: b\n  ports:\n  - 1\n"},
	{"sequence of sequences",
		"- - a\n  - b # c\n-\n  - d\n",
		[]string{"set 0/1 B", "set 1/0 D", "add 0 c"},
		"- - a\n  - B # c\n  - c\n-\n  - D\n"},
	{"a comment between dash and item",
		"- # c\n  name: x\n- y\n",
		[]string{"set 0/name z", "add . w"},
		"- # c\n  name: z\n- y\n- w\n"},
	{"sequence as root",
		"# head\n- a\n- b\n",
		[]string{"set 1 c", "add . d"},
		"# head\n- a\n- c\n- d\n"},
	{"scalar as root",
		"--- x # c\n",
		[]string{"set . y"},
		"--- y # c\n"},
	{"flow, one line",
		"a: {x: 1, y: [b,  'c']} # c\n",
		[]string{"set a/x 2", "set a/y/1 d"},
		"a: {x: 2, y: [b,  'd']} # c\n"},
	{"flow, key added",
		"a: { x: 1 } # c\nb:  2\n",
		[]string{"put a/y 2"},
		"a: { x: 1, y: 2 } # c\nb:  2\n"},
	{"flow, text of several lines",
		"a: [x, y] # c\n",
		[]string{"set a/0 1\\n2"},
		"a: [\"1\\n2\", y] # c\n"},
	{"flow, several lines",
		"a: [\n  x, # one\n  y\n]\nb:   1\n",
		[]string{"set a/1 z"},
		"a: [\n  x, # one\n  z\n]\nb:   1\n"},
	{"flow, several lines, item added",
		"a: [\n  x,\n  y\n]\nb:   1\n",
		[]string{"add a z"},
		"a: [\n  x,\n  y,\n  z\n]\nb:   1\n"},
	{"line comment added",
		"a: x\nb:\n- y\n",
		[]string{"line a # kpt-set: ${a}", "line b/0 # kpt-set: ${b}"},
		"a: x # kpt-set: ${a}\nb:\n- y # kpt-set: ${b}\n"},
	{"line comment changed and removed",
		"a: x   # one\nb: y # two\n",
		[]string{"line a # 1", "line b "},
		"a: x   # 1\nb: y\n"},
	{"line comment of a key",
		"a: # one\n  b: c\nd:\n- e\n",
		[]string{"keyline a # 1", "keyline d # 2"},
		"a: # 1\n  b: c\nd: # 2\n- e\n"},
	{"head comment",
		"a: 1\n# of b\nb: 2\nc: 3\n",
		[]string{"head b # B", "head c # C\\n# CC"},
		"a: 1\n# B\nb: 2\n# C\n# CC\nc: 3\n"},
	{"head comment removed",
		"a: 1\n# of b\nb: 2\n",
		[]string{"head b "},
		"a: 1\nb: 2\n"},
	{"head comment of an item",
		"l:\n- a\n- b\n",
		[]string{"head l/1 # B"},
		"l:\n- a\n# B\n- b\n"},
	{"foot comment",
		"a: 1\nb: 2\n",
		[]string{"foot a # A"},
		"a: 1\n# A\n\nb: 2\n"},
	{"CRLF",
		"a: 1\r\nb: |\r\n  x\r\n  y\r\n# of c\r\nc:\r\n- d\r\n",
		[]string{"set a 2", "set b x\\nz\\n", "put e {f: 1}", "remove c"},
		"a: 2\r\nb: |\r\n  x\r\n  z\r\n# of c\r\ne: {f: 1}\r\n"},
	{"no final newline",
		"a: 1\nb: 2",
		[]string{"set b 3"},
		"a: 1\nb: 3"},
	{"no final newline, key added",
		"a: 1\nb: 2",
		[]string{"put c 3"},
		"a: 1\nb: 2\nc: 3"},
	{"no final newline, key removed",
		"a: 1\nb: 2",
		[]string{"remove b"},
		"a: 1"},
	{"no final newline behind a literal",
		"a: |\n  x",
		[]string{"put b 1"},
		"a: |-\n  x\nb: 1"},
	{"BOM",
		"\ufeffa: 1\nb: 2\n",
		[]string{"set a 3", "remove b"},
		"\ufeffa: 3\n"},
	{"separator and comments",
		"# lic\n%YAML 1.1\n---\n# c\na: 1\n...\n",
		[]string{"set a 2", "put b 3"},
		"# lic\n%YAML 1.1\n---\n# c\na: 2\nb: 3\n...\n"},
	{"content behind the separator",
		"--- {a: b} # c\n",
		[]string{"set a x", "put c d"},
		"--- {a: x, c: d} # c\n"},
	{"anchors and merge keys",
		"base: &b {x: 1}\na:\n  <<: *b\n  y:   2\nc: *b\n",
		[]string{"set a/y 3", "put a/z 4"},
		"base: &b {x: 1}\na:\n  <<: *b\n  y:   3\n  z: 4\nc: *b\n"},
	{"scalar with an anchor",
		"a: &x one # c\nb: *x\n",
		[]string{"set a two"},
		"a: &x two # c\nb: *x\n"},
	{"scalar with a tag",
		"a: !!str 5 # c\nb: !t x\n",
		[]string{"set a 6", "set b y"},
		"a: !!str \"6\" # c\nb: !t y\n"},
	{"duplicate keys",
		"a: 1\na: 2\nb: 3\n",
		[]string{"set b 4"},
		"a: 1\na: 2\nb: 4\n"},
	{"keys that are no strings",
		"1: a\ntrue: b\n~: c\n",
		[]string{"set 1 x", "set true y", "put z w"},
		"1: x\ntrue: y\n~: c\nz: w\n"},
	{"complex keys",
		"? [a, b]\n: x\n? c\n: y\nd: z\n",
		[]string{"set d w"},
		"? [a, b]\n: x\n? c\n: y\nd: w\n"},
	{"JSON",
		"{\n  \"a\": \"x\",\n  \"b\": {\"c\": 1}\n}\n",
		[]string{"set a \"q\"", "put b/d true", "set b/c 2"},
		"{\n  \"a\": \"\\\"q\\\"\",\n  \"b\": {\"c\": 2, \"d\": true}\n}\n"},
	{"JSON, key added at the top",
		"{\"a\": [1, 2]}",
		[]string{"put b x"},
		"{\"a\": [1, 2], \"b\": \"x\"}"},
	{"everything anew keeps directive, separator, comments",
		"%YAML 1.1\n---\n# head\n\n# of a\na: 1\n...\n# end\n",
		[]string{"put . [1, 2]", "style . block"},
		"%YAML 1.1\n---\n- 1\n- 2\n\n# end\n...\n"},
	{"line separator characters",
		"a: \"x\u2028y\"\nb:   1\n",
		[]string{"set b 2"},
		"a: \"x\\Ly\"\nb: 2\n"},
}

func TestEdits(t *testing.T) {
	for _, tt := range editCases {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, changed(t, tt.in, tt.edits...))
		})
	}
}
