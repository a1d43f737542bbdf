package yamldoc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const plainStatus = `phase: Completed
count: 3
ok: true
none:
text: "true"
single: 'it''s'
odd: "a: b"
"on": x
tasks:
- name: a
  message: "waits for c: d"
  outputs:
    list:
    - 1
    - "2"
    "12": e
- name: b
`

// What encodePlain writes is what the library writes.
func TestEncodePlain(t *testing.T) {
	same := func(t assert.TestingT, root *yaml.Node) bool {
		for _, l := range []layout{{indent: 2}, {indent: 2, wide: true}} {
			got := encodePlain(root, l)
			if got == nil {
				return false
			}
			want, err := encodeWith(root, l, keepStyles)
			assert.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		}
		return true
	}
	root, err := Split([]byte(plainStatus))[0].Copy()
	require.NoError(t, err)
	assert.True(t, same(t, root))
	plain := 0
	rapid.Check(t, func(t *rapid.T) {
		root, err := Split([]byte(document(t)))[0].Copy()
		if err != nil || root == nil {
			return
		}
		if rapid.Bool().Draw(t, "bare") {
			strip(root)
		}
		if same(t, root) {
			plain++
		}
	})
	assert.Positive(t, plain)
}

// strip takes all off a node that isn't its value.
func strip(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	n.Style &^= flowBit | tagged
	for _, c := range n.Content {
		strip(c)
	}
}

// What isText takes for a string is one for the library.
func FuzzIsText(f *testing.F) {
	for _, s := range []string{"", "a", "yes", "false", "nothing", "Null", "truest", "~", "<<", "1", "1e3", "12e34", "1e5a", "9f", "0b1", "0x1f", "0a", "1_000a",
		"9e107d9d372bb6826bd81d3542a419d6", "2001-01-01", "1:30", "_1", "/a", ".inf", "-1", "1d", "1f", "infinity"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isText(s) {
			n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
			assert.Equal(t, strTag, n.ShortTag(), "%q", s)
		}
	})
}
