package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// puller reads one repository of a registry, by way of the cache.
type puller struct {
	*remote.Puller
	options []remote.Option
	repo    name.Repository
	limits  Limits
	retries
	cache         *Cache
	authenticated bool
	left          int64 // of limits.FetchBytes, on the wire
}

func (o *OCI) puller(ctx context.Context, ref name.Reference, loc location, cred *Credential) (*puller, error) {
	next, err := cred.transport()
	if err != nil {
		return nil, err
	}
	auth, err := o.authenticator(ctx, ref, cred)
	if err != nil {
		return nil, err
	}
	options := []remote.Option{
		remote.WithAuth(auth),
		remote.WithTransport(&accessGuard{loc, o.Access, next}),
		// Retries are ours: these wait for seconds and only see the headers.
		remote.WithRetryStatusCodes(),
		remote.WithRetryPredicate(func(error) bool { return false }),
	}
	client, err := remote.NewPuller(options...)
	if err != nil {
		return nil, err
	}
	limits := o.Limits.orDefaults()
	return &puller{
		Puller: client, options: options, repo: ref.Context(), limits: limits, retries: retries{o.Attempts, o.RetryDelay},
		cache: o.Cache, authenticated: auth != authn.Anonymous, left: limits.FetchBytes,
	}, nil
}

// maxLayers bounds how many layers one image may have; docker's own is 127.
const maxLayers = 1000

// manifest returns the image's manifest and its digest. Of an index of several
// images it is the only one's, or the one's for linux/amd64.
func (p *puller) manifest(ctx context.Context, ref name.Reference) (string, *v1.Manifest, error) {
	for range 2 {
		content, digest, err := p.rawManifest(ctx, ref)
		if err != nil {
			return "", nil, err
		}
		var kind struct {
			Manifests []v1.Descriptor `json:"manifests"`
		}
		if json.Unmarshal(content, &kind) == nil && len(kind.Manifests) > 0 {
			chosen, err := choose(kind.Manifests)
			if err != nil {
				return "", nil, err
			}
			ref = p.repo.Digest(chosen.String())
			continue
		}
		var m v1.Manifest
		switch err := json.Unmarshal(content, &m); {
		case err != nil || m.SchemaVersion != 2:
			return "", nil, errors.New("its manifest is none that is understood: it has to be an OCI or a docker (version 2) image")
		case len(m.Layers) > maxLayers:
			return "", nil, fmt.Errorf("it has more than %d layers", maxLayers)
		case len(m.Layers) == 0:
			return "", nil, errors.New("it has no layers, so it holds no package")
		}
		return digest, &m, nil
	}
	return "", nil, errors.New("it is an index of an index")
}

func choose(manifests []v1.Descriptor) (v1.Hash, error) {
	var images []v1.Descriptor
	var platforms []string
	for _, m := range manifests {
		if m.Platform != nil && m.Platform.OS == "unknown" { // docker's attestations
			continue
		}
		if m.Platform == nil || m.Platform.OS == "linux" && m.Platform.Architecture == "amd64" {
			return m.Digest, nil
		}
		images = append(images, m)
		platforms = append(platforms, shorten(m.Platform.String()))
	}
	switch len(images) {
	case 0:
		return v1.Hash{}, errors.New("it is an index without images")
	case 1:
		return images[0].Digest, nil
	}
	return v1.Hash{}, fmt.Errorf("it is an index of images for %s: name the one that is meant by its digest", strings.Join(platforms[:min(len(platforms), 10)], ", "))
}

func (p *puller) rawManifest(ctx context.Context, ref name.Reference) (content []byte, digest string, err error) {
	if d, ok := ref.(name.Digest); ok {
		if content := p.cached(d.DigestStr(), maxMeta); content != nil {
			return content, d.DigestStr(), nil
		}
	}
	err = p.retry(ctx, func() error {
		desc, err := p.Get(ctx, ref)
		if err == nil {
			content, digest = desc.Manifest, desc.Digest.String()
		}
		return err
	})
	if err != nil {
		err = p.explain(err)
		if errors.Is(err, ErrNotFound) {
			err = p.withTags(ctx, ref, err)
		}
		return nil, "", err
	}
	p.cache.put(p.key(digest), content)
	return content, digest, nil
}

// withTags adds what there is to the error of a tag that there isn't.
func (p *puller) withTags(ctx context.Context, ref name.Reference, notFound error) error {
	tag, ok := ref.(name.Tag)
	if !ok {
		return notFound
	}
	lister, err := p.Lister(ctx, p.repo)
	if err != nil {
		return notFound
	}
	tags, err := lister.Next(ctx) // the first page is enough for a hint
	if err != nil || len(tags.Tags) == 0 {
		return notFound
	}
	return fmt.Errorf("%w: there is %s", notFound, shorten(strings.Join(nearest(tag.TagStr(), tags.Tags), ", ")))
}

// layer gives a layer's content, as it is in the registry, to use. One from the
// cache that is no good any more is fetched again.
func (p *puller) layer(ctx context.Context, desc v1.Descriptor, use func([]byte) error) error {
	digest := desc.Digest.String()
	switch {
	case !isSHA256(digest):
		return errors.New("its digest isn't sha256")
	case !strings.Contains(string(desc.MediaType), "tar"):
		return fmt.Errorf("its media type %q is no tar archive's: a package's layers are", shorten(string(desc.MediaType)))
	case desc.Size < 0 || desc.Size > p.left:
		return fmt.Errorf("%w: the image's layers have more than %s: %s sets another limit", errTooBig, size(p.limits.FetchBytes), fetchFlag)
	}
	p.left -= desc.Size
	content := p.cached(digest, desc.Size)
	if content == nil {
		err := p.retry(ctx, func() error {
			layer, err := p.Layer(ctx, p.repo.Digest(digest))
			if err != nil {
				return err
			}
			body, err := layer.Compressed()
			if err != nil {
				return err
			}
			defer body.Close()
			content, err = readExactly(body, desc.Size)
			return err
		})
		if err != nil {
			return p.explain(err)
		}
		if digestOf(content) != digest {
			return errors.New("the registry sent something else than its digest says")
		}
		p.cache.put(p.key(digest), content)
	}
	return use(content)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (p *puller) key(digest string) string {
	who := "anonymous"
	if p.authenticated {
		who = "authenticated"
	}
	return fmt.Sprintf("oci %s %s %s", who, p.repo.Name(), digest)
}

// cached returns what the cache has for a digest, checked against it; nil when
// it has nothing.
func (p *puller) cached(digest string, limit int64) []byte {
	content := p.cache.get(p.key(digest), limit)
	if content != nil && digestOf(content) != digest {
		p.cache.drop(p.key(digest))
		return nil
	}
	return content
}

func (p *puller) explain(err error) error {
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode != 0 {
		err = &statusError{status.StatusCode}
	}
	if known := explainHTTP(err, p.authenticated, "image"); known != nil {
		return known
	}
	return fmt.Errorf("reading from the registry: %w", unwrapUnexpected(err))
}

// readExactly reads a body that should have n bytes, and takes no more memory
// than there is content.
func readExactly(body io.Reader, n int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, n+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(content)) > n:
		return nil, fmt.Errorf("%w: more bytes than the manifest says", errTooBig)
	case int64(len(content)) < n:
		return nil, io.ErrUnexpectedEOF
	}
	return content, nil
}
