package orchestration

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// connectAll connects the tasks of a plan, those inside included.
func (b *planner) connectAll(p *plan) {
	for _, w := range p.works {
		b.connect(w)
	}
}

// read finds the declared revisions that a task copies from, as far as their names
// are known before anything runs.
func (b *planner) read(w *work) []*job {
	var jobs []*job
	for _, name := range w.revisions() {
		if unbound(name) {
			v, err := api.Expand(name, b.known(w.plan))
			if err != nil {
				continue // what can't be read is said elsewhere; what tasks yield, see localTo
			}
			name = fmt.Sprint(v)
		}
		if j := b.byName(w.object.Ref().Namespace, name); j != nil && !slices.Contains(jobs, j) {
			jobs = append(jobs, j)
		}
	}
	return jobs
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
		j := find(jobs, w.object.Ref().Namespace, n.Task)
		if j == nil && len(jobs) == 1 {
			j = jobs[0]
		}
		switch {
		case j != nil && j.unmade:
			b.refuse(w.order, codeNoTask, field, "%s", j.notMade())
		case j != nil:
			w.jobs = append(w.jobs, j)
		case w.plan == nil:
			b.refuse(w.order, codeNoTask, field, "there is no PackageRevision %q: a task without a plan needs no other tasks; give it the plan they are in", n.Task)
		default:
			b.refuse(w.order, codeNoTask, field, "plan %s has no task %q%s, and there is no PackageRevision of that name", w.plan.name, n.Task, b.nearest(n.Task, maps.Keys(w.plan.byName)))
		}
	}
	w.reads = b.read(w)
	for _, d := range w.reads {
		if d.unmade {
			b.refuse(w.order, codeNoTask, w.field+"."+string(w.spec.Type), "%s", d.notMade())
			continue
		}
		for _, j := range b.within(d.target) {
			if !slices.Contains(w.jobs, j) {
				w.jobs = append(w.jobs, j)
			}
		}
	}
	w.bindings = w.spec.Bindings()
	for _, bd := range w.bindings {
		b.checkBinding(w, bd)
	}
	b.checkKnown(w)
	b.checkOutputs(w)
	b.checkBuiltin(w)
	if c := w.spec.Class; c != "" && !w.limited(c) {
		b.refuse(w.order, codeInvalid, w.field+".class", "no plan around the task has a limit for class %s: add it to spec.limits, or take the class out", c)
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
	if schema := w.answerSchema(); schema != nil {
		b.checkSchema(w, string(w.spec.Type)+".schema", schema)
	}
	b.checkMock(w)
	b.checkMisspelt(w.order, w.plan, w.field, "inputs", w.spec.Inputs)
	if w.inner != nil {
		b.connectAll(w.inner)
		b.checkParams(w)
		b.checkMisspelt(w.order, w.plan, w.field, "compound.params", w.spec.Compound.Params)
		b.checkMisspelt(w.inner.order, w.inner, w.inner.specField(), "outputs", w.inner.spec.Outputs)
		b.checkHandedOn(w.inner)
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
		b.refuse(w.order, codeInvalid, w.field+"."+field, "can't be used: %s", err)
	}
}

