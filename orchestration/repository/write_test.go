package repository_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

var writable = []string{"http.receivepack=true", "daemon.receivepack=true"}

// writableWays are the ways to a repository that can be changed.
var writableWays = []struct {
	name  string
	serve func(*repositorytest.Repo) string
	cache bool
}{
	{"local", func(r *repositorytest.Repo) string { return r.Dir }, false},
	{"http", func(r *repositorytest.Repo) string { return r.ServeHTTP(writable, nil) }, true},
	{"http filter", func(r *repositorytest.Repo) string { return r.ServeHTTP(slices.Concat(writable, filtering), nil) }, true},
	{"http without a cache", func(r *repositorytest.Repo) string { return r.ServeHTTP(writable, nil) }, false},
	{"git", func(r *repositorytest.Repo) string { return r.ServeGit(writable) }, true},
}

// declared is a Repository object.
func declared(url, dir string) *api.Repository {
	r := &api.Repository{Spec: api.RepositorySpec{Git: &api.GitRepository{Repo: url, Directory: dir}}}
	r.APIVersion, r.Kind, r.Metadata.Name = api.PorchConfigV1Alpha1, "Repository", "blueprints"
	return r
}

// openerFor opens r, with a cache in dir unless that is "". Warnings are
// failures.
func openerFor(t testing.TB, r *repositorytest.Repo, dir string) *repository.Opener {
	git := newGit(r)
	git.RetryDelay = time.Millisecond
	if dir != "" {
		git.Cache = &repository.Cache{Dir: dir}
	}
	o := &repository.Opener{Git: git, Warn: func(err error) { t.Errorf("warning: %v", err) }}
	t.Cleanup(func() { assert.NoError(t, o.Close()) })
	return o
}

func open(t testing.TB, o *repository.Opener, repo *api.Repository) repository.Repository {
	t.Helper()
	opened, err := o.Open(context.Background(), repo)
	require.NoError(t, err)
	return opened
}

