package orchestration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/task"
	"sigs.k8s.io/kustomize/kyaml/utils"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// ended takes over what the last attempt returned. What one did that was too
// late counts for nothing.
func (w *work) ended(state dag.State) {
	if a := w.last.Load(); a != nil {
		w.attempt = *a
	}
	if state != dag.Completed {
		w.attempt = attempt{dirty: w.dirty, outcome: w.outcome}
	}
}

// carry carries out one attempt at a task.
func (r *run) carry(ctx context.Context, w *work, in dag.Inputs) (dag.Result, error) {
	a := &attempt{}
	defer w.last.Store(a)
	bound, err := r.bind(w, in)
	if err != nil {
		return dag.Result{}, err
	}
	seen := &api.Observed{Spec: w.spec.Digest()}
	if bound != w.spec {
		if d := bound.Digest(); d != seen.Spec {
			seen.Inputs = d
		}
	}
	a.dirty = r.whyDirty(w, seen)
	if a.dirty == "" && !r.opts.Stateless {
		a.done, a.clean, a.outputs, a.seen = true, true, w.was.Outputs, w.was.Observed
		return dag.Result{Outputs: a.outputs, Clean: true}, nil
	}
	if r.opts.Mock && w.executed() {
		return w.mock(a)
	}
	pkg := kptpkg.Tree{}
	if w.target() != "" {
		pkg = r.store.pkg(w.target())
	}
	next, outputs, err := r.perform(ctx, w, a, bound, pkg)
	if err == nil {
		outputs, err = w.checkOutputs(outputs)
	}
	if err != nil {
		return dag.Result{}, err
	}
	if w.target() != "" {
		a.next = &next
	}
	a.done, a.outputs, a.seen = true, outputs, seen
	return dag.Result{Outputs: outputs}, nil
}

// bind puts values into the task's bindings.
func (r *run) bind(w *work, in dag.Inputs) (*api.TaskSpec, error) {
	bound, err := w.spec.Bind(r.lookup(w.plan, in))
	if err == nil && w.takesInputs() {
		bound = withNeeds(bound, w.spec, in)
	}
	if err == nil && clean(bound.Target) != w.target() { // it has bindings
		c := *bound
		c.Target = w.target()
		bound = &c
	}
	if err == nil {
		err = bound.ValidateBound(w.object.Ref(), w.field)
	}
	if err != nil {
		return nil, dag.Mark(dag.Permanent, at(api.At(err, w.object.Ref(), w.field), w.file, w.index))
	}
	return bound, nil
}

// withNeeds adds the outputs that needs name and no binding refers to to the
// inputs.
func withNeeds(bound, spec *api.TaskSpec, in dag.Inputs) *api.TaskSpec {
	var refs []api.BoundField
	for i, n := range spec.Needs {
		if n.OutputKey == "" {
			continue
		}
		if refs == nil {
			refs = spec.Bindings()
		}
		if slices.ContainsFunc(refs, func(b api.BoundField) bool { return b.Task == n.Task && b.Path[0] == n.OutputKey }) {
			continue
		}
		if _, given := bound.Inputs[n.OutputKey]; given {
			continue
		}
		c := *bound
		c.Inputs = maps.Clone(c.Inputs)
		if c.Inputs == nil {
			c.Inputs = map[string]any{}
		}
		v, ok := in.Needs[n.Task][n.OutputKey]
		if !ok {
			v = spec.Needs[i].Default
		}
		c.Inputs[n.OutputKey] = v
		bound = &c
	}
	return bound
}

// takesInputs says whether the task has inputs.
func (w *work) takesInputs() bool { return w.executed() || w.spec.Type == api.WorkEval }

