package orchestration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// Publisher closes the package revisions that a workspace declares into their
// repositories.
type Publisher struct {
	// Opener opens the repositories that the workspace declares.
	Opener RegistryOpener
	// Author is who does it.
	Author repository.Author
}

// Publish closes what the jobs of a Run made of ws into the repositories that
// their objects name: as draft, proposed or published revision, as their
// lifecycle says, with the labels that they declare. What is there already is left
// alone, so doing it again does nothing; orders that name no repository are passed
// over, and so is what was published with other content when nothing was done to it
// this time, with a warning. opts are those of the Run: files that the host couldn't
// pass aren't taken out of a revision.
//
// Each revision is written whole or not at all. The error joins those of all
// revisions; those without one are in their repositories.
func (p *Publisher) Publish(ctx context.Context, ws kptpkg.Tree, jobs []Job, opts Options) ([]fn.Result, error) {
	f, err := discover(ws, nil)
	if err != nil {
		return nil, err
	}
	var results []fn.Result
	var errs []error
	for _, j := range holders(jobs) {
		pkg := ws.Sub(j.Target)
		if j.Target == "." {
			pkg = ws.Without(slices.Collect(maps.Keys(f.own))...)
		}
		c := publication{Publisher: p, pr: j.Revision, declared: f, untouched: j.Action == ActionNone}
		if !opts.Whole[j.Target] {
			c.unseen = opts.Unseen
		}
		err := c.publish(ctx, pkg)
		results = append(results, c.results...)
		if _, known := errors.AsType[*fn.ResultError](err); err != nil && !known {
			err = resultError(j.Revision, "", err.Error(), err)
		}
		errs = append(errs, err)
	}
	return results, errors.Join(errs...)
}

// holders are the jobs whose packages are in the workspace and belong to a
// repository: of several revisions on one target the last.
func holders(jobs []Job) []Job {
	type place struct{ target, name string }
	succeeded := map[place]bool{} // revisions that another goes on from
	for _, j := range jobs {
		if j.Revision != nil {
			succeeded[place{j.Target, predecessor(j.Revision)}] = true
		}
	}
	var out []Job
	seen := map[*api.PackageRevision]bool{} // an order to replace a package is about a revision, too
	for _, j := range jobs {
		if pr := j.Revision; pr != nil && pr.Spec.Repository != "" && j.Err == nil && !seen[pr] && !succeeded[place{j.Target, pr.Metadata.Name}] {
			seen[pr] = true
			out = append(out, j)
		}
	}
	return out
}

// publication is one revision on its way into its repository.
type publication struct {
	*Publisher
	pr        *api.PackageRevision
	declared  *found
	untouched bool                    // nothing was done to the package this time
	unseen    func(*kptpkg.File) bool // nil: the package is there as a whole
	results   []fn.Result
}

func (c *publication) say(sev fn.Severity, format string, args ...any) {
	c.results = append(c.results, fn.Result{Message: fmt.Sprintf(format, args...), Severity: sev, ResourceRef: c.pr.Ref()})
}

// publish makes the repository hold the package as the object says.
func (c *publication) publish(ctx context.Context, pkg kptpkg.Tree) error {
	spec := c.pr.Spec
	repo := c.declared.repository(c.pr)
	switch {
	case repo == nil:
		return resultError(c.pr, "spec.repository", fmt.Sprintf("no Repository %q is declared, so the package can't be published: declare it, or take repository out", spec.Repository), nil)
	case spec.WorkspaceName == "":
		return resultError(c.pr, "spec.workspaceName", "is missing: it names the revision in the repository", nil)
	}
	r, err := c.Opener.Open(ctx, repo)
	if err != nil {
		return fmt.Errorf("registered repository %s: %w", spec.Repository, err)
	}
	list, err := r.Revisions(ctx, repository.Filter{Package: spec.PackageName, Workspace: spec.WorkspaceName})
	if err != nil {
		return fmt.Errorf("registered repository %s: %w", spec.Repository, err)
	}
	list = slices.DeleteFunc(list, repository.Revision.IsPlaceholder)
	if len(list) == 0 {
		return c.create(ctx, r, pkg)
	}
	rev := list[len(list)-1] // a published one rather than a draft
	old, err := r.Resources(ctx, rev)
	if err != nil {
		return fmt.Errorf("package revision %q: %w", rev.Name(), err)
	}
	if pkg, err = c.withUnseen(pkg, old); err != nil {
		return err
	}
	changes, err := kptdir.Diff(old, pkg)
	if err != nil {
		return err
	}
	if rev.IsPublished() {
		return c.published(ctx, r, rev, changes)
	}
	return c.change(ctx, r, rev, pkg, len(changes) > 0)
}

// create makes the revision, in one step.
func (c *publication) create(ctx context.Context, r repository.Repository, pkg kptpkg.Tree) error {
	spec := c.pr.Spec
	switch c.pr.Lifecycle() {
	case api.DeletionProposed:
		return resultError(c.pr, "spec.lifecycle", "is DeletionProposed, and the repository has no such revision: write Published to publish it, or take the object out", nil)
	case api.Published:
		if err := ready(c.pr, pkg); err != nil {
			return err
		}
	}
	d, err := r.CreateDraft(ctx, spec.PackageName, spec.WorkspaceName)
	if err != nil {
		return err
	}
	if err := c.note(ctx, d, pkg, 0); err != nil {
		return err
	}
	rev, err := r.CloseDraft(ctx, d, c.as(c.pr.Lifecycle()))
	if err != nil {
		return err
	}
	c.closed(rev)
	return nil
}

