// Package repository reads packages from git repositories, on the network and
// on disk, and from registries, and writes package revisions into them. It is
// the only client of both: nothing else opens a repository, and nothing here
// needs git or leaves anything on disk but what a [Cache] is for.
//
// A [Git] fetches in three steps: list the refs and pick the commit (refs.go),
// make its trees readable (network.go, local.go), and turn one directory into a
// [kptpkg.Tree] (tree.go). An [OCI] pulls an image (ocipull.go) and applies its
// layers (ocilayer.go). A [Registration] is a git repository with Porch's
// layout, whose revisions can be listed and read (registered.go). What the
// process may read at all is the operator's choice (access.go), who it is to
// servers too ([CredentialsDir]), and how much is read is bounded (limits.go).
//
// An [Opener] opens registered repositories to be changed. A [Repository] in git
// (gitrepository.go) keeps what it has read in memory and in a mirror that
// processes share (mirror.go). A [Draft] becomes commits (commit.go, close.go)
// and one change of refs, all or none: an atomic push to a server (push.go), or
// one rename in a repository on disk (pushlocal.go). A registry takes an image
// (ocirepository.go).
package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

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
	// packages of one repository. Commits have 40 digits, and what has is never
	// a tag or branch; fewer do in a local repository where they are
	// unambiguous. Required.
	Ref string
	// Directory is the package's directory; "", "." and "/" are the root.
	Directory string
	// Credential authenticates at an http, https or ssh server, in place of
	// what Repo holds; nil: none.
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
	// RetryDelay is the pause before the second attempt, give or take half of
	// it; the later ones are longer and longer. 0 means 200 ms.
	RetryDelay time.Duration
	// Cache keeps what servers sent, for other runs; nil: nothing is kept.
	Cache *Cache
	// SSHAgent lets the user's ssh-agent log in to ssh servers where a ref has
	// no Credential.
	SSHAgent bool
	// CredentialHelpers lets the user's git credential helpers, which are
	// programs, be asked where an http server wants credentials and a ref has
	// none. Nobody is ever prompted.
	CredentialHelpers bool

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
	url        string
	credential [sha256.Size]byte
}

// origin is where one repository's refs and objects come from. After trees the
// commit and all of its directories can be read, after blobs the given files.
type origin interface {
	objects
	refs(ctx context.Context) (refs, error)
	// trees takes hashes that refs point to, or commits'.
	trees(ctx context.Context, want ...plumbing.Hash) error
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
	cached gitCache

	known    *refs    // nil until listed
	single   *refs    // what the server said of single refs before, nil until it did
	asked    []string // for single
	unable   bool     // the server doesn't seem to know such requests
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
	r, err := g.repo(loc, dir, repoKey{url, cred.digest()}, cred)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", loc.text, err)
	}
	select {
	case r.busy <- struct{}{}:
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("repository %s: %w", loc.text, context.Cause(ctx))
	}
}

// repo returns the one repository of key, made on first use. Dir is the real
// path of a local one.
func (g *Git) repo(loc location, dir string, key repoKey, cred *Credential) (*repo, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.repos[key]; r != nil {
		return r, nil
	}
	r := &repo{text: loc.text, busy: make(chan struct{}, 1), limits: g.Limits.orDefaults(), packages: map[packageKey]kptpkg.Tree{}}
	if dir != "" {
		if cred != nil {
			return nil, errors.New("it is on disk: credentials are for http, https and ssh")
		}
		r.origin = &local{given: loc.path, dir: dir, access: g.Access}
	} else {
		n, err := g.newNetwork(loc, cred, r.limits)
		if err != nil {
			return nil, err
		}
		r.origin = n
		r.cached = g.Cache.git(loc, n.auth != nil || n.helpers)
	}
	if g.repos == nil {
		g.repos = map[repoKey]*repo{}
	}
	g.repos[key] = r
	return r, nil
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
		if r.single != nil {
			list = list.overridden(*r.single, r.asked)
		}
		r.known = &list
	}
	return *r.known, nil
}

func (r *repo) fetch(ctx context.Context, dir, ref string) (kptpkg.Tree, plumbing.Hash, error) {
	given, byHash := wholeCommit(ref)
	if byHash {
		if tree, ok := r.have(ctx, given, dir); ok {
			return tree, given, nil
		}
	} else if tree, commit, ok := r.haveByName(ctx, dir, ref); ok {
		return tree, commit, nil
	}
	list, err := r.listed(ctx)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	if r.unable { // and is well otherwise
		r.unable = false
		r.cached.dontAsk(dir)
	}
	want, err := r.resolve(list, dir, ref)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	commit := list.commit(want)
	if tree, ok := r.have(ctx, commit, dir); ok {
		return tree, commit, nil
	}
	if err := r.trees(ctx, want); err != nil {
		if errors.Is(err, errNoObject) {
			err = fmt.Errorf("commit %s %w", ref, ErrNotFound)
			if r.single != nil && slices.Contains(r.asked, "refs/heads/"+ref) {
				err = fmt.Errorf("%w: the branch was moved meanwhile, run again", err)
			}
		}
		return kptpkg.Tree{}, plumbing.ZeroHash, err
	}
	commit, root, err := peel(r, want)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, fmt.Errorf("ref %q: %w", ref, err)
	}
	if tree, ok := r.packages[packageKey{commit, dir}]; ok {
		return tree, commit, nil
	}
	tree, err := r.readPackage(ctx, commit, root, dir)
	if err != nil {
		return kptpkg.Tree{}, plumbing.ZeroHash, fmt.Errorf("at %s: %w", ref, err)
	}
	r.packages[packageKey{commit, dir}] = tree
	r.cached.store(r, commit, root, dir)
	if !byHash {
		r.cached.noteNamed(dir)
	}
	return tree, commit, nil
}

// have returns a package that this Git has read before, or any other that shares
// its cache.
func (r *repo) have(ctx context.Context, commit plumbing.Hash, dir string) (kptpkg.Tree, bool) {
	key := packageKey{commit, dir}
	if tree, ok := r.packages[key]; ok {
		return tree, true
	}
	tree, ok := r.cached.load(ctx, commit, dir, r.limits)
	if ok {
		r.packages[key] = tree
	}
	return tree, ok
}

// haveByName returns a package from the cache whose ref the server needs to be
// asked for nothing but its meaning. It does so once for a repository: who wants
// to know more of it gets the whole list.
func (r *repo) haveByName(ctx context.Context, dir, ref string) (kptpkg.Tree, plumbing.Hash, bool) {
	names := refNames(dir, ref)
	single := r.single
	if single == nil {
		n, ok := r.origin.(*network)
		if !ok || n.client == nil || r.known != nil || !r.cached.mayAsk(dir) {
			return kptpkg.Tree{}, plumbing.ZeroHash, false
		}
		list, err := n.lsRefs(ctx, names)
		if err != nil {
			r.unable = isAnswer(err)
			return kptpkg.Tree{}, plumbing.ZeroHash, false // the list of all refs, or its error, says more
		}
		single = &list
	} else if !slices.Equal(r.asked, names) {
		return kptpkg.Tree{}, plumbing.ZeroHash, false
	}
	want, ok := single.first(names)
	if !ok {
		return kptpkg.Tree{}, plumbing.ZeroHash, false
	}
	commit := single.commit(want)
	tree, ok := r.have(ctx, commit, dir)
	if ok {
		r.single, r.asked = single, names
	}
	return tree, commit, ok
}