// lookup finds what the bindings of a plan's tasks refer to.
func (r *run) lookup(p *plan, in dag.Inputs) func(api.Binding) (any, error) {
	return func(b api.Binding) (any, error) {
		if b.Task != "plan" {
			outputs := in.Needs[b.Task]
			if in.Inner != nil {
				outputs = in.Inner[b.Task]
			}
			return b.In(outputs)
		}
		params, err := r.params(p, in)
		if err != nil {
			return nil, err
		}
		words := map[string]any{}
		for k, v := range r.context(p) {
			words[k] = v
		}
		return b.In(map[string]any{"params": params, "context": words})
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

// onChange says whether the task runs again whenever the content of its target
// has changed, rather than once.
func (w *work) onChange() bool {
	switch w.spec.Type {
	case api.WorkRender, api.WorkEval, api.WorkToolCall:
		return true
	}
	return false
}

// whyDirty is why the task has to run, empty when it completed before and nothing
// has changed since.
func (r *run) whyDirty(w *work, seen *api.Observed) string {
	was := w.was.Observed
	switch {
	case was == nil || w.was.Mock:
		return "it has not completed before"
	case was.Spec != seen.Spec:
		return "its spec changed"
	case was.Inputs != seen.Inputs:
		return "its inputs changed"
	case !w.onChange() || w.target() == "":
		return ""
	}
	if d, err := r.store.digest(w.target()); err != nil || d != was.Content {
		return "the content of " + w.target() + " changed"
	}
	return ""
}

// contentDigest is the SHA-256, in hex, of a package's files: paths, modes and
// bytes, without the status of Kptfiles, which kpt writes anew at each render.
// Nothing is parsed.
func contentDigest(pkg kptpkg.Tree) (string, error) {
	sum := sha256.New()
	var line []byte
	for _, p := range pkg.Paths() {
		f := pkg.File(p)
		b, err := f.Bytes()
		if err != nil {
			return "", err
		}
		if path.Base(p) == kptpkg.KptfileName {
			b = withoutStatus(b)
		}
		one := sha256.Sum256(b)
		line = append(append(line[:0], p...), 0)
		line = append(strconv.AppendUint(line, uint64(f.Mode()), 10), 0)
		sum.Write(append(hex.AppendEncode(line, one[:]), '\n'))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// withoutStatus is a Kptfile without the lines of its top-level status.
func withoutStatus(b []byte) []byte {
	if !bytes.Contains(b, []byte("status:")) {
		return b
	}
	var out []byte
	skip := false
	for line := range bytes.Lines(b) {
		switch c := line[0]; {
		case bytes.HasPrefix(line, []byte("status:")):
			skip = true
		case skip && c != ' ' && c != '\n' && c != '\r' && c != '-' && c != '#':
			skip = false
		}
		if !skip {
			out = append(out, line...)
		}
	}
	return out
}

// executed says whether somebody else than stoop does the work.
func (w *work) executed() bool {
	switch w.spec.Type {
	case api.WorkToolCall, api.WorkAtomic, api.WorkLLMCall:
		return true
	}
	return false
}

// mock is an attempt in which nothing is done.
func (w *work) mock(a *attempt) (dag.Result, error) {
	m := w.spec.Mock
	if m != nil && m.Fail != "" {
		return dag.Result{}, dag.Mark(dag.Permanent, w.fail(string(dag.Orchestration), "mock.fail", m.Fail, nil))
	}
	outputs := map[string]any{}
	names, _ := w.outputNames()
	for _, name := range names {
		outputs[name] = zeroOf(w.outputType(name))
	}
	if m != nil {
		maps.Copy(outputs, m.Outputs)
	}
	a.done, a.outputs = true, outputs
	return dag.Result{Outputs: outputs}, nil
}

// outputType is the declared type of an output, empty when there is none.
func (w *work) outputType(name string) string {
	if o, ok := w.spec.Outputs[name]; ok {
		return o.Type
	}
	var schema map[string]any
	switch w.spec.Type {
	case api.WorkAtomic:
		schema = w.spec.Atomic.Schema
	case api.WorkLLMCall:
		schema = w.spec.LLMCall.Schema
	}
	props, _ := schema["properties"].(map[string]any)
	prop, _ := props[name].(map[string]any)
	t, _ := prop["type"].(string)
	return t
}

// zeroOf is the zero value of a type, in the words of JSON Schema.
func zeroOf(t string) any {
	switch t {
	case "integer":
		return int64(0)
	case "number":
		return float64(0)
	case "boolean":
		return false
	case "array":
		return []any{}
	case "object":
		return map[string]any{}
	}
	return ""
}

// fail is an error about a field of the task.
func (w *work) fail(code, field, message string, cause error) error {
	at := w.field
	if field != "" {
		at += "." + field
	}
	return w.about(codedError(w.object, code, at, message, cause))
}

// about makes an error that the task met one about its object.
func (w *work) about(err error) error {
	if err == nil {
		return nil
	}
	re, ok := errors.AsType[*fn.ResultError](err)
	if ref := w.asRevision(re); ref != nil {
		return &fn.ResultError{Result: w.tagged(inPlace(*ref, w.file, w.index)), Err: err}
	}
	if !ok || re.Result.ResourceRef == nil || *re.Result.ResourceRef != *w.object.Ref() {
		res := fn.Result{Message: err.Error(), Severity: fn.Error, ResourceRef: w.object.Ref(), Field: &fn.Field{Path: w.field}}
		return &fn.ResultError{Result: w.tagged(inPlace(res, w.file, w.index)), Err: err}
	}
	return &fn.ResultError{Result: w.tagged(inPlace(re.Result, w.file, w.index)), Err: err}
}

// asRevision makes an error about the task as the PackageRevision that it was for
// what did the work one about the task; nil if it isn't such an error.
func (w *work) asRevision(re *fn.ResultError) *fn.Result {
	if re == nil || re.Result.ResourceRef == nil || re.Result.ResourceRef.Kind != "PackageRevision" || re.Result.ResourceRef.Name != w.name {
		return nil
	}
	res := re.Result
	res.ResourceRef = w.object.Ref()
	res.Message = strings.ReplaceAll(res.Message, "another target with annotation "+api.TargetAnnotation, "another target")
	field := ""
	if res.Field != nil {
		field = strings.TrimPrefix(res.Field.Path, "spec.tasks[0]")
	}
	res.Field = &fn.Field{Path: w.field + field}
	return &res
}

// inPlace gives a result a place, unless it has one.
func inPlace(res fn.Result, file string, index int) fn.Result {
	if res.File == nil {
		res.File = &fn.File{Path: file, Index: index}
	}
	return res
}

// tagged says in a result which task it is about.
func (w *work) tagged(res fn.Result) fn.Result {
	res.Tags = maps.Clone(res.Tags)
	if res.Tags == nil {
		res.Tags = map[string]string{}
	}
	res.Tags["task"] = w.path
	return res
}

// perform does the work on a package, and returns that with the task's outputs.
func (r *run) perform(ctx context.Context, w *work, a *attempt, spec *api.TaskSpec, pkg kptpkg.Tree) (kptpkg.Tree, map[string]any, error) {
	switch spec.Type {
	case api.WorkApprove:
		return pkg, map[string]any{"by": spec.Approve.By}, nil
	case api.WorkAtomic, api.WorkLLMCall:
		outputs, err := r.ask(ctx, w, spec)
		return pkg, outputs, err
	}
	d := &draft{pkg}
	pr := w.revision(spec, pkg)
	in := workspace{
		revisions: r.localTo(w), registered: r.registered, unseen: r.opts.Unseen,
		onConflict: r.opts.OnConflict, resolve: resolutionsAt(r.opts.Resolve, w.target()), dir: w.target(),
	}
	if l := spec.Resources; l != nil {
		in.limits = runtime.Limits{Memory: l.MemoryBytes(), CPUs: l.CPUs(), CPU: l.CPUTime.Value(), Processes: l.Processes}
	}
	if u := spec.Upgrade; u != nil && in.onConflict == "" {
		in.onConflict = merge.Policy(u.OnConflict)
	}
	job := &task.Job{Revision: pr}
	kind, _ := task.Find(string(spec.Type))
	var err error
	switch spec.Type {
	case api.WorkInit, api.WorkClone:
		if r.opts.RefuseCreation != "" {
			err = w.fail("", "target", r.opts.RefuseCreation, nil)
		} else if w.target() == "." && r.opts.RefuseInPlace != "" {
			err = w.fail("", "target", r.opts.RefuseInPlace, nil)
		}
		job.Task = &pr.Spec.Tasks[0]
	case api.WorkEdit, api.WorkUpgrade:
		job.Task = &pr.Spec.Tasks[0]
	case api.WorkReplace:
		if r.opts.Unseen != nil && !r.opts.Whole[w.target()] && !w.madeNow() {
			err = w.fail("", "", "replacing a package needs all its files, and a host passes only resources: use stoop run", nil)
		}
		job.Resources = &api.PackageRevisionResources{}
		job.Resources.Spec.Resources = spec.Replace.Resources
	case api.WorkEval:
		job.Function, err = r.function(w, spec, &spec.Eval.FunctionRef)
		in.builtin = spec.Eval.Builtin != ""
	case api.WorkToolCall:
		job.Function, err = r.function(w, spec, &spec.ToolCall.FunctionRef)
		in.builtin = spec.ToolCall.Builtin != ""
	}
	if err == nil && w.changesPackage() && pkg.Len() == 0 {
		err = w.fail("", "target", fmt.Sprintf("target %q holds no package: make one first, and let this task need that", w.spec.Target), nil)
	}
	if err != nil {
		return pkg, nil, dag.Mark(dag.Permanent, err)
	}
	out, err := r.handler.run(ctx, in, d, kind, job)
	if out != nil {
		a.outcome = out
	}
	if err == nil && w.target() == "." && (spec.Type == api.WorkClone || spec.Type == api.WorkInit) {
		err = r.bringsOrders(d.pkg, func(message string) error { return w.fail("", "target", message, nil) })
	}
	if err != nil {
		return pkg, nil, w.caused(err)
	}
	outputs := lockOutputs(out)
	if job.Function != nil {
		d.pkg, outputs, err = w.harvest(d.pkg, out)
	}
	return d.pkg, outputs, err
}

// madeNow says whether the target's package was made in this run, by a task that
// this one needs: then all its files are there.
func (w *work) madeNow() bool {
	return slices.ContainsFunc(w.needs, func(d *work) bool {
		made := d.spec.Type == api.WorkInit || d.spec.Type == api.WorkClone
		return d.target() == w.target() && d.done && !d.clean && (made || d.madeNow())
	})
}

// changesPackage says whether there has to be a package that the task works on.
func (w *work) changesPackage() bool {
	switch w.spec.Type {
	case api.WorkRender, api.WorkEval, api.WorkReplace:
		return true
	case api.WorkToolCall:
		return w.target() != ""
	}
	return false
}

// revision is the task on pkg as a PackageRevision, for what works on those.
func (w *work) revision(spec *api.TaskSpec, pkg kptpkg.Tree) *api.PackageRevision {
	pr := &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision"}}
	pr.Metadata.Name, pr.Metadata.Namespace = w.name, w.object.Ref().Namespace
	if w.target() != "" {
		pr.Metadata.Annotations = map[string]string{api.TargetAnnotation: w.target()}
	}
	pr.Spec.PackageName = path.Base(w.target())
	if w.target() == "." { // whose directory has a name that stoop doesn't know
		pr.Spec.PackageName = w.name
		if k, err := pkg.Kptfile("."); err == nil && k.Metadata.Name != "" {
			pr.Spec.PackageName = k.Metadata.Name
		}
	}
	pr.Metadata.Annotations = map[string]string{api.TargetAnnotation: w.target()}
	if t, ok := spec.PorchTask(); ok {
		pr.Spec.Tasks = []api.Task{t}
	}
	return pr
}

// localTo finds declared revisions as a task sees them: what is on its own target
// is its present content, under the name of a task on that target too.
func (r *run) localTo(w *work) localRevisions {
	return func(namespace, name string) (*task.Revision, error) {
		current := &task.Revision{Name: name, Current: true, SameAs: func(string, string) bool { return true }}
		d := r.byName(namespace, name)
		if d == nil {
			if name == w.name || w.plan != nil && w.plan.byName[name] != nil && w.plan.byName[name].target() == w.target() {
				current.Package = r.store.pkg(w.target())
				return current, nil
			}
			return nil, nil
		}
		if d.target == w.target() && d.after == nil {
			current.Package = r.store.pkg(w.target())
			return current, nil
		}
		return r.local(&job{})(namespace, name)
	}
}

// lockOutputs are the outputs of a task that fetched a package: where from.
func lockOutputs(out *Outcome) map[string]any {
	if out == nil || out.Lock == nil {
		return nil
	}
	if l := out.Lock.OCI; l != nil {
		return map[string]any{"image": l.Image}
	}
	l := out.Lock.Git
	return map[string]any{"repo": l.Repo, "directory": l.Directory, "ref": l.Ref, "commit": l.Commit}
}

// function is the function that a task calls.
func (r *run) function(w *work, spec *api.TaskSpec, ref *api.FunctionRef) (*kptpkg.Function, error) {
	f := &kptpkg.Function{Image: ref.Image, Exec: ref.Exec, Tag: ref.Tag}
	if ref.Builtin != "" {
		f.Image = ref.Builtin // only of those, see workspace.builtin
	}
	if e := spec.Eval; e != nil {
		f.Selectors, f.Exclude = selectors(e.Selectors), selectors(e.Exclude)
	}
	config := ref.Config
	if config == nil && len(spec.Inputs) > 0 {
		data := map[string]any{}
		for k, v := range spec.Inputs {
			data[k] = inputText(v)
		}
		config = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "function-input"}, "data": data}
	}
	if config != nil {
		f.Config = api.ValueNode(config)
	}
	words := r.context(w.plan)
	if spec.Type != api.WorkToolCall || len(words) == 0 {
		return f, nil
	}
	if f.Config == nil {
		f.Config = api.ValueNode(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "function-input"}})
	}
	n := yaml.NewRNode(f.Config)
	for _, k := range slices.Sorted(maps.Keys(words)) {
		if err := n.PipeE(yaml.SetAnnotation(contextAnnotation+k, words[k])); err != nil {
			return nil, w.fail("", "", "the function config takes no annotations: "+err.Error(), err)
		}
	}
	return f, nil
}

