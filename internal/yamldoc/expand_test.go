package yamldoc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func TestExpand(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"nothing to expand", "a: 1 # one\nb: [x]\n", "a: 1 # one\nb: [x]\n"},
		{"a mapping", "labels: &l {a: b}\nannotations: *l # too\n", "labels: {a: b}\nannotations: {a: b} # too\n"},
		{"an alias in what one stands for", "a: &a 1\nb: &b [*a, *a]\nc: *b\n", "a: 1\nb: [1, 1]\nc: [1, 1]\n"},
		{"a merge key", "x: &x\n  a: 1\n  b: 1\ny:\n  <<: *x\n  b: 2\n", "x:\n  a: 1\n  b: 1\ny:\n  a: 1\n  b: 2\n"},
		{"merge keys", "x: &x {a: 1, b: 1}\ny: &y {a: 2, c: 2}\nz:\n  <<: [*x, *y]\n", "x: {a: 1, b: 1}\ny: {a: 2, c: 2}\nz:\n  a: 1\n  b: 1\n  c: 2\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := Split([]byte(tc.in))[0]
			root, err := doc.Root()
			require.NoError(t, err)
			n, err := Expand(root)
			require.NoError(t, err)
			out, err := doc.With(n).Bytes()
			require.NoError(t, err)
			require.Equal(t, tc.want, string(out))
			was, err := doc.Bytes()
			require.NoError(t, err)
			require.Equal(t, tc.in, string(was), "the input has changed")
		})
	}
}

func TestExpandKeepsInBounds(t *testing.T) {
	bomb := "a0: &a0 [x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	for _, text := range []string{bomb, "a: &a [*a]\n", "a: &a\n  <<: *a\n"} {
		doc := Split([]byte(text))
		root, err := doc[0].Root()
		require.NoError(t, err)
		_, err = Expand(root)
		require.ErrorIs(t, err, errAliases)
	}
	n := &yaml.Node{Kind: yaml.AliasNode, Value: "gone"}
	_, err := Expand(n)
	require.ErrorIs(t, err, errAliases)
}
