package repository_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// serveRegistry returns the host and port of an empty registry.
func serveRegistry(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func newOCI() *repository.OCI {
	return &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
}

// archive is a tar archive of headers, with the content of a file after it.
func archive(t *testing.T, members ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i, m := range members {
		switch m := m.(type) {
		case tar.Header:
			if i+1 < len(members) && m.Size == 0 {
				if content, ok := members[i+1].(string); ok {
					m.Size = int64(len(content))
				}
			}
			if m.Mode == 0 && m.Typeflag != tar.TypeXGlobalHeader {
				m.Mode = 0o644
			}
			require.NoError(t, w.WriteHeader(&m))
		case string:
			_, err := io.WriteString(w, m)
			require.NoError(t, err)
		}
	}
	_ = w.Close() // fails where a member is meant to be cut
	return out.Bytes()
}

func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }

func zipped(content []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(content)
	_ = w.Close()
	return out.Bytes()
}

type ociLayer struct {
	typ     types.MediaType
	content []byte
}

func pushLayers(t *testing.T, image string, layers ...ociLayer) {
	t.Helper()
	var img v1.Image = mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, l := range layers {
		var err error
		img, err = mutate.AppendLayers(img, static.NewLayer(l.content, l.typ))
		require.NoError(t, err)
	}
	ref, err := name.ParseReference(image)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
}

const fluxLayer types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"

func TestOCILayouts(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	pkg := archive(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "git archive"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, tar.Header{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755},
		file("./Kptfile"), "kind: Kptfile\n", tar.Header{Typeflag: tar.TypeReg, Name: "./bin/run", Mode: 0o755}, "#!/bin/sh\n",
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./run", Linkname: "bin/run"}, tar.Header{Typeflag: tar.TypeLink, Name: "bin/again", Linkname: "./bin/run"})
	for name, layer := range map[string]ociLayer{
		"kpt and Porch": {types.DockerLayer, zipped(pkg)},
		"OCI gzip":      {types.OCILayer, zipped(pkg)},
		"plain":         {types.OCIUncompressedLayer, pkg},
		"Flux":          {fluxLayer, zipped(pkg)},
		"mislabelled":   {types.OCILayer, pkg},
	} {
		t.Run(name, func(t *testing.T) {
			pushLayers(t, host+"/a/b:v1", layer)
			tree, lock, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/a/b:v1"})
			require.NoError(t, err)
			assert.Equal(t, []string{"Kptfile", "bin/again", "bin/run", "run"}, tree.Paths())
			assert.Equal(t, "kind: Kptfile\n", content(t, tree, "Kptfile"))
			assert.Equal(t, kptpkg.Executable, tree.File("bin/run").Mode())
			assert.Equal(t, kptpkg.Executable, tree.File("bin/again").Mode())
			assert.Equal(t, "#!/bin/sh\n", content(t, tree, "bin/again"))
			assert.Equal(t, kptpkg.Symlink, tree.File("run").Mode())
			assert.Regexp(t, "^"+host+"/a/b@sha256:[0-9a-f]{64}$", lock.Image)
			again, same, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: lock.Image})
			require.NoError(t, err)
			assert.Equal(t, lock.Image, same.Image)
			assert.Equal(t, tree.Paths(), again.Paths())
			_, same, err = newOCI().Fetch(t.Context(), repository.OCIRef{Image: strings.Replace(lock.Image, "@", ":other@", 1)})
			require.NoError(t, err)
			assert.Equal(t, lock.Image, same.Image, "the digest counts")
		})
	}
}

func TestOCIWhiteouts(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	below := archive(t, file("a"), "1", file("gone"), "1", file("dir/x"), "1", file("dir/y"), "1", file("opaque/x"), "1", file("opaque/sub/y"), "1",
		file("f2d"), "1", file("d2f/x"), "1", tar.Header{Typeflag: tar.TypeSymlink, Name: "l2d", Linkname: "dir"}, file("keep/x"), "1")
	above := archive(t, file("a"), "2", file(".wh.gone"), "", file(".wh.dir"), "", file("opaque/new"), "2", file("opaque/.wh..wh..opq"), "",
		tar.Header{Typeflag: tar.TypeDir, Name: "f2d/"}, file("f2d/x"), "2", file("d2f"), "2",
		tar.Header{Typeflag: tar.TypeDir, Name: "l2d/"}, file("l2d/x"), "2", tar.Header{Typeflag: tar.TypeDir, Name: "keep/"},
		file("new"), "2", file(".wh.new"), "", file(".wh.never/there"), "", file("no/.wh.where"), "", file(".wh..wh.aufs"), "")
	pushLayers(t, host+"/x:v1", ociLayer{types.OCIUncompressedLayer, below}, ociLayer{types.OCILayer, zipped(above)})
	tree, _, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/x:v1"})
	require.NoError(t, err)
	got := map[string]string{}
	for _, p := range tree.Paths() {
		got[p] = content(t, tree, p)
	}
	assert.Equal(t, map[string]string{"a": "2", "opaque/new": "2", "f2d/x": "2", "d2f": "2", "l2d/x": "2", "keep/x": "1", "new": "2", ".wh.never/there": ""}, got,
		"whiteouts are for the layers below, and a directory may be called anything")
}

