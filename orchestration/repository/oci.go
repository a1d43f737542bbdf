package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

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

// parseImage understands references that say everything: what a missing
// registry or tag would stand for is a docker convention.
func parseImage(s string) (name.Reference, location, error) {
	bad := func(why string) (name.Reference, location, error) {
		return nil, location{}, fmt.Errorf("image %q %s: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST", redactImage(s), why)
	}
	switch {
	case s == "":
		return nil, location{}, errors.New("the image is empty: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST")
	case len(s) > maxLocation:
		return nil, location{}, fmt.Errorf("the image's reference has %d characters, more than %d", len(s), maxLocation)
	case strings.ContainsFunc(s, unicode.IsControl):
		return bad("has a control character")
	case strings.Contains(s, "://"):
		return bad("is a URL")
	}
	ref, err := name.ParseReference(s, name.StrictValidation)
	if err != nil {
		return bad("is no full reference") // the library's text repeats s, and with it what may be a password
	}
	registry := ref.Context().Registry
	loc := location{text: s, scheme: registry.Scheme()}
	host, port, err := net.SplitHostPort(registry.RegistryStr())
	if err != nil {
		host, port = registry.RegistryStr(), defaultPorts[loc.scheme]
	}
	loc.host, loc.port = strings.TrimSuffix(strings.ToLower(host), "."), port
	if !ociName.MatchString(ref.Context().RepositoryStr()) {
		return bad("has a name that registries don't take")
	}
	if digest, ok := ref.(name.Digest); ok && !isSHA256(digest.DigestStr()) {
		return bad("has a digest that isn't sha256")
	}
	return ref, loc, nil
}

// ociName is the distribution specification's grammar of a repository's name. It
// keeps . and .. out of the URLs that are made of it.
var ociName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

func isSHA256(digest string) bool {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(sum) == 2*sha256.Size && isHex(sum)
}

// redactImage takes out what somebody may have put before an @ as in a URL.
func redactImage(s string) string {
	image, digest, pinned := strings.Cut(shorten(s), "@sha256:")
	image = redact(image)
	if pinned {
		image += "@sha256:" + digest
	}
	return image
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

// puller reads one repository of a registry, by way of the cache.
type puller struct {
	*remote.Puller
	options       []remote.Option
	repo          name.Repository
	limits        Limits
	attempts      int
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
		Puller: client, options: options, repo: ref.Context(), limits: limits, attempts: o.Attempts,
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
	err = retry(ctx, p.attempts, func() error {
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
		return fmt.Errorf("%w: the image's layers have more than %s", errTooBig, size(p.limits.FetchBytes))
	}
	p.left -= desc.Size
	content := p.cached(digest, desc.Size)
	if content == nil {
		err := retry(ctx, p.attempts, func() error {
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

// authenticator says who asks for an image.
func (o *OCI) authenticator(ctx context.Context, ref name.Reference, cred *Credential) (authn.Authenticator, error) {
	switch h := cred.get(); {
	case h.docker != "":
		return dockerAuth(h.docker, ref.Context())
	case h.token != "":
		return &authn.Bearer{Token: h.token}, nil
	case h.basic:
		return &authn.Basic{Username: h.username, Password: h.password}, nil
	case cred != nil && h.ca == "":
		return nil, fmt.Errorf("the secret has no %s, no %s and %s, and no %s, one of which a registry needs", keyDocker, keyUsername, keyPassword, keyBearer)
	case !o.DockerConfig:
		return authn.Anonymous, nil
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil { // its text may be a helper's, and say anything
		return nil, errors.New("docker's own credentials for it can't be read: see whether docker can pull it")
	}
	return auth, nil
}

// dockerAuth finds the entry of a docker config for a repository: of those for
// its registry the one with the longest path. Helpers that a config names are
// not run.
func dockerAuth(config string, repo name.Repository) (authn.Authenticator, error) {
	var parsed struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	// What json says of a value it can't take could be part of a password.
	if json.Unmarshal([]byte(config), &parsed) != nil {
		return nil, fmt.Errorf("%s is malformed", keyDocker)
	}
	best, found := "", false
	var auth authn.AuthConfig
	for place, a := range parsed.Auths {
		host, path := dockerPlace(place)
		if host != repo.RegistryStr() || path != "" && path != repo.RepositoryStr() && !strings.HasPrefix(repo.RepositoryStr(), path+"/") {
			continue
		}
		// Of two spellings of one place the same is taken every time.
		if !found || len(path) > len(best) || len(path) == len(best) && cmp.Compare(a.Username, auth.Username) < 0 {
			best, found, auth = path, true, a
		}
	}
	if !found {
		return nil, fmt.Errorf("%s has no entry for %s", keyDocker, repo.RegistryStr())
	}
	return authn.FromConfig(auth), nil
}

// dockerPlace takes a key of a docker config apart, which was a URL once.
func dockerPlace(key string) (host, path string) {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	return host, path
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
