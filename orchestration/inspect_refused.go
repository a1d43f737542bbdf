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
	"github.com/stoop-dev/stoop/orchestration/upstream"
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
	job := w.job(spec, pkg)
	job.Package = pkg
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

// refusedJob is the error for work on a target that holds what it must not hold, or
// for what it needs where that can't be had. What is not declared here is taken for
// published elsewhere, since nothing may be contacted.
func (v *view) refusedJob(job *task.Job, local localRevisions) error {
	job.Revisions = supposed{local, v.registeredElsewhere}
	if err := v.refusedTarget(job); err != nil {
		return err
	}
	for _, name := range references(job.Revision, 0) {
		if unbound(name) {
			continue
		}
		if _, err := job.Revisions.Revision(context.Background(), job.Revision.Metadata.Namespace, name); err != nil {
			return fmt.Errorf("package revision %q: %w", name, err)
		}
	}
	return v.refusedUpstream(job.Task)
}

// refusedUpstream is the error for a place that the operator doesn't allow to be read.
func (v *view) refusedUpstream(t *api.Task) error {
	allowed, ok := v.handler.Upstream.(upstream.Checker)
	if !ok || t.Clone == nil {
		return nil
	}
	switch from := t.Clone.UpstreamRef; {
	case from.Git != nil && !unbound(from.Git.Repo):
		return allowed.Check(upstream.Ref{Type: upstream.TypeGit, Git: &upstream.GitRef{Repo: from.Git.Repo}})
	case from.OCI != nil && !unbound(from.OCI.Image):
		return allowed.Check(upstream.Ref{Type: upstream.TypeOCI, OCI: &upstream.OCIRef{Image: from.OCI.Image}})
	}
	return nil
}

// registeredElsewhere is the error for a name that no repository can have, as far as
// that is known without asking one.
func (v *view) registeredElsewhere(namespace, name string) error {
	err := errNotRegistered
	for _, known := range []ReferenceResolver{v.registered, v.handler.References} {
		if known == nil {
			continue
		}
		c, ok := known.(interface {
			Check(namespace, name string) error
		})
		if !ok {
			return nil
		}
		if err = c.Check(namespace, name); err == nil || !errors.Is(err, upstream.ErrNotFound) {
			return err
		}
	}
	return notDeclared(err)
}

// refusedTarget is the error for work on a target that holds what it must not hold.
func (v *view) refusedTarget(job *task.Job) error {
	ctx := context.Background() // nothing waits
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
		mutation = task.RequireRoom
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

// supposed finds the revisions that are declared, and takes all others that may be
// elsewhere for published.
type supposed struct {
	local     localRevisions
	elsewhere func(namespace, name string) error // what is against others
}

// Revision implements task.Revisions.
func (s supposed) Revision(_ context.Context, namespace, name string) (*task.Revision, error) {
	if rev, err := s.local(namespace, name); rev != nil || err != nil {
		return rev, err
	}
	if err := s.elsewhere(namespace, name); err != nil && !unbound(name) {
		return nil, err
	}
	return &task.Revision{Name: name, Published: true, SameAs: func(string, string) bool { return true }}, nil
}
