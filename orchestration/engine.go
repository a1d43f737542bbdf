package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Engine creates, changes, deletes, lists and watches the package revisions of
// registered repositories, as Porch's engine does, with nothing but the
// repositories for a database: it joins them, drafts and the [TaskHandler].
//
// A change is a draft that the handler works on in memory and that is written
// whole or not at all, so an error leaves nothing behind. Where somebody else
// was faster the error wraps [repository.ErrConflict], and where there is no such
// revision [repository.ErrNotFound]; most others are [fn.ResultError]s that name
// the field.
//
// The exported fields are its dependencies: set them before the first use. It may
// then be used concurrently.
type Engine struct {
	// Handler makes and changes packages.
	Handler *TaskHandler
	// Opener opens the repositories. To be told of changes that others make,
	// hand [Engine.Refreshed] to it.
	Opener RegistryOpener
	// Repositories are those that are registered.
	Repositories []*api.Repository
	// User is who asks for a change: the author of commits, and who published a
	// revision. nil: nobody is known.
	User func(context.Context) repository.Author
	// OnConflict and Resolve settle the conflicts of upgrades; empty: what the
	// objects say.
	OnConflict merge.Policy
	Resolve    merge.Resolutions

	watchers watchers
	mu       sync.Mutex
	busy     map[string]bool // names of revisions that are being changed, by namespace/name
}

// RegistryOpener opens registered repositories; [repository.Opener] is one.
type RegistryOpener interface {
	Open(context.Context, *api.Repository) (repository.Repository, error)
}

// Revision is a package revision of a registered repository.
type Revision struct {
	Namespace string // of the Repository object
	repository.Revision
}

// Filter says which package revisions are meant. The zero Filter is all of them,
// placeholders too.
type Filter struct {
	Namespace  string // that sees the Repository object, which may have none; "" sees all
	Repository string // its name; "" is any
	repository.Filter
}

// Matches says whether the filter lets a revision through.
func (f Filter) Matches(r Revision) bool {
	return f.includes(r.Namespace, r.Repository) && f.Filter.Matches(r.Revision)
}

// includes says whether the filter lets revisions of a repository through.
func (f Filter) includes(namespace, name string) bool {
	return sees(f.Namespace, namespace) && (f.Repository == "" || f.Repository == name)
}

// sees says whether what is in a namespace is seen from another: one that either
// leaves out agrees with any.
func sees(from, namespace string) bool {
	return from == "" || namespace == "" || from == namespace
}

func compareRevisions(a, b Revision) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Repository, b.Repository),
		cmp.Compare(a.Package, b.Package), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Workspace, b.Workspace))
}

// ListPackageRevisions lists the package revisions that match, by namespace,
// repository, package and number. The error joins those of repositories that
// can't be read; what the others hold is listed all the same.
func (e *Engine) ListPackageRevisions(ctx context.Context, f Filter) ([]Revision, error) {
	return inAll(e, f, func(repo *api.Repository) ([]Revision, error) {
		r, err := e.Opener.Open(ctx, repo)
		if err != nil {
			return nil, err
		}
		return revisionsOf(ctx, repo, r, f.Filter)
	})
}

// ListPackages lists the packages that have a matching revision. Its error is
// that of ListPackageRevisions.
func (e *Engine) ListPackages(ctx context.Context, f Filter) ([]repository.Package, error) {
	return inAll(e, f, func(repo *api.Repository) ([]repository.Package, error) {
		r, err := e.Opener.Open(ctx, repo)
		if err != nil {
			return nil, err
		}
		return r.Packages(ctx, f.Filter)
	})
}

