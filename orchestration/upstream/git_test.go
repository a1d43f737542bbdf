package upstream_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
	"github.com/stoop-dev/stoop/orchestration/upstream"
	"github.com/stoop-dev/stoop/orchestration/upstream/upstreamtest"
)

func TestGit(t *testing.T) {
	t.Parallel()
	filtering := func(r *repositorytest.Repo) string {
		return r.ServeHTTP([]string{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"}, nil)
	}
	t.Run("local", func(t *testing.T) {
		conform(t, nil, func(r *repositorytest.Repo) string { return r.Dir })
	})
	t.Run("http with filter", func(t *testing.T) {
		conform(t, nil, filtering)
	})
	t.Run("http with a cache", func(t *testing.T) {
		conform(t, &repository.Cache{Dir: t.TempDir()}, filtering)
	})
	t.Run("git protocol without filter", func(t *testing.T) {
		conform(t, nil, func(r *repositorytest.Repo) string { return r.ServeGit(nil) })
	})
}

func conform(t *testing.T, cache *repository.Cache, serve func(*repositorytest.Repo) string) {
	modes := map[kptpkg.Mode]string{
		kptpkg.Regular: repositorytest.Regular, kptpkg.Executable: repositorytest.Executable, kptpkg.Symlink: repositorytest.Symlink,
	}
	upstreamtest.Conform(t, func(t *testing.T) upstreamtest.Place {
		r := repositorytest.New(t)
		url := serve(r)
		fresh := func() upstream.Source {
			access := repository.Access{Network: []string{"127.0.0.1"}, FileRepos: []string{r.Dir}}
			return upstream.Mux{upstream.TypeGit: upstream.Git{Client: &repository.Git{Access: access, Cache: cache}}}
		}
		return upstreamtest.Place{
			Source: fresh(),
			Fresh:  fresh,
			Lists:  true,
			Publish: func(t *testing.T, version string, entries ...upstreamtest.Entry) {
				var files []repositorytest.Entry
				for _, e := range entries {
					files = append(files, repositorytest.Entry{Path: e.Path, Mode: modes[e.Mode], Content: e.Content})
				}
				r.Commit(version, files...)
			},
			Ref: func(version, dir string) upstream.Ref {
				return upstream.Ref{Type: upstream.TypeGit, Git: &upstream.GitRef{Repo: url, Ref: version, Directory: dir}}
			},
		}
	})
}

func TestMuxUnknownType(t *testing.T) {
	t.Parallel()
	_, _, err := upstream.Mux{"git": nil, "oci": nil}.Fetch(t.Context(), upstream.Ref{Type: "svn"})
	require.Error(t, err)
	assert.Equal(t, `upstream type "svn" is not known: use git or oci`, err.Error())
}
