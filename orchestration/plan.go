package orchestration

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// plan is a Plan being carried out, by itself or as a compound task.
type plan struct {
	*order // the object that declares it
	spec   *api.PlanSpec
	name   string // of the object, or of the compound task
	path   string // of its step
	outer  *work  // the compound task that it is, nil for one by itself
	works  []*work
	byName map[string]*work

	once   sync.Once      // for params
	given  map[string]any // see planner.given
	params map[string]any // with the compound task's
	wrong  error          // why there are none
	state  dag.StepReport // what came of it
	// stalled says that it hasn't ended although nothing holds it: its slots are
	// those of executors that never returned
	stalled bool
}

// work is a task being carried out.
type work struct {
	*order // the object that declares it: its own, or its plan's
	spec   *api.TaskSpec
	kind   *workType // that spec has
	field  string    // where in the object spec is
	plan   *plan     // that it is part of, nil for one by itself
	name   string
	path   string // of its step
	dir    string // that it works on, empty for none
	was    api.TaskStatus
	inner  *plan // what a compound runs

	bindings []api.BoundField
	needs    []*work // those of its plan, for checks
	jobs     []*job  // PackageRevisions that it needs
	reads    []*job  // those that it copies from
	rank     int     // among all tasks, each after all it needs
	reach    int     // see planner.reach

	last    atomic.Pointer[attempt] // that returned
	attempt                         // what came of it, once it has ended
	over    bool                    // it has
	tried   bool                    // an attempt has begun
	undone  bool                    // what it once did to its target is no more
	state   dag.StepReport
}

// attempt is what came of one attempt at a task.
type attempt struct {
	done    bool // it completed
	clean   bool // there was nothing to do
	dirty   string
	outcome *Outcome
	outputs map[string]any
	seen    *api.Observed
	next    *kptpkg.Tree // the target's package, nil for no target
}

// specField is where in its object the plan's spec is.
func (p *plan) specField() string {
	if p.outer != nil && p.outer.spec.Compound.Plan != nil {
		return p.outer.field + ".compound.plan"
	}
	return "spec"
}

// around is the plan that the plan is a task of, nil if there is none.
func (p *plan) around() *plan {
	if p.outer == nil {
		return nil
	}
	return p.outer.plan
}

// outputNames are the outputs that a task hands on; all says that there are no
// others.
func (w *work) outputNames() (names []string, all bool) {
	declared := slices.Sorted(maps.Keys(w.spec.Outputs))
	if len(declared) > 0 {
		return declared, true
	}
	if w.kind.outputs == nil {
		return nil, true
	}
	return w.kind.outputs(w)
}

// answerSchema is the JSON Schema that the answer of an agent has to keep to, nil
// where the task asks for none.
func (w *work) answerSchema() map[string]any {
	if w.kind.request == nil {
		return nil
	}
	return w.kind.request(w.spec).Schema
}

// revisions are the names of the PackageRevisions that the task refers to.
func (w *work) revisions() []string {
	t, ok := w.spec.PorchTask()
	if !ok {
		return nil
	}
	return references(&api.PackageRevision{Spec: api.PackageRevisionSpec{Tasks: []api.Task{t}}}, 0)
}

// target is the directory that the task works on, empty for none.
func (w *work) target() string { return w.dir }

// context is what the run says about itself to the tasks of a plan.
func (r *run) context(p *plan) map[string]string {
	all := map[string]string{}
	for q := p; q != nil; q = q.around() {
		for k, v := range q.spec.Context {
			if _, inner := all[k]; !inner {
				all[k] = v
			}
		}
	}
	maps.Copy(all, r.opts.Context)
	return all
}

// ofPlan is what a binding to a plan's params or context refers to.
func (r *run) ofPlan(p *plan, b api.Binding, params map[string]any) (any, error) {
	values := map[string]any{"params": params}
	if b.Path[0] == "context" {
		values["context"] = r.context(p)
	}
	return b.In(values)
}

// allWorks are all tasks, those inside others after them.
func (r *run) allWorks() func(yield func(*work) bool) {
	return func(yield func(*work) bool) {
		var each func(ws []*work) bool
		each = func(ws []*work) bool {
			for _, w := range ws {
				if !yield(w) || w.inner != nil && !each(w.inner.works) {
					return false
				}
			}
			return true
		}
		if !each(r.works) {
			return
		}
		for _, p := range r.plans {
			if !each(p.works) {
				return
			}
		}
	}
}
