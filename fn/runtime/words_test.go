package runtime

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"sed -e 's/a b/c/'":       {"sed", "-e", "s/a b/c/"},
		"a  \t b\n":               {"a", "b"},
		`fn "x \" y" ''`:          {"fn", `x " y`, ""},
		`fn '\n' a\ b "\n"`:       {"fn", `\n`, "a b", `\n`},
		`C:\bin\fn.exe --x=\\srv`: {`C:\bin\fn.exe`, `--x=\srv`},
		`a"b"'c'd`:                {"abcd"},
		`fn $HOME; rm *`:          {"fn", "$HOME;", "rm", "*"},
	} {
		got, err := words(in)
		assert.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "  ", "'x", `"x`, `''`} {
		_, err := words(in)
		assert.Error(t, err, in)
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/bc", false}, {"a/*", "a/b/c:v1", true}, {"*", "x", true},
		{"a*b*c", "a1b2c", true}, {"a*b*c", "a1c", false}, {"a*a", "a", false}, {"*a", "ba", true}, {"a*", "ba", false},
	} {
		assert.Equal(t, tc.want, glob(tc.pattern, tc.s), "%s ~ %s", tc.pattern, tc.s)
	}
}
