//go:build unix

package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// errand is what another process is to do with a repository.
type errand struct {
	URL, Files, Cache string
	Package           string
	Workspaces        []string // of the revisions that it is to publish, in order
	Read              bool     // whether it is to read all revisions
}

const errandVariable = "STOOP_TEST_ERRAND"

// TestMain is also the other process.
func TestMain(m *testing.M) {
	text := os.Getenv(errandVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var e errand
	err := json.Unmarshal([]byte(text), &e)
	if err == nil {
		err = e.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (e errand) run(ctx context.Context) error {
	o := &repository.Opener{
		Git: &repository.Git{
			Access:     repository.Access{Network: []string{"127.0.0.1"}, FileRepos: []string{e.Files}},
			Cache:      &repository.Cache{Dir: e.Cache},
			RetryDelay: 10 * time.Millisecond,
		},
		Warn: func(err error) { fmt.Fprintln(os.Stderr, "warning:", err) },
	}
	r, err := o.Open(ctx, declared(e.URL, ""))
	if err != nil {
		return err
	}
	if e.Read {
		all, err := r.Revisions(ctx, repository.Filter{})
		if err != nil {
			return err
		}
		for _, rev := range all {
			if _, err := r.Resources(ctx, rev); err != nil {
				return err
			}
		}
	}
	for _, workspace := range e.Workspaces {
		d, err := r.CreateDraft(ctx, e.Package, workspace)
		if err != nil {
			return err
		}
		content, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(workspace)))
		if err != nil {
			return err
		}
		if err := d.UpdateResources(ctx, content, nil); err != nil {
			return err
		}
		rev, err := r.CloseDraft(ctx, d, repository.Close{Lifecycle: api.Published})
		if err != nil {
			return err
		}
		fmt.Println(rev.Number, rev.Workspace)
	}
	return o.Close()
}

// send has another process do an errand, and kill itself where kill says.
func send(t *testing.T, e errand, kill string) (stdout, stderr string, err error) {
	t.Helper()
	text, err := json.Marshal(e)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), errandVariable+"="+string(text), "STOOP_TEST_KILL="+kill)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Processes that publish one package at the same time get one number each.
func TestPublishRace(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name  string
		serve func(*repositorytest.Repo) string
		cache string // "shared", "own" or none
	}{
		{"local", writableWays[0].serve, ""},
		{"http, a cache each", writableWays[2].serve, "own"},
		{"http, one cache", writableWays[2].serve, "shared"},
		{"git, no cache", writableWays[4].serve, ""},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			git := repositorytest.New(t)
			git.Commit("main", entry{Path: "README.md"})
			url, shared := way.serve(git), t.TempDir()
			const processes, each = 3, 4
			var (
				wg   sync.WaitGroup
				mu   sync.Mutex
				said []string
			)
			for p := range processes {
				e := errand{URL: url, Files: filepath.Dir(git.Dir), Package: "apps/web", Workspaces: workspaces(fmt.Sprint("p", p), each)}
				switch way.cache {
				case "own":
					e.Cache = t.TempDir()
				case "shared":
					e.Cache = shared
				}
				wg.Go(func() {
					stdout, stderr, err := send(t, e, "")
					assert.NoError(t, err, stderr)
					assert.Empty(t, stderr)
					mu.Lock()
					defer mu.Unlock()
					said = append(said, strings.Fields(strings.ReplaceAll(strings.TrimSpace(stdout), " ", ":"))...)
				})
			}
			wg.Wait()
			r := open(t, openerFor(t, git, ""), declared(git.Dir, ""))
			all, err := r.Revisions(t.Context(), repository.Filter{Lifecycles: []api.Lifecycle{api.Published}})
			require.NoError(t, err)
			var numbers []int
			var there []string
			for _, rev := range all {
				if rev.IsPlaceholder() {
					continue
				}
				numbers = append(numbers, rev.Number)
				there = append(there, fmt.Sprintf("%d:%s", rev.Number, rev.Workspace))
				tree, err := r.Resources(t.Context(), rev)
				require.NoError(t, err)
				assert.Equal(t, rev.Workspace, content(t, tree, "Kptfile"))
			}
			var want []int
			for n := range processes * each {
				want = append(want, n+1)
			}
			assert.Equal(t, want, numbers)
			assert.ElementsMatch(t, there, said, "each process knows its own numbers")
			assert.Equal(t, fmt.Sprint(processes*each), git.Git("rev-list", "--count", "--merges", "--first-parent", "main"))
			git.Git("fsck", "--strict", "--full")
		})
	}
}