// checkMock refuses outputs that a task has in mock runs only.
func (b *planner) checkMock(w *work) {
	if w.spec.Mock == nil || len(w.spec.Mock.Outputs) == 0 {
		return
	}
	known, all := w.outputNames()
	answers, open := w.answerNames()
	if open || !all {
		return
	}
	for _, key := range answers { // which comes though it isn't declared
		if !slices.Contains(known, key) {
			known = append(known, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.spec.Mock.Outputs)) {
		field := w.field + ".mock.outputs." + key
		switch {
		case slices.Contains(known, key):
		case len(known) == 0:
			b.refuse(w.order, codeBinding, field, "a task of type %s hands on nothing%s: take it out", w.spec.Type, map[bool]string{true: " unless it declares outputs"}[w.spec.Type == api.WorkEval])
		default:
			b.refuse(w.order, codeBinding, field, "the task has no such output%s (it has %s): correct the name, or take it out", b.nearest(key, slices.Values(known)), strings.Join(known, ", "))
		}
	}
}

// answerNames are the outputs that the answer of an agent has by its schema; open
// says that there may be others.
func (w *work) answerNames() (names []string, open bool) {
	schema := w.answerSchema()
	if others, ok := schema["additionalProperties"]; ok && others != false {
		return nil, true
	}
	properties, _ := schema["properties"].(map[string]any)
	return slices.Collect(maps.Keys(properties)), false
}

// checkMisspelt refuses maps that would be a binding with a default if a key were
// spelt right or there were a default, and that refer to something which is there:
// they would be taken as they are. The values are those of a field at a place of an
// object; p is the plan that bindings in them refer to.
func (b *planner) checkMisspelt(o *order, p *plan, place, field string, values map[string]any) {
	if p == nil {
		return
	}
	var keys []string // of what may hold a binding with a default
	for key, v := range values {
		switch v.(type) {
		case map[string]any, []any:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		b.checkMisspeltIn(o, p, place+"."+field+"."+key, values[key])
	}
}

func (b *planner) checkMisspeltIn(o *order, p *plan, field string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if wrong, right, from := misspelt(v); wrong != "" && p.has(from) {
			b.refuse(o, codeBinding, field+"."+wrong, "unknown key; did you mean %q? A binding with a default is {from: %s, default: VALUE}", right, from)
			return
		}
		if key, from := looseFrom(v); key != "" && p.has(from) {
			b.refuse(o, codeBinding, field+"."+key, "makes no binding of the map: write \"{{%s}}\" instead of it, or {from: %s, default: VALUE} for one with a default", from, from)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.checkMisspeltIn(o, p, field+"."+key, v[key])
		}
	case []any:
		for i, e := range v {
			b.checkMisspeltIn(o, p, fmt.Sprintf("%s[%d]", field, i), e)
		}
	}
}

// misspelt is the key of a map that seems to be meant for right, from or default,
// where the map has the other one, and no more; from is what it refers to.
func misspelt(m map[string]any) (wrong, right, from string) {
	right, other := "from", "default"
	if _, ok := m["from"]; ok {
		right, other = other, right
		from, _ = m["from"].(string)
	}
	if _, ok := m[other]; !ok || len(m) != 2 {
		return "", "", ""
	}
	for key, v := range m {
		if key == other || key == right || api.DidYouMean(key, []string{right}) == "" {
			continue
		}
		wrong = key
		if right == "from" {
			from, _ = v.(string)
		}
	}
	return wrong, right, from
}

// looseFrom is what a map refers to, and by which key, that has nothing but a from
// without a default, with whatever capitals.
func looseFrom(m map[string]any) (key, from string) {
	for k, v := range m {
		switch {
		case strings.EqualFold(k, "from"):
			key = k
			from, _ = v.(string)
		case k == "default", !strings.EqualFold(k, "default"):
			return "", ""
		}
	}
	return key, from
}

// has says whether a text, with braces around it, is a binding to a task of the
// plan or to the plan itself.
func (p *plan) has(text string) bool {
	found, err := api.Bindings("{{" + text + "}}")
	return err == nil && len(found) == 1 && found[0].Whole && (found[0].Task == "plan" || p.byName[found[0].Task] != nil)
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
			b.refuse(w.order, codeBinding, w.field+".compound.params."+key, "the plan has no param %q%s, and no task of it uses one", key, b.nearest(key, maps.Keys(known)))
		}
	}
}

// limited says whether a plan that the task is in bounds a class.
func (w *work) limited(class string) bool {
	for p := w.plan; p != nil; p = p.around() {
		if slices.ContainsFunc(p.spec.Limits, func(l api.ClassLimit) bool { return l.Class == class }) {
			return true
		}
	}
	return false
}

