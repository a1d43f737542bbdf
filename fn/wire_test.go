package fn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func object(t testing.TB, path string, index int, text string) *fn.Object {
	return &fn.Object{Path: path, Index: index, Node: yaml.NewRNode(parse(t, text))}
}

const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # kpt-set: ${a}\n"

func encode(t testing.TB, c *fn.Call) string {
	t.Helper()
	b, err := fn.EncodeCall(c)
	require.NoError(t, err)
	return string(b)
}

func TestEncodeCall(t *testing.T) {
	c := &fn.Call{
		Items:  []*fn.Object{object(t, "d/x.yaml", 2, cm), object(t, "", 0, "kind: Made\n")},
		Config: yaml.NewRNode(parse(t, "kind: ConfigMap\ndata: {k: v}\n")),
	}
	assert.Equal(t, `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: a # kpt-set: ${a}
    annotations:
      internal.config.kubernetes.io/id: "0"
      config.k8s.io/id: "0"
      internal.config.kubernetes.io/path: d/x.yaml
      config.kubernetes.io/path: d/x.yaml
      internal.config.kubernetes.io/index: "2"
      config.kubernetes.io/index: "2"
- kind: Made
  metadata:
    annotations:
      internal.config.kubernetes.io/id: "1"
      config.k8s.io/id: "1"
functionConfig:
  kind: ConfigMap
  data: {k: v}
`, encode(t, c))
	assert.Equal(t, cm, write(t, c.Items[0].Node.YNode()), "the call must stay as it was")
	assert.Equal(t, "kind: Made\n", write(t, c.Items[1].Node.YNode()))

	c.Items[0].Node = yaml.NewRNode(parse(t, "kind: X\nmetadata: {name: n, annotations: [a]}\n"))
	_, err := fn.EncodeCall(c)
	var re *fn.ResultError
	require.ErrorAs(t, err, &re)
	assert.Equal(t, "d/x.yaml", re.Result.File.Path)
	assert.Equal(t, "metadata.annotations", re.Result.Field.Path)
}

