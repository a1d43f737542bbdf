package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"golang.org/x/sync/errgroup"
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

// job is an order being carried out.
type job struct {
	*order
	action  Action
	before  *job   // the order on the same target that this one goes on from
	after   *job   // the one that goes on from it
	needs   []*job // those that have to be done first
	level   int    // the wave it is in, from 1; 0: not known yet, -1: being found out
	skip    bool   // not asked for
	applied int    // tasks that have run
	changed bool   // whether the object says something new about the package
	outcome *Outcome
	pkg     kptpkg.Tree       // the package afterwards
	record  *yamldoc.Doc      // the object with the record of what was done; nil: as it is
	status  *api.RenderStatus // how the render of a replaced package went
	saved   bool              // the package is kept although it failed to render
	note    string            // a warning about the object
	err     error
}

// references are the names of the revisions that the order's tasks need.
func (j *job) references() []string {
	if j.resources != nil {
		return nil
	}
	return references(j.revision, min(j.applied, len(j.revision.Spec.Tasks)))
}

// fail is an error about a field of the order, or about all of it.
func (j *job) fail(field, message string) error {
	return j.about(resultError(j.object, field, message, nil))
}

// about makes an error that the order met one about the order. What it says of
// the package's own files stays in the message: a package that couldn't be made
// isn't there to look into.
func (j *job) about(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, j.about(e))
		}
		return errors.Join(out...)
	}
	if re, ok := errors.AsType[*fn.ResultError](err); err == nil || ok && re.Result.ResourceRef != nil && *re.Result.ResourceRef == *j.object.Ref() {
		return at(err, j.file, j.index)
	}
	return &fn.ResultError{Result: fn.Result{
		Message: err.Error(), Severity: fn.Error, ResourceRef: j.object.Ref(), File: j.place(),
	}, Err: err}
}

// place is where the order's object is.
func (j *job) place() *fn.File { return &fn.File{Path: j.file, Index: j.index} }

// prepare finds out what each order comes to, before anything runs.
func (r *run) prepare() {
	byTarget := map[string][]*job{}
	r.names = map[string][]*job{}
	for _, o := range r.found.orders {
		j := &job{order: o, skip: r.opts.Only != "" && o.file != r.opts.Only}
		r.jobs = append(r.jobs, j)
		prepare := r.prepareReplace
		if j.resources == nil {
			r.names[o.revision.Metadata.Name] = append(r.names[o.revision.Metadata.Name], j)
			prepare = r.prepareOne
		}
		if err := prepare(j); !j.skip {
			j.err = j.about(err)
		}
		if key := j.target; key != "" {
			if j.resources != nil {
				key += "\x00" // apart from revisions
			}
			byTarget[key] = append(byTarget[key], j)
		}
	}
	for _, jobs := range byTarget {
		if len(jobs) > 1 {
			link(jobs)
		}
	}
	for _, j := range r.jobs {
		if j.skip || j.after != nil && j.action == ActionUpdate {
			j.action = ActionNone // only the last of a chain may change the package
		}
		if j.action == ActionReplace && j.err == nil {
			j.err = j.about(r.holderOf(j))
		}
	}
}

// holderOf finds the revision whose package an order replaces: the declared one
// on the same target, else one made up, which is a Draft.
func (r *run) holderOf(j *job) error {
	j.revision = &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision"}}
	j.revision.Metadata.Name, j.revision.Metadata.Namespace = j.name(), j.resources.Metadata.Namespace
	j.revision.Spec.PackageName, j.revision.Spec.Repository = j.resources.Spec.PackageName, j.resources.Spec.Repository
	for _, d := range r.holding(j.target) {
		if d.resources == nil && d.after == nil {
			j.revision = d.revision
		}
	}
	if l := j.revision.Lifecycle(); l != api.Draft {
		return j.fail("", fmt.Sprintf("target %q is held by PackageRevision %s, which is %s: only the content of a Draft can be replaced; set its lifecycle to Draft, or make a new revision (edit)", j.target, j.revision.Metadata.Name, l))
	}
	return nil
}

// name is that of the order's object.
func (j *job) name() string { return j.object.Head().Metadata.Name }

