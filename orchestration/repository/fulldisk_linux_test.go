package repository_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	var entries []entry
	for i := range 300 {
		entries = append(entries, kptfile(fmt.Sprint("pkg-", i), unlike(i)))
	}
	git.Commit("main", entries...)
	cache := t.TempDir()
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a small file system can't be mounted: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(cache, syscall.MNT_DETACH)) })
	var warnings []string
	o := openerFor(t, git, cache)
	o.Warn = func(err error) { warnings = append(warnings, err.Error()) }
	r := open(t, o, declared(git.ServeHTTP(writable, nil), ""))
	assert.Len(t, listed(t, r), 300)
	closeNew(t, r, "new", "v1", "x", api.Published)
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "no space left on device: what is fetched isn't kept")
	assertNothingTemporary(t, cache)
	git.Git("fsck", "--strict", "--full")
}