// TestRoundTrip sends resources through writers that lose what they can.
func TestRoundTrip(t *testing.T) {
	asJSON := func(s string) string {
		var v any
		require.NoError(t, yaml.Unmarshal([]byte(s), &v))
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	sorted := func(s string) string {
		var v any
		require.NoError(t, yaml.Unmarshal([]byte(s), &v))
		b, err := yaml.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	for name, text := range map[string]string{
		"plain":             cm,
		"comments":          "# head\n\nkind: X # line\n# above\nmetadata: # kpt-merge: a/b\n  name: x\n  # in\n  annotations:\n    # own\n    a: b\n  # foot\nspec:\n# on l\n- a\n# end\n",
		"no metadata":       "kind: X\nspec: 1\n",
		"empty metadata":    "kind: X\nmetadata: {}\nspec: 1\n",
		"null metadata":     "kind: X\nmetadata:\nspec: 1\n",
		"empty annotations": "kind: X\nmetadata:\n  annotations: {}\n  name: x\n",
		"null annotations":  "kind: X\nmetadata:\n  annotations: # none\n  name: x\n",
		"flow":              "{kind: X, metadata: {name: x, annotations: {a: 'b'}}}\n",
		"own host keys":     "kind: X\nmetadata:\n  annotations:\n    config.kubernetes.io/path: 'mine.yaml'\n    z: y\n    internal.config.kubernetes.io/package-path: p\n",
		"strings":           "kind: X\nd:\n  a: |\n    x\n    y\n  b: >-\n    folded\n    text\n  c: \"\\u00e4\"\n  e: ''\n  f: \"on\"\n  g: '007'\n",
	} {
		for how, via := range map[string]func(string) string{"echo": func(s string) string { return s }, "json": asJSON, "sorted": sorted} {
			t.Run(name+"/"+how, func(t *testing.T) {
				o := object(t, "x.yaml", 0, text)
				node := o.Node
				c := &fn.Call{Items: []*fn.Object{o}}
				require.NoError(t, fn.DecodeCall(c, []byte(via(encode(t, c)))))
				require.Len(t, c.Items, 1)
				assert.Same(t, o, c.Items[0])
				assert.Equal(t, write(t, parse(t, text)), write(t, o.Node.YNode()))
				assert.Same(t, node, o.Node, "what didn't change is the same node")
			})
		}
	}
}

func TestDecodeCallPlaces(t *testing.T) {
	const (
		newPath, oldPath   = "internal.config.kubernetes.io/path: ", "\n      config.kubernetes.io/path: "
		newIndex, oldIndex = "internal.config.kubernetes.io/index: ", "\n      config.kubernetes.io/index: "
	)
	for _, tc := range []struct {
		name    string
		replace []string
		path    string
		index   int
		err     string
	}{
		{name: "unchanged", path: "x.yaml", index: 1},
		{name: "only the old name changed", replace: []string{oldPath + "x", oldPath + "y", oldIndex + `"1"`, oldIndex + "0"}, path: "y.yaml", index: 0},
		{name: "only the new name changed", replace: []string{newPath + "x", newPath + "y", newIndex + `"1"`, newIndex + "3"}, path: "y.yaml", index: 3},
		{name: "both alike", replace: []string{"/path: x", "/path: y"}, path: "y.yaml", index: 1},
		{name: "both otherwise", replace: []string{newPath + "x", newPath + "y", oldPath + "x", oldPath + "z"}, err: "contradict"},
		{name: "indexes otherwise", replace: []string{newIndex + `"1"`, newIndex + "2", oldIndex + `"1"`, oldIndex + "3"}, err: "contradict"},
		{name: "the old name gone", replace: []string{oldPath + "x.yaml", ""}, path: "x.yaml", index: 1},
		{name: "the new name gone, the old changed", replace: []string{newPath + "x.yaml", "a: b", oldPath + "x", oldPath + "y"}, path: "y.yaml", index: 1},
		{name: "no index", replace: []string{newIndex + `"1"`, "a: b", oldIndex + `"1"`, ""}, path: "x.yaml", index: -1},
		{name: "no place", replace: []string{newPath + "x.yaml", "a: b", oldPath + "x.yaml", ""}, path: "", index: 0},
		{name: "index no number", replace: []string{newIndex + `"1"`, newIndex + "one"}, err: "not a number"},
		{name: "index below zero", replace: []string{`/index: "1"`, `/index: "-1"`}, err: "not a number"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := object(t, "x.yaml", 1, cm)
			c := &fn.Call{Items: []*fn.Object{o}}
			err := fn.DecodeCall(c, []byte(strings.NewReplacer(tc.replace...).Replace(encode(t, c))))
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.ErrorContains(t, err, "ConfigMap a")
				tc.path, tc.index = "x.yaml", 1
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, tc.path, o.Path)
			assert.Equal(t, tc.index, o.Index)
		})
	}
}

func answer(items string) string {
	return "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\n" + items
}

func TestDecodeCallIdentity(t *testing.T) {
	calls := func() (*fn.Call, *fn.Object) {
		o := object(t, "x.yaml", 0, cm)
		return &fn.Call{Items: []*fn.Object{o}}, o
	}
	item := func(name, annotations string) string {
		return "- {apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", annotations: {" + annotations + "}}}\n"
	}

	c, o := calls()
	require.NoError(t, fn.DecodeCall(c, []byte(answer("items:\n"+
		item("new", "config.kubernetes.io/path: n.yaml")+
		item("b", "config.k8s.io/id: '0', config.kubernetes.io/path: x.yaml, config.kubernetes.io/index: '0', internal.config.kubernetes.io/seqindent: wide")+
		item("unknown", "internal.config.kubernetes.io/id: '7', keep: me")))))
	require.Len(t, c.Items, 3)
	assert.NotSame(t, o, c.Items[0])
	assert.Same(t, o, c.Items[1])
	assert.Equal(t, "n.yaml", c.Items[0].Path)
	assert.Equal(t, -1, c.Items[0].Index)
	assert.Equal(t, "b # kpt-set: ${a}", strings.TrimSpace(strings.Split(write(t, o.Node.YNode()), "name: ")[1]))
	assert.Empty(t, c.Items[0].Node.GetAnnotations())
	assert.Equal(t, map[string]string{"keep": "me"}, c.Items[2].Node.GetAnnotations())

	c, o = calls()
	err := fn.DecodeCall(c, []byte(answer("items:\n"+item("a", "config.k8s.io/id: '0'")+item("copy", "config.k8s.io/id: '0'"))))
	require.ErrorContains(t, err, "ConfigMap copy")
	require.ErrorContains(t, err, "second item")
	assert.Equal(t, cm, write(t, o.Node.YNode()), "an error must leave the call as it was")
	assert.Equal(t, []*fn.Object{o}, c.Items)
}

