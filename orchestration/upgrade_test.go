package orchestration_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// A package from a registry goes to another tag, to where a tag is now, and to a
// digest.
func TestUpgradeOCI(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/packages/web"
	client := func() upstream.Source { // a client reads a tag once
		return upstream.Mux{upstream.TypeOCI: upstream.OCI{Client: &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}}}
	}
	const kptfile = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web\n"
	push := func(tag, color string) string {
		pkg := packageOf(t, map[string]string{"Kptfile": kptfile,
			"cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  color: " + color + "\n  size: small\n"})
		oci := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
		lock, err := oci.Push(t.Context(), repository.OCIRef{Image: image + ":" + tag}, pkg)
		require.NoError(t, err)
		return lock.Image
	}
	v1 := push("v1", "red")
	v2 := push("v2", "green")
	local := packageOf(t, map[string]string{
		"Kptfile": strings.Replace(kptfile, "web", "edge", 1) +
			"upstream:\n  type: oci\n  oci:\n    image: " + image + ":v1 # pinned\nupstreamLock:\n  type: oci\n  oci:\n    image: " + v1 + "\n",
		"cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  color: red\n  size: large\n",
	})

	same, err := orchestration.Upgrade(t.Context(), client(), local, orchestration.UpgradeOptions{})
	require.NoError(t, err)
	assert.True(t, same.UpToDate)
	assert.Equal(t, local, same.Tree)

	up, err := orchestration.Upgrade(t.Context(), client(), local, orchestration.UpgradeOptions{Ref: "v2"})
	require.NoError(t, err)
	assert.Equal(t, merge.ResourceMerge, up.Strategy)
	assert.Equal(t, v2, up.To.OCI.Image)
	assert.Contains(t, fileOf(t, up.Tree, "cm.yaml"), "  color: green\n  size: large\n")
	assert.Contains(t, fileOf(t, up.Tree, "Kptfile"), "name: edge\nupstream:\n  type: oci\n  oci:\n    image: "+image+":v2 # pinned\n")
	assert.Contains(t, fileOf(t, up.Tree, "Kptfile"), "    image: "+v2+"\n")

	push("v2", "blue")
	moved, err := orchestration.Upgrade(t.Context(), client(), up.Tree, orchestration.UpgradeOptions{})
	require.NoError(t, err)
	assert.Contains(t, fileOf(t, moved.Tree, "cm.yaml"), "color: blue")

	_, digest, _ := strings.Cut(v1, "@")
	back, err := orchestration.Upgrade(t.Context(), client(), moved.Tree, orchestration.UpgradeOptions{Ref: digest})
	require.NoError(t, err)
	assert.Contains(t, fileOf(t, back.Tree, "cm.yaml"), "color: red")
	assert.Contains(t, fileOf(t, back.Tree, "Kptfile"), "    image: "+v1+" # pinned\n")

	before, after, err := orchestration.LocalChanges(t.Context(), client(), local)
	require.NoError(t, err)
	assert.Equal(t, fileOf(t, before, "Kptfile"), fileOf(t, after, "Kptfile"))
	assert.Contains(t, fileOf(t, before, "cm.yaml"), "size: small")
}

func packageOf(t *testing.T, files map[string]string) kptpkg.Tree {
	t.Helper()
	var all []*kptpkg.File
	for p, c := range files {
		all = append(all, kptpkg.NewFile(p, kptpkg.Regular, []byte(c)))
	}
	tree, err := kptpkg.NewTree(all...)
	require.NoError(t, err)
	return tree
}

func fileOf(t *testing.T, tree kptpkg.Tree, path string) string {
	t.Helper()
	require.NotNil(t, tree.File(path), path)
	b, err := tree.File(path).Bytes()
	require.NoError(t, err)
	return string(b)
}
