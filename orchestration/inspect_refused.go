package orchestration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// refused is why a run would refuse to do a task's work on its target, empty where
// nothing is known against it.
func (v *view) refused(w *work) string {
	if w.inner != nil || v.opts.Mock && w.kind.executed() {
		return ""
	}
	if why := v.unavailable(w); why != "" || w.target() == "" {
		return why
	}
	pkg := v.store.pkg(w.target())
	if w.changesPackage() {
		if pkg.Len() == 0 && v.changedBy(w.target()) == "" {
			return fmt.Sprintf("target %q holds no package: make one first, and let this task need that", w.target())
		}
		return ""
	}
	spec := v.boundNow(w)
	if _, makes := spec.PorchTask(); !makes {
		return ""
	}
	pr := w.revision(spec, pkg)
	job := &task.Job{Revision: pr, AnyPackage: true, Task: &pr.Spec.Tasks[0], Package: pkg}
	if why := firstLine(w.about(v.refusedJob(job, v.localTo(w)))); why != "" || !onlyWhereEmpty(job.Task) {
		return why
	}
	return v.filledBefore(w.target())
}

// unavailable is why nobody is there, or allowed, to carry out a task, empty where
// nothing is known of that.
func (v *view) unavailable(w *work) string {
	switch {
	case w.kind.request != nil && v.opts.Agent == nil:
		return nobodyThere(w.spec.Type)
	case w.kind.function != nil:
		if _, _, err := v.knownFunction(w); errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotAllowed) {
			return firstLine(err)
		}
	}
	return ""
}

// refusedCreation is why a run would refuse to make an order's package, empty where
// nothing is known against it.
func (v *view) refusedCreation(j *job) string {
	if j.action != ActionCreate {
		return ""
	}
	job := &task.Job{Revision: j.revision, Task: &j.revision.Spec.Tasks[0], Package: v.store.pkg(j.target)}
	return firstLine(j.about(v.refusedJob(job, v.local(j))))
}

// boundNow is the task with its bindings replaced where their values are known
// by now, else as it is.
func (v *view) boundNow(w *work) *api.TaskSpec {
	for _, b := range w.spec.Bindings() {
		if d := v.producer(w, b); d != nil && d.Prospect != WouldSkip {
			return w.spec
		}
	}
	if bound, err := v.bind(w, v.inputs(w)); err == nil {
		return bound
	}
	return w.spec
}

// onlyWhereEmpty says whether a task makes a package and does nothing else.
func onlyWhereEmpty(t *api.Task) bool { return t.Type == api.TaskInit || t.Type == api.TaskClone }

// refusedJob is the error for work on a target that holds what it must not hold. What
// is not declared here is taken for published elsewhere, since nothing may be
// contacted.
func (v *view) refusedJob(job *task.Job, local localRevisions) error {
	ctx := context.Background() // nothing waits
	job.Revisions = supposed{local}
	mutation := task.RequireEmpty
	switch t := job.Task; t.Type {
	case api.TaskEdit:
		if unbound(t.Edit.SourceRef.Name) {
			return nil
		}
		mutation = task.CopyRevision
	case api.TaskUpgrade:
		name := t.Upgrade.LocalPackageRevisionRef.Name
		rev, err := job.Revisions.Revision(ctx, job.Revision.Metadata.Namespace, name)
		if err != nil || rev.Current || unbound(name) {
			return nil
		}
	}
	_, err := mutation.Apply(ctx, job)
	return err
}

// unbound says whether a name isn't known yet.
func unbound(name string) bool { return strings.Contains(name, "{{") }

// filledBefore is why there will be content in a target that is empty now.
func (v *view) filledBefore(target string) string {
	for _, by := range []string{v.at[target], v.below[target]} {
		makers := []string{string(api.TaskInit), string(api.TaskClone), string(api.TaskEdit), string(api.TaskUpgrade), string(ActionCreate)}
		if d := v.of[by]; d != nil && d.Prospect == WouldRun && slices.Contains(makers, d.Type) {
			return fmt.Sprintf("target %q will hold what %s makes, and a package is only made where there is none", target, by)
		}
	}
	return ""
}

// supposed finds the revisions that are declared, and takes all others for
// published.
type supposed struct{ local localRevisions }

// Revision implements task.Revisions.
func (s supposed) Revision(_ context.Context, namespace, name string) (*task.Revision, error) {
	if rev, err := s.local(namespace, name); rev != nil || err != nil {
		return rev, err
	}
	return &task.Revision{Name: name, Published: true, SameAs: func(string, string) bool { return true }}, nil
}