func TestDecodeCallAnswers(t *testing.T) {
	const deep = "items: [{kind: X, a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b], " +
		"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]}]"
	for name, tc := range map[string]struct{ answer, err string }{
		"empty":                 {"", "empty"},
		"blank":                 {" \n\n", "empty"},
		"comments":              {"# nothing\n", "ResourceList"},
		"text":                  {"hello\n", "not a ResourceList"},
		"not YAML":              {"a: [\n", "not YAML"},
		"another kind":          {"apiVersion: v1\nkind: List\nitems: []\n", "not a ResourceList"},
		"another group":         {"apiVersion: v1\nkind: ResourceList\nitems: []\n", "not a ResourceList"},
		"two documents":         {answer("items: []\n---\na: b\n"), "first document"},
		"items no list":         {answer("items: {a: b}\n"), "not a list"},
		"item no object":        {answer("items: [1]\n"), "item 0 is not an object"},
		"aliases without end":   {answer("items: [&a {kind: X, x: [*a]}]\n"), "aliases"},
		"aliases beyond reason": {answer(deep), "aliases"},

		"no items":            {answer("items: []\n"), ""},
		"items left out":      {answer(""), ""},
		"an older version":    {"apiVersion: config.kubernetes.io/v1alpha1\nkind: ResourceList\nitems: []\n", ""},
		"empty last document": {"---\n" + answer("items: []\n---\n"), ""},
		"shared by an alias":  {answer("items:\n- {kind: X, metadata: {labels: &l {a: b}}}\n- {kind: Y, metadata: {labels: *l}}\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := object(t, "x.yaml", 0, cm)
			c := &fn.Call{Items: []*fn.Object{o}}
			err := fn.DecodeCall(c, []byte(tc.answer))
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.Equal(t, []*fn.Object{o}, c.Items)
				return
			}
			require.NoError(t, err)
			assert.NotContains(t, c.Items, o)
			for _, o := range c.Items {
				text := write(t, o.Node.YNode())
				assert.Contains(t, text, "a: b")
				assert.NotContains(t, text, "&l")
			}
		})
	}
}

func TestDecodeResults(t *testing.T) {
	const list = "- {message: m, severity: warning, resourceRef: {kind: K, name: n}, field: {path: a.b, currentValue: 1}, file: {path: f, index: 2}, tags: {x: y}}\n" +
		"- {message: second, severity: error, file: {index: many}}\n- just text\n"
	want := []fn.Result{
		{Message: "m", Severity: fn.Warning, ResourceRef: &fn.ResourceRef{Kind: "K", Name: "n"}, Field: &fn.Field{Path: "a.b", CurrentValue: 1}, File: &fn.File{Path: "f", Index: 2}, Tags: map[string]string{"x": "y"}},
		{Message: "second", Severity: fn.Error, File: &fn.File{}},
		{Message: "just text"},
	}
	for _, form := range []string{"results:\n" + list, "results:\n  items:\n  " + strings.ReplaceAll(strings.TrimSuffix(list, "\n"), "\n", "\n  ") + "\n"} {
		got, ok := fn.DecodeResults([]byte(answer(form)))
		require.True(t, ok)
		assert.Equal(t, want, got)
		c := &fn.Call{Results: []fn.Result{{Message: "before"}}}
		require.NoError(t, fn.DecodeCall(c, []byte(answer(form))))
		assert.Equal(t, want, c.Results[1:])
	}
	_, ok := fn.DecodeResults([]byte("panic: oh\n"))
	assert.False(t, ok)
}

