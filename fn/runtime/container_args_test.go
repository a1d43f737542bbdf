package runtime

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A container's processes are limited unless the operator says otherwise; its
// memory isn't.
func TestContainerLimits(t *testing.T) {
	for asked, want := range map[int]string{0: "1024", 7: "7", -1: ""} {
		c := Container{Processes: asked}
		args := c.args("image", "name")
		got := ""
		if i := slices.Index(args, "--pids-limit"); i >= 0 {
			got = args[i+1]
		}
		assert.Equal(t, want, got)
		assert.NotContains(t, args, "--memory")
	}
}
