package builtin

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
)

func TestFind(t *testing.T) {
	for _, test := range []struct {
		mode  Mode
		image string
		tag   string
		want  string // "", "note" or part of the error
	}{
		{Exact, "gcr.io/kpt-fn/apply-setters:v0.2", "", ""},
		{Exact, "gcr.io/kpt-fn/apply-setters:v0.2.0", "", ""},
		{Exact, "ghcr.io/kptdev/krm-functions-catalog/set-namespace:v0.4.1", "", ""},
		{Exact, "set-namespace:v0.4.1", "", ""},
		{Exact, "set-namespace:v0.4", "", ""},
		{Exact, "set-namespace:v0", "", "built in only as v0.4.1"},
		{Exact, "gcr.io/kpt-fn/set-namespace:v0.1", "", "built in only as v0.4.1"},
		{Exact, "set-namespace", "", "built in only as"},
		{Exact, "set-namespace:latest", "", "built in only as"},
		{Compatible, "set-namespace", "", "note"},
		{"", "set-namespace:unstable", "", "note"},
		{Compatible, "gcr.io/kpt-fn/apply-setters:v0.1.1", "", "note"},
		{Compatible, "gcr.io/kpt-fn-contrib/upsert-resource", "", "note"},
		{Compatible, "gcr.io/kpt-fn/starlark:v0.5.0", "", ""},
		{Never, "set-namespace:v0.4.1", "", "not built in"},
		{Compatible, "set-namespace", "~0.4", ""},
		{Exact, "set-namespace", "v0.4.1", ""},
		{Exact, "set-namespace:v0.1", ">=0.4", ""},
		{Compatible, "set-namespace", "~0.9", "built in only as v0.4.1"},
		{Compatible, "set-namespace", "nonsense", "no version constraint"},
		{Compatible, "set-namespace@sha256:0123", "", "digest"},
		{Compatible, "set-namespace:v0.4.1@sha256:0123", "", "digest"},
		{Compatible, "docker.io/nephio/set-namespace:v0.4.1", "", "not the catalog's"},
		{Compatible, "localhost:5000/set-namespace", "", "not the catalog's"},
		{Compatible, "gcr.io/kpt-fn/x/set-namespace:v0.4.1", "", "not the catalog's"},
		{Compatible, "gcr.io/kpt-fn/apply-setter:v0.2", "", "(built in: apply-setters, apply-replacements)"},
		{Compatible, "setlabels", "", "(built in: set-labels)"},
		{Compatible, "kubeval", "", "not built in"},
		{Compatible, "", "", "another sort of function"},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			f, err := New(test.mode).Find(context.Background(), runtime.Ref{Image: test.image, Tag: test.tag})
			switch test.want {
			case "", "note":
				require.NoError(t, err)
				assert.NotNil(t, f.Run)
				assert.Equal(t, test.want == "note", len(f.Notes) == 1)
			case "no version constraint":
				require.ErrorContains(t, err, test.want)
				assert.NotErrorIs(t, err, runtime.ErrNotFound)
			default:
				require.ErrorContains(t, err, test.want)
				assert.ErrorIs(t, err, runtime.ErrNotFound)
			}
		})
	}
	_, err := New(Compatible).Find(context.Background(), runtime.Ref{Exec: "set-namespace"})
	assert.ErrorIs(t, err, runtime.ErrNotFound)
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]Mode{"": Compatible, "exact": Exact, "never": Never} {
		got, err := ParseMode(in)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := ParseMode("always")
	assert.ErrorContains(t, err, "exact, compatible or never")
}

func TestList(t *testing.T) {
	infos := List()
	require.NotEmpty(t, infos)
	for i, info := range infos {
		assert.NotEmpty(t, info.Doc, info.Name)
		assert.NotEmpty(t, info.Versions, info.Name)
		if i > 0 {
			assert.Less(t, infos[i-1].Name, info.Name)
		}
		for _, image := range info.Images {
			for _, v := range info.Versions {
				f, err := New(Exact).Find(context.Background(), runtime.Ref{Image: image + ":" + v})
				require.NoError(t, err)
				assert.Equal(t, cmp.Or(strings.TrimSuffix(image, info.Name), runtime.DefaultPrefix)+info.Name+":"+v, f.Name)
				assert.Empty(t, f.Notes)
			}
		}
	}
}