func TestOCIHostile(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	zeros := string(make([]byte, 1<<20))
	var many []any
	for i := range 2000 {
		many = append(many, file(fmt.Sprint("f", i)))
	}
	var headers []any // 9 MB of them, and no files
	for range 900 {
		headers = append(headers, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": strings.Repeat("x", 10_000)}})
	}
	link := func(typ byte, name, to string) tar.Header { return tar.Header{Typeflag: typ, Name: name, Linkname: to} }
	var linked []any
	linked = append(linked, file("f"), strings.Repeat("x", 50_000))
	for i := range 100 {
		linked = append(linked, link(tar.TypeLink, fmt.Sprint("l", i), "f"))
	}
	for want, layer := range map[string]ociLayer{
		"leads out of the package":            {types.OCIUncompressedLayer, archive(t, file("a/../../x"))},
		"is absolute":                         {types.OCIUncompressedLayer, archive(t, file("/etc/passwd"))},
		"is inside a .git directory":          {types.OCIUncompressedLayer, archive(t, file("a/.git/config"))},
		"has a backslash":                     {types.OCIUncompressedLayer, archive(t, file(`a\b`))},
		"where case is ignored":               {types.OCIUncompressedLayer, archive(t, file("a"), file("A"))},
		"leads out of the package, or to":     {types.OCIUncompressedLayer, archive(t, link(tar.TypeSymlink, "l", "../x"))},
		`below "l", which is no directory`:    {types.OCIUncompressedLayer, archive(t, link(tar.TypeSymlink, "l", "d"), file("l/x"))},
		`below "f", which is no directory`:    {types.OCIUncompressedLayer, archive(t, file("f"), file("f/x"))},
		"which is no file of the image":       {types.OCIUncompressedLayer, archive(t, link(tar.TypeLink, "l", "missing"))},
		"l is a hard link: path":              {types.OCIUncompressedLayer, archive(t, link(tar.TypeLink, "l", "/etc/passwd"))},
		"neither a file, a directory nor":     {types.OCIUncompressedLayer, archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "d"})},
		"f: too big: 1048576 bytes":           {types.OCILayer, zipped(archive(t, file("f"), zeros))},
		"more than 1000 files":                {types.OCIUncompressedLayer, archive(t, many...)},
		"files have more than 1000000":        {types.OCIUncompressedLayer, archive(t, linked...)},
		"nested more than 20 deep":            {types.OCIUncompressedLayer, archive(t, file(strings.Repeat("d/", 20)+"f"))},
		"3 MiB: --max-fetch-bytes sets":       {types.OCILayer, zipped(archive(t, headers...))},
		"it is no tar archive, or a damaged":  {types.OCIUncompressedLayer, []byte(strings.Repeat("hello", 1000))},
		"damaged one: unexpected EOF":         {types.OCILayer, zipped(archive(t, file("f"), strings.Repeat("x", 5000)))[:60]},
		"it is compressed by zstd":            {types.OCILayerZStd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0}},
		`media type "application/json" is no`: {"application/json", []byte("{}")},
		"is a Git LFS pointer":                {types.OCIUncompressedLayer, archive(t, file("f"), "version https://git-lfs.github.com/spec/v1\n")},
		"characters":                          {types.OCIUncompressedLayer, archive(t, file(strings.Repeat("long/", 1000)+"f"))},
		`path "./" is no directory`:           {types.OCIUncompressedLayer, archive(t, link(tar.TypeSymlink, "./", "x"))},
	} {
		t.Run(want, func(t *testing.T) {
			image := host + "/x:v1"
			pushLayers(t, image, layer)
			oci := newOCI()
			oci.Limits = repository.Limits{Files: 1000, FileBytes: 1 << 19, TotalBytes: 1_000_000, Depth: 20, FetchBytes: 3 << 20}
			start := time.Now()
			tree, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
			require.ErrorContains(t, err, want)
			assert.Zero(t, tree.Len())
			assert.Less(t, time.Since(start), 5*time.Second)
			assert.Less(t, len(err.Error()), 400)
		})
	}
	pushLayers(t, host+"/none:v1")
	_, _, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/none:v1"})
	require.ErrorContains(t, err, "no layers")
	oci := newOCI()
	oci.Limits.FetchBytes = 100
	pushLayers(t, host+"/big:v1", ociLayer{types.OCIUncompressedLayer, archive(t, file("f"), "x")})
	_, _, err = oci.Fetch(t.Context(), repository.OCIRef{Image: host + "/big:v1"})
	require.ErrorContains(t, err, "the image's layers have more than 100 bytes: --max-fetch-bytes sets another limit")
}

