package repository

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Push writes a package as an image of one layer, and returns the lock that pins
// it. Where the tag of r is in use, it moves. The same package gives the same
// digest: there are no times or users in an image.
func (o *OCI) Push(ctx context.Context, r OCIRef, pkg kptpkg.Tree) (OCILock, error) {
	ref, loc, err := parseImage(r.Image)
	if err != nil {
		return OCILock{}, err
	}
	if err := o.Access.permitHost(loc); err != nil {
		return OCILock{}, err
	}
	lock, err := o.push(ctx, ref, loc, r.Credential, pkg)
	if err != nil {
		return OCILock{}, fmt.Errorf("image %s: %w", loc.text, err)
	}
	return lock, nil
}

func (o *OCI) push(ctx context.Context, ref name.Reference, loc location, cred *Credential, pkg kptpkg.Tree) (OCILock, error) {
	image, err := packageImage(pkg)
	if err != nil {
		return OCILock{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return OCILock{}, err
	}
	p, err := o.puller(ctx, ref, loc, cred)
	if err != nil {
		return OCILock{}, err
	}
	err = p.retry(ctx, func() error {
		return remote.Write(ref, image, append(p.options, remote.WithContext(ctx))...)
	})
	if err != nil {
		return OCILock{}, p.explain(err)
	}
	return OCILock{Image: ref.Context().Name() + "@" + digest.String(), Ref: loc.text}, nil
}

func packageImage(pkg kptpkg.Tree) (v1.Image, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, p := range pkg.Paths() {
		f := pkg.File(p)
		content, err := f.Bytes()
		if err != nil {
			return nil, err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: p, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		switch f.Mode() {
		case kptpkg.Executable:
			h.Mode = 0o755
		case kptpkg.Symlink:
			h.Typeflag, h.Linkname, h.Mode, h.Size, content = tar.TypeSymlink, string(content), 0o777, 0, nil
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.AppendLayers(base, layer)
}
