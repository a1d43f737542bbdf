package kptpkg

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Fields get kpt's order and plain form; comments and what kpt doesn't know stay.
func TestFormatKptfile(t *testing.T) {
	const in = `# top
kind: Kptfile
apiVersion: kpt.dev/v1
status:
  conditions:
  - status: "True"
    type: Rendered
  renderStatus: {exitCode: 0}
pipeline:
  mutators: [{configMap: {port: 80, on: true, a: null}, image: "x", tag: ~0.2}] # all
  # the last
  validators: []
metadata:
  labels: {b: "1", a: 'two'}
  name: p # name
extra: {z: 1, a: [1, 2]}
`
	const want = `# top
apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: p # name
  labels:
    a: two
    b: "1"
pipeline:
  mutators: # all
    - image: x
      configMap:
        a: null
        "on": "true"
        port: "80"
      tag: ~0.2
  # the last
  validators: []
status:
  conditions:
    - type: Rendered
      status: "True"
  renderStatus: {exitCode: 0}
extra: {z: 1, a: [1, 2]}
`
	tree, err := NewTree(NewFile("Kptfile", Regular, []byte(in)))
	require.NoError(t, err)
	for range 2 { // once more changes nothing
		tree, err = tree.FormatKptfile(".")
		require.NoError(t, err)
		b, err := tree.File("Kptfile").Bytes()
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
	}
	_, err = Tree{}.FormatKptfile(".")
	assert.ErrorContains(t, err, "no such file")
}
