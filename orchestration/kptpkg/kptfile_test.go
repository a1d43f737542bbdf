package kptpkg_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

const fullKptfile = `# licence
---
apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: app
  labels: {l: "1"}
  annotations: {a: "2"}
unknown: {kept: true}
upstream:
  type: git
  git: {repo: https://example.com/r.git, directory: /d, ref: main}
  updateStrategy: resource-merge
upstreamLock:
  type: git
  git: {repo: https://example.com/r.git, directory: /d, ref: main, commit: abc}
info:
  site: https://example.com
  description: text
  keywords: [x, y]
  readinessGates:
  - conditionType: ready
pipeline:
  mutators:
  - image: set-labels
    tag: ~0.2
    name: labels
    configMap: {b: 2, a: true}
    selectors:
    - {apiVersion: v1, kind: ConfigMap, name: n, namespace: ns, labels: {x: "y"}, annotations: {z: w}}
    exclude:
    - {name: other}
    condition: "true"
  validators:
  - exec: ./check --all
    configPath: check.yaml
status:
  conditions:
  - {type: Rendered, status: "True", reason: RenderSuccess, message: m}
  renderStatus: {anything: goes}
`

func TestReadKptfile(t *testing.T) {
	k, err := kptpkg.ReadKptfile(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(fullKptfile)))
	require.NoError(t, err)
	assert.Equal(t, &kptpkg.Kptfile{
		APIVersion: "kpt.dev/v1", Kind: "Kptfile",
		Metadata: kptpkg.Metadata{Name: "app", Labels: map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"}},
		Upstream: &kptpkg.Upstream{Type: "git", UpdateStrategy: "resource-merge",
			Git: &kptpkg.Git{Repo: "https://example.com/r.git", Directory: "/d", Ref: "main"}},
		UpstreamLock: &kptpkg.UpstreamLock{Type: "git",
			Git: &kptpkg.GitLock{Repo: "https://example.com/r.git", Directory: "/d", Ref: "main", Commit: "abc"}},
		Info: kptpkg.Info{Site: "https://example.com", Description: "text", Keywords: []string{"x", "y"},
			ReadinessGates: []kptpkg.ReadinessGate{{ConditionType: "ready"}}},
		Pipeline: kptpkg.Pipeline{
			Mutators: []kptpkg.Function{{
				Image: "set-labels", Tag: "~0.2", Name: "labels", ConfigMap: map[string]string{"a": "true", "b": "2"}, Condition: "true",
				Selectors: []kptpkg.Selector{{APIVersion: "v1", Kind: "ConfigMap", Name: "n", Namespace: "ns",
					Labels: map[string]string{"x": "y"}, Annotations: map[string]string{"z": "w"}}},
				Exclude: []kptpkg.Selector{{Name: "other"}},
			}},
			Validators: []kptpkg.Function{{Exec: "./check --all", ConfigPath: "check.yaml"}},
		},
		Status: kptpkg.KptfileStatus{Conditions: []kptpkg.Condition{{Type: "Rendered", Status: "True", Reason: "RenderSuccess", Message: "m"}}},
	}, k)
}

