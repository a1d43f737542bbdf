// Package runtimetest holds what every runtime of KRM functions must do.
package runtimetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Subject is a runtime under test.
type Subject struct {
	Runtime runtime.Runtime
	// Ref names the function of that name in Functions and, for programs, in
	// Main's list, as a pipeline would.
	Ref func(name string) runtime.Ref
	// Unknown names a function that doesn't exist.
	Unknown runtime.Ref
	// Programs says that functions are processes, which have an exit code, a
	// standard error and may answer anything.
	Programs bool
}

// input is a call of two objects with all that tends to get lost.
func input(t *testing.T) *fn.Call {
	parse := func(s string) *yaml.RNode {
		n, err := yaml.Parse(s)
		require.NoError(t, err)
		return n
	}
	return &fn.Call{
		Items: []*fn.Object{
			{Path: "a.yaml", Index: 0, Node: parse(`# about the map
kind: ConfigMap
apiVersion: v1
metadata:
  name: one # kpt-set: ${name}
data:
  # about k
  k: 'v'
  empty: ""
  number: "1"
`)},
			{Path: "sub/b.yaml", Index: 1, Node: parse(`apiVersion: apps/v1
kind: Deployment
metadata: # kpt-merge: ns/two
  name: two
  annotations: {}
spec:
  replicas: 0x2
  list: [a, b] # flow
  items:
    # the last
    - z: ~
      name: x
`)},
		},
		Config: parse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cfg\ndata:\n  value: wanted\n"),
	}
}

// texts are the call's objects as YAML.
func texts(t *testing.T, c *fn.Call) (out []string) {
	for _, o := range c.Items {
		s, err := o.Node.String()
		require.NoError(t, err)
		out = append(out, s)
	}
	return out
}

// Conform checks a runtime. Failing subtests name the rule.
func Conform(t *testing.T, s Subject) {
	find := func(t *testing.T, name string) *runtime.Function {
		f, err := s.Runtime.Find(t.Context(), s.Ref(name))
		require.NoError(t, err)
		require.NotEmpty(t, f.Name)
		return f
	}

	t.Run("an unknown function is not found", func(t *testing.T) {
		f, err := s.Runtime.Find(t.Context(), s.Unknown)
		if err == nil { // it may only know when it runs
			c := input(t)
			before, items := texts(t, c), len(c.Items)
			err = f.Run(t.Context(), c)
			assert.Len(t, c.Items, items)
			assert.Equal(t, before, texts(t, c), "the call must be as it was")
		}
		require.ErrorIs(t, err, runtime.ErrNotFound)
	})

	t.Run("identity keeps everything", func(t *testing.T) {
		c := input(t)
		items, before := append([]*fn.Object(nil), c.Items...), texts(t, c)
		require.NoError(t, find(t, "identity").Run(t.Context(), c))
		require.Equal(t, before, texts(t, c))
		for i, o := range c.Items {
			assert.Same(t, items[i], o, "an object that comes back must be the same object")
		}
		assert.Equal(t, "sub/b.yaml", c.Items[1].Path)
		assert.Equal(t, 1, c.Items[1].Index)
		assert.Empty(t, c.Results)
	})

	t.Run("a change touches nothing else and the config arrives", func(t *testing.T) {
		c := input(t)
		items, before := append([]*fn.Object(nil), c.Items...), texts(t, c)
		require.NoError(t, find(t, "label").Run(t.Context(), c))
		require.Len(t, c.Items, 2)
		for i, o := range c.Items {
			require.Same(t, items[i], o)
			assert.Equal(t, map[string]string{"test": "wanted"}, o.Node.GetLabels())
		}
		got := texts(t, c)
		for i := range got {
			assert.Equal(t, before[i], strings.Replace(got[i], "  labels:\n    test: wanted\n", "", 1))
		}
	})

	t.Run("a generated object is new", func(t *testing.T) {
		c := input(t)
		require.NoError(t, find(t, "generate").Run(t.Context(), c))
		require.Len(t, c.Items, 3)
		assert.Equal(t, "made/cm.yaml", c.Items[2].Path)
		assert.Equal(t, 0, c.Items[2].Index)
		assert.Equal(t, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: made\n", texts(t, c)[2])
	})

	t.Run("a deleted object is gone", func(t *testing.T) {
		c := input(t)
		second := c.Items[1]
		require.NoError(t, find(t, "delete").Run(t.Context(), c))
		require.Len(t, c.Items, 1)
		assert.Same(t, second, c.Items[0])
	})

	t.Run("results are kept", func(t *testing.T) {
		c := input(t)
		require.NoError(t, find(t, "results").Run(t.Context(), c))
		require.Len(t, c.Results, 2)
		assert.Equal(t, fn.Result{
			Message: "odd", Severity: fn.Warning, Tags: map[string]string{"t": "1"},
			ResourceRef: &fn.ResourceRef{APIVersion: "v1", Kind: "ConfigMap", Name: "one"},
			Field:       &fn.Field{Path: "data.k"}, File: &fn.File{Path: "a.yaml"},
		}, c.Results[0])
		assert.Equal(t, fn.Info, c.Results[1].Severity)
	})

	t.Run("a failure says why", func(t *testing.T) {
		c := input(t)
		err := find(t, "fail").Run(t.Context(), c)
		require.Error(t, err)
		said := err.Error()
		for _, r := range c.Results {
			said += "\n" + r.Text()
		}
		assert.Contains(t, said, "k is wrong")
		assert.Contains(t, said, "it went wrong")
		if s.Programs {
			var exit *runtime.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, 7, exit.ExitCode)
			assert.Contains(t, exit.Stderr, "failing:")
			assert.Equal(t, exit.Stderr, c.Stderr)
			require.Len(t, c.Results, 1)
			assert.Equal(t, fn.Error, c.Results[0].Severity)
			assert.Len(t, c.Items, 2, "the items must be as they were")
		}
	})

	t.Run("cancelling ends it soon", func(t *testing.T) {
		f := find(t, "sleep")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		start := time.Now()
		err := f.Run(ctx, input(t))
		require.ErrorIs(t, err, context.Canceled)
		assert.Less(t, time.Since(start), 5*time.Second)
	})

	t.Run("one function serves many at once", func(t *testing.T) {
		f := find(t, "label")
		var wg sync.WaitGroup
		for i := range 6 {
			c := input(t)
			want := fmt.Sprint("v", i)
			require.NoError(t, c.Config.PipeE(yaml.Lookup("data"), yaml.SetField("value", yaml.NewStringRNode(want))))
			wg.Go(func() {
				if assert.NoError(t, f.Run(t.Context(), c)) {
					assert.Equal(t, want, c.Items[1].Node.GetLabels()["test"])
				}
			})
		}
		wg.Wait()
	})

	if !s.Programs {
		return
	}
	for _, name := range []string{"empty", "garbage"} {
		t.Run(name+" output is an error", func(t *testing.T) {
			c := input(t)
			before := texts(t, c)
			f := find(t, name)
			err := f.Run(t.Context(), c)
			require.ErrorContains(t, err, "ResourceList")
			require.ErrorContains(t, err, f.Name)
			if name == "garbage" {
				require.ErrorContains(t, err, "lost my mind")
			}
			assert.Equal(t, before, texts(t, c))
		})
	}
	t.Run("standard error of a success is handed over", func(t *testing.T) {
		c := input(t)
		require.NoError(t, find(t, "stderr").Run(t.Context(), c))
		assert.Equal(t, "talking", strings.TrimSpace(c.Stderr))
	})
}
