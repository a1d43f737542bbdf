package render_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

const evalPackage = `
-- Kptfile --
apiVersion: kpt.dev/v1
kind: Kptfile
metadata: {name: root}
pipeline:
  mutators:
  - image: panic
-- cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: a} # the root's
-- config.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {from: file}
-- foreign.yaml --
not: a resource
-- db/Kptfile --
apiVersion: kpt.dev/v1
kind: Kptfile
metadata: {name: db}
-- db/.krmignore --
skipped.yaml
-- db/skipped.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: skipped}
-- db/cm.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
`

func evalTree(t *testing.T) kptpkg.Tree { return tree(t, txtar.Parse([]byte(evalPackage)), "") }

// One function gets what all packages hold, with paths from the root; no
// pipeline runs.
func TestEval(t *testing.T) {
	one := func(name string) yaml.Node {
		return *yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {from: node}\n").YNode()
	}
	node := one("inline")
	for name, c := range map[string]struct {
		function kptpkg.Function
		changed  map[string]string // what the file then has
	}{
		"configMap": {kptpkg.Function{Image: "label", ConfigMap: map[string]string{"k": "v"}},
			map[string]string{"Kptfile": "k: 'v'", "cm.yaml": "k: 'v'", "config.yaml": "k: 'v'", "db/Kptfile": "k: 'v'", "db/cm.yaml": "k: 'v'"}},
		"configPath": {kptpkg.Function{Exec: "annotate", ConfigPath: "config.yaml", Selectors: []kptpkg.Selector{{Name: "b"}}},
			map[string]string{"db/cm.yaml": "from: 'file'"}},
		"config": {kptpkg.Function{Image: "annotate", Config: &node, Exclude: []kptpkg.Selector{{Kind: "Kptfile"}, {Name: "config"}}},
			map[string]string{"cm.yaml": "from: 'node'", "db/cm.yaml": "from: 'node'"}},
		"a file in a subpackage": {kptpkg.Function{Image: "make", ConfigMap: map[string]string{"name": "new", "path": "db/new.yaml"}},
			map[string]string{"db/new.yaml": "name: new"}},
		"a condition that isn't met": {kptpkg.Function{Image: "panic", Condition: "resources.exists(r, r.kind == 'Secret')"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := evalTree(t)
			before := contents(t, in)
			got, err := (&render.Renderer{Runtime: library}).Eval(t.Context(), in, c.function)
			require.NoError(t, err)
			assert.Equal(t, before, contents(t, in), "the package given was changed")
			after := contents(t, got.Tree)
			for p, text := range after {
				if want, ok := c.changed[p]; ok {
					assert.Contains(t, text, want, p)
					assert.NotEqual(t, before[p], text, p)
				} else {
					assert.Equal(t, before[p], text, p)
				}
			}
			for p := range c.changed {
				assert.Contains(t, after, p)
			}
			require.Len(t, got.Steps, 1)
			assert.Equal(t, 2, got.Packages)
			assert.Equal(t, "eval ("+c.function.Image+c.function.Exec+")", strings.ReplaceAll(got.Steps[0].String(), ":latest", ""))
		})
	}
	assert.Equal(t, one("inline"), node, "the configuration was changed")
}

// Functions see paths relative to the root, whatever package a file is of.
func TestEvalPaths(t *testing.T) {
	var paths []string
	look := functions{"look": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			paths = append(paths, o.Path)
			assert.Equal(t, ".", o.Package)
		}
		c.Add(fn.Warning, c.Items[len(c.Items)-1], "data", "look here")
		return nil
	}}
	got, err := (&render.Renderer{Runtime: look}).Eval(t.Context(), evalTree(t), kptpkg.Function{Image: "look"})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"Kptfile", "cm.yaml", "config.yaml", "db/Kptfile", "db/cm.yaml"}, paths)
	said := got.Results[len(got.Results)-1]
	assert.Equal(t, paths[len(paths)-1], said.File.Path)
	assert.Equal(t, map[string]string{"package": "root", "step": "eval (look:latest)"}, said.Tags)
}

func TestEvalFails(t *testing.T) {
	for want, f := range map[string]kptpkg.Function{
		"must specify a function":                              {},
		`function name "No Image" is invalid`:                  {Image: "No Image"},
		"has a functionConfig of its own and":                  {Image: "label", ConfigPath: "config.yaml", Config: new(yaml.Node)},
		"functionConfig must be a KRM resource":                {Image: "label", Config: new(yaml.Node)},
		"failed to open functionConfig":                        {Image: "label", ConfigPath: "gone.yaml"},
		"is part of a subpackage":                              {Image: "label", ConfigPath: "db/cm.yaml"},
		"the function is stoop itself":                         {Image: "example.com/stoop:v1"},
		"eval (nowhere:latest): nowhere: no such function":     {Image: "nowhere"},
		"say --allow-exec":                                     {Exec: "forbidden"},
		"eval (panic:latest): function panic panicked":         {Image: "panic"},
		"reading the condition":                                {Image: "label", Condition: "("},
		"must not modify resources outside of package":         {Image: "make", ConfigMap: map[string]string{"name": "x", "path": "../x.yaml"}},
		"one of them would be both a file and a directory":     {Image: "make", ConfigMap: map[string]string{"name": "x", "path": "cm.yaml/x.yaml"}},
		`resource at path "cm.yaml" and index "0" already exi`: {Image: "make", ConfigMap: map[string]string{"name": "x", "path": "cm.yaml"}},
	} {
		t.Run(want, func(t *testing.T) {
			in := evalTree(t)
			before := contents(t, in)
			got, err := (&render.Renderer{Runtime: library}).Eval(t.Context(), in, f)
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, `running a function on package "root": `)
			_, ok := err.(*render.Error)
			assert.True(t, ok)
			assert.Equal(t, before, contents(t, in))
			assert.Equal(t, before, contents(t, got.Tree), "nothing is kept")
			assert.NotContains(t, fn.ResultOf(err).Text(), "pipeline")
		})
	}
	_, err := (&render.Renderer{Runtime: library}).Eval(t.Context(), evalTree(t), kptpkg.Function{Exec: "forbidden"})
	require.ErrorIs(t, err, runtime.ErrNotAllowed)
	_, err = (&render.Renderer{Runtime: library, Strict: true}).Eval(t.Context(), evalTree(t), kptpkg.Function{Image: "label"})
	require.ErrorContains(t, err, "foreign.yaml: resource must have `apiVersion`")
}
