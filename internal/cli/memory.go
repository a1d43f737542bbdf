package cli

import (
	"runtime/debug"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// limitMemory tells the garbage collector how much a render of a tree may take
// before it has to clean up: some forty times the bytes of the tree. As YAML
// nodes resources take about thirty times their text, so that a small package
// is done without any cleaning, and a large one with no more than it needs. Who
// sets GOGC or GOMEMLIMIT has settled it already.
func (a *app) limitMemory(t kptpkg.Tree) {
	if a.getenv("GOGC") != "" || a.getenv("GOMEMLIMIT") != "" {
		return
	}
	size := 0
	for _, p := range t.Paths() {
		size += len(t.File(p).Text())
	}
	debug.SetMemoryLimit(max(64<<20, 37*int64(size)+32<<20))
	debug.SetGCPercent(-1)
}
