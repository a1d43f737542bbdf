package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kustomize/kyaml/yaml"
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
}

// Job is one order and what came of it.
type Job struct {
	Revision *api.PackageRevision
	Target   string // where its package is
	Action   Action
	Err      error
}

// Action is what an order comes to.
type Action string

// The actions.
const (
	ActionNone    Action = "none"    // done before, nothing has changed since
	ActionCreate  Action = "create"  // the package is made
	ActionUpdate  Action = "update"  // what changed in the object goes into the package
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
	r := &run{handler: h, opts: opts, found: f, ws: ws}
	r.report.Results = f.notes
	if err := r.prepare(); err != nil {
		return ws, nil, err
	}
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
	report  Report
}

// job is an order being carried out.
type job struct {
	*order
	action  Action
	applied int  // tasks that have run
	changed bool // whether the object says something new about the package
	outcome *Outcome
	pkg     kptpkg.Tree // the package afterwards
	err     error
}

func (j *job) fail(field, message string) error {
	return at(resultError(j.revision, field, message, nil), j.file, j.index)
}

// prepare finds out what each order comes to, before anything runs.
func (r *run) prepare() error {
	byTarget := map[string]*job{}
	var errs []error
	for _, o := range r.found.orders {
		if r.opts.Only != "" && o.file != r.opts.Only {
			continue
		}
		j := &job{order: o}
		r.jobs = append(r.jobs, j)
		if err := r.prepareOne(j); err != nil {
			errs = append(errs, at(err, o.file, o.index))
			continue
		}
		if other := byTarget[j.target]; other != nil {
			errs = append(errs, j.fail("spec.packageName", fmt.Sprintf("target %q is also that of PackageRevision %q in %s: give each package a target of its own with annotation %s",
				j.target, other.revision.Metadata.Name, other.file, api.TargetAnnotation)))
			continue
		}
		byTarget[j.target] = j
	}
	return errors.Join(errs...)
}

func (r *run) prepareOne(j *job) error {
	pr := j.revision
	if err := pr.Validate(); err != nil {
		return err
	}
	var err error
	if j.target, err = pr.Target(); err != nil {
		return err
	}
	if j.target != "." && !j.isNew && (path.Dir(j.file) == j.target || strings.HasPrefix(j.file, j.target+"/")) {
		return j.fail("metadata.annotations["+api.TargetAnnotation+"]", fmt.Sprintf("the object is inside its own target %q, where it would become content: move the file out, or make the target \".\"", j.target))
	}
	if j.target == "." && r.found.mixed[j.file] {
		return j.fail("", "the object shares its file with resources of the package it makes: move it to a file of its own")
	}
	if j.applied, err = pr.Pending(); err != nil {
		return err
	}
	if j.changed, err = pr.Changed(); err != nil {
		return err
	}
	switch {
	case j.applied == 0 && r.alreadyMade(j):
		j.action = ActionRebuild
	case j.applied == 0:
		j.action = ActionCreate
		return r.mayCreate(j)
	case j.applied < len(pr.Spec.Tasks) || j.changed:
		if pr.Lifecycle() != api.Draft {
			j.action = ActionNone
			r.report.Results = append(r.report.Results, fn.Result{
				Severity: fn.Warning, ResourceRef: pr.Ref(), File: &fn.File{Path: j.file, Index: j.index},
				Message: fmt.Sprintf("the object changed but its lifecycle is %s: the package stays as it is; set spec.lifecycle to Draft to change it", pr.Lifecycle()),
			})
			return nil
		}
		j.action = ActionUpdate
		if r.ws.File(path.Join(j.target, kptpkg.KptfileName)) == nil {
			return j.fail("", fmt.Sprintf("target %q holds no Kptfile any more: put the package back, or remove the annotations %s and %s to make it anew", j.target, api.AppliedAnnotation, api.ObservedAnnotation))
		}
	default:
		j.action = ActionNone
	}
	return nil
}

func (r *run) mayCreate(j *job) error {
	if err := j.revision.ValidateCreate(); err != nil {
		return err
	}
	switch {
	case r.opts.RefuseCreation != "":
		return j.fail("", r.opts.RefuseCreation)
	case j.target == "." && r.opts.RefuseInPlace != "":
		return j.fail("", r.opts.RefuseInPlace)
	}
	return nil
}

// alreadyMade says whether the target holds what the order's one task makes:
// its Kptfile is locked to the same place.
func (r *run) alreadyMade(j *job) bool {
	if len(j.revision.Spec.Tasks) != 1 || j.revision.Spec.Tasks[0].Clone == nil || j.revision.Spec.Tasks[0].Clone.UpstreamRef.Git == nil || r.opts.Stateless {
		return false
	}
	k, err := r.ws.Kptfile(j.target)
	if err != nil || k.UpstreamLock == nil || k.UpstreamLock.Git == nil {
		return false
	}
	want, lock := j.revision.Spec.Tasks[0].Clone.UpstreamRef.Git, k.UpstreamLock.Git
	return sameRepo(want.Repo, lock.Repo) && want.Ref == lock.Ref &&
		want.Path() == (&api.GitPackage{Directory: lock.Directory}).Path()
}

