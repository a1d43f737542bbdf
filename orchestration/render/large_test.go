package render_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

// What is read of a large package is held otherwise; it comes out the same.
func TestLargePackage(t *testing.T) {
	rendered := func(texts map[string]string) kptpkg.Tree {
		var files []*kptpkg.File
		for p, text := range texts {
			files = append(files, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
		}
		tree, err := kptpkg.NewTree(files...)
		require.NoError(t, err)
		out, err := (&render.Renderer{Runtime: builtin.New(builtin.Compatible), Strict: true}).Render(context.Background(), tree)
		require.NoError(t, err)
		return out.Tree
	}
	texts := thousand([]string{"set-namespace: namespace: prod", "set-annotations: owner: somebody", "set-labels: team: data"}, "tier: picked")
	texts["bare.yaml"] = "kind: A # kept\napiVersion: v1\nmetadata: # this too\n  name: a\n  labels: {tier: picked}\n"
	small := rendered(texts)
	texts["filler.yaml"] = "kind: Filler\napiVersion: v1\nmetadata:\n  name: filler\ndata: " + strings.Repeat("x", 1<<20) + "\n"
	large := rendered(texts)
	require.Equal(t, small.Len()+1, large.Len())
	changed := 0
	for _, p := range small.Paths() {
		want, err := small.File(p).Bytes()
		require.NoError(t, err)
		got, err := large.File(p).Bytes()
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), p)
		if texts[p] != string(got) {
			changed++
		}
	}
	require.Equal(t, 101, changed, "a document of each file, and the bare one")
}