// inAll does something with all repositories that a filter includes, at the same
// time, and joins what comes of it in their order.
func inAll[T any](e *Engine, f Filter, do func(*api.Repository) ([]T, error)) ([]T, error) {
	repos := e.included(f)
	found, errs := make([][]T, len(repos)), make([]error, len(repos))
	var wg sync.WaitGroup
	for i, repo := range repos {
		wg.Go(func() {
			if found[i], errs[i] = do(repo); errs[i] != nil {
				errs[i] = fmt.Errorf("registered repository %s: %w", repo.Metadata.Name, errs[i])
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}

// included are the repositories that a filter includes, by namespace and name.
func (e *Engine) included(f Filter) []*api.Repository {
	var repos []*api.Repository
	for _, repo := range e.Repositories {
		if f.includes(repo.Metadata.Namespace, repo.Metadata.Name) {
			repos = append(repos, repo)
		}
	}
	slices.SortStableFunc(repos, func(a, b *api.Repository) int {
		return cmp.Or(cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	return repos
}

// revisionsOf lists the revisions of an open repository.
func revisionsOf(ctx context.Context, repo *api.Repository, r repository.Repository, f repository.Filter) ([]Revision, error) {
	list, err := r.Revisions(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]Revision, len(list))
	for i, rev := range list {
		out[i] = Revision{repo.Metadata.Namespace, rev}
	}
	return out, nil
}

// registered is a package revision with where it is kept.
type registered struct {
	Revision
	object *api.Repository
	open   repository.Repository
}

// repository is the registered repository of that name as seen from a namespace.
func (e *Engine) repository(namespace, name string) (*api.Repository, error) {
	var found []*api.Repository
	var names []string
	for _, repo := range e.included(Filter{Namespace: namespace}) {
		names = append(names, repo.Metadata.Name)
		if repo.Metadata.Name == name {
			found = append(found, repo)
		}
	}
	for _, repo := range found {
		if repo.Metadata.Namespace == namespace || len(found) == 1 {
			return repo, nil
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("%d repositories %s are registered, in several namespaces: give the namespace", len(found), name)
	case len(names) == 0:
		return nil, fmt.Errorf("repository %q %w: none is registered", name, repository.ErrNotFound)
	}
	return nil, fmt.Errorf("repository %q %w: registered are %s", name, repository.ErrNotFound, strings.Join(slices.Compact(names), ", "))
}

// find returns the package revision of that name, as seen from a namespace.
func (e *Engine) find(ctx context.Context, namespace, name string) (registered, error) {
	first, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return registered{}, fmt.Errorf("package revision %q %w: a name is REPOSITORY.PACKAGE.WORKSPACE, with dots for the slashes of a path", name, repository.ErrNotFound)
	}
	repo, err := e.repository(namespace, first)
	if err != nil {
		return registered{}, fmt.Errorf("package revision %q: %w", name, err)
	}
	r, err := e.Opener.Open(ctx, repo)
	if err != nil {
		return registered{}, fmt.Errorf("registered repository %s: %w", first, err)
	}
	rev, err := named(ctx, repo, r, name)
	if errors.Is(err, repository.ErrNotFound) { // somebody may have made it meanwhile
		if err := r.Refresh(ctx); err != nil {
			return registered{}, fmt.Errorf("registered repository %s: %w", first, err)
		}
		rev, err = named(ctx, repo, r, name)
	}
	return registered{rev, repo, r}, err
}

// named is the revision of that name in an open repository: a published one
// rather than a draft, and that rather than a placeholder.
func named(ctx context.Context, repo *api.Repository, r repository.Repository, name string) (Revision, error) {
	list, err := revisionsOf(ctx, repo, r, repository.Filter{Name: name})
	switch {
	case err != nil:
		return Revision{}, fmt.Errorf("registered repository %s: %w", repo.Metadata.Name, err)
	case len(list) == 0:
		return Revision{}, fmt.Errorf("package revision %q %w in repository %s", name, repository.ErrNotFound, repo.Metadata.Name)
	}
	return slices.MaxFunc(list, func(a, b Revision) int { return cmp.Compare(rank(a), rank(b)) }), nil
}

func rank(r Revision) int {
	switch {
	case r.IsPlaceholder():
		return 0
	case !r.IsPublished():
		return 1
	}
	return 2 + r.Number
}

// FindPackageRevision returns the package revision of that name, as seen from a
// namespace: a published one rather than a draft or placeholder of the same name.
func (e *Engine) FindPackageRevision(ctx context.Context, namespace, name string) (Revision, error) {
	r, err := e.find(ctx, namespace, name)
	return r.Revision, err
}

// GetPackageRevision returns the package revision of that name as an object, its
// tasks included.
func (e *Engine) GetPackageRevision(ctx context.Context, namespace, name string) (*api.PackageRevision, error) {
	r, err := e.find(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return r.read(ctx, true)
}

// Describe returns a package revision that was listed as an object, its tasks
// included.
func (e *Engine) Describe(ctx context.Context, rev Revision) (*api.PackageRevision, error) {
	r, err := e.registered(ctx, rev)
	if err != nil {
		return nil, err
	}
	return r.read(ctx, true)
}

// read is the revision as an object. Its tasks are in the history, which is only
// read for them.
func (r registered) read(ctx context.Context, tasks bool) (*api.PackageRevision, error) {
	pkg, err := r.open.Resources(ctx, r.Revision.Revision)
	if err != nil {
		return nil, fmt.Errorf("package revision %q: %w", r.Name(), err)
	}
	pr := r.describe(pkg)
	if tasks {
		if pr.Spec.Tasks, err = r.open.Tasks(ctx, r.Revision.Revision); err != nil {
			return nil, fmt.Errorf("package revision %q: %w", r.Name(), err)
		}
	}
	return pr, nil
}

// describe is the revision with the given content as an object without tasks. As
// in Porch, of a Kptfile that is broken nothing is said: the revision can still be
// listed, repaired and deleted.
func (r registered) describe(pkg kptpkg.Tree) *api.PackageRevision {
	k, err := pkg.Kptfile(".")
	if err != nil {
		k = &kptpkg.Kptfile{}
	}
	pr := &api.PackageRevision{
		Header: api.Header{
			APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision",
			Metadata: api.ObjectMeta{
				Name: r.Name(), Namespace: r.Namespace, ResourceVersion: r.Commit,
				Labels: maps.Clone(r.Labels), Annotations: maps.Clone(r.Annotations),
			},
		},
		Spec: api.PackageRevisionSpec{
			PackageName: r.Package, Repository: r.Repository, WorkspaceName: r.Workspace,
			Revision: r.Number, Lifecycle: r.Lifecycle,
		},
		Status: api.PackageRevisionStatus{PublishedBy: r.PublishedBy, Deployment: r.object.Spec.Deployment},
	}
	if r.Latest {
		if pr.Metadata.Labels == nil {
			pr.Metadata.Labels = map[string]string{}
		}
		pr.Metadata.Labels[repository.LatestLabel] = "true"
	}
	if !r.PublishedAt.IsZero() {
		pr.Status.PublishTimestamp = r.PublishedAt.UTC().Format(time.RFC3339)
	}
	if m := k.Metadata; len(m.Labels)+len(m.Annotations) > 0 {
		pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: m.Labels, Annotations: m.Annotations}
	}
	for _, g := range k.Info.ReadinessGates {
		pr.Spec.ReadinessGates = append(pr.Spec.ReadinessGates, api.ReadinessGate(g))
	}
	for _, c := range k.Status.Conditions {
		pr.Status.Conditions = append(pr.Status.Conditions, conditionOf(c))
	}
	if l := r.lock(); l.Git != nil {
		pr.Status.SelfLock = &api.Lock{Type: "git", Git: (*api.GitLock)(l.Git)}
	}
	if l := k.UpstreamLock; l != nil && l.Git != nil {
		pr.Status.UpstreamLock = &api.Lock{Type: "git", Git: (*api.GitLock)(l.Git)}
	}
	return pr
}

// Resources returns the package of a package revision and the version of it,
// which [Engine.ReplacePackage] compares.
func (e *Engine) Resources(ctx context.Context, namespace, name string) (pkg kptpkg.Tree, version string, err error) {
	r, err := e.find(ctx, namespace, name)
	if err != nil {
		return pkg, "", err
	}
	pkg, err = r.open.Resources(ctx, r.Revision.Revision)
	return pkg, r.Commit, err
}

// GetPackageRevisionResources returns the content of a package revision as an
// object: all files that are text. Others, and symlinks, are left out; they
// stay when the object is given to [Engine.UpdatePackageResources].
func (e *Engine) GetPackageRevisionResources(ctx context.Context, namespace, name string) (*api.PackageRevisionResources, error) {
	r, err := e.find(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	pkg, err := r.open.Resources(ctx, r.Revision.Revision)
	if err != nil {
		return nil, err
	}
	return r.resources(pkg)
}

// resources is a package as the content of the revision.
func (r registered) resources(pkg kptpkg.Tree) (*api.PackageRevisionResources, error) {
	res := &api.PackageRevisionResources{
		Header: api.Header{
			APIVersion: api.PorchV1Alpha1, Kind: "PackageRevisionResources",
			Metadata: api.ObjectMeta{Name: r.Name(), Namespace: r.Namespace, ResourceVersion: r.Commit},
		},
		Spec: api.PackageRevisionResourcesSpec{
			PackageName: r.Package, Repository: r.Repository, WorkspaceName: r.Workspace, Revision: r.Number,
			Resources: map[string]string{},
		},
	}
	for _, p := range pkg.Paths() {
		text, ok, err := textOf(pkg.File(p))
		if err != nil {
			return nil, err
		}
		if ok {
			res.Spec.Resources[p] = text
		}
	}
	return res, nil
}

// textOf is the content of a file that can be a string of an object.
func textOf(f *kptpkg.File) (text string, ok bool, err error) {
	if f.Mode() == kptpkg.Symlink {
		return "", false, nil
	}
	b, err := f.Bytes()
	if err != nil || !utf8.Valid(b) || strings.ContainsRune(string(b), 0) {
		return "", false, err
	}
	return string(b), true, nil
}

// WatchPackageRevisions returns the package revisions that match, each Added, and
// then what changes, as this engine changes it and as [Engine.Refreshed] finds
// that others did. It never ends before ctx is done or the loop is left, and a
// slow loop holds up nobody: changes of one revision that come faster are one
// event. What comes to match is Added and what ceases to is Deleted.
func (e *Engine) WatchPackageRevisions(ctx context.Context, f Filter) (iter.Seq[Event], error) {
	repos := e.included(f)
	keys := make([]repositoryKey, len(repos))
	for i, repo := range repos {
		keys[i] = keyOf(repo)
	}
	w := e.watchers.add(ctx, f, keys)
	_, err := inAll(e, f, func(repo *api.Repository) ([]struct{}, error) {
		r, err := e.Opener.Open(ctx, repo)
		if err == nil {
			err = r.Refresh(ctx)
		}
		if err != nil {
			return nil, err
		}
		return nil, e.look(ctx, repo, r)
	})
	if err != nil {
		e.watchers.remove(w)
		return nil, err
	}
	return e.watchers.events(w), nil
}

func keyOf(repo *api.Repository) repositoryKey {
	return repositoryKey{repo.Metadata.Namespace, repo.Metadata.Name}
}

// Refreshed tells who watches what others have changed in a repository; it is
// meant to be called when that was refreshed, see [repository.Opener].
func (e *Engine) Refreshed(repo *api.Repository, r repository.Repository) {
	// what was refreshed is in memory: nothing here waits for anybody
	_ = e.look(context.Background(), repo, r)
}

// look tells who watches what has changed in a repository.
func (e *Engine) look(ctx context.Context, repo *api.Repository, r repository.Repository) error {
	return e.watchers.look(keyOf(repo), func() ([]Revision, error) {
		return revisionsOf(ctx, repo, r, repository.Filter{})
	})
}

// lock keeps a package revision to its caller until unlock.
func (e *Engine) lock(repo *api.Repository, name string) (unlock func(), err error) {
	key := repo.Metadata.Namespace + "/" + name
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[key] {
		return nil, fmt.Errorf("package revision %q is being changed: try again (%w)", name, repository.ErrConflict)
	}
	if e.busy == nil {
		e.busy = map[string]bool{}
	}
	e.busy[key] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, key)
	}, nil
}

// author is who asks for a change.
func (e *Engine) author(ctx context.Context) repository.Author {
	if e.User == nil {
		return repository.Author{}
	}
	return e.User(ctx)
}

// workspace is what the handler knows while it works on a revision: those that
// are registered, and that one.
func (e *Engine) workspace(ctx context.Context, self string, draft Draft) workspace {
	return workspace{
		onConflict: e.OnConflict, resolve: e.Resolve,
		revisions: func(namespace, name string) (*task.Revision, error) {
			r, err := e.find(ctx, namespace, name)
			if err != nil {
				return nil, err
			}
			rev := &task.Revision{Name: name, SameAs: func(repository, packageName string) bool {
				return repository == r.Repository && packageName == r.Package
			}}
			if name == self {
				rev.Current = true
				rev.Package, err = draft.Resources(ctx)
				return rev, err
			}
			if r.IsPlaceholder() {
				return nil, fmt.Errorf("it is a placeholder, the package as it is on the branch %s, and no revision: name a published one", r.Workspace)
			}
			rev.Published = r.IsPublished()
			lock := r.lock()
			rev.Lock = &lock
			rev.Package, err = r.open.Resources(ctx, r.Revision.Revision)
			return rev, err
		},
	}
}

// lock pins the revision as an upstream.
func (r registered) lock() upstream.Lock {
	if git := r.object.Spec.Git; git != nil {
		return upstream.Lock{Type: upstream.TypeGit, Git: &upstream.GitLock{
			Repo: api.WithoutCredentials(git.Repo), Directory: r.Directory, Ref: r.Ref, Commit: r.Commit}}
	}
	return upstream.Lock{Type: upstream.TypeOCI, OCI: &upstream.OCILock{Image: withoutTag(r.Ref) + "@" + r.Commit, Ref: r.Ref}}
}

// edited is a draft that knows whether its content changed. What is the same is
// not written again.
type edited struct {
	*repository.Draft
	changed bool
}

// UpdateResources implements Draft.
func (d *edited) UpdateResources(ctx context.Context, pkg kptpkg.Tree, t *api.Task) error {
	if t == nil {
		old, err := d.Resources(ctx)
		if err != nil {
			return err
		}
		if changes, err := kptdir.Diff(old, pkg); err != nil || len(changes) == 0 {
			return err
		}
	}
	d.changed = true
	return d.Draft.UpdateResources(ctx, pkg, t)
}
