// Package tasktest holds what every task.Kind must do.
package tasktest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// Conform runs the chain of a kind, and every mutation of it, and says where one
// breaks what all promise: the package given is never changed, the same job
// gives the same bytes, and an error returns no package. job makes a new job
// that succeeds; failing one that fails at any link of the chain.
func Conform(t *testing.T, kind task.Kind, job, failing func() *task.Job) {
	t.Helper()
	t.Run("mutations leave their input and repeat themselves", func(t *testing.T) {
		first, second := job(), job()
		for _, m := range kind.Chain {
			before := Content(t, first.Package)
			given := first.Package
			next, err := m.Apply(t.Context(), first)
			require.NoError(t, err, m.Name)
			assert.Equal(t, before, Content(t, given), "%s changed the package it was given", m.Name)
			again, err := m.Apply(t.Context(), second)
			require.NoError(t, err, m.Name)
			assert.Equal(t, Content(t, next), Content(t, again), "%s does two things with one package", m.Name)
			first.Package, second.Package = next, again
		}
	})
	t.Run("an error returns no package", func(t *testing.T) {
		j := failing()
		given, before := j.Package, Content(t, j.Package)
		got, err := kind.Run(t.Context(), j)
		require.Error(t, err)
		assert.Zero(t, got.Len(), "files returned with the error")
		assert.Equal(t, before, Content(t, given))
	})
	t.Run("a cancelled job returns no package", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got, err := kind.Run(ctx, job())
		require.ErrorIs(t, err, context.Canceled)
		assert.Zero(t, got.Len(), "files returned with the error")
	})
}

// Content is every file of a tree with its mode, for comparing.
func Content(t testing.TB, tree kptpkg.Tree) map[string]string {
	t.Helper()
	content := map[string]string{}
	for _, p := range tree.Paths() {
		f := tree.File(p)
		b, err := f.Bytes()
		require.NoError(t, err)
		content[p] = string(rune('0'+f.Mode())) + " " + string(b)
	}
	return content
}
