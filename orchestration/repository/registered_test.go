package repository_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// porch makes commits, tags and branches as Porch does.
type porch struct {
	*repositorytest.Repo
	dir  string           // of the registration, with a slash at its end, or ""
	main map[string]entry // the files of the branch main
}

func newPorch(t testing.TB, dir string) *porch {
	p := &porch{Repo: repositorytest.New(t), dir: dir, main: map[string]entry{"README.md": {Path: "README.md", Content: "x"}}}
	p.commit("refs/heads/main", "init", "")
	return p
}

func (p *porch) commit(ref, message, parent string, more ...entry) string {
	files := maps.Clone(p.main)
	for _, e := range more {
		files[e.Path] = e
	}
	args := []string{"commit-tree", "-m", message, p.Tree(slices.Collect(maps.Values(files))...)}
	for _, parent := range strings.Fields(parent) {
		args = append(args, "-p", parent)
	}
	commit := p.Git(args...)
	p.Git("update-ref", ref, commit)
	return commit
}

func note(pkg, workspace string, revision int, task string) string {
	return fmt.Sprintf("kpt:{\"package\":%q,\"workspaceName\":%q,\"revision\":%d,\"task\":{\"type\":%q}}\n", pkg, workspace, revision, task)
}

// draft writes a package to a branch of drafts or proposed.
func (p *porch) draft(kind, pkg, workspace, says string) string {
	return p.commit("refs/heads/"+kind+"/"+p.dir+pkg+"/"+workspace, "Creating new empty revision\n\n"+note(pkg, workspace, 0, "init"),
		p.Git("rev-parse", "main"), entry{Path: p.dir + pkg + "/Kptfile", Content: says})
}

// publish merges a package to main and tags it.
func (p *porch) publish(pkg, workspace string, revision int, says string) string {
	draft := p.draft("drafts", pkg, workspace, says)
	p.main[p.dir+pkg] = entry{Path: p.dir + pkg + "/Kptfile", Content: says}
	merge := p.commit("refs/heads/main", fmt.Sprintf("Approving package revision %s/%d\n\n%s", pkg, revision, note(pkg, workspace, revision, "")),
		p.Git("rev-parse", "main")+" "+draft)
	p.Git("tag", fmt.Sprintf("%s%s/v%d", p.dir, pkg, revision), merge)
	p.Git("update-ref", "-d", "refs/heads/drafts/"+p.dir+pkg+"/"+workspace)
	return merge
}

func (p *porch) registration(url string) repository.Registration {
	return repository.Registration{Name: "blueprints", Repo: url, Directory: p.dir}
}

