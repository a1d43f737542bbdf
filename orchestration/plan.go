package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/agent"
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

	once   sync.Once             // for params
	given  map[string]givenParam // see planner.given
	params map[string]any        // with the compound task's
	wrong  error                 // why there are none
	state  dag.StepReport        // what came of it
	// stalled says that it hasn't ended although nothing holds it: its slots are
	// those of executors that never returned
	stalled bool
}

// givenParam is a param, or why it isn't known.
type givenParam struct {
	value any
	err   error
}

// work is a task being carried out.
type work struct {
	*order // the object that declares it: its own, or its plan's
	spec   *api.TaskSpec
	field  string // where in the object spec is
	plan   *plan  // that it is part of, nil for one by itself
	name   string
	path   string // of its step
	dir    string // that it works on, empty for none
	was    api.TaskStatus
	inner  *plan // what a compound runs

	bindings []api.BoundField
	needs    []*work // those of its plan, for checks
	jobs     []*job  // PackageRevisions that it needs
	rank     int     // among all tasks, each after all it needs
	reach    int     // see planner.reach

	last    atomic.Pointer[attempt] // that returned
	attempt                         // what came of it, once it has ended
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

// planner makes plans of the objects that declare them, and collects what is
// wrong with them before anything runs.
type planner struct {
	*run
	tasks map[string][]*order // Task objects by their plan
	plans map[string]*order   // Plan objects by name
	ranBy map[string]bool     // plans that a compound runs
	errs  []error
	count int
	// schemas are those that were checked, by their JSON, and what is wrong
	schemas map[string]error

	reaches int     // see reach
	queue   []*work // of reach, to be used again
}

// refuse notes a problem with a field of an object.
func (b *planner) refuse(o *order, code, field, format string, args ...any) {
	b.errs = append(b.errs, at(codedError(o.object, code, field, fmt.Sprintf(format, args...), nil), o.file, o.index))
}

// codedError is resultError with a code of the catalogue.
func codedError(o api.Object, code, field, message string, cause error) error {
	r := fn.ResultOf(resultError(o, field, message, cause))
	r.Tags = map[string]string{api.CodeTag: code}
	return &fn.ResultError{Result: r, Err: cause}
}

// The codes that this package gives errors, beside those of packages dag and
// api.
const (
	codeConflict    = "E5206" // tasks that write the same, in no order
	codeUnavailable = "E5901" // nobody is there to carry out the task
	codeNoTask      = "E5302" // a name that no task, plan or revision has
	codeBinding     = "E5402"
	codeMissing     = "E5405"
)

// preparePlans makes the plans and the tasks by themselves. What is wrong with
// any of them is an error, and nothing may run.
func (r *run) preparePlans() error {
	b := &planner{run: r, schemas: map[string]error{}, tasks: map[string][]*order{}, plans: map[string]*order{}, ranBy: map[string]bool{}}
	seen := map[string]*order{}
	for _, o := range r.found.plans {
		ref := o.object.Ref()
		key := ref.Kind + "\x00" + ref.Name
		if t, ok := o.object.(*api.PlanTask); ok {
			key += "\x00" + t.Spec.Plan
		}
		if first := seen[key]; first != nil {
			b.refuse(o, "E5303", "metadata.name", "%s %s is declared in %s too: keep one", ref.Kind, ref.Name, first.file)
			continue
		}
		seen[key] = o
		b.errs = append(b.errs, at(o.object.Validate(), o.file, o.index))
		switch obj := o.object.(type) {
		case *api.Plan:
			b.plans[ref.Name] = o
		case *api.PlanTask:
			b.tasks[obj.Spec.Plan] = append(b.tasks[obj.Spec.Plan], o)
		}
	}
	if err := errors.Join(b.errs...); err != nil {
		return err
	}
	b.errs = nil
	b.build()
	r.byPath = make(map[string]*work, b.count)
	for w := range r.allWorks() {
		r.byPath[w.path] = w
	}
	if len(b.errs) == 0 {
		b.checkGraph()
	}
	if len(b.errs) == 0 {
		b.checkTargets()
	}
	return errors.Join(b.errs...)
}

// build makes the plans and tasks of objects.
func (b *planner) build() {
	whole := func(o *order) *plan {
		obj := o.object.(*api.Plan)
		p := b.plan(o, &obj.Spec, obj.Metadata.Name, obj.Metadata.Name, nil, obj.Metadata.Name)
		b.statuses(p, obj.Status.Tasks)
		return p
	}
	used := b.findUsed()
	for _, o := range b.found.plans {
		switch obj := o.object.(type) {
		case *api.Plan:
			if !used[obj.Metadata.Name] && (b.opts.Only == "" || o.file == b.opts.Only) {
				b.run.plans = append(b.run.plans, whole(o))
			}
		case *api.PlanTask:
			if name := obj.Spec.Plan; name != "" {
				switch p := b.plans[name]; {
				case p == nil:
					b.refuse(o, codeNoTask, "spec.plan", "there is no Plan %q%s", name, nearest(name, slices.Collect(maps.Keys(b.plans))))
				case o.file == b.opts.Only && p.file != b.opts.Only:
					b.refuse(o, codeNoTask, "spec.plan", "the task is part of plan %s: run %s", name, p.file)
				}
				continue
			}
			if b.opts.Only != "" && o.file != b.opts.Only {
				continue
			}
			w := b.work(o, nil, obj.Metadata.Name, "Task:"+obj.Metadata.Name, &obj.Spec, "spec", nil)
			w.was = obj.Status
			b.adopt(w)
			r := b.run
			r.works = append(r.works, w)
		}
	}
	for _, o := range b.found.plans {
		// plans that nobody reaches though others run them run each other in a circle
		if p, ok := o.object.(*api.Plan); ok && used[p.Metadata.Name] && !b.ranBy[p.Metadata.Name] && b.opts.Only == "" {
			whole(o)
		}
	}
	for _, w := range b.run.works {
		b.connect(w)
	}
	for _, p := range b.run.plans {
		b.connectAll(p)
	}
}

// findUsed finds the plans that compound tasks run.
func (b *planner) findUsed() map[string]bool {
	used := map[string]bool{}
	var inPlan func(p *api.PlanSpec)
	inTask := func(t *api.TaskSpec) {
		if c := t.Compound; c != nil {
			used[c.PlanRef] = true
			if c.Plan != nil {
				inPlan(c.Plan)
			}
		}
	}
	inPlan = func(p *api.PlanSpec) {
		for i := range p.Tasks {
			inTask(&p.Tasks[i].TaskSpec)
		}
		for i := range p.Finally {
			inTask(&p.Finally[i].TaskSpec)
		}
	}
	for _, o := range b.found.plans {
		switch obj := o.object.(type) {
		case *api.Plan:
			inPlan(&obj.Spec)
		case *api.PlanTask:
			inTask(&obj.Spec)
		}
	}
	return used
}

// adopt takes over what a compound task knows of the tasks inside it.
func (b *planner) adopt(w *work) {
	if w.inner != nil {
		b.statuses(w.inner, w.was.Tasks)
	}
}

// statuses gives the tasks of a plan the states they had.
func (b *planner) statuses(p *plan, was []api.InlineTaskStatus) {
	byName := make(map[string]*api.InlineTaskStatus, len(was))
	for i := range was {
		byName[was[i].Name] = &was[i]
	}
	for _, w := range p.works {
		if t, ok := w.object.(*api.PlanTask); ok && p.outer == nil {
			w.was = t.Status
		} else if s := byName[w.name]; s != nil {
			w.was = s.TaskStatus
		}
		b.adopt(w)
	}
}

// plan makes a plan. objects is the name of the Plan object whose Task objects
// belong to it, empty for an inline one.
func (b *planner) plan(o *order, spec *api.PlanSpec, name, stepPath string, outer *work, objects string, within ...string) *plan {
	p := &plan{order: o, spec: spec, name: name, path: stepPath, outer: outer, byName: make(map[string]*work, len(spec.Tasks)+len(spec.Finally))}
	if b.count += len(spec.Tasks) + len(spec.Finally); b.count > dag.MaxSteps {
		return p // dag says so
	}
	field := "spec"
	if outer != nil && objects == "" {
		field = outer.field + ".compound.plan"
	}
	add := func(o *order, name string, spec *api.TaskSpec, field string, within []string) {
		if p.byName[name] != nil {
			b.refuse(o, "E5303", field, "plan %s has another task %q, in %s: give one of them another name", p.name, name, p.byName[name].file)
			return
		}
		w := b.work(o, p, name, stepPath+"/"+name, spec, field, within)
		p.works = append(p.works, w)
		p.byName[name] = w
	}
	for i := range spec.Tasks {
		t := &spec.Tasks[i]
		add(o, t.Name, &t.TaskSpec, field+".tasks["+strconv.Itoa(i)+"]", within)
	}
	for i := range spec.Finally {
		t := &spec.Finally[i]
		t.TaskSpec.Finally = true
		add(o, t.Name, &t.TaskSpec, field+".finally["+strconv.Itoa(i)+"]", within)
	}
	if objects != "" {
		for _, o := range b.tasks[objects] {
			t := o.object.(*api.PlanTask)
			add(o, t.Metadata.Name, &t.Spec, "spec", within)
		}
	}
	return p
}

// work makes a task.
func (b *planner) work(o *order, p *plan, name, stepPath string, spec *api.TaskSpec, field string, within []string) *work {
	w := &work{order: o, plan: p, name: name, path: stepPath, spec: spec, field: field}
	w.dir = b.dirOf(w)
	c := spec.Compound
	switch {
	case spec.Type != api.WorkCompound:
		return w
	case c.Plan != nil:
		w.inner = b.plan(o, c.Plan, name, stepPath, w, "", within...)
		return w
	}
	ref := b.plans[c.PlanRef]
	at := field + ".compound.planRef"
	switch {
	case ref == nil:
		b.refuse(o, codeNoTask, at, "there is no Plan %q%s", c.PlanRef, nearest(c.PlanRef, slices.Collect(maps.Keys(b.plans))))
	case slices.Contains(within, c.PlanRef) || p != nil && p.outer == nil && p.name == c.PlanRef:
		b.refuse(o, string(dag.Cycle), at, "plan %s runs itself: %s", c.PlanRef, strings.Join(append(slices.Clone(within), c.PlanRef), " runs "))
	case len(within) >= dag.MaxDepth:
		b.refuse(o, string(dag.BadGraph), at, "plans are more than %d deep inside one another", dag.MaxDepth)
	default:
		b.ranBy[c.PlanRef] = true
		w.inner = b.plan(ref, &ref.object.(*api.Plan).Spec, name, stepPath, w, c.PlanRef, append(slices.Clone(within), c.PlanRef)...)
	}
	return w
}

// dirOf is the directory of a task's target, empty for none. It has to be known
// before anything runs, so params in it may not come from tasks.
func (b *planner) dirOf(w *work) string {
	field := w.field + ".target"
	if w.spec.Target == "" || !strings.Contains(w.spec.Target, "{{") {
		return clean(w.spec.Target)
	}
	v, err := api.Expand(w.spec.Target, b.known(w.plan))
	if err == nil {
		err = w.spec.CheckTarget(fmt.Sprint(v))
	}
	if err != nil {
		b.errs = append(b.errs, at(api.At(err, w.object.Ref(), field), w.file, w.index))
		return ""
	}
	return clean(fmt.Sprint(v))
}

func clean(target string) string {
	if target == "" {
		return ""
	}
	return path.Clean(target)
}

// known finds what is known of a plan's params and context before it runs.
func (b *planner) known(p *plan) func(api.Binding) (any, error) {
	return func(bd api.Binding) (any, error) {
		if p == nil || bd.Task != "plan" {
			return nil, fmt.Errorf("{{%s}} isn't known before anything runs: a target can use params and context of its plan, where they don't come from tasks", bd)
		}
		key, _ := bd.Path[1].(string)
		params := p.spec.Params
		if p.outer != nil {
			if _, given := p.outer.spec.Compound.Params[key]; given {
				v, err := b.given(p, key)
				if err != nil {
					return nil, err
				}
				params = map[string]any{key: v}
			}
		}
		words := map[string]any{}
		for k, v := range b.context(p) {
			words[k] = v
		}
		return bd.In(map[string]any{"params": params, "context": words})
	}
}

// given is a param that a plan gets from the compound task that it is, as known
// before anything runs. It is made once: plans deep inside refer to it many times.
func (b *planner) given(p *plan, key string) (any, error) {
	if g, ok := p.given[key]; ok {
		return g.value, g.err
	}
	v := p.outer.spec.Compound.Params[key]
	var err error
	if text, ok := v.(string); ok {
		v, err = api.Expand(text, b.known(p.outer.plan))
	}
	if p.given == nil {
		p.given = map[string]givenParam{}
	}
	p.given[key] = givenParam{v, err}
	return v, err
}

// connectAll connects the tasks of a plan, those inside included.
func (b *planner) connectAll(p *plan) {
	for _, w := range p.works {
		b.connect(w)
	}
}

// connect finds what a task needs.
func (b *planner) connect(w *work) {
	for i, n := range w.spec.Needs {
		if w.plan != nil {
			if d := w.plan.byName[n.Task]; d != nil {
				w.needs = append(w.needs, d)
				continue
			}
		}
		jobs, field := b.names[n.Task], fmt.Sprintf("%s.needs[%d].task", w.field, i)
		switch {
		case len(jobs) == 1 || len(jobs) > 1 && find(jobs, w.object.Ref().Namespace, n.Task) != nil:
			j := find(jobs, w.object.Ref().Namespace, n.Task)
			if j == nil {
				j = jobs[0]
			}
			w.jobs = append(w.jobs, j)
		case w.plan == nil:
			b.refuse(w.order, codeNoTask, field, "there is no PackageRevision %q: a task without a plan needs no other tasks; give it the plan they are in", n.Task)
		default:
			b.refuse(w.order, codeNoTask, field, "plan %s has no task %q%s, and there is no PackageRevision of that name", w.plan.name, n.Task, nearest(n.Task, slices.Collect(maps.Keys(w.plan.byName))))
		}
	}
	for _, name := range w.revisions() {
		if j := b.byName(w.object.Ref().Namespace, name); j != nil && !slices.Contains(w.jobs, j) {
			w.jobs = append(w.jobs, j)
		}
	}
	w.bindings = w.spec.Bindings()
	for _, bd := range w.bindings {
		b.checkBinding(w, bd)
	}
	if c := w.spec.Class; c != "" && !w.limited(c) {
		b.refuse(w.order, "E5303", w.field+".class", "no plan around the task has a limit for class %s: add it to spec.limits, or take the class out", c)
	}
	if w.target() == ordersDir || strings.HasPrefix(w.target(), ordersDir+"/") {
		b.refuse(w.order, codeConflict, w.field+".target", "target %q is where stoop keeps objects of its own: choose another", w.target())
	}
	for dir := w.target(); dir != "" && dir != "."; dir = path.Dir(dir) {
		if b.ws.File(dir) != nil {
			b.refuse(w.order, codeConflict, w.field+".target", "%s is a file, where target %q needs a directory: choose another", dir, w.target())
		}
	}
	if t := w.target(); t != "" && t != "." && strings.HasPrefix(w.file, t+"/") {
		b.refuse(w.order, codeConflict, w.field+".target", "the object is inside its own target %q, where it would become content: move the file out, or make the target \".\"", w.spec.Target)
	}
	if a := w.spec.Atomic; a != nil && a.Schema != nil {
		b.checkSchema(w, "atomic.schema", a.Schema)
	}
	if l := w.spec.LLMCall; l != nil && l.Schema != nil {
		b.checkSchema(w, "llm_call.schema", l.Schema)
	}
	if w.inner != nil {
		b.connectAll(w.inner)
		b.checkParams(w)
		for _, bd := range api.BindingsIn(w.inner.spec.Outputs) {
			at := strings.TrimSuffix(w.inner.specField()+".outputs."+bd.Field, ".")
			if bd.Task != "plan" && w.inner.byName[bd.Task] == nil {
				b.refuse(w.inner.order, codeBinding, at, "{{%s}}: the plan has no task %q%s", bd.Binding, bd.Task, nearest(bd.Task, slices.Collect(maps.Keys(w.inner.byName))))
			}
		}
	}
}

// checkSchema refuses a schema that no answer can be checked by.
func (b *planner) checkSchema(w *work, field string, schema map[string]any) {
	text := inputText(schema) // many tasks may have the same
	err, known := b.schemas[text]
	if !known {
		err = agent.CheckSchema(schema)
		b.schemas[text] = err
	}
	if err != nil {
		b.refuse(w.order, "E5303", w.field+"."+field, "can't be used: %s", err)
	}
}

// checkParams refuses params of a compound task that its plan neither has nor
// uses: they are misspelt, and something else would quietly stand in their place.
func (b *planner) checkParams(w *work) {
	p := w.inner
	known := make(map[string]bool, len(p.spec.Params))
	for key := range p.spec.Params {
		known[key] = true
	}
	use := func(bd api.Binding) {
		if bd.Task == "plan" && bd.Path[0] == "params" {
			key, _ := bd.Path[1].(string)
			known[key] = true
		}
	}
	for _, in := range p.works {
		for _, bd := range in.bindings {
			use(bd.Binding)
		}
		found, _ := api.Bindings(in.spec.Target)
		for _, bd := range found {
			use(bd)
		}
	}
	for _, bd := range api.BindingsIn(p.spec.Outputs) {
		use(bd.Binding)
	}
	for _, key := range slices.Sorted(maps.Keys(w.spec.Compound.Params)) {
		if !known[key] {
			b.refuse(w.order, codeBinding, w.field+".compound.params."+key, "the plan has no param %q%s, and no task of it uses one", key, nearest(key, slices.Collect(maps.Keys(known))))
		}
	}
}

// limited says whether a plan that the task is in bounds a class.
func (w *work) limited(class string) bool {
	for p := w.plan; p != nil; {
		if slices.ContainsFunc(p.spec.Limits, func(l api.ClassLimit) bool { return l.Class == class }) {
			return true
		}
		if p.outer == nil {
			return false
		}
		p = p.outer.plan
	}
	return false
}

// specField is where in its object the plan's spec is.
func (p *plan) specField() string {
	if p.outer != nil && p.outer.spec.Compound.Plan != nil {
		return p.outer.field + ".compound.plan"
	}
	return "spec"
}

// checkBinding looks at what can be told of a binding before anything runs.
func (b *planner) checkBinding(w *work, bd api.BoundField) {
	field := w.field + "." + bd.Field
	refuse := func(format string, args ...any) {
		b.refuse(w.order, codeBinding, field, "{{%s}}: %s", bd.Binding, fmt.Sprintf(format, args...))
	}
	if bd.Task == "plan" {
		if w.plan == nil {
			refuse("the task is part of no plan")
			return
		}
		key, _ := bd.Path[1].(string)
		switch bd.Path[0] {
		case "params":
			_, own := w.plan.spec.Params[key]
			given := false
			if w.plan.outer != nil {
				_, given = w.plan.outer.spec.Compound.Params[key]
			}
			if !own && !given && !bd.HasDefault {
				refuse("the plan has no param %q%s", key, nearest(key, slices.Collect(maps.Keys(w.plan.spec.Params))))
			}
		case "context":
			if _, ok := b.context(w.plan)[key]; !ok && !bd.HasDefault {
				refuse("the run's context has no %q: put it into the plan's spec.context, or say --context %s=VALUE", key, key)
			}
		}
		return
	}
	if w.plan == nil {
		refuse("the task is part of no plan: only tasks of one plan see each other's outputs")
		return
	}
	d := w.plan.byName[bd.Task]
	switch {
	case d == nil:
		refuse("plan %s has no task %q%s", w.plan.name, bd.Task, nearest(bd.Task, slices.Collect(maps.Keys(w.plan.byName))))
		return
	case d == w:
		refuse("a task can't use its own output")
		return
	}
	if !slices.Contains(w.needs, d) {
		w.needs = append(w.needs, d)
	}
	key, _ := bd.Path[0].(string)
	known, all := d.outputNames()
	if all && !slices.Contains(known, key) {
		if len(known) == 0 {
			refuse("a task of type %s hands on nothing%s", d.spec.Type, map[bool]string{true: " unless it declares outputs"}[d.spec.Type == api.WorkEval])
			return
		}
		refuse("task %s has no output %q%s (it has %s)", bd.Task, key, nearest(key, known), strings.Join(known, ", "))
		return
	}
	if t := d.spec.Outputs[key].Type; !bd.Whole && len(bd.Path) == 1 && (t == "array" || t == "object") {
		refuse("the output is of type %s, which can't stand within a text: bind it by itself, or one of its fields", t)
	}
}

// outputNames are the outputs that a task hands on; all says that there are no
// others.
func (w *work) outputNames() (names []string, all bool) {
	declared := slices.Sorted(maps.Keys(w.spec.Outputs))
	if len(declared) > 0 {
		return declared, true
	}
	schema := func(s map[string]any) []string {
		if s == nil {
			return []string{"text"}
		}
		p, _ := s["properties"].(map[string]any)
		return slices.Sorted(maps.Keys(p))
	}
	switch s := w.spec; s.Type {
	case api.WorkClone, api.WorkUpgrade:
		return []string{"commit", "directory", "image", "ref", "repo"}, true
	case api.WorkAtomic:
		return schema(s.Atomic.Schema), true
	case api.WorkLLMCall:
		return schema(s.LLMCall.Schema), true
	case api.WorkCompound:
		if w.inner == nil {
			return nil, false
		}
		return slices.Sorted(maps.Keys(w.inner.spec.Outputs)), true
	case api.WorkApprove:
		return []string{"by"}, true
	case api.WorkToolCall:
		return nil, false // a TaskResponse says
	}
	return nil, true
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

// nearest suggests a name.
func nearest(name string, known []string) string {
	slices.Sort(known)
	return api.DidYouMean(name, known)
}

// context is what the run says about itself to the tasks of a plan.
func (r *run) context(p *plan) map[string]string {
	all := map[string]string{}
	for q := p; q != nil; {
		for k, v := range q.spec.Context {
			if _, inner := all[k]; !inner {
				all[k] = v
			}
		}
		if q.outer == nil {
			break
		}
		q = q.outer.plan
	}
	maps.Copy(all, r.opts.Context)
	return all
}

// checkGraph has package dag look at needs and cycles.
func (b *planner) checkGraph() {
	at := b.byPath
	err := dag.Validate(b.run.graph())
	var each func(error)
	each = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				each(e)
			}
			return
		}
		de, ok := errors.AsType[*dag.Error](err)
		if !ok {
			b.errs = append(b.errs, err)
			return
		}
		if w := at[de.Step]; w != nil {
			field := w.field
			switch de.Code {
			case dag.Cycle, dag.UnknownNeed, dag.BadNeed:
				field += ".needs"
			case dag.BadRetry:
				field += ".retry"
			}
			b.refuse(w.order, string(de.Code), field, "%s", cmp.Or(de.Text, de.Error()))
			return
		}
		for _, p := range b.run.plans {
			if p.path == de.Step {
				b.refuse(p.order, string(de.Code), "spec", "%s", cmp.Or(de.Text, de.Error()))
				return
			}
		}
		b.errs = append(b.errs, err)
	}
	if err != nil {
		each(err)
	}
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