// Many processes use one cache, fresh at first.
func TestManyProcessesOneCache(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	r := open(t, openerFor(t, git, ""), declared(git.Dir, ""))
	for i := range 3 {
		closeNew(t, r, fmt.Sprint("pkg-", i), "v1", "x", api.Published)
	}
	var uploads atomic.Int64
	url := git.ServeHTTP(slices.Concat(writable, filtering), func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
				uploads.Add(1)
			}
			h.ServeHTTP(w, req)
		})
	})
	const processes = 50
	cache := t.TempDir()
	var wg sync.WaitGroup
	for p := range processes {
		e := errand{URL: url, Files: "/nowhere", Cache: cache, Package: fmt.Sprint("new-", p), Read: true}
		if p%10 == 0 {
			e.Workspaces = []string{"v1"}
		}
		wg.Go(func() {
			_, stderr, err := send(t, e, "")
			assert.NoError(t, err, stderr)
			assert.Empty(t, stderr)
		})
	}
	wg.Wait()
	assert.Less(t, uploads.Load(), int64(processes), "what one has fetched the others needn't")
	require.NoError(t, r.Refresh(t.Context()))
	all, err := r.Packages(t.Context(), repository.Filter{})
	require.NoError(t, err)
	assert.Len(t, all, 3+processes/10)
	git.Git("fsck", "--strict", "--full")
	assertNothingTemporary(t, cache)
}

func assertNothingTemporary(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		assert.NotContains(t, d.Name(), "tmp_obj")
		return err
	}))
}

// A process is killed at any step of publishing: the revision is there as a
// whole or not at all, and neither git nor another process is in trouble.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		way      int // of writableWays
		kill     string
		loose    bool // whether refs are in files of their own
		there    bool // whether the revision is there afterwards
		recovers bool // whether git has to wait for the next of our processes
	}{
		{0, "planned", false, false, false},
		{0, "temporary", false, false, false},
		{0, "objects", false, false, false},
		{0, "locking", false, false, true},
		{0, "locked", false, false, true},
		{0, "packed", true, false, true},
		{0, "ready", true, false, true},
		{0, "ready", false, false, true},
		{0, "written", true, true, true},
		{2, "fetched", false, false, false},
		{2, "indexed", false, false, false},
		{2, "planned", false, false, false},
		{2, "pushed", false, true, false},
	} {
		t.Run(fmt.Sprint(writableWays[tc.way].name, " ", tc.kill, " ", tc.loose), func(t *testing.T) {
			t.Parallel()
			git := repositorytest.New(t)
			var entries []entry
			for i := range 100 { // more than are kept one by one
				entries = append(entries, entry{Path: fmt.Sprintf("dir-%d/file", i), Content: fmt.Sprint(i)})
			}
			git.Commit("main", entries...)
			if !tc.loose {
				git.Git("pack-refs", "--all")
			}
			e := errand{URL: writableWays[tc.way].serve(git), Files: filepath.Dir(git.Dir), Cache: t.TempDir(), Package: "apps/web", Workspaces: []string{"first"}}
			main := git.Git("rev-parse", "main")
			_, _, err := send(t, e, tc.kill)
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "the step was reached")

			git.Git("fsck", "--strict", "--full")
			if tc.there {
				assert.Equal(t, []string{"refs/heads/main", "refs/tags/apps/web/v1"}, refsOf(git))
				assert.Equal(t, git.Git("rev-parse", "main"), git.Git("rev-parse", "apps/web/v1"))
			} else {
				assert.Equal(t, []string{"refs/heads/main"}, refsOf(git))
				assert.Equal(t, main, git.Git("rev-parse", "main"))
			}
			if !tc.recovers {
				git.Git("update-ref", "refs/heads/main", "main", "main")
			}
			e.Workspaces = []string{"second"}
			stdout, stderr, err := send(t, e, "")
			require.NoError(t, err, stderr)
			assert.Empty(t, stderr)
			want := "1 second\n"
			if tc.there {
				want = "2 second\n"
			}
			assert.Equal(t, want, stdout)
			git.Git("update-ref", "refs/heads/main", "main", "main")
			git.Git("pack-refs", "--all")
			git.Git("fsck", "--strict", "--full")
			assertNothingTemporary(t, e.Cache)
			git.Git("prune", "--expire=now") // what was begun is git's to remove
			assertNothingTemporary(t, git.Dir)
			locks, err := filepath.Glob(filepath.Join(git.Dir, "*.lock"))
			require.NoError(t, err)
			assert.Empty(t, locks)
		})
	}
}