// contextAnnotation begins the annotations of a tool's function config that say
// the run's context.
const contextAnnotation = "context.stoop.dev/"

// inputText is an input as the data of a ConfigMap: texts as they are, all else
// as JSON.
func inputText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func selectors(in []api.Selector) []kptpkg.Selector {
	var out []kptpkg.Selector
	for _, s := range in {
		out = append(out, kptpkg.Selector{APIVersion: s.APIVersion, Kind: s.Kind, Name: s.Name, Namespace: s.Namespace, Labels: s.Labels, Annotations: s.Annotations})
	}
	return out
}

// harvest takes a function's outputs from what it returned: TaskResponse items,
// which are no part of the package, and the fields and results that the task
// names.
func (w *work) harvest(pkg kptpkg.Tree, out *Outcome) (kptpkg.Tree, map[string]any, error) {
	outputs := map[string]any{}
	wanted := map[string][]string{} // outputs by the kind of the item they are in
	for name, o := range w.spec.Outputs {
		if o.From == nil {
			continue
		}
		if o.From.Result != "" {
			if v, ok := resultValue(out.Results, o.From.Result); ok {
				outputs[name] = v
			}
			continue
		}
		wanted[o.From.Kind] = append(wanted[o.From.Kind], name)
	}
	found := map[string]string{} // where an output was found
	for _, p := range pkg.Paths() {
		f := pkg.File(p)
		if !f.IsYAML() || f.Text() != nil && len(wanted) == 0 {
			continue // read from disk as it is: no answer of the function
		}
		var kept []*yamldoc.Doc
		for _, d := range f.Docs() {
			root, err := d.Root()
			if err != nil || root == nil {
				kept = append(kept, d)
				continue
			}
			n := yaml.NewRNode(root)
			if w.spec.Type == api.WorkToolCall && n.GetKind() == "TaskResponse" && n.GetApiVersion() == api.StoopV1Alpha1 {
				v, err := api.Value(root)
				if err != nil {
					return pkg, nil, err
				}
				if given, ok := v.(map[string]any)["outputs"].(map[string]any); ok {
					for k, v := range given {
						if o, declared := w.spec.Outputs[k]; !declared || o.From == nil {
							outputs[k] = v
						}
					}
				}
				continue
			}
			kept = append(kept, d)
			for _, name := range wanted[n.GetKind()] {
				from := w.spec.Outputs[name].From
				if from.Name != "" && from.Name != kptpkg.Name(root) {
					continue
				}
				if first, twice := found[name]; twice {
					return pkg, nil, dag.Mark(dag.Permanent, w.fail(codeBinding, "outputs."+name+".from", fmt.Sprintf("there is more than one %s (in %s and %s): name the one that is meant", from.Kind, first, p), nil))
				}
				v, ok, err := fieldValue(root, from.Field)
				if err != nil {
					return pkg, nil, dag.Mark(dag.Permanent, w.fail(codeBinding, "outputs."+name+".from.field", err.Error(), err))
				}
				if ok {
					found[name] = p
					outputs[name] = v
				}
			}
		}
		if len(kept) == len(f.Docs()) {
			continue
		}
		pkg = pkg.Without(p)
		if len(kept) > 0 {
			var err error
			if pkg, err = pkg.With(f.WithDocs(kept...)); err != nil {
				return pkg, nil, err
			}
		}
	}
	return pkg, outputs, nil
}

