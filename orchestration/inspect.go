package orchestration

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Prospect is what would become of an order or a task.
type Prospect string

// The prospects.
const (
	WouldRun   Prospect = "run"
	WouldSkip  Prospect = "clean"   // it is done, nothing has changed since
	WouldOmit  Prospect = "skip"    // what it is for doesn't happen
	WouldWait  Prospect = "hold"    // somebody has to let it
	WouldBlock Prospect = "blocked" // something before it fails or waits
	WouldFail  Prospect = "fail"    // it would be refused
	MayRun     Prospect = "unknown" // that depends on what others yield
)

// word is the prospect within a sentence about something else.
func (p Prospect) word() string {
	switch p {
	case WouldSkip:
		return "is Completed"
	case WouldOmit:
		return "is skipped"
	case WouldWait:
		return "is held"
	case WouldBlock:
		return "is blocked"
	case WouldFail:
		return "would fail"
	}
	return ""
}

// Planned is an order or task and what a run would do with it.
type Planned struct {
	Path     string // of its step: PLAN/TASK, PackageRevision:NAME and so on
	Type     string // of task, or what an order comes to
	Target   string // empty: none
	Prospect Prospect
	Reason   string
	Needs    []PlannedNeed
	Priority int
	Class    string
	Finally  bool
	Critical bool // it is on the longest chain of those that would run
}

// PlannedNeed is a step that another one needs.
type PlannedNeed struct {
	Path string
	Type string // Blocking, Data or Conditional
}

// Inspect says what Run would do with a workspace, and why, and what there is to
// say about the workspace. It changes and contacts nothing. The error is Run's for
// a workspace in which nothing may run.
func Inspect(h *TaskHandler, ws kptpkg.Tree, opts Options) ([]Planned, []fn.Result, error) {
	ws, _, err := unpack(ws)
	if err != nil {
		return nil, nil, err
	}
	f, err := discover(ws, opts.Config)
	if err != nil {
		return nil, nil, err
	}
	r := newRun(h, opts, f, ws)
	r.prepare()
	r.arrangeAll()
	if err := r.preparePlans(); err != nil {
		return nil, nil, err
	}
	r.store = newStore(ws, f.own)
	v := &view{run: r, of: map[string]*Planned{}, at: map[string]string{}, below: map[string]string{}, anew: map[string]*Planned{}, waits: map[string]bool{}, held: map[*plan]string{}}
	for _, j := range r.jobs {
		v.job(j)
	}
	for _, w := range r.inOrder() {
		v.work(w)
	}
	v.critical()
	var out []Planned
	for _, j := range r.jobs {
		out = append(out, *v.of[j.step])
	}
	for w := range r.allWorks() {
		out = append(out, *v.of[w.path])
	}
	return out, append(f.notes, r.remarks()...), nil
}

// inOrder are all tasks, each after all it needs and those inside it.
func (r *run) inOrder() []*work {
	all := slices.Collect(r.allWorks())
	slices.SortFunc(all, func(a, b *work) int { return cmp.Compare(a.rank, b.rank) })
	return all
}

// view is a run as far as it can be foreseen.
type view struct {
	*run
	of        map[string]*Planned // by path
	order     []*Planned          // each after all it needs
	at, below map[string]string   // who would change a directory, and something below it
	anew      map[string]*Planned // who would make a package where there is nothing, by target
	waits     map[string]bool     // by path, what won't end before somebody lets something
	held      map[*plan]string    // what of that keeps finally tasks from their turn
}

// change notes that a target would change.
func (v *view) change(target, by string) {
	v.at[target] = cmp.Or(v.at[target], by)
	for target != "." {
		target = path.Dir(target)
		v.below[target] = cmp.Or(v.below[target], by)
	}
}

// changedBy is who would change something of a target, empty for nobody.
func (v *view) changedBy(target string) string {
	by := cmp.Or(v.at[target], v.below[target])
	for by == "" && target != "." {
		target = path.Dir(target)
		by = v.at[target]
	}
	return by
}

func (v *view) job(j *job) {
	p := &Planned{Path: j.step, Type: string(j.action), Target: j.target, Prospect: WouldRun}
	v.of[j.step] = p
	v.order = append(v.order, p)
	for _, n := range j.needs {
		p.Needs = append(p.Needs, PlannedNeed{n.step, dag.Blocking.String()})
	}
	switch {
	case j.err != nil:
		p.Prospect, p.Reason = WouldFail, firstLine(j.err)
	case j.action == ActionNone:
		p.Prospect, p.Reason = WouldSkip, j.note
	default:
		p.Reason = map[Action]string{
			ActionCreate: "the package is to be made", ActionUpdate: "the object has changed",
			ActionReplace: "the resources are to become the package", ActionRebuild: "only the record is missing",
		}[j.action]
		if why := v.refusedCreation(j); why != "" {
			p.Prospect, p.Reason = WouldFail, why
			return
		}
		v.change(j.target, j.step)
		v.makes(j.target, p)
	}
}

