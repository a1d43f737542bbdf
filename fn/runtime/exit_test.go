package runtime

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Of long output the head is shown, and the last line, where a traceback ends.
func TestExitErrorShowsHeadAndEnd(t *testing.T) {
	for stderr, want := range map[string]string{
		"":                        "",
		" \n":                     "",
		"one\n":                   ":\none",
		"1\n2\n3\n4\n5\n":         ":\n1\n2\n3\n4\n5",
		"1\n2\n3\n4\n5\n6":        ":\n1\n2\n3\n(2 lines left out)\n6",
		"1\n2\n3\n4\n5\n6\n7\n\n": ":\n1\n2\n3\n(3 lines left out)\n7",
	} {
		e := &ExitError{Function: "f", ExitCode: 3, Stderr: stderr}
		got := e.Error()
		assert.Equal(t, `function "f" failed: exit code 3`+want, got)
		assert.LessOrEqual(t, strings.Count(got, "\n"), 5)
	}
}