// refusal refuses a binding.
type refusal func(format string, args ...any)

// refusal refuses a binding that is in a field of an object.
func (b *planner) refusal(o *order, bd api.BoundField, field string) refusal {
	return func(format string, args ...any) {
		b.refuse(o, codeBinding, field, "{{%s}}: %s", bd.Binding, fmt.Sprintf(format, args...))
	}
}

// checkBinding looks at what can be told of a binding before anything runs.
func (b *planner) checkBinding(w *work, bd api.BoundField) {
	refuse := b.refusal(w.order, bd, w.field+"."+bd.Field)
	if bd.Task == "plan" {
		if w.plan == nil {
			refuse("the task is part of no plan")
			return
		}
		b.checkOfPlan(w.plan, bd.Binding, refuse)
		return
	}
	if w.plan == nil {
		refuse("the task is part of no plan: only tasks of one plan see each other's outputs")
		return
	}
	d := w.plan.byName[bd.Task]
	switch {
	case d == nil:
		refuse("plan %s has no task %q%s", w.plan.name, bd.Task, b.nearest(bd.Task, maps.Keys(w.plan.byName)))
		return
	case d == w:
		refuse("a task can't use its own output")
		return
	}
	if !slices.Contains(w.needs, d) {
		w.needs = append(w.needs, d)
	}
	key, _ := bd.Path[0].(string)
	optional := bd.HasDefault || w.needDefault(bd.Task, key)
	if w.spec.Finally && !d.spec.Finally && !optional {
		advice := fmt.Sprintf("a default in needs, {task: %s, outputKey: %s, default: VALUE}", bd.Task, key)
		if bd.Whole && (strings.HasPrefix(bd.Field, "inputs.") || strings.HasPrefix(bd.Field, "compound.params.")) {
			advice = fmt.Sprintf("a default, {from: %s, default: VALUE}", bd.Binding)
		}
		refuse("a finally task starts even if %s has no output: give the binding %s", bd.Task, advice)
	}
	b.checkOutput(d, bd.Binding, optional, refuse)
}

// checkOfPlan looks at a binding to a plan's params or context. What params that are
// known come to shows when they are bound, see checkKnown.
func (b *planner) checkOfPlan(p *plan, bd api.Binding, refuse refusal) {
	key, _ := bd.Path[1].(string)
	switch bd.Path[0] {
	case "params":
		if _, ok := b.param(p, key); !ok && !bd.HasDefault {
			refuse("the plan has no param %q%s", key, b.nearest(key, maps.Keys(p.spec.Params)))
		}
	case "context":
		if _, ok := b.context(p)[key]; !ok && !bd.HasDefault {
			refuse("the run's context has no %q: put it into the plan's spec.context, or say --context %s=VALUE", key, key)
		}
	}
}

// checkOutput looks at a binding to what a task hands on; optional says that there
// is a default for it.
func (b *planner) checkOutput(d *work, bd api.Binding, optional bool, refuse refusal) {
	key, _ := bd.Path[0].(string)
	known, all := d.outputNames()
	if all && !slices.Contains(known, key) {
		if len(known) == 0 {
			refuse("a task of type %s hands on nothing%s", d.spec.Type, map[bool]string{true: " unless it declares outputs"}[d.spec.Type == api.WorkEval])
			return
		}
		refuse("task %s has no output %q%s (it has %s)", bd.Task, key, b.nearest(key, slices.Values(known)), strings.Join(known, ", "))
		return
	}
	if optional && len(bd.Path) > 1 {
		return
	}
	for _, schema := range d.outputSchemas(key) {
		why, types := b.follow(schema, bd.Path)
		switch {
		case why != "":
			refuse("%s", why)
			return
		case !bd.Whole && len(types) == 1 && (types[0] == "array" || types[0] == "object"):
			refuse("the output is of type %s, which can't stand within a text: bind it by itself, or one of its fields", types[0])
			return
		}
	}
}