func (v *view) work(w *work) {
	p := &Planned{
		Path: w.path, Type: string(w.spec.Type), Target: w.target(),
		Priority: w.spec.Priority, Class: cmp.Or(w.spec.Class, string(w.spec.Type)), Finally: w.spec.Finally,
	}
	v.of[w.path] = p
	v.order = append(v.order, p)
	p.Prospect, p.Reason = v.foresee(w, p)
	if p.Prospect == WouldRun {
		if why := v.refused(w); why != "" {
			p.Prospect, p.Reason = WouldFail, why
		}
	}
	if p.Prospect != WouldSkip && p.Prospect != WouldOmit && p.Prospect != WouldFail && w.target() != "" {
		v.change(w.target(), w.path)
		if w.kind.makes && (p.Prospect == WouldRun || p.Prospect == MayRun) {
			v.makes(w.target(), p)
		}
	}
}

// makes notes what makes a package where there is nothing.
func (v *view) makes(target string, p *Planned) {
	if v.anew[target] == nil && v.store.vacant(target) {
		v.anew[target] = p
	}
}

// madeAnew is what makes a target, or a directory around it, where there is
// nothing; nil for nobody.
func (v *view) madeAnew(target string) *Planned {
	for {
		if p := v.anew[target]; p != nil || target == "" || target == "." {
			return p
		}
		target = path.Dir(target)
	}
}

// planCancelled is why the tasks of a cancelled plan aren't begun.
const planCancelled = "the plan is cancelled (spec.cancel)"

// end is how the step would end; sure says that it can't end otherwise.
func (p *Planned) end() (state dag.State, sure bool) {
	switch p.Prospect {
	case WouldSkip:
		return dag.Completed, true
	case WouldOmit:
		return dag.Skipped, true
	case WouldFail:
		return dag.Failed, true
	case WouldBlock:
		if p.Reason == planCancelled {
			return dag.Cancelled, true
		}
		return dag.Blocked, true
	}
	return dag.Completed, false
}

// begins says whether a task would begin, by what comes before it; WouldRun is that
// it would.
func (v *view) begins(w *work, p *Planned) (Prospect, string) {
	to, why, waits, depends := dag.Ready, "", "", ""
	seen := map[string]bool{}
	for _, n := range v.stepNeeds(w) {
		at := n.Step
		if w.plan != nil && w.plan.byName[n.Step] != nil {
			at = w.plan.byName[n.Step].path
		}
		if !seen[at] {
			seen[at] = true
			p.Needs = append(p.Needs, PlannedNeed{at, n.Type.String()})
		}
		d := v.of[at]
		if d == nil {
			continue
		}
		if v.waits[at] {
			waits = cmp.Or(waits, fmt.Sprintf("needs %s, which %s", at, d.Prospect.word()))
			continue
		}
		end, sure := d.end()
		switch s := n.Judge(end); {
		case s == dag.Ready || to == dag.Blocked || s == to:
		case !sure:
			depends = "that depends on how " + at + " ends"
		case n.Type == dag.Conditional:
			to, why = s, fmt.Sprintf("the condition isn't met: %s %s", at, d.Prospect.word())
		default:
			to, why = s, fmt.Sprintf("needs %s, which %s", at, d.Prospect.word())
		}
	}
	if w.spec.Finally {
		waits = cmp.Or(waits, v.held[w.plan])
	}
	hold := w.hold()
	if hold == "" && w.unapproved(w.spec) != "" {
		hold = w.unapproved(v.boundNow(w))
	}
	switch {
	case w.plan != nil && w.plan.cancelled() && !w.spec.Finally:
		return WouldBlock, planCancelled
	case waits == "" && to == dag.Skipped:
		return WouldOmit, why
	case waits == "" && to == dag.Blocked:
		return WouldBlock, why
	case hold != "":
		v.wait(w)
		return WouldWait, hold
	case waits != "":
		v.wait(w)
		return WouldBlock, waits
	case depends != "":
		return MayRun, depends
	}
	return WouldRun, ""
}

// wait notes that a task won't end, and so finally tasks of its plan won't begin,
// before somebody lets something.
func (v *view) wait(w *work) {
	v.waits[w.path] = true
	if w.plan != nil && !w.spec.Finally {
		v.held[w.plan] = cmp.Or(v.held[w.plan], "comes after "+w.path+", which waits")
	}
}

// inside gives the tasks of a compound one that doesn't begin the same prospect.
func (v *view) inside(inner *plan, outer *Planned, is Prospect) {
	for _, in := range inner.works {
		p := v.of[in.path]
		if p.Prospect == is || p.Prospect == WouldSkip && is != WouldOmit {
			continue
		}
		p.Prospect, p.Reason = is, "it is part of "+outer.Path
		if in.inner != nil {
			v.inside(in.inner, outer, is)
		}
	}
}