// prepareReplace finds out what an order to replace a package comes to.
func (r *run) prepareReplace(j *job) error {
	if err := j.resources.Validate(); err != nil {
		return err
	}
	target, err := j.resources.Target()
	if err != nil {
		return err
	}
	if strings.HasPrefix(j.file, target+"/") {
		return j.fail(targetField, fmt.Sprintf("the object is inside its own target %q, where it would become content: move the file out, or make the target \".\"", target))
	}
	j.target = target
	if j.changed, err = j.resources.Changed(); err != nil || !j.changed {
		j.action = ActionNone
		return err
	}
	j.action = ActionReplace
	switch {
	case r.opts.Unseen != nil && !r.opts.Whole[target]:
		return j.fail("", fmt.Sprintf("replacing a package needs all its files, and a host passes only resources: use stoop run, or bring the package in one object (annotation %s: %s)", api.CarrierAnnotation, api.CarrierPackage))
	case target == ".":
		return r.mayWorkInPlace(j)
	}
	return nil
}

// link makes a chain of the orders of one target, or errors for all of them.
func link(jobs []*job) {
	var c []*job
	if jobs[0].resources == nil {
		c = chain(jobs)
	}
	for i, j := range c[min(1, len(c)):] {
		j.before, c[i].after = c[i], j
	}
	for i, j := range jobs {
		if c == nil {
			other := jobs[0]
			if i == 0 {
				other = jobs[1]
			}
			j.err = errors.Join(j.err, j.clash(other))
		}
	}
}

// byName is the declared order of that name, nil when there is none.
func (r *run) byName(namespace, name string) *job { return find(r.names[name], namespace, name) }

// targetField is where an order says its target, when it says so itself.
const targetField = "metadata.annotations[" + api.TargetAnnotation + "]"

// clash is the error for two orders with one target.
func (j *job) clash(other *job) error {
	field := "spec.packageName"
	if _, own := j.object.Head().Metadata.Annotations[api.TargetAnnotation]; own {
		field = targetField
	}
	return j.fail(field, fmt.Sprintf("target %q is also that of PackageRevision %s in %s: give each package a target of its own with annotation %s, or let one revision go on from the other (edit.sourceRef, upgrade.localPackageRevisionRef)",
		j.target, other.name(), other.file, api.TargetAnnotation))
}

// prepareOne finds out what one order comes to, or what is against it.
func (r *run) prepareOne(j *job) error {
	pr := j.revision
	if err := pr.Validate(); err != nil {
		return err
	}
	target, err := pr.Target()
	if err != nil {
		return err
	}
	switch {
	case target == ordersDir || strings.HasPrefix(target, ordersDir+"/"):
		return j.fail(targetField, fmt.Sprintf("target %q is where stoop keeps objects of its own: choose another", target))
	case strings.HasPrefix(j.file, target+"/"):
		return j.fail(targetField, fmt.Sprintf("the object is inside its own target %q, where it would become content: move the file out, or make the target \".\"", target))
	}
	j.target = target
	if j.applied, err = pr.Pending(); err != nil {
		return err
	}
	if j.changed, err = pr.Changed(); err != nil {
		return err
	}
	j.action = r.actionOf(j)
	switch {
	case j.action == ActionCreate && r.opts.RefuseCreation != "":
		return j.fail("", r.opts.RefuseCreation)
	case j.action == ActionCreate:
		if err := pr.ValidateCreate(); err != nil {
			return err
		}
	case j.action == ActionUpdate && pr.Lifecycle() != api.Draft:
		j.action = ActionNone
		j.note = fmt.Sprintf("the object changed but its lifecycle is %s: the package stays as it is; set spec.lifecycle to Draft to change it", pr.Lifecycle())
	case j.action == ActionUpdate && r.ws.File(path.Join(target, kptpkg.KptfileName)) == nil:
		return j.fail("", fmt.Sprintf("target %q holds no Kptfile any more: put the package back, or remove the annotations %s and %s to make it anew", target, api.AppliedAnnotation, api.ObservedAnnotation))
	}
	if j.action == ActionNone && r.opts.RefuseCreation == "" && r.ws.File(path.Join(target, kptpkg.KptfileName)) == nil {
		j.note = fmt.Sprintf("target %q holds no Kptfile any more: put the package back, or remove the annotations %s and %s to make it anew", target, api.AppliedAnnotation, api.ObservedAnnotation)
	}
	if target == "." && (j.action == ActionCreate || j.action == ActionUpdate) {
		return r.mayWorkInPlace(j)
	}
	return nil
}