// outputSchemas are what is known of an output: as the task declares it, and as its
// answer is asked for.
func (w *work) outputSchemas(key string) []map[string]any {
	var schemas []map[string]any
	if t := w.spec.Outputs[key].Type; t != "" && t != "any" {
		schemas = append(schemas, map[string]any{"type": t})
	}
	properties, _ := w.answerSchema()["properties"].(map[string]any)
	if schema, ok := properties[key].(map[string]any); ok {
		schemas = append(schemas, schema)
	}
	return schemas
}

// follow goes along a path, whose first step is the output itself, through the
// schema of that. It returns why a value can't have what the path leads to, or else
// of which types that is, nil if the schema doesn't say.
func (b *planner) follow(schema map[string]any, path []any) (why string, types []any) {
	at := fmt.Sprint(path[0])
	for _, step := range path[1:] {
		types := typesOf(schema)
		switch key := step.(type) {
		case string:
			if types != nil && !slices.Contains(types, any("object")) {
				return fmt.Sprintf("%s is of type %v, which has no fields", at, types[0]), nil
			}
			fields, _ := schema["properties"].(map[string]any)
			_, patterns := schema["patternProperties"]
			if _, ok := fields[key]; !ok && !patterns && schema["additionalProperties"] == false {
				return fmt.Sprintf("%s has no field %q%s by its schema (it has %s)", at, key, b.nearest(key, maps.Keys(fields)), strings.Join(slices.Sorted(maps.Keys(fields)), ", ")), nil
			}
			schema, _ = fields[key].(map[string]any)
			at += "." + key
		case int:
			if types != nil && !slices.Contains(types, any("array")) {
				return fmt.Sprintf("%s is of type %v, which has no items", at, types[0]), nil
			}
			items := schema["items"]
			if first, _ := schema["prefixItems"].([]any); key < len(first) {
				items = first[key]
			}
			schema, _ = items.(map[string]any)
			at += fmt.Sprintf("[%d]", key)
		}
		if _, refers := schema["$ref"]; refers || schema == nil {
			return "", nil
		}
	}
	return "", typesOf(schema)
}

// typesOf are the types that a schema allows, nil if it doesn't say.
func typesOf(schema map[string]any) []any {
	switch t := schema["type"].(type) {
	case string:
		return []any{t}
	case []any:
		return t
	}
	return nil
}

// sure finds what is known of a plan before it runs, and leaves to checkBinding what
// isn't there at all.
func (b *planner) sure(p *plan) func(api.Binding) (any, error) {
	known := b.known(p)
	return func(bd api.Binding) (any, error) {
		if bd.Task == "plan" && bd.Path[0] == "params" {
			key, _ := bd.Path[1].(string)
			if _, ok := b.param(p, key); ok {
				return known(bd)
			}
		}
		return nil, api.Unknown{Err: errors.New("checked elsewhere")}
	}
}

// checkKnown refuses what would fail when the task is bound: fields and items that
// params don't have, and such as can't stand where they are bound.
func (b *planner) checkKnown(w *work) {
	if w.plan == nil || !b.mayFail(w.plan, w.bindings) {
		return
	}
	if _, err := w.spec.Bind(b.sure(w.plan)); err != nil {
		b.errs = append(b.errs, at(api.At(err, w.object.Ref(), w.field), w.file, w.index))
	}
}

// mayFail says whether bindings are to params that are more than a number or a short
// text, which can stand anywhere.
func (b *planner) mayFail(p *plan, bindings []api.BoundField) bool {
	return slices.ContainsFunc(bindings, func(bd api.BoundField) bool {
		if bd.Task != "plan" || bd.Path[0] != "params" {
			return false
		}
		key, _ := bd.Path[1].(string)
		v, _ := b.param(p, key)
		if within := bd.Path[2:]; len(within) > 0 {
			m, _ := v.(map[string]any)
			bd.Path = within
			var err error
			if v, err = bd.In(m); err != nil || v == nil {
				return true
			}
		}
		switch v := v.(type) {
		case map[string]any, []any:
			return true
		case string:
			return len(v) > 1<<10
		}
		return false
	})
}

