package repository_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

func cachedGit(r *repositorytest.Repo, dir string) *repository.Git {
	git := newGit(r)
	git.Cache = &repository.Cache{Dir: dir}
	return git
}

// kept are the files of a cache.
func kept(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	}))
	return files
}

func TestCacheSavesRequests(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("main", kptfile("a/b", "one"), entry{Path: "a/b/run", Mode: repositorytest.Executable, Content: "#!"}, entry{Path: "a/b/l", Mode: repositorytest.Symlink, Content: "run"}, kptfile("other", "x"))
	r.Git("tag", "-a", "-m", "x", "annotated", first)
	for name, config := range map[string][]string{"filter": filtering, "plain": nil} {
		t.Run(name, func(t *testing.T) {
			var c traffic
			url, dir := r.ServeHTTP(config, c.count), t.TempDir()
			fetch := func(ref, pkg string) (lists, posts int64) {
				t.Helper()
				c.lists.Store(0)
				c.uploads.Store(0)
				tree, lock, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: ref, Directory: pkg})
				require.NoError(t, err)
				assert.Equal(t, repository.GitLock{Repo: url, Directory: pkg, Ref: ref, Commit: first}, lock)
				fresh, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: ref, Directory: pkg})
				require.NoError(t, err)
				require.Equal(t, fresh.Paths(), tree.Paths())
				for _, p := range tree.Paths() {
					assert.Equal(t, content(t, fresh, p), content(t, tree, p))
					assert.Equal(t, fresh.File(p).Mode(), tree.File(p).Mode())
				}
				return c.lists.Load(), c.uploads.Load()
			}
			lists, posts := fetch("main", "a/b")
			assert.EqualValues(t, 1, lists)
			assert.Positive(t, posts)
			for ref, want := range map[string]int64{"main": 1, "annotated": 1, "refs/heads/main": 1, first: 0, strings.ToUpper(first): 0} {
				lists, posts = fetch(ref, "a/b")
				assert.Zero(t, lists, ref)
				assert.Equal(t, want, posts, "%s: what it means", ref)
			}
			lists, posts = fetch(first, "other")
			assert.EqualValues(t, 1, lists, "another package isn't in the cache")
			assert.Positive(t, posts)
		})
	}
}

// A server that speaks only older protocols is asked for single refs once.
func TestCacheOldServer(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]func(next http.Handler) http.Handler{
		"version 0": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				req.Header.Del("Git-Protocol")
				next.ServeHTTP(w, req)
			})
		},
		"refusal": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("Git-Protocol") != "" {
					http.Error(w, "what?", http.StatusBadRequest)
					return
				}
				next.ServeHTTP(w, req)
			})
		},
		"a page": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("Git-Protocol") == "" {
					next.ServeHTTP(w, req)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := repositorytest.New(t)
			r.Commit("main", kptfile("a", "one"))
			var c traffic
			url, dir := r.ServeHTTP(filtering, func(next http.Handler) http.Handler { return c.count(old(next)) }), t.TempDir()
			for i, want := range []int64{0, 1, 0, 0} {
				if i > 0 {
					c.lists.Store(0)
					c.uploads.Store(0)
				}
				tree, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "a"})
				require.NoError(t, err)
				assert.Equal(t, "one", content(t, tree, "Kptfile"))
				assert.EqualValues(t, 1, c.lists.Load())
				if i > 0 {
					assert.Equal(t, want, c.uploads.Load())
				}
			}
		})
	}
}