func files(t testing.TB, content map[string]string) kptpkg.Tree {
	t.Helper()
	var all []*kptpkg.File
	for p, text := range content {
		all = append(all, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
	}
	tree, err := kptpkg.NewTree(all...)
	require.NoError(t, err)
	return tree
}

var initTask = &api.Task{Type: api.TaskInit, Init: &api.InitTask{Description: "a <b> & \"c\""}}

// closeNew makes a revision whose Kptfile says a text.
func closeNew(t testing.TB, r repository.Repository, pkg, workspace, says string, lifecycle api.Lifecycle) repository.Revision {
	t.Helper()
	d, err := r.CreateDraft(context.Background(), pkg, workspace)
	require.NoError(t, err)
	require.NoError(t, d.UpdateResources(context.Background(), files(t, map[string]string{"Kptfile": says}), initTask))
	rev, err := r.CloseDraft(context.Background(), d, repository.Close{Lifecycle: lifecycle})
	require.NoError(t, err)
	return rev
}

// move gives a revision another lifecycle.
func move(t testing.TB, r repository.Repository, rev repository.Revision, to api.Lifecycle) repository.Revision {
	t.Helper()
	d, err := r.OpenDraft(context.Background(), rev)
	require.NoError(t, err)
	moved, err := r.CloseDraft(context.Background(), d, repository.Close{Lifecycle: to})
	require.NoError(t, err)
	return moved
}

func listed(t testing.TB, r repository.Repository) []string {
	t.Helper()
	all, err := r.Revisions(context.Background(), repository.Filter{})
	require.NoError(t, err)
	var lines []string
	for _, rev := range all {
		lines = append(lines, show(rev))
	}
	return lines
}

func refsOf(r *repositorytest.Repo) []string {
	return strings.Fields(r.Git("for-each-ref", "--format=%(refname)"))
}

// The whole life of a package, in the layout that Porch has.
func TestRepositoryWorkflow(t *testing.T) {
	t.Parallel()
	for _, way := range writableWays {
		for _, dir := range []string{"", "deploy/prod"} {
			if dir != "" && way.name != "local" && way.name != "http filter" {
				continue // what the directory changes has nothing to do with the way
			}
			t.Run(way.name+" "+dir, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				git := repositorytest.New(t)
				git.Commit("main", entry{Path: "README.md", Content: "mine"}, entry{Path: "a/run.sh", Mode: repositorytest.Executable, Content: "x"})
				cache := ""
				if way.cache {
					cache = t.TempDir()
				}
				url := way.serve(git)
				r := open(t, openerFor(t, git, cache), declared(url, dir))
				p := ""
				if dir != "" {
					p = dir + "/"
				}
				first, err := r.Version(ctx)
				require.NoError(t, err)

				// A draft is nowhere until it is closed.
				d, err := r.CreateDraft(ctx, "apps/web", "ws-1")
				require.NoError(t, err)
				empty, err := d.Resources(ctx)
				require.NoError(t, err)
				assert.Zero(t, empty.Len())
				require.NoError(t, d.UpdateResources(ctx, files(t, map[string]string{"Kptfile": "one"}), initTask))
				tree, err := kptpkg.NewTree(
					kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("two")),
					kptpkg.NewFile("bin/run", kptpkg.Executable, []byte("#!")),
					kptpkg.NewFile("link", kptpkg.Symlink, []byte("bin/run")),
					kptpkg.NewFile("empty.yaml", kptpkg.Regular, nil),
				)
				require.NoError(t, err)
				require.NoError(t, d.UpdateResources(ctx, tree, nil))
				assert.Empty(t, listed(t, r))
				assert.Equal(t, []string{"refs/heads/main"}, refsOf(git))
				rev, err := r.CloseDraft(ctx, d, repository.Close{Author: repository.Author{Name: "Joe", Email: "joe@example.com"}, Labels: map[string]string{"team": "a"}})
				require.NoError(t, err)
				draft := "drafts/" + p + "apps/web/ws-1"
				assert.Equal(t, "blueprints.apps.web.ws-1 0 Draft "+p+"apps/web@"+draft, show(rev))
				assert.Equal(t, map[string]string{"team": "a"}, rev.Labels)
				assert.Equal(t, []string{show(rev)}, listed(t, r))
				assert.Equal(t, strings.Join([]string{
					"Rendering package|Joe|joe@example.com|Package Orchestration Service|porch@kpt.dev",
					"Creating new empty revision|Joe|joe@example.com|Package Orchestration Service|porch@kpt.dev",
				}, "\n"), git.Git("log", "--format=%s|%an|%ae|%cn|%ce", "main.."+draft))
				assert.Equal(t, `kpt:{"package":"`+p+`apps/web","workspaceName":"ws-1","revision":"0","task":{"init":{"description":"a \u003cb\u003e \u0026 \"c\""},"type":"init"},"labels":{"team":"a"}}`,
					strings.TrimSpace(git.Git("log", "--format=%b", "-1", draft+"~1")))
				assert.Equal(t, strings.Join([]string{
					"100644 " + p + "apps/web/Kptfile", "100755 " + p + "apps/web/bin/run", "100644 " + p + "apps/web/empty.yaml", "120000 " + p + "apps/web/link",
				}, "\n"), git.Git("ls-tree", "-r", "--format=%(objectmode) %(path)", draft, p+"apps/web"))
				assert.Equal(t, "x", git.Git("show", draft+":a/run.sh"))

				_, err = r.CreateDraft(ctx, "apps/web", "ws-1")
				require.ErrorContains(t, err, `package apps/web has the workspace "ws-1" already (Draft)`)
				second, err := r.Version(ctx)
				require.NoError(t, err)
				assert.NotEqual(t, first, second)

				// Lifecycles.
				for _, wrong := range []api.Lifecycle{api.Published, api.DeletionProposed} {
					d, err := r.OpenDraft(ctx, rev)
					require.NoError(t, err)
					_, err = r.CloseDraft(ctx, d, repository.Close{Lifecycle: wrong})
					require.ErrorContains(t, err, "is Draft and can't become "+string(wrong)+": it can become Proposed")
				}
				require.ErrorContains(t, r.DeleteRevision(ctx, func() repository.Revision { o := rev; o.Workspace, o.Ref = "x", "drafts/x/x"; return o }()), "not found")
				proposed := move(t, r, rev, api.Proposed)
				assert.Equal(t, rev.Commit, proposed.Commit)
				assert.Equal(t, []string{"refs/heads/main", "refs/heads/proposed/" + p + "apps/web/ws-1"}, refsOf(git))
				_, err = r.OpenDraft(ctx, rev)
				require.ErrorIs(t, err, repository.ErrConflict)
				require.ErrorContains(t, err, "was Draft and somebody else made it Proposed")
				rejected := move(t, r, proposed, api.Draft)
				assert.Equal(t, show(rev), show(rejected))
				one := move(t, r, move(t, r, rejected, api.Proposed), api.Published)
				assert.Equal(t, "blueprints.apps.web.ws-1 1 Published latest "+p+"apps/web@"+p+"apps/web/v1", show(one))
				assert.Equal(t, "porch@kpt.dev", one.PublishedBy)
				assert.WithinDuration(t, time.Now(), one.PublishedAt, time.Minute)
				assert.Equal(t, map[string]string{"team": "a"}, one.Labels)
				assert.Equal(t, []string{"refs/heads/main", "refs/tags/" + p + "apps/web/v1"}, refsOf(git))
				assert.Equal(t, git.Git("rev-parse", "main"), one.Commit)
				assert.Equal(t, "Approving package revision "+p+"apps/web/1", git.Git("log", "-1", "--format=%s", "main"))
				assert.Equal(t, git.Git("rev-parse", "main~1")+" "+rev.Commit, git.Git("log", "-1", "--format=%P", "main"))
				assert.Equal(t, "two", git.Git("show", "main:"+p+"apps/web/Kptfile"))
				assert.Equal(t, []string{"blueprints.apps.web.main -1 Published " + p + "apps/web@main", show(one)}, listed(t, r))
				got, err := r.Resources(ctx, one)
				require.NoError(t, err)
				assert.Equal(t, tree.Paths(), got.Paths())
				assert.Equal(t, kptpkg.Executable, got.File("bin/run").Mode())
				assert.Equal(t, kptpkg.Symlink, got.File("link").Mode())
				tasks, err := r.Tasks(ctx, one)
				require.NoError(t, err)
				assert.Equal(t, []api.Task{*initTask}, tasks)

				// What is published stays; its metadata is noted on the branch.
				d, err = r.OpenDraft(ctx, one)
				require.NoError(t, err)
				require.ErrorContains(t, d.UpdateResources(ctx, tree, nil), "is Published: its content doesn't change any more")
				noted, err := r.CloseDraft(ctx, d, repository.Close{Annotations: map[string]string{"by": "me"}, Labels: map[string]string{repository.LatestLabel: "true", "team": "b"}})
				require.NoError(t, err)
				assert.Equal(t, one.Commit, noted.Commit)
				assert.Equal(t, one.Commit, git.Git("rev-parse", p+"apps/web/v1"), "the tag never moves")
				assert.Equal(t, "Changing metadata of package revision "+p+"apps/web/1", git.Git("log", "-1", "--format=%s", "main"))
				assert.Equal(t, map[string]string{"team": "b"}, noted.Labels)
				marked := move(t, r, noted, api.DeletionProposed)
				assert.Equal(t, api.DeletionProposed, marked.Lifecycle)
				assert.Equal(t, one.Commit, git.Git("rev-parse", "deletionProposed/"+p+"apps/web/v1"))

				// Another process sees the same.
				other := open(t, openerFor(t, git, cache), declared(url, dir))
				assert.Equal(t, listed(t, r), listed(t, other))
				all, err := other.Revisions(ctx, repository.Filter{Labels: map[string]string{"team": "b", repository.LatestLabel: "true"}, Number: 1})
				require.NoError(t, err)
				assert.Equal(t, []repository.Revision{marked}, all)
				got, err = other.Resources(ctx, marked)
				require.NoError(t, err)
				assert.Equal(t, "two", content(t, got, "Kptfile"))
				tasks, err = other.Tasks(ctx, marked)
				require.NoError(t, err)
				assert.Equal(t, []api.Task{*initTask}, tasks)
				two := closeNew(t, other, "apps/web", "ws-2", "three", api.Published)
				assert.Equal(t, 2, two.Number)
				packages, err := other.Packages(ctx, repository.Filter{PathPrefix: "apps"})
				require.NoError(t, err)
				assert.Equal(t, []repository.Package{{Repository: "blueprints", Name: "apps/web", Latest: "blueprints.apps.web.ws-2"}}, packages)

				// Deleting.
				require.NoError(t, r.Refresh(ctx))
				require.ErrorContains(t, r.DeleteRevision(ctx, two), "is Published: propose its deletion first")
				require.ErrorContains(t, r.DeletePackage(ctx, "apps/web"), "blueprints.apps.web.ws-2 is Published: propose its deletion first")
				require.NoError(t, r.DeleteRevision(ctx, marked))
				assert.Equal(t, []string{"refs/heads/main", "refs/tags/" + p + "apps/web/v2"}, refsOf(git))
				assert.Equal(t, "three", git.Git("show", "main:"+p+"apps/web/Kptfile"))
				require.NoError(t, r.DeleteRevision(ctx, closeNew(t, r, "apps/web", "ws-3", "four", api.Draft)))
				move(t, r, two, api.DeletionProposed)
				require.NoError(t, r.DeletePackage(ctx, "apps/web"))
				assert.Equal(t, []string{"refs/heads/main"}, refsOf(git))
				assert.Empty(t, listed(t, r))
				assert.Equal(t, "README.md\na/run.sh", git.Git("ls-tree", "-r", "--name-only", "main"))
				require.NoError(t, r.CreatePackage(ctx, "apps/db"))
				require.ErrorContains(t, r.CreatePackage(ctx, "apps/db"), "there is a package apps/db already")
				assert.Equal(t, []string{"blueprints.apps.db.main -1 Published " + p + "apps/db@main"}, listed(t, r))
				all, err = r.Revisions(ctx, repository.Filter{})
				require.NoError(t, err)
				require.NoError(t, r.DeleteRevision(ctx, all[0]))
				assert.Empty(t, listed(t, r))
				git.Git("fsck", "--strict", "--full")
			})
		}
	}
}

