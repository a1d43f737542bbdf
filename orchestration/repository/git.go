// Package repository reads packages from git repositories, on the network and
// on disk. It is the only git client: nothing else opens a repository, and
// nothing here runs git or leaves anything on disk.
//
// A [Git] fetches in three steps: list the refs and pick the commit (refs.go),
// make its trees readable (network.go, local.go), and turn one directory into a
// [kptpkg.Tree] (tree.go). What the process may read at all is the operator's
// choice (access.go), how much of it is bounded (limits.go).
package repository

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// ErrNotFound is wrapped by the error of a repository that answered and has no
// such repository, ref, commit or directory.
var ErrNotFound = errors.New("not found")

// GitRef names a package in a git repository.
type GitRef struct {
	// Repo is an https, http, ssh, git or file URL, user@host:path, or a path
	// that begins with /, ./ or ../ (below the working directory). A local one
	// is read as committed: changes in its working tree don't count.
	Repo string
	// Ref is a tag, a branch, a full ref name (refs/...) or a commit. Of tags
	// and branches DIRECTORY/REF wins over REF, as kpt and Porch version the
	// packages of one repository. Commits have 40 digits; fewer do in a local
	// repository where they are unambiguous. Required.
	Ref string
	// Directory is the package's directory; "", "." and "/" are the root.
	Directory string
	// Credential authenticates at an http or https server, in place of what
	// Repo holds; nil: none.
	Credential *Credential
}

// GitLock pins what was read: the same commit gives the same package for ever.
type GitLock struct {
	Repo      string // as given, without credentials
	Directory string // clean, without a leading slash; "/" is the root, as kpt writes it
	Ref       string // as given
	Commit    string // 40 hexadecimal digits
}

// Git is a git client. The zero Git may read nothing; set the fields before the
// first use. It may be used concurrently: each repository is asked for its refs
// once and each commit and package is fetched once in the life of a Git, so a
// branch that moves meanwhile doesn't give one run two versions. Failures are
// not remembered.
type Git struct {
	// Access is what may be read.
	Access Access
	// Limits bound a fetch.
	Limits Limits
	// Attempts is how often a request is tried when the network or the server
	// (5xx) fails; 0 means 3. Refusals (401, 403, 404) are never repeated.
	Attempts int

	mu    sync.Mutex
	repos map[repoKey]*repo
}

// Fetch returns the package at r, the files of its directory with everything
// below, and the lock that pins it. A directory without a Kptfile is returned
// like any other. The error wraps [ErrNotFound] when the repository answered
// and has no such package. What can't be a package is an error that names the
// path: submodules, Git LFS pointers, symlinks that lead out of the directory,
// names that no file system should be given or some would take for one.
func (g *Git) Fetch(ctx context.Context, r GitRef) (kptpkg.Tree, GitLock, error) {
	dir, err := cleanDir(r.Directory)
	if err != nil {
		return kptpkg.Tree{}, GitLock{}, err
	}
	if err := checkRef(r.Ref); err != nil {
		return kptpkg.Tree{}, GitLock{}, err
	}
	repo, err := g.open(ctx, r.Repo, r.Credential)
	if err != nil {
		return kptpkg.Tree{}, GitLock{}, err
	}
	defer repo.release()
	tree, commit, err := repo.fetch(ctx, dir, r.Ref)
	if err != nil {
		return kptpkg.Tree{}, GitLock{}, fmt.Errorf("repository %s: %w", repo.text, err)
	}
	return tree, GitLock{Repo: repo.text, Directory: dir, Ref: r.Ref, Commit: commit.String()}, nil
}

// DefaultRef returns the branch that the repository's HEAD names, or one that
// points where HEAD does when it names none. The error wraps [ErrNotFound] when
// there is none of these.
func (g *Git) DefaultRef(ctx context.Context, repoURL string) (string, error) {
	repo, err := g.open(ctx, repoURL, nil)
	if err != nil {
		return "", err
	}
	defer repo.release()
	list, err := repo.listed(ctx)
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", repo.text, err)
	}
	branch := list.defaultBranch()
	if branch == "" {
		return "", fmt.Errorf("repository %s: default branch %w: say which ref is meant", repo.text, ErrNotFound)
	}
	return branch, nil
}

