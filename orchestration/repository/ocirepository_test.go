package repository_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// The whole life of a package in a registry.
func TestOCIRepositoryWorkflow(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"deletes by tag": nil,
		"deletes by digest only": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodDelete {
					h.ServeHTTP(w, r)
					return
				}
				repo, target, _ := strings.Cut(r.URL.Path, "/manifests/")
				if target == "two" {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				h.ServeHTTP(w, r)
				// Other registries take the tags of a manifest away with it.
				tag := r.Clone(r.Context())
				tag.URL.Path = repo + "/manifests/two"
				h.ServeHTTP(httptest.NewRecorder(), tag)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, host := t.Context(), serveRegistry(t, wrap)
			o := &repository.Opener{OCI: newOCI()}
			repo := &api.Repository{Spec: api.RepositorySpec{OCI: &api.OCIRepository{Registry: host + "/team"}}}
			repo.APIVersion, repo.Kind, repo.Metadata.Name = api.PorchConfigV1Alpha1, "Repository", "blueprints"
			r := open(t, o, repo)
			assert.Empty(t, listed(t, r))

			d, err := r.CreateDraft(ctx, "apps/web", "one")
			require.NoError(t, err)
			tree, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("1")), kptpkg.NewFile("run", kptpkg.Executable, []byte("#!")))
			require.NoError(t, err)
			require.NoError(t, d.UpdateResources(ctx, tree, initTask))
			require.NoError(t, d.UpdateResources(ctx, tree, nil))
			draft, err := r.CloseDraft(ctx, d, repository.Close{Labels: map[string]string{"team": "a"}})
			require.NoError(t, err)
			image := "@" + host + "/team/apps/web:"
			assert.Equal(t, "blueprints.apps.web.one 0 Draft "+image+"one", show(draft))
			_, err = r.CreateDraft(ctx, "apps/web", "one")
			require.ErrorContains(t, err, `package apps/web has the workspace "one" already (Draft)`)

			d, err = r.OpenDraft(ctx, draft)
			require.NoError(t, err)
			_, err = r.CloseDraft(ctx, d, repository.Close{Lifecycle: api.Published})
			require.ErrorContains(t, err, "is Draft and can't become Published")
			one := move(t, r, move(t, r, draft, api.Proposed), api.Published)
			assert.Equal(t, "blueprints.apps.web.one 1 Published latest "+image+"one", show(one))
			assert.Equal(t, map[string]string{"team": "a"}, one.Labels)
			assert.Equal(t, "porch@kpt.dev", one.PublishedBy)
			tasks, err := r.Tasks(ctx, one)
			require.NoError(t, err)
			assert.Equal(t, []api.Task{*initTask}, tasks)
			_, err = r.OpenDraft(ctx, draft)
			require.ErrorIs(t, err, repository.ErrConflict)

			// The same files in another workspace are another revision.
			d, err = r.CreateDraft(ctx, "apps/web", "two")
			require.NoError(t, err)
			require.NoError(t, d.UpdateResources(ctx, tree, initTask))
			two, err := r.CloseDraft(ctx, d, repository.Close{Lifecycle: api.Published})
			require.NoError(t, err)
			assert.Equal(t, 2, two.Number)
			other := open(t, &repository.Opener{OCI: newOCI()}, repo)
			assert.Equal(t, listed(t, r), listed(t, other))
			all, err := other.Revisions(ctx, repository.Filter{Number: 1})
			require.NoError(t, err)
			assert.Equal(t, []repository.Revision{func() repository.Revision { o := one; o.Latest = false; return o }()}, all)
			got, err := other.Resources(ctx, all[0])
			require.NoError(t, err)
			assert.Equal(t, "1", content(t, got, "Kptfile"))
			assert.Equal(t, kptpkg.Executable, got.File("run").Mode())
			found, err := newOCI().Revision(ctx, repository.OCIRegistration{Name: "blueprints", Registry: host + "/team"}, "blueprints.apps.web.two")
			require.NoError(t, err)
			assert.Equal(t, 2, found.Number, "the read half finds it")

			before, err := r.Version(ctx)
			require.NoError(t, err)
			require.ErrorContains(t, r.DeleteRevision(ctx, two), "is Published: propose its deletion first")
			require.ErrorContains(t, r.DeletePackage(ctx, "apps/web"), "is Published: propose its deletion first")
			require.NoError(t, r.DeleteRevision(ctx, move(t, r, two, api.DeletionProposed)))
			assert.Equal(t, []string{show(one)}, listed(t, r))
			move(t, r, one, api.DeletionProposed)
			require.NoError(t, r.DeletePackage(ctx, "apps/web"))
			assert.Empty(t, listed(t, r))
			require.ErrorIs(t, r.DeletePackage(ctx, "apps/web"), repository.ErrNotFound)
			require.ErrorContains(t, r.CreatePackage(ctx, "x"), "it holds revisions only")
			require.NoError(t, other.Refresh(ctx))
			assert.Empty(t, listed(t, other))
			after, err := r.Version(ctx)
			require.NoError(t, err)
			assert.NotEqual(t, before, after)
			require.NoError(t, o.Close())
		})
	}
	o := &repository.Opener{OCI: &repository.OCI{}}
	repo := &api.Repository{Spec: api.RepositorySpec{OCI: &api.OCIRepository{Registry: "example.com/x"}}}
	repo.APIVersion, repo.Kind, repo.Metadata.Name = api.PorchConfigV1Alpha1, "Repository", "blueprints"
	_, err := o.Open(t.Context(), repo)
	require.ErrorContains(t, err, "--allow-network=example.com")
}

// Those who share a cache and publish one package at the same time get one number
// each.
func TestOCIRepositoryRace(t *testing.T) {
	t.Parallel()
	host, cache := serveRegistry(t, nil), t.TempDir()
	repo := &api.Repository{Spec: api.RepositorySpec{OCI: &api.OCIRepository{Registry: host + "/team"}}}
	repo.APIVersion, repo.Kind, repo.Metadata.Name = api.PorchConfigV1Alpha1, "Repository", "blueprints"
	tree, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("1")))
	require.NoError(t, err)
	const n = 8
	numbers := make([]int, n)
	var wg sync.WaitGroup
	for i, workspace := range workspaces("w", n) {
		client := newOCI()
		client.Cache = &repository.Cache{Dir: cache}
		r := open(t, &repository.Opener{OCI: client}, repo)
		wg.Go(func() {
			d, err := r.CreateDraft(t.Context(), "web", workspace)
			if err == nil {
				err = d.UpdateResources(t.Context(), tree, initTask)
			}
			if assert.NoError(t, err) {
				rev, err := r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Published})
				assert.NoError(t, err)
				numbers[i] = rev.Number
			}
		})
	}
	wg.Wait()
	slices.Sort(numbers)
	assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8}, numbers)
}

func workspaces(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%d", prefix, i))
	}
	return all
}