// A repository without a commit is as good as another.
func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	for _, way := range writableWays {
		for _, first := range []api.Lifecycle{api.Draft, api.Published} {
			t.Run(way.name+" "+string(first), func(t *testing.T) {
				t.Parallel()
				git := repositorytest.New(t)
				r := open(t, openerFor(t, git, ""), declared(way.serve(git), ""))
				assert.Empty(t, listed(t, r))
				rev := closeNew(t, r, "a", "v1", "x", first)
				if first == api.Draft {
					rev = move(t, r, move(t, r, rev, api.Proposed), api.Published)
				}
				assert.Equal(t, []string{"blueprints.a.main -1 Published a@main", "blueprints.a.v1 1 Published latest a@a/v1"}, listed(t, r))
				assert.Equal(t, 1, rev.Number)
				git.Git("fsck", "--strict", "--full")
			})
		}
	}
	git := repositorytest.New(t)
	git.Commit("other", entry{Path: "README.md"})
	repo := declared(git.Dir, "")
	_, err := openerFor(t, git, "").Open(t.Context(), repo)
	require.ErrorContains(t, err, `branch ref "main" not found: there is other; spec.git.createBranch lets it be made`)
	repo.Spec.Git.CreateBranch = true
	r := open(t, openerFor(t, git, ""), repo)
	closeNew(t, r, "a", "v1", "x", api.Published)
	assert.Equal(t, []string{"refs/heads/main", "refs/heads/other", "refs/tags/a/v1"}, refsOf(git))
}

