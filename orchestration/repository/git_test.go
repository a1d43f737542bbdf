package repository_test

import (
	"crypto/sha1"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

type entry = repositorytest.Entry

// kptfile is a package of one file that says which it is.
func kptfile(dir, says string) entry {
	return entry{Path: strings.TrimPrefix(dir+"/Kptfile", "/"), Content: says}
}

// ways are the ways to reach a repository, which must not make a difference.
var ways = []struct {
	name  string
	serve func(*repositorytest.Repo) string
}{
	{"local", func(r *repositorytest.Repo) string { return r.Dir }},
	{"http filter", func(r *repositorytest.Repo) string { return r.ServeHTTP(filtering, nil) }},
	{"http filter but no sha", func(r *repositorytest.Repo) string { return r.ServeHTTP([]string{"uploadpack.allowFilter=true"}, nil) }},
	{"http plain", func(r *repositorytest.Repo) string { return r.ServeHTTP(nil, nil) }},
	{"git filter", func(r *repositorytest.Repo) string { return r.ServeGit(filtering) }},
	{"git plain", func(r *repositorytest.Repo) string { return r.ServeGit(nil) }},
}

var filtering = []string{"uploadpack.allowFilter=true", "uploadpack.allowReachableSHA1InWant=true"}

func newGit(r *repositorytest.Repo) *repository.Git {
	return &repository.Git{Access: repository.Access{Network: []string{"127.0.0.1"}, FileRepos: []string{filepath.Dir(r.Dir)}}}
}

func content(t *testing.T, tree kptpkg.Tree, path string) string {
	t.Helper()
	require.NotNil(t, tree.File(path), "%s in %q", path, tree.Paths())
	b, err := tree.File(path).Bytes()
	require.NoError(t, err)
	return string(b)
}

func TestRefs(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("main", kptfile("pkg", "first"), kptfile("other", "first"))
	second := r.Commit("main", kptfile("pkg", "second"), kptfile("other", "second"))
	r.Commit("main", kptfile("pkg", "head"), kptfile("other", "head"))
	r.Commit("both", kptfile("pkg", "branch both"))
	r.Git("tag", "both", first)
	r.Git("tag", "v1", second)
	r.Git("tag", "pkg/v1", first)
	r.Git("tag", "-a", "-m", "x", "annotated", first)
	r.Git("tag", "-a", "-m", "x", "nested", "annotated")
	r.Commit("pkg/dev", kptfile("pkg", "branch pkg/dev"))
	r.Commit("dev", kptfile("pkg", "branch dev"), kptfile("other", "branch dev"))
	r.Git("tag", "blob", r.Git("rev-parse", "main:pkg/Kptfile"))
	r.Git("update-ref", "refs/changes/1", first)
	lost := r.Commit("gone", kptfile("pkg", "lost"))
	r.Git("update-ref", "-d", "refs/heads/gone")

	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			url := way.serve(r)
			git := newGit(r)
			for _, tc := range []struct{ dir, ref, want string }{
				{"pkg", "main", "head"},
				{"pkg", "HEAD", "head"},
				{"pkg", "v1", "first"},    // the tag pkg/v1
				{"other", "v1", "second"}, // the tag v1
				{"pkg", "pkg/v1", "first"},
				{"pkg", "dev", "branch pkg/dev"},
				{"other", "dev", "branch dev"},
				{"pkg", "both", "first"}, // the tag
				{"pkg", "refs/heads/both", "branch both"},
				{"pkg", "refs/changes/1", "first"},
				{"pkg", "annotated", "first"},
				{"pkg", "nested", "first"},
				{"pkg", first, "first"},
				{"pkg", strings.ToUpper(second), "second"},
			} {
				tree, lock, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: tc.ref, Directory: "/" + tc.dir + "/"})
				require.NoError(t, err, "%s %s", tc.dir, tc.ref)
				assert.Equal(t, tc.want, content(t, tree, "Kptfile"), "%s %s", tc.dir, tc.ref)
				assert.Equal(t, repository.GitLock{Repo: url, Directory: tc.dir, Ref: tc.ref, Commit: lock.Commit}, lock)
				if tc.want == "first" {
					assert.Equal(t, first, lock.Commit)
				}
			}

			branch, err := git.DefaultRef(t.Context(), url)
			require.NoError(t, err)
			assert.Equal(t, "main", branch)

			_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "v2", Directory: "pkg"})
			require.ErrorIs(t, err, repository.ErrNotFound)
			assert.Equal(t, `repository `+url+`: ref "v2" not found: there is v1, dev, blob, both, main`, err.Error())
			_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "blob", Directory: "pkg"})
			require.ErrorContains(t, err, "leads to no commit")
			_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: strings.Repeat("0a", 20), Directory: "pkg"})
			require.ErrorIs(t, err, repository.ErrNotFound)
			if way.name != "local" {
				_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: lost, Directory: "pkg"})
				require.ErrorIs(t, err, repository.ErrNotFound, "no ref leads to it")
			}
		})
	}
}

