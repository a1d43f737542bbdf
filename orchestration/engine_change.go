package orchestration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// CreatePackageRevision makes a new package revision and returns it as it is
// then. pr has a repository, packageName and workspaceName that no other revision
// of the package has, lifecycle Draft or Proposed, and one task, or none for an
// init; its name is made of these when it has none. The Outcome is that of
// [TaskHandler.ApplyTask].
func (e *Engine) CreatePackageRevision(ctx context.Context, pr *api.PackageRevision) (*api.PackageRevision, *Outcome, error) {
	pr = copyRevision(pr)
	if len(pr.Spec.Tasks) == 0 {
		pr.Spec.Tasks = []api.Task{{Type: api.TaskInit, Init: &api.InitTask{}}}
	}
	if err := complete(pr); err != nil {
		return nil, nil, err
	}
	repo, err := e.repository(pr.Metadata.Namespace, pr.Spec.Repository)
	if err != nil {
		return nil, nil, resultError(pr, "spec.repository", err.Error(), err)
	}
	unlock, err := e.lock(repo, pr.Metadata.Name)
	if err != nil {
		return nil, nil, resultError(pr, "", err.Error(), err)
	}
	defer unlock()
	r, err := e.Opener.Open(ctx, repo)
	if err != nil {
		return nil, nil, fmt.Errorf("registered repository %s: %w", repo.Metadata.Name, err)
	}
	all, err := r.Revisions(ctx, repository.Filter{})
	if err != nil {
		return nil, nil, fmt.Errorf("registered repository %s: %w", repo.Metadata.Name, err)
	}
	if err := fits(pr, all); err != nil {
		return nil, nil, err
	}
	d, err := r.CreateDraft(ctx, pr.Spec.PackageName, pr.Spec.WorkspaceName)
	if err != nil {
		return nil, nil, resultError(pr, "", err.Error(), err)
	}
	draft := &edited{Draft: d}
	out, err := e.Handler.applyTask(ctx, e.workspace(ctx, "", draft), draft, repo, pr, 0)
	if err != nil {
		return nil, out, err
	}
	made, err := e.close(ctx, registered{object: repo, open: r}, draft, pr, repository.Close{
		Lifecycle: pr.Lifecycle(), Labels: pr.Metadata.Labels, Annotations: kept(pr.Metadata.Annotations),
	})
	if made != nil {
		made.Spec.Tasks = pr.Spec.Tasks
	}
	return made, out, err
}

// copyRevision is pr for its caller to change, but for what its fields point to.
func copyRevision(pr *api.PackageRevision) *api.PackageRevision {
	c := *pr
	return &c
}

// asNoted is pr with its tasks as revisions have them noted.
func asNoted(pr *api.PackageRevision) *api.PackageRevision {
	pr = copyRevision(pr)
	pr.Spec.Tasks = slices.Clone(pr.Spec.Tasks)
	for i, t := range pr.Spec.Tasks {
		pr.Spec.Tasks[i] = t.WithoutCredentials()
	}
	return pr
}

// complete checks a new package revision by itself and gives it its name.
func complete(pr *api.PackageRevision) error {
	s := pr.Spec
	for _, f := range []struct{ field, value string }{
		{"spec.repository", s.Repository}, {"spec.packageName", s.PackageName}, {"spec.workspaceName", s.WorkspaceName},
	} {
		if f.value == "" {
			return resultError(pr, f.field, "is missing: a package revision is named by its repository, packageName and workspaceName", nil)
		}
	}
	name := repository.RevisionName{Repository: s.Repository, Package: s.PackageName, Workspace: s.WorkspaceName}.String()
	switch {
	case len(name) > 253:
		return resultError(pr, "spec.packageName", fmt.Sprintf("repository, packageName and workspaceName make a name of %d characters, and there may be 253", len(name)), nil)
	case pr.Metadata.Name == "":
		pr.Metadata.Name = name
	case pr.Metadata.Name != name:
		return resultError(pr, "metadata.name", fmt.Sprintf("must be %q, as repository, packageName and workspaceName say: write that, or leave it out", name), nil)
	}
	if err := pr.ValidateCreate(); err != nil {
		return err
	}
	_, labelled := pr.Metadata.Labels[repository.LatestLabel]
	switch {
	case s.Revision != 0:
		return resultError(pr, "spec.revision", "can't be chosen: revisions are numbered when they are published", nil)
	case pr.Metadata.ResourceVersion != "":
		return resultError(pr, "metadata.resourceVersion", "must be left out of a new package revision", nil)
	case labelled:
		return resultError(pr, "metadata.labels["+repository.LatestLabel+"]", "can't be set: it says which published revision is the latest", nil)
	}
	switch l := pr.Lifecycle(); l {
	case api.Draft, api.Proposed:
		return nil
	default:
		return resultError(pr, "spec.lifecycle", fmt.Sprintf("is %s: a new package revision is a Draft or Proposed; it is published by approving it", l), nil)
	}
}

