package orchestration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// UpgradeOptions say how Upgrade goes about it. The zero value goes to the ref
// that the Kptfile's upstream names and fails on conflicts.
type UpgradeOptions struct {
	// Ref is the upstream ref to go to; it becomes the Kptfile's. Empty is the
	// Kptfile's own.
	Ref string
	// Strategy is how; it becomes the Kptfile's upstream.updateStrategy, as by
	// kpt. Empty is the Kptfile's own, else resource-merge.
	Strategy merge.Strategy
	// OnConflict and Resolve settle conflicts, as in [merge.Options].
	OnConflict merge.Policy
	Resolve    merge.Resolutions
	// Renderer runs the package's pipeline, on a copy, where a conflict may be of
	// what rendering wrote, as [task.Job.Merge] has it.
	// nil: all that differs from upstream was changed locally.
	Renderer *render.Renderer
}

// Upgraded is what became of a package.
type Upgraded struct {
	// Tree is the package, not rendered; none while conflicts are open.
	Tree kptpkg.Tree
	// From and To are the versions of upstream that it held and holds now.
	From, To upstream.Lock
	// UpToDate says that the package holds that version already, and Tree is
	// the package as it was, but for a strategy that was asked for.
	UpToDate bool
	// Strategy is the one that was taken.
	Strategy merge.Strategy
	// Conflicts are all places that both sides changed, those settled included.
	Conflicts merge.Conflicts
	// Unused are the keys of UpgradeOptions.Resolve that no conflict asked for.
	Unused []string
	// Results are warnings about files that got no merge keys, why what rendering
	// wrote could not be told from changes where that matters, and files that
	// upstream has added with objects for stoop.
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
	edited, hadStrategy := at.goTo(o.Ref), at.upstream.UpdateStrategy
	if o.Strategy != "" {
		at.upstream.UpdateStrategy = string(strategy)
	}
	theirs, lock, err := at.fetchUpstream(ctx, from)
	if err != nil {
		return Upgraded{}, err
	}
	done := Upgraded{From: at.lock, To: lock, Strategy: strategy}
	if !edited && sameLock(lock, at.lock) {
		done.Tree, done.UpToDate = pkg, true
		if at.upstream.UpdateStrategy != hadStrategy {
			done.Tree, err = at.locked(pkg, lock)
		}
		return done, err
	}
	switch moved, err := at.movedTag(ctx, from, lock); {
	case err != nil:
		return Upgraded{}, err
	case moved != nil:
		return Upgraded{}, &fn.ResultError{Result: *moved}
	}
	base, err := at.fetchBase(ctx, from)
	if err != nil {
		return Upgraded{}, err
	}
	if base.File(kptpkg.KptfileName) != nil && theirs.File(kptpkg.KptfileName) == nil {
		return Upgraded{}, at.upstreamError("there is no Kptfile any more, so it is no kpt package: name another version or place", nil)
	}
	job := &task.Job{Renderer: o.Renderer, Revision: &api.PackageRevision{Spec: api.PackageRevisionSpec{PackageName: at.name}}}
	merged, err := job.Merge(ctx, base, pkg, theirs, merge.Options{
		Strategy: strategy, OnConflict: o.OnConflict, Resolve: o.Resolve, Root: true, Nested: true,
	})
	done.Conflicts, done.Unused, done.Results = merged.Conflicts, merged.Unused, job.Results
	if err != nil {
		return done, err
	}
	tree, err := at.locked(merged.Tree, lock)
	if err != nil {
		return done, err
	}
	job.Package = tree
	if tree, err = task.AddMergeKeys.Apply(ctx, job); err != nil {
		return done, err
	}
	done.Results = append(job.Results, newOrders(pkg, tree)...)
	done.Tree = tree
	return done, nil
}

// newOrders warns of files that a package hadn't before and that hold objects which
// a run of it would carry out.
func newOrders(before, after kptpkg.Tree) []fn.Result {
	f := newFound()
	_ = f.readAll(after) // what is wrong with them is for a run to say
	maps.Copy(f.own, f.mixed)
	var results []fn.Result
	for _, p := range slices.Sorted(maps.Keys(f.own)) {
		if before.File(p) == nil {
			results = append(results, fn.Result{
				Severity: fn.Warning, File: &fn.File{Path: p},
				Message: "is new and holds objects for stoop: read them before you run stoop run here, which carries them out",
			})
		}
	}
	return results
}