// fieldValue is the value of a field of an object, ok says whether it has one.
func fieldValue(root *yaml.Node, field string) (v any, ok bool, err error) {
	n, err := yaml.NewRNode(root).Pipe(yaml.Lookup(utils.SmarterPathSplitter(field, ".")...))
	if err != nil || n == nil {
		return nil, false, err
	}
	v, err = api.Value(n.YNode())
	return v, err == nil, err
}

// resultValue is the value that a function reported about a field.
func resultValue(results []fn.Result, field string) (any, bool) {
	for _, res := range results {
		switch {
		case res.Field == nil || res.Field.Path != field:
		case res.Field.ProposedValue != nil:
			return normal(res.Field.ProposedValue), true
		case res.Field.CurrentValue != nil:
			return normal(res.Field.CurrentValue), true
		default:
			return res.Message, true
		}
	}
	return nil, false
}

// normal is a value with the types that outputs have.
func normal(v any) any {
	n, err := api.Value(api.ValueNode(v))
	if err != nil {
		return v
	}
	return n
}

// checkOutputs returns the outputs that the task declares; what is missing or of
// another type is an error.
func (w *work) checkOutputs(outputs map[string]any) (map[string]any, error) {
	for _, name := range slices.Sorted(maps.Keys(w.spec.Outputs)) {
		o := w.spec.Outputs[name]
		v, ok := outputs[name]
		switch {
		case !ok && !o.Optional:
			return nil, w.fail(codeMissing, "outputs."+name, "the task yielded no such output: correct where it comes from, or make it optional", nil)
		case ok:
			if err := o.Check(v); err != nil {
				return nil, w.fail(codeBinding, "outputs."+name+".type", err.Error(), err)
			}
		}
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		size += len(name) + len(inputText(outputs[name]))
	}
	if size > maxOutputs {
		return nil, dag.Mark(dag.Permanent, w.fail(codeBinding, "outputs", fmt.Sprintf("the outputs take %d bytes, more than %d: keep such values in a file of a package", size, maxOutputs), nil))
	}
	if len(outputs) == 0 {
		return nil, nil
	}
	return outputs, nil
}