// fits checks a new package revision against all of its repository.
func fits(pr *api.PackageRevision, all []repository.Revision) error {
	name, t := pr.Spec.PackageName, pr.Spec.Tasks[0]
	exists := slices.ContainsFunc(all, func(r repository.Revision) bool { return r.Package == name })
	for _, r := range all {
		switch {
		case r.Package == name && r.Workspace == pr.Spec.WorkspaceName && !r.IsPlaceholder():
			return resultError(pr, "spec.workspaceName", fmt.Sprintf("package %s has a revision of workspace %q already (%s): choose another", name, r.Workspace, r.Lifecycle), repository.ErrConflict)
		case exists: // and if it is nested, that was somebody else
		case strings.HasPrefix(r.Package, name+"/"):
			return resultError(pr, "spec.packageName", fmt.Sprintf("the repository has package %s, which would be inside this one: choose another path", r.Package), nil)
		case strings.HasPrefix(name, r.Package+"/"):
			return resultError(pr, "spec.packageName", fmt.Sprintf("is inside package %s of the repository: choose another path", r.Package), nil)
		}
	}
	switch {
	case exists && t.Clone != nil:
		return resultError(pr, "spec.packageName", fmt.Sprintf("package %s is in the repository already, so it can't be cloned anew: make its next revision by an edit or upgrade task", name), nil)
	case t.Upgrade != nil:
		local := t.Upgrade.LocalPackageRevisionRef.Name
		i := slices.IndexFunc(all, func(r repository.Revision) bool { return r.Name() == local && !r.IsPlaceholder() })
		if i < 0 || all[i].Package != name {
			return resultError(pr, "spec.tasks[0].upgrade.localPackageRevisionRef.name", fmt.Sprintf("%q is no revision of package %s in repository %s: an upgrade makes the next revision of the package that it upgrades", local, name, pr.Spec.Repository), nil)
		}
	}
	return nil
}

// kept are the annotations that stay with a package revision: those about the
// object in a workspace don't.
func kept(annotations map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range annotations {
		if k != api.LocalConfigAnnotation && !strings.HasPrefix(k, "stoop.dev/") && !hostAnnotations[k] {
			out[k] = v
		}
	}
	return out
}

