package yamldoc

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const deepJSON = `{
    "apiVersion": "v1",
    "metadata": {
        "name": "x",
        "labels": {},
        "finalizers": ["a", "b"]
    },
    "list": [
        {
            "name": "one"
        },
        {
            "name": "two"
        }
    ]
}
`

// The edits are those of editCases. Only the lines of what changes may change,
// and the comma of a neighbour.
func TestFlowEdits(t *testing.T) {
	line := func(s, old, new string) string {
		require.Equal(t, 1, strings.Count(s, old), old)
		return strings.Replace(s, old, new, 1)
	}
	tabs := strings.ReplaceAll(deepJSON, "    ", "\t")
	for _, tt := range []struct {
		name  string
		in    string
		edits []string
		want  string
	}{
		{"key added", deepJSON, []string{"put metadata/namespace prod"},
			line(deepJSON, `["a", "b"]`, `["a", "b"],`+"\n        "+`"namespace": "prod"`)},
		{"key added, tabs", tabs, []string{"put metadata/namespace prod"},
			line(tabs, `["a", "b"]`, `["a", "b"],`+"\n\t\t"+`"namespace": "prod"`)},
		{"key added, CRLF", strings.ReplaceAll(deepJSON, "\n", "\r\n"), []string{"put metadata/namespace prod", "remove apiVersion"},
			strings.ReplaceAll(line(line(deepJSON, `["a", "b"]`, `["a", "b"],`+"\n        "+`"namespace": "prod"`), "    \"apiVersion\": \"v1\",\n", ""), "\n", "\r\n")},
		{"key added first", deepJSON, []string{"first . kind X", "first metadata namespace prod"},
			line(line(deepJSON, "{\n    \"apiVersion\"", "{\n    \"kind\": \"X\",\n    \"apiVersion\""), "\"metadata\": {", "\"metadata\": {\n        \"namespace\": \"prod\",")},
		{"key added between", deepJSON, []string{"before metadata kind X"},
			line(deepJSON, "\"v1\",", "\"v1\",\n    \"kind\": \"X\",")},
		{"key added behind all", deepJSON, []string{"put data {a: b, c: [], d: [x, y]}"},
			line(deepJSON, "    ]\n}\n", "    ],\n    \"data\": {\n        \"a\": \"b\",\n        \"c\": [],\n        \"d\": [\n            \"x\",\n            \"y\"\n        ]\n    }\n}\n")},
		{"first key", deepJSON, []string{"put metadata/labels/app x"},
			line(deepJSON, "{},", "{\n            \"app\": \"x\"\n        },")},
		{"first key where there is a line for it", "{\n  \"a\": {\n  }\n}\n", []string{"put a/b 1", "put a/c 2"},
			"{\n  \"a\": {\n    \"b\": 1,\n    \"c\": 2\n  }\n}\n"},
		{"item added as the others of its line", deepJSON, []string{"add metadata/finalizers c", "insert metadata/finalizers/0 z"},
			line(deepJSON, `["a", "b"]`, `["z", "a", "b", "c"]`)},
		{"list added as the other list", deepJSON, []string{"put metadata/owners [x, y]"},
			line(deepJSON, `["a", "b"]`, `["a", "b"],`+"\n        "+`"owners": ["x", "y"]`)},
		{"object added to a list", deepJSON, []string{"add list {name: three}"},
			line(deepJSON, "        }\n    ]", "        },\n        {\n            \"name\": \"three\"\n        }\n    ]")},
		{"key added to an object of a list", deepJSON, []string{"put list/0/x 1"},
			line(deepJSON, "\"one\"", "\"one\",\n            \"x\": 1")},
		{"key removed", deepJSON, []string{"remove apiVersion"}, line(deepJSON, "    \"apiVersion\": \"v1\",\n", "")},
		{"last key removed", deepJSON, []string{"remove metadata/finalizers"},
			line(deepJSON, "{},\n        \"finalizers\": [\"a\", \"b\"]", "{}")},
		{"last object removed", deepJSON, []string{"remove list/1"},
			line(deepJSON, "        },\n        {\n            \"name\": \"two\"\n        }\n", "        }\n")},
		{"only key removed", deepJSON, []string{"remove list/0/name"},
			line(deepJSON, "{\n            \"name\": \"one\"\n        }", "{}")},
		{"key and item removed on one line", deepJSON, []string{"remove metadata/finalizers/0"}, line(deepJSON, `["a", "b"]`, `["b"]`)},
		{"value replaced by an object", deepJSON, []string{"put metadata/name {a: 1}"},
			line(deepJSON, "\"x\"", "{\n            \"a\": 1\n        }")},
		{"object replaced by a value", deepJSON, []string{"put metadata x"},
			line(deepJSON, deepJSON[strings.Index(deepJSON, "{\n        \"name\": \"x\""):strings.Index(deepJSON, ",\n    \"list\"")], "\"x\"")},
		{"key renamed", deepJSON, []string{"rename metadata/labels other"}, line(deepJSON, "labels", "other")},
		{"elements moved", deepJSON, []string{"swap list/0 list/1"},
			line(line(line(deepJSON, "one", "three"), "two", "one"), "three", "two")},
		{"comments have no place in JSON", deepJSON, []string{"line metadata/name # x", "keyline metadata # y", "head list # z"}, deepJSON},
		{"compact", `{"a":1,"b":{"c":[1,2]}}`, []string{"put b/d true", "add b/c 3", "put e {x: [y, {}]}"},
			`{"a":1,"b":{"c":[1,2,3],"d":true},"e":{"x":["y",{}]}}`},
		{"compact, removed", `{"a":1,"b":{"c":[1,2]}}`, []string{"remove a", "remove b/c/1"}, `{"b":{"c":[1]}}`},
		{"objects in one another's line", "{\n  \"l\": [{\n    \"a\": 1\n  }, {\n    \"a\": 2\n  }]\n}\n", []string{"add l {a: 3}"},
			"{\n  \"l\": [{\n    \"a\": 1\n  }, {\n    \"a\": 2\n  }, {\n    \"a\": 3\n  }]\n}\n"},
		{"two on a line", "{\n\t\"a\": 1, \"b\": 2,\n\t\"c\": {\"d\": 3}}", []string{"put c/e 4", "remove b", "put f 5"},
			"{\n\t\"a\": 1,\n\t\"c\": {\"d\": 3, \"e\": 4},\n\t\"f\": 5}"},
		{"an empty document", "{}\n", []string{"put a 1"}, "{\"a\": 1}\n"},
		{"another kind", "[\n\t1\n]\n", []string{"put . {a: {b: 1}}"}, "{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n"},

		{"YAML, comma behind the last", "{\n    a: 1,\n    b: [\n        x,\n    ],\n}\n", []string{"put c 2", "add b y", "remove a"},
			"{\n    b: [\n        x,\n        y,\n    ],\n    c: 2,\n}\n"},
		{"YAML, comma behind the last, which goes", "{\n    a: 1,\n    b: 2,\n}\n", []string{"remove b"}, "{\n    a: 1,\n}\n"},
		{"YAML, comma behind the last on its line", "a: [x, y,]\n", []string{"add a z", "remove a/0"}, "a: [y, z,]\n"},
		{"YAML, comments", "{\n  # one\n  a: 1, # c\n  # two\n  b: 2 # d\n  # end\n}\n", []string{"put c 3"},
			"{\n  # one\n  a: 1, # c\n  # two\n  b: 2, # d\n  c: 3\n  # end\n}\n"},
		{"YAML, comments, between", "{\n  # one\n  a: 1, # c\n  # two\n  b: 2 # d\n}\n", []string{"before b n 3"},
			"{\n  # one\n  a: 1, # c\n  n: 3,\n  # two\n  b: 2 # d\n}\n"},
		{"YAML, comments go with their key", "{\n  # one\n  a: 1, # c\n  # two\n  b: 2 # d\n}\n", []string{"remove a"},
			"{\n  # two\n  b: 2 # d\n}\n"},
		{"YAML, comments go with the last key", "{\n  # one\n  a: 1, # c\n  # two\n  b: 2 # d\n}\n", []string{"remove b"},
			"{\n  # one\n  a: 1 # c\n}\n"},
		{"YAML, quoted like its like", "{\n  \"a\": \"x\", # c\n}\n", []string{"put b y"}, "{\n  \"a\": \"x\", # c\n  \"b\": \"y\",\n}\n"},
		{"YAML, first key", "metadata: {\n  labels: {},\n  name: x,\n}\n", []string{"put metadata/labels/a b", "style metadata/labels flow"},
			"metadata: {\n  labels: {\n    a: b\n  },\n  name: x,\n}\n"},
		{"YAML, line comment where there is room", "{\n  a: x,\n  b: y\n}\n", []string{"line a # kpt-set: ${a}", "line b # kpt-set: ${b}"},
			"{\n  a: x, # kpt-set: ${a}\n  b: y # kpt-set: ${b}\n}\n"},
		{"YAML, line comment where there is none", "a: 1\nm: {n: {a: x}, o: {b: y}}\n", []string{"line m/n/a # kpt-set: ${a}"},
			"a: 1\nm:\n  n:\n    a: x # kpt-set: ${a}\n  o: {b: y}\n"},
		{"YAML, comment of a key", "{kind: X, metadata: {name: x, labels: {a: b}}}\n", []string{"keyline metadata # kpt-merge: /x"},
			"kind: X\nmetadata: # kpt-merge: /x\n  name: x\n  labels: {a: b}\n"},
		{"YAML, comment of a key in a block", "kind:   X\nmetadata: {name: x, labels: {a: b}}\ndata:\n  a:  b\n", []string{"keyline metadata # kpt-merge: /x"},
			"kind:   X\nmetadata: # kpt-merge: /x\n  name: x\n  labels: {a: b}\ndata:\n  a:  b\n"},
		{"YAML, keys without values", "a: {x, y: , \"z\"}\n", []string{"put a/n 1", "remove a/x"}, "a: {y: , \"z\", n: 1}\n"},
		{"YAML, pairs in a list", "a: [x: 1, y: 2]\n", []string{"set a/0/x 3", "put a/1/z 4"}, "a: [x: 3, {y: 2, z: 4}]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := changed(t, tt.in, tt.edits...)
			require.Equal(t, tt.want, got)
			require.Equal(t, json.Valid([]byte(tt.in)), json.Valid([]byte(got)))
		})
	}
}