// What a branch was when a run first asked for it, it is to the end of the run.
func TestCachedBranchMovesMeanwhile(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("main", kptfile("a", "one"), kptfile("b", "one"))
	r.Git("tag", "-a", "-m", "x", "v1", first)
	var c traffic
	url, dir := r.ServeHTTP(filtering, c.count), t.TempDir()
	fetch := func(git *repository.Git, ref, pkg string) (string, error) {
		tree, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: ref, Directory: pkg})
		if err != nil {
			return "", err
		}
		return content(t, tree, "Kptfile"), nil
	}
	for _, ref := range []string{"main", "v1"} {
		_, err := fetch(cachedGit(r, dir), ref, "a")
		require.NoError(t, err)
	}
	for _, ref := range []string{"main", "v1"} {
		git := cachedGit(r, dir)
		c.lists.Store(0)
		got, err := fetch(git, ref, "a")
		require.NoError(t, err)
		assert.Equal(t, "one", got)
		assert.Zero(t, c.lists.Load())
		r.Commit("main", kptfile("a", "two"), kptfile("b", "two"))
		r.Git("tag", "-d", "v1")
		r.Git("update-ref", "refs/heads/a/main", "main") // would win
		for _, pkg := range []string{"a", "b"} {
			got, err = fetch(git, ref, pkg)
			require.NoError(t, err)
			assert.Equal(t, "one", got, "%s of %s", pkg, ref)
		}
		got, err = fetch(git, ref, "a")
		require.NoError(t, err)
		assert.Equal(t, "one", got)
		r.Git("update-ref", "-d", "refs/heads/a/main")
		r.Git("update-ref", "refs/heads/main", first)
		r.Git("tag", "-a", "-m", "x", "v1", first)
	}
	r.Git("tag", "-d", "v1")
	_, err := fetch(cachedGit(r, dir), "v1", "a")
	require.ErrorIs(t, err, repository.ErrNotFound)
}

func TestCachedBranchMoves(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "one"))
	url, dir := r.ServeHTTP(filtering, nil), t.TempDir()
	for _, want := range []string{"one", "two"} {
		tree, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.NoError(t, err)
		assert.Equal(t, want, content(t, tree, "Kptfile"))
		r.Commit("main", kptfile("", "two"))
	}
}

// A ref of 40 digits is that commit, whatever somebody calls a branch.
func TestBranchNamedLikeACommit(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("main", kptfile("p", "locked"))
	r.Git("update-ref", "refs/heads/"+first, r.Commit("main", kptfile("p", "other")))
	r.Git("update-ref", "refs/tags/p/"+first, "main")
	for _, way := range ways {
		tree, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: way.serve(r), Ref: first, Directory: "p"})
		require.NoError(t, err)
		assert.Equal(t, first, lock.Commit)
		assert.Equal(t, "locked", content(t, tree, "Kptfile"))
	}
}

func TestCacheDamaged(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	commit := r.Commit("main", kptfile("a", "this is a"), kptfile("b", "this is b"))
	var c traffic
	url := r.ServeHTTP(filtering, c.count)
	dir := t.TempDir()
	fetch := func(pkg string) {
		t.Helper()
		tree, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: commit, Directory: pkg})
		require.NoError(t, err)
		assert.Equal(t, "this is "+pkg, content(t, tree, "Kptfile"))
	}
	fetch("a")
	ofA := kept(t, dir)[0]
	whole, err := os.ReadFile(ofA)
	require.NoError(t, err)
	fetch("b")
	others := kept(t, dir)
	require.Len(t, others, 2)
	ofB := others[0]
	if ofB == ofA {
		ofB = others[1]
	}
	another, err := os.ReadFile(ofB)
	require.NoError(t, err)

	damaged := map[string][]byte{"empty": nil, "cut": whole[:len(whole)/2], "another package's": another, "text": []byte("hello")}
	for i := 0; i < len(whole); i += len(whole) / 10 {
		damaged[fmt.Sprint("byte ", i)] = append(append(bytes.Clone(whole[:i]), whole[i]^0x55), whole[i+1:]...)
	}
	for name, content := range damaged {
		require.NoError(t, os.WriteFile(ofA, content, 0o600))
		c.lists.Store(0)
		fetch("a")
		assert.EqualValues(t, 1, c.lists.Load(), name)
		healed, err := os.ReadFile(ofA)
		require.NoError(t, err)
		assert.Equal(t, whole, healed, name)
	}
	c.lists.Store(0)
	fetch("a")
	assert.Zero(t, c.lists.Load())
}