// Every function has to take resources of any shape without a panic.
func TestHostileShapes(t *testing.T) {
	configs := map[string]string{
		"search-replace": "apiVersion: v1\nkind: ConfigMap\ndata: {by-path: '**.**.a', put-value: x}",
		"set-image":      "apiVersion: v1\nkind: ConfigMap\ndata: {name: x, newTag: y}",
		"starlark":       "apiVersion: v1\nkind: ConfigMap\ndata: {source: 'x = 1'}",
		"apply-replacements": `{apiVersion: fn.kpt.dev/v1alpha1, kind: ApplyReplacements, replacements: [
			{source: {kind: A, fieldPath: spec.x}, targets: [{select: {kind: B}, fieldPaths: [spec.x.y]}]}]}`,
		"delete-annotations": "apiVersion: v1\nkind: ConfigMap\ndata: {annotationKeys: a}",
		"set-name-prefix":    "apiVersion: v1\nkind: ConfigMap\ndata: {prefix: x-}",
		"ensure-name-substring": `{apiVersion: fn.kpt.dev/v1alpha1, kind: EnsureNameSubstring, substring: x-, editMode: prepend,
			additionalNameFields: [{path: spec/template/spec/name, create: true}, {path: metadata}, {path: a/b}]}`,
	}
	resources := []string{
		"[]", "x", "null", "{}", "metadata: [a]", "metadata: x", "metadata: {annotations: [a]}", "metadata: {annotations: x, labels: [b]}",
		"{kind: Deployment, apiVersion: apps/v1, spec: [a], metadata: }",
		"{kind: Deployment, apiVersion: [], spec: {template: x, selector: {matchLabels: [1]}}}",
		"{kind: RoleBinding, apiVersion: rbac.authorization.k8s.io/v1, subjects: [x, [], {namespace: [a]}], metadata: {name: {}, namespace: {}}}",
		"{? [a, b] : c, ? {d: e} : f, metadata: {? [x] : y}}",
		"a: &a {b: [&c x, *c, *c]}\nmetadata: &m {labels: *a, annotations: *a}\nspec: *m",
		"a: &a [*a]", "{kind: Deployment, apiVersion: apps/v1, metadata: {name: d}, spec: {template: &a [*a, x]}}",
		"{kind: RoleBinding, apiVersion: rbac.authorization.k8s.io/v1, metadata: {name: d}, roleRef: [{}], subjects: &a [*a, {name: [d]}]}",
		"{<<: {kind: Service, apiVersion: v1}}",
		"{kind: Kptfile, apiVersion: kpt.dev/v1, pipeline: {mutators: [x, {image: apply-setters, configMap: [a]}, {image: apply-setters, configPath: ../..}]}}",
	}
	for _, f := range functions() {
		for _, resource := range resources {
			for _, name := range []string{"", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {namespace: x, a: b}"} {
				var n yaml.Node
				if yaml.Unmarshal([]byte(resource), &n) != nil || len(n.Content) == 0 {
					continue
				}
				call := &fn.Call{Items: []*fn.Object{{Node: yaml.NewRNode(n.Content[0])}}}
				if name == "" {
					name = configs[f.name]
				}
				if name != "" {
					call.Config = yaml.MustParse(name)
				}
				assert.NotPanics(t, func() { _ = f.run(context.Background(), call) }, "%s on %s", f.name, resource)
				// the resource as the config
				call.Config = yaml.NewRNode(n.Content[0])
				assert.NotPanics(t, func() { _ = f.run(context.Background(), call) }, "%s with %s", f.name, resource)
			}
		}
	}
}

func TestHostileReplacements(t *testing.T) {
	for _, replacements := range []string{
		"[null]", "[{}]", "[{source: null, targets: [null]}]", "[{source: {}, targets: []}]", "[{source: {kind: A}, targets: [null]}]",
		"[{source: {kind: A}, targets: [{}]}]", "[{source: {kind: A}, targets: [{select: {}, reject: [null]}]}]",
		"[{source: {kind: A}, targets: [{select: {name: '('}}]}]", "[{source: {kind: A}, targets: [{select: {kind: A}, fieldPaths: ['', '.', '[', '[=]', '*', '-1', a.-]}]}]",
		"[{source: {kind: A, fieldPath: '['}, targets: [{select: {kind: A}}]}]", "[{sourceValue: x, targets: [{select: {kind: A}, options: {create: true}, fieldPaths: [a.-, 'b.[x=y]', 'c.*.d', '']}]}]",
		"[{source: {kind: A}, targets: [{select: {kind: A}, options: {delimiter: '-', index: -99}}]}]", "[{source: {kind: A, fieldPath: metadata}, targets: [{select: {kind: A}, fieldPaths: [metadata.name]}]}]",
		"[{source: {kind: A}, targets: [{select: {labelSelector: '((('}}]}]", "{a: b}", "x",
	} {
		call := &fn.Call{
			Items:  []*fn.Object{{Node: yaml.MustParse("{apiVersion: v1, kind: A, metadata: {name: a}, a: [1], b: [{x: z}], c: {e: {}}}")}},
			Config: yaml.MustParse("{apiVersion: fn.kpt.dev/v1alpha1, kind: ApplyReplacements, replacements: " + replacements + "}"),
		}
		assert.NotPanics(t, func() { _ = applyReplacements(context.Background(), call) }, replacements)
	}
}