// show is what a revision says, on one line.
func show(r repository.Revision) string {
	latest := ""
	if r.Latest {
		latest = " latest"
	}
	return fmt.Sprintf("%s %d %s%s %s@%s", r.Name(), r.Number, r.Lifecycle, latest, r.Directory, r.Ref)
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", "deploy/prod/"} {
		p := newPorch(t, dir)
		p.publish("web", "first", 1, "web one")
		p.publish("web", "second", 2, "web two")
		p.publish("web", "v10", 10, "web ten")
		p.publish("web/nested", "v1.2", 1, "nested")
		p.publish("apps/db", "v1", 1, "db")
		p.Git("update-ref", "refs/heads/deletionProposed/"+dir+"apps/db/v1", "main")
		p.draft("drafts", "apps/new", "try", "draft")
		p.draft("proposed", "web", "third", "proposed")
		p.Git("tag", dir+"web/stable", dir+"web/v1")                                               // no number
		p.Git("tag", "-a", "-m", "mine\n\n"+note("web", "by-hand", 3, ""), dir+"web/v3", "main~1") // noted in the tag
		p.Git("tag", dir+"nothing/v1", "main")                                                     // there is no such package
		p.Git("tag", "v1", "main")                                                                 // of the repository, not of a package
		p.Git("tag", "elsewhere/v1", "main")                                                       // as good as none
		p.Git("tag", dir+"web/blob", p.Git("rev-parse", "main:README.md"))                         // on no commit
		p.main["loose"] = entry{Path: dir + "apps/loose/Kptfile", Content: "never published"}
		p.main["sub"] = entry{Path: dir + "apps/loose/sub/Kptfile", Content: "a subpackage"}
		p.main["root"] = entry{Path: dir + "Kptfile", Content: "the directory itself is no package"}
		p.commit("refs/heads/main", "by hand", "main")

		reached := ways
		if dir != "" {
			reached = ways[:2] // what the directory changes comes after reading
		}
		for _, way := range reached {
			t.Run(dir+way.name, func(t *testing.T) {
				reg, git := p.registration(way.serve(p.Repo)), newGit(p.Repo)
				revisions, err := git.Revisions(t.Context(), reg)
				require.NoError(t, err)
				var got []string
				for _, r := range revisions {
					got = append(got, strings.ReplaceAll(show(r), " "+dir, " "))
				}
				refs := func(s string) string { return strings.ReplaceAll(s, "@D", "@"+dir) }
				assert.Equal(t, []string{
					refs("blueprints.apps.db.main -1 Published apps/db@main"),
					refs("blueprints.apps.db.v1 1 DeletionProposed latest apps/db@Dapps/db/v1"),
					refs("blueprints.apps.loose.main -1 Published apps/loose@main"),
					"blueprints.apps.new.try 0 Draft apps/new@drafts/" + dir + "apps/new/try",
					refs("blueprints.web.main -1 Published web@main"),
					"blueprints.web.first 0 Published web@" + dir + "web/stable",
					"blueprints.web.third 0 Proposed web@proposed/" + dir + "web/third",
					refs("blueprints.web.first 1 Published web@Dweb/v1"),
					refs("blueprints.web.second 2 Published web@Dweb/v2"),
					refs("blueprints.web.by-hand 3 Published web@Dweb/v3"),
					refs("blueprints.web.v10 10 Published latest web@Dweb/v10"),
					refs("blueprints.web.nested.main -1 Published web/nested@main"),
					refs("blueprints.web.nested.v1.2 1 Published latest web/nested@Dweb/nested/v1"),
				}, got)
				for _, r := range revisions {
					if r.Name() == "blueprints.web.first" && r.Number == 0 {
						continue // two tags with one note
					}
					if r.Name() == "blueprints.web.first" {
						_, err := git.Revision(t.Context(), reg, r.Name())
						require.ErrorContains(t, err, "is ambiguous")
						continue
					}
					one, err := git.Revision(t.Context(), reg, r.Name())
					require.NoError(t, err)
					assert.Equal(t, r, one)
				}
				second, err := git.Revision(t.Context(), reg, "blueprints.web.second")
				require.NoError(t, err)
				tree, lock, err := git.Resources(t.Context(), reg, second)
				require.NoError(t, err)
				assert.Equal(t, "web two", content(t, tree, "Kptfile"))
				assert.Equal(t, repository.GitLock{Repo: reg.Repo, Directory: dir + "web", Ref: dir + "web/v2", Commit: p.Git("rev-parse", dir+"web/v2")}, lock, "the lock names the whole directory")
				again, _, err := newGit(p.Repo).Fetch(t.Context(), repository.GitRef{Repo: lock.Repo, Directory: lock.Directory, Ref: lock.Ref})
				require.NoError(t, err)
				assert.Equal(t, "web two", content(t, again, "Kptfile"))
			})
		}
	}
}

