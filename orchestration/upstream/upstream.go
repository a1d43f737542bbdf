// Package upstream is where clones come from: one noun, a package somewhere,
// and one file for each kind of place that packages live in.
//
// To add a place: a type and its members in [Ref] and [Lock], one file with its
// [Source], one entry in the [Mux] that the program makes, one call of
// upstreamtest.Conform.
package upstream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// ErrNotFound is wrapped by the error of a place that answered and has no such
// package.
var ErrNotFound = repository.ErrNotFound

// Type is a kind of place, as a Kptfile's upstream.type writes it.
type Type string

// The kinds of place.
const (
	TypeGit Type = "git" // a directory of a git repository
	TypeOCI Type = "oci" // an image of a registry
)

// Ref names a package somewhere. The member that Type names is set.
type Ref struct {
	Type Type
	Git  *GitRef
	OCI  *OCIRef
}

// Lock pins the package that was read. The member that Type names is set.
type Lock struct {
	Type Type
	Git  *GitLock
	OCI  *OCILock
}

// GitRef names a package in a git repository.
type GitRef = repository.GitRef

// GitLock pins a package of a git repository.
type GitLock = repository.GitLock

// OCIRef names a package in a registry.
type OCIRef = repository.OCIRef

// OCILock pins a package of a registry.
type OCILock = repository.OCILock

// LockIn is the lock in a Kptfile, nil when it has none.
func LockIn(k *kptpkg.Kptfile) *Lock {
	switch l := k.UpstreamLock; {
	case l == nil:
		return nil
	case l.Git != nil:
		git := GitLock(*l.Git)
		git.Repo = api.WithoutCredentials(git.Repo) // kpt leaves them in
		return &Lock{Type: TypeGit, Git: &git}
	case l.OCI != nil:
		oci := OCILock{Image: l.OCI.Image, Ref: l.OCI.Image}
		if k.Upstream != nil && k.Upstream.OCI != nil {
			oci.Ref = k.Upstream.OCI.Image
		}
		return &Lock{Type: TypeOCI, OCI: &oci}
	}
	return nil
}

// InKptfile is the lock as a Kptfile's upstreamLock.
func (l Lock) InKptfile() kptpkg.UpstreamLock {
	lock := kptpkg.UpstreamLock{Type: string(l.Type)}
	if l.Git != nil {
		git := kptpkg.GitLock(*l.Git)
		lock.Git = &git
	}
	if l.OCI != nil {
		lock.OCI = &kptpkg.OCI{Image: l.OCI.Image}
	}
	return lock
}

// Ref names exactly what was locked, whatever the lock's own ref means by now.
// Locks know no credentials.
func (l Lock) Ref() Ref {
	ref := Ref{Type: l.Type}
	if l.Git != nil {
		ref.Git = &GitRef{Repo: l.Git.Repo, Directory: l.Git.Directory, Ref: l.Git.Commit}
	}
	if l.OCI != nil {
		ref.OCI = &OCIRef{Image: l.OCI.Image}
	}
	return ref
}

// A Source fetches packages from one kind of place.
type Source interface {
	// Fetch returns the package at u and the lock that pins what was read. The
	// package need not have a Kptfile: kpt takes any directory, Porch doesn't,
	// so the caller decides. The error wraps [ErrNotFound] when the place
	// answered and has no such package. It may be called concurrently.
	Fetch(ctx context.Context, u Ref) (kptpkg.Tree, Lock, error)
}

// A Checker is a Source that knows what it may not fetch.
type Checker interface {
	// Check is the error for a place that the operator doesn't allow, or that is none.
	// It asks nobody.
	Check(u Ref) error
}

// Mux is a Source that asks the one for the ref's type.
type Mux map[Type]Source

// Fetch implements [Source].
func (m Mux) Fetch(ctx context.Context, u Ref) (kptpkg.Tree, Lock, error) {
	source, ok := m[u.Type]
	if !ok {
		var known []string
		for _, t := range slices.Sorted(maps.Keys(m)) {
			known = append(known, string(t))
		}
		return kptpkg.Tree{}, Lock{}, fmt.Errorf("upstream type %q is not known: use %s", u.Type, strings.Join(known, " or "))
	}
	return source.Fetch(ctx, u)
}

// Check implements [Checker], as far as the source for the ref's type does.
func (m Mux) Check(u Ref) error {
	if c, ok := m[u.Type].(Checker); ok {
		return c.Check(u)
	}
	return nil
}