// cutter cuts connections to a git server.
type cutter struct {
	left    atomic.Int64 // how many more
	path    string       // of the requests that are cut
	request bool         // whether the request is cut, else its answer
	after   int64        // bytes
}

func (c *cutter) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, c.path) || c.left.Add(-1) < 0 {
			h.ServeHTTP(w, req)
			return
		}
		if c.request {
			_, _ = io.CopyN(io.Discard, req.Body, c.after)
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(&cutWriter{ResponseWriter: w, left: c.after}, req)
		panic(http.ErrAbortHandler) // for answers that are shorter
	})
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		w.ResponseWriter.(http.Flusher).Flush()
		w.left = 0
		return len(p), nil // the server goes on, nobody hears it
	}
	w.left -= int64(len(p))
	return w.ResponseWriter.Write(p)
}

// A connection that is dropped is tried again; when that doesn't help nothing
// has happened, and it is said.
func TestFetchDropped(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	var entries []entry
	for i := range 300 {
		entries = append(entries, entry{Path: fmt.Sprintf("pkg-%d/file", i), Content: noise(500) + fmt.Sprint(i)}, kptfile(fmt.Sprint("pkg-", i), "x"))
	}
	git.Commit("main", entries...)
	for _, after := range []int64{0, 10, 200, 5000} {
		c := &cutter{path: "/git-upload-pack", after: after}
		url, cache := git.ServeHTTP(writable, c.wrap), t.TempDir()
		c.left.Store(1000)
		_, err := openerFor(t, git, cache).Open(t.Context(), declared(url, ""))
		require.Error(t, err)
		assert.Contains(t, err.Error(), "repository "+url+": ")
		assertNothingTemporary(t, cache)
		c.left.Store(2)
		r := open(t, openerFor(t, git, cache), declared(url, ""))
		assert.Len(t, listed(t, r), 300)
	}
}

func TestPushDropped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request bool
		after   int64
		times   int64
		done    bool
	}{
		{"request once", true, 100, 1, true},
		{"request always", true, 100, 1000, false},
		{"answer once", false, 0, 1, true},
		{"answer always", false, 0, 1000, true}, // the repository says that it was made
		{"half an answer", false, 10, 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			git := repositorytest.New(t)
			git.Commit("main", entry{Path: "README.md"})
			c := &cutter{path: "/git-receive-pack", request: tc.request, after: tc.after}
			r := open(t, openerFor(t, git, t.TempDir()), declared(git.ServeHTTP(writable, c.wrap), ""))
			c.left.Store(tc.times)
			d, err := r.CreateDraft(t.Context(), "a", "w")
			require.NoError(t, err)
			require.NoError(t, d.UpdateResources(t.Context(), files(t, map[string]string{"Kptfile": "x"}), nil))
			_, err = r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Published})
			if tc.done {
				require.NoError(t, err)
				assert.Equal(t, []string{"refs/heads/main", "refs/tags/a/v1"}, refsOf(git))
			} else {
				require.ErrorContains(t, err, "the push failed and changed nothing")
				assert.Equal(t, []string{"refs/heads/main"}, refsOf(git))
				assert.Equal(t, "1", git.Git("rev-list", "--count", "main"))
				c.left.Store(0) // the draft isn't lost
				_, err = r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Published})
				require.NoError(t, err)
			}
			assert.Len(t, listed(t, r), 2)
			git.Git("fsck", "--strict", "--full")
		})
	}
}

// What a server's hook says is heard.
func TestHookDeclined(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"pre-receive": `refs/heads/drafts/a/w: "pre-receive hook declined"; it says "not on a Sunday"`,
		"update":      `refs/heads/drafts/a/w: "hook declined"; it says "not on a Sunday error: hook declined to update refs/heads/drafts/a/w"`,
	} {
		for _, way := range writableWays[2:] {
			t.Run(name+" "+way.name, func(t *testing.T) {
				t.Parallel()
				git := repositorytest.New(t)
				git.Commit("main", entry{Path: "README.md"})
				r := open(t, openerFor(t, git, ""), declared(way.serve(git), ""))
				hook(t, git, name, "echo not on a Sunday >&2; exit 1")
				d, err := r.CreateDraft(t.Context(), "a", "w")
				require.NoError(t, err)
				require.NoError(t, d.UpdateResources(t.Context(), files(t, map[string]string{"Kptfile": "x"}), nil))
				_, err = r.CloseDraft(t.Context(), d, repository.Close{})
				require.ErrorContains(t, err, want)
				require.NotErrorIs(t, err, repository.ErrConflict)
				assert.Equal(t, []string{"refs/heads/main"}, refsOf(git))
				git.Git("fsck", "--strict", "--full")
			})
		}
	}
}