// steps are the steps of plans and of tasks by themselves.
func (r *run) planSteps() []dag.Step {
	var steps []dag.Step
	for _, w := range r.works {
		steps = append(steps, r.workStep(w))
	}
	for _, p := range r.plans {
		s := dag.Step{Name: p.path, Graph: r.planGraph(p), Do: func(context.Context, dag.Inputs) (dag.Result, error) {
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
		Name: w.name, Priority: int32(min(max(w.spec.Priority, math.MinInt32), math.MaxInt32)), Finally: w.spec.Finally,
		Needs: r.stepNeeds(w), Hold: w.hold(),
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

// hold is why a task isn't started though it is ready.
func (w *work) hold() string {
	switch s := w.spec; {
	case w.plan != nil && w.plan.suspended():
		return "the plan is suspended (spec.suspend)"
	case s.Suspend:
		return "it is suspended (" + w.field + ".suspend)"
	case s.Type == api.WorkApprove && (s.Approve == nil || !s.Approve.Approved):
		return "waits for approval: set " + w.field + ".approve.approved to true"
	}
	return ""
}

// suspended says whether the plan, or one around it, is to start nothing.
func (p *plan) suspended() bool {
	return p.spec.Suspend || p.outer != nil && (p.outer.spec.Suspend || p.outer.plan != nil && p.outer.plan.suspended())
}

// stepNeeds are what a task needs, bindings included.
func (r *run) stepNeeds(w *work) []dag.Need {
	var needs []dag.Need
	named := map[string]bool{}
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
		named[d.Step] = true
		needs = append(needs, d)
	}
	for _, j := range w.jobs {
		if !named[j.step] {
			named[j.step] = true
			needs = append(needs, dag.Need{Step: j.step})
		}
	}
	type output struct{ task, key string }
	bound := map[output]int{}
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
		bound[o] = len(needs)
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
	for p := w.plan; p != nil; {
		if def := p.spec.Defaults; def != nil && def.Timeout != "" {
			return def.Timeout.Value()
		}
		if p.outer == nil {
			break
		}
		p = p.outer.plan
	}
	return cmp.Or(r.opts.TaskTimeout, defaultTimeout)
}

// retry is what is tried again.
func (w *work) retry() dag.Retry {
	policy := w.spec.Retry
	for p := w.plan; p != nil && policy == nil; {
		if def := p.spec.Defaults; def != nil {
			policy = def.Retry
		}
		if p.outer == nil {
			break
		}
		p = p.outer.plan
	}
	remote := []dag.Cause{dag.Timeout, dag.Unavailable, dag.Transient}
	causes := remote
	limit := 0
	switch w.spec.Type {
	case api.WorkToolCall, api.WorkAtomic, api.WorkLLMCall:
		limit, causes = defaultRetries, append(slices.Clone(remote), dag.Other)
	case api.WorkClone, api.WorkEdit, api.WorkUpgrade:
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