func TestReadKptfileErrors(t *testing.T) {
	const head = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: app\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"# nothing\n", "is empty"},
		"not a mapping":  {"- a\n", "line 1: is not a mapping"},
		"not YAML":       {"# one\n---\na: [\nb: 1\n", "is not YAML"},
		"alpha":          {"apiVersion: kpt.dev/v1alpha2\nkind: Kptfile\n", `has an old version ("v1alpha2") of the Kptfile schema: migrate it`},
		"other version":  {"apiVersion: v1\nkind: Kptfile\n", `has apiVersion "v1", want kpt.dev/v1`},
		"other kind":     {"apiVersion: kpt.dev/v1\nkind: ConfigMap\n", `has kind "ConfigMap", want Kptfile`},
		"list in config": {head + "pipeline:\n  mutators:\n  - image: x\n    configMap:\n      envs: [a]\n", "line 9: cannot unmarshal !!seq into string"},
		"behind comments": {"# c\n---\n" + head + "pipeline:\n  mutators:\n  - image: x\n    configMap:\n      envs: [a]\n",
			"line 11: cannot unmarshal !!seq into string"},
		"unknown in step":     {head + "pipeline:\n  mutators:\n  - image: x\n    selektors: []\n", "line 8: field selektors not found"},
		"unknown in selector": {head + "pipeline:\n  mutators:\n  - image: x\n    selectors:\n    - knd: x\n", "line 9: field knd not found"},
		"unknown phase":       {head + "pipeline:\n  generators: []\n", "line 6: field generators not found"},
		"aliases":             {head + "x: &x {knd: y}\npipeline:\n  mutators:\n  - image: x\n    selectors: [*x]\n", "field knd not found"},
		"itself":              {head + "pipeline: &p\n  mutators: *p\n", "cannot unmarshal !!map"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := kptpkg.ReadKptfile(kptpkg.NewFile("db/Kptfile", kptpkg.Regular, []byte(c.text)))
			assert.Nil(t, k)
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, "db/Kptfile", fn.ResultOf(err).File.Path)
		})
	}
	_, err := kptpkg.Tree{}.Kptfile("sub")
	assert.ErrorContains(t, err, `no Kptfile found at "sub"`)
}

func TestCheckPipeline(t *testing.T) {
	const config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf\n"
	files := map[string]string{
		"conf.yaml": config, "two.yaml": config + "---\n" + config, "none.yaml": "# nothing\n", "bad.yaml": "a: [\n",
		"nameless.yaml": "apiVersion: v1\nkind: ConfigMap\n", "dir/conf.yaml": config, "comment.yaml": "# first\n---\n" + config,
		"sub/Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: sub\n", "sub/conf.yaml": config, "notes.txt": "x",
	}
	const missing = `functionConfig resource for mutator "set-labels" is missing from path`
	for name, c := range map[string]struct{ step, field, want string }{
		"image":        {"image: x", "", ""},
		"exec":         {"exec: x y", "", ""},
		"config map":   {"image: x\nconfigMap: {a: b}", "", ""},
		"config":       {"image: x\nconfigPath: conf.yaml", "", ""},
		"unclean":      {"image: x\nconfigPath: ./dir/../dir//conf.yaml", "", ""},
		"with comment": {"image: x\nconfigPath: comment.yaml", "", ""},
		"none":         {"name: x", "", "must specify a function"},
		"both":         {"image: x\nexec: y", "", "must not specify both `image` and `exec`"},
		"exec tag":     {"exec: x\ntag: ~1", ".tag", "belongs to an `image`"},
		"both configs": {"image: x\nconfigPath: conf.yaml\nconfigMap: {a: b}", "", "must not specify both `configMap` and `configPath`"},
		"absent":       {"image: x\nconfigPath: absent.yaml", ".configPath", `failed to open functionConfig from path "absent.yaml"`},
		"blank":        {"image: x\nconfigPath: ' '", ".configPath", "must not be empty"},
		"absolute":     {"image: x\nconfigPath: /conf.yaml", ".configPath", "must be relative"},
		"outside":      {"image: x\nconfigPath: some/../../home/.kube/config", ".configPath", "path must not be outside the package"},
		"subpackage":   {"image: r.io/c/set-labels:v1\nconfigPath: sub/conf.yaml", ".configPath", missing},
		"no YAML file": {"image: set-labels@sha256:00\nconfigPath: notes.txt", ".configPath", missing},
		"two":          {"image: x\nconfigPath: two.yaml", ".configPath", `functionConfig "two.yaml" must not contain more than one config, got 2`},
		"empty":        {"image: x\nconfigPath: none.yaml", ".configPath", "must not be empty"},
		"syntax":       {"image: x\nconfigPath: bad.yaml", ".configPath", "functionConfig \"bad.yaml\": "},
		"nameless":     {"image: x\nconfigPath: nameless.yaml", ".configPath", "resource must have `metadata.name`"},
	} {
		t.Run(name, func(t *testing.T) {
			kptfile := "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: app\npipeline:\n  mutators:\n  - image: first\n  - " +
				strings.ReplaceAll(c.step, "\n", "\n    ") + "\n"
			all := []*kptpkg.File{kptpkg.NewFile("pkg/Kptfile", kptpkg.Regular, []byte(kptfile))}
			for p, text := range files {
				all = append(all, kptpkg.NewFile("pkg/"+p, kptpkg.Regular, []byte(text)))
			}
			tree, err := kptpkg.NewTree(all...)
			require.NoError(t, err)
			k, err := tree.Kptfile("pkg")
			require.NoError(t, err)
			err = tree.CheckPipeline("pkg", k)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			r := fn.ResultOf(err)
			assert.Equal(t, "pkg/Kptfile", r.File.Path)
			assert.Equal(t, "pipeline.mutators[1]"+c.field, r.Field.Path)
			if c.field != "" {
				assert.NotEmpty(t, r.Field.CurrentValue)
			}
		})
	}
}

