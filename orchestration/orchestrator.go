package orchestration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// Options are how a workspace's orders are carried out.
type Options struct {
	// Config is the function config, an order beside those in the workspace;
	// nil: there is none.
	Config *yamldoc.Doc
	// Stateless leaves no record and adds no objects of stoop's own: every
	// order is carried out as if for the first time.
	Stateless bool
	// RefuseInPlace is why no package may be made in the declaring package
	// itself; empty: it may.
	RefuseInPlace string
	// RefuseCreation is why no package may be made at all; empty: it may.
	RefuseCreation string
	// Unseen says of a file that the workspace may have it and the host couldn't
	// pass it; nil: the workspace is there as a whole.
	Unseen func(*kptpkg.File) bool
	// OnConflict and Resolve settle the conflicts of upgrades; the files of
	// Resolve are below the workspace. Empty: what the objects say.
	OnConflict merge.Policy
	Resolve    merge.Resolutions
	// Whole says of a target that all files of its package are there although
	// Unseen is set; nil: of none.
	Whole map[string]bool
	// Only is the file whose orders are carried out; empty: those of all files.
	Only string
	// Parallel is how many orders and tasks are worked on at once; 0 means 10,
	// or what a plan says where that is more.
	Parallel int
	// TaskTimeout is how long one attempt at a task may take that says nothing
	// itself; 0 means 5 minutes.
	TaskTimeout time.Duration
	// Context are words about the run for the executors of tasks; they win over
	// those of plans.
	Context map[string]string
	// Agent carries out atomic and llm_call tasks; nil: nobody does, and they
	// fail.
	Agent agent.Executor
	// Mock carries out no tool_call, atomic or llm_call task: they yield what
	// they declare. The workspace afterwards is the one before, with statuses
	// that say so.
	Mock bool
	// Dry asks no agent and calls no tool that runs outside of stoop: their tasks
	// wait, and what needs them. For runs of which nothing is kept.
	Dry bool
	// Begin is told, before anything runs, the steps of the graph in their order;
	// nil: nobody is.
	Begin func(steps []string)
	// Observe is told of every change of a step's state, in order; nil: nobody
	// is. The run waits for it.
	Observe func(dag.Event)
	// Save is given the workspace as far as it is finished, from time to time
	// while a plan runs, so that little is lost when the process ends; nil: it
	// isn't kept. The run waits for it.
	Save func(kptpkg.Tree) error
	// Suspend, when closed, lets nothing else begin: what is at work finishes
	// and plans are left to the next run. Kill, when closed, ends everything.
	Suspend, Kill <-chan struct{}
}

// check refuses options that mean nothing.
func (o *Options) check() error {
	switch {
	case o.Parallel < 0:
		return fmt.Errorf("option Parallel is %d: set how many orders and tasks are worked on at once, or leave it 0", o.Parallel)
	case o.TaskTimeout < 0:
		return fmt.Errorf("option TaskTimeout is %s: set how long one attempt at a task may take, or leave it 0", o.TaskTimeout)
	}
	return nil
}

// Report is what came of a workspace's orders.
type Report struct {
	// Jobs are the orders, in the order of their files.
	Jobs []Job
	// Results is all there is to say: what came of plans, notes about the
	// workspace, then job by job and task by task. Every error is among them.
	Results []fn.Result
	// Tasks are the tasks of plans and those by themselves, as declared, those
	// inside of compound tasks after them.
	Tasks []TaskReport
	// Plans is how many plans there were that no other one ran.
	Plans int
	// Graph is what the scheduler says; its figures leave plans out. Its steps are
	// the jobs, as PackageRevision:NAME and so on, the plans, and the tasks by their
	// paths.
	Graph *dag.Report

	notes []fn.Result // those about the workspace
}

// TaskReport is a task and what came of it.
type TaskReport struct {
	Path   string // PLAN/TASK, or Task:NAME for one by itself
	Type   api.WorkType
	Target string // empty: none
	State  dag.State
	// Attempts is how many were made in this run.
	Attempts int
	Clean    bool   // it completed in an earlier run, and nothing has changed since
	Dirty    string // why it ran again though it had completed
	Outputs  map[string]any
	Reason   string // why it is where it is, or what it waits for
	Err      error
}

// Job is one order and what came of it.
type Job struct {
	Revision *api.PackageRevision
	Target   string // where its package is
	Action   Action
	Results  []fn.Result // what there is to say about it
	Err      error
}

// Action is what an order comes to.
type Action string

// The actions.
const (
	ActionNone    Action = "none"    // done before, nothing has changed since
	ActionCreate  Action = "create"  // the package is made
	ActionUpdate  Action = "update"  // what changed in the object goes into the package
	ActionReplace Action = "replace" // given resources become the package
	ActionRebuild Action = "rebuild" // the package was made before; only the record is missing
)