// Packages inside one another don't take each other's files away.
func TestNestedPackages(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	r := open(t, openerFor(t, git, ""), declared(git.Dir, "d"))
	closeNew(t, r, "a", "one", "a", api.Published)
	closeNew(t, r, "a/b", "one", "a/b", api.Published)
	closeNew(t, r, "b", "one", "b", api.Published)
	closeNew(t, r, "a", "two", "a again", api.Published)
	assert.Equal(t, "d/a/Kptfile\nd/a/b/Kptfile\nd/b/Kptfile", git.Git("ls-tree", "-r", "--name-only", "main"))
	assert.Equal(t, []string{
		"blueprints.a.main -1 Published d/a@main", "blueprints.a.one 1 Published d/a@d/a/v1", "blueprints.a.two 2 Published latest d/a@d/a/v2",
		"blueprints.a.b.main -1 Published d/a/b@main", "blueprints.a.b.one 1 Published latest d/a/b@d/a/b/v1",
		"blueprints.b.main -1 Published d/b@main", "blueprints.b.one 1 Published latest d/b@d/b/v1",
	}, listed(t, r))
	all, err := r.Revisions(t.Context(), repository.Filter{Package: "a", Number: -1})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, r.DeleteRevision(t.Context(), all[0]))
	assert.Equal(t, "d/a/b/Kptfile\nd/b/Kptfile", git.Git("ls-tree", "-r", "--name-only", "main"))
	require.ErrorContains(t, r.DeleteRevision(t.Context(), all[0]), "not found")
	// Git can't have drafts/d/a/x beside drafts/d/a/x/y.
	closeNew(t, r, "a", "x", "x", api.Draft)
	d, err := r.CreateDraft(t.Context(), "a/x", "y")
	require.NoError(t, err)
	require.NoError(t, d.UpdateResources(t.Context(), files(t, map[string]string{"Kptfile": "x"}), initTask))
	_, err = r.CloseDraft(t.Context(), d, repository.Close{})
	require.ErrorContains(t, err, "git can't have the ref refs/heads/drafts/d/a/x/y beside refs/heads/drafts/d/a/x")
	_, err = r.CreateDraft(t.Context(), "a.b", "one")
	require.ErrorContains(t, err, "would have the name of one of package a/b")
}

