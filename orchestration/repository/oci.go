package repository

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

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
	Ref   string // the image as given
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
	client *OCI
	ref    name.Reference
	text   string // as given
	loc    location
	cred   *Credential
	busy   chan struct{}

	puller   *puller // nil until resolved, as is the manifest
	digest   string
	manifest *v1.Manifest
	tree     *kptpkg.Tree // nil until read
}

// Fetch returns the package that the image at r holds, and the lock that pins
// it. The package is what the image's layers make of an empty directory, in
// order, whiteouts included: tar archives, plain or compressed by gzip, whatever
// tool wrote them (kpt, Porch, Flux, Config Sync). The error wraps [ErrNotFound]
// when the registry answered and has no such image. What can't be a package is
// an error that names the path: links that lead out, devices, names that no
// file system should be given or some would take for one.
func (o *OCI) Fetch(ctx context.Context, r OCIRef) (kptpkg.Tree, OCILock, error) {
	image, err := o.open(ctx, r)
	if err != nil {
		return kptpkg.Tree{}, OCILock{}, err
	}
	defer image.release()
	if err := image.resolve(ctx); err != nil {
		return kptpkg.Tree{}, OCILock{}, err
	}
	if image.tree == nil {
		tree, err := image.read(ctx)
		if err != nil {
			return kptpkg.Tree{}, OCILock{}, fmt.Errorf("image %s: %w", image.text, err)
		}
		image.tree = &tree
	}
	return *image.tree, image.lock(), nil
}

// open returns the image, which is the caller's until release.
func (o *OCI) open(ctx context.Context, r OCIRef) (*ociImage, error) {
	ref, loc, err := parseImage(r.Image)
	if err != nil {
		return nil, err
	}
	if err := o.Access.permitHost(loc); err != nil {
		return nil, err
	}
	key := repoKey{r.Image, r.Credential.digest()}
	o.mu.Lock()
	image := o.images[key]
	if image == nil {
		image = &ociImage{client: o, ref: ref, text: loc.text, loc: loc, cred: r.Credential, busy: make(chan struct{}, 1)}
		if o.images == nil {
			o.images = map[repoKey]*ociImage{}
		}
		o.images[key] = image
	}
	o.mu.Unlock()
	select {
	case image.busy <- struct{}{}:
		return image, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("image %s: %w", loc.text, context.Cause(ctx))
	}
}

func (i *ociImage) release() { <-i.busy }

func (i *ociImage) lock() OCILock {
	return OCILock{Image: i.ref.Context().Name() + "@" + i.digest, Ref: i.text}
}

// resolve finds out what the image's reference means, once.
func (i *ociImage) resolve(ctx context.Context) error {
	if i.manifest != nil {
		return nil
	}
	p, err := i.client.puller(ctx, i.ref, i.loc, i.cred)
	if err == nil {
		i.digest, i.manifest, err = p.manifest(ctx, i.ref)
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", i.text, err)
	}
	i.puller = p
	return nil
}

// read applies the layers of an image that is resolved.
func (i *ociImage) read(ctx context.Context) (kptpkg.Tree, error) {
	p := i.puller
	p.left = p.limits.FetchBytes
	l := layering{limits: p.limits, root: &ociNode{}, left: p.limits.FetchBytes}
	for n, desc := range i.manifest.Layers {
		err := p.layer(ctx, desc, func(content []byte) error { return l.apply(ctx, content) })
		if err != nil {
			return kptpkg.Tree{}, fmt.Errorf("layer %d of %d: %w", n+1, len(i.manifest.Layers), err)
		}
	}
	return l.tree()
}
