package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/repository"
)

// Registered finds package revisions by their names in the repositories that are
// declared. It may be used concurrently.
type Registered struct {
	// Client reads git repositories, and holds what may be read.
	Client *repository.Git
	// OCI reads registries, and holds what may be read; nil: none can be read.
	OCI *repository.OCI
	// Repositories are the declared ones.
	Repositories []Repository
	// Credentials resolves the repositories' secrets; nil: none can be named.
	Credentials Credentials
}

// Repository is a declared repository of package revisions: a git repository, or
// a registry.
type Repository struct {
	Namespace string // "" is any
	Name      string // a DNS label: what names of its revisions begin with
	Registry  string // HOST[:PORT][/PATH] of a registry; "" is a git repository
	Repo      string // URL or path, as in [GitRef]
	Branch    string // "" means main
	Directory string // where its packages are; "" is the root
	Secret    string // name of its secret, in its namespace; "" is none
}

// Credentials finds the content of secrets.
type Credentials interface {
	Credential(ctx context.Context, namespace, secret string) (*repository.Credential, error)
}

// Reference says where the published package revision of that name is kept, as
// seen from a namespace; "" sees the repositories of all. Drafts are refused, as
// they change and go, and so are placeholders, which are no revisions. The error
// wraps [ErrNotFound] when no declared repository has it, and says which were
// searched.
func (r Registered) Reference(ctx context.Context, namespace, name string) (Ref, error) {
	named, err := r.named(namespace, name)
	if err != nil {
		return Ref{}, err
	}
	var found []Ref
	for _, repo := range named {
		ref, err := r.in(ctx, repo, namespace, name)
		if err != nil {
			return Ref{}, fmt.Errorf("registered repository %s: %w", repo.Name, err)
		}
		found = append(found, ref)
	}
	if len(found) > 1 {
		return Ref{}, fmt.Errorf("%q is ambiguous: %d repositories %s are declared, in several namespaces; set metadata.namespace", name, len(named), named[0].Name)
	}
	return found[0], nil
}

// Check is the error for a name that no declared repository can have, or only one that
// may not be read. It asks nobody.
func (r Registered) Check(namespace, name string) error {
	named, err := r.named(namespace, name)
	for _, repo := range named {
		if repo.Registry != "" {
			continue
		}
		if err := r.Client.Access.Check(repo.Repo); err != nil {
			return fmt.Errorf("registered repository %s: %w", repo.Name, err)
		}
	}
	return err
}

// named are the repositories, one or more, that a revision is in by its name.
func (r Registered) named(namespace, name string) ([]Repository, error) {
	first, _, _ := strings.Cut(name, ".")
	var named []Repository
	var declared []string
	for _, repo := range r.Repositories {
		if repo.Namespace != "" && namespace != "" && repo.Namespace != namespace {
			continue
		}
		declared = append(declared, repo.Name)
		if repo.Name == first {
			named = append(named, repo)
		}
	}
	switch {
	case len(named) > 0:
		return named, nil
	case len(declared) == 0:
		return nil, fmt.Errorf("%q %w: no Repository is declared, and its name says that it is in %s", name, ErrNotFound, first)
	}
	slices.Sort(declared)
	return nil, fmt.Errorf("%q %w: its name says that it is in the repository %s, and declared are %s", name, ErrNotFound, first, strings.Join(slices.Compact(declared), ", "))
}

func (r Registered) in(ctx context.Context, repo Repository, namespace, name string) (Ref, error) {
	cred, err := r.credential(ctx, repo, namespace)
	if err != nil {
		return Ref{}, err
	}
	if repo.Registry != "" {
		if r.OCI == nil {
			return Ref{}, errors.New("it is a registry, and there is no client for registries")
		}
		return r.inRegistry(ctx, repository.OCIRegistration{Name: repo.Name, Registry: repo.Registry, Credential: cred}, name)
	}
	reg := repository.Registration{Name: repo.Name, Repo: repo.Repo, Branch: repo.Branch, Directory: repo.Directory, Credential: cred}
	rev, err := r.Client.Revision(ctx, reg, name)
	switch {
	case err != nil:
		return Ref{}, err
	case rev.IsPlaceholder():
		return Ref{}, fmt.Errorf("%q is a placeholder, the package as it is on the branch %s, and no revision: %s", name, rev.Workspace, r.instead(ctx, reg, rev))
	case !rev.IsPublished():
		return Ref{}, fmt.Errorf("%q is a %s, and only published revisions can be used: publish it, or %s", name, rev.Lifecycle, r.instead(ctx, reg, rev))
	}
	return Ref{Type: TypeGit, Git: &GitRef{Repo: repo.Repo, Ref: rev.Ref, Directory: rev.Directory, Credential: reg.Credential}}, nil
}

func (r Registered) inRegistry(ctx context.Context, reg repository.OCIRegistration, name string) (Ref, error) {
	rev, err := r.OCI.Revision(ctx, reg, name)
	switch {
	case err != nil:
		return Ref{}, err
	case !rev.IsPublished():
		return Ref{}, fmt.Errorf("%q is a %s, and only published revisions can be used: publish it, or name another", name, rev.Lifecycle)
	}
	return Ref{Type: TypeOCI, OCI: &OCIRef{Image: rev.Image, Credential: reg.Credential}}, nil
}

// credential resolves a repository's secret, nil when it names none.
func (r Registered) credential(ctx context.Context, repo Repository, namespace string) (*repository.Credential, error) {
	switch {
	case repo.Secret == "":
		return nil, nil
	case r.Credentials == nil:
		return nil, fmt.Errorf("secret %q: no credentials are allowed; allow them with --credentials-dir=DIR or STOOP_CREDENTIALS_DIR=DIR", repo.Secret)
	case repo.Namespace != "":
		namespace = repo.Namespace
	}
	cred, err := r.Credentials.Credential(ctx, namespace, repo.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", repo.Secret, err)
	}
	return cred, nil
}

// instead says which revision of the same package could be named.
func (r Registered) instead(ctx context.Context, reg repository.Registration, rev repository.Revision) string {
	all, err := r.Client.Revisions(ctx, reg)
	if err == nil {
		i := slices.IndexFunc(all, func(o repository.Revision) bool { return o.Package == rev.Package && o.Latest })
		if i >= 0 {
			return "name " + all[i].Name()
		}
	}
	return "name another, as none of this package is published"
}
