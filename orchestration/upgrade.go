package orchestration

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// UpgradeOptions say how Upgrade goes about it. The zero value goes to the ref
// that the Kptfile's upstream names and fails on conflicts.
type UpgradeOptions struct {
	// Ref is the upstream ref to go to; it becomes the Kptfile's. Empty is the
	// Kptfile's own.
	Ref string
	// Strategy is how, this time; empty is the Kptfile's upstream.updateStrategy,
	// else resource-merge.
	Strategy merge.Strategy
	// OnConflict and Resolve settle conflicts, as in [merge.Options].
	OnConflict merge.Policy
	Resolve    merge.Resolutions
}

// Upgraded is what became of a package.
type Upgraded struct {
	// Tree is the package, not rendered; none while conflicts are open.
	Tree kptpkg.Tree
	// Lock is the version of upstream that it holds now.
	Lock upstream.GitLock
	// Was is the commit that it held before. Where Lock is as it was nothing
	// changed.
	Was string
	// UpToDate says that the package holds that version already, and Tree is
	// the package as it was.
	UpToDate bool
	// Strategy is the one that was taken.
	Strategy merge.Strategy
	// Conflicts are all places that both sides changed, those settled included.
	Conflicts merge.Conflicts
	// Unused are the keys of UpgradeOptions.Resolve that no conflict asked for.
	Unused []string
	// Results are warnings about files that got no merge keys.
	Results []fn.Result
}

// Upgrade brings a package to another version of the upstream that its Kptfile
// names, by a three-way merge with the version in its lock: no object is needed.
// Packages within that have an upstream of their own are merged too, as by kpt.
// The package keeps its name. The error is a [merge.ConflictError] when conflicts
// are left to be settled; it names both commits when the ref is a tag that moved
// since it was locked.
func Upgrade(ctx context.Context, from upstream.Source, pkg kptpkg.Tree, o UpgradeOptions) (Upgraded, error) {
	at, err := originOf(pkg)
	if err != nil {
		return Upgraded{}, err
	}
	strategy, err := merge.ParseStrategy(string(o.Strategy))
	if o.Strategy == "" {
		if strategy, err = merge.ParseStrategy(at.upstream.UpdateStrategy); err != nil {
			err = kptfileError("upstream.updateStrategy", err.Error(), err)
		}
	}
	if err != nil {
		return Upgraded{}, err
	}
	if o.Ref != "" {
		at.git.Ref = o.Ref
	}
	theirs, lock, err := at.fetchUpstream(ctx, from)
	if err != nil {
		return Upgraded{}, err
	}
	done := Upgraded{Lock: lock, Was: at.lock.Commit, Strategy: strategy}
	if lock == at.lock && at.git == *at.upstream.Git {
		done.Tree, done.UpToDate = pkg, true
		return done, nil
	}
	if err := at.checkTag(ctx, from, lock); err != nil {
		return Upgraded{}, err
	}
	base, err := at.fetchBase(ctx, from)
	if err != nil {
		return Upgraded{}, err
	}
	if base.File(kptpkg.KptfileName) != nil && theirs.File(kptpkg.KptfileName) == nil {
		return Upgraded{}, kptfileError("upstream.git", fmt.Sprintf(
			"directory %s of %s at %s holds no Kptfile any more, so it is no kpt package: name another ref or directory", lock.Directory, lock.Repo, lock.Ref), nil)
	}
	merged, err := merge.Merge(base, pkg, theirs, merge.Options{
		Strategy: strategy, OnConflict: o.OnConflict, Resolve: o.Resolve, Root: true, Nested: true,
	})
	done.Conflicts, done.Unused = merged.Conflicts, merged.Unused
	if err != nil {
		return done, err
	}
	tree, err := at.locked(merged.Tree, lock)
	if err != nil {
		return done, err
	}
	job := &task.Job{Package: tree}
	if tree, err = task.AddMergeKeys.Apply(ctx, job); err != nil {
		return done, err
	}
	done.Results = job.Results
	done.Tree = tree
	return done, nil
}

