package orchestration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
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
	// Parallel is how many orders are worked on at once; 0 means 10.
	Parallel int
}

// Report is what came of a workspace's orders.
type Report struct {
	// Jobs are the orders, in the order of their files.
	Jobs []Job
	// Results is all there is to say, notes about the workspace first, then
	// job by job. Every error is among them.
	Results []fn.Result

	notes []fn.Result // those about the workspace
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
// to keep that is the caller's choice. With a nil report nothing was begun.
func Run(ctx context.Context, h *TaskHandler, ws kptpkg.Tree, opts Options) (kptpkg.Tree, *Report, error) {
	f, err := discover(ws, opts.Config)
	if err != nil {
		return ws, nil, err
	}
	if opts.Only != "" && !slices.ContainsFunc(f.orders, func(o *order) bool { return o.file == opts.Only }) {
		return ws, nil, fmt.Errorf("%s: holds no order: an order is a PackageRevision with annotation %s: \"true\" that belongs to the root package", opts.Only, api.LocalConfigAnnotation)
	}
	r := &run{handler: h, opts: opts, found: f, ws: ws}
	if h.Repositories != nil {
		r.registered = h.Repositories.Open(f.registered())
	}
	r.prepare()
	r.carryOut(ctx)
	return r.finish()
}

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
}

// finish writes the records of what was done and collects the report.
func (r *run) finish() (kptpkg.Tree, *Report, error) {
	var errs []error
	if err := r.record(); err != nil {
		errs = append(errs, err)
	}
	report := &Report{notes: append(r.notes(), fn.ResultsOf(errors.Join(errs...))...)}
	report.Results = slices.Clone(report.notes)
	for _, j := range r.jobs {
		if j.err != nil {
			errs = append(errs, j.err)
		}
		results := j.results()
		report.Results = append(report.Results, results...)
		report.Jobs = append(report.Jobs, Job{Revision: j.revision, Target: j.target, Action: j.action, Results: results, Err: j.err})
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
	if slices.ContainsFunc(r.jobs, (*job).works) {
		if f, err := discover(r.ws, nil); err == nil {
			return f.notes
		}
	}
	return r.found.notes
}
