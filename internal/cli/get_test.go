package cli_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// An image is got like a directory of a repository, and upgraded like one.
func TestGetImage(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	image := host + "/team/web"
	client := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	locks := map[string]string{}
	for tag, value := range map[string]string{":v1": "b", ":v2": "c"} {
		pkg, err := webPackage(t).With(kptpkg.NewFile("cm.yaml", kptpkg.Regular, []byte(strings.Replace(webMap, "a: b", "a: "+value, 1))))
		require.NoError(t, err)
		lock, err := client.Push(t.Context(), repository.OCIRef{Image: image + tag}, pkg)
		require.NoError(t, err)
		locks[tag] = lock.Image
	}
	t.Chdir(t.TempDir())

	code, stdout, stderr := stoop(t, nil, "get", "oci://"+image+":v1", "--cache-dir=", "--dry-run")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "added Kptfile\n")
	assert.NoDirExists(t, "web")

	for _, from := range []string{image + ":v1", locks[":v1"]} {
		code, _, stderr = stoop(t, nil, "get", "oci://"+from, "--cache-dir=")
		require.Equal(t, 0, code, stderr)
		assert.Equal(t, "info: package web cloned from "+locks[":v1"]+": 4 files\n", stderr)
		tree, err := kptdir.Read(t.Context(), "web", kptdir.Limits{})
		require.NoError(t, err)
		assert.Equal(t, []string{"Kptfile", "cm.yaml", "logo.png", "run.sh"}, tree.Paths())
		assert.Equal(t, kptpkg.Executable, tree.File("run.sh").Mode())
		assert.Contains(t, text(t, tree, "cm.yaml"), "# kpt-merge: /web")
		k, err := tree.Kptfile(".")
		require.NoError(t, err)
		assert.Equal(t, "web", k.Metadata.Name)
		assert.Equal(t, from, k.Upstream.OCI.Image)
		assert.Equal(t, locks[":v1"], k.UpstreamLock.OCI.Image)
		require.NoError(t, os.Rename("web", "was-"+filepath.Base(strings.ReplaceAll(from, ":", "-"))))
	}

	code, _, stderr = stoop(t, nil, "get", "oci://"+image+":v1", "edge", "--cache-dir=")
	require.Equal(t, 0, code, stderr)
	code, _, stderr = stoop(t, nil, "upgrade", "edge@v2", "--cache-dir=", "--allow-network=127.0.0.1")
	require.Equal(t, 0, code, stderr)
	tree, err := kptdir.Read(t.Context(), "edge", kptdir.Limits{})
	require.NoError(t, err)
	assert.Contains(t, text(t, tree, "cm.yaml"), "a: c")
	k, err := tree.Kptfile(".")
	require.NoError(t, err)
	assert.Equal(t, "edge", k.Metadata.Name)
	assert.Equal(t, locks[":v2"], k.UpstreamLock.OCI.Image)

	for from, want := range map[string]string{
		image + ":v3":    ":v3: image not found (404): there is v1, v2",
		"me:pw@" + host:  "error: oci://" + host + " names no image: write oci://REGISTRY/NAME:TAG",
		image + "@v1":    "error: get: fetch upstream: image \"v1\" is no full reference: write REGISTRY/NAME:TAG",
		image + "/Web:a": "Web",
	} {
		code, _, stderr = stoop(t, nil, "get", "oci://"+from, "none", "--cache-dir=")
		assert.NotEqual(t, 0, code, from)
		assert.Contains(t, stderr, want)
		assert.NoDirExists(t, "none")
	}
}
