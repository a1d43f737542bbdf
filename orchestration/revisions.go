package orchestration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// localRevisions finds the revisions that a workspace declares, as they are
// after their jobs; nil for a name that isn't declared.
type localRevisions func(namespace, name string) (*task.Revision, error)

// revisions finds package revisions by name: those declared in the workspace,
// else those in registered repositories.
type revisions struct {
	handler *TaskHandler
	in      workspace
}

// Revision implements task.Revisions.
func (r revisions) Revision(ctx context.Context, namespace, name string) (*task.Revision, error) {
	if r.in.revisions != nil {
		if rev, err := r.in.revisions(namespace, name); rev != nil || err != nil {
			return rev, err
		}
	}
	ref, err := r.reference(ctx, namespace, name)
	if err != nil {
		return nil, notDeclared(err)
	}
	pkg, lock, err := r.handler.Upstream.Fetch(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &task.Revision{
		Name: name, Package: pkg, Published: true, Lock: &lock,
		SameAs: func(repository, packageName string) bool {
			// names are made of repository, path, package and workspace
			workspace, ok := strings.CutPrefix(name, repository+"."+strings.ReplaceAll(packageName, "/", ".")+".")
			return ok && !strings.Contains(workspace, ".")
		},
	}, nil
}

// reference asks the repositories of the workspace, then the handler's resolver.
func (r revisions) reference(ctx context.Context, namespace, name string) (ref upstream.Ref, err error) {
	err = errNotRegistered
	for _, known := range []ReferenceResolver{r.in.registered, r.handler.References} {
		if known == nil {
			continue
		}
		if ref, err = known.Reference(ctx, namespace, name); err == nil || !errors.Is(err, upstream.ErrNotFound) {
			return ref, err
		}
	}
	return ref, err
}

var errNotRegistered = errors.New("no repository is registered where it could be: declare it, or a Repository that holds it")

func notDeclared(err error) error {
	return fmt.Errorf("no PackageRevision of that name is declared; %w", err)
}

// DeclaredRepositories opens registered repositories, git and OCI.
type DeclaredRepositories struct {
	Git         *repository.Git
	OCI         *repository.OCI
	Credentials CredentialResolver // nil: there are none
}

// Open implements RepositoryOpener.
func (d DeclaredRepositories) Open(declared []*api.Repository) ReferenceResolver {
	r := upstream.Registered{Client: d.Git, OCI: d.OCI, Credentials: d.Credentials}
	for _, repo := range declared {
		place := upstream.Repository{Namespace: repo.Metadata.Namespace, Name: repo.Metadata.Name}
		switch git, oci := repo.Spec.Git, repo.Spec.OCI; {
		case git != nil:
			place.Repo, place.Branch, place.Directory, place.Secret = git.Repo, git.Branch, git.Directory, git.SecretRef.Name
		case oci != nil:
			place.Registry, place.Secret = oci.Registry, oci.SecretRef.Name
		}
		r.Repositories = append(r.Repositories, place)
	}
	return r
}

// registered are the declared repositories, by namespace and name.
func (f *found) registered() []*api.Repository {
	var all []*api.Repository
	for _, key := range slices.Sorted(maps.Keys(f.repositories)) {
		all = append(all, f.repositories[key])
	}
	return all
}

// references are the names of revisions that an order's tasks need, from the
// given task on.
func references(pr *api.PackageRevision, from int) []string {
	var names []string
	for _, t := range pr.Spec.Tasks[from:] {
		switch {
		case t.Clone != nil && t.Clone.UpstreamRef.UpstreamRef != nil:
			names = append(names, t.Clone.UpstreamRef.UpstreamRef.Name)
		case t.Edit != nil:
			names = append(names, t.Edit.SourceRef.Name)
		case t.Upgrade != nil:
			names = append(names, t.Upgrade.OldUpstreamRef.Name, t.Upgrade.NewUpstreamRef.Name, t.Upgrade.LocalPackageRevisionRef.Name)
		}
	}
	return names
}

// predecessor is the name of the revision that an order goes on from, empty for
// one that makes a package from elsewhere.
func predecessor(pr *api.PackageRevision) string {
	if len(pr.Spec.Tasks) == 0 {
		return ""
	}
	switch t := pr.Spec.Tasks[0]; {
	case t.Edit != nil:
		return t.Edit.SourceRef.Name
	case t.Upgrade != nil:
		return t.Upgrade.LocalPackageRevisionRef.Name
	}
	return ""
}

// chain puts the orders of one target in order, each going on from the one
// before; nil when they aren't such a chain of revisions of one package.
func chain(jobs []*job) []*job {
	next := map[string]*job{} // by the name of the predecessor
	var first *job
	for _, j := range jobs {
		a, b := j.revision.Spec, jobs[0].revision.Spec
		if a.Repository != b.Repository || a.PackageName != b.PackageName {
			return nil
		}
		name := predecessor(j.revision)
		if find(jobs, j.revision.Metadata.Namespace, name) == nil {
			if first != nil {
				return nil
			}
			first = j
			continue
		}
		if next[name] != nil {
			return nil
		}
		next[name] = j
	}
	var out []*job
	for j := first; j != nil && len(out) < len(jobs); j = next[j.revision.Metadata.Name] {
		out = append(out, j)
	}
	if len(out) != len(jobs) {
		return nil
	}
	return out
}

// find returns the job of the revision of that name: a namespace that one of the
// two leaves out agrees with any.
func find(jobs []*job, namespace, name string) *job {
	var any *job
	for _, j := range jobs {
		m := j.revision.Metadata
		switch {
		case m.Name != name || name == "":
		case m.Namespace == namespace:
			return j
		case m.Namespace == "" || namespace == "":
			any = j
		}
	}
	return any
}

// local finds revisions as j sees them.
func (r *run) local(j *job) localRevisions {
	return func(namespace, name string) (*task.Revision, error) {
		d := r.byName(namespace, name)
		if d == nil {
			return nil, nil
		}
		rev := &task.Revision{
			Name: name, Published: d.revision.IsPublished(),
			SameAs: func(repository, packageName string) bool {
				return d.revision.Spec.Repository == repository && d.revision.Spec.PackageName == packageName
			},
		}
		switch {
		case d == j || d == j.before:
			rev.Current = true
			rev.Package = r.store.pkg(j.target)
			for maker := d; maker != nil; maker = maker.before {
				rev.Made = slices.Insert(rev.Made, 0, maker.revision)
			}
		case d.err != nil:
			return nil, errors.New("it could not be carried out")
		case d.unmade:
			return nil, errors.New(d.notMade())
		case d.after != nil:
			return nil, fmt.Errorf("its content is gone from the workspace: target %q holds %s now; publish revisions to a registered repository to keep them", d.target, r.holder(d).revision.Metadata.Name)
		default:
			rev.Package = r.store.pkg(d.target)
		}
		return rev, nil
	}
}

// notMade is the error for what needs a package that wasn't made before and isn't
// made in this run.
func (j *job) notMade() string {
	return fmt.Sprintf("PackageRevision %s in %s has not been made yet: run that file first, or the whole directory", j.name(), j.file)
}

// holder is the last of the chain that an order is part of.
func (r *run) holder(j *job) *job {
	for j.after != nil {
		j = j.after
	}
	return j
}