// Run carries out the orders in ws with h and returns the workspace afterwards.
// ws itself is unchanged. An order that fails changes nothing; those that don't
// depend on it are carried out all the same. The error joins those of all
// orders, and the workspace returned with it holds what the others did: whether
// to keep that is the caller's choice. Where ctx cut the run short the error is
// also ctx.Err() and context.Cause(ctx), as [errors.Is] sees it. With a nil report
// nothing was begun.
func Run(ctx context.Context, h *TaskHandler, ws kptpkg.Tree, opts Options) (kptpkg.Tree, *Report, error) {
	if err := opts.check(); err != nil {
		return ws, nil, err
	}
	f, err := discover(ws, opts.Config)
	if err != nil {
		return ws, nil, err
	}
	if opts.Only != "" && !slices.ContainsFunc(slices.Concat(f.orders, f.plans), func(o *order) bool { return o.file == opts.Only }) {
		return ws, nil, fmt.Errorf("%s: holds no order: an order is a PackageRevision, PackageRevisionResources, Plan or Task with annotation %s: \"true\" that belongs to the root package", opts.Only, api.LocalConfigAnnotation)
	}
	r := newRun(h, opts, f, ws)
	r.prepare()
	r.arrangeAll()
	if err := r.preparePlans(); err != nil {
		return ws, nil, err
	}
	r.store, r.saved = newStore(ws, f.own), time.Now()
	r.carryOut(ctx)
	after, report, err := r.finish()
	if err != nil && report.Graph.Phase == dag.RunCancelled && ctx.Err() != nil {
		err = &cutShort{err, errors.Join(ctx.Err(), context.Cause(ctx))}
	}
	return after, report, err
}

// cutShort is the error of a run that a context ended. It reads as that of the
// orders, which says why, and makes the same results.
type cutShort struct {
	error
	why error
}

func (e *cutShort) Unwrap() []error      { return []error{e.error} }
func (e *cutShort) Is(target error) bool { return errors.Is(e.why, target) }
func (e *cutShort) As(target any) bool   { return errors.As(e.why, target) }

// RunFiles is Run over a directory: the files that carriers bring are unpacked
// and the carriers are taken out.
func RunFiles(ctx context.Context, h *TaskHandler, ws kptpkg.Tree, opts Options) (kptpkg.Tree, *Report, error) {
	ws, _, err := unpack(ws)
	if err != nil {
		return ws, nil, err
	}
	return Run(ctx, h, ws, opts)
}

// run is one Run on its way.
type run struct {
	handler *TaskHandler
	opts    Options
	found   *found
	ws      kptpkg.Tree
	jobs    []*job
	names   map[string][]*job // by the name of their objects
	// registered finds revisions in the repositories that the workspace
	// declares; nil: none can be opened.
	registered ReferenceResolver
	targets    map[string][]*job // by target, made on first use
	targetDirs []string          // those, sorted
	store      *store            // ws, while the jobs work on it

	plans       []*plan
	works       []*work            // tasks by themselves
	prepared    *dag.Prepared      // the graph of all orders, from preparePlans
	worksAt     map[string][]*work // tasks by target, from preparePlans
	workDirs    []string           // those targets, sorted
	graphReport *dag.Report

	saved   time.Time     // when the last checkpoint was
	saving  time.Duration // how long it took
	saveErr error
}

func newRun(h *TaskHandler, opts Options, f *found, ws kptpkg.Tree) *run {
	r := &run{handler: h, opts: opts, found: f, ws: ws}
	if h.Repositories != nil {
		r.registered = h.Repositories.Open(f.registered())
	}
	return r
}

// finish writes the records of what was done and collects the report.
func (r *run) finish() (kptpkg.Tree, *Report, error) {
	errs := []error{r.saveErr}
	if err := r.record(); err != nil {
		errs = append(errs, err)
	}
	report := &Report{notes: slices.Concat(r.notes(), r.remarks(), fn.ResultsOf(errors.Join(errs...)))}
	report.Results = slices.Clone(report.notes)
	for _, j := range r.jobs {
		if j.err != nil {
			errs = append(errs, j.err)
		}
		results := j.results()
		report.Results = append(report.Results, results...)
		report.Jobs = append(report.Jobs, Job{Revision: j.revision, Target: j.target, Action: j.action, Results: results, Err: j.err})
	}
	plans := r.planResults()
	report.Results = slices.Concat(plans.news, report.Results, plans.out, r.unresolved())
	for _, err := range plans.errs {
		report.Results = append(report.Results, fn.ResultsOf(err)...)
	}
	errs = append(errs, plans.errs...)
	report.Graph, report.Plans = r.graphReport, len(r.plans)
	for w := range r.allWorks() {
		t := TaskReport{Path: w.path, Type: w.spec.Type, Target: w.target(), State: w.state.State, Attempts: w.state.Attempts - w.before(), Clean: w.clean, Reason: w.state.Reason, Err: w.state.Err}
		if w.done {
			t.Outputs = w.outputs
		}
		if w.clean {
			t.Attempts = 0
		}
		if w.was.Observed != nil || w.undone {
			t.Dirty = w.dirty
		}
		report.Tasks = append(report.Tasks, t)
	}
	return r.ws, report, errors.Join(errs...)
}

// undone are the results of a report when nothing of it is kept: those of jobs
// that succeeded say nothing any more.
func (r *Report) undone() []fn.Result {
	results := r.notes
	for _, j := range r.Jobs {
		if j.Err != nil {
			results = append(results, j.Results...)
		}
	}
	return results
}

// notes are what there is to say about the workspace, packages that were made
// just now included: a second run has nothing to add.
func (r *run) notes() []fn.Result {
	if slices.ContainsFunc(r.jobs, (*job).works) || len(r.plans)+len(r.works) > 0 {
		f := newFound()
		f.ignored = true
		if err := f.readAll(r.ws); err == nil {
			return f.notes
		}
	}
	return r.found.notes
}
