package yamldoc

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A packed document says and writes what it would have otherwise.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := document(t)
		plain, dense := Split([]byte(src))[0], Split([]byte(src))[0]
		root, err := dense.Copy()
		if err != nil {
			t.Skip("not YAML")
		}
		dense.Pack()
		was, err := plain.read.parse()
		require.NoError(t, err)
		is, err := dense.read.parse()
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(was, is), "every field of every node is back")

		require.False(t, dense.With(root).Changed())
		if root == nil {
			return
		}
		mutate(t, root)
		if !aliasesHold(root) {
			t.Skip("alias without anchor")
		}
		require.Equal(t, plain.With(CopyNode(root)).Changed(), dense.With(root).Changed())
		want, wantErr := plain.With(CopyNode(root)).Bytes()
		got, gotErr := dense.With(root).Bytes()
		require.Equal(t, fmt.Sprint(wantErr), fmt.Sprint(gotErr))
		require.Equal(t, string(want), string(got))
	})
}

func TestPackHoldsNoNodes(t *testing.T) {
	d := Split([]byte("a: 1\nb: [x, y] # comment\n"))[0]
	d.Pack() // nothing has been parsed yet
	first, err := d.Root()
	require.NoError(t, err)
	again, _ := d.Root()
	require.Same(t, first, again)

	parsed, _ := Work()
	d.Pack()
	d.Pack()
	require.Nil(t, d.read.doc.Load())
	unpacked, err := d.Root()
	require.NoError(t, err)
	require.NotSame(t, first, unpacked)
	require.Empty(t, cmp.Diff(first, unpacked))
	now, _ := Work()
	require.Equal(t, parsed, now, "nothing is parsed twice")

	aliased := Split([]byte("a: &x 1\nb: *x\n"))[0]
	root, err := aliased.Root()
	require.NoError(t, err)
	aliased.Pack()
	same, _ := aliased.Root()
	require.Same(t, root, same, "aliases point to nodes, which have to stay")
}