func TestRefusedDrafts(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	r := open(t, openerFor(t, git, ""), declared(git.Dir, ""))
	for want, names := range map[string][2]string{
		"package":                       {"../x", "v1"},
		`"A" is no name`:                {"a/A", "v1"},
		`workspace "x/y" is no name`:    {"a", "x/y"},
		`workspace "" is no name`:       {"a", ""},
		"is the name of the branch":     {"a", "main"},
		`workspace "v.lock" is no name`: {"a", "v.lock"},
	} {
		_, err := r.CreateDraft(t.Context(), names[0], names[1])
		require.ErrorContains(t, err, want)
	}
	d, err := r.CreateDraft(t.Context(), "a", "v1")
	require.NoError(t, err)
	require.ErrorContains(t, d.UpdateResources(t.Context(), files(t, map[string]string{"x": ""}), nil), "it has no Kptfile")
	_, err = r.CloseDraft(t.Context(), d, repository.Close{})
	require.ErrorContains(t, err, "nothing was written to the new revision")
	for want, file := range map[string]*kptpkg.File{
		"packages keep to themselves": kptpkg.NewFile("link", kptpkg.Symlink, []byte("../../x")),
		"where case is ignored":       kptpkg.NewFile("kptfile", kptpkg.Regular, nil),
	} {
		tree, err := files(t, map[string]string{"Kptfile": "x"}).With(file)
		require.NoError(t, err)
		d, err := r.CreateDraft(t.Context(), "a", "v1")
		require.NoError(t, err)
		require.NoError(t, d.UpdateResources(t.Context(), tree, nil))
		_, err = r.CloseDraft(t.Context(), d, repository.Close{})
		require.ErrorContains(t, err, want)
	}
	assert.Empty(t, refsOf(git))
}

