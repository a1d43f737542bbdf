package repository

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// OCIRef names a package in a registry.
type OCIRef struct {
	// Image is REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, with both the
	// digest counts. Neither registry nor tag have a default.
	Image string
	// Credential authenticates at the registry: by a docker config, a user and
	// password, or a token; nil: none.
	Credential *Credential
}

// OCILock pins what was read: the same digest gives the same package for ever.
type OCILock struct {
	Image string // REGISTRY/NAME@sha256:DIGEST, of the image's manifest
}

// OCI is a client of registries. The zero OCI may read nothing; set the fields
// before the first use. It may be used concurrently: each image is fetched once
// in the life of an OCI, so a tag that moves meanwhile doesn't give one run two
// versions. Failures are not remembered.
type OCI struct {
	// Access is what may be read. It governs the hosts to which a registry
	// redirects or sends for tokens, too.
	Access Access
	// Limits bound a fetch. FetchBytes bounds what all layers have together, on
	// the wire and unpacked; Files and TotalBytes count files that a later layer
	// replaces, too.
	Limits Limits
	// Attempts is how often a request is tried when the network or the registry
	// (5xx) fails; 0 means 3. Refusals (401, 403, 404) are never repeated.
	Attempts int
	// RetryDelay is the pause before the second attempt, give or take half of
	// it; the later ones are longer and longer. 0 means 200 ms.
	RetryDelay time.Duration
	// Cache keeps manifests and layers for other runs; nil: nothing is kept.
	Cache *Cache
	// DockerConfig lets the user's own docker or podman login be used for
	// images without a Credential. It may name credential helpers, which are
	// programs.
	DockerConfig bool

	mu     sync.Mutex
	images map[repoKey]*ociImage
}

// ociImage is an image as one OCI has seen it. Whoever holds the token in busy
// works on it.
type ociImage struct {
	busy chan struct{}
	done bool
	tree kptpkg.Tree
	lock OCILock
}

// Fetch returns the package that the image at r holds, and the lock that pins
// it. The package is what the image's layers make of an empty directory, in
// order, whiteouts included: tar archives, plain or compressed by gzip, whatever
// tool wrote them (kpt, Porch, Flux, Config Sync). The error wraps [ErrNotFound]
// when the registry answered and has no such image. What can't be a package is
// an error that names the path: links that lead out, devices, names that no
// file system should be given or some would take for one.
func (o *OCI) Fetch(ctx context.Context, r OCIRef) (kptpkg.Tree, OCILock, error) {
	ref, loc, err := parseImage(r.Image)
	if err != nil {
		return kptpkg.Tree{}, OCILock{}, err
	}
	if err := o.Access.permitHost(loc); err != nil {
		return kptpkg.Tree{}, OCILock{}, err
	}
	key := repoKey{r.Image, r.Credential.digest()}
	o.mu.Lock()
	image := o.images[key]
	if image == nil {
		image = &ociImage{busy: make(chan struct{}, 1)}
		if o.images == nil {
			o.images = map[repoKey]*ociImage{}
		}
		o.images[key] = image
	}
	o.mu.Unlock()
	select {
	case image.busy <- struct{}{}:
		defer func() { <-image.busy }()
	case <-ctx.Done():
		return kptpkg.Tree{}, OCILock{}, fmt.Errorf("image %s: %w", loc.text, context.Cause(ctx))
	}
	if !image.done {
		tree, digest, err := o.fetch(ctx, ref, loc, r.Credential)
		if err != nil {
			return kptpkg.Tree{}, OCILock{}, fmt.Errorf("image %s: %w", loc.text, err)
		}
		image.done, image.tree, image.lock = true, tree, OCILock{ref.Context().Name() + "@" + digest}
	}
	return image.tree, image.lock, nil
}

func (o *OCI) fetch(ctx context.Context, ref name.Reference, loc location, cred *Credential) (kptpkg.Tree, string, error) {
	p, err := o.puller(ctx, ref, loc, cred)
	if err != nil {
		return kptpkg.Tree{}, "", err
	}
	digest, manifest, err := p.manifest(ctx, ref)
	if err != nil {
		return kptpkg.Tree{}, "", err
	}
	l := layering{limits: p.limits, root: &ociNode{}, left: p.limits.FetchBytes}
	for i, desc := range manifest.Layers {
		err := p.layer(ctx, desc, func(content []byte) error { return l.apply(ctx, content) })
		if err != nil {
			return kptpkg.Tree{}, "", fmt.Errorf("layer %d of %d: %w", i+1, len(manifest.Layers), err)
		}
	}
	tree, err := l.tree()
	return tree, digest, err
}