func TestCacheKeepsApart(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	r := repositorytest.New(t)
	commit := r.Commit("main", kptfile("", "x"))
	closed := r.ServeHTTP(filtering, guarded(&tries))
	dir := t.TempDir()
	with := repository.GitRef{Repo: closed, Ref: commit, Credential: secret(t, map[string]string{"token": password})}
	_, _, err := cachedGit(r, dir).Fetch(t.Context(), with)
	require.NoError(t, err)
	tries.Store(0)
	_, _, err = cachedGit(r, dir).Fetch(t.Context(), with)
	require.NoError(t, err)
	assert.Zero(t, tries.Load())
	_, _, err = cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: closed, Ref: commit})
	require.ErrorContains(t, err, "needs credentials (401)", "what was read with credentials isn't given to who has none")

	// Names that a simpler key would take for one another.
	url := r.ServeHTTP(filtering, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			req.URL.Path = req.URL.Path[strings.Index(req.URL.Path, "/repo.git"):]
			next.ServeHTTP(w, req)
		})
	})
	for _, parent := range []string{"/team/a-b", "/team-a/b"} {
		repo := strings.Replace(url, "/repo.git", parent+"/repo.git", 1)
		_, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: repo, Ref: commit})
		require.NoError(t, err)
	}
	assert.Len(t, kept(t, dir), 3)

	git := cachedGit(r, dir)
	git.Access = repository.Access{}
	_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: commit})
	require.ErrorContains(t, err, "is not allowed", "the cache is no way around Access")
	git = cachedGit(r, dir)
	git.Limits.FileBytes = 0
	git.Limits.TotalBytes = 1
	_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: commit})
	require.NoError(t, err)
	r2 := r.Commit("main", kptfile("", "more than one byte"))
	_, _, err = cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: r2})
	require.NoError(t, err)
	git = cachedGit(r, dir)
	git.Limits.TotalBytes = 1
	_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: r2})
	require.ErrorContains(t, err, "more than 1 bytes", "limits hold for what is cached too")
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	var entries []entry
	for i := range 10 {
		entries = append(entries, entry{Path: fmt.Sprintf("p%02d/f", i), Content: fmt.Sprint(i) + noise(10_000)})
	}
	commit := r.Commit("main", entries...)
	var c traffic
	url, dir := r.ServeHTTP(filtering, c.count), t.TempDir()
	cache := &repository.Cache{Dir: dir, MaxBytes: 30_000}
	fetch := func(p int) {
		git := newGit(r)
		git.Cache = cache
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: commit, Directory: fmt.Sprintf("p%02d", p)})
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond) // times of use differ
	}
	for i := range 10 {
		fetch(i)
		fetch(0) // stays in use
	}
	size := int64(0)
	for _, name := range kept(t, dir) {
		info, err := os.Stat(name)
		require.NoError(t, err)
		size += info.Size()
	}
	assert.LessOrEqual(t, size, int64(30_000))
	assert.Greater(t, size, int64(15_000))
	c.lists.Store(0)
	fetch(0)
	fetch(9)
	assert.Zero(t, c.lists.Load(), "what was used last is kept")
	fetch(1)
	assert.EqualValues(t, 1, c.lists.Load())

	// What a crash left goes, what another process is writing stays.
	sub := filepath.Dir(kept(t, dir)[0])
	old, fresh := filepath.Join(sub, "temp-old"), filepath.Join(sub, "temp-fresh")
	for _, name := range []string{old, fresh} {
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
	}
	long := time.Now().Add(-2 * time.Hour)
	require.NoError(t, os.Chtimes(old, long, long))
	cache = &repository.Cache{Dir: dir, MaxBytes: 30_000} // another run
	fetch(5)
	assert.NoFileExists(t, old)
	assert.FileExists(t, fresh)
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url := r.ServeHTTP(nil, nil)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{"", file, filepath.Join(file, "below")} {
		_, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		assert.NoError(t, err)
	}
	dir := t.TempDir()
	_, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main"})
	require.NoError(t, err)
	assert.Empty(t, kept(t, dir), "what is on disk isn't copied")
}

func TestCacheSharedByMany(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	var entries []entry
	for i := range 4 {
		entries = append(entries, kptfile(fmt.Sprint("p", i), fmt.Sprint(i)))
	}
	commit := r.Commit("main", entries...)
	url, dir := r.ServeHTTP(filtering, nil), t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { // each as another process would
			git := cachedGit(r, dir)
			git.Cache.MaxBytes = 1000
			for j := range 4 {
				p := fmt.Sprint((i + j) % 4)
				tree, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: commit, Directory: "p" + p})
				if assert.NoError(t, err) {
					assert.Equal(t, p, content(t, tree, "Kptfile"))
				}
			}
		})
	}
	wg.Wait()
}

func TestDefaultCacheDir(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/somewhere")
	t.Setenv("HOME", "/home/x")
	assert.Equal(t, "stoop", filepath.Base(repository.DefaultCacheDir()))
}