// close writes a draft and tells who watches.
func (e *Engine) close(ctx context.Context, r registered, draft *edited, pr *api.PackageRevision, c repository.Close) (*api.PackageRevision, error) {
	pkg, err := draft.Resources(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case r.IsPublished(): // that was decided before
	case c.Lifecycle == api.Published:
		err = ready(pr, pkg)
	case c.Lifecycle == api.Proposed:
		if _, err = pkg.Kptfile("."); err != nil {
			err = fmt.Errorf("package revision %q: %w", pr.Metadata.Name, err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.Author = e.author(ctx)
	rev, err := r.open.CloseDraft(ctx, draft.Draft, c)
	if err != nil {
		return nil, resultError(pr, "", err.Error(), err)
	}
	r.Revision = Revision{r.object.Metadata.Namespace, rev}
	_ = e.look(ctx, r.object, r.open) // else with the next refresh: the change is made
	return r.describe(pkg), nil
}

// ready refuses to publish a package whose readiness gates aren't met.
func ready(pr *api.PackageRevision, pkg kptpkg.Tree) error {
	k, err := pkg.Kptfile(".")
	if err != nil {
		return err
	}
	var unmet []string
	for _, g := range k.Info.ReadinessGates {
		status := "missing"
		for _, c := range k.Status.Conditions {
			if c.Type == g.ConditionType {
				status = c.Status
			}
		}
		if status != string(api.ConditionTrue) {
			unmet = append(unmet, fmt.Sprintf("%s is %s", g.ConditionType, status))
		}
	}
	if len(unmet) == 0 {
		return nil
	}
	return resultError(pr, "spec.readinessGates", fmt.Sprintf("the package isn't ready to be published: condition %s; each has to be True in status.conditions of its Kptfile", strings.Join(unmet, ", ")), nil)
}

// UpdatePackageRevision makes a package revision what pr says and returns it as
// it is then. A Draft becomes Proposed and back, a Published revision
// DeletionProposed and back; the content changes as in
// [TaskHandler.DoPRMutations], of a Draft only. Of other revisions nothing but
// lifecycle, labels and annotations may differ. What pr leaves unset stays: tasks,
// packageMetadata, readinessGates, conditions, and labels and annotations that
// are nil. A resourceVersion that isn't the revision's is a conflict.
func (e *Engine) UpdatePackageRevision(ctx context.Context, pr *api.PackageRevision) (*api.PackageRevision, *Outcome, error) {
	return e.update(ctx, pr, map[api.Lifecycle][]api.Lifecycle{
		api.Draft: {api.Proposed}, api.Proposed: {api.Draft},
		api.Published: {api.DeletionProposed}, api.DeletionProposed: {api.Published},
	}, "only what is Proposed can become Published, by an approval")
}

// ApprovePackageRevision decides on a proposal, as Porch's subresource approval
// does: pr is the revision with its new lifecycle. A Proposed one becomes
// Published, if its readiness gates are met, or a Draft again; a Published one
// DeletionProposed and back.
func (e *Engine) ApprovePackageRevision(ctx context.Context, pr *api.PackageRevision) (*api.PackageRevision, *Outcome, error) {
	return e.update(ctx, pr, map[api.Lifecycle][]api.Lifecycle{
		api.Proposed:  {api.Published, api.Draft},
		api.Published: {api.DeletionProposed}, api.DeletionProposed: {api.Published},
	}, "only what is Proposed can be approved or rejected")
}

// update is UpdatePackageRevision with the lifecycles that may follow each.
func (e *Engine) update(ctx context.Context, pr *api.PackageRevision, next map[api.Lifecycle][]api.Lifecycle, hint string) (*api.PackageRevision, *Outcome, error) {
	r, unlock, err := e.begin(ctx, pr)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	pr = copyRevision(pr)
	if pr.Spec.Lifecycle == "" {
		pr.Spec.Lifecycle = r.Lifecycle
	}
	if to := pr.Spec.Lifecycle; to != r.Lifecycle && !slices.Contains(next[r.Lifecycle], to) {
		return nil, nil, resultError(pr, "spec.lifecycle", fmt.Sprintf("can't become %s, it is %s: %s", to, r.Lifecycle, hint), nil)
	}
	old, err := r.read(ctx, pr.Spec.Tasks != nil)
	if err != nil {
		return nil, nil, err
	}
	if err := unset(pr, old); err != nil {
		return nil, nil, err
	}
	d, err := r.open.OpenDraft(ctx, r.Revision.Revision)
	if err != nil {
		return nil, nil, resultError(pr, "", err.Error(), err)
	}
	draft := &edited{Draft: d}
	out := &Outcome{}
	n := len(old.Spec.Tasks)
	changed := old.ObservedDigest() != pr.ObservedDigest()
	switch {
	case n > len(pr.Spec.Tasks) || old.TaskDigest(n) != asNoted(pr).TaskDigest(n):
		return nil, nil, resultError(pr, "spec.tasks", "tasks that have run can't be changed or taken out: append new ones", nil)
	case !changed && n == len(pr.Spec.Tasks):
	case r.Lifecycle != api.Draft:
		return nil, nil, notDraft(old)
	default:
		out, err = e.Handler.update(ctx, e.workspace(ctx, r.Name(), draft), draft, r.object, pr, n, changed)
		if err != nil {
			return nil, out, err
		}
	}
	c := repository.Close{Lifecycle: pr.Spec.Lifecycle, Labels: maps.Clone(pr.Metadata.Labels), Annotations: pr.Metadata.Annotations}
	delete(c.Labels, repository.LatestLabel)
	if c.Annotations != nil {
		c.Annotations = kept(c.Annotations)
	}
	same := func(now, was map[string]string) bool { return now == nil || maps.Equal(now, was) }
	if !draft.changed && c.Lifecycle == r.Lifecycle && same(c.Labels, r.Labels) && same(c.Annotations, r.Annotations) {
		return old, out, nil
	}
	made, err := e.close(ctx, r, draft, pr, c)
	if made != nil {
		made.Spec.Tasks = pr.Spec.Tasks
	}
	return made, out, err
}

// begin finds the revision that an object is about and keeps it to the caller.
func (e *Engine) begin(ctx context.Context, o api.Object) (r registered, unlock func(), err error) {
	if err := o.Validate(); err != nil {
		return r, nil, err
	}
	m := o.Head().Metadata
	first, _, _ := strings.Cut(m.Name, ".")
	repo, err := e.repository(m.Namespace, first)
	if err != nil {
		return r, nil, fmt.Errorf("package revision %q: %w", m.Name, err)
	}
	if unlock, err = e.lock(repo, m.Name); err != nil {
		return r, nil, resultError(o, "", err.Error(), err)
	}
	r, err = e.find(ctx, m.Namespace, m.Name)
	if err == nil && m.ResourceVersion != "" && m.ResourceVersion != r.Commit { // it may be newer than what was last seen
		if err = r.open.Refresh(ctx); err == nil {
			r, err = e.find(ctx, m.Namespace, m.Name)
		}
	}
	_, isContent := o.(*api.PackageRevisionResources)
	switch {
	case err != nil:
	case r.IsPlaceholder():
		err = resultError(o, "", fmt.Sprintf("is a placeholder, the package as it is on the branch %s, and can't be changed: make a revision of the package", r.Workspace), nil)
	case isContent && r.Lifecycle != api.Draft: // whatever its version
		err = notDraft(r.describe(kptpkg.Tree{}))
	case m.ResourceVersion != "" && m.ResourceVersion != r.Commit:
		err = resultError(o, "metadata.resourceVersion", fmt.Sprintf("is %s, and the revision is at %s by now: read it again and repeat the change (%v)", m.ResourceVersion, r.Commit, repository.ErrConflict), repository.ErrConflict)
	}
	if err != nil {
		unlock()
		return r, nil, err
	}
	return r, unlock, nil
}

// unset gives pr the values of old where it leaves them unset, and refuses what
// can't be changed at all.
func unset(pr, old *api.PackageRevision) error {
	for _, f := range []struct{ field, now, was string }{
		{"spec.packageName", pr.Spec.PackageName, old.Spec.PackageName},
		{"spec.repository", pr.Spec.Repository, old.Spec.Repository},
		{"spec.workspaceName", pr.Spec.WorkspaceName, old.Spec.WorkspaceName},
	} {
		if f.now != "" && f.now != f.was {
			return resultError(pr, f.field, fmt.Sprintf("can't be changed: it is %q", f.was), nil)
		}
	}
	if n := pr.Spec.Revision; n != 0 && n != old.Spec.Revision {
		return resultError(pr, "spec.revision", "can't be changed: revisions are numbered when they are published", nil)
	}
	if l, ok := pr.Metadata.Labels[repository.LatestLabel]; ok && l != old.Metadata.Labels[repository.LatestLabel] {
		return resultError(pr, "metadata.labels["+repository.LatestLabel+"]", "can't be changed: it says which published revision is the latest", nil)
	}
	s := &pr.Spec
	s.PackageName, s.Repository, s.WorkspaceName = old.Spec.PackageName, old.Spec.Repository, old.Spec.WorkspaceName
	if s.Tasks == nil {
		s.Tasks = old.Spec.Tasks
	}
	if s.ReadinessGates == nil {
		s.ReadinessGates = old.Spec.ReadinessGates
	}
	if pr.UserConditions() == nil {
		pr.Status.Conditions = old.Status.Conditions
	}
	meta, was := api.PackageMetadata{}, api.PackageMetadata{}
	if s.PackageMetadata != nil {
		meta = *s.PackageMetadata
	}
	if old.Spec.PackageMetadata != nil {
		was = *old.Spec.PackageMetadata
	}
	if meta.Labels == nil {
		meta.Labels = was.Labels
	}
	if meta.Annotations == nil {
		meta.Annotations = was.Annotations
	}
	if s.PackageMetadata = &meta; meta.Labels == nil && meta.Annotations == nil {
		s.PackageMetadata = nil
	}
	return nil
}

// UpdatePackageResources replaces the content of a Draft by res, as
// [TaskHandler.DoPRResourceMutations] does. Files that res can't hold, those
// that aren't text and symlinks, stay. A resourceVersion that isn't the
// revision's is a conflict. The RenderStatus says how the render went, also with
// an error, nil when it wasn't reached. With annotation
// porch.kpt.dev/push-on-render-failure on the revision a package that fails to
// render is written; the error is returned all the same.
func (e *Engine) UpdatePackageResources(ctx context.Context, res *api.PackageRevisionResources) (*api.RenderStatus, error) {
	_, status, err := e.replace(ctx, res, nil)
	return status, err
}

// ReplacePackage is UpdatePackageResources with a whole package, modes, symlinks
// and files that aren't text included. version is what [Engine.Resources] gave
// with the package that was changed; "" replaces any.
func (e *Engine) ReplacePackage(ctx context.Context, namespace, name, version string, pkg kptpkg.Tree) (*Outcome, error) {
	r, err := e.find(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	res, err := r.resources(pkg)
	if err != nil {
		return nil, err
	}
	res.Metadata.ResourceVersion = version
	out, _, err := e.replace(ctx, res, &pkg)
	return out, err
}

// replace replaces the content of a Draft by res; files that res can't hold are
// those of whole, or stay when that is nil.
func (e *Engine) replace(ctx context.Context, res *api.PackageRevisionResources, whole *kptpkg.Tree) (*Outcome, *api.RenderStatus, error) {
	r, unlock, err := e.begin(ctx, res)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	pr, err := r.read(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	d, err := r.open.OpenDraft(ctx, r.Revision.Revision)
	if err != nil {
		return nil, nil, resultError(res, "", err.Error(), err)
	}
	draft := &edited{Draft: d}
	var work Draft = draft
	if whole != nil {
		old, err := draft.Resources(ctx)
		if err != nil {
			return nil, nil, err
		}
		given, err := withoutText(old, *whole)
		if err != nil {
			return nil, nil, err
		}
		work = &replaced{draft, given}
	}
	out, status, failed := e.Handler.replace(ctx, workspace{}, work, pr, res)
	if !draft.changed {
		return out, status, failed
	}
	_, err = e.close(ctx, r, draft, pr, repository.Close{})
	return out, status, errors.Join(failed, err)
}

// replaced is a draft whose present content is given.
type replaced struct {
	*edited
	pkg kptpkg.Tree
}

// Resources implements Draft.
func (d *replaced) Resources(context.Context) (kptpkg.Tree, error) { return d.pkg, nil }

// withoutText is what a package is replaced in by the text of now, so that it
// becomes now: old, with the modes of now, and its files that aren't text.
func withoutText(old, now kptpkg.Tree) (kptpkg.Tree, error) {
	var files []*kptpkg.File
	for _, p := range now.Paths() {
		f, was := now.File(p), old.File(p)
		_, isText, err := textOf(f)
		if err != nil {
			return old, err
		}
		if isText && was != nil && was.Mode() != kptpkg.Symlink {
			b, err := was.Bytes()
			if err != nil {
				return old, err
			}
			f = kptpkg.NewFile(p, f.Mode(), b)
		}
		files = append(files, f)
	}
	for _, p := range old.Paths() {
		if _, isText, err := textOf(old.File(p)); err != nil {
			return old, err
		} else if isText && now.File(p) == nil {
			files = append(files, old.File(p))
		}
	}
	return kptpkg.NewTree(files...)
}

// DeletePackageRevision deletes a Draft, a Proposed or a DeletionProposed
// package revision. A Published one is refused, and so is one that another
// revision in any registered repository was cloned from or upgraded to. A
// placeholder's deletion takes the package off the branch, once none of its
// published revisions is left. version is the resourceVersion that it has to have;
// "" is any.
func (e *Engine) DeletePackageRevision(ctx context.Context, namespace, name, version string) error {
	r, err := e.find(ctx, namespace, name)
	if err != nil {
		return err
	}
	unlock, err := e.lock(r.object, name)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case version != "" && version != r.Commit:
		return fmt.Errorf("package revision %q is at %s by now, not at %s: read it again (%w)", name, r.Commit, version, repository.ErrConflict)
	case r.IsPublished() && r.Lifecycle != api.DeletionProposed:
		return fmt.Errorf("package revision %q is Published: propose its deletion first (spec.lifecycle: DeletionProposed)", name)
	}
	switch {
	case r.IsPublished():
		err = e.unused(ctx, r)
	case r.IsPlaceholder():
		err = r.lastOfPackage(ctx)
	}
	if err != nil {
		return err
	}
	if err := r.open.DeleteRevision(ctx, r.Revision.Revision); err != nil {
		return err
	}
	_ = e.look(ctx, r.object, r.open) // else with the next refresh: it is deleted
	return nil
}

// lastOfPackage refuses a placeholder whose package has published revisions:
// whoever deploys the branch would lose it, with nobody asked.
func (r registered) lastOfPackage(ctx context.Context) error {
	all, err := r.open.Revisions(ctx, repository.Filter{Package: r.Package})
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, repository.Revision.IsPublished); i >= 0 {
		return fmt.Errorf("package revision %q can't be deleted: it is package %s on the branch %s, which has published revisions (%s): delete these first", r.Name(), r.Package, r.Workspace, all[i].Name())
	}
	return nil
}

// unused refuses what other revisions were cloned from or upgraded to, as their
// tasks or their Kptfiles say.
func (e *Engine) unused(ctx context.Context, up registered) error {
	users, err := inAll(e, Filter{}, func(repo *api.Repository) ([]string, error) {
		r, err := e.Opener.Open(ctx, repo)
		if err != nil {
			return nil, err
		}
		all, err := r.Revisions(ctx, repository.Filter{})
		if err != nil {
			return nil, err
		}
		var users []string
		for _, rev := range all {
			if rev.IsPlaceholder() || r == up.open && rev.Name() == up.Name() {
				continue
			}
			uses, err := up.isUpstreamOf(ctx, registered{Revision{repo.Metadata.Namespace, rev}, repo, r})
			if err != nil {
				return nil, err
			}
			if uses {
				users = append(users, rev.Name())
			}
		}
		return users, nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("package revision %q: whether it is another's upstream can't be told: %w", up.Name(), err)
	case len(users) > 0:
		return fmt.Errorf("package revision %q can't be deleted: it is the upstream of %s: delete these first", up.Name(), some(users))
	}
	return nil
}

// isUpstreamOf says whether another revision was made of this one.
func (r registered) isUpstreamOf(ctx context.Context, other registered) (bool, error) {
	pkg, err := other.open.Resources(ctx, other.Revision.Revision)
	if err != nil {
		return false, err
	}
	// a Kptfile that is broken says nothing
	if k, err := pkg.Kptfile("."); err == nil && k.UpstreamLock != nil && placeOf(*k.UpstreamLock) == placeOf(r.lock().InKptfile()) {
		return true, nil
	}
	if !sees(other.Namespace, r.Namespace) {
		return false, nil // the names in its tasks are of another namespace
	}
	tasks, err := other.open.Tasks(ctx, other.Revision.Revision)
	return slices.ContainsFunc(tasks, func(t api.Task) bool {
		switch name := r.Name(); {
		case t.Clone != nil && t.Clone.UpstreamRef.UpstreamRef != nil:
			return t.Clone.UpstreamRef.UpstreamRef.Name == name
		case t.Upgrade != nil:
			return t.Upgrade.NewUpstreamRef.Name == name
		}
		return false
	}), err
}