// Many whiteouts of many files cost what both have, not their product.
func TestOCIWhiteoutsOfMany(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	var below, above []any
	for i := range 20_000 {
		below = append(below, file(fmt.Sprintf("d/f%d", i)))
		above = append(above, file("d/.wh..wh..opq"), file(fmt.Sprintf("d/.wh.f%d", i)), file(fmt.Sprintf("d/g%d", i)))
	}
	pushLayers(t, host+"/x:v1", ociLayer{types.OCILayer, zipped(archive(t, below...))}, ociLayer{types.OCILayer, zipped(archive(t, above...))})
	start := time.Now()
	tree, _, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/x:v1"})
	require.NoError(t, err)
	assert.Equal(t, 20_000, tree.Len())
	assert.Less(t, time.Since(start), 15*time.Second, "half a second, a race detector and a busy machine; not entries times files")
}

func TestImagesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, image := range []string{
		"", " ", "redis", "redis:v1", "library/redis:v1", "example.com/x", "example.com/x:", "-x", "https://example.com/x:v1", "example.com/X:v1",
		"example.com/x@sha256:1234", "example.com/x@sha512:" + strings.Repeat("a", 128), "example.com/../x:v1", "example.com/x:v1\n", "me:secret@example.com/x:v1",
		"https://me:secret@example.com/x:v1", "me:secret@example.com/x@sha256:" + strings.Repeat("a", 64), strings.Repeat("a", 5000), "ext::sh -c x",
	} {
		oci := repository.OCI{Access: repository.Access{Network: []string{"*"}}, Attempts: 1}
		_, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
		require.Error(t, err, image)
		assert.Regexp(t, "write REGISTRY|characters", err.Error(), image)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOCIAccess(t *testing.T) {
	t.Parallel()
	var oci repository.OCI
	_, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: "registry.example.com/x:v1"})
	require.ErrorContains(t, err, "network access to registry.example.com is not allowed; allow it with --allow-network=registry.example.com")
	_, err = oci.Push(t.Context(), repository.OCIRef{Image: "registry.example.com/x:v1"}, kptpkg.Tree{})
	require.ErrorContains(t, err, "is not allowed")

	// A registry that sends for tokens, or for layers, to another host.
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"token": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://localhost:1/token",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
		},
		"redirect": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/v2/" {
					next.ServeHTTP(w, req)
					return
				}
				http.Redirect(w, req, "http://localhost:1/x", http.StatusTemporaryRedirect)
			})
		},
	} {
		oci := newOCI()
		_, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: serveRegistry(t, wrap) + "/x:v1"})
		require.ErrorContains(t, err, "network access to localhost is not allowed", name)
	}
}