func TestServe(t *testing.T) {
	request := answer(`items:
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: a # kept
    annotations:
      config.kubernetes.io/path: a.yaml
      internal.config.kubernetes.io/path: a.yaml
      config.kubernetes.io/index: "0"
      config.k8s.io/id: host-1
      own: x
functionConfig:
  kind: C
`)
	got, results, err := fn.Serve(t.Context(), func(_ context.Context, c *fn.Call) error {
		require.Len(t, c.Items, 1)
		assert.Equal(t, "a.yaml", c.Items[0].Path)
		assert.Equal(t, map[string]string{"own": "x"}, c.Items[0].Node.GetAnnotations())
		assert.Equal(t, "C", c.Config.GetKind())
		c.Items[0].Path = "b.yaml"
		c.Items = append(c.Items, &fn.Object{Node: yaml.MustParse("kind: New\n")})
		c.Add(fn.Info, nil, "", "said")
		return nil
	}, []byte(request))
	require.NoError(t, err)
	assert.Len(t, results, 1)
	assert.Equal(t, answer(`items:
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: a # kept
    annotations:
      own: x
      config.k8s.io/id: host-1
      internal.config.kubernetes.io/path: b.yaml
      config.kubernetes.io/path: b.yaml
      internal.config.kubernetes.io/index: "0"
      config.kubernetes.io/index: "0"
- kind: New
functionConfig:
  kind: C
results:
- message: said
  severity: info
`), string(got))

	_, results, err = fn.Serve(t.Context(), func(_ context.Context, c *fn.Call) error {
		c.Add(fn.Info, nil, "", "said")
		return errors.New("no")
	}, []byte(request))
	require.EqualError(t, err, "no")
	assert.Len(t, results, 1)
	_, _, err = fn.Serve(t.Context(), func(_ context.Context, c *fn.Call) error {
		c.Add(fn.Error, nil, "", "bad")
		return nil
	}, []byte(request))
	require.ErrorContains(t, err, "bad")
	for _, bad := range []string{"", "x", answer("items: [1]\n")} {
		_, _, err = fn.Serve(t.Context(), func(context.Context, *fn.Call) error { return nil }, []byte(bad))
		require.ErrorContains(t, err, "reading the request")
	}
}

// expand is what a program does that reads values only: no comments, no anchors,
// aliases or merge keys, keys in alphabetical order.
func expand(t testing.TB, list string) []byte {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(list), &v), "%s", list)
	b, err := yaml.Marshal(v)
	require.NoError(t, err)
	return b
}

// The hosts' annotations are in metadata.annotations and nowhere else, also where
// an alias stands for these; and a function that gives back what it got leaves
// the resource as it was.
func TestHostAnnotationsAndAliases(t *testing.T) {
	for name, text := range map[string]string{
		"annotations":            "kind: A\nmetadata:\n  name: a\n  annotations: &a {k: v} # one\nspec:\n  annotations: *a # two\n  list: [*a, *a]\n",
		"metadata":               "kind: A\nmetadata: &m\n  name: a\n  annotations: {k: v}\nspec:\n  metadata: *m\n",
		"metadata without any":   "kind: A\nmetadata: &m\n  name: a\nspec:\n  metadata: *m\n",
		"both":                   "kind: A\nmetadata: &m\n  name: &n a\n  annotations: &a {k: *n}\nspec: {a: *a, m: *m, n: *n}\n",
		"metadata is an alias":   "kind: A\nspec: &m\n  name: a\n  annotations: &a {k: v}\nmetadata: *m\nx: *a\n",
		"annotations are one":    "kind: A\nspec: &a {k: v}\nmetadata:\n  name: a\n  annotations: *a\nx: *a\n",
		"an anchor used again":   "kind: A\nmetadata:\n  name: a\n  annotations: &a {k: v}\nx: *a\ny: &a 2\nz: *a\n",
		"a merge key":            "kind: A\nmetadata:\n  name: a\n  annotations: &a {k: v}\nspec:\n  annotations:\n    <<: *a\n    l: w\n",
		"of the hosts":           "kind: A\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/path: &p there\n    config.kubernetes.io/index: '7'\nspec: *p\n",
		"of the hosts, an alias": "kind: A\nspec: &p there\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/path: *p\n",
	} {
		t.Run(name, func(t *testing.T) {
			o, other := object(t, "x.yaml", 3, text), object(t, "x.yaml", 4, text)
			before := o.Node.YNode()
			c := &fn.Call{Items: []*fn.Object{o, other}}
			sent := encode(t, c)
			require.Equal(t, strings.ReplaceAll(text, "<<:", "!!merge <<:"), write(t, before), "the call must stay as it was")
			var list struct{ Items []map[string]any }
			require.NoError(t, yaml.Unmarshal([]byte(sent), &list))
			for _, item := range list.Items {
				delete(item["metadata"].(map[string]any), "annotations")
			}
			b, err := yaml.Marshal(list)
			require.NoError(t, err)
			assert.NotContains(t, string(b), "internal.config.kubernetes.io", "sent %s", sent)

			for _, answer := range [][]byte{[]byte(sent), expand(t, sent)} {
				require.NoError(t, fn.DecodeCall(c, answer))
				assert.Same(t, before, o.Node.YNode(), "got %s", write(t, o.Node.YNode()))
			}

			// A change elsewhere is that change.
			changed := strings.Replace(string(expand(t, sent)), "kind: A\n", "kind: B\n", 1)
			require.NoError(t, fn.DecodeCall(c, []byte(changed)))
			want := strings.ReplaceAll(strings.Replace(text, "kind: A", "kind: B", 1), "<<:", "!!merge <<:")
			assert.Equal(t, want, write(t, o.Node.YNode()))
			assert.Equal(t, 3, o.Index)
		})
	}

	bomb := "kind: A\nx0: &x0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
	for i := range 8 {
		bomb += fmt.Sprintf("x%d: &x%d [*x%d, *x%d, *x%d, *x%d, *x%d]\n", i+1, i+1, i, i, i, i, i)
	}
	for name, text := range map[string]string{
		"without end":   "kind: A\nmetadata: &m\n  name: a\n  labels: *m\n",
		"beyond reason": bomb + "metadata:\n  name: a\n  annotations: &a {k: *x8}\ny: *a\n",
		"the root":      "&r\nkind: A\nx: *r\n",
	} {
		_, err := fn.EncodeCall(&fn.Call{Items: []*fn.Object{object(t, "x.yaml", 0, text)}})
		require.ErrorContains(t, err, "aliases contain themselves or expand to too much", name)
	}
}

