package orchestration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// settled gives all tasks and plans what the graph's report says of them.
func (r *run) settled(rep *dag.Report) {
	for i := range rep.Steps {
		s := &rep.Steps[i]
		switch of := s.Of.(type) {
		case *plan:
			of.state = *s
		case *work:
			of.state = *s
			if of.inner != nil {
				of.inner.state = *s
			}
		}
	}
	for _, p := range r.plans {
		p.stalled = rep.Phase == dag.RunFailed && !p.state.State.Ended()
		// a plan is a step and no task
		st := &rep.Stats
		switch {
		case p.state.Clean:
			st.Clean--
		case p.state.Attempts > 0:
			st.Executed--
		}
		for state, n := range map[dag.State]*int{
			dag.Completed: &st.Completed, dag.Failed: &st.Failed, dag.Blocked: &st.Blocked, dag.Skipped: &st.Skipped, dag.Cancelled: &st.Cancelled,
		} {
			if p.state.State == state {
				*n--
			}
		}
		if !p.state.State.Ended() {
			st.Unfinished--
		}
	}
}

// planDocs are the objects of plans and tasks with their statuses; running says
// that the run isn't over.
func (r *run) planDocs(running bool) ([]placedDoc, error) {
	var docs []placedDoc
	put := func(o *order, was, is api.Object) error {
		if api.Equal(was, is) {
			return nil
		}
		d, err := withStatus(o.doc, statusNode(is))
		if err == nil {
			docs = append(docs, placedDoc{o.file, o.number, d})
		}
		return err
	}
	task := func(w *work) error {
		t, own := w.object.(*api.PlanTask)
		if !own || w.plan != nil && w.plan.outer != nil {
			return nil
		}
		st, err := r.statusOf(w, running)
		if err != nil {
			return err
		}
		return put(w.order, &api.PlanTask{Status: t.Status}, &api.PlanTask{Status: st})
	}
	for _, w := range r.works {
		if err := task(w); err != nil {
			return nil, err
		}
	}
	for _, p := range r.plans {
		for _, w := range p.works {
			if err := task(w); err != nil {
				return nil, err
			}
		}
		st, err := r.planStatus(p, running)
		if err != nil {
			return nil, err
		}
		was := p.object.(*api.Plan).Status
		if err := put(p.order, &api.Plan{Status: was}, &api.Plan{Status: st}); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// statusNode is the status of an object, nil when it is empty.
func statusNode(o api.Object) *yaml.Node {
	f := yaml.NewRNode(api.Node(o)).Field("status")
	if f == nil {
		return nil
	}
	return f.Value.YNode()
}

// withStatus is a document with another status.
func withStatus(d *yamldoc.Doc, st *yaml.Node) (*yamldoc.Doc, error) {
	root, err := d.Root()
	if err != nil {
		return nil, err
	}
	// all else is shared with the document, which may be large
	top := *root
	top.Content = slices.Clone(root.Content)
	for i := 1; i < len(top.Content); i += 2 {
		if top.Content[i-1].Value == "status" {
			old := *top.Content[i]
			top.Content[i] = &old
		}
	}
	n := yaml.NewRNode(&top)
	if st == nil {
		err = n.PipeE(yaml.Clear("status"))
	} else {
		err = n.PipeE(yaml.SetField("status", yaml.NewRNode(st)))
	}
	if err != nil {
		return nil, err
	}
	return d.WithAnew(&top), nil
}

// statusOf is a task's status after the run.
func (r *run) statusOf(w *work, running bool) (api.TaskStatus, error) {
	state := w.state.State
	finished := !running || w.over // else it is at work and nobody may look
	if running {
		state = dag.Pending
		if finished && w.done {
			state = dag.Completed
		}
	}
	var st api.TaskStatus
	switch {
	case state == dag.Completed:
		st = r.completed(w)
	case running, w.stays():
		st = w.was // it hasn't had its turn
	default:
		st = w.incomplete()
	}
	if st.Observed != nil && w.kind.again && w.target() != "" && finished && w.done && !r.opts.Mock {
		d, err := r.store.digest(w.target())
		if err != nil {
			return st, err
		}
		if d != st.Observed.Content {
			seen := *st.Observed
			seen.Content = d
			st.Observed = &seen
		}
	}
	if w.inner == nil {
		return st, nil
	}
	var err error
	if st.Tasks, err = r.inlineStatuses(w.inner, running); err != nil {
		return st, err
	}
	if running && st.Phase == "" && len(st.Tasks) > 0 { // what is done in it is to be kept
		st.Phase = dag.Executing.String()
	}
	return st, nil
}

// completed is the status of a task that has completed.
func (r *run) completed(w *work) api.TaskStatus {
	st := api.TaskStatus{Phase: dag.Completed.String()}
	switch {
	case !w.done: // a gate that is part of dag
	case w.clean:
		// the outputs of a compound may be new though all in it was done before
		st.Outputs, st.Observed = w.outputs, w.was.Observed
	case r.opts.Mock:
		if w.was.Observed != nil && !w.was.Mock { // it did more than that before
			return w.was
		}
		st.Mock, st.Outputs = true, w.outputs
	default:
		st.Outputs = w.outputs
		if w.seen != nil {
			seen := *w.seen
			st.Observed = &seen
		}
	}
	return st
}

// incomplete is the status of a task that failed or didn't get so far. What it was
// when it completed outlives what came after.
func (w *work) incomplete() api.TaskStatus {
	state := w.state.State
	st := api.TaskStatus{Phase: state.String()}
	if !w.was.Mock {
		st.Outputs, st.Observed = w.was.Outputs, w.was.Observed
	}
	if state == dag.Failed {
		st.Attempts, st.Code, st.Message = w.state.Attempts, codeOf(w.state), api.HidePasswords(w.ownLine())
		return st
	}
	st.Message = api.HidePasswords(w.why())
	if state == dag.Pending && w.inner == nil {
		st.Attempts = w.state.Attempts
	}
	if w.state.Err != nil {
		st.Code = codeOf(w.state)
	}
	if state == dag.Cancelled {
		st.Code = string(dag.CancelledRun)
	}
	return st
}

// stays says whether the task hasn't had its turn, and completed before: that
// still holds, but for an approval that was taken back.
func (w *work) stays() bool {
	state := w.state.State
	return w.was.Phase == dag.Completed.String() && (state == dag.Cancelled || !state.Ended()) &&
		!(w.spec.Type == api.WorkApprove && state == dag.Ready)
}

// why is why a task is where it is; if it waits for another attempt, with what the
// last one failed of.
func (w *work) why() string {
	if w.state.Err == nil || w.state.State.Ended() {
		return w.state.Reason
	}
	return w.state.Reason + ": " + w.ownLine()
}

// inlineStatuses are the states of the tasks that have no object of their own.
func (r *run) inlineStatuses(p *plan, running bool) ([]api.InlineTaskStatus, error) {
	var out []api.InlineTaskStatus
	for _, w := range p.works {
		if _, own := w.object.(*api.PlanTask); own && p.outer == nil {
			continue
		}
		st, err := r.statusOf(w, running)
		if err != nil {
			return nil, err
		}
		if st.Phase != "" {
			out = append(out, api.InlineTaskStatus{Name: w.name, TaskStatus: st})
		}
	}
	return out, nil
}

// planStatus is a plan's status after the run.
func (r *run) planStatus(p *plan, running bool) (api.PlanStatus, error) {
	tasks, err := r.inlineStatuses(p, running)
	if err != nil {
		return api.PlanStatus{}, err
	}
	st := api.PlanStatus{Tasks: tasks, Mock: r.opts.Mock && !running}
	if running {
		st.Phase = "Running"
		return st, nil
	}
	st.Phase = p.phase()
	if !p.state.State.Ended() {
		st.Message = api.HidePasswords(p.waiting())
	}
	if p.state.State == dag.Failed || p.state.State == dag.Cancelled {
		st.Message = cmp.Or(p.summary(), api.HidePasswords(p.state.Reason))
	}
	st.Counts = p.counts()
	if st.Mock && !p.mocked() {
		st.Mock = false
	}
	return st, nil
}

// phase is how the run of the plan ended.
func (p *plan) phase() string {
	switch {
	case p.stalled:
		return string(dag.RunFailed)
	case !p.state.State.Ended():
		return string(dag.RunSuspended)
	}
	return p.state.State.String()
}

// mocked says whether some task of the plan was not really done.
func (p *plan) mocked() bool {
	return slices.ContainsFunc(p.works, func(w *work) bool {
		return w.done && !w.clean || w.inner != nil && w.inner.mocked()
	})
}

// counts are a plan's tasks by state, those inside compounds included.
func (p *plan) counts() map[string]int {
	out := map[string]int{}
	for _, w := range p.works {
		state := w.state.State
		if w.stays() {
			state = dag.Completed
		}
		out[strings.ToLower(state.String())]++
		if w.inner != nil {
			for k, n := range w.inner.counts() {
				out[k] += n
			}
		}
	}
	return out
}

// waiting is what a suspended plan waits for.
func (p *plan) waiting() string {
	for _, w := range p.works {
		if w.state.State == dag.Ready && w.state.Reason != "" || w.state.Err != nil && !w.state.State.Ended() {
			return w.name + ": " + w.why()
		}
		if w.inner != nil && w.state.State == dag.Pending {
			if why := w.inner.waiting(); why != "" {
				return w.name + "/" + why
			}
		}
	}
	return "the run was suspended"
}

// summary names the tasks that failed.
func (p *plan) summary() string {
	var failed []string
	for _, w := range p.works {
		if w.state.State == dag.Failed {
			failed = append(failed, w.name)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return fmt.Sprintf("%s failed: %s", count(len(failed), "task"), some(failed))
}

// withGates tells the declaring package's readiness gates about the plans: its
// Kptfile gets the condition stoop.dev.plan.NAME where a gate asks for it.
func (r *run) withGates(ws kptpkg.Tree) (kptpkg.Tree, error) {
	if len(r.plans) == 0 || r.opts.Stateless || ws.File(kptpkg.KptfileName) == nil {
		return ws, nil
	}
	k, err := ws.Kptfile(".")
	if err != nil || len(k.Info.ReadinessGates) == 0 {
		return ws, nil // what is wrong with it is said where it matters
	}
	asked := map[string]bool{}
	for _, g := range k.Info.ReadinessGates {
		asked[g.ConditionType] = true
	}
	for _, p := range r.plans {
		typ := planCondition + p.name
		if !asked[typ] {
			continue
		}
		c := kptpkg.Condition{Type: typ, Status: "False", Reason: p.phase(), Message: api.HidePasswords(p.said(r.opts.Mock))}
		if p.state.State == dag.Completed && !r.opts.Mock {
			c.Status, c.Message = "True", ""
		}
		ws, err = ws.EditKptfile(".", func(e *kptpkg.KptfileEditor) error {
			e.SetCondition(c)
			return nil
		})
		if err != nil {
			return ws, err
		}
	}
	return ws, nil
}

// planCondition begins the type of the condition that says how a plan went.
const planCondition = "stoop.dev.plan."
