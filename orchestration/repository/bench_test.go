package repository_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// One package of 300, each of 20 files, by a client that knows nothing yet.
func BenchmarkFetch(b *testing.B) {
	r := repositorytest.New(b)
	var entries []entry
	for p := range 300 {
		entries = append(entries, kptfile(fmt.Sprintf("pkg-%03d", p), "kind: Kptfile\n"))
		for f := range 19 {
			entries = append(entries, entry{Path: fmt.Sprintf("pkg-%03d/file-%02d.yaml", p, f), Content: fmt.Sprintf("package: %d\nfile: %d\n%s", p, f, noise(400))})
		}
	}
	r.Commit("main", entries...)
	r.Git("gc", "-q")
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			url := way.serve(r)
			for b.Loop() {
				tree, _, err := newGit(r).Fetch(b.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "pkg-150"})
				require.NoError(b, err)
				require.Equal(b, 20, tree.Len())
			}
		})
	}
	b.Run("git clone --depth 1 --bare", func(b *testing.B) {
		url := r.ServeHTTP(filtering, nil)
		for b.Loop() {
			r.Git("clone", "-q", "--depth", "1", "--bare", url, b.TempDir())
		}
	})
}
