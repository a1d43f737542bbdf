package dag_test

import (
	"testing"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

// TestErrorNamesInnermost has steps three deep, and one path in the text of each.
func TestErrorNamesInnermost(t *testing.T) {
	g := &dag.Graph{Steps: []dag.Step{{Name: "a", Graph: &dag.Graph{Steps: []dag.Step{
		{Name: "b", Graph: &dag.Graph{Steps: []dag.Step{{Name: "c", Do: fail(errBoom)}}}},
	}}}}}
	r, err := dag.Run(t.Context(), g, dag.Options{})
	require.EqualError(t, err, "a/b/c: boom")
	for _, s := range r.Steps {
		require.EqualError(t, s.Err, "a/b/c: boom", s.Step)
	}

	g.Steps[0].Graph.Steps[0].Graph.Steps = append(g.Steps[0].Graph.Steps[0].Graph.Steps, dag.Step{Name: "d", Do: fail(errBoom)})
	r, err = dag.Run(t.Context(), g, dag.Options{})
	require.EqualError(t, err, "2 steps failed (a/b/c, a/b/d), the first: a/b/c: boom")
	require.EqualError(t, r.Steps[0].Err, "2 steps failed (a/b/c, a/b/d), the first: a/b/c: boom")

	// ab is not inside of a
	require.EqualError(t, &dag.Error{Step: "a", Err: &dag.Error{Step: "ab", Text: "failed"}}, "a: ab: failed")
}