// A package without a path above it is found beside one that ends alike, which
// Porch takes for it, and refs of a package a/a aren't taken for a's.
func TestRevisionNamesThatLookAlike(t *testing.T) {
	t.Parallel()
	p := newPorch(t, "")
	p.publish("b", "v1", 1, "b")
	p.publish("x/b", "v1", 1, "x/b")
	p.publish("b/b", "v1", 1, "b/b")
	p.publish("b/b/b", "v1", 1, "b/b/b")
	p.publish("c", "d.v1", 1, "c")
	p.publish("c/d", "v2", 1, "c/d")
	p.publish("c/e", "f", 1, "c/e")
	p.publish("c", "e.f", 2, "c again")
	reg, git := p.registration(p.Dir), newGit(p.Repo)
	for name, want := range map[string]string{
		"blueprints.b.v1": "b", "blueprints.x.b.v1": "x/b", "blueprints.b.b.v1": "b/b", "blueprints.b.b.b.v1": "b/b/b",
		"blueprints.c.d.v1": "c", "blueprints.c.d.v2": "c/d",
	} {
		rev, err := git.Revision(t.Context(), reg, name)
		require.NoError(t, err, name)
		tree, lock, err := git.Resources(t.Context(), reg, rev)
		require.NoError(t, err)
		assert.Equal(t, want, content(t, tree, "Kptfile"), name)
		tree, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: lock.Repo, Ref: rev.Ref, Directory: rev.Directory})
		require.NoError(t, err)
		assert.Equal(t, want, content(t, tree, "Kptfile"), "%s by its ref %s", name, rev.Ref)
	}
	_, err := git.Revision(t.Context(), reg, "blueprints.c.e.f")
	require.Error(t, err)
	assert.Equal(t, "repository "+p.Dir+`: package revision "blueprints.c.e.f" is ambiguous: c/v2 and c/e/v1 have that name; clone the one that is meant from git, by its ref`, err.Error())
}

func TestRevisionPrefersPublished(t *testing.T) {
	t.Parallel()
	p := newPorch(t, "")
	p.publish("a", "main", 1, "published as main")
	p.draft("drafts", "a", "main", "draft")
	p.draft("drafts", "a", "try", "draft")
	for name, lifecycle := range map[string]api.Lifecycle{"blueprints.a.main": api.Published, "blueprints.a.try": api.Draft} {
		rev, err := newGit(p.Repo).Revision(t.Context(), p.registration(p.Dir), name)
		require.NoError(t, err)
		assert.Equal(t, lifecycle, rev.Lifecycle)
		assert.False(t, rev.IsPlaceholder())
	}
}

func TestNotesThatAreNone(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	tree := r.Tree(kptfile("a", "x"))
	for i, message := range []string{
		"no note", "kpt:", "kpt:{", "kpt:[]\n", "kpt:{\"package\":\"other\",\"workspaceName\":\"x\"}", `kpt:{"package":"a","workspaceName":"../x"}`,
		`kpt:{"package":"a","workspaceName":"A B"}`, `kpt:{"package":"a","workspaceName":"` + strings.Repeat("x", 300) + `"}`, ` kpt:{"package":"a","workspaceName":"x"}`, `kpt:{"package":"a","workspaceName":5}`,
	} {
		commit := r.Git("commit-tree", "-m", message, tree)
		r.Git("update-ref", "refs/heads/main", commit)
		r.Git("update-ref", "refs/tags/a/v7", commit)
		revisions, err := newGit(r).Revisions(t.Context(), repository.Registration{Name: "r", Repo: r.Dir})
		require.NoError(t, err)
		require.Len(t, revisions, 2)
		assert.Equal(t, "r.a.v7 7 Published latest a@a/v7", show(revisions[1]), "%d", i)
	}
}