// note makes pkg the content of a draft, made by the tasks from the given one on.
func (c *publication) note(ctx context.Context, d *repository.Draft, pkg kptpkg.Tree, from int) error {
	if from >= len(c.pr.Spec.Tasks) {
		return d.UpdateResources(ctx, pkg, nil)
	}
	for i := from; i < len(c.pr.Spec.Tasks); i++ {
		if err := d.UpdateResources(ctx, pkg, &c.pr.Spec.Tasks[i]); err != nil {
			return err
		}
	}
	return nil
}

// as is how a revision of the object is closed. Labels and annotations that the
// object says nothing about stay.
func (c *publication) as(l api.Lifecycle) repository.Close {
	as := repository.Close{Lifecycle: l, Author: c.Author, Labels: c.pr.Metadata.Labels}
	if a := kept(c.pr.Metadata.Annotations); len(a) > 0 {
		as.Annotations = a
	}
	return as
}

// labelled says whether the revision has the labels that the object declares.
// Annotations alone are no change: each host adds others.
func (c *publication) labelled(rev repository.Revision) bool {
	labels := maps.Clone(c.pr.Metadata.Labels)
	delete(labels, repository.LatestLabel)
	return labels == nil || maps.Equal(labels, rev.Labels)
}

// closed says what became of a revision.
func (c *publication) closed(rev repository.Revision) {
	what := fmt.Sprintf("closed into repository %s as %s, a %s", rev.Repository, rev.Name(), rev.Lifecycle)
	switch rev.Lifecycle {
	case api.Published:
		what = fmt.Sprintf("published in repository %s as %s, revision %d", rev.Repository, rev.Name(), rev.Number)
	case api.Proposed, api.DeletionProposed:
		what = fmt.Sprintf("closed into repository %s as %s, %s", rev.Repository, rev.Name(), rev.Lifecycle)
	}
	c.say(fn.Info, "%s", what) // no commit: its date would make every answer another
}

// change makes a revision that isn't published what the object says.
func (c *publication) change(ctx context.Context, r repository.Repository, rev repository.Revision, pkg kptpkg.Tree, differs bool) error {
	to := c.pr.Lifecycle()
	switch {
	case to == api.DeletionProposed:
		return resultError(c.pr, "spec.lifecycle", fmt.Sprintf("is DeletionProposed, and the revision in the repository is %s: delete that at once (stoop rpkg del)", rev.Lifecycle), nil)
	case differs && rev.Lifecycle == api.Proposed && to != api.Draft:
		return resultError(c.pr, "spec.lifecycle", "the revision in the repository is Proposed, with other content: set it to Draft to change it", nil)
	case !differs && to == rev.Lifecycle && c.labelled(rev):
		return nil
	case to == api.Published:
		if err := ready(c.pr, pkg); err != nil {
			return err
		}
	}
	steps := []api.Lifecycle{to}
	if rev.Lifecycle == api.Draft && to == api.Published {
		steps = []api.Lifecycle{api.Proposed, api.Published}
	}
	for _, next := range steps {
		d, err := r.OpenDraft(ctx, rev)
		if err != nil {
			return err
		}
		if differs {
			tasks, err := r.Tasks(ctx, rev)
			if err != nil {
				return err
			}
			if err := c.note(ctx, d, pkg, len(tasks)); err != nil {
				return err
			}
			differs = false
		}
		if rev, err = r.CloseDraft(ctx, d, c.as(next)); err != nil {
			return err
		}
	}
	c.closed(rev)
	return nil
}

// published leaves a published revision as it is, but for its labels and
// for a deletion that is proposed.
func (c *publication) published(ctx context.Context, r repository.Repository, rev repository.Revision, changes []kptdir.Change) error {
	switch {
	case len(changes) > 0 && !c.untouched:
		return resultError(c.pr, "spec.workspaceName", fmt.Sprintf("%s is published already, with other content (%s differs), and doesn't change any more: make a new revision of it (edit), in another workspace", rev.Name(), changes[0].Path), nil)
	case len(changes) > 0:
		c.say(fn.Warning, "%s is published with other content (%s differs), and doesn't change any more: make a new revision of it (edit) to publish this", rev.Name(), changes[0].Path)
	}
	to := rev.Lifecycle
	switch c.pr.Lifecycle() {
	case api.DeletionProposed:
		to = api.DeletionProposed
	case api.Published:
		if to == api.DeletionProposed {
			c.say(fn.Warning, "%s is proposed for deletion in repository %s, and stays so: reject that (stoop rpkg reject) to keep it, or delete it and the object", rev.Name(), rev.Repository)
		}
	}
	same := to == rev.Lifecycle
	if same && c.labelled(rev) {
		return nil
	}
	d, err := r.OpenDraft(ctx, rev)
	if err != nil {
		return err
	}
	if rev, err = r.CloseDraft(ctx, d, c.as(to)); err != nil {
		return err
	}
	if same {
		c.say(fn.Info, "labels of %s changed in repository %s", rev.Name(), rev.Repository)
		return nil
	}
	c.closed(rev)
	return nil
}

// withUnseen is pkg with the files of old that the host couldn't pass, and with
// the modes that files had, which no host passes.
func (c *publication) withUnseen(pkg, old kptpkg.Tree) (kptpkg.Tree, error) {
	if c.unseen == nil {
		return pkg, nil
	}
	var files []*kptpkg.File
	for _, p := range old.Paths() {
		was, now := old.File(p), pkg.File(p)
		switch {
		case now == nil && c.unseen(was):
			files = append(files, was)
		case now != nil && now.Mode() == kptpkg.Regular && was.Mode() == kptpkg.Executable:
			text, err := now.Bytes()
			if err != nil {
				return pkg, err
			}
			files = append(files, kptpkg.NewFile(p, kptpkg.Executable, bytes.Clone(text)))
		}
	}
	return pkg.With(files...)
}
