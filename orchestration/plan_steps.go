package orchestration

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// planSteps are the steps of plans and of tasks by themselves.
func (r *run) planSteps() []dag.Step {
	var steps []dag.Step
	for _, w := range r.works {
		steps = append(steps, r.workStep(w))
	}
	for _, p := range r.plans {
		s := dag.Step{Name: p.path, Of: p, Graph: r.planGraph(p), Do: func(context.Context, dag.Inputs) (dag.Result, error) {
			return dag.Result{Clean: p.allClean()}, nil
		}}
		seen := map[*job]bool{}
		var each func(p *plan)
		each = func(p *plan) {
			for _, w := range p.works {
				for _, j := range w.jobs {
					if !seen[j] {
						seen[j] = true
						s.Needs = append(s.Needs, dag.Need{Step: j.step, Type: dag.Conditional, On: ended})
					}
				}
				if w.inner != nil {
					each(w.inner)
				}
			}
		}
		each(p)
		steps = append(steps, s)
	}
	return steps
}

// ended are all ends of a step.
var ended = []dag.State{dag.Completed, dag.Failed, dag.Blocked, dag.Skipped, dag.Cancelled}

// planGraph is the graph of a plan's tasks.
func (r *run) planGraph(p *plan) *dag.Graph {
	g := &dag.Graph{
		Parallel: p.spec.Parallelism, FailFast: p.spec.FailurePolicy == api.FailFast,
		Timeout: p.spec.Timeout.Value(),
	}
	if g.Parallel == 0 && p.outer == nil {
		g.Parallel = defaultParallel
	}
	if c := p.spec.Cancel; c != nil && c.Requested {
		g.Cancelled = errors.New(cmp.Or(c.Reason, "spec.cancel asks for it"))
	}
	for _, l := range p.spec.Limits {
		if g.Limits == nil {
			g.Limits = map[string]int{}
		}
		g.Limits[l.Class] = l.Max
	}
	g.Steps = make([]dag.Step, 0, len(p.works))
	for _, w := range p.works {
		g.Steps = append(g.Steps, r.workStep(w))
	}
	return g
}

// workStep is a task as a step of the graph.
func (r *run) workStep(w *work) dag.Step {
	s := dag.Step{
		Name: w.name, Of: w, Priority: int32(min(max(w.spec.Priority, math.MinInt32), math.MaxInt32)), Finally: w.spec.Finally,
		Needs: r.stepNeeds(w), Hold: w.hold(), Attempts: w.before(),
	}
	if w.plan == nil {
		s.Name = w.path
	}
	if w.inner != nil {
		s.Graph, s.Timeout, s.Deadline = r.planGraph(w.inner), w.spec.Timeout.Value(), w.spec.Deadline.Value()
		s.Do = func(_ context.Context, in dag.Inputs) (dag.Result, error) { return r.gather(w, in) }
		return s
	}
	s.Class = cmp.Or(w.spec.Class, string(w.spec.Type))
	s.Timeout, s.Deadline, s.Retry = r.timeout(w), w.spec.Deadline.Value(), w.retry()
	s.Do = func(ctx context.Context, in dag.Inputs) (dag.Result, error) { return r.carry(ctx, w, in) }
	return s
}

// before is how many attempts earlier runs have made that failed, of a task that
// was left waiting for another.
func (w *work) before() int {
	if w.was.Phase != dag.Pending.String() || w.was.Mock || w.inner != nil {
		return 0
	}
	return w.was.Attempts
}

// hold is why a task isn't started though it is ready. What an approval is about may
// only be known then, see carry.
func (w *work) hold() string {
	switch s := w.spec; {
	case w.plan != nil && w.plan.suspended():
		return "the plan is suspended (spec.suspend)"
	case s.Suspend:
		return "it is suspended (" + w.field + ".suspend)"
	case s.Approve == nil || len(w.bindings) == 0:
		return w.unapproved(s)
	}
	return ""
}

// unapproved is what the task, as spec says it, waits for until it is approved, empty
// where it needn't be.
func (w *work) unapproved(spec *api.TaskSpec) string {
	what := ""
	switch a := spec.Approve; {
	case spec.Type != api.WorkApprove || a != nil && a.Approved:
		return ""
	case a != nil && a.Message != "":
		what = " (" + strings.Join(strings.Fields(a.Message), " ") + ")"
	}
	return "waits for approval" + what + ": set " + w.field + ".approve.approved to true"
}