// UpstreamChanges returns the version of its upstream that a package is locked
// to, and the one that its upstream's ref names now. The result, nil mostly, says
// that this is a tag which moved, so that [Upgrade] won't go there.
func UpstreamChanges(ctx context.Context, from upstream.Source, pkg kptpkg.Tree) (before, after kptpkg.Tree, moved *fn.Result, err error) {
	at, err := originOf(pkg)
	if err != nil {
		return before, after, nil, err
	}
	after, lock, err := at.fetchUpstream(ctx, from)
	if err != nil {
		return before, after, nil, err
	}
	if moved, err = at.movedTag(ctx, from, lock); err != nil {
		return before, after, nil, err
	}
	before, err = at.fetchBase(ctx, from)
	return before, after, moved, err
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
	if before, err = at.plain(base); err != nil {
		return before, after, err
	}
	if after, err = at.plain(pkg); err != nil {
		return before, after, err
	}
	var own []*kptpkg.File // shown as they are
	for _, p := range pkg.Paths() {
		if base.File(p) == nil {
			own = append(own, pkg.File(p))
		}
	}
	after, err = after.With(own...)
	return before, after, err
}

// origin is where a package comes from, as its Kptfile says.
type origin struct {
	name     string
	upstream kptpkg.Upstream // with the ref to go to
	lock     upstream.Lock
}

// originOf reads the origin of a package that can be compared with its upstream.
func originOf(pkg kptpkg.Tree) (*origin, error) {
	k, err := pkg.Kptfile(".")
	switch {
	case err != nil:
		return nil, err
	case k.Upstream == nil:
		return nil, kptfileError("upstream", "the package has no upstream: one made by stoop get or a clone has", nil)
	case k.Upstream.Type == string(upstream.TypeGit) && k.Upstream.Git != nil:
	case k.Upstream.Type == string(upstream.TypeOCI) && k.Upstream.OCI != nil:
	default:
		return nil, kptfileError("upstream.type", fmt.Sprintf("is %q: write git, with git.repo, directory and ref, or oci, with oci.image", k.Upstream.Type), nil)
	}
	o := &origin{name: k.Metadata.Name, upstream: *k.Upstream}
	switch l := k.UpstreamLock; {
	case l != nil && l.Git != nil:
		if len(l.Git.Commit) != 40 || strings.Trim(l.Git.Commit, "0123456789abcdefABCDEF") != "" {
			return nil, kptfileError("upstreamLock.git.commit", fmt.Sprintf("is %q: want the 40 hexadecimal digits of a commit", l.Git.Commit), nil)
		}
	case l != nil && l.OCI != nil:
		if !strings.Contains(l.OCI.Image, "@sha256:") {
			return nil, kptfileError("upstreamLock.oci.image", fmt.Sprintf("is %q: want REGISTRY/NAME@sha256:DIGEST", api.WithoutCredentials(l.OCI.Image)), nil)
		}
	default:
		return nil, kptfileError("upstreamLock", "is not there, so nothing says which version of upstream the package was made of: get it anew (stoop get)", nil)
	}
	o.lock = *upstream.LockIn(k)
	return o, nil
}

// goTo makes ref, a git ref or an image's tag or digest, the one to go to; empty
// is the one there is. It says whether that is another.
func (o *origin) goTo(ref string) bool {
	switch {
	case ref == "":
		return false
	case o.upstream.Git != nil:
		git := *o.upstream.Git
		edited := git.Ref != ref
		git.Ref = ref
		o.upstream.Git = &git
		return edited
	}
	was := o.upstream.OCI.Image
	name, _, _ := strings.Cut(was, "@")
	sep := ":"
	if strings.HasPrefix(ref, "sha256:") {
		sep = "@"
	}
	o.upstream.OCI = &kptpkg.OCI{Image: withoutTag(name) + sep + ref}
	return o.upstream.OCI.Image != was
}

// fetchUpstream reads the version of upstream to go to.
func (o *origin) fetchUpstream(ctx context.Context, from upstream.Source) (kptpkg.Tree, upstream.Lock, error) {
	ref := upstream.Ref{Type: upstream.Type(o.upstream.Type)}
	if git := o.upstream.Git; git != nil {
		ref.Git = &upstream.GitRef{Repo: git.Repo, Directory: git.Directory, Ref: git.Ref}
	}
	if oci := o.upstream.OCI; oci != nil {
		ref.OCI = &upstream.OCIRef{Image: oci.Image}
	}
	t, lock, err := from.Fetch(ctx, ref)
	if err == nil {
		err = checkFile(t)
	}
	if err != nil {
		return t, lock, o.upstreamError(err.Error(), err)
	}
	return t, lock, nil
}