// A server that can't change refs together isn't given half of a revision.
func TestNotAtomic(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	r := open(t, openerFor(t, git, ""), declared(git.ServeHTTP(append(slices.Clone(writable), "receive.advertiseAtomic=false"), nil), ""))
	rev := closeNew(t, r, "a", "w", "x", api.Draft)
	d, err := r.OpenDraft(t.Context(), rev)
	require.NoError(t, err)
	_, err = r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Proposed})
	require.ErrorContains(t, err, "the server can't change several refs at once (atomic)")
	r = open(t, openerFor(t, git, ""), declared(git.ServeHTTP(nil, nil), ""))
	d, err = r.OpenDraft(t.Context(), rev)
	require.NoError(t, err)
	_, err = r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Proposed})
	require.ErrorContains(t, err, "access denied (403)")
	assert.Equal(t, []string{"refs/heads/drafts/a/w", "refs/heads/main"}, refsOf(git))
}

// A cache that is damaged in any way is made anew, and one that can't be written
// is done without.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	var entries []entry
	for i := range 100 {
		entries = append(entries, kptfile(fmt.Sprint("pkg-", i), fmt.Sprint("x", i)))
	}
	git.Commit("main", entries...)
	each := func(pattern string, do func(name string)) func(string) {
		return func(cache string) {
			all, err := filepath.Glob(filepath.Join(cache, "git-v1", "*", pattern))
			require.NoError(t, err)
			require.NotEmpty(t, all)
			for _, name := range all {
				require.NoError(t, os.Chmod(name, 0o600))
				do(name)
			}
		}
	}
	rewrite := func(change func([]byte) []byte) func(string) {
		return func(name string) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(name, change(text), 0o600))
		}
	}
	garble := rewrite(func(text []byte) []byte {
		for i := len(text) / 3; i < len(text); i += 7 {
			text[i] ^= 0x55
		}
		return text
	})
	cutShort := rewrite(func(text []byte) []byte { return text[:len(text)/2] })
	empty := rewrite(func([]byte) []byte { return nil })
	remove := func(name string) { require.NoError(t, os.Remove(name)) }
	for name, damage := range map[string]func(string){
		"pack garbled":   each("objects/pack/*.pack", garble),
		"pack cut":       each("objects/pack/*.pack", cutShort),
		"pack empty":     each("objects/pack/*.pack", empty),
		"pack gone":      each("objects/pack/*.pack", remove),
		"index garbled":  each("objects/pack/*.idx", garble),
		"index cut":      each("objects/pack/*.idx", cutShort),
		"index empty":    each("objects/pack/*.idx", empty),
		"index gone":     each("objects/pack/*.idx", remove),
		"refs garbled":   each("packed-refs", garble),
		"refs empty":     each("packed-refs", empty),
		"config garbled": each("config", rewrite(func([]byte) []byte { return []byte("[[[") })),
		"no repository":  each("HEAD", remove),
		"objects gone":   each("objects", func(name string) { require.NoError(t, os.Chmod(name, 0o700)); require.NoError(t, os.RemoveAll(name)) }),
		"a file": each("", func(name string) {
			require.NoError(t, os.Chmod(name, 0o700))
			require.NoError(t, os.RemoveAll(name))
			writeFile(t, name, "x", 0o600)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, cache := git.ServeHTTP(nil, nil), t.TempDir()
			open(t, openerFor(t, git, cache), declared(url, ""))
			damage(cache)
			var warnings []string
			o := openerFor(t, git, cache)
			o.Warn = func(err error) { warnings = append(warnings, err.Error()) }
			r := open(t, o, declared(url, ""))
			all, err := r.Revisions(t.Context(), repository.Filter{})
			require.NoError(t, err)
			require.Len(t, all, 100)
			for _, rev := range all {
				tree, err := r.Resources(t.Context(), rev)
				require.NoError(t, err)
				assert.Equal(t, "x"+strings.TrimPrefix(rev.Package, "pkg-"), content(t, tree, "Kptfile"))
			}
			for _, w := range warnings {
				assert.Contains(t, w, "cache ")
			}
			// And it is whole now.
			r = open(t, openerFor(t, git, cache), declared(url, ""))
			assert.Len(t, listed(t, r), 100)
		})
	}
}

// unlike is a text that takes much space beside others of its kind.
func unlike(i int) string {
	var b strings.Builder
	for j := range 40 {
		fmt.Fprintf(&b, "%x", sha256.Sum256(fmt.Append(nil, i, j)))
	}
	return b.String()
}
