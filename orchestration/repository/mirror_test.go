package repository

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Processes that need a mirror at the same time all get it, whatever those that
// already have it tidy up, and whatever stands in its place.
func TestMirrorMadeTogether(t *testing.T) {
	t.Parallel()
	loc, err := parseLocation("https://example.com/repo.git")
	require.NoError(t, err)
	for name, before := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"a directory that isn't whole": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "objects", "pack"), 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 50 {
				c := &Cache{Dir: t.TempDir()}
				dir := c.mirrorDir(loc, false)
				require.NoError(t, before(dir))
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						m := c.mirror(loc, false, func(err error) { assert.NoError(t, err) })
						if !assert.NotNil(t, m) {
							return
						}
						lock, err := m.exclusively(t.Context())
						if !assert.NoError(t, err) {
							return
						}
						m.removeTemporary()
						assert.NoError(t, lock.unlock())
					})
				}
				all.Wait()
				assert.True(t, isGitDir(dir))
				left, err := filepath.Glob(dir + ".[no]*")
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}
