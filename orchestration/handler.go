package orchestration

import (
	"context"
	"errors"
	"fmt"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// TaskHandler applies tasks and changes to package revisions, in the words of
// Porch's task handler. Its fields are its dependencies: set them before the
// first use; it may then be used concurrently.
type TaskHandler struct {
	// Runtime finds the functions of pipelines.
	Runtime runtime.Runtime
	// Builtins finds the functions of tasks that ask for one that is built in;
	// nil: there are none.
	Builtins runtime.Runtime
	// RunnerOptions are how pipelines run for objects of a namespace; nil
	// means RunnerOptions{} for all.
	RunnerOptions func(namespace string) RunnerOptions
	// Upstream opens the repositories that packages are cloned from. How often
	// a request is repeated is its business.
	Upstream upstream.Source
	// Credentials resolves the secrets that git upstreams name; nil: none can
	// be had, and a secretRef is an error.
	Credentials CredentialResolver
	// Repositories opens the repositories that a workspace declares, to find
	// package revisions there by name; nil: none can be opened.
	Repositories RepositoryOpener
	// References resolves the names of package revisions that no declared
	// repository has; nil: none is known.
	References ReferenceResolver
	// Status is whether Kptfiles get a render status; empty is task.StatusKeep.
	Status task.StatusPolicy
}

// RunnerOptions are how the pipelines of one namespace run.
type RunnerOptions struct {
	// Runtime finds the functions in place of TaskHandler.Runtime; nil: that
	// does.
	Runtime runtime.Runtime
	// ImagePrefix goes before names of images that are but one word; empty:
	// kpt's.
	ImagePrefix string
	// Strict refuses YAML that is no resource, as kpt does; otherwise it is
	// carried through with a warning.
	Strict bool
	// LenientResults lets a function pass that reports an error and exits 0.
	LenientResults bool
}

// CredentialResolver finds the credentials that a secretRef names.
type CredentialResolver = task.CredentialResolver

// RepositoryOpener opens registered repositories.
type RepositoryOpener interface {
	// Open returns what finds package revisions in the repositories. It reads
	// nothing yet.
	Open([]*api.Repository) ReferenceResolver
}

// ReferenceResolver says where the published package revision of that name is
// kept, as seen from a namespace. Drafts and placeholders are refused.
type ReferenceResolver interface {
	Reference(ctx context.Context, namespace, name string) (upstream.Ref, error)
}

// Draft is a package revision while it is worked on: nothing of it is visible
// elsewhere until whoever made it closes it.
type Draft interface {
	// Resources is the package as it is now; empty before the first update.
	Resources(context.Context) (kptpkg.Tree, error)
	// UpdateResources replaces the package. t is the task that did it, nil for
	// an update or render.
	UpdateResources(ctx context.Context, pkg kptpkg.Tree, t *api.Task) error
}

// Outcome is what an operation has to say beside its error. It is also returned
// with an error, as far as it came.
type Outcome struct {
	Lock     *upstream.Lock   // what was fetched, nil when nothing was
	Rendered *render.Rendered // what the render did, nil when it wasn't reached
	Results  []fn.Result      // those of the task and of every function that ran
}

// ApplyTask creates a package revision: it applies pr's one task to the draft,
// sets its metadata and readiness gates, renders it, and updates the draft
// once. repo is the repository the package belongs to, nil when it isn't known;
// only whether it is for deployment matters. With an error the draft is
// unchanged.
func (h *TaskHandler) ApplyTask(ctx context.Context, draft Draft, repo *api.Repository, pr *api.PackageRevision) (*Outcome, error) {
	if err := pr.ValidateCreate(); err != nil {
		return nil, err
	}
	return h.applyTask(ctx, workspace{}, draft, repo, pr, 0)
}

// workspace is what a handler knows of the workspace that a draft is part of;
// the zero value knows nothing.
type workspace struct {
	revisions  localRevisions
	registered ReferenceResolver       // for the repositories it declares
	unseen     func(*kptpkg.File) bool // as in task.Job
	onConflict merge.Policy            // as in task.Job
	resolve    merge.Resolutions       // as in task.Job
	dir        string                  // as in task.Job
	limits     runtime.Limits          // as in render.Renderer
	builtin    bool                    // only functions that are built in are to run
}

func (h *TaskHandler) applyTask(ctx context.Context, in workspace, draft Draft, repo *api.Repository, pr *api.PackageRevision, i int) (*Outcome, error) {
	if err := pr.ValidateTask(i); err != nil {
		return nil, err
	}
	t := &pr.Spec.Tasks[i]
	kind, ok := task.Find(string(t.Type))
	if !ok { // ValidateTask knows no others
		return nil, resultError(pr, fmt.Sprintf("spec.tasks[%d].type", i), fmt.Sprintf("there are no tasks of type %s", t.Type), nil)
	}
	out, err := h.run(ctx, in, draft, kind, &task.Job{
		Revision: pr, Task: t, Field: fmt.Sprintf("spec.tasks[%d]", i),
		Deployment: repo != nil && repo.Spec.Deployment,
	})
	return out, renderError(err)
}

// DoPRMutations carries a changed object over to the package: a Draft's labels,
// annotations, readiness gates and conditions go into the Kptfile, and the
// package is rendered; then tasks that newObj has and oldObj doesn't are applied
// in order. Unless oldObj is a Draft nothing is done and the Outcome is nil.
// Where nothing changed nothing is written.
func (h *TaskHandler) DoPRMutations(ctx context.Context, oldObj, newObj *api.PackageRevision, repo *api.Repository, draft Draft) (*Outcome, error) {
	if oldObj.Lifecycle() != api.Draft {
		return nil, nil
	}
	if err := newObj.Validate(); err != nil {
		return nil, err
	}
	n := len(oldObj.Spec.Tasks)
	if n > len(newObj.Spec.Tasks) || oldObj.TaskDigest(n) != newObj.TaskDigest(n) {
		return nil, resultError(newObj, "spec.tasks", "tasks that have run can't be changed or taken out: append new ones", nil)
	}
	return h.update(ctx, workspace{}, draft, repo, newObj, n, oldObj.ObservedDigest() != newObj.ObservedDigest())
}

// update carries pr over to the package where it changed, and applies its tasks
// from the given one on.
func (h *TaskHandler) update(ctx context.Context, in workspace, draft Draft, repo *api.Repository, pr *api.PackageRevision, from int, changed bool) (*Outcome, error) {
	out := &Outcome{}
	if changed {
		kind, _ := task.Find("update")
		o, err := h.run(ctx, in, draft, kind, &task.Job{Revision: pr})
		out.add(o)
		if err != nil {
			return out, renderError(err)
		}
	}
	for i := from; i < len(pr.Spec.Tasks); i++ {
		o, err := h.applyTask(ctx, in, draft, repo, pr, i)
		out.add(o)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// pushOnFailure on a PackageRevision has its package saved although it can't be
// rendered; the name is Porch's.
const pushOnFailure = "porch.kpt.dev/push-on-render-failure"

// DoPRResourceMutations replaces the draft's package by newRes, whose resources
// get back the comments the old ones had, and renders it. The RenderStatus says
// how the render went, also when it failed; it is nil when it wasn't reached.
//
// oldRes says which content newRes was made from: where the draft holds
// something else by now the error says so and nothing is changed; nil skips
// that. When the render fails the draft is updated only if pr has annotation
// porch.kpt.dev/push-on-render-failure: with what the Kptfile's annotation
// kpt.dev/save-on-render-failure asks to be kept, else with what was given.
func (h *TaskHandler) DoPRResourceMutations(ctx context.Context, pr *api.PackageRevision, draft Draft, oldRes, newRes *api.PackageRevisionResources) (*api.RenderStatus, error) {
	if err := newRes.Validate(); err != nil {
		return nil, err
	}
	if pr.Lifecycle() != api.Draft {
		return nil, notDraft(pr)
	}
	pkg, err := draft.Resources(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the package: %w", err)
	}
	if oldRes != nil {
		if err := unchangedSince(pkg, oldRes); err != nil {
			return nil, err
		}
	}
	_, status, err := h.replace(ctx, workspace{}, draft, pr, newRes)
	return status, err
}

// replace is DoPRResourceMutations without its checks.
func (h *TaskHandler) replace(ctx context.Context, in workspace, draft Draft, pr *api.PackageRevision, res *api.PackageRevisionResources) (*Outcome, *api.RenderStatus, error) {
	kind, _ := task.Find("replace")
	out, err := h.run(ctx, in, draft, kind, &task.Job{Revision: pr, Resources: res})
	if out == nil || out.Rendered == nil {
		return out, nil, renderError(err)
	}
	var failed *render.Error
	if !errors.As(err, &failed) || pr.Metadata.Annotations[pushOnFailure] != "true" {
		err = renderError(err)
		return out, renderStatus(out.Rendered, err), err
	}
	err = fmt.Errorf("%w (package written all the same, as annotation %s asks for)", err, pushOnFailure)
	if saveErr := draft.UpdateResources(ctx, out.Rendered.Tree, nil); saveErr != nil {
		err = errors.Join(renderError(failed), fmt.Errorf("saving the package that failed to render: %w", saveErr))
	}
	return out, renderStatus(out.Rendered, err), err
}

// Eval runs one function over all resources of the draft's package, those of
// subpackages included, as `kpt fn eval` does, renders the package, and updates
// the draft once. pr says whose package it is; unless it is a Draft that is an
// error. With an error the draft is unchanged.
func (h *TaskHandler) Eval(ctx context.Context, draft Draft, pr *api.PackageRevision, f kptpkg.Function) (*Outcome, error) {
	if pr.Lifecycle() != api.Draft {
		return nil, notDraft(pr)
	}
	kind, _ := task.Find("eval")
	out, err := h.run(ctx, workspace{}, draft, kind, &task.Job{Revision: pr, Function: &f})
	return out, renderError(err)
}

// notDraft refuses to change the content of a package revision.
func notDraft(pr *api.PackageRevision) error {
	return resultError(pr, "spec.lifecycle", fmt.Sprintf("is %s: only the content of a Draft can be changed; set it to Draft, or make a new revision (edit)", pr.Lifecycle()), nil)
}

// unchangedSince refuses to replace a package that isn't what the caller saw.
func unchangedSince(pkg kptpkg.Tree, seen *api.PackageRevisionResources) error {
	content, err := seen.Files()
	if err != nil {
		return err
	}
	for p, text := range content {
		f := pkg.File(p)
		if f == nil {
			return resultError(seen, "spec.resources["+p+"]", "the package no longer has this file: read it again and repeat the change", nil)
		}
		b, err := f.Bytes()
		if err != nil {
			return err
		}
		if string(b) != string(text) {
			return resultError(seen, "spec.resources["+p+"]", "the package has another content by now: read it again and repeat the change", nil)
		}
	}
	return nil
}

// renderStatus is how a render went, in Porch's form.
func renderStatus(r *render.Rendered, err error) *api.RenderStatus {
	list := r.ResultList()
	status := &api.RenderStatus{}
	status.Result.APIVersion, status.Result.Kind = list.APIVersion, list.Kind
	status.Result.Metadata.Name, status.Result.ExitCode = list.Metadata.Name, list.ExitCode
	for _, f := range list.Items {
		status.Result.Items = append(status.Result.Items, api.FunctionResult{
			Image: f.Image, Exec: f.Exec, Stderr: api.HidePasswords(f.Stderr), ExitCode: f.ExitCode, Results: api.WithoutPasswords(f.Results),
		})
	}
	if err != nil {
		status.Error = api.HidePasswords(err.Error())
	}
	return status
}

// run runs a kind over the draft and updates it once.
func (h *TaskHandler) run(ctx context.Context, in workspace, draft Draft, kind task.Kind, job *task.Job) (*Outcome, error) {
	pkg, err := draft.Resources(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the package: %w", err)
	}
	var opts RunnerOptions
	if h.RunnerOptions != nil {
		opts = h.RunnerOptions(job.Revision.Metadata.Namespace)
	}
	job.Package = pkg
	job.Upstream, job.Credentials = h.Upstream, h.Credentials
	job.Revisions, job.Unseen = revisions{h, in}, in.unseen
	job.OnConflict, job.Resolve, job.Dir = in.onConflict, in.resolve, in.dir
	job.Renderer = &render.Renderer{
		Runtime: h.Runtime, ImagePrefix: opts.ImagePrefix,
		Strict: opts.Strict, LenientResults: opts.LenientResults,
	}
	if opts.Runtime != nil {
		job.Renderer.Runtime = opts.Runtime
	}
	job.Renderer.Limits = in.limits
	if in.builtin {
		only := *job.Renderer
		only.Runtime = h.Builtins
		job.Evaluator = &only
	}
	job.Status = h.Status
	next, err := kind.Run(ctx, job)
	out := &Outcome{Lock: job.Lock, Rendered: job.Rendered, Results: job.Results}
	if job.Rendered != nil {
		out.Results = append(out.Results, job.Rendered.Results...)
	}
	if err != nil {
		return out, err
	}
	if err := draft.UpdateResources(ctx, next, job.Task); err != nil {
		return out, fmt.Errorf("saving the package: %w", err)
	}
	return out, nil
}

// settle lets go of the tree that was rendered: of many packages it would take
// most of the memory.
func (o *Outcome) settle() {
	if o != nil && o.Rendered != nil {
		o.Rendered = o.Rendered.WithoutTree()
	}
}

func (o *Outcome) add(more *Outcome) {
	if more == nil {
		return
	}
	if more.Lock != nil {
		o.Lock = more.Lock
	}
	if more.Rendered != nil {
		o.Rendered = more.Rendered
	}
	o.Results = append(o.Results, more.Results...)
}

// renderError says what a failed render means for the package, as Porch's task
// handler does.
func renderError(err error) error {
	var re *render.Error
	if !errors.As(err, &re) {
		return err
	}
	return fmt.Errorf("%w (package not written, nor pushed to a repository: fix it locally until the render succeeds, then run again)", err)
}

// resultError is an error about a field of an object.
func resultError(o api.Object, field, message string, cause error) error {
	r := fn.Result{Message: message, Severity: fn.Error, ResourceRef: o.Ref()}
	if field != "" {
		r.Field = &fn.Field{Path: field}
	}
	return &fn.ResultError{Result: r, Err: cause}
}
