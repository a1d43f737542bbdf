package cli

import (
	"bytes"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
)

// Many tasks may have the same to say: it is said once, and leaves room for what
// others say.
func TestPrintResultsOnce(t *testing.T) {
	var results []fn.Result
	for range 2 * shown[fn.Warning] {
		results = append(results, fn.Result{Severity: fn.Warning, Message: "any executable may run"})
	}
	results = append(results, fn.Result{Severity: fn.Warning, Message: "another"}, fn.Result{Severity: fn.Error, Message: "any executable may run"})
	var out bytes.Buffer
	a := &app{err: plain{&out}}
	a.printResults(results)
	assert.Equal(t, "error: any executable may run\nwarning: any executable may run\nwarning: another\n", out.String())
}