// tree makes nodes that JSON has.
func (w *writer) tree(depth int) *yaml.Node {
	kind := w.n(4)
	if depth == 0 {
		kind = 4
	}
	switch kind {
	case 0, 1:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: flowBit}
		for _, key := range []string{"name", "a", "é", "b c", "x: y"}[:w.n(5)] {
			n.Content = append(n.Content, str(key), w.tree(depth-1))
		}
		return n
	case 2, 3:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: flowBit}
		for range w.n(3) {
			n.Content = append(n.Content, w.tree(depth-1))
		}
		return n
	}
	switch w.n(5) {
	case 0:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: w.one("1", "22", "-3")}
	case 1:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: w.one("true", "false")}
	case 2:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag, Value: "null"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: strTag, Style: yaml.DoubleQuotedStyle, Value: w.one("x", "", "é \"q\"", "true", "a, b", "# no comment", "two\nlines", "{", "]")}
}

// pretty is n as json.MarshalIndent has it, without line breaks if unit is "-".
func pretty(n *yaml.Node, nl, unit, margin string) string {
	open, end, step, colon, inner := "[", "]", 1, ": ", nl+margin+unit
	if unit == "-" {
		colon, inner = ":", ""
	}
	switch n.Kind {
	case yaml.ScalarNode:
		s, _ := jsonScalar(n)
		return s
	case yaml.MappingNode:
		open, end, step = "{", "}", 2
	}
	var elements []string
	for i := 0; i < len(n.Content); i += step {
		e := pretty(n.Content[i+step-1], nl, unit, margin+unit)
		if step == 2 {
			e = pretty(n.Content[i], nl, unit, "") + colon + e
		}
		elements = append(elements, inner+e)
	}
	if len(elements) > 0 && unit != "-" {
		end = nl + margin + end
	}
	return open + strings.Join(elements, ",") + end
}