func FuzzDecodeCall(f *testing.F) {
	f.Add(answer("items:\n- {kind: X, metadata: {annotations: {config.k8s.io/id: '0'}}}\nresults: [a]\n"))
	f.Add(answer("items: [&a {b: *a}]"))
	f.Add("{\"kind\":\"ResourceList\"}")
	f.Fuzz(func(t *testing.T, s string) {
		c := &fn.Call{Items: []*fn.Object{object(t, "x.yaml", 0, cm)}}
		if fn.DecodeCall(c, []byte(s)) == nil {
			for _, o := range c.Items {
				require.NotNil(t, o.Node)
			}
		}
	})
}

func BenchmarkWire(b *testing.B) {
	c := &fn.Call{}
	for range 1000 {
		c.Items = append(c.Items, object(b, "x.yaml", 0, deployment))
	}
	b.ResetTimer()
	for b.Loop() {
		list, err := fn.EncodeCall(c)
		if err != nil {
			b.Fatal(err)
		}
		if err := fn.DecodeCall(c, list); err != nil {
			b.Fatal(err)
		}
	}
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # kpt-set: ${name}
  labels: {app: web}
spec:
  replicas: 3 # kpt-set: ${replicas}
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      # the server
      - name: nginx
        image: nginx:1.27
        args: [--a, --b, --c]
        env:
        - name: A
          value: "1"
        - name: B
          value: "2"
        ports:
        - containerPort: 80
          protocol: TCP
        resources:
          limits: {cpu: "1", memory: 1Gi}
`

// A function outside the process sees the package of a resource and may name
// another; no annotation of it stays.
func TestPackageOnTheWire(t *testing.T) {
	root, db := object(t, "a.yaml", 0, cm), object(t, "b.yaml", 0, cm)
	root.Package, db.Package = ".", "x/db"
	c := &fn.Call{Items: []*fn.Object{root, db}}
	text := encode(t, c)
	assert.Contains(t, text, "internal.config.kubernetes.io/package-path: /\n")
	assert.Contains(t, text, "internal.config.kubernetes.io/package-path: /x/db\n")

	require.NoError(t, fn.DecodeCall(c, []byte(strings.Replace(text, "package-path: /x/db", "package-path: /x", 1))))
	assert.Equal(t, ".", root.Package)
	assert.Equal(t, "x", db.Package)
	assert.Empty(t, db.Node.GetAnnotations())
}

// Serve gives the hosts' annotations back as they came.
func TestServeKeepsQuotes(t *testing.T) {
	const list = `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- kind: A
  metadata:
    annotations:
      internal.config.kubernetes.io/index: '0'
      internal.config.kubernetes.io/path: 'a.yaml'
      internal.config.kubernetes.io/seqindent: 'wide'
`
	out, _, err := fn.Serve(t.Context(), func(context.Context, *fn.Call) error { return nil }, []byte(list))
	require.NoError(t, err)
	for _, line := range []string{"index: '0'", "path: 'a.yaml'", "seqindent: 'wide'"} {
		assert.Contains(t, string(out), "internal.config.kubernetes.io/"+line)
	}
}
