package progress

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
)

// Stats are the figures of runs, by the names of the task orchestrator's
// get_stats. As JSON they are one object.
type Stats struct {
	PlansExecuted  int     `json:"plans_executed"`
	TasksExecuted  int     `json:"tasks_executed"`  // attempts
	TasksCompleted int     `json:"tasks_completed"` // clean ones included
	TasksFailed    int     `json:"tasks_failed"`
	TasksRetried   int     `json:"tasks_retried"` // attempts that were followed by another
	SuccessRate    float64 `json:"success_rate"`  // completed, clean ones excepted, by executed
	FailureRate    float64 `json:"failure_rate"`  // failed by executed
	TasksSkipped   int     `json:"tasks_skipped"`
	TasksBlocked   int     `json:"tasks_blocked"`
	TasksCancelled int     `json:"tasks_cancelled"`
	TasksClean     int     `json:"tasks_clean"` // there was nothing to do, so they weren't executed
	WallMs         int64   `json:"wall_ms"`     // of the runs
	// CPUMs and MaxRSSBytes are of the process until now, without the processes it
	// started; 0 where the system doesn't tell.
	CPUMs       int64 `json:"cpu_ms"`
	MaxRSSBytes int64 `json:"max_rss_bytes"`
	// CriticalPath are the tasks that, one after another, took longest, of the run
	// in which they took longest.
	CriticalPath []string `json:"critical_path"`
}

// StatsOf counts up the reports of runs.
func StatsOf(reports ...*dag.Report) Stats {
	var sum dag.Stats
	var wall, longest time.Duration
	path := []string{}
	for _, r := range reports {
		sum.Executed += r.Stats.Executed
		sum.Retried += r.Stats.Retried
		sum.Clean += r.Stats.Clean
		sum.Completed += r.Stats.Completed
		sum.Failed += r.Stats.Failed
		sum.Blocked += r.Stats.Blocked
		sum.Skipped += r.Stats.Skipped
		sum.Cancelled += r.Stats.Cancelled
		wall += r.Elapsed
		if len(r.CriticalPath) > 0 && (len(path) == 0 || r.CriticalTime > longest) {
			path, longest = r.CriticalPath, r.CriticalTime
		}
	}
	cpu, rss := usage()
	return Stats{
		PlansExecuted: len(reports), TasksExecuted: sum.Executed, TasksCompleted: sum.Completed, TasksFailed: sum.Failed, TasksRetried: sum.Retried,
		SuccessRate: sum.SuccessRate(), FailureRate: sum.FailureRate(),
		TasksSkipped: sum.Skipped, TasksBlocked: sum.Blocked, TasksCancelled: sum.Cancelled, TasksClean: sum.Clean,
		WallMs: wall.Milliseconds(), CPUMs: cpu.Milliseconds(), MaxRSSBytes: rss, CriticalPath: path,
	}
}

// String is the figures for people, one in a line.
func (s Stats) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range []struct {
		name  string
		value any
	}{
		{"plans executed", s.PlansExecuted},
		{"tasks executed", s.TasksExecuted},
		{"tasks completed", s.TasksCompleted},
		{"tasks failed", s.TasksFailed},
		{"tasks retried", s.TasksRetried},
		{"success rate", fmt.Sprintf("%.1f%%", 100*s.SuccessRate)},
		{"failure rate", fmt.Sprintf("%.1f%%", 100*s.FailureRate)},
		{"tasks skipped", s.TasksSkipped},
		{"tasks blocked", s.TasksBlocked},
		{"tasks cancelled", s.TasksCancelled},
		{"tasks clean", s.TasksClean},
		{"wall time", fmt.Sprintf("%.3fs", float64(s.WallMs)/1e3)},
		{"cpu time", fmt.Sprintf("%.3fs", float64(s.CPUMs)/1e3)},
		{"max rss", fmt.Sprintf("%.1f MiB", float64(s.MaxRSSBytes)/(1<<20))},
	} {
		fmt.Fprintf(w, "%s\t%v\n", f.name, f.value)
	}
	_ = w.Flush() // into memory
	const most = 20
	for i, p := range s.CriticalPath {
		switch {
		case i == 0:
			fmt.Fprintf(&b, "critical path    %s\n", clean(p, widestPath))
		case i < most:
			fmt.Fprintf(&b, "               → %s\n", clean(p, widestPath))
		case i == most:
			fmt.Fprintf(&b, "               … and %d more\n", len(s.CriticalPath)-most)
		}
	}
	return b.String()
}
