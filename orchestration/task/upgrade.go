package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// MergeUpstream merges what changed between two upstream revisions into the
// local one. Where both changed the same thing differently the revision's
// annotation stoop.dev/on-conflict decides; by default nothing is merged and
// the error shows every such place. The local revision is the package at work
// where the target holds it, else a published one, of which the package is made.
var MergeUpstream = Mutation{"merge upstream", mergeUpstream}

func mergeUpstream(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	spec := j.Task.Upgrade
	base, err := j.published(ctx, "oldUpstreamRef.name", spec.OldUpstreamRef.Name)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	up, err := j.published(ctx, "newUpstreamRef.name", spec.NewUpstreamRef.Name)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	local, err := j.revision(ctx, "localPackageRevisionRef.name", spec.LocalPackageRevisionRef.Name)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	mine := j.Package
	if !local.Current {
		if _, err := requireEmpty(ctx, j); err != nil {
			return kptpkg.Tree{}, err
		}
		if local, err = j.published(ctx, "localPackageRevisionRef.name", spec.LocalPackageRevisionRef.Name); err != nil {
			return kptpkg.Tree{}, err
		}
		mine = local.Package
	}
	asked, err := j.Revision.OnConflict()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	policy := cmp.Or(j.OnConflict, merge.Policy(asked))
	before, after, err := j.seen(base.Package, mine, up.Package)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	j.made = local.Made
	res, err := j.Merge(ctx, before, mine, after, merge.Options{
		Strategy: merge.Strategy(spec.Strategy), OnConflict: policy, Resolve: j.Resolve, Dir: j.Dir, Root: true, Nested: true,
	})
	for _, c := range res.Conflicts {
		j.Results = append(j.Results, c.Result())
	}
	for _, place := range res.Unused {
		j.report(fn.Warning, "", fmt.Sprintf("--resolve %s: this upgrade has no such conflict: check the spelling, or take it out", path.Join(j.Dir, place)))
	}
	var conflict *merge.ConflictError
	switch {
	case errors.As(err, &conflict):
		return kptpkg.Tree{}, fmt.Errorf("%w\nto take one side everywhere, set annotation %s (in a Task: upgrade.onConflict) to local or upstream, or run with --on-conflict", err, api.OnConflictAnnotation)
	case err != nil:
		return kptpkg.Tree{}, err
	}
	j.Lock = up.Lock
	return res.Tree, nil
}

// seen leaves out of both sides of upstream the files that the host could not
// pass: whether they are there is not known, so they are neither merged nor
// deleted. Files that are new upstream stay. Strategies that compare or replace
// whole packages can't do without them.
func (j *Job) seen(base, mine, up kptpkg.Tree) (kptpkg.Tree, kptpkg.Tree, error) {
	if j.Unseen == nil {
		return base, up, nil
	}
	var unseen []string
	for _, p := range base.Paths() {
		if mine.File(p) == nil && j.Unseen(base.File(p)) {
			unseen = append(unseen, p)
		}
	}
	if s := j.Task.Upgrade.Strategy; len(unseen) > 0 && (s == api.FastForward || s == api.ForceDeleteReplace) {
		return base, up, j.taskError("strategy", fmt.Sprintf("%s needs all files of the package, and a host passes only resources (%s is not among them): use stoop run", s, unseen[0]), nil)
	}
	return base.Without(unseen...), up.Without(unseen...), nil
}
