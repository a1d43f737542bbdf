package yamldoc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const plainText = `---
apiVersion: apps/v1

kind: Deployment
metadata:
  name: web # kpt-set: ${name}
  annotations: {}
  labels:
    app.kubernetes.io/name: "a #b: c"
    empty: ''
    y: no
spec:
  replicas: 3
  args:
  - -v=1
  - --url=http://host:80/a#b
  -   10.0
  list:
    - name: a
      ports:
      - containerPort: 0x50 # hex
        since: 2001-01-01
      none: [] # nothing
    - null
    - text: |-
        # no comment
          deeper

        last: "line"


      after: ~x
data:
  script: |
    #!/bin/sh
    exit 0   

  key: a value of several words: no
`

// FuzzParsePlain holds what parsePlain makes of a text against the library:
// every node in every field, or nothing.
func FuzzParsePlain(f *testing.F) {
	f.Add(plainText)
	for _, s := range []string{
		"a: b\n", "\n\na: b\n\n", "a:\n- b\n- c\nd: e\n", "a:\n  - b\n  c: d\n", "- a: b\n  c: d\n- e\n",
		"a: b\n  c\n", "a:\n  b\n", "a: 'b'  # c\nd: e\n", "a: 'b''c'\n", "a: \"b\\\"\"\n", "a: |\n b\n c\nd: e\n",
		"a: |\n  b\n c: d\n", "a: |\nb: c\n", "- |\n  a\n- |-\n  b\n\n", "a:\n  b: |\n  c\n", "a: b: c\n", "a: b:\n", "a:b: c\n",
		"a: - b\n", "a: -\n", "- - a\n", "-\n", "- a:\n  - b\n", "- a:\n- b\n", "a: <<\n", "<<: a\n", "a: .inf\n", "a: 1_0\n",
		"a: b #\n", "a: b #c\n\n#d\ne: f\n", "a: b # c\n\n\ne: f # g\n", "a:\n  b: c # d\ne:\n- f # g\n", "a: {}# b\n", "a: [] #b\n",
		"---\n---\na: b\n", "a: b\n---\n", "a: b\n...\n", "a: b\n", "a : b\n", "a: b \n", "a:  b\n", "-  a:  b\n   c: d\n",
		"a: ---\n", "a: ...\n", "1: 2\ntrue: no\n", "a: 12e03\nb: 0o7\nc: 2001-12-14t21:59:43.10-05:00\n", "a: b\na: c\n",
		"a: |\n", "a: |\n\n b\n", "a: |\n b\n   \n c\n", "a: |\n b\n\n\n#c\nd: e\n", "a: | # b\n c\n", "a: .\nb: /\nc: -1\n", "a:\n\n  b: c\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := parsePlain([]byte(text))
		if got == nil {
			return
		}
		want, err := parseAny([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// TestParsePlain keeps parsePlain in use: what resources are made of is plain.
func TestParsePlain(t *testing.T) {
	text := strings.Replace(plainText, "several words: no", "several words", 1)
	text = strings.Replace(text, "~x", "x", 1)
	got := parsePlain([]byte(text))
	require.NotNil(t, got)
	want, err := parseAny([]byte(text))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Nil(t, parsePlain([]byte("# a comment by itself\na: b\n")))
	deep := strings.Builder{}
	for i := range plainDepth + 1 {
		deep.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	deep.WriteString(strings.Repeat(" ", plainDepth+1) + "a: b\n")
	assert.Nil(t, parsePlain([]byte(deep.String())))
}

// What is written anew in a plain document isn't read back to prove it: here it
// is, by the library.
func TestWithAnewInPlainDocuments(t *testing.T) {
	for _, text := range []string{
		strings.Replace(strings.Replace(plainText, "several words: no", "several words", 1), "~x", "x", 1),
		"a: |\n  b\n\n\nc: d # e\n\n\nf:\n- g\n", "---\na:\n- b: |-\n    c\n\n\nd: |\n  e\n\n", "\na: {}\n\nb: []  # c\nd: 'e'\n", "a:\n  b: c\nd:\n  - e: |\n      f\n\n\n",
	} {
		require.NotNil(t, parsePlain([]byte(text)), text)
		for _, value := range []string{"x", "- 1\n- y: \"2\"\n", "x: |\n  y\n\nz: {}\n", "[]", "x: # y\n  z: 1 # w\n", "\"a\\nb\"", "|+\n  a\n\n"} {
			d := Split([]byte(text))[0]
			root, err := d.Root()
			require.NoError(t, err)
			for i := 1; i < len(root.Content); i += 2 {
				changed := CopyNode(root)
				if changed.Content[i], err = Split([]byte(value))[0].Copy(); err != nil {
					t.Fatal(err)
				}
				out, err := d.WithAnew(CopyNode(changed)).Bytes()
				require.NoError(t, err)
				got, err := parseAny(out)
				require.NoError(t, err, "%s", out)
				require.True(t, sameContent(content(got), changed), "%s\n%s: %s", out, root.Content[i-1].Value, value)
			}
		}
	}
}