// cleanDir is a package's directory as locks have it.
func cleanDir(dir string) (string, error) {
	clean := strings.TrimPrefix(path.Clean("/"+strings.TrimLeft(dir, "/")), "/")
	if clean == "" && !strings.Contains(dir, "..") {
		return "/", nil
	}
	if strings.Contains("/"+dir+"/", "/../") {
		return "", fmt.Errorf("directory %q leads out of the repository (..)", dir)
	}
	if err := kptpkg.CheckPath(clean); err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	return clean, nil
}

// repoKey is what makes two requests go to one repository: its URL as given and
// who asks.
type repoKey struct {
	url string
	Credential
}

// origin is where one repository's refs and objects come from. After trees the
// commit and all of its directories can be read, after blobs the given files.
type origin interface {
	objects
	refs(ctx context.Context) (refs, error)
	// trees takes a hash that a ref points to, or a commit's.
	trees(ctx context.Context, want plumbing.Hash) error
	blobs(ctx context.Context, commit plumbing.Hash, want []plumbing.Hash) error
	// expand completes an abbreviated commit hash, where that can be done.
	expand(prefix string) (plumbing.Hash, error)
	// close lets go of open files; the origin stays usable.
	close()
}

// repo is a repository as one Git has seen it. Whoever holds the token in busy
// works on it.
type repo struct {
	text   string
	busy   chan struct{}
	limits Limits
	origin

	known    *refs // nil until listed
	packages map[packageKey]kptpkg.Tree
}

type packageKey struct {
	commit plumbing.Hash
	dir    string
}

// open returns the repository, which is the caller's until release.
func (g *Git) open(ctx context.Context, url string, cred *Credential) (*repo, error) {
	loc, err := parseLocation(url)
	if err != nil {
		return nil, err
	}
	dir, err := g.Access.permit(loc)
	if err != nil {
		return nil, err
	}
	key := repoKey{url: url}
	if cred != nil {
		if loc.scheme != "http" && loc.scheme != "https" {
			return nil, fmt.Errorf("repository %s: credentials are for http and https only", loc.text)
		}
		key.Credential, loc.auth = *cred, cred.method()
	}
	g.mu.Lock()
	r := g.repos[key]
	if r == nil {
		r = &repo{text: loc.text, busy: make(chan struct{}, 1), limits: g.Limits.orDefaults(), packages: map[packageKey]kptpkg.Tree{}}
		if dir != "" {
			r.origin = &local{dir: dir, access: g.Access}
		} else {
			r.origin = newNetwork(loc, g.Access, r.limits, g.Attempts)
		}
		if g.repos == nil {
			g.repos = map[repoKey]*repo{}
		}
		g.repos[key] = r
	}
	g.mu.Unlock()
	select {
	case r.busy <- struct{}{}:
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("repository %s: %w", loc.text, context.Cause(ctx))
	}
}

func (r *repo) release() {
	r.close()
	<-r.busy
}

func (r *repo) listed(ctx context.Context) (refs, error) {
	if r.known == nil {
		list, err := r.refs(ctx)
		if err != nil {
			return refs{}, err
		}
		r.known = &list
	}
	return *r.known, nil
}

func (r *repo) fetch(ctx context.Context, dir, ref string) (kptpkg.Tree, plumbing.Hash, error) {
	list, err := r.listed(ctx)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	want, err := r.resolve(list, dir, ref)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	if err := r.trees(ctx, want); err != nil {
		if errors.Is(err, errNoObject) {
			err = fmt.Errorf("commit %s %w", ref, ErrNotFound)
		}
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	commit, root, err := peel(r, want)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, fmt.Errorf("ref %q: %w", ref, err)
	}
	key := packageKey{commit, dir}
	tree, ok := r.packages[key]
	if !ok {
		if tree, err = r.readPackage(ctx, commit, root, dir); err != nil {
			return kptpkg.Tree{}, plumbing.ZeroHash, fmt.Errorf("at %s: %w", ref, err)
		}
		r.packages[key] = tree
	}
	return tree, commit, nil
}