// Whoever comes second is told, and nothing of the first is lost.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for _, way := range writableWays {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ctx, git := t.Context(), repositorytest.New(t)
			git.Commit("main", entry{Path: "README.md"})
			url := way.serve(git)
			ann, joe := open(t, openerFor(t, git, ""), declared(url, "")), open(t, openerFor(t, git, ""), declared(url, ""))
			update := func(r repository.Repository, d *repository.Draft, says string) error {
				require.NoError(t, d.UpdateResources(ctx, files(t, map[string]string{"Kptfile": says}), nil))
				_, err := r.CloseDraft(ctx, d, repository.Close{})
				return err
			}
			anns, err := ann.CreateDraft(ctx, "a", "w")
			require.NoError(t, err)
			joes, err := joe.CreateDraft(ctx, "a", "w")
			require.NoError(t, err)
			require.NoError(t, update(ann, anns, "ann"))
			require.ErrorIs(t, update(joe, joes, "joe"), repository.ErrConflict)
			assert.Equal(t, "ann", git.Git("show", "drafts/a/w:a/Kptfile"))

			all, err := joe.Revisions(ctx, repository.Filter{})
			require.NoError(t, err)
			require.Len(t, all, 1, "what the conflict was about is known")
			joes, err = joe.OpenDraft(ctx, all[0])
			require.NoError(t, err)
			anns, err = ann.OpenDraft(ctx, all[0])
			require.NoError(t, err)
			require.NoError(t, update(joe, joes, "joe"))
			err = update(ann, anns, "ann again")
			require.ErrorIs(t, err, repository.ErrConflict)
			require.ErrorContains(t, err, "somebody else changed package revision blueprints.a.w")
			assert.Equal(t, "joe", git.Git("show", "drafts/a/w:a/Kptfile"))

			// Two that publish the same package get numbers of their own.
			one, two := closeNew(t, ann, "b", "one", "1", api.Published), closeNew(t, joe, "b", "two", "2", api.Published)
			assert.Equal(t, []int{1, 2}, []int{one.Number, two.Number})
			git.Git("fsck", "--strict", "--full")
		})
	}
}

// A repository whose working tree or hooks would be left out.
func TestLocalRefusals(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	clone := filepath.Join(t.TempDir(), "clone")
	git.Git("clone", "-q", git.Dir, clone)
	o := openerFor(t, git, "")
	o.Git.Access.FileRepos = append(o.Git.Access.FileRepos, filepath.Dir(clone))
	r := open(t, o, declared(clone, ""))
	draft := closeNew(t, r, "a", "v1", "x", api.Proposed) // no branch that is checked out
	d, err := r.OpenDraft(t.Context(), draft)
	require.NoError(t, err)
	_, err = r.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Published})
	require.ErrorContains(t, err, "the branch main is checked out")
	git.Git("-C", clone, "checkout", "-q", "--detach")
	move(t, r, draft, api.Published)
	git.Git("-C", clone, "fsck", "--strict", "--full")

	hook(t, git, "pre-receive", "exit 0")
	r = open(t, openerFor(t, git, ""), declared(git.Dir, ""))
	d, err = r.CreateDraft(t.Context(), "a", "v1")
	require.NoError(t, err)
	require.NoError(t, d.UpdateResources(t.Context(), files(t, map[string]string{"Kptfile": ""}), nil))
	_, err = r.CloseDraft(t.Context(), d, repository.Close{})
	require.ErrorContains(t, err, "it has the hook pre-receive")
}

// Git and stoop use one repository at the same time.
func TestGitBesideUs(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	main := git.Commit("main", entry{Path: "README.md"})
	git.Git("tag", "-a", "-m", "x", "annotated", "main")
	git.Git("pack-refs", "--all")
	r := open(t, openerFor(t, git, ""), declared(git.Dir, ""))
	closeNew(t, r, "a", "one", "1", api.Published)
	git.Git("update-ref", "refs/heads/drafts/a/two", git.Git("rev-parse", "main"))
	require.NoError(t, r.Refresh(t.Context()))
	all, err := r.Revisions(t.Context(), repository.Filter{Workspace: "two"})
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, 2, move(t, r, move(t, r, all[0], api.Proposed), api.Published).Number)
	git.Git("gc", "-q", "--prune=now")
	closeNew(t, r, "a", "three", "3", api.Published)
	assert.Equal(t, main, git.Git("rev-parse", "annotated^{commit}"))
	assert.Contains(t, git.Git("show-ref", "-d"), main+" refs/tags/annotated^{}")
	assert.Equal(t, "3", git.Git("show", "main:a/Kptfile"))
	git.Git("fsck", "--strict", "--full")
	git.Git("update-ref", "-d", "refs/tags/a/v3")
	git.Git("pack-refs", "--all", "--prune")
	require.NoError(t, r.Refresh(t.Context()))
	assert.Len(t, listed(t, r), 3)
}

