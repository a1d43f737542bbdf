package upstream_test

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
	"github.com/stoop-dev/stoop/orchestration/upstream/upstreamtest"
)

// An image is one package, so a directory of the suite is a repository of the
// registry: one for each directory that a file is published in.
func TestOCI(t *testing.T) {
	t.Parallel()
	upstreamtest.Conform(t, func(t *testing.T) upstreamtest.Place {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		host := strings.TrimPrefix(server.URL, "http://") + "/packages"
		image := func(dir, version string) string {
			if clean := strings.Trim(path.Clean("/"+dir), "/"); clean != "" && !strings.Contains(dir, "..") {
				dir = "/" + strings.ToLower(clean)
			}
			return host + strings.TrimSuffix(dir, "/") + ":" + version
		}
		fresh := func() upstream.Source {
			return upstream.Mux{upstream.TypeOCI: upstream.OCI{Client: &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}}}
		}
		return upstreamtest.Place{
			Source: fresh(),
			Fresh:  fresh,
			Publish: func(t *testing.T, version string, entries ...upstreamtest.Entry) {
				dirs := map[string][]upstreamtest.Entry{}
				for _, e := range entries {
					segs := strings.Split(e.Path, "/")
					for i := range segs {
						dir, rest := strings.Join(segs[:i], "/"), strings.Join(segs[i:], "/")
						if i > 0 && (segs[i-1] == ".." || strings.HasPrefix(segs[i-1], ".")) {
							break
						}
						dirs[dir] = append(dirs[dir], upstreamtest.Entry{Path: rest, Mode: e.Mode, Content: e.Content})
					}
				}
				for dir, members := range dirs {
					push(t, image(dir, version), members)
				}
			},
			Ref: func(version, dir string) upstream.Ref {
				return upstream.Ref{Type: upstream.TypeOCI, OCI: &upstream.OCIRef{Image: image(dir, version)}}
			},
		}
	})
}

// push writes an archive with the entries as they are, however hostile.
func push(t *testing.T, image string, entries []upstreamtest.Entry) {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Mode: 0o644, Size: int64(len(e.Content))}
		content := e.Content
		switch e.Mode {
		case kptpkg.Executable:
			h.Mode = 0o755
		case kptpkg.Symlink:
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, e.Content, 0, ""
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	require.NoError(t, err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	require.NoError(t, err)
	ref, err := name.ParseReference(image)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
}
