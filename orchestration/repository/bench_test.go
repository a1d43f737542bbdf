package repository_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// large is a repository of 300 packages, each of 20 files, and 2,000 commits
// that change one file each and are tagged as Porch tags revisions.
func large(b *testing.B) *repositorytest.Repo {
	b.Helper()
	const packages, files, commits = 300, 20, 2000
	var stream strings.Builder
	file := func(p, f, version int) {
		name := fmt.Sprintf("file-%02d.yaml", f)
		if f == 0 {
			name = "Kptfile"
		}
		content := fmt.Sprintf("package: %d\nfile: %d\nversion: %d\n%s", p, f, version, noise(400))
		fmt.Fprintf(&stream, "M 644 inline pkg-%03d/%s\ndata %d\n%s\n", p, name, len(content), content)
	}
	for c := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata 1\nx\n", 1704164645+c)
		if c == 0 {
			for p := range packages {
				for f := range files {
					file(p, f, 0)
				}
			}
		}
		file(c%packages, 1, 1+c/packages)
		fmt.Fprintf(&stream, "\nreset refs/tags/pkg-%03d/v%d\nfrom refs/heads/main\n\n", c%packages, 1+c/packages)
	}
	r := repositorytest.New(b)
	r.Import(stream.String())
	r.Git("gc", "-q")
	return r
}

// One package by a client that knows nothing yet; beside it git's own way.
func BenchmarkFetch(b *testing.B) {
	r := large(b)
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			url := way.serve(r)
			for b.Loop() {
				tree, _, err := newGit(r).Fetch(b.Context(), repository.GitRef{Repo: url, Ref: "v3", Directory: "pkg-150"})
				require.NoError(b, err)
				require.Equal(b, 20, tree.Len())
			}
		})
	}
	b.Run("git clone --depth 1", func(b *testing.B) {
		url := r.ServeHTTP(filtering, nil)
		for b.Loop() {
			r.Git("clone", "-q", "--depth", "1", "--branch", "pkg-150/v3", url, b.TempDir())
		}
	})
}

// One package by a new process each time: from the server, from the cache by
// tag (one request, for what it means) and by commit (none). Listing all refs is
// what the request would take that names none.
func BenchmarkCache(b *testing.B) {
	r := large(b)
	url := r.ServeHTTP(filtering, nil)
	commit := r.Git("rev-parse", "pkg-150/v3")
	for _, tc := range []struct {
		name, ref string
		warm      bool
	}{{"first", "v3", false}, {"again by tag", "v3", true}, {"again by branch", "main", true}, {"again by commit", commit, true}} {
		b.Run(tc.name, func(b *testing.B) {
			fetch := func(dir string) {
				git := newGit(r)
				git.Cache = &repository.Cache{Dir: dir}
				tree, _, err := git.Fetch(b.Context(), repository.GitRef{Repo: url, Ref: tc.ref, Directory: "pkg-150"})
				require.NoError(b, err)
				require.Equal(b, 20, tree.Len())
			}
			dir := b.TempDir()
			fetch(dir)
			for b.Loop() {
				if !tc.warm {
					dir = b.TempDir()
				}
				fetch(dir)
			}
		})
	}
	b.Run("listing of refs alone", func(b *testing.B) {
		for b.Loop() {
			res, err := http.Get(url + "/info/refs?service=git-upload-pack")
			require.NoError(b, err)
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(b, err)
			require.NoError(b, res.Body.Close())
		}
	})
}
