package orchestration_test

import (
	"context"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// runFiles carries out the orders of a directory with the builtin functions and
// nothing else allowed.
func runFiles(t *testing.T, ws kptpkg.Tree) (kptpkg.Tree, *orchestration.Report, error) {
	t.Helper()
	h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
	return orchestration.RunFiles(context.Background(), h, ws, orchestration.Options{})
}