// checkHandedOn looks at the outputs of a plan that a compound task runs.
func (b *planner) checkHandedOn(p *plan) {
	place := p.specField() + ".outputs"
	bindings := api.BindingsIn(p.spec.Outputs)
	for _, bd := range bindings {
		refuse := b.refusal(p.order, bd, strings.TrimSuffix(place+"."+bd.Field, "."))
		switch d := p.byName[bd.Task]; {
		case bd.Task == "plan":
			b.checkOfPlan(p, bd.Binding, refuse)
		case d == nil:
			refuse("the plan has no task %q%s", bd.Task, b.nearest(bd.Task, maps.Keys(p.byName)))
		default:
			b.checkOutput(d, bd.Binding, bd.HasDefault, refuse)
		}
	}
	if b.mayFail(p, bindings) {
		if _, err := api.BindMap(p.spec.Outputs, b.sure(p)); err != nil {
			b.errs = append(b.errs, at(api.At(err, p.object.Ref(), place), p.file, p.index))
		}
	}
}

// checkOutputs refuses outputs that a task declares and never yields.
func (b *planner) checkOutputs(w *work) {
	if len(w.spec.Outputs) == 0 || w.kind.tool || w.kind.request != nil {
		return // whoever does the work says
	}
	var names []string
	if w.kind.outputs != nil {
		names, _ = w.kind.outputs(w)
	}
	for _, key := range slices.Sorted(maps.Keys(w.spec.Outputs)) {
		field := w.field + ".outputs." + key
		switch {
		case slices.Contains(names, key), w.inner == nil && w.spec.Type == api.WorkCompound:
		case w.kind.function != nil:
			if w.spec.Outputs[key].From == nil {
				b.refuse(w.order, codeBinding, field+".from", "is missing: say where in what the function returns the output is, or make the task a tool_call, whose function may answer by a TaskResponse")
			}
		case len(names) == 0:
			b.refuse(w.order, codeBinding, field, "a task of type %s hands on nothing: take it out", w.spec.Type)
		default:
			b.refuse(w.order, codeBinding, field, "a task of type %s never yields it%s (it yields %s): correct the name, or take it out", w.spec.Type, b.nearest(key, slices.Values(names)), strings.Join(names, ", "))
		}
	}
}

// checkBuiltin refuses a task whose function is to be one that is built in, and isn't.
func (b *planner) checkBuiltin(w *work) {
	if w.kind.function == nil || b.handler.Builtins == nil || w.kind.function(w.spec).Builtin == "" {
		return
	}
	name, _, err := b.knownFunction(w)
	if errors.Is(err, runtime.ErrNotFound) {
		why := strings.TrimPrefix(err.Error(), runtime.ErrNotFound.Error()+": ")
		b.refuse(w.order, codeUnavailable, w.field+"."+string(w.spec.Type)+".builtin", "%q is %s: name one that is built in, or run an image", name, why)
	}
}

// nearest suggests a name, as long as people may still read it.
func (b *planner) nearest(name string, known iter.Seq[string]) string {
	if len(b.errs) >= maxSuggestions {
		return ""
	}
	return api.DidYouMean(name, slices.Sorted(known))
}

// maxSuggestions is how many refusals may stand before one that suggests a name: to
// look at all names for each of many costs too much.
const maxSuggestions = 20

// checkGraph has package dag look at needs and cycles.
func (b *planner) checkGraph() {
	var err error
	b.run.prepared, err = dag.Prepare(b.run.graph())
	if err == nil {
		return
	}
	at := map[string]*work{}
	for w := range b.run.allWorks() {
		at[w.path] = w
	}
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
	each(err)
}
