package orchestration

import (
	"testing"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stretchr/testify/assert"
)

// Each type that users may write is known here, and somebody carries it out.
func TestWorkTypes(t *testing.T) {
	for name, kind := range workTypes {
		assert.Contains(t, api.WorkTypes(), name)
		_, chain := task.Find(string(name))
		assert.True(t, chain || kind.do != nil || name == api.WorkCompound, name)
		assert.False(t, chain && kind.do != nil, name)
	}
	for _, name := range api.WorkTypes() {
		assert.Contains(t, workTypes, name)
	}
}
