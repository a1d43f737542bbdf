package progress

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := dag.Run(t.Context(), sample(), dag.Options{})
		second, err := dag.Run(t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "x", Do: work(time.Second, nil)}}}, dag.Options{})
		require.NoError(t, err)
		s := StatsOf(first, second)
		require.Positive(t, s.CPUMs)
		require.Greater(t, s.MaxRSSBytes, int64(1<<20))
		s.CPUMs, s.MaxRSSBytes = 1234, 12<<20

		// clone, gate, flaky twice, inner, a, b twice; and x
		want := Stats{
			PlansExecuted: 2, TasksExecuted: 9, TasksCompleted: 6, TasksFailed: 2, TasksRetried: 2, SuccessRate: 5.0 / 9, FailureRate: 2.0 / 9,
			TasksSkipped: 1, TasksBlocked: 1, TasksClean: 1, WallMs: 94_000, CPUMs: 1234, MaxRSSBytes: 12 << 20, CriticalPath: []string{"same", "inner/a", "inner/b"},
		}
		require.Equal(t, want, s)
		require.Equal(t, `plans executed   2
tasks executed   9
tasks completed  6
tasks failed     2
tasks retried    2
success rate     55.6%
failure rate     22.2%
tasks skipped    1
tasks blocked    1
tasks cancelled  0
tasks clean      1
wall time        94.000s
cpu time         1.234s
max rss          12.0 MiB
critical path    same
               → inner/a
               → inner/b
`, s.String())

		doc, err := json.Marshal(s)
		require.NoError(t, err)
		require.JSONEq(t, `{"plans_executed":2,"tasks_executed":9,"tasks_completed":6,"tasks_failed":2,"tasks_retried":2,
			"success_rate":0.5555555555555556,"failure_rate":0.2222222222222222,"tasks_skipped":1,"tasks_blocked":1,"tasks_cancelled":0,
			"tasks_clean":1,"wall_ms":94000,"cpu_ms":1234,"max_rss_bytes":12582912,"critical_path":["same","inner/a","inner/b"]}`, string(doc))
	})
}

func TestStatsOfNothing(t *testing.T) {
	doc, err := json.Marshal(StatsOf())
	require.NoError(t, err)
	require.Contains(t, string(doc), `"success_rate":0,"failure_rate":0`)
	require.Contains(t, string(doc), `"critical_path":[]`)
}