// mayWorkInPlace says what is against putting a package in place of the
// declaring one.
func (r *run) mayWorkInPlace(j *job) error {
	switch {
	case r.opts.RefuseInPlace != "":
		return j.fail(targetField, r.opts.RefuseInPlace)
	case len(r.found.mixed) > 0:
		return j.fail("", fmt.Sprintf("objects for stoop share files with resources of the package that it is about (%s): move them to files of their own",
			some(slices.Sorted(maps.Keys(r.found.mixed)))))
	}
	return nil
}

// actionOf is what an order comes to by its record.
func (r *run) actionOf(j *job) Action {
	switch {
	case j.applied == 0 && r.alreadyMade(j):
		return ActionRebuild
	case j.applied == 0:
		return ActionCreate
	case j.applied < len(j.revision.Spec.Tasks) || j.changed:
		return ActionUpdate
	}
	return ActionNone
}

// works says whether there is something to do and nothing against it so far.
func (j *job) works() bool { return j.err == nil && j.action != ActionNone }

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

// carryOut works through the jobs in waves: each after those that hold its
// target, that it goes on from, or whose packages its tasks name; those of one
// wave at once.
func (r *run) carryOut(ctx context.Context) {
	waves := map[int][]*job{}
	for _, j := range r.jobs {
		if n := r.wave(j); j.works() {
			waves[n] = append(waves[n], j)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(waves)) {
		var g errgroup.Group
		g.SetLimit(cmp.Or(r.opts.Parallel, 10))
		for _, j := range waves[n] {
			if i := slices.IndexFunc(j.needs, func(n *job) bool { return n.err != nil }); i >= 0 {
				j.err = j.fail("", fmt.Sprintf("not carried out: it needs %s %s in %s, which failed", j.needs[i].object.Ref().Kind, j.needs[i].name(), j.needs[i].file))
				continue
			}
			g.Go(func() error {
				r.do(ctx, j)
				return nil
			})
		}
		_ = g.Wait() // jobs keep their own errors
		r.merge(waves[n])
	}
}

// wave is how many jobs have to be done one after another before j; it finds
// what j needs on the way. Jobs that need each other in a circle fail.
func (r *run) wave(j *job) int {
	switch {
	case j.level > 0:
		return j.level
	case j.level < 0:
		j.err = cmp.Or(j.err, j.fail("spec.tasks", "the package revisions that its tasks name need this one in turn: break the circle"))
		return 0
	}
	j.level = -1
	for d := j.target; d != "." && d != ""; {
		d = path.Dir(d)
		j.needs = append(j.needs, r.holding(d)...)
	}
	if j.before != nil {
		j.needs = append(j.needs, j.before)
	}
	// on one target: what makes the package, what replaces it, what updates it
	for _, d := range r.holding(j.target) {
		if d != j && (j.resources != nil && d.resources == nil && d.action != ActionUpdate ||
			j.action == ActionUpdate && d.resources != nil) {
			j.needs = append(j.needs, d)
		}
	}
	for _, name := range j.references() {
		if d := r.byName(j.revision.Metadata.Namespace, name); d != nil && d != j && !slices.Contains(j.needs, d) {
			j.needs = append(j.needs, d)
		}
	}
	level := 1
	for _, d := range j.needs {
		level = max(level, r.wave(d)+1)
	}
	j.level = level
	return level
}

// holding are the orders whose target is dir.
func (r *run) holding(dir string) []*job {
	if r.targets == nil {
		r.targets = map[string][]*job{}
		for _, j := range r.jobs {
			r.targets[j.target] = append(r.targets[j.target], j)
		}
	}
	return r.targets[dir]
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
	defer func() {
		if p := recover(); p != nil {
			j.err = j.about(bug(p))
		}
	}()
	d := &draft{r.packageAt(j.target)}
	repo := r.found.repository(j.revision)
	in := workspace{revisions: r.local(j), registered: r.registered, unseen: r.opts.Unseen}
	var err error
	switch j.action {
	case ActionCreate:
		j.outcome, err = r.handler.applyTask(ctx, in, d, repo, j.revision, 0)
	case ActionUpdate:
		j.outcome, err = r.handler.update(ctx, in, d, repo, j.revision, j.applied, j.changed)
	case ActionReplace:
		if d.pkg.File(kptpkg.KptfileName) == nil {
			err = j.fail("spec.packageName", fmt.Sprintf("target %q holds no package that could be replaced: make one by a PackageRevision (init, clone)", j.target))
			break
		}
		j.outcome, j.status, err = r.handler.replace(ctx, in, d, j.revision, j.resources)
		j.saved = err != nil && j.revision.Metadata.Annotations[pushOnFailure] == "true"
	}
	j.pkg = d.pkg
	if err == nil && j.target == "." && j.action != ActionRebuild {
		err = r.checkInPlace(j)
	}
	if (err == nil || j.status != nil) && !r.opts.Stateless {
		var recordErr error
		j.record, recordErr = j.recorded(err == nil)
		err = errors.Join(err, recordErr)
	}
	j.err = j.about(err)
}

// bug is the error for a panic.
func bug(p any) error {
	return fmt.Errorf("stoop has a bug, please report it: %v\n%s", p, debug.Stack())
}

// packageAt is the package at target without what is stoop's in it.
func (r *run) packageAt(target string) kptpkg.Tree {
	if target != "." {
		return r.ws.Sub(target)
	}
	return r.ws.Without(slices.Collect(maps.Keys(r.found.own))...)
}

// checkInPlace refuses a package that, put in place of the declaring one, would
// give orders.
func (r *run) checkInPlace(j *job) error {
	f, err := discover(j.pkg, nil)
	if err != nil {
		return fmt.Errorf("the package brings objects for stoop along: %w", err)
	}
	for _, files := range []map[string]bool{f.own, f.mixed} {
		if len(files) > 0 {
			return j.fail("", fmt.Sprintf("the package brings objects for stoop along in %s, which would be carried out here: make the package below this one (annotation %s), or take them out upstream",
				some(slices.Sorted(maps.Keys(files))), api.TargetAnnotation))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.found.own)) {
		if j.pkg.File(p) != nil {
			return j.fail("", fmt.Sprintf("the package brings a file %s, and the declaring package has one with objects for stoop: move that", p))
		}
	}
	return nil
}

// merge puts the packages of finished jobs, none of which holds another, into
// the workspace.
func (r *run) merge(jobs []*job) {
	var gone []string
	var files []*kptpkg.File
	for _, j := range jobs {
		if j.err != nil && !j.saved {
			continue
		}
		for _, p := range r.packageAt(j.target).Paths() {
			gone = append(gone, path.Join(j.target, p))
		}
		for _, p := range j.pkg.Paths() {
			files = append(files, j.pkg.File(p).At(path.Join(j.target, p)))
		}
	}
	ws, err := r.ws.Without(gone...).With(files...)
	if err == nil {
		r.ws = ws
		return
	}
	for _, j := range jobs {
		j.err = cmp.Or(j.err, j.about(err))
	}
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

// results is all there is to say about the job.
func (j *job) results() []fn.Result {
	var results []fn.Result
	switch msg := j.summary(); {
	case j.err != nil:
		results = fn.ResultsOf(j.err)
	case msg != "":
		results = append(results, j.result(fn.Info, msg))
	}
	if j.note != "" {
		results = append(results, j.result(fn.Warning, j.note))
	}
	if j.outcome != nil {
		for _, res := range j.outcome.Results {
			results = append(results, j.located(res))
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

// result is one about the order.
func (j *job) result(sev fn.Severity, message string) fn.Result {
	return fn.Result{Message: message, Severity: sev, ResourceRef: j.object.Ref(), File: j.place()}
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
	res.Tags["task"] = j.name()
	return res
}

func (j *job) summary() string {
	n := count(j.pkg.Len(), "file")
	switch {
	case j.err != nil:
		return ""
	case j.action == ActionCreate && j.outcome.Lock != nil && j.outcome.Lock.OCI != nil:
		return fmt.Sprintf("package %s cloned from %s and rendered: %s", j.target, j.outcome.Lock.OCI.Image, n)
	case j.action == ActionCreate && j.outcome.Lock != nil:
		l := j.outcome.Lock.Git
		return fmt.Sprintf("package %s cloned from %s of %s at %s (commit %s) and rendered: %s", j.target, l.Directory, l.Repo, l.Ref, l.Commit, n)
	case j.action == ActionCreate:
		return fmt.Sprintf("package %s made and rendered: %s", j.target, n)
	case j.action == ActionUpdate:
		return fmt.Sprintf("package %s updated and rendered", j.target)
	case j.action == ActionReplace:
		return fmt.Sprintf("package %s replaced and rendered: %s", j.target, n)
	case j.action == ActionRebuild:
		return fmt.Sprintf("package %s was made before; the record of it is written again", j.target)
	}
	return ""
}