// suspended says whether the plan, or one around it, is to start nothing.
func (p *plan) suspended() bool {
	return p.spec.Suspend || p.outer != nil && (p.outer.spec.Suspend || p.outer.plan != nil && p.outer.plan.suspended())
}

// stepNeeds are what a task needs, bindings included.
func (r *run) stepNeeds(w *work) []dag.Need {
	needs := make([]dag.Need, 0, len(w.spec.Needs)+len(w.jobs)+len(w.bindings))
	for _, n := range w.spec.Needs {
		d := dag.Need{Step: n.Task, Key: n.OutputKey, Default: n.Default, Optional: n.Default != nil}
		if w.plan == nil || w.plan.byName[n.Task] == nil {
			for _, j := range w.jobs {
				if j.name() == n.Task {
					d.Step = j.step
				}
			}
		}
		switch n.Kind() {
		case api.NeedData:
			d.Type = dag.Data
		case api.NeedConditional:
			d.Type = dag.Conditional
			for _, name := range n.On {
				for _, s := range ended {
					if s.String() == name {
						d.On = append(d.On, s)
					}
				}
			}
		}
		needs = append(needs, d)
	}
	if len(w.jobs) > 0 {
		named := make(map[string]bool, len(needs))
		for _, n := range needs {
			named[n.Step] = true
		}
		for _, j := range w.jobs {
			if !named[j.step] {
				named[j.step] = true
				needs = append(needs, dag.Need{Step: j.step})
			}
		}
	}
	type output struct{ task, key string }
	var bound map[output]int // nil for a single one
	if len(w.bindings) > 1 {
		bound = make(map[output]int, len(w.bindings))
	}
	for _, b := range w.bindings {
		if b.Task == "plan" {
			continue
		}
		key, _ := b.Path[0].(string)
		o := output{b.Task, key}
		if i, ok := bound[o]; ok {
			needs[i].Optional = needs[i].Optional && (b.HasDefault || w.needDefault(b.Task, key))
			continue
		}
		if bound != nil {
			bound[o] = len(needs)
		}
		needs = append(needs, dag.Need{Step: b.Task, Type: dag.Data, Key: key, Optional: b.HasDefault || w.needDefault(b.Task, key)})
	}
	return needs
}

// needDefault says whether a need gives the output a default.
func (w *work) needDefault(task, key string) bool {
	return slices.ContainsFunc(w.spec.Needs, func(n api.TaskNeed) bool {
		return n.Task == task && n.OutputKey == key && n.Default != nil
	})
}

// The defaults of tasks, as in the original orchestrator.
const (
	defaultParallel = 10
	defaultTimeout  = 300 * time.Second
	defaultRetries  = 3
)

// timeout is that of one attempt.
func (r *run) timeout(w *work) time.Duration {
	if d := w.spec.Timeout.Value(); d > 0 {
		return d
	}
	for p := w.plan; p != nil; p = p.around() {
		if def := p.spec.Defaults; def != nil && def.Timeout != "" {
			return def.Timeout.Value()
		}
	}
	return cmp.Or(r.opts.TaskTimeout, defaultTimeout)
}

// What is tried again unless a task says otherwise: what may go better another
// time, and what others than stoop do, of whose errors nobody knows.
var (
	remoteCauses = []dag.Cause{dag.Timeout, dag.Unavailable, dag.Transient}
	agentCauses  = append(slices.Clone(remoteCauses), dag.Other)
)

// retry is what is tried again.
func (w *work) retry() dag.Retry {
	policy := w.spec.Retry
	for p := w.plan; p != nil && policy == nil; p = p.around() {
		if def := p.spec.Defaults; def != nil {
			policy = def.Retry
		}
	}
	causes, limit := remoteCauses, 0
	if w.kind.executed() {
		limit, causes = defaultRetries, agentCauses
	} else if w.kind.fetches {
		limit = defaultRetries
	}
	if policy == nil {
		return dag.Retry{Limit: limit, On: causes}
	}
	retry := dag.Retry{Limit: policy.Limit, Delay: policy.Delay.Value(), Factor: policy.Factor, MaxDelay: policy.MaxDelay.Value(), On: causes}
	if policy.On != nil {
		retry.On = nil
		for _, c := range policy.On {
			retry.On = append(retry.On, dag.Cause(c))
		}
	}
	return retry
}