// change does something to the trees of JSON.
func (w *writer) change(root *yaml.Node) {
	nodes, _ := nodesOf(root)
	n := rapid.SampledFrom(nodes).Draw(w.T, "node")
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	k := len(n.Content) / step
	switch op := w.n(3); {
	case n.Kind == yaml.ScalarNode:
		for _, p := range nodes { // keys stay as they are
			for i := 0; p.Kind == yaml.MappingNode && i < len(p.Content); i += 2 {
				if p.Content[i] == n {
					return
				}
			}
		}
		*n = *w.tree(0)
	case op == 0 && k > 0:
		i := step * w.n(k-1)
		n.Content = append(n.Content[:i:i], n.Content[i+step:]...)
	case op == 1 && k > 0:
		n.Content[step*w.n(k-1)+step-1] = w.tree(2)
	default:
		i := step * w.n(k)
		add := []*yaml.Node{w.tree(2)}
		if step == 2 {
			key := w.one("new", "other", "ü")
			for j := 0; j < len(n.Content); j += 2 {
				if n.Content[j].Value == key {
					return
				}
			}
			add = []*yaml.Node{str(key), add[0]}
		}
		n.Content = append(n.Content[:i:i], append(add, n.Content[i:]...)...)
	}
}

// JSON that is written in one manner all through is so after any change.
func TestJSONKeepsItsManner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{T: t}
		root := w.tree(3)
		nl, unit := w.one("\n", "\r\n"), w.one("-", " ", "  ", "    ", "\t")
		if len(root.Content) == 0 || root.Kind == yaml.SequenceNode && len(root.Content) == 1 && unit == "-" {
			t.Skip("no manner to keep")
		}
		end := w.one("", nl)
		in := pretty(root, nl, unit, "") + end
		require.True(t, json.Valid([]byte(in)))
		doc := Split([]byte(in))[0]
		is, err := doc.Copy()
		require.NoError(t, err)
		for range 1 + w.n(3) {
			w.change(is)
		}
		out, err := doc.With(is).Bytes()
		require.NoError(t, err)
		require.Equal(t, pretty(is, nl, unit, "")+end, string(out))
	})
}

