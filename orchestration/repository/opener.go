package repository

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// ErrConflict is wrapped by the error of a change that somebody else's came
// before, and that can't be made any more.
var ErrConflict = errors.New("conflict")

// Opener opens registered repositories. Set the fields before the first use. It
// may be used concurrently; repositories that are declared alike are opened once
// and shared.
type Opener struct {
	// Git reads and writes git repositories, and holds what may be. Its Cache
	// keeps a bare copy of each repository on the network, which processes
	// share. Required for git.
	Git *Git
	// OCI reads and writes registries, and holds what may be. Required for OCI.
	OCI *OCI
	// Credentials resolves the repositories' secrets; nil: none can be named.
	Credentials interface {
		Credential(ctx context.Context, namespace, secret string) (*Credential, error)
	}
	// RefreshEvery has open repositories refresh themselves; 0: they don't.
	RefreshEvery time.Duration
	// Changed is called after a refresh of that kind that found changes, by one
	// goroutine for each repository; nil: nobody is.
	Changed func(*api.Repository, Repository)
	// Warn is told what went wrong and could be done without, such as a cache
	// that can't be written and refreshes that failed; nil: nobody is. It may be
	// called concurrently.
	Warn func(error)

	mu   sync.Mutex
	open map[string]*opened
}

// opened is a repository that is open, or on the way there.
type opened struct {
	ready chan struct{} // closed when repo or err is set
	repo  Repository
	err   error
	left  bool // whether err comes of the end of the context of whoever opened it
	stop  context.CancelFunc
	done  chan struct{} // closed when nothing is done in the background any more
}

// Open opens the repository that an object declares. The error of one that may
// not be read names the flag that permits it. Whoever opens a repository first
// opens it for all: its Close is for the Opener to call.
func (o *Opener) Open(ctx context.Context, repo *api.Repository) (Repository, error) {
	if err := repo.Validate(); err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%q %q %+v %+v %+v", repo.Metadata.Namespace, repo.Metadata.Name, repo.Spec.Type, repo.Spec.Git, repo.Spec.OCI)
	o.mu.Lock()
	at, ok := o.open[key]
	if !ok {
		at = &opened{ready: make(chan struct{}), done: make(chan struct{}), stop: func() {}}
		if o.open == nil {
			o.open = map[string]*opened{}
		}
		o.open[key] = at
	}
	o.mu.Unlock()
	if ok {
		select {
		case <-at.ready:
			if at.left && ctx.Err() == nil {
				return o.Open(ctx, repo)
			}
			return at.repo, at.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	at.repo, at.err = o.openNew(ctx, repo)
	if at.err != nil || o.RefreshEvery <= 0 {
		close(at.done)
	} else {
		var background context.Context
		background, at.stop = context.WithCancel(context.WithoutCancel(ctx))
		go o.refresh(background, repo, at)
	}
	if at.err != nil { // another try may do better
		at.left = ctx.Err() != nil
		o.mu.Lock()
		delete(o.open, key)
		o.mu.Unlock()
	}
	close(at.ready)
	return at.repo, at.err
}

func (o *Opener) openNew(ctx context.Context, repo *api.Repository) (Repository, error) {
	if spec := repo.Spec.OCI; spec != nil {
		cred, err := o.credential(ctx, repo.Metadata.Namespace, spec.SecretRef.Name)
		if err != nil {
			return nil, err
		}
		r, err := o.OCI.openRegistry(ctx, OCIRegistration{Name: repo.Metadata.Name, Registry: spec.Registry, Credential: cred})
		if err != nil {
			return nil, err // not r, which would be an interface with nothing in it
		}
		return r, nil
	}
	cred, err := o.credential(ctx, repo.Metadata.Namespace, repo.Spec.Git.SecretRef.Name)
	if err != nil {
		return nil, err
	}
	spec := repo.Spec.Git
	reg := Registration{Name: repo.Metadata.Name, Repo: spec.Repo, Branch: spec.Branch, Directory: spec.Directory, Credential: cred}
	r, err := o.Git.openGit(ctx, reg, spec.CreateBranch, Author{spec.Author, spec.Email}, o.warn)
	if err != nil {
		return nil, err // not r, which would be an interface with nothing in it
	}
	return r, nil
}

func (o *Opener) credential(ctx context.Context, namespace, secret string) (*Credential, error) {
	if secret == "" {
		return nil, nil
	}
	if o.Credentials == nil {
		return nil, fmt.Errorf("secret %q: no credentials are allowed; allow them with --credentials-dir=DIR or STOOP_CREDENTIALS_DIR=DIR", secret)
	}
	cred, err := o.Credentials.Credential(ctx, namespace, secret)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", secret, err)
	}
	return cred, nil
}

func (o *Opener) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// refresh keeps a repository up to date.
func (o *Opener) refresh(ctx context.Context, declared *api.Repository, at *opened) {
	defer close(at.done)
	tick := time.NewTicker(o.RefreshEvery)
	defer tick.Stop()
	before := version(at.repo)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := at.repo.Refresh(ctx); err != nil {
			if ctx.Err() == nil {
				o.warn(err)
			}
			continue
		}
		if now := version(at.repo); now != before {
			before = now
			if o.Changed != nil {
				o.Changed(declared, at.repo)
			}
		}
	}
}

// version is that of what a repository has read, which costs no request.
func version(r Repository) string {
	known, ok := r.(interface{ knownVersion() string })
	if !ok {
		return ""
	}
	return known.knownVersion()
}

// Close closes all repositories, after what is done in them.
func (o *Opener) Close() error {
	o.mu.Lock()
	all := o.open
	o.open = nil
	o.mu.Unlock()
	var errs []error
	for _, at := range all {
		<-at.ready
		at.stop()
		<-at.done
		if at.repo != nil {
			errs = append(errs, at.repo.Close())
		}
	}
	return errors.Join(errs...)
}