// maxOutputs bounds what a task hands on, in bytes of JSON: it is kept in the
// status.
const maxOutputs = 64 << 10

// ask has an agent do the work.
func (r *run) ask(ctx context.Context, w *work, spec *api.TaskSpec) (map[string]any, error) {
	if r.opts.Agent == nil {
		return nil, dag.Mark(dag.Permanent, w.fail(codeUnavailable, "type", fmt.Sprintf("nobody is there to carry out tasks of type %s: name a chat endpoint (--agent-url), or try the plan out with --mock", spec.Type), nil))
	}
	req := agent.Request{Task: w.path, Kind: string(spec.Type), Inputs: spec.Inputs, Context: r.context(w.plan)}
	if a := spec.Atomic; a != nil {
		req.Model, req.Prompt, req.Schema = a.Model, a.Description, a.Schema
	}
	if l := spec.LLMCall; l != nil {
		req.Model, req.System, req.Prompt, req.Schema = l.Model, l.System, l.Prompt, l.Schema
		req.MaxTokens, req.Temperature = l.MaxTokens, l.Temperature
	}
	answer, err := r.opts.Agent.Execute(ctx, req)
	if err != nil {
		return nil, w.about(err)
	}
	return answer.Outputs, nil
}

// caused says of an error whether trying again may help.
func (w *work) caused(err error) error {
	told := w.about(err)
	switch {
	case errors.Is(err, runtime.ErrNotFound), errors.Is(err, runtime.ErrNotAllowed):
		re, _ := errors.AsType[*fn.ResultError](told)
		re.Result.Tags[api.CodeTag] = codeUnavailable
		return dag.Mark(dag.Permanent, re)
	case repository.IsTransient(err):
		return dag.Mark(dag.Unavailable, told)
	case w.executed():
		return told
	}
	var failed *render.Error
	if errors.As(err, &failed) || errors.Is(err, repository.ErrNotFound) {
		return dag.Mark(dag.Permanent, told)
	}
	return told
}
