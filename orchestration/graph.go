package orchestration

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// carryOut works through the orders as one graph: each job and each task is a
// step, a plan is a step with a graph of its own.
func (r *run) carryOut(ctx context.Context) {
	if r.opts.Begin != nil {
		r.opts.Begin(r.steps())
	}
	report, _ := r.prepared.Run(ctx, dag.Options{ // what went wrong is in the report
		Observe: r.observe, Suspend: r.opts.Suspend, Kill: r.opts.Kill,
		Grace: grace,
	})
	r.graphReport = report
	r.settled(report)
	for _, s := range report.Steps {
		j, _ := s.Of.(*job)
		if j == nil || j.err != nil || j.action == ActionNone {
			continue
		}
		switch s.State {
		case dag.Blocked:
			i := slices.IndexFunc(j.needs, func(n *job) bool { return n.err != nil })
			j.err = j.fail("", fmt.Sprintf("not carried out: it needs %s %s in %s, which failed", j.needs[i].object.Ref().Kind, j.needs[i].name(), j.needs[i].file))
		case dag.Cancelled:
			j.err = j.fail("", "not carried out: "+cmp.Or(s.Reason, "cancelled"))
		case dag.Failed:
			j.err = j.about(s.Err) // it panicked, or never returned
		case dag.Pending, dag.Ready:
			j.err = j.fail("", "not carried out: the time is up")
		}
	}
}

// grace is how long a step has to return when it is told to: longer than its
// function takes to be killed, so that one that ignores the request to end can be
// tried again, and nothing of it outlives the run.
const grace = runtime.Ending + 4*time.Second

// graph is the workspace's orders as a graph.
func (r *run) graph() *dag.Graph {
	g := &dag.Graph{Parallel: r.opts.Parallel}
	if g.Parallel == 0 {
		g.Parallel = defaultParallel
		for _, p := range r.plans {
			g.Parallel = max(g.Parallel, p.spec.Parallelism)
		}
	}
	for _, j := range r.jobs {
		g.Steps = append(g.Steps, r.stepOf(j))
	}
	g.Steps = append(g.Steps, r.planSteps()...)
	return g
}

// steps are the paths of all steps of the graph, those inside others after them.
func (r *run) steps() []string {
	var all []string
	for _, j := range r.jobs {
		all = append(all, j.step)
	}
	var inside func(ws []*work)
	inside = func(ws []*work) {
		for _, w := range ws {
			all = append(all, w.path)
			if w.inner != nil {
				inside(w.inner.works)
			}
		}
	}
	inside(r.works)
	for _, p := range r.plans {
		all = append(all, p.path)
		inside(p.works)
	}
	return all
}

// arrangeAll finds out what the jobs need, and names their steps.
func (r *run) arrangeAll() {
	bySteps := make(map[string]*job, len(r.jobs))
	for _, j := range r.jobs {
		r.arrange(j)
		j.step = stepName(j, bySteps)
		bySteps[j.step] = j
	}
}

// observe looks at the events of a run. A package goes into the workspace with
// the event that says that its job or task has ended, so that at every event the
// workspace is what those have made that have ended, and nothing else.
func (r *run) observe(e dag.Event) {
	switch of := e.Of.(type) {
	case *job:
		if e.To.Ended() {
			r.over(of, e.To)
		}
	case *work:
		if e.To == dag.Executing {
			of.tried = true
		} else if e.To.Ended() {
			of.ended(e.To)
			if of.next != nil {
				r.put(of.target(), *of.next)
				of.next = nil // what others parse of it is not to be kept here too
			}
		}
	}
	if r.opts.Observe != nil {
		e.Code = codeFor(e.Code, e.Err)
		r.opts.Observe(e)
	}
	if r.opts.Save != nil && e.To == dag.Completed && !e.Clean {
		r.checkpoint(e)
	}
}

// over puts what a job has made into the workspace.
func (r *run) over(j *job, state dag.State) {
	j.ended(state)
	if j.pkg != nil && (j.err == nil || j.saved) {
		r.put(j.target, *j.pkg)
	}
}

// put makes pkg the package at target. Where there was nothing, what later tasks
// have once done to the target, or made in it, is no more, and they do it again.
func (r *run) put(target string, pkg kptpkg.Tree) {
	if !r.store.replace(target, pkg) {
		return
	}
	undo := func(dir string) {
		for _, w := range r.worksAt[dir] {
			if w.kind.makes && !w.over && w.was.Observed != nil {
				w.undone = true
				if !r.opts.Mock { // in which nothing was made
					w.was = api.TaskStatus{}
				}
			}
		}
	}
	undo(target)
	for _, dir := range belowDir(r.workDirs, target) {
		undo(dir)
	}
}

