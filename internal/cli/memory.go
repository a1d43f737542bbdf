package cli

import (
	"math"
	"runtime"
	"runtime/debug"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// spareCollecting has the garbage collector of a run rest until 128 MB are in
// use: most runs are done before. From then on it works as in other commands.
// Who sets GOGC or GOMEMLIMIT has settled it already.
func (a *app) spareCollecting() {
	if a.getenv("GOGC") != "" || a.getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(128 << 20)
	debug.SetGCPercent(-1)
	// called when the collector has run once, as nobody keeps the pointer
	runtime.AddCleanup(new([]byte), func(percent int) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	}, 400)
}

// tuneMemory settles how often the garbage collector runs in a render of a
// tree. A small package is done before it has to run at all, the limit being
// for what its functions may make. Of a large one the resources take about
// thirty times their text, as YAML nodes, and what is spent on collecting keeps
// the garbage from coming on top. Who sets GOGC or GOMEMLIMIT has settled it
// already.
func (a *app) tuneMemory(t kptpkg.Tree) {
	if a.getenv("GOGC") != "" || a.getenv("GOMEMLIMIT") != "" {
		return
	}
	size := 0
	for _, p := range t.Paths() {
		size += len(t.File(p).Text())
	}
	if size < 400_000 {
		debug.SetMemoryLimit(128 << 20)
		debug.SetGCPercent(-1)
		return
	}
	// no limit here: with functions that aren't builtin as much again is in use,
	// and at a limit that is below what is in use the collector never rests
	debug.SetGCPercent(20)
}