func TestAbbreviatedCommit(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	commit := r.Commit("main", kptfile("", "x"))
	for _, n := range []int{7, 8, 39} {
		_, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: commit[:n]})
		require.NoError(t, err)
		assert.Equal(t, commit, lock.Commit)
	}
	// Two commits that begin alike: of a thousand, some do.
	tree, seen := r.Git("rev-parse", "main^{tree}"), map[string]string{}
	for i := 0; ; i++ {
		text := fmt.Sprintf("tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n%d\n", tree, i)
		hash := fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text)))
		if other, twice := seen[hash[:4]]; twice {
			require.Equal(t, hash, r.Object("commit", text))
			r.Object("commit", other)
			_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: hash[:4]})
			require.ErrorContains(t, err, "is ambiguous")
			break
		}
		seen[hash[:4]] = text
	}
	_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: r.ServeHTTP(nil, nil), Ref: commit[:10]})
	require.ErrorIs(t, err, repository.ErrNotFound)
	assert.ErrorContains(t, err, "all of its 40 digits")
}

// A server doesn't say that its HEAD is detached, it says nothing: the branch
// that points to the same commit is taken, as git clone does.
func TestDefaultRefOfDetachedHead(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("trunk", kptfile("", "x"))
	r.Git("update-ref", "refs/heads/a", r.Commit("trunk", kptfile("", "y")))
	r.Git("update-ref", "--no-deref", "HEAD", r.Git("rev-parse", "trunk"))
	for _, way := range ways {
		branch, err := newGit(r).DefaultRef(t.Context(), way.serve(r))
		require.NoError(t, err)
		assert.Equal(t, "a", branch, way.name)
	}
	r.Git("update-ref", "--no-deref", "HEAD", first)
	for _, way := range ways {
		_, err := newGit(r).DefaultRef(t.Context(), way.serve(r))
		assert.ErrorIs(t, err, repository.ErrNotFound, way.name)
	}
}

func TestMissingDirectoryNamesPackages(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("apps/redis", ""), kptfile("apps/web", ""), kptfile("infra/net/vpc", ""), entry{Path: "docs/redis/README"}, entry{Path: "lib", Mode: repositorytest.Submodule, Content: strings.Repeat("1", 40)})
	git := newGit(r)
	_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main", Directory: "apps/redsi"})
	require.ErrorIs(t, err, repository.ErrNotFound)
	assert.Equal(t, "repository "+r.Dir+": at main: directory apps/redsi not found: there are packages in apps/redis, apps/web, infra/net/vpc", err.Error())
	_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main", Directory: "lib/x"})
	assert.ErrorContains(t, err, `is in the submodule "lib"`)
}

func TestRootAndBadDirectories(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "root"))
	git := newGit(r)
	for _, dir := range []string{"", "/", ".", "./", "//"} {
		_, lock, err := git.Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main", Directory: dir})
		require.NoError(t, err, dir)
		assert.Equal(t, "/", lock.Directory)
	}
	for _, dir := range []string{"..", "../x", "a/../..", "a/..", ".git", "a\\b", "a\nb"} {
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: r.Dir, Ref: "main", Directory: dir})
		require.Error(t, err, dir)
		assert.NotErrorIs(t, err, repository.ErrNotFound, dir)
	}
}

