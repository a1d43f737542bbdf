package repository_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

func TestLocalKinds(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("p", "borrowed"))
	parent := filepath.Dir(r.Dir)
	clone, worktree, shared := filepath.Join(parent, "clone"), filepath.Join(parent, "worktree"), filepath.Join(parent, "shared")
	r.Git("clone", "-q", r.Dir, clone)
	r.Git("worktree", "add", "-q", worktree, "-b", "topic")
	r.Git("clone", "-q", "--shared", r.Dir, shared)
	r.Git("clone", "-q", "--shared", "--bare", shared, filepath.Join(parent, "again.git")) // borrows from one that borrows
	for _, dir := range []string{r.Dir, clone, clone + "/.git", worktree, shared, parent + "/again.git"} {
		assert.True(t, repository.IsRepository(dir), dir)
		tree, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: dir, Ref: "main", Directory: "p"})
		require.NoError(t, err, dir)
		assert.Equal(t, "borrowed", content(t, tree, "Kptfile"))
		assert.Equal(t, dir, lock.Repo)
	}
	branch, err := newGit(r).DefaultRef(t.Context(), worktree)
	require.NoError(t, err)
	assert.Equal(t, "topic", branch, "a worktree has its own HEAD")

	r.Git("gc", "-q") // packed refs and a pack
	_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main", Directory: "p"})
	require.NoError(t, err)
	before := listing(t, r.Dir)
	_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "nonsense"})
	require.Error(t, err)
	assert.Equal(t, before, listing(t, r.Dir), "nothing is written")

	// A repository that is permitted can't borrow what isn't.
	for dir, want := range map[string]string{worktree: "its .git leads to", shared: "objects are borrowed from"} {
		git := &repository.Git{Access: repository.Access{FileRepos: []string{dir}}}
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: dir, Ref: "main", Directory: "p"})
		require.ErrorContains(t, err, want, dir)
		assert.ErrorContains(t, err, "--allow-file-repos=")
	}
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		info, statErr := os.Lstat(p)
		require.NoError(t, statErr)
		all = append(all, p+" "+info.ModTime().String())
		return err
	}))
	return all
}

func TestAlternatesInACircle(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	require.NoError(t, os.WriteFile(filepath.Join(r.Dir, "objects/info/alternates"), []byte("../objects\n"+r.Dir+"/objects\n\n# note\n"), 0o600))
	_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "1234567890123456789012345678901234567890"})
	require.ErrorIs(t, err, repository.ErrNotFound)
}

func TestLocalThatCannotBeRead(t *testing.T) {
	r := repositorytest.New(t)
	parent := filepath.Dir(r.Dir)
	r.Git("init", "-q", "--bare", "--object-format=sha256", filepath.Join(parent, "sha256.git"))
	require.NoError(t, os.MkdirAll(filepath.Join(parent, "plain"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(parent, "nowhere"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(parent, "nowhere", ".git"), []byte("gitdir: ../gone\n"), 0o600))
	broken := repositorytest.New(t)
	broken.Commit("main", kptfile("p", "x"))
	blob := broken.Git("rev-parse", "main:p/Kptfile")
	require.NoError(t, os.Remove(filepath.Join(broken.Dir, "objects", blob[:2], blob[2:])))

	for dir, want := range map[string]string{
		parent + "/sha256.git": "only sha1 can",
		parent + "/plain":      "git repository not found in that directory",
		parent + "/missing":    "repository not found",
		parent + "/nowhere":    "gone",
		r.Dir:                  "ref \"main\" not found",
		broken.Dir:             "Kptfile: object is missing",
	} {
		git := &repository.Git{Access: repository.Access{FileRepos: []string{"/"}}}
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: dir, Ref: "main"})
		assert.ErrorContains(t, err, want, dir)
	}
	t.Chdir(parent)
	require.NoError(t, os.Symlink("plain", filepath.Join(parent, "link")))
	for given, want := range map[string]string{
		"./missing":         "repository ./missing: repository not found: looked for at " + parent + "/missing, as relative paths begin at the working directory",
		"./plain":           "repository ./plain: git repository not found in that directory: looked for at " + parent + "/plain, as relative paths begin at the working directory",
		parent + "/link":    "repository " + parent + "/link: git repository not found in that directory: looked for at " + parent + "/plain, where symlinks lead",
		parent + "/missing": "repository " + parent + "/missing: repository not found",
	} {
		git := &repository.Git{Access: repository.Access{FileRepos: []string{parent}}}
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: given, Ref: "main"})
		require.ErrorIs(t, err, repository.ErrNotFound)
		assert.Equal(t, want, err.Error())
	}
	assert.False(t, repository.IsRepository(parent+"/plain"))
	assert.False(t, repository.IsRepository(parent+"/missing"))
}
