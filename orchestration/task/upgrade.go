package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/upstream"
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
		if _, err := requireRoom(ctx, j); err != nil {
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
	from, err := j.madeOf(mine, base, up)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	before, after, err := j.seen(from.Package, mine, up.Package)
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
	if j.Lock = up.Lock; j.Lock == nil {
		return withoutOrigin(res.Tree)
	}
	return res.Tree, nil
}

// RequireRoom refuses an upgrade of a revision that isn't the target's content where
// there is some.
var RequireRoom = Mutation{"check the target", requireRoom}

func requireRoom(_ context.Context, j *Job) (kptpkg.Tree, error) {
	target, content, err := j.content()
	if err != nil || content == "" {
		return j.Package, err
	}
	local := j.Task.Upgrade.LocalPackageRevisionRef.Name
	return kptpkg.Tree{}, j.taskError("localPackageRevisionRef.name", fmt.Sprintf("package revision %q isn't what target %q holds (%s): to upgrade that, name the task or PackageRevision on this target that made it, or this one itself (%q); to make a package of %[1]q, choose %[5]s",
		local, target, content, j.Revision.Metadata.Name, j.anotherTarget()), nil)
}

// madeOf is the upstream revision whose content the package has, by its lock: base,
// or up where it was upgraded before. From any other one the merge would move the
// lock to up, and leave out or repeat what changed until base. What has no lock is
// taken for made of base.
func (j *Job) madeOf(mine kptpkg.Tree, base, up *Revision) (*Revision, error) {
	k, err := mine.Kptfile(".")
	switch {
	case err != nil:
		return nil, err
	case k.UpstreamLock == nil || lockedTo(k.UpstreamLock, base.Lock):
		return base, nil
	case lockedTo(k.UpstreamLock, up.Lock):
		return up, nil
	}
	is, was := "kept in this workspace only", "nothing that can be read"
	if l := base.Lock; l != nil && l.Git != nil {
		is = fmt.Sprintf("at commit %s of %s", l.Git.Commit, l.Git.Repo)
	} else if l != nil && l.OCI != nil {
		is = l.OCI.Image
	}
	if l := k.UpstreamLock; l.Git != nil {
		was = fmt.Sprintf("commit %s of %s (%s)", l.Git.Commit, api.WithoutCredentials(l.Git.Repo), l.Git.Ref)
	} else if l.OCI != nil {
		was = api.WithoutCredentials(l.OCI.Image)
	}
	return nil, j.taskError("oldUpstreamRef.name", fmt.Sprintf("package revision %q is %s, and by upstreamLock in its Kptfile the package is made of %s: name the revision that holds that version", base.Name, is, was), nil)
}

// lockedTo says whether a Kptfile's lock is on what was read. A commit and a digest
// are the same wherever they are kept; and Porch leaves out of a lock's directory
// that of the registered repository.
func lockedTo(lock *kptpkg.UpstreamLock, read *upstream.Lock) bool {
	switch {
	case read == nil:
		return false
	case lock.Git != nil && read.Git != nil:
		a, b := path.Join("/", lock.Git.Directory), path.Join("/", read.Git.Directory)
		return strings.EqualFold(lock.Git.Commit, read.Git.Commit) && (strings.HasSuffix(a, b) || strings.HasSuffix(b, a))
	case lock.OCI != nil && read.OCI != nil:
		_, a, pinned := strings.Cut(lock.OCI.Image, "@")
		_, b, _ := strings.Cut(read.OCI.Image, "@")
		return pinned && a == b
	}
	return false
}

// withoutOrigin is a package of a revision that is in this workspace only.
func withoutOrigin(t kptpkg.Tree) (kptpkg.Tree, error) {
	return t.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.Remove("upstream")
		k.Remove("upstreamLock")
		return nil
	})
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