func TestRevisionsErrors(t *testing.T) {
	t.Parallel()
	empty := repositorytest.New(t)
	for _, way := range ways {
		url := way.serve(empty)
		revisions, err := newGit(empty).Revisions(t.Context(), repository.Registration{Name: "r", Repo: url})
		require.NoError(t, err, way.name)
		assert.Empty(t, revisions)
		_, err = newGit(empty).Revision(t.Context(), repository.Registration{Name: "r", Repo: url}, "r.a.v1")
		require.ErrorIs(t, err, repository.ErrNotFound)
		assert.ErrorContains(t, err, "none at all")
	}
	p := newPorch(t, "")
	p.publish("apps/redis", "v1", 1, "x")
	reg, git := p.registration(p.Dir), newGit(p.Repo)
	_, err := git.Revision(t.Context(), reg, "blueprints.apps.redsi.v1")
	require.ErrorIs(t, err, repository.ErrNotFound)
	assert.Equal(t, "repository "+p.Dir+`: package revision "blueprints.apps.redsi.v1" not found: there is blueprints.apps.redis.v1, blueprints.apps.redis.main`, err.Error())
	for want, bad := range map[string]repository.Registration{
		`branch ref "mian" not found: there is main`: {Name: "r", Repo: p.Dir, Branch: "mian"},
		"leads out of the repository":                {Name: "r", Repo: p.Dir, Directory: "../x"},
		"begins or ends as no ref does":              {Name: "r", Repo: p.Dir, Branch: "-x"},
		"is not allowed":                             {Name: "r", Repo: "https://example.com/r"},
	} {
		_, err := git.Revisions(t.Context(), bad)
		require.ErrorContains(t, err, want)
	}
	for _, name := range []string{"", "..", "r.a/b.v1", "r.A.v1", "r.a\x00.v1", strings.Repeat("a", 300)} {
		_, err := git.Revision(t.Context(), reg, name)
		require.Error(t, err)
		assert.False(t, errors.Is(err, repository.ErrNotFound))
	}
	revisions, err := git.Revisions(t.Context(), repository.Registration{Name: "r", Repo: p.Dir, Directory: "nowhere"})
	require.NoError(t, err)
	assert.Empty(t, revisions)
}

// Trees that hold one another many times over are more directories than anybody
// can list.
func TestRevisionsOfTreeBomb(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	tree := r.Tree(entry{Path: "x"})
	for range 8 {
		var ten []entry
		for i := range 10 {
			ten = append(ten, entry{Mode: "40000", Path: fmt.Sprint("d", i), Content: tree})
		}
		tree = r.Subtrees(ten...)
	}
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", "-m", "x", tree))
	git := newGit(r)
	git.Limits.Files = 1000
	_, err := git.Revisions(t.Context(), repository.Registration{Name: "r", Repo: r.Dir})
	require.ErrorContains(t, err, "branch main: has more than 1000 directories")
}

// 50 packages with 4 revisions each, a commit for each revision.
func BenchmarkRevisions(b *testing.B) {
	p := newPorch(b, "")
	tree := func(upTo int) string {
		var entries []entry
		for pkg := range 50 {
			for f := range 20 {
				entries = append(entries, entry{Path: fmt.Sprintf("team-%d/pkg-%02d/file-%02d.yaml", pkg%5, pkg, f), Content: fmt.Sprint(pkg, f, min(upTo, pkg))})
			}
			entries = append(entries, kptfile(fmt.Sprintf("team-%d/pkg-%02d", pkg%5, pkg), fmt.Sprint(upTo)))
		}
		return p.Tree(entries...)
	}
	parent := p.Git("rev-parse", "main")
	for rev := range 4 {
		t := tree(rev)
		for pkg := range 50 {
			path := fmt.Sprintf("team-%d/pkg-%02d", pkg%5, pkg)
			parent = p.Git("commit-tree", "-p", parent, "-m", "Approving\n\n"+note(path, fmt.Sprintf("ws-%d", rev), rev+1, ""), t)
			p.Git("update-ref", fmt.Sprintf("refs/tags/%s/v%d", path, rev+1), parent)
		}
	}
	p.Git("update-ref", "refs/heads/main", parent)
	p.Git("gc", "-q")
	for _, way := range ways[:2] {
		url := way.serve(p.Repo)
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				revisions, err := newGit(p.Repo).Revisions(b.Context(), p.registration(url))
				require.NoError(b, err)
				require.Len(b, revisions, 250)
			}
		})
		b.Run(way.name+" one", func(b *testing.B) {
			for b.Loop() {
				_, err := newGit(p.Repo).Revision(b.Context(), p.registration(url), "blueprints.team-2.pkg-07.ws-2")
				require.NoError(b, err)
			}
		})
	}
}