// UpstreamChanges returns the version of its upstream that a package is locked
// to, and the one that its upstream's ref names now.
func UpstreamChanges(ctx context.Context, from upstream.Source, pkg kptpkg.Tree) (before, after kptpkg.Tree, err error) {
	at, err := originOf(pkg)
	if err != nil {
		return before, after, err
	}
	if after, _, err = at.fetchUpstream(ctx, from); err != nil {
		return before, after, err
	}
	before, err = at.fetchBase(ctx, from)
	return before, after, err
}

// LocalChanges returns the version of its upstream that a package is locked to,
// and the package, both made alike in what getting and rendering write: merge
// keys, the Kptfile's name, upstream, lock and status. What differs was changed
// locally.
func LocalChanges(ctx context.Context, from upstream.Source, pkg kptpkg.Tree) (before, after kptpkg.Tree, err error) {
	at, err := originOf(pkg)
	if err != nil {
		return before, after, err
	}
	base, err := at.fetchBase(ctx, from)
	if err != nil {
		return before, after, err
	}
	if before, err = at.plain(base); err == nil {
		after, err = at.plain(pkg)
	}
	return before, after, err
}

// origin is where a package comes from, as its Kptfile says.
type origin struct {
	name     string
	upstream kptpkg.Upstream
	git      kptpkg.Git // upstream's, with the ref to go to
	lock     upstream.GitLock
}

// originOf reads the origin of a package that can be compared with its upstream.
func originOf(pkg kptpkg.Tree) (*origin, error) {
	k, err := pkg.Kptfile(".")
	switch {
	case err != nil:
		return nil, err
	case k.Upstream == nil:
		return nil, kptfileError("upstream", "the package has no upstream: one made by stoop get or a clone has", nil)
	case k.Upstream.Type != string(upstream.TypeGit) || k.Upstream.Git == nil:
		return nil, kptfileError("upstream.type", fmt.Sprintf("is %q: only packages from git can be compared with their upstream; it needs type git and git.repo, directory and ref", k.Upstream.Type), nil)
	case k.UpstreamLock == nil || k.UpstreamLock.Git == nil:
		return nil, kptfileError("upstreamLock.git", "is not there, so nothing says which version of upstream the package was made of: get it anew (stoop get)", nil)
	}
	lock := k.UpstreamLock.Git
	if len(lock.Commit) != 40 || strings.Trim(lock.Commit, "0123456789abcdefABCDEF") != "" {
		return nil, kptfileError("upstreamLock.git.commit", fmt.Sprintf("is %q: want the 40 hexadecimal digits of a commit", lock.Commit), nil)
	}
	return &origin{name: k.Metadata.Name, upstream: *k.Upstream, git: *k.Upstream.Git,
		lock: upstream.GitLock{Repo: lock.Repo, Directory: lock.Directory, Ref: lock.Ref, Commit: lock.Commit}}, nil
}

// fetchUpstream reads the version of upstream to go to.
func (o *origin) fetchUpstream(ctx context.Context, from upstream.Source) (kptpkg.Tree, upstream.GitLock, error) {
	t, lock, err := from.Fetch(ctx, upstream.Ref{Type: upstream.TypeGit,
		Git: &upstream.GitRef{Repo: o.git.Repo, Directory: o.git.Directory, Ref: o.git.Ref}})
	if err == nil {
		err = checkFile(t)
	}
	if err != nil {
		return t, upstream.GitLock{}, kptfileError("upstream.git", err.Error(), err)
	}
	return t, *lock.Git, nil
}

// fetchBase reads the version of upstream that the package is locked to.
func (o *origin) fetchBase(ctx context.Context, from upstream.Source) (kptpkg.Tree, error) {
	t, _, err := from.Fetch(ctx, upstream.Lock{Type: upstream.TypeGit, Git: &o.lock}.Ref())
	if err == nil {
		err = checkFile(t)
	}
	switch {
	case errors.Is(err, upstream.ErrNotFound):
		return t, kptfileError("upstreamLock.git", fmt.Sprintf("the version that the package was made of can't be read any more: %v", err), err)
	case err != nil:
		return t, kptfileError("upstreamLock.git", err.Error(), err)
	}
	return t, nil
}

