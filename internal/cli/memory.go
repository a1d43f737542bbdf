package cli

import (
	"runtime/debug"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// limitMemory tells the garbage collector how much a render of a tree may take:
// some forty times the bytes of the tree. As YAML nodes resources take about
// thirty times their text, so the collector works hard for a large package, but
// nothing fails at the limit; a small package is done without any collection.
// Who sets GOGC or GOMEMLIMIT has settled it already.
func (a *app) limitMemory(t kptpkg.Tree) {
	if a.getenv("GOGC") != "" || a.getenv("GOMEMLIMIT") != "" {
		return
	}
	size := 0
	for _, p := range t.Paths() {
		size += len(t.File(p).Text())
	}
	const small = 48 << 20
	if limit := 36*int64(size) + 32<<20; limit > small {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(100)
	} else {
		debug.SetMemoryLimit(small)
		debug.SetGCPercent(-1)
	}
}
