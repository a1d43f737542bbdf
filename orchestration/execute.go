package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Orchestrator executes plans, in the words of the task orchestrator that it
// stands for. Its fields are set before the first use; it may then be used
// concurrently. The zero value carries out what needs nobody else: see Handler,
// and Options.Agent.
type Orchestrator struct {
	// Handler carries out the tasks that make and change packages, and finds the
	// functions of tools. Nil is the zero TaskHandler: it makes and changes
	// packages, and neither runs a function nor fetches a package; for the
	// functions that are built in set its Runtime and Builtins to
	// builtin.New(builtin.Exact).
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

// ExecutePlan executes a plan on the workspace. The plan's apiVersion and kind may
// be empty. words are the run's context; they win over the plan's and the
// orchestrator's own. Afterwards plan.Status says how the plan and its tasks are:
// one *api.Plan is for one call at a time. Concurrent calls take copies, for which
// an assignment does.
//
// The result is there unless the plan, or another order of the workspace, is
// wrong and nothing was begun. The error joins those of all tasks that failed, and
// is ctx's too where that ended the plan, see [Run]; a plan that is suspended is
// none.
func (o *Orchestrator) ExecutePlan(ctx context.Context, plan *api.Plan, words map[string]string) (*PlanResult, error) {
	if plan == nil {
		return nil, errors.New("there is no plan")
	}
	object := *plan
	object.APIVersion, object.Kind = cmp.Or(plan.APIVersion, api.StoopV1Alpha1), cmp.Or(plan.Kind, "Plan")
	if object.APIVersion != api.StoopV1Alpha1 || object.Kind != "Plan" {
		return nil, fmt.Errorf("plan %s has apiVersion %q and kind %q: leave them empty, or write %s and Plan", plan.Metadata.Name, plan.APIVersion, plan.Kind, api.StoopV1Alpha1)
	}
	opts := o.Options
	opts.Config = yamldoc.FromNode(api.Node(&object))
	opts.Context = map[string]string{}
	for _, m := range []map[string]string{o.Options.Context, words} {
		for k, v := range m {
			opts.Context[k] = v
		}
	}
	began := time.Now()
	after, report, err := Run(ctx, o.Handler.complete(), o.Workspace, opts)
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

// complete is the handler with something in the place of what tasks can't do
// without.
func (h *TaskHandler) complete() *TaskHandler {
	var all TaskHandler
	if h != nil {
		all = *h
	}
	if all.Upstream == nil {
		all.Upstream = noUpstream{}
	}
	return &all
}

// noUpstream is where a handler fetches from that has no upstream.Source.
type noUpstream struct{}

func (noUpstream) Fetch(context.Context, upstream.Ref) (kptpkg.Tree, upstream.Lock, error) {
	return kptpkg.Tree{}, upstream.Lock{}, errors.New("nothing can be fetched: TaskHandler.Upstream isn't set")
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
