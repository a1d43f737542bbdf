package orchestration

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Link says what a package revision was made of.
type Link struct {
	// Upstream is the published revision that its Kptfile is locked to; nil when
	// that is none of those that were given.
	Upstream *Revision
	// Place is where its Kptfile says that it comes from; "" when from nowhere.
	Place string
	// Strategy is how its Kptfile wants it to be upgraded; "" when it says nothing.
	Strategy string
}

// Upstreams returns what each of the revisions was made of, looking for it among
// all. Both are lists of [Engine.ListPackageRevisions]. The error joins those of
// revisions whose Kptfile can't be read; the links of the others are there all the
// same.
func (e *Engine) Upstreams(ctx context.Context, revisions, all []Revision) ([]Link, error) {
	upstreams := make(map[string]*Revision, len(all))
	for i := range all {
		r, err := e.registered(ctx, all[i])
		if err != nil {
			return nil, err
		}
		if all[i].IsPublished() {
			upstreams[placeOf(r.lock().InKptfile())] = &all[i]
		}
	}
	links := make([]Link, len(revisions))
	var errs []error
	for i, rev := range revisions {
		r, err := e.registered(ctx, rev)
		if err != nil {
			return nil, err
		}
		k, err := r.kptfile(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if k.Upstream != nil {
			links[i].Strategy = k.Upstream.UpdateStrategy
		}
		if k.UpstreamLock != nil {
			links[i].Place = placeOf(*k.UpstreamLock)
			links[i].Upstream = upstreams[links[i].Place]
		}
	}
	return links, errors.Join(errs...)
}

// registered is a listed revision with where it is kept.
func (e *Engine) registered(ctx context.Context, rev Revision) (registered, error) {
	repo, err := e.repository(rev.Namespace, rev.Repository)
	if err != nil {
		return registered{}, err
	}
	r, err := e.Opener.Open(ctx, repo)
	if err != nil {
		return registered{}, fmt.Errorf("registered repository %s: %w", rev.Repository, err)
	}
	return registered{rev, repo, r}, nil
}

// kptfile is the revision's Kptfile.
func (r registered) kptfile(ctx context.Context) (*kptpkg.Kptfile, error) {
	pkg, err := r.open.Resources(ctx, r.Revision.Revision)
	if err != nil {
		return nil, fmt.Errorf("package revision %q: %w", r.Name(), err)
	}
	k, err := pkg.Kptfile(".")
	if err != nil {
		return nil, fmt.Errorf("package revision %q: %w", r.Name(), err)
	}
	return k, nil
}

// plainRepo is a repository's URL in one of the ways that kpt and Porch spell it,
// with and without .git, credentials left out.
func plainRepo(url string) string {
	return strings.TrimSuffix(strings.TrimRight(api.WithoutCredentials(url), "/"), ".git")
}

// withoutTag is an image's name, given without a digest, less its tag.
func withoutTag(image string) string {
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		return image[:colon]
	}
	return image
}

// placeOf is a lock as text, the same for all that name one place alike; "" for
// a lock on nothing that can be named so.
func placeOf(l kptpkg.UpstreamLock) string {
	switch {
	case l.Git != nil:
		return plainRepo(l.Git.Repo) + "/" + strings.Trim(l.Git.Directory, "/") + "@" + l.Git.Ref
	case l.OCI != nil:
		return l.OCI.Image
	}
	return ""
}