// checkpoint keeps what is finished so far: at once when an agent's work is done,
// which nobody wants to pay for twice, else now and then.
func (r *run) checkpoint(e dag.Event) {
	if len(r.plans)+len(r.works) == 0 {
		return
	}
	w, _ := e.Of.(*work)
	dear := w != nil && w.kind.request != nil
	if !dear && time.Since(r.saved) < max(time.Second, 20*r.saving) {
		return
	}
	began := time.Now()
	ws, err := r.recordedTree(true)
	if err == nil {
		err = r.opts.Save(ws)
	}
	if err != nil && r.saveErr == nil {
		r.saveErr = fmt.Errorf("keeping what is finished: %w", err)
	}
	r.saved = time.Now()
	r.saving = r.saved.Sub(began)
}

// stepName is a name for the job's step that no other has.
func stepName(j *job, taken map[string]*job) string {
	name := j.object.Ref().Kind + ":" + j.name()
	if ns := j.object.Ref().Namespace; ns != "" {
		name += ":" + ns
	}
	for i := 2; taken[name] != nil; i++ { // the same object twice: an error of both
		name = fmt.Sprintf("%s:%d", name, i)
	}
	return name
}

// stepOf is a job as a step of the graph.
func (r *run) stepOf(j *job) dag.Step {
	s := dag.Step{Name: j.step, Of: j, Do: func(ctx context.Context, _ dag.Inputs) (dag.Result, error) {
		if !j.works() {
			return dag.Result{Clean: j.action == ActionNone}, j.err
		}
		return dag.Result{}, r.do(ctx, j)
	}}
	for _, n := range j.needs {
		need := dag.Need{Step: n.step}
		if !j.works() { // what comes after it comes after those, however they end
			need.Type, need.On = dag.Conditional, ended
		}
		s.Needs = append(s.Needs, need)
	}
	return s
}

// arrange finds the jobs that have to be done before j: those that hold its
// target, that it goes on from, or whose packages its tasks name. Jobs that need
// each other in a circle fail.
func (r *run) arrange(j *job) {
	if j.arranging {
		return
	}
	j.arranging = true
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
		d := r.byName(j.revision.Metadata.Namespace, name)
		if d == nil || d == j {
			continue
		}
		reads := []*job{d}
		if d.target != j.target { // what it reads is whole when all is that has its place in it
			reads = r.within(d.target)
		}
		for _, in := range reads {
			if in != j && !slices.Contains(j.needs, in) {
				j.needs = append(j.needs, in)
			}
		}
	}
	j.needs = slices.DeleteFunc(j.needs, func(d *job) bool {
		r.arrange(d)
		if d.arranged {
			return false
		}
		for _, in := range []*job{d, j} { // the circle is broken here, so that there is an order
			in.err = cmp.Or(in.err, in.fail("spec.tasks", "the package revisions that its tasks name, or what is inside them, need this one in turn: break the circle"))
		}
		return true
	})
	j.arranged = true
}

// holding are the orders whose target is dir.
func (r *run) holding(dir string) []*job {
	r.indexTargets()
	return r.targets[dir]
}

// within are the orders whose target is dir or below it.
func (r *run) within(dir string) []*job {
	r.indexTargets()
	all := slices.Clone(r.targets[dir])
	if dir == "" {
		return all
	}
	for _, d := range belowDir(r.targetDirs, dir) {
		if d != dir && d != "" {
			all = append(all, r.targets[d]...)
		}
	}
	return all
}

// belowDir are those of sorted directories that are below dir; of "." all, itself too.
func belowDir(sorted []string, dir string) []string {
	if dir == "." {
		return sorted
	}
	return withPrefix(sorted, dir+"/")
}

// withPrefix are those of sorted texts that begin with a prefix.
func withPrefix(sorted []string, prefix string) []string {
	from, _ := slices.BinarySearch(sorted, prefix)
	to := from
	for to < len(sorted) && strings.HasPrefix(sorted[to], prefix) {
		to++
	}
	return sorted[from:to]
}

func (r *run) indexTargets() {
	if r.targets != nil {
		return
	}
	r.targets = map[string][]*job{}
	for _, j := range r.jobs {
		r.targets[j.target] = append(r.targets[j.target], j)
	}
	r.targetDirs = slices.Sorted(maps.Keys(r.targets))
}
