package orchestration

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// planner makes plans of the objects that declare them, and collects what is
// wrong with them before anything runs.
type planner struct {
	*run
	tasks   map[string][]*order // Task objects by their plan
	objects map[string]*order   // Plan objects by name
	nested  map[string]bool     // plans that a compound runs
	errs    []error
	count   int
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

// The codes that this package gives errors; docs/plans.md lists all.
const (
	codeConflict    = "E5206"                  // tasks that write the same, in no order
	codeNoTask      = string(dag.UnknownNeed)  // a name that no task, plan or revision has
	codeInvalid     = string(dag.BadNeed)      // a class or schema that can't be, or a name given twice
	codeBinding     = "E5402"                  // a binding, or an output, that can't be
	codeMissing     = string(dag.MissingInput) // an output that has to be there
	codeUnavailable = "E5901"                  // nobody is there to carry out the task
)

// preparePlans makes the plans and the tasks by themselves. What is wrong with
// any of them is an error, and nothing may run.
func (r *run) preparePlans() error {
	b := &planner{run: r, schemas: map[string]error{}, tasks: map[string][]*order{}, objects: map[string]*order{}, nested: map[string]bool{}}
	seen := map[string]*order{}
	for _, o := range r.found.plans {
		ref := o.object.Ref()
		key := ref.Kind + "\x00" + ref.Name
		if t, ok := o.object.(*api.PlanTask); ok {
			key += "\x00" + t.Spec.Plan
		}
		if first := seen[key]; first != nil {
			b.refuse(o, codeInvalid, "metadata.name", "%s %s is declared in %s too: keep one", ref.Kind, ref.Name, first.file)
			continue
		}
		seen[key] = o
		b.errs = append(b.errs, at(o.object.Validate(), o.file, o.index))
		switch obj := o.object.(type) {
		case *api.Plan:
			b.objects[ref.Name] = o
		case *api.PlanTask:
			b.tasks[obj.Spec.Plan] = append(b.tasks[obj.Spec.Plan], o)
		}
	}
	if err := errors.Join(b.errs...); err != nil {
		return err
	}
	b.errs = nil
	b.build()
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
				switch p := b.objects[name]; {
				case p == nil:
					b.refuse(o, codeNoTask, "spec.plan", "there is no Plan %q%s", name, b.nearest(name, maps.Keys(b.objects)))
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
			b.run.works = append(b.run.works, w)
		}
	}
	for _, o := range b.found.plans {
		// plans that nobody reaches though others run them run each other in a circle
		if p, ok := o.object.(*api.Plan); ok && used[p.Metadata.Name] && !b.nested[p.Metadata.Name] && b.opts.Only == "" {
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
	field := p.specField()
	add := func(o *order, name string, spec *api.TaskSpec, field string, within []string) {
		if p.byName[name] != nil {
			b.refuse(o, codeInvalid, field, "plan %s has another task %q, in %s: give one of them another name", p.name, name, p.byName[name].file)
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
	w := &work{order: o, plan: p, name: name, path: stepPath, spec: spec, kind: workTypes[spec.Type], field: field}
	w.dir = b.dirOf(w)
	c := spec.Compound
	switch {
	case spec.Type != api.WorkCompound:
		return w
	case c.Plan != nil:
		w.inner = b.plan(o, c.Plan, name, stepPath, w, "", within...)
		return w
	}
	ref := b.objects[c.PlanRef]
	at := field + ".compound.planRef"
	switch {
	case ref == nil:
		b.refuse(o, codeNoTask, at, "there is no Plan %q%s", c.PlanRef, b.nearest(c.PlanRef, maps.Keys(b.objects)))
	case slices.Contains(within, c.PlanRef) || p != nil && p.outer == nil && p.name == c.PlanRef:
		b.refuse(o, string(dag.Cycle), at, "plan %s runs itself: %s", c.PlanRef, strings.Join(append(slices.Clone(within), c.PlanRef), " runs "))
	case len(within) >= dag.MaxDepth:
		b.refuse(o, string(dag.BadGraph), at, "plans are more than %d deep inside one another", dag.MaxDepth)
	default:
		b.nested[c.PlanRef] = true
		w.inner = b.plan(ref, &ref.object.(*api.Plan).Spec, name, stepPath, w, c.PlanRef, append(slices.Clone(within), c.PlanRef)...)
	}
	return w
}

// dirOf is the directory of a task's target, empty for none. It has to be known
// before anything runs, so params in it may not come from tasks.
func (b *planner) dirOf(w *work) string {
	field := w.field + ".target"
	if w.spec.Target == "" || !unbound(w.spec.Target) {
		return clean(w.spec.Target)
	}
	v, err := api.Expand(w.spec.Target, b.knownName(w.plan))
	if err == nil {
		if err = w.spec.CheckTarget(fmt.Sprint(v)); err == nil {
			err = checkSlashes(fmt.Sprint(v))
		}
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

// knownName is known for what becomes a part of a path.
func (b *planner) knownName(p *plan) func(api.Binding) (any, error) {
	return func(bd api.Binding) (any, error) {
		v, err := b.known(p)(bd)
		if err != nil {
			return nil, err
		}
		switch v.(type) {
		case map[string]any, []any:
			return nil, fmt.Errorf("{{%s}} is a map or list: bind a text in it that names a directory", bd)
		}
		if v == nil || v == "" {
			return nil, fmt.Errorf("{{%s}} is empty: give it a value that names a directory", bd)
		}
		return v, nil
	}
}

// checkSlashes refuses a path that would be another one without a name that a
// binding didn't bring.
func checkSlashes(target string) error {
	if strings.HasSuffix(target, "/") || strings.Contains(target, "//") {
		return fmt.Errorf("%q has a slash with no name behind it: take it out of the target, or of what the bindings stand for", target)
	}
	return nil
}

// known finds what is known of a plan's params and context before it runs.
func (b *planner) known(p *plan) func(api.Binding) (any, error) {
	return func(bd api.Binding) (any, error) {
		if p == nil || bd.Task != "plan" {
			return nil, api.Unknown{Err: fmt.Errorf("{{%s}} isn't known before anything runs: a target can use params and context of its plan, where they don't come from tasks", bd)}
		}
		key, _ := bd.Path[1].(string)
		params := map[string]any{}
		if v, ok := b.param(p, key); ok {
			params[key] = v
		}
		return b.ofPlan(p, bd, params)
	}
}

// param is a plan's param as far as it is known before anything runs.
func (b *planner) param(p *plan, key string) (v any, ok bool) {
	if p.outer != nil {
		if _, given := p.outer.spec.Compound.Params[key]; given {
			return b.given(p, key), true
		}
	}
	v, ok = p.spec.Params[key]
	return v, ok
}

// given is a param that a plan gets from the compound task that it is, api.Unknown
// where it comes from tasks or is wrong. It is made once: plans deep inside refer to
// it many times.
func (b *planner) given(p *plan, key string) any {
	if v, ok := p.given[key]; ok {
		return v
	}
	m := map[string]any{key: p.outer.spec.Compound.Params[key]}
	bound, err := api.BindMap(m, b.known(p.outer.plan))
	v := bound[key]
	if err != nil { // the compound task's check says so where it stands
		wrong := fn.ResultsOf(err)[0]
		wrong.Field = nil
		v = api.Unknown{Err: &fn.ResultError{Result: wrong}}
	}
	if p.given == nil {
		p.given = map[string]any{}
	}
	p.given[key] = v
	return v
}
