package orchestration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// draft is the package of one job, kept in memory until the job is done.
type draft struct{ pkg kptpkg.Tree }

func (d *draft) Resources(context.Context) (kptpkg.Tree, error) { return d.pkg, nil }

func (d *draft) UpdateResources(_ context.Context, pkg kptpkg.Tree, _ *api.Task) error {
	d.pkg = pkg
	return nil
}

// do carries one order out on its own package.
func (r *run) do(ctx context.Context, of *job) (err error) {
	j := of.draft()
	defer func() {
		if p := recover(); p != nil {
			err = bug(p)
		}
		j.err = j.about(err)
		of.last.Store(&j.made)
		err = j.err
	}()
	d := &draft{r.store.pkg(j.target)}
	repo := r.found.repository(j.revision)
	in := r.workspace(j.target, r.local(of))
	if p := r.store.fileAt(j.target); p != "" {
		return j.fail(j.targetField(), fmt.Sprintf("%s is a file, where target %q needs a directory: choose another", p, j.target))
	}
	switch j.action {
	case ActionCreate:
		j.outcome, err = r.handler.applyTask(ctx, in, d, repo, j.revision, 0)
	case ActionUpdate:
		j.outcome, err = r.handler.update(ctx, in, d, repo, j.revision, j.applied, j.changed)
	case ActionReplace:
		if d.pkg.File(kptpkg.KptfileName) == nil {
			err = j.fail("spec.packageName", fmt.Sprintf("target %q holds no package that could be replaced: make one by a PackageRevision (init, clone)", j.target))
			break
		}
		j.outcome, j.status, err = r.handler.replace(ctx, in, d, j.revision, j.resources)
		j.saved = err != nil && j.revision.Metadata.Annotations[pushOnFailure] == "true"
	}
	j.outcome.settle()
	j.pkg = &d.pkg
	if err == nil && j.target == "." && j.action != ActionRebuild {
		err = r.checkInPlace(j)
	}
	if (err == nil || j.status != nil) && !r.opts.Stateless {
		var recordErr error
		j.record, recordErr = j.recorded(err == nil)
		err = errors.Join(err, recordErr)
	}
	return err
}

// workspace is what the handler has to know for work on a target.
func (r *run) workspace(target string, local localRevisions) workspace {
	return workspace{
		revisions: local, registered: r.registered, unseen: r.opts.Unseen,
		onConflict: r.opts.OnConflict, resolve: r.opts.Resolve.Below(target), dir: target,
	}
}

// bug is the error for a panic.
func bug(p any) error {
	return fmt.Errorf("stoop has a bug, please report it: %v\n%s", p, debug.Stack())
}

// checkInPlace refuses a package that, put in place of the declaring one, would
// give orders.
func (r *run) checkInPlace(j *job) error {
	return r.bringsOrders(*j.pkg, "annotation "+api.TargetAnnotation, func(message string) error { return j.fail("", message) })
}

// bringsOrders is the error, made by fail, for a package that can't be put in
// place of the declaring one. by is what says where packages are put.
func (r *run) bringsOrders(pkg kptpkg.Tree, by string, fail func(message string) error) error {
	f, err := discover(pkg, nil)
	if err != nil {
		return fmt.Errorf("the package brings objects for stoop along: %w", err)
	}
	for _, files := range []map[string]bool{f.own, f.mixed} {
		if len(files) > 0 {
			return fail(fmt.Sprintf("the package brings objects for stoop along in %s, which would be carried out here: make the package below this one (%s), or take them out upstream",
				some(slices.Sorted(maps.Keys(files))), by))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.found.own)) {
		if pkg.File(p) != nil {
			return fail(fmt.Sprintf("the package brings a file %s, and the declaring package has one with objects for stoop: move that", p))
		}
	}
	return nil
}

// unresolved are warnings about resolutions of what is in no target.
func (r *run) unresolved() []fn.Result {
	if len(r.opts.Resolve) == 0 {
		return nil
	}
	targets := map[string]bool{}
	for _, j := range r.jobs {
		targets[j.target] = true
	}
	for w := range r.allWorks() {
		targets[w.target()] = true
	}
	var results []fn.Result
	for _, place := range slices.Sorted(maps.Keys(r.opts.Resolve)) {
		dir := place
		for dir != "." && !targets[dir] {
			dir = path.Dir(dir)
		}
		if !targets[dir] {
			results = append(results, fn.Result{Severity: fn.Warning, Message: fmt.Sprintf(
				"--resolve %s: no order has a target that holds this: begin with the target's directory, as the conflict's message does", place)})
		}
	}
	return results
}