func TestWhatPackagesCannotHold(t *testing.T) {
	t.Parallel()
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
	cases := []struct {
		entry entry  // beside the Kptfile of a package
		want  string // "" is fine
	}{
		{entry{Path: "lib", Mode: repositorytest.Submodule, Content: strings.Repeat("1", 40)}, "lib is a submodule"},
		{entry{Path: "../lib", Mode: repositorytest.Submodule, Content: strings.Repeat("1", 40)}, ""},
		{entry{Path: "big.bin", Content: pointer}, "big.bin is a Git LFS pointer"},
		{entry{Path: "../big.bin", Content: pointer}, ""},
		{entry{Path: "doc.md", Content: pointer + strings.Repeat("x", 1024)}, ""},
		{entry{Path: "l", Mode: repositorytest.Symlink, Content: strings.Repeat("a/", 2049)}, "l: too big: 4098 bytes, more than 4096 bytes"},
		{entry{Path: "l", Mode: repositorytest.Symlink, Content: "."}, ""},
		{entry{Path: "odd", Mode: "150000"}, "neither a file nor a symlink"},
		{entry{Path: "group-writable", Mode: "100664"}, ""},
		{entry{Path: "Kptfile/x"}, "the same where case is ignored"},
		{entry{Path: "b\xff.txt"}, `path "b\xff.txt" is not UTF-8`},
		{entry{Path: "db/.Stoop/x"}, "db/.Stoop: the name .Stoop is reserved for stoop's own files"},
	}
	r := repositorytest.New(t)
	var entries []entry
	for i, tc := range cases {
		dir := fmt.Sprintf("%d/p", i)
		tc.entry.Path = path.Join(dir, tc.entry.Path)
		entries = append(entries, kptfile(dir, "x"), tc.entry)
	}
	r.Commit("main", entries...)
	for _, way := range ways[:2] {
		url, git := way.serve(r), newGit(r)
		for i, tc := range cases {
			_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: fmt.Sprintf("%d/p", i)})
			if tc.want == "" {
				assert.NoError(t, err, "%s %v", way.name, tc.entry)
			} else {
				assert.ErrorContains(t, err, tc.want, way.name)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("p", "1234567890"), kptfile("p/a/b", "1234567890"), entry{Path: "q/huge", Content: strings.Repeat("x", 5000)})
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			url := way.serve(r)
			for _, tc := range []struct {
				limits repository.Limits
				want   string
			}{
				{repository.Limits{Files: 4, FileBytes: 1000, TotalBytes: 20, Depth: 3}, ""},
				{repository.Limits{Files: 3}, "more than 3 files"},
				{repository.Limits{FileBytes: 100, TotalBytes: 19}, "more than 19 bytes"},
				{repository.Limits{Depth: 2}, "nested more than 2"},
			} {
				git := newGit(r)
				git.Limits = tc.limits
				_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "p"})
				if tc.want == "" {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, tc.want)
				}
			}
			git := newGit(r)
			git.Limits.FileBytes = 4999
			_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "q"})
			assert.ErrorContains(t, err, "5000 bytes, more than 4999 bytes")
			_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "p"})
			assert.NoError(t, err, "what is too big elsewhere doesn't matter")
		})
	}
}

// A few trees that hold one another ten times over, ten levels deep, are ten
// billion files.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	tree := r.Tree(kptfile("", "x"))
	for range 10 {
		var ten []entry
		for i := range 10 {
			ten = append(ten, entry{Mode: "40000", Path: fmt.Sprint("d", i), Content: tree})
		}
		tree = r.Subtrees(ten...)
	}
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", "-m", "x", tree))
	r.Git("gc", "-q")
	for _, way := range ways[:2] {
		url := way.serve(r)
		git := newGit(r)
		git.Limits.Files = 20_000
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.ErrorContains(t, err, "more than 20000 files and directories")
		_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "missing"})
		require.ErrorIs(t, err, repository.ErrNotFound)
	}
}

func TestBranchIsPinnedForOneRun(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	first := r.Commit("main", kptfile("a", "one"), kptfile("b", "one"))
	for _, way := range ways {
		r.Git("update-ref", "refs/heads/main", first)
		url := way.serve(r)
		git := newGit(r)
		_, before, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "a"})
		require.NoError(t, err)
		r.Commit("main", kptfile("a", "two"), kptfile("b", "two"))
		tree, after, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "b"})
		require.NoError(t, err)
		assert.Equal(t, before.Commit, after.Commit, way.name)
		assert.Equal(t, "one", content(t, tree, "Kptfile"), way.name)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	var entries []entry
	for i := range 8 {
		entries = append(entries, kptfile(fmt.Sprint("p", i), fmt.Sprint(i)))
	}
	r.Commit("main", entries...)
	r.Git("gc", "-q")
	for _, way := range ways {
		git, url := newGit(r), way.serve(r)
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				tree, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: fmt.Sprint("p", i%8)})
				if assert.NoError(t, err) {
					assert.Equal(t, fmt.Sprint(i%8), content(t, tree, "Kptfile"))
				}
			})
		}
		wg.Wait()
	}
}

func TestZeroGitReadsNothing(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	var git repository.Git
	for _, url := range []string{r.Dir, "https://github.com/o/r"} {
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		assert.ErrorContains(t, err, "is not allowed")
		_, err = git.DefaultRef(t.Context(), url)
		assert.ErrorContains(t, err, "is not allowed")
	}
}
