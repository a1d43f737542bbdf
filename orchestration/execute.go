package orchestration

import (
	"context"
	"sync"
	"time"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Orchestrator executes plans, in the words of the task orchestrator that it
// stands for. Its fields are set before the first use; it may then be used
// concurrently.
type Orchestrator struct {
	// Handler carries out the tasks that make and change packages, and finds the
	// functions of tools.
	Handler *TaskHandler
	// Options are how plans run: Parallel, TaskTimeout, Agent, Mock, Observe,
	// Save, Suspend and Kill. Options.Context is what every plan is told.
	Options Options
	// Workspace is what plans work on: packages and whatever they declare. It may
	// be empty. A plan's own changes are in its result.
	Workspace kptpkg.Tree

	mu    sync.Mutex
	stats Stats
}

// PlanResult is what came of a plan.
type PlanResult struct {
	// Status is Completed, Failed, Cancelled or Suspended.
	Status string
	// Completed and Failed count tasks, those inside of compound tasks included.
	Completed, Failed int
	// Outputs are what the tasks handed on that have outputs, by their paths
	// without the plan's name.
	Outputs map[string]map[string]any
	// ExecutionTime is how long it took.
	ExecutionTime time.Duration
	// Workspace is what the plan worked on, afterwards, with the plan's object
	// among it: on that the plan goes on or does nothing.
	Workspace kptpkg.Tree
	// Report is all there is to say.
	Report *Report
}

// ExecutePlan executes a plan on the workspace. words are the run's context; they
// win over the plan's and the orchestrator's own. Afterwards plan.Status says how
// the plan and its tasks are.
//
// The result is there unless the plan, or another order of the workspace, is
// wrong and nothing was begun. The error joins those of all tasks that failed; a
// plan that is suspended is none.
func (o *Orchestrator) ExecutePlan(ctx context.Context, plan *api.Plan, words map[string]string) (*PlanResult, error) {
	opts := o.Options
	opts.Config = yamldoc.FromNode(api.Node(plan))
	opts.Context = map[string]string{}
	for _, m := range []map[string]string{o.Options.Context, words} {
		for k, v := range m {
			opts.Context[k] = v
		}
	}
	began := time.Now()
	after, report, err := Run(ctx, o.Handler, o.Workspace, opts)
	if report == nil {
		return nil, err
	}
	res := &PlanResult{
		Outputs: map[string]map[string]any{}, ExecutionTime: time.Since(began), Workspace: after, Report: report,
	}
	o.count(report)
	prefix := plan.Metadata.Name + "/"
	for _, t := range report.Tasks {
		if len(t.Path) <= len(prefix) || t.Path[:len(prefix)] != prefix {
			continue
		}
		switch t.State {
		case dag.Completed:
			res.Completed++
		case dag.Failed:
			res.Failed++
		}
		if t.Outputs != nil {
			res.Outputs[t.Path[len(prefix):]] = t.Outputs
		}
	}
	status, statusErr := planStatusIn(after, plan.Metadata.Name)
	if status != nil { // else nothing has changed: the object isn't among what the plan works on
		plan.Status = *status
	}
	res.Status = plan.Status.Phase
	if err == nil {
		err = statusErr
	}
	return res, err
}

// planStatusIn is the status of a plan that a workspace declares, nil if it
// declares none of that name.
func planStatusIn(ws kptpkg.Tree, name string) (*api.PlanStatus, error) {
	f, err := discover(ws, nil)
	if err != nil {
		return nil, err
	}
	for _, o := range f.plans {
		if p, ok := o.object.(*api.Plan); ok && p.Metadata.Name == name {
			return &p.Status, nil
		}
	}
	return nil, nil
}

// Stats are the figures of all plans that an Orchestrator executed.
type Stats struct {
	// PlansExecuted counts plans.
	PlansExecuted int
	// TasksExecuted counts attempts at tasks; TasksRetried those that another one
	// followed.
	TasksExecuted, TasksRetried int
	// The tasks by how they ended; TasksClean are those that had completed in an
	// earlier run.
	TasksCompleted, TasksFailed, TasksBlocked, TasksSkipped, TasksCancelled, TasksClean int
}

// SuccessRate is the share of attempts that completed a task, 0 when there were
// none.
func (s Stats) SuccessRate() float64 { return s.share(s.TasksCompleted - s.TasksClean) }

// FailureRate is the share of attempts that failed a task for good, 0 when there
// were none.
func (s Stats) FailureRate() float64 { return s.share(s.TasksFailed) }

func (s Stats) share(n int) float64 {
	if s.TasksExecuted == 0 {
		return 0
	}
	return float64(n) / float64(s.TasksExecuted)
}

// Stats are the figures so far.
func (o *Orchestrator) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stats
}

func (o *Orchestrator) count(r *Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stats.PlansExecuted++
	for _, t := range r.Tasks {
		o.stats.TasksExecuted += t.Attempts
		if t.Attempts > 1 {
			o.stats.TasksRetried += t.Attempts - 1
		}
		if t.Clean {
			o.stats.TasksClean++
		}
		switch t.State {
		case dag.Completed:
			o.stats.TasksCompleted++
		case dag.Failed:
			o.stats.TasksFailed++
		case dag.Blocked:
			o.stats.TasksBlocked++
		case dag.Skipped:
			o.stats.TasksSkipped++
		case dag.Cancelled:
			o.stats.TasksCancelled++
		}
	}
}