// fetchBase reads the version of upstream that the package is locked to.
func (o *origin) fetchBase(ctx context.Context, from upstream.Source) (kptpkg.Tree, error) {
	ref := o.lock.Ref()
	if git := o.upstream.Git; git != nil && ref.Git != nil && plainRepo(git.Repo) == plainRepo(ref.Git.Repo) {
		ref.Git.Repo = git.Repo // with its credentials
	}
	t, _, err := from.Fetch(ctx, ref)
	if err == nil {
		err = checkFile(t)
	}
	field := "upstreamLock." + string(o.lock.Type)
	switch {
	case errors.Is(err, upstream.ErrNotFound):
		return t, kptfileError(field, fmt.Sprintf("the version that the package was made of can't be read any more: %v", err), err)
	case err != nil:
		return t, kptfileError(field, err.Error(), err)
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

// movedTag says, if so, that a git tag was locked at one commit and is at another
// now. The lock of an image doesn't say which tag was read.
func (o *origin) movedTag(ctx context.Context, from upstream.Source, lock upstream.Lock) (*fn.Result, error) {
	was, now := o.lock.Git, lock.Git
	if was == nil || now == nil || now.Commit == was.Commit || tagPlace(o.lock) != tagPlace(lock) {
		return nil, nil
	}
	tag, err := isTag(ctx, from, o.upstream.Git.Repo, *now)
	if err != nil || !tag {
		return nil, err
	}
	moved := fn.ResultOf(kptfileError("upstream.git.ref", fmt.Sprintf(
		"tag %s of %s moved since it was locked: upstreamLock has commit %s, and the tag is at %s now; tags should stay, so find out why; to go there all the same give that commit as the ref, @%[4]s",
		now.Ref, now.Repo, was.Commit, now.Commit), nil))
	return &moved, nil
}

// tagPlace is the place of a git lock, the same for both ways to write a tag: v1 and
// refs/tags/v1.
func tagPlace(l upstream.Lock) string {
	git := *l.Git
	git.Ref = strings.TrimPrefix(git.Ref, "refs/tags/")
	l.Git = &git
	return placeOf(l.InKptfile())
}

// isTag says whether a ref that was read from a repository is a tag. Names are tried
// in the order of [upstream.GitRef]; none of them fetches anything again.
func isTag(ctx context.Context, from upstream.Source, repo string, read upstream.GitLock) (bool, error) {
	names := []string{read.Ref}
	if read.Directory != "/" {
		names = []string{read.Directory + "/" + read.Ref, read.Ref}
	}
	for _, name := range names {
		for _, kind := range []string{"refs/tags/", "refs/heads/"} {
			_, lock, err := from.Fetch(ctx, upstream.Ref{Type: upstream.TypeGit,
				Git: &upstream.GitRef{Repo: repo, Directory: read.Directory, Ref: kind + name}})
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

func sameLock(a, b upstream.Lock) bool {
	switch {
	case a.Git != nil && b.Git != nil:
		return a.Git.Commit == b.Git.Commit && placeOf(a.InKptfile()) == placeOf(b.InKptfile())
	case a.OCI != nil && b.OCI != nil:
		return a.OCI.Image == b.OCI.Image
	}
	return false
}

// locked is a merged package with the origin's upstream at its new version.
func (o *origin) locked(t kptpkg.Tree, l upstream.Lock) (kptpkg.Tree, error) {
	return t.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.SetUpstream(o.upstream)
		k.SetUpstreamLock(l.InKptfile())
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

// upstreamError is an error about the version of upstream to go to.
func (o *origin) upstreamError(message string, cause error) error {
	return kptfileError("upstream."+o.upstream.Type, message, cause)
}

// kptfileError is an error about a field of the package's Kptfile.
func kptfileError(field, message string, cause error) error {
	return &fn.ResultError{Result: fn.Result{
		Severity: fn.Error, Message: message, File: &fn.File{Path: kptpkg.KptfileName}, Field: &fn.Field{Path: field},
	}, Err: cause}
}