// brackets writes a tree in flow style with lines, blanks, quotes and comments
// as they come.
func (w *writer) brackets(n *yaml.Node, margin string) string {
	if n.Kind == yaml.ScalarNode {
		if s, ok := scalarText(&yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value, Style: n.Style & ^quoted}, inFlow); ok && w.n(1) == 0 {
			return s
		}
		s, _ := jsonScalar(n)
		return s
	}
	open, end, step := "[", "]", 1
	if n.Kind == yaml.MappingNode {
		open, end, step = "{", "}", 2
	}
	inner := margin + w.one(" ", "  ", "    ", "\t")
	lines := w.n(1) == 0
	comment := func() {
		if w.n(5) == 0 {
			w.b.WriteString(w.one(" # c", "  # é: 1", " # one"))
		}
	}
	var b strings.Builder
	w.b, b = b, w.b
	w.b.WriteString(open)
	for i := 0; i < len(n.Content); i += step {
		if lines && w.n(7) > 0 {
			comment()
			w.b.WriteString("\n" + w.one("", "", "", "", inner+"# above\n", "\n") + inner)
		} else {
			w.b.WriteString(w.one("", "", " "))
		}
		if step == 2 {
			w.b.WriteString(w.brackets(n.Content[i], "") + w.one(": ", ": ", ": ", " : "))
		}
		w.b.WriteString(w.brackets(n.Content[i+step-1], inner))
		if i+step < len(n.Content) || w.rarely() {
			w.b.WriteString(w.one(",", ",", ",", " ,"))
		}
	}
	if lines {
		comment()
		w.b.WriteString("\n" + margin)
	}
	w.b.WriteString(end)
	w.b, b = b, w.b
	return b.String()
}

// What is written in flow style, alone or in a block, takes any change.
func TestAnyFlowChangeReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{T: t}
		in := w.brackets(w.tree(3), "")
		if w.n(2) == 0 {
			in = "first: 1\nflow: " + w.brackets(w.tree(3), "  ") + w.one("", " # c") + "\nlast: x"
		}
		in += "\n"
		if w.rarely() {
			in = strings.ReplaceAll(in, "\n", "\r\n")
		}
		doc := Split([]byte(in))[0]
		root, err := doc.Copy()
		if err != nil || root == nil {
			t.Skip("not YAML")
		}
		for range 1 + w.n(3) {
			if w.n(1) == 0 {
				w.change(root)
			} else {
				mutate(t, root)
			}
		}
		want := CopyNode(root)
		next := doc.With(root)
		out, err := next.Bytes()
		require.NoError(t, err, "%s", in)
		got, err := parse(out)
		require.NoError(t, err, "%s\n--- became\n%s", in, out)
		require.True(t, sameContent(want, content(got)), "%s\n--- became\n%s\nwant %s\ngot %s", in, out, describe(want), describe(content(got)))
		if !next.Changed() {
			require.Equal(t, in, string(out))
		}
	})
}