// foresee says what would become of a task, and why.
func (v *view) foresee(w *work, p *Planned) (Prospect, string) {
	if is, why := v.begins(w, p); is != WouldRun {
		if w.inner != nil {
			v.inside(w.inner, p, is)
		}
		return is, why
	}
	if w.inner != nil {
		return v.compound(w)
	}
	is := api.Observed{Spec: w.spec.Digest()}
	if was := w.was.Observed; was == nil || w.was.Mock || was.Spec != is.Spec {
		return WouldRun, w.saysElse(w.spec, &is) // whatever its inputs are
	}
	if by := v.madeAnew(w.target()); by != nil && w.kind.makes {
		return by.Prospect, by.Path + " makes " + by.Target + " anew"
	}
	for _, b := range w.spec.Bindings() {
		if d := v.producer(w, b); d != nil && d.Prospect != WouldSkip {
			return MayRun, "it uses what " + d.Path + " yields"
		}
	}
	bound, err := v.bind(w, v.inputs(w))
	if err != nil {
		return WouldRun, firstLine(err)
	}
	if digest := bound.Digest(); digest != is.Spec {
		is.Inputs = digest
	}
	if why := w.saysElse(bound, &is); why != "" {
		return WouldRun, why
	}
	if w.endsAgain() {
		if is := v.tried(w.plan); is != WouldSkip {
			return is, planRan
		}
	}
	if why := v.gone(w); why != "" {
		return WouldFail, why
	}
	if !w.kind.again || w.target() == "" {
		return WouldSkip, ""
	}
	if by := v.changedBy(w.target()); by != "" {
		return MayRun, by + " may change " + w.target()
	}
	if why := v.contentChanged(w); why != "" {
		return WouldRun, why
	}
	return WouldSkip, ""
}

// tried says whether anything would run of what a plan's finally tasks come after.
func (v *view) tried(p *plan) Prospect {
	is := WouldSkip
	for _, w := range p.works {
		if d := v.of[w.path]; d == nil || w.spec.Finally {
			continue
		} else if d.Prospect == WouldRun || d.Prospect == WouldFail {
			return WouldRun
		} else if d.Prospect == MayRun {
			is = MayRun
		}
	}
	return is
}

// compound is what would become of a compound task, by what is in it.
func (v *view) compound(w *work) (Prospect, string) {
	is, why := WouldSkip, ""
	order := []Prospect{WouldSkip, MayRun, WouldRun, WouldWait, WouldBlock, WouldFail}
	for _, in := range w.inner.works {
		if v.waits[in.path] {
			v.wait(w)
		}
		if p := v.of[in.path]; p != nil && slices.Index(order, p.Prospect) > slices.Index(order, is) {
			is, why = p.Prospect, in.name+": "+p.Reason
		}
	}
	return is, why
}

// producer is the task that a binding refers to, nil for the plan's own values
// that come from nowhere else.
func (v *view) producer(w *work, b api.BoundField) *Planned {
	if b.Task != "plan" {
		if d := w.plan.byName[b.Task]; d != nil {
			return v.of[d.path]
		}
		return nil
	}
	for p := w.plan; p != nil && p.outer != nil && b.Path[0] == "params"; p = p.around() {
		for _, in := range api.BindingsIn(p.outer.spec.Compound.Params) {
			if in.Task == "plan" || p.outer.plan == nil {
				continue
			}
			if d := p.outer.plan.byName[in.Task]; d != nil && v.of[d.path] != nil && v.of[d.path].Prospect != WouldSkip {
				return v.of[d.path]
			}
		}
	}
	return nil
}

// inputs are what a task would get of tasks that completed before.
func (v *view) inputs(w *work) dag.Inputs {
	if w.plan == nil {
		return dag.Inputs{}
	}
	var outer *dag.Inputs
	if w.plan.outer != nil {
		in := v.inputs(w.plan.outer)
		outer = &in
	}
	needs := make(map[string]dag.Outputs, len(w.needs))
	for _, d := range w.needs {
		needs[d.name] = d.was.Outputs
	}
	return dag.InputsOf(needs, outer)
}

// cancelled says whether the plan, or one around it, is cancelled.
func (p *plan) cancelled() bool {
	if c := p.spec.Cancel; c != nil && c.Requested {
		return true
	}
	return p.outer != nil && p.outer.plan != nil && p.outer.plan.cancelled()
}

// critical marks the longest chain of tasks and orders that would run.
func (v *view) critical() {
	length, before := map[*Planned]int{}, map[*Planned]*Planned{}
	var last *Planned
	for _, p := range v.order {
		if p.Prospect != WouldRun && p.Prospect != MayRun {
			continue
		}
		length[p] = 1
		for _, n := range p.Needs {
			if d := v.of[n.Path]; d != nil && length[d]+1 > length[p] && length[d] > 0 {
				length[p], before[p] = length[d]+1, d
			}
		}
		if last == nil || length[p] > length[last] {
			last = p
		}
	}
	for ; last != nil; last = before[last] {
		last.Critical = true
	}
}