func TestStarlarkIsBounded(t *testing.T) {
	call := &fn.Call{Config: yaml.MustParse(`
apiVersion: fn.kpt.dev/v1alpha1
kind: StarlarkRun
metadata: {name: forever}
source: |
  def f():
    for i in range(1000000000):
      pass
  f()
`)}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := runStarlark(ctx, call)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
}

// Aliases of aliases stand for more values than any script is given.
func TestStarlarkAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("{apiVersion: v1, kind: X, metadata: {name: x}, a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, ", a%d: &a%d [%s]", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), ","))
	}
	b.WriteString("}")
	call := &fn.Call{
		Items:  []*fn.Object{{Node: yaml.MustParse(b.String())}},
		Config: yaml.MustParse("{apiVersion: v1, kind: ConfigMap, data: {source: 'x = 1'}}"),
	}
	require.ErrorContains(t, runStarlark(context.Background(), call), "more than")
}

func TestStarlarkKeepsIdentity(t *testing.T) {
	a := parseObjects(t, "a.yaml", []byte("{apiVersion: v1, kind: A, metadata: {name: a}}\n---\n{apiVersion: v1, kind: B, metadata: {name: b}}"))
	call := &fn.Call{Items: append([]*fn.Object(nil), a...), Config: yaml.MustParse(`
apiVersion: v1
kind: ConfigMap
data:
  source: |
    items = ctx.resource_list["items"]
    # one as it is, one as a copy, and a copy of the copy
    ctx.resource_list["items"] = [dict(items[1]), items[0], dict(items[1])]
`)}
	require.NoError(t, runStarlark(context.Background(), call))
	require.Len(t, call.Items, 3)
	assert.Same(t, a[1], call.Items[0])
	assert.Same(t, a[0], call.Items[1])
	assert.NotContains(t, a, call.Items[2])
	for _, o := range call.Items {
		assert.NotContains(t, o.Node.MustString(), "annotations")
	}
}

func BenchmarkFunctions(b *testing.B) {
	for _, bench := range []struct{ name, config string }{
		{"set-namespace", "{apiVersion: v1, kind: ConfigMap, data: {namespace: prod}}"},
		{"set-labels", "{apiVersion: v1, kind: ConfigMap, data: {app: x, tier: y}}"},
		{"set-annotations", "{apiVersion: v1, kind: ConfigMap, data: {app: x, tier: y}}"},
		{"apply-setters", "{apiVersion: v1, kind: ConfigMap, data: {image: nginx, name: x}}"},
		{"starlark", "{apiVersion: v1, kind: ConfigMap, data: {source: 'x = 1'}}"},
		{"ensure-name-substring", "{apiVersion: v1, kind: ConfigMap, data: {prepend: x-}}"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const resources = 1000
			call := &fn.Call{Config: yaml.MustParse(bench.config)}
			for i := range resources {
				call.Items = append(call.Items, parseObjects(b, fmt.Sprintf("f%d.yaml", i/10), fmt.Appendf(nil, `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: d%d # kpt-set: ${name}-%d
spec:
  replicas: 3
  selector:
    matchLabels: {app: a}
  template:
    metadata:
      labels: {app: a}
    spec:
      containers:
      - name: c
        image: nginx:1 # kpt-set: ${image}:${tag}
`, i, i))...)
			}
			f, err := New(Compatible).Find(context.Background(), runtime.Ref{Image: bench.name})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for b.Loop() {
				call.Results = nil
				if err := f.Run(context.Background(), call); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/resources/1000, "us/resource")
		})
	}
}