func hook(t testing.TB, git *repositorytest.Repo, name, script string) {
	t.Helper()
	writeFile(t, filepath.Join(git.Dir, "hooks", name), "#!/bin/sh\n"+script+"\n", 0o755)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	rev := repository.Revision{Repository: "r", Package: "a/b", Workspace: "w", Number: 2, Lifecycle: api.Published, Latest: true, Labels: map[string]string{"x": "1"}}
	for _, f := range []repository.Filter{
		{}, {Package: "a/b"}, {PathPrefix: "a"}, {PathPrefix: "a/b"}, {Workspace: "w"}, {Name: "r.a.b.w"}, {Number: 2},
		{Lifecycles: []api.Lifecycle{api.Draft, api.Published}}, {Labels: map[string]string{"x": "1", repository.LatestLabel: "true"}},
	} {
		assert.True(t, f.Matches(rev), "%+v", f)
	}
	for _, f := range []repository.Filter{
		{Package: "a"}, {Package: "b"}, {PathPrefix: "a/"}, {PathPrefix: "a/bc"}, {Workspace: "x"}, {Name: "r.a.b.x"}, {Number: -1},
		{Lifecycles: []api.Lifecycle{api.Draft}}, {Labels: map[string]string{"x": "2"}}, {Labels: map[string]string{"y": "1"}}, {Labels: map[string]string{repository.LatestLabel: "false"}},
	} {
		assert.False(t, f.Matches(rev), "%+v", f)
	}
}

// Repositories that are declared alike are one.
func TestOpenerShares(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	o := openerFor(t, git, "")
	a, b := open(t, o, declared(git.Dir, "")), open(t, o, declared(git.Dir, ""))
	assert.Same(t, a, b)
	assert.NotSame(t, a, open(t, o, declared(git.Dir, "x")))
	require.NoError(t, o.Close())
	assert.ErrorContains(t, a.Refresh(t.Context()), "it was closed")
	_, err := o.Open(t.Context(), declared("https://example.com/r", ""))
	require.ErrorContains(t, err, "--allow-network=example.com")
	_, err = o.Open(t.Context(), &api.Repository{})
	require.Error(t, err)
	secret := declared(git.Dir, "")
	secret.Spec.Git.SecretRef.Name = "x"
	_, err = o.Open(t.Context(), secret)
	require.ErrorContains(t, err, "no credentials are allowed")
}

// Who gives up while a repository is opened spoils it for nobody else who waits.
func TestOpenerGivenUp(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	asked := make(chan struct{})
	var once sync.Once
	url := git.ServeHTTP(nil, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			once.Do(func() {
				close(asked)
				<-req.Context().Done()
			})
			h.ServeHTTP(w, req)
		})
	})
	o := openerFor(t, git, "")
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp, waited := make(chan error), make(chan error)
	go func() {
		_, err := o.Open(ctx, declared(url, ""))
		gaveUp <- err
	}()
	<-asked
	go func() {
		_, err := o.Open(t.Context(), declared(url, ""))
		waited <- err
	}()
	time.Sleep(50 * time.Millisecond) // so that the second most likely waits
	cancel()
	require.ErrorIs(t, <-gaveUp, context.Canceled)
	require.NoError(t, <-waited)
}

// A repository that is open for long notices what others do.
func TestBackgroundRefresh(t *testing.T) {
	t.Parallel()
	git := repositorytest.New(t)
	git.Commit("main", entry{Path: "README.md"})
	o := openerFor(t, git, "")
	changed := make(chan []string, 100)
	o.RefreshEvery = time.Millisecond
	o.Changed = func(declared *api.Repository, r repository.Repository) {
		all, err := r.Revisions(context.Background(), repository.Filter{})
		if err == nil {
			changed <- []string{declared.Metadata.Name, fmt.Sprint(len(all))}
		}
	}
	open(t, o, declared(git.Dir, ""))
	git.Commit("main", kptfile("a", "x"))
	assert.Equal(t, []string{"blueprints", "1"}, <-changed)
	require.NoError(t, o.Close())
}

func writeFile(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), mode))
}