// sameRepo compares URLs as kpt and Porch spell them, with and without .git.
func sameRepo(a, b string) bool {
	trim := func(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "/"), ".git") }
	return trim(a) == trim(b)
}

// carryOut works through the jobs: packages that hold others first, those
// beside each other at once.
func (r *run) carryOut(ctx context.Context) {
	levels := map[int][]*job{}
	for _, j := range r.jobs {
		if j.action == ActionCreate || j.action == ActionUpdate {
			n := depth(j.target)
			levels[n] = append(levels[n], j)
		}
	}
	failed := map[string]bool{}
	for _, n := range slices.Sorted(maps.Keys(levels)) {
		var g errgroup.Group
		g.SetLimit(cmp.Or(r.opts.Parallel, 10))
		for _, j := range levels[n] {
			if holder := failedAbove(j.target, failed); holder != "" {
				j.err = j.fail("", fmt.Sprintf("not carried out: target %q is inside %q, which failed", j.target, holder))
				failed[j.target] = true
				continue
			}
			g.Go(func() error {
				r.do(ctx, j)
				return nil
			})
		}
		_ = g.Wait() // jobs keep their own errors
		for _, j := range levels[n] {
			if j.err != nil {
				failed[j.target] = true
				continue
			}
			if err := r.merge(j); err != nil {
				j.err, failed[j.target] = err, true
			}
		}
	}
}

func depth(target string) int {
	if target == "." {
		return 0
	}
	return 1 + strings.Count(target, "/")
}

func failedAbove(target string, failed map[string]bool) string {
	for t := range failed {
		if t == "." || strings.HasPrefix(target, t+"/") {
			return t
		}
	}
	return ""
}

// draft is the package of one job, kept in memory until the job is done.
type draft struct{ pkg kptpkg.Tree }

func (d *draft) Resources(context.Context) (kptpkg.Tree, error) { return d.pkg, nil }

func (d *draft) UpdateResources(_ context.Context, pkg kptpkg.Tree, _ *api.Task) error {
	d.pkg = pkg
	return nil
}

// do carries one order out on its own package.
func (r *run) do(ctx context.Context, j *job) {
	d := &draft{r.packageAt(j.target)}
	repo := r.found.repository(j.revision)
	if j.action == ActionCreate {
		j.outcome, j.err = r.handler.ApplyTask(ctx, d, repo, j.revision)
	} else {
		j.outcome, j.err = r.handler.update(ctx, d, repo, j.revision, j.applied, j.changed)
	}
	j.err = at(j.err, j.file, j.index)
	j.pkg = d.pkg
}

// packageAt is the package at target without what is stoop's in it.
func (r *run) packageAt(target string) kptpkg.Tree {
	if target != "." {
		return r.ws.Sub(target)
	}
	return r.ws.Without(slices.Collect(maps.Keys(r.found.orderFiles))...)
}

// merge puts a finished job's package into the workspace.
func (r *run) merge(j *job) error {
	if j.target != "." {
		r.ws = r.ws.Replace(j.target, j.pkg)
		return nil
	}
	out := j.pkg
	for _, p := range slices.Sorted(maps.Keys(r.found.orderFiles)) {
		if out.File(p) != nil {
			return j.fail("", fmt.Sprintf("the package brings a file %s, and the declaring package has one with objects for stoop: move that", p))
		}
		var err error
		if out, err = out.With(r.ws.File(p)); err != nil {
			return err
		}
	}
	if j.action == ActionCreate {
		f, err := discover(j.pkg, nil)
		if err != nil {
			return fmt.Errorf("the package brings objects for stoop along: %w", err)
		}
		if len(f.orders) > 0 {
			return j.fail("", fmt.Sprintf("the package brings an order along, PackageRevision %q in %s, which would be carried out here: make the package below this one (target), or take the order out upstream",
				f.orders[0].revision.Metadata.Name, f.orders[0].file))
		}
	}
	r.ws = out
	return nil
}