// checkFile refuses a package of somebody else's whose Kptfile is a link.
func checkFile(t kptpkg.Tree) error {
	if f := t.File(kptpkg.KptfileName); f != nil && f.Mode() == kptpkg.Symlink {
		return errors.New("the Kptfile there is a symlink: make it a file")
	}
	return nil
}

// checkTag refuses a tag that was locked at one commit and is at another now.
func (o *origin) checkTag(ctx context.Context, from upstream.Source, now upstream.GitLock) error {
	if now.Ref != o.lock.Ref || now.Repo != o.lock.Repo || path.Clean(now.Directory) != path.Clean(o.lock.Directory) || now.Commit == o.lock.Commit {
		return nil
	}
	tag, err := isTag(ctx, from, now)
	if err != nil || !tag {
		return err
	}
	return kptfileError("upstream.git.ref", fmt.Sprintf(
		"tag %s of %s moved since it was locked: upstreamLock has commit %s, and the tag is at %s now; tags should stay, so find out why; to go there all the same give that commit as the ref, @%[4]s",
		now.Ref, now.Repo, o.lock.Commit, now.Commit), nil)
}

// isTag says whether a ref that was read is a tag. Names are tried in the order
// of [upstream.GitRef]; none of them fetches anything again.
func isTag(ctx context.Context, from upstream.Source, read upstream.GitLock) (bool, error) {
	names := []string{read.Ref, path.Join(read.Directory, read.Ref)}
	if read.Directory == "/" {
		names = names[:1]
	}
	for i := len(names) - 1; i >= 0; i-- {
		for _, kind := range []string{"refs/tags/", "refs/heads/"} {
			_, lock, err := from.Fetch(ctx, upstream.Ref{Type: upstream.TypeGit,
				Git: &upstream.GitRef{Repo: read.Repo, Directory: read.Directory, Ref: kind + names[i]}})
			switch {
			case errors.Is(err, upstream.ErrNotFound):
			case err != nil:
				return false, err
			case lock.Git.Commit == read.Commit:
				return kind == "refs/tags/", nil
			}
		}
	}
	return strings.HasPrefix(read.Ref, "refs/tags/"), nil
}

// locked is a merged package with the origin's upstream at its new version. The
// update strategy stays as the Kptfile has it.
func (o *origin) locked(t kptpkg.Tree, l upstream.GitLock) (kptpkg.Tree, error) {
	return t.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		up := o.upstream
		up.Git = &o.git
		k.SetUpstream(up)
		k.SetUpstreamLock(kptpkg.UpstreamLock{Type: up.Type,
			Git: &kptpkg.GitLock{Repo: l.Repo, Directory: l.Directory, Ref: l.Ref, Commit: l.Commit}})
		return nil
	})
}

// plain is a version of the package less what tells it from others though
// nobody wrote it: every version has merge keys and the package's name, none an
// origin or status.
func (o *origin) plain(t kptpkg.Tree) (kptpkg.Tree, error) {
	t, _, err := merge.AddKeys(t)
	if err != nil {
		return t, err
	}
	for _, dir := range t.Packages() {
		next, err := t.EditKptfile(dir, func(k *kptpkg.KptfileEditor) error {
			k.Remove("status")
			if dir == "." {
				k.SetName(o.name)
				k.Remove("upstream")
				k.Remove("upstreamLock")
			}
			return nil
		})
		if err == nil { // a Kptfile that can't be read is compared as it is
			t = next
		}
	}
	return t, nil
}

// kptfileError is an error about a field of the package's Kptfile.
func kptfileError(field, message string, cause error) error {
	return &fn.ResultError{Result: fn.Result{
		Severity: fn.Error, Message: message, File: &fn.File{Path: kptpkg.KptfileName}, Field: &fn.Field{Path: field},
	}, Err: cause}
}
