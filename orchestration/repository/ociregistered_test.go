package repository_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// pushNoted writes an image of one file, says, with annotations.
func pushNoted(t *testing.T, image, says string, notes map[string]string) {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		static.NewLayer(archive(t, file("Kptfile"), says), types.OCIUncompressedLayer))
	require.NoError(t, err)
	if notes != nil {
		img = mutate.Annotations(img, notes).(v1.Image)
	}
	ref, err := name.ParseReference(image)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
}

func TestOCIRevision(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, nil) + "/packages"
	pushNoted(t, host+"/web:v1", "one", nil)
	pushNoted(t, host+"/web:v1.2.3-rc.1", "dots", nil)
	pushNoted(t, host+"/web:main", "named", map[string]string{"kpt.dev/lifecycle": "Published", "kpt.dev/revision": "v7"})
	pushNoted(t, host+"/web:going", "going", map[string]string{"kpt.dev/lifecycle": "DeletionProposed", "kpt.dev/revision": "3"})
	pushNoted(t, host+"/web:try", "draft", map[string]string{"kpt.dev/lifecycle": "Draft"})
	pushNoted(t, host+"/web:odd", "odd", map[string]string{"kpt.dev/lifecycle": "Sold"})
	pushNoted(t, host+"/team/a/web:v2", "deep", nil)
	pushNoted(t, host+"/two:a.b", "one way", nil)
	pushNoted(t, host+"/two/a:b", "another", nil)
	reg := repository.OCIRegistration{Name: "shelf", Registry: host + "/"}

	for of, want := range map[string]repository.OCIRevision{
		"shelf.web.v1":          {Package: "web", Workspace: "v1", Number: 1, Lifecycle: api.Published},
		"shelf.web.v1.2.3-rc.1": {Package: "web", Workspace: "v1.2.3-rc.1", Lifecycle: api.Published},
		"shelf.web.main":        {Package: "web", Workspace: "main", Number: 7, Lifecycle: api.Published},
		"shelf.web.going":       {Package: "web", Workspace: "going", Number: 3, Lifecycle: api.DeletionProposed},
		"shelf.web.try":         {Package: "web", Workspace: "try", Lifecycle: api.Draft},
		"shelf.team.a.web.v2":   {Package: "team/a/web", Workspace: "v2", Number: 2, Lifecycle: api.Published},
	} {
		rev, err := newOCI().Revision(t.Context(), reg, of)
		require.NoError(t, err, of)
		assert.Equal(t, of != "shelf.web.try", rev.IsPublished())
		want.Name, want.Image, want.Lock = of, host+"/"+want.Package+":"+want.Workspace, rev.Lock
		assert.Equal(t, want, rev)
		assert.Equal(t, want.Image, rev.Lock.Ref)
		_, lock, err := newOCI().Fetch(t.Context(), repository.OCIRef{Image: want.Image})
		require.NoError(t, err)
		assert.Equal(t, rev.Lock, lock)
	}

	for of, want := range map[string]string{
		"shelf.two.a.b":   "is ambiguous: " + host + "/two/a:b and " + host + "/two:a.b are there",
		"shelf.web.odd":   `its annotation kpt.dev/lifecycle is "Sold", and no lifecycle`,
		"shelf.web.v9":    `package revision "shelf.web.v9" not found: ` + host + "/web:v9: image not found (404): there is v1",
		"shelf.web.v1.9":  host + "/web/v1:9: image not found (404); " + host + "/web:v1.9: image not found (404): there is v1",
		"shelf.none.v1":   host + "/none:v1: image not found (404)",
		"shelf.v1":        "not found: a name is shelf.PACKAGE.TAG",
		"other.web.v1":    "not found: a name is shelf.PACKAGE.TAG",
		"shelf..v1":       "is no name of a package revision",
		"shelf.web/x.v1":  "is no name of a package revision",
		"shelf.web.v1@v2": "is no name of a package revision",
	} {
		_, err := newOCI().Revision(t.Context(), reg, of)
		require.Error(t, err, of)
		assert.Contains(t, err.Error(), want)
		assert.Equal(t, strings.Contains(want, "not found"), strings.Contains(err.Error(), "not found"))
		if strings.Contains(want, "not found") {
			require.ErrorIs(t, err, repository.ErrNotFound)
		}
	}
	_, err := (&repository.OCI{}).Revision(t.Context(), reg, "shelf.web.v1")
	require.ErrorContains(t, err, "is not allowed; allow it with --allow-network")
	_, err = newOCI().Revision(t.Context(), repository.OCIRegistration{Name: "shelf", Registry: "https://" + host}, "shelf.web.v1")
	require.ErrorContains(t, err, "is a URL: write REGISTRY/NAME:TAG")
}

// A tag that moves between finding a revision and reading it makes no
// difference, nor does a registry that denies what it hasn't got.
func TestOCIRevisionIsPinned(t *testing.T) {
	t.Parallel()
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/web/v1/") {
				http.Error(w, "who knows", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	pushNoted(t, host+"/web:v1.2", "first", nil)
	client := newOCI()
	reg := repository.OCIRegistration{Name: "shelf", Registry: host}
	rev, err := client.Revision(t.Context(), reg, "shelf.web.v1.2")
	require.NoError(t, err)
	pushNoted(t, host+"/web:v1.2", "second", nil)
	tree, lock, err := client.Fetch(t.Context(), repository.OCIRef{Image: rev.Image})
	require.NoError(t, err)
	assert.Equal(t, rev.Lock, lock)
	assert.Equal(t, "first", content(t, tree, "Kptfile"))
	_, err = newOCI().Revision(t.Context(), reg, "shelf.web.v1.3")
	require.ErrorContains(t, err, "access denied (403)")
	assert.NotErrorIs(t, err, repository.ErrNotFound)
}
