package yamldoc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// What Format writes is what kpt writes, but for the cases with their own note.
func TestFormat(t *testing.T) {
	for name, test := range map[string]struct {
		in, want    string
		wide, tight bool
	}{
		"indent and spaces": {in: "a:\n    b:   1 # c\n    d: [x,  y]\n", want: "a:\n  b: 1 # c\n  d: [x, y]\n"},
		"lists as they are": {in: "a:\n  - b\nc:\n- d\n", want: "a:\n  - b\nc:\n  - d\n"},
		"lists compact":     {in: "a:\n- b\nc:\n  - d\n", want: "a:\n- b\nc:\n- d\n"},
		"lists wide":        {in: "a:\n- b\n", want: "a:\n  - b\n", wide: true},
		"no content":        {in: "# licence\n---\na: 1\n---\n# nothing\n---\nb: 2\n", want: "a: 1\n---\nb: 2\n"},
		"blank line":        {in: "# licence\n\na: 1\n", want: "# licence\n\na: 1\n"},
		"blank lines":       {in: "---\n# one\n\na: 1\n---\n# two\n\nb: 2\n---\n\n# three\n\nc: 3\n", want: "# one\na: 1\n---\n# two\n\nb: 2\n---\n# three\n\nc: 3\n"},
		"tight":             {in: "# licence\n\n# two\na: 1\n", want: "# licence\n# two\na: 1\n", tight: true},
		"tight, separated":  {in: "a: 1\n---\n# 1\n\n# 2\n\n# 3\nb: 2\n", want: "a: 1\n---\n# 1\n\n# 2\n# 3\nb: 2\n", tight: true},
		"tight, no key's":   {in: "a: 1\n---\n# 1\n\n# 2\n\nb: 2\n", want: "a: 1\n---\n# 1\n\n# 2\nb: 2\n", tight: true},
		"empty annotations": {in: "metadata:\n  name: a\n  annotations: {}\n", want: "metadata:\n  name: a\n"},
		"line breaks":       {in: "a: 1\r\nb:\r\n  - c\r\n", want: "a: 1\nb:\n  - c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var docs []Styled
			for _, d := range Split([]byte(test.in)) {
				docs = append(docs, Styled{Doc: d, Wide: test.wide || d.Wide(), Tight: test.tight})
			}
			got, err := Format(docs...)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(got))
			again, err := Format(Styled{Doc: Split(got)[0], Wide: test.wide || Split(got)[0].Wide()})
			require.NoError(t, err)
			assert.Equal(t, string(got[:len(again)]), string(again), "formatting again")
		})
	}
	_, err := Format(Styled{Doc: Split([]byte("a: ["))[0]})
	assert.Error(t, err)
}

// As an item of a list a document has its comments around the item.
func TestItem(t *testing.T) {
	n, err := Split([]byte("# top\n\n# key\na: 1\n"))[0].Item()
	require.NoError(t, err)
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}})
	require.NoError(t, err)
	assert.Equal(t, "# top\n# key\n- a: 1\n", string(out))

	n, err = Split([]byte("# nothing\n"))[0].Item()
	require.NoError(t, err)
	assert.Nil(t, n)
}
