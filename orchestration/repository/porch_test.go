package repository_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

var update = flag.Bool("update", false, "write what is listed of Porch's repositories anew")

// Porch's own repositories are what their descriptions say, and can be gone on
// with.
func TestPorchRepositories(t *testing.T) {
	t.Parallel()
	exports, err := filepath.Glob("testdata/porch/*.export")
	require.NoError(t, err)
	require.NotEmpty(t, exports)
	for _, export := range exports {
		t.Run(filepath.Base(export), func(t *testing.T) {
			t.Parallel()
			stream, err := os.ReadFile(export)
			require.NoError(t, err)
			git := repositorytest.New(t)
			git.Import(string(stream))
			r := open(t, openerFor(t, git, ""), declared(git.Dir, ""))
			all, err := r.Revisions(t.Context(), repository.Filter{})
			require.NoError(t, err)
			var got strings.Builder
			for _, rev := range all {
				tasks, err := r.Tasks(t.Context(), rev)
				require.NoError(t, err)
				var types []string
				for _, task := range tasks {
					types = append(types, string(task.Type))
				}
				fmt.Fprintf(&got, "%s %s %v\n", show(rev), rev.PublishedBy, types)
				_, err = r.Resources(t.Context(), rev)
				require.NoError(t, err)
			}
			golden := strings.TrimSuffix(export, ".export") + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), got.String())
			for _, rev := range all {
				if rev.Lifecycle == api.Draft {
					assert.Equal(t, api.Published, move(t, r, move(t, r, rev, api.Proposed), api.Published).Lifecycle)
				}
			}
			git.Git("fsck", "--full")
		})
	}
}
