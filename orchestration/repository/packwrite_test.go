package repository

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

func TestWritePack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var objects []object
		want := memory{}
		for _, content := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 5000), 0, 10).Draw(t, "contents") {
			o := object{plumbing.BlobObject, content}
			objects = append(objects, o)
			want[plumbing.ComputeHash(o.typ, o.content)] = o
		}
		got, err := readPack(bytes.NewReader(writePack(objects)), 1<<20, 1<<20)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for h := range want {
			assert.True(t, bytes.Equal(want[h].content, got[h].content))
		}
	})
}

// A package in the cache is a pack that git takes.
func TestPackOfPackage(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	big := strings.Repeat("0123456789abcdef", 10_000)
	r.Commit("main", repositorytest.Entry{Path: "a/b/Kptfile", Content: "x"}, repositorytest.Entry{Path: "a/b/sub/big", Content: big},
		repositorytest.Entry{Path: "a/b/again/big", Content: big}, repositorytest.Entry{Path: "other/x", Content: "y"})
	from := &local{dir: r.Dir, access: Access{FileRepos: []string{r.Dir}}}
	require.NoError(t, from.open())
	defer from.close()
	commit, root, err := peel(from, plumbing.NewHash(r.Git("rev-parse", "main")))
	require.NoError(t, err)
	pack, err := packPackage(from, commit, root, "a/b")
	require.NoError(t, err)

	empty := filepath.Join(filepath.Dir(r.Dir), "empty.git")
	r.Git("init", "-q", "--bare", empty)
	index := exec.Command("git", "index-pack", "--stdin", "--fix-thin")
	index.Dir, index.Stdin = empty, bytes.NewReader(pack)
	out, err := index.CombinedOutput()
	require.NoError(t, err, string(out))
	objects := strings.Fields(r.Git("-C", empty, "cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"))
	count := map[string]int{}
	for _, typ := range objects {
		count[typ]++
	}
	assert.Equal(t, map[string]int{"commit": 1, "tree": 4, "blob": 2}, count, "sub and again are one directory")
	_, err = packPackage(from, commit, root, "a/c")
	assert.ErrorIs(t, err, errNoObject)
}
