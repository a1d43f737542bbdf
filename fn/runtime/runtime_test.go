package runtime_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func configMap(t testing.TB, name string) *fn.Object {
	n, err := yaml.Parse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n")
	require.NoError(t, err)
	return &fn.Object{Node: n, Path: name + ".yaml"}
}

// finder answers each image by a function or an error.
type finder map[string]any

func (f finder) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	switch x := f[ref.Image].(type) {
	case error:
		return nil, x
	case func() error:
		return &runtime.Function{Name: ref.Image, Run: func(context.Context, *fn.Call) error { return x() }, Notes: []fn.Result{{Message: "note"}}}, nil
	}
	return nil, fmt.Errorf("%w: finder has none", runtime.ErrNotFound)
}

// What nobody runs is said in one sentence, by those that could have run it.
func TestFirstOfSays(t *testing.T) {
	finders := runtime.FirstOf{finder{}, &runtime.Exec{}, &runtime.Container{}}
	_, err := finders.Find(t.Context(), runtime.Ref{Image: "docker.io/a/b:v1"})
	require.ErrorIs(t, err, runtime.ErrNotAllowed)
	require.EqualError(t, err, `function "docker.io/a/b:v1": finder has none; not allowed in a container: --allow-container=docker.io/a/b:v1 or STOOP_ALLOW_CONTAINER=docker.io/a/b:v1 would allow it`)
	_, err = finders[:2].Find(t.Context(), runtime.Ref{Image: "a"})
	require.EqualError(t, err, `function "a": finder has none`)
	_, err = finders[1:2].Find(t.Context(), runtime.Ref{Image: "a"})
	require.ErrorIs(t, err, runtime.ErrNotFound)
	require.EqualError(t, err, `function "a": no such function here`)
}

func TestFirstOf(t *testing.T) {
	ran := ""
	says := func(who string, err error) func() error {
		return func() error { ran += who; return err }
	}
	failure := fmt.Errorf("broken")
	rs := runtime.FirstOf{
		finder{"late": says("1", fmt.Errorf("runner: %w", runtime.ErrNotFound)), "fails": says("1", failure), "first": says("1", nil), "late-nowhere": says("1", runtime.ErrNotFound)},
		finder{"late": says("2", nil), "fails": says("2", nil), "first": says("2", nil), "second": says("2", nil), "forbidden": runtime.ErrNotAllowed},
		finder{"forbidden": says("3", nil)},
	}
	for _, tc := range []struct {
		image, ran string
		find, run  error
	}{
		{image: "first", ran: "1"},
		{image: "second", ran: "2"},
		{image: "fails", ran: "1", run: failure},
		{image: "late", ran: "12"},
		{image: "late-nowhere", ran: "1", run: runtime.ErrNotFound},
		{image: "forbidden", find: runtime.ErrNotAllowed},
		{image: "nobody", find: runtime.ErrNotFound},
	} {
		t.Run(tc.image, func(t *testing.T) {
			ran = ""
			f, err := rs.Find(t.Context(), runtime.Ref{Image: tc.image})
			if tc.find != nil {
				require.ErrorIs(t, err, tc.find)
				return
			}
			require.NoError(t, err)
			c := &fn.Call{}
			err = f.Run(t.Context(), c)
			if tc.run != nil {
				require.ErrorIs(t, err, tc.run)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, tc.ran, ran)
			if tc.image == "late" {
				assert.Len(t, c.Results, 1, "the notes of the one that ran must show")
			}
		})
	}
}
