package orchestration

import (
	"maps"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// bind puts values into the task's bindings.
func (r *run) bind(w *work, in dag.Inputs) (*api.TaskSpec, error) {
	bound, err := w.spec.Bind(r.lookup(w.plan, in))
	if err == nil && w.kind.takesInputs() {
		bound = withNeeds(bound, w.spec, in)
	}
	if err == nil && clean(bound.Target) != w.target() { // it has bindings
		c := *bound
		c.Target = w.target()
		bound = &c
	}
	if err == nil && bound != w.spec {
		err = bound.ValidateBound(w.object, w.field)
	}
	if err != nil {
		return nil, dag.Mark(dag.Permanent, at(api.At(err, w.object.Ref(), w.field), w.file, w.index))
	}
	return bound, nil
}

// withNeeds adds the outputs that needs name and no binding refers to to the
// inputs.
func withNeeds(bound, spec *api.TaskSpec, in dag.Inputs) *api.TaskSpec {
	if !slices.ContainsFunc(spec.Needs, func(n api.TaskNeed) bool { return n.OutputKey != "" }) {
		return bound
	}
	type output struct{ task, key any }
	used := map[output]bool{}
	for _, b := range spec.Bindings() {
		used[output{b.Task, b.Path[0]}] = true
	}
	c := *bound
	c.Inputs = maps.Clone(c.Inputs)
	for _, n := range spec.Needs {
		if n.OutputKey == "" || used[output{n.Task, n.OutputKey}] {
			continue
		}
		if _, given := c.Inputs[n.OutputKey]; given {
			continue
		}
		if c.Inputs == nil {
			c.Inputs = map[string]any{}
		}
		v, ok := in.Of(n.Task)[n.OutputKey]
		if !ok {
			v = n.Default
		}
		c.Inputs[n.OutputKey] = v
	}
	return &c
}

// lookup finds what the bindings of a plan's tasks refer to.
func (r *run) lookup(p *plan, in dag.Inputs) func(api.Binding) (any, error) {
	return func(b api.Binding) (any, error) {
		if b.Task != "plan" {
			outputs := in.Of(b.Task)
			if in.Inner != nil {
				outputs = in.Inner[b.Task]
			}
			return b.In(outputs)
		}
		params, err := r.params(p, in)
		if err != nil {
			return nil, err
		}
		return r.ofPlan(p, b, params)
	}
}

// params are a plan's, with those of the compound task that runs it.
func (r *run) params(p *plan, in dag.Inputs) (map[string]any, error) {
	if p.outer == nil || len(p.outer.spec.Compound.Params) == 0 {
		return p.spec.Params, nil
	}
	p.once.Do(func() {
		outer := dag.Inputs{}
		if in.Outer != nil {
			outer = *in.Outer
		}
		given, err := api.BindMap(p.outer.spec.Compound.Params, r.lookup(p.outer.plan, outer))
		if err != nil {
			p.wrong = at(api.At(err, p.outer.object.Ref(), p.outer.field+".compound.params"), p.outer.file, p.outer.index)
			return
		}
		p.params = maps.Clone(p.spec.Params)
		if p.params == nil {
			p.params = map[string]any{}
		}
		maps.Copy(p.params, given)
	})
	return p.params, p.wrong
}

// gather makes the outputs of a compound task.
func (r *run) gather(w *work, in dag.Inputs) (dag.Result, error) {
	p := w.inner
	// the plan's own bindings look outwards through the compound's inputs, as
	// those of its tasks do
	outer, look := in, in
	outer.Inner, look.Outer = nil, &outer
	outputs, err := api.BindMap(p.spec.Outputs, r.lookup(p, look))
	if err != nil {
		return dag.Result{}, dag.Mark(dag.Permanent, at(api.At(err, p.object.Ref(), p.specField()+".outputs"), p.file, p.index))
	}
	if outputs, err = w.checkOutputs(outputs); err != nil {
		return dag.Result{}, err
	}
	clean := !slices.ContainsFunc(p.works, func(in *work) bool { return in.done && !in.clean })
	w.last.Store(&attempt{done: true, outputs: outputs, clean: clean})
	return dag.Result{Outputs: outputs, Clean: clean}, nil
}
