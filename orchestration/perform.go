package orchestration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/task"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// perform does the work on a package, and returns that with the task's outputs.
func (r *run) perform(ctx context.Context, w *work, a *attempt, spec *api.TaskSpec, pkg kptpkg.Tree) (kptpkg.Tree, map[string]any, error) {
	if w.kind.do != nil {
		outputs, err := w.kind.do(ctx, r, w, spec)
		return pkg, outputs, err
	}
	if err := r.refused(w, spec, pkg); err != nil {
		return pkg, nil, dag.Mark(dag.Permanent, err)
	}
	in, job, err := r.jobOf(w, spec, pkg)
	if err != nil {
		return pkg, nil, dag.Mark(dag.Permanent, err)
	}
	d := &draft{pkg}
	kind, _ := task.Find(string(spec.Type))
	out, err := r.handler.run(ctx, in, d, kind, job)
	if out != nil {
		if ctx.Err() != nil { // why it was told to stop is said elsewhere
			out.Results = slices.DeleteFunc(out.Results, func(res fn.Result) bool { return res.Severity == fn.Error })
		}
		a.outcome = out
	}
	if err == nil && w.target() == "." && job.Task != nil {
		err = r.bringsOrders(d.pkg, "target", func(message string) error { return w.fail("", "target", message, nil) })
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

// refused is the error for work that can't be done on the package at its target, or
// under this host.
func (r *run) refused(w *work, spec *api.TaskSpec, pkg kptpkg.Tree) error {
	target := w.target()
	switch inTheWay := r.store.fileAt(target); {
	case target == "." && r.opts.RefuseInPlace != "" && !w.kind.tool:
		return w.fail("", "target", r.opts.RefuseInPlace, nil)
	case w.kind.fresh && r.opts.RefuseCreation != "":
		return w.fail("", "target", r.opts.RefuseCreation, nil)
	case spec.Replace != nil && r.opts.Unseen != nil && !r.opts.Whole[target] && !w.madeNow():
		return w.fail("", "", "replacing a package needs all its files, and a host passes only resources: use stoop run", nil)
	case inTheWay != "":
		return w.fail(codeConflict, "target", fmt.Sprintf("%s is a file, where target %q needs a directory: choose another", inTheWay, target), nil)
	case w.changesPackage() && pkg.Len() == 0:
		return w.fail("", "target", fmt.Sprintf("target %q holds no package: make one first, and let this task need that", w.spec.Target), nil)
	case w.kind.bare != "" && pkg.File(kptpkg.KptfileName) == nil:
		return w.fail("", "target", fmt.Sprintf("target %q has no Kptfile, %s", target, w.kind.bare), nil)
	}
	return nil
}

// jobOf is the task for the handler, and what that has to know of the workspace.
func (r *run) jobOf(w *work, spec *api.TaskSpec, pkg kptpkg.Tree) (in workspace, job *task.Job, err error) {
	in = r.workspace(w.target(), r.localTo(w))
	if l := spec.Resources; l != nil {
		in.limits = limitsOf(l)
	}
	if u := spec.Upgrade; u != nil && in.onConflict == "" {
		in.onConflict = merge.Policy(u.OnConflict)
	}
	job = w.job(spec, pkg)
	if spec.Replace != nil {
		job.Resources = &api.PackageRevisionResources{}
		job.Resources.Spec.Resources = spec.Replace.Resources
	}
	if w.kind.function != nil {
		ref := w.kind.function(spec)
		in.builtin = ref.Builtin != ""
		job.Function, err = r.function(w, spec, ref)
	}
	return in, job, err
}

// madeNow says whether the target's package was made in this run, by a task that
// this one needs: then all its files are there.
func (w *work) madeNow() bool {
	return slices.ContainsFunc(w.needs, func(d *work) bool {
		return d.target() == w.target() && d.done && !d.clean && (d.kind.fresh || d.madeNow())
	})
}

// job is the task on pkg, as that of a PackageRevision for what works on those.
func (w *work) job(spec *api.TaskSpec, pkg kptpkg.Tree) *task.Job {
	pr := &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision"}}
	pr.Metadata.Name, pr.Metadata.Namespace = w.name, w.object.Ref().Namespace
	pr.Metadata.Annotations = map[string]string{api.TargetAnnotation: w.target()}
	pr.Spec.PackageName = path.Base(w.target())
	if w.target() == "." { // whose directory has a name that stoop doesn't know
		pr.Spec.PackageName = w.name
		if k, err := pkg.Kptfile("."); err == nil && k.Metadata.Name != "" {
			pr.Spec.PackageName = k.Metadata.Name
		}
	}
	job := &task.Job{Revision: pr, By: w.object.Ref(), Field: w.field}
	if t, ok := spec.PorchTask(); ok {
		pr.Spec.Tasks = []api.Task{t}
		job.Task = &t
	}
	return job
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
		if !slices.Contains(w.reads, d) {
			return nil, fmt.Errorf("it is declared in %s, and the task names it by what another task yields: write its name, or a param that is known before anything runs, so that there is an order", d.file)
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
	if !w.kind.tool || len(words) == 0 {
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

func nobodyThere(t api.WorkType) string {
	return fmt.Sprintf("nobody is there to carry out tasks of type %s: name a chat endpoint (--agent-url), or try the plan out with --mock", t)
}

// ask has an agent do the work.
func ask(ctx context.Context, r *run, w *work, spec *api.TaskSpec) (map[string]any, error) {
	if r.opts.Agent == nil {
		return nil, dag.Mark(dag.Permanent, w.fail(codeUnavailable, "type", nobodyThere(spec.Type), nil))
	}
	req := w.kind.request(spec)
	req.Task, req.Kind, req.Inputs, req.Context = w.path, string(spec.Type), spec.Inputs, r.context(w.plan)
	answer, err := r.opts.Agent.Execute(ctx, req)
	switch {
	case err != nil:
		return nil, w.about(err)
	case answer == nil:
		return nil, dag.Mark(dag.Permanent, w.about(errors.New("the agent returned neither an answer nor an error")))
	}
	outputs, err := answered(answer)
	if err != nil {
		return nil, dag.Mark(dag.Permanent, w.fail(codeBinding, "", "the agent's answer: "+err.Error(), err))
	}
	return outputs, nil
}