func TestSelects(t *testing.T) {
	resource := yaml.MustParse("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: n\n  namespace: ns\n  labels: {a: '1', b: '2'}\n  annotations: {c: '3'}\n")
	kind, name := kptpkg.Selector{Kind: "Deployment"}, kptpkg.Selector{Name: "other"}
	for what, c := range map[string]struct {
		f    kptpkg.Function
		want bool
	}{
		"everything":       {kptpkg.Function{}, true},
		"one of two":       {kptpkg.Function{Selectors: []kptpkg.Selector{name, kind}}, true},
		"none":             {kptpkg.Function{Selectors: []kptpkg.Selector{name}}, false},
		"all fields agree": {kptpkg.Function{Selectors: []kptpkg.Selector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "n", Namespace: "ns"}}}, true},
		"one field less":   {kptpkg.Function{Selectors: []kptpkg.Selector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "n", Namespace: "other"}}}, false},
		"some labels":      {kptpkg.Function{Selectors: []kptpkg.Selector{{Labels: map[string]string{"a": "1"}}}}, true},
		"a label more":     {kptpkg.Function{Selectors: []kptpkg.Selector{{Labels: map[string]string{"a": "1", "x": ""}}}}, false},
		"annotation":       {kptpkg.Function{Selectors: []kptpkg.Selector{{Annotations: map[string]string{"c": "3"}}}}, true},
		"excluded":         {kptpkg.Function{Selectors: []kptpkg.Selector{kind}, Exclude: []kptpkg.Selector{{Name: "n"}}}, false},
		"only excluded":    {kptpkg.Function{Exclude: []kptpkg.Selector{kind}}, false},
		"others excluded":  {kptpkg.Function{Exclude: []kptpkg.Selector{name}}, true},
	} {
		assert.Equal(t, c.want, c.f.Selects(resource), what)
	}
}

// kyaml's own readers panic on some of these.
func TestSelectorMatchesHostileResources(t *testing.T) {
	selectors := []kptpkg.Selector{
		{APIVersion: "v1"}, {Kind: "A"}, {Name: "n"}, {Namespace: "n"}, {Labels: map[string]string{"a": ""}}, {Annotations: map[string]string{"a": ""}},
	}
	for _, resource := range []string{
		"metadata: {labels: [a], annotations: [a]}", "metadata: [a]", "metadata: a", "metadata:", "[a]", "a", "{}",
		"{apiVersion: [v1], kind: {a: A}, metadata: {name: [n], namespace: {n: n}, labels: a, annotations: {b: [a]}}}",
		"metadata: &m {labels: &l [*l], annotations: {? [a] : b}, name: *m}",
	} {
		r := yaml.MustParse(resource)
		for _, s := range selectors {
			assert.False(t, s.Matches(r), "%+v on %s", s, resource)
		}
	}
	assert.True(t, kptpkg.Selector{Labels: map[string]string{"a": "1"}}.Matches(yaml.MustParse("metadata: {labels: {a: 1, b: [c]}}")))
}
