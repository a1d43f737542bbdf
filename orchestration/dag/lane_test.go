package dag

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is pushed, released and removed, next is always the most urgent of
// all steps whose limits have room: no lane is forgotten at a limit.
func TestLanesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limiters := make([]*limiter, 3)
		for i := range limiters {
			limiters[i] = &limiter{max: rapid.IntRange(1, 2).Draw(t, "max")}
		}
		all := make([]*lane, 5)
		for i := range all {
			all[i] = &lane{}
			for _, l := range limiters {
				if rapid.Bool().Draw(t, "limited") {
					all[i].limits = append(all[i].limits, l)
				}
			}
		}
		var q lanes
		var queued, running []*node
		for i := range rapid.IntRange(50, 300).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 11).Draw(t, "operation"); {
			case op < 4:
				n := &node{index: int32(i), pos: new(int32(-1)), priority: int64(rapid.IntRange(0, 5).Draw(t, "priority")), lane: rapid.SampledFrom(all).Draw(t, "lane")}
				q.push(n)
				queued = append(queued, n)
			case op < 7 && len(running) > 0:
				k := rapid.IntRange(0, len(running)-1).Draw(t, "returned")
				q.release(running[k].lane)
				running = slices.Delete(running, k, k+1)
			case op < 9 && len(queued) > 0:
				k := rapid.IntRange(0, len(queued)-1).Draw(t, "removed")
				q.remove(queued[k])
				queued = slices.Delete(queued, k, k+1)
			default:
				var want *node
				for _, n := range queued {
					if n.lane.fullLimit() == nil && (want == nil || n.ready().before(want.ready())) {
						want = n
					}
				}
				got := q.next()
				require.True(t, want == got, "not the most urgent step that could start")
				if got != nil {
					queued = slices.DeleteFunc(queued, func(n *node) bool { return n == got })
					running = append(running, got)
				}
			}
			require.Equal(t, len(queued), q.queued)
			for _, l := range limiters {
				used := 0
				for _, n := range running {
					if slices.Contains(n.lane.limits, l) {
						used++
					}
				}
				require.Equal(t, used, l.used)
				require.LessOrEqual(t, used, l.max)
			}
		}
	})
}