func TestOCICredentials(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	var open atomic.Bool
	var gets atomic.Int64
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, given, _ := req.BasicAuth()
			if given != password && req.Header.Get("Authorization") != "Bearer "+password && !open.Load() {
				if req.URL.Path != "/v2/" {
					gets.Add(1)
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				http.Error(w, "you sent "+req.Header.Get("Authorization"), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	open.Store(true)
	pushLayers(t, host+"/team/x:v1", ociLayer{types.OCIUncompressedLayer, archive(t, file("Kptfile"), "x")})
	open.Store(false)
	auth := base64.StdEncoding.EncodeToString([]byte("me:" + password))
	docker := func(place string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q},"other.example":{"auth":"eDp4"}},"credsStore":"never-run","credHelpers":{%q:"never-run"}}`, place, auth, host)
	}
	wrong := `{"auths":{"` + host + `":{"username":"me","password":"wr0ng"},"` + host + `/team":{"username":"me","password":"` + password + `"}}}`
	for name, tc := range map[string]struct {
		data map[string]string
		want string
	}{
		"basic":          {map[string]string{"username": "me", "password": password}, ""},
		"docker config":  {map[string]string{".dockerconfigjson": docker(host)}, ""},
		"docker URL":     {map[string]string{".dockerconfigjson": docker("http://" + host + "/v1/")}, ""},
		"docker path":    {map[string]string{".dockerconfigjson": docker(host + "/team")}, ""},
		"longest path":   {map[string]string{".dockerconfigjson": wrong}, ""},
		"other path":     {map[string]string{".dockerconfigjson": docker(host + "/tea")}, "has no entry for " + host},
		"other host":     {map[string]string{".dockerconfigjson": docker("x" + host)}, "has no entry for " + host},
		"broken":         {map[string]string{".dockerconfigjson": `{"auths":{"x":"` + password + `"}}`}, "is malformed"},
		"wrong password": {map[string]string{"username": "me", "password": "wr0ng"}, "the server refused the credentials (401)"},
		"wrong docker":   {map[string]string{".dockerconfigjson": strings.ReplaceAll(wrong, password, "wr0ng")}, "the server refused the credentials (401)"},
		"none":           {nil, "needs credentials (401)"},
		"ssh":            {map[string]string{"ssh-privatekey": "x"}, "has no .dockerconfigjson"},
	} {
		t.Run(name, func(t *testing.T) {
			gets.Store(0)
			ref := repository.OCIRef{Image: host + "/team/x:v1"}
			if tc.data != nil {
				ref.Credential = secret(t, tc.data)
			}
			oci := newOCI()
			oci.Cache = &repository.Cache{Dir: t.TempDir()}
			tree, lock, err := oci.Fetch(t.Context(), ref)
			for _, name := range kept(t, oci.Cache.Dir) {
				raw, err := os.ReadFile(name)
				require.NoError(t, err)
				assert.NotContains(t, string(raw), password)
				assert.NotContains(t, string(raw), auth)
			}
			if tc.want == "" {
				require.NoError(t, err)
				assert.Equal(t, "x", content(t, tree, "Kptfile"))
				assert.NotContains(t, lock.Image, password)
				return
			}
			require.ErrorContains(t, err, tc.want)
			for _, s := range []string{password, auth, "wr0ng", "you sent"} {
				assert.NotContains(t, err.Error(), s)
			}
			assert.LessOrEqual(t, gets.Load(), int64(1), "not tried again")
			assert.Less(t, len(err.Error()), 250)
		})
	}
	t.Run("user's own docker config", func(t *testing.T) {
		dir := secrets(t, map[string]string{"config.json": fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)})
		t.Setenv("DOCKER_CONFIG", dir)
		_, _, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/team/x:v1"})
		require.ErrorContains(t, err, "needs credentials", "one that isn't allowed isn't read")
		oci := newOCI()
		oci.DockerConfig = true
		_, _, err = oci.Fetch(t.Context(), repository.OCIRef{Image: host + "/team/x:v1"})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"+password), 0o600))
		oci = newOCI()
		oci.DockerConfig = true
		_, _, err = oci.Fetch(t.Context(), repository.OCIRef{Image: host + "/team/x:v1"})
		require.ErrorContains(t, err, "docker's own credentials")
		assert.NotContains(t, err.Error(), password)
	})
}

func TestOCINotFound(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	pushLayers(t, host+"/x:v1.2.3", ociLayer{types.OCIUncompressedLayer, archive(t, file("f"))})
	for image, want := range map[string]string{
		host + "/x:v1.2": "not found (404): there is v1.2.3",
		host + "/y:v1":   "image not found (404)",
		host + "/x@sha256:" + strings.Repeat("a", 64): "image not found (404)",
	} {
		_, _, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: image})
		require.ErrorIs(t, err, repository.ErrNotFound, image)
		assert.Contains(t, err.Error(), want)
	}
}

func TestOCIRetriesAndCache(t *testing.T) {
	t.Parallel()
	var requests, failures atomic.Int64
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/blobs/") || strings.Contains(req.URL.Path, "/manifests/") {
				requests.Add(1)
				if failures.Add(-1) >= 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
			}
			next.ServeHTTP(w, req)
		})
	})
	image := host + "/x:v1"
	layer := archive(t, file("Kptfile"), "x")
	pushLayers(t, image, ociLayer{types.OCILayer, zipped(layer)})
	dir := t.TempDir()
	fetch := func(image string) (repository.OCILock, int64, error) {
		oci := newOCI()
		oci.Cache = &repository.Cache{Dir: dir}
		requests.Store(0)
		tree, lock, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
		if err == nil {
			assert.Equal(t, "x", content(t, tree, "Kptfile"))
		}
		return lock, requests.Load(), err
	}
	failures.Store(99)
	_, n, err := fetch(image)
	require.ErrorContains(t, err, "the server answered 503")
	assert.EqualValues(t, 3, n)
	failures.Store(2)
	lock, n, err := fetch(image)
	require.NoError(t, err)
	assert.EqualValues(t, 4, n, "manifest and layer, after two failures")
	_, n, err = fetch(image)
	require.NoError(t, err)
	assert.EqualValues(t, 1, n, "what the tag means")
	_, n, err = fetch(lock.Image)
	require.NoError(t, err)
	assert.Zero(t, n)
	for _, name := range kept(t, dir) {
		require.NoError(t, os.WriteFile(name, []byte("damaged"), 0o600))
	}
	_, n, err = fetch(lock.Image)
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	_, n, err = fetch(lock.Image)
	require.NoError(t, err)
	assert.Zero(t, n, "healed")

	oci := newOCI() // one run sees one version
	_, before, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
	require.NoError(t, err)
	pushLayers(t, image, ociLayer{types.OCIUncompressedLayer, archive(t, file("Kptfile"), "new")})
	_, after, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestOCIRegistryThatFailsAtFirst(t *testing.T) {
	t.Parallel()
	var failures atomic.Int64
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if failures.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	pkg, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("x")))
	require.NoError(t, err)
	failures.Store(1) // the very first request, which asks how to authenticate
	_, err = newOCI().Push(t.Context(), repository.OCIRef{Image: host + "/x:v1"}, pkg)
	require.NoError(t, err)
	failures.Store(1)
	_, _, err = newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/x:v1"})
	require.NoError(t, err)
}

func TestOCIRegistryThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	host := serveRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, _, err := newOCI().Fetch(ctx, repository.OCIRef{Image: host + "/x:v1"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestOCIRegistryThatLies(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 2048))
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	pushLayers(t, host+"/x:v1", ociLayer{types.OCIUncompressedLayer, archive(t, file("Kptfile"), "x")})
	oci := newOCI()
	oci.Attempts = 1
	_, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: host + "/x:v1"})
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 300)
}

func TestOCIIndex(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	image := func(says string) v1.Image {
		img, err := mutate.AppendLayers(empty.Image, static.NewLayer(archive(t, file("Kptfile"), says), types.OCIUncompressedLayer))
		require.NoError(t, err)
		return img
	}
	add := func(says, os, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image(says), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}}
	}
	for want, adds := range map[string][]mutate.IndexAddendum{
		"amd":                        {add("arm", "linux", "arm64"), add("amd", "linux", "amd64")},
		"only":                       {add("only", "linux", "arm64"), add("attestation", "unknown", "unknown")},
		"plain":                      {{Add: image("plain")}},
		"linux/arm64, windows/amd64": {add("arm", "linux", "arm64"), add("win", "windows", "amd64")},
		"an index without images":    {add("attestation", "unknown", "unknown")},
	} {
		ref, err := name.ParseReference(host + "/x:v1")
		require.NoError(t, err)
		require.NoError(t, remote.WriteIndex(ref, mutate.AppendManifests(empty.Index, adds...)))
		tree, lock, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: host + "/x:v1"})
		if strings.Contains(want, " ") {
			require.ErrorContains(t, err, want)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want, content(t, tree, "Kptfile"))
		_, _, err = newOCI().Fetch(t.Context(), repository.OCIRef{Image: lock.Image})
		require.NoError(t, err)
	}
}

func TestOCIPush(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil)
	pkg, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("x")), kptpkg.NewFile("bin/run", kptpkg.Executable, []byte("#!")),
		kptpkg.NewFile("link", kptpkg.Symlink, []byte("bin/run")), kptpkg.NewFile("bytes", kptpkg.Regular, []byte("\x00\xff")))
	require.NoError(t, err)
	first, err := newOCI().Push(t.Context(), repository.OCIRef{Image: host + "/x:v1"}, pkg)
	require.NoError(t, err)
	second, err := newOCI().Push(t.Context(), repository.OCIRef{Image: host + "/x:v2"}, pkg)
	require.NoError(t, err)
	assert.Equal(t, first.Image, second.Image, "the same package is the same image")
	for _, image := range []string{host + "/x:v1", host + "/x:v2", first.Image} {
		tree, lock, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: image})
		require.NoError(t, err)
		assert.Equal(t, repository.OCILock{Image: first.Image, Ref: image}, lock)
		require.Equal(t, pkg.Paths(), tree.Paths())
		for _, p := range pkg.Paths() {
			assert.Equal(t, content(t, pkg, p), content(t, tree, p))
			assert.Equal(t, pkg.File(p).Mode(), tree.File(p).Mode())
		}
	}
}