// finish writes the records of what was done and collects the report.
func (r *run) finish() (kptpkg.Tree, *Report, error) {
	var errs []error
	for _, j := range r.jobs {
		if j.err == nil && !r.opts.Stateless {
			j.err = r.record(j)
		}
		if j.err != nil {
			errs = append(errs, j.err)
			r.report.Results = append(r.report.Results, fn.ResultsOf(j.err)...)
		} else if msg := j.summary(); msg != "" {
			r.report.Results = append(r.report.Results, fn.Result{
				Message: msg, Severity: fn.Info, ResourceRef: j.revision.Ref(), File: &fn.File{Path: j.file, Index: j.index},
			})
		}
		if j.outcome != nil {
			for _, res := range j.outcome.Results {
				r.report.Results = append(r.report.Results, j.located(res))
			}
		}
		r.report.Jobs = append(r.report.Jobs, Job{Revision: j.revision, Target: j.target, Action: j.action, Err: j.err})
	}
	return r.ws, &r.report, errors.Join(errs...)
}

// located gives a result of the package's own files their place in the
// workspace and says whose it is.
func (j *job) located(res fn.Result) fn.Result {
	if res.File != nil && j.target != "." {
		f := *res.File
		f.Path = path.Join(j.target, f.Path)
		res.File = &f
	}
	res.Tags = maps.Clone(res.Tags)
	if res.Tags == nil {
		res.Tags = map[string]string{}
	}
	res.Tags["task"] = j.revision.Metadata.Name
	return res
}

func (j *job) summary() string {
	n := count(j.pkg.Len(), "file")
	switch {
	case j.action == ActionCreate && j.outcome.Lock != nil:
		l := j.outcome.Lock.Git
		return fmt.Sprintf("package %s cloned from %s of %s at %s (commit %s) and rendered: %s", j.target, l.Directory, l.Repo, l.Ref, l.Commit, n)
	case j.action == ActionCreate:
		return fmt.Sprintf("package %s made and rendered: %s", j.target, n)
	case j.action == ActionUpdate:
		return fmt.Sprintf("package %s updated and rendered", j.target)
	case j.action == ActionRebuild:
		return fmt.Sprintf("package %s was made before; the record of it is written again", j.target)
	}
	return ""
}

// record writes into the order what was done: the record of applied tasks, the
// upstream lock and the Kptfile's conditions.
func (r *run) record(j *job) error {
	if j.action == ActionNone {
		return nil
	}
	pr := j.revision
	k, err := r.ws.Kptfile(j.target)
	if err != nil {
		return err
	}
	pr.Status.Conditions = mirrored(pr, k, j)
	if l := k.UpstreamLock; l != nil && l.Git != nil {
		pr.Status.UpstreamLock = &api.Lock{Type: l.Type, Git: &api.GitLock{Repo: l.Git.Repo, Directory: l.Git.Directory, Ref: l.Git.Ref, Commit: l.Git.Commit}}
	}
	root, err := j.doc.Copy()
	if err != nil {
		return err
	}
	status := api.Node(&api.PackageRevision{Status: pr.Status})
	n := yaml.NewRNode(root)
	if st := yaml.NewRNode(status).Field("status"); st != nil {
		if err := setStatus(n, st.Value); err != nil {
			return err
		}
	}
	notes := pr.Record(len(pr.Spec.Tasks))
	for _, a := range slices.Sorted(maps.Keys(notes)) {
		if err := n.PipeE(yaml.SetAnnotation(a, notes[a])); err != nil {
			return err
		}
	}
	d := j.doc.With(root)
	if j.isNew {
		r.ws, err = r.ws.With(kptpkg.NewDocs(j.file, d))
		return err
	}
	file := r.ws.File(j.file)
	docs := slices.Clone(file.Docs())
	docs[j.index] = d
	r.ws, err = r.ws.With(file.WithDocs(docs...))
	return err
}

// setStatus makes the fields of status that stoop knows say what st says;
// others stay.
func setStatus(n, st *yaml.RNode) error {
	return st.VisitFields(func(f *yaml.MapNode) error {
		key, err := f.Key.String()
		if err != nil {
			return err
		}
		return n.PipeE(yaml.LookupCreate(yaml.MappingNode, "status"), yaml.SetField(strings.TrimSpace(key), f.Value))
	})
}

// mirrored are the conditions of the object after j: those of the Kptfile, and
// stoop's own about the render.
func mirrored(pr *api.PackageRevision, k *kptpkg.Kptfile, j *job) []api.Condition {
	var out []api.Condition
	var rendered *api.Condition
	for _, c := range pr.Status.Conditions {
		if c.Type == api.RenderedCondition {
			rendered = &c
		}
	}
	if j.outcome != nil && j.outcome.Rendered != nil {
		c := j.outcome.Rendered.Condition()
		rendered = &api.Condition{Type: c.Type, Status: api.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message}
	}
	for _, c := range k.Status.Conditions {
		if c.Type != api.RenderedCondition {
			out = append(out, api.Condition{Type: c.Type, Status: api.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message})
		}
	}
	if rendered != nil {
		out = append(out, *rendered)
	}
	return out
}
