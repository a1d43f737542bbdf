package orchestration

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// testEngine is an engine over two empty repositories, r and s, of namespace ns.
type testEngine struct {
	*Engine
	t    *testing.T
	r, s *repositorytest.Repo
}

func newEngine(t *testing.T) *testEngine {
	e := &testEngine{t: t, r: repositorytest.New(t), s: repositorytest.New(t)}
	e.Engine = e.another(&repository.Opener{})
	return e
}

// another is an engine as another process has it, with settings of its opener.
func (e *testEngine) another(opener *repository.Opener) *Engine {
	var repos []*api.Repository
	for i, repo := range []*repositorytest.Repo{e.r, e.s} {
		name := []string{"r", "s"}[i]
		o := &api.Repository{Header: api.Header{APIVersion: api.PorchConfigV1Alpha1, Kind: "Repository", Metadata: api.ObjectMeta{Name: name, Namespace: "ns"}}}
		o.Spec.Git = &api.GitRepository{Repo: repo.Dir, CreateBranch: true}
		repos = append(repos, o)
	}
	opener.Git = &repository.Git{Access: repository.Access{FileRepos: []string{e.r.Dir, e.s.Dir}}}
	another := &Engine{
		Handler:      &TaskHandler{Runtime: runtime.FirstOf{builtin.New(builtin.Compatible)}},
		Repositories: repos, Opener: opener,
		User: func(context.Context) repository.Author {
			return repository.Author{Name: "Ann", Email: "ann@example.com"}
		},
	}
	opener.Changed = another.Refreshed
	e.t.Cleanup(func() { assert.NoError(e.t, opener.Close()) })
	return another
}

// refs are all refs of both repositories.
func (e *testEngine) refs() string {
	return e.r.Git("for-each-ref") + e.s.Git("for-each-ref")
}

// object is a new package revision made by a task; without one there is none.
func object(repo, pkg, workspace string, tasks ...api.Task) *api.PackageRevision {
	pr := &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision", Metadata: api.ObjectMeta{Namespace: "ns"}}}
	pr.Spec = api.PackageRevisionSpec{Repository: repo, PackageName: pkg, WorkspaceName: workspace, Tasks: tasks}
	return pr
}

func cloneOf(name string) api.Task {
	return api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{UpstreamRef: &api.PackageRevisionRef{Name: name}}}}
}

func editOf(name string) api.Task {
	return api.Task{Type: api.TaskEdit, Edit: &api.EditTask{SourceRef: api.PackageRevisionRef{Name: name}}}
}

func upgradeOf(local, from, to string) api.Task {
	return api.Task{Type: api.TaskUpgrade, Upgrade: &api.UpgradeTask{
		LocalPackageRevisionRef: api.PackageRevisionRef{Name: local},
		OldUpstreamRef:          api.PackageRevisionRef{Name: from}, NewUpstreamRef: api.PackageRevisionRef{Name: to},
	}}
}

// make makes a revision and has it come as far as a lifecycle.
func (e *testEngine) make(pr *api.PackageRevision, l api.Lifecycle) *api.PackageRevision {
	e.t.Helper()
	made, _, err := e.CreatePackageRevision(e.t.Context(), pr)
	require.NoError(e.t, err)
	return e.bring(made, l)
}

// bring moves a Draft to a lifecycle.
func (e *testEngine) bring(pr *api.PackageRevision, l api.Lifecycle) *api.PackageRevision {
	e.t.Helper()
	var err error
	for _, step := range []struct {
		to     api.Lifecycle
		change func(context.Context, *api.PackageRevision) (*api.PackageRevision, *Outcome, error)
	}{
		{api.Draft, nil}, {api.Proposed, e.UpdatePackageRevision},
		{api.Published, e.ApprovePackageRevision}, {api.DeletionProposed, e.UpdatePackageRevision},
	} {
		if step.change != nil {
			pr = copyRevision(pr)
			pr.Spec.Lifecycle = step.to
			pr, _, err = step.change(e.t.Context(), pr)
			require.NoError(e.t, err)
		}
		if step.to == l {
			return pr
		}
	}
	e.t.Fatalf("no lifecycle %q", l)
	return nil
}

// push changes the files of a draft.
func (e *testEngine) push(name string, files ...*kptpkg.File) {
	e.t.Helper()
	pkg, version, err := e.Resources(e.t.Context(), "ns", name)
	require.NoError(e.t, err)
	pkg, err = pkg.With(files...)
	require.NoError(e.t, err)
	_, err = e.ReplacePackage(e.t.Context(), "ns", name, version, pkg)
	require.NoError(e.t, err)
}

func file(path, text string) *kptpkg.File {
	return kptpkg.NewFile(path, kptpkg.Regular, []byte(text))
}

const colour = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm\ndata:\n  colour: red # for now\n"

func TestEngineCreate(t *testing.T) {
	e := newEngine(t)
	pr := object("r", "a/web", "v1")
	pr.Metadata.Labels = map[string]string{"team": "x"}
	pr.Metadata.Annotations = map[string]string{"note": "y", api.LocalConfigAnnotation: "true"}
	made, _, err := e.CreatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	assert.Equal(t, "r.a.web.v1", made.Metadata.Name)
	assert.Equal(t, api.Draft, made.Spec.Lifecycle)
	assert.Equal(t, []api.Task{{Type: api.TaskInit, Init: &api.InitTask{}}}, made.Spec.Tasks, "no task is an init")
	assert.Empty(t, pr.Spec.Tasks, "what was given isn't changed")
	assert.Equal(t, e.r.Git("rev-parse", "drafts/a/web/v1"), made.Metadata.ResourceVersion)
	assert.Equal(t, "Ann <ann@example.com>", e.r.Git("log", "-1", "--format=%an <%ae>", "drafts/a/web/v1"))

	proposed := object("r", "b", "v1")
	proposed.Spec.Lifecycle = api.Proposed
	proposed, _, err = e.CreatePackageRevision(t.Context(), proposed)
	require.NoError(t, err)
	assert.Equal(t, api.Proposed, proposed.Spec.Lifecycle)

	read, err := e.GetPackageRevision(t.Context(), "ns", "r.a.web.v1")
	require.NoError(t, err)
	assert.Equal(t, made, read)
	assert.Equal(t, map[string]string{"team": "x"}, read.Metadata.Labels)
	assert.Equal(t, map[string]string{"note": "y"}, read.Metadata.Annotations)
	assert.Equal(t, &api.Lock{Type: "git", Git: &api.GitLock{Repo: e.r.Dir, Directory: "a/web", Ref: "drafts/a/web/v1", Commit: made.Metadata.ResourceVersion}}, read.Status.SelfLock)
}

func TestEngineCreateRefused(t *testing.T) {
	e := newEngine(t)
	e.make(object("r", "a/web", "v1"), api.Published)
	e.make(object("r", "a/web", "wip", editOf("r.a.web.v1")), api.Draft)
	e.make(object("r", "lib", "v1"), api.Published)
	initTask := api.Task{Type: api.TaskInit, Init: &api.InitTask{}}
	before := e.refs()
	for _, tt := range []struct {
		name string
		pr   *api.PackageRevision
		edit func(*api.PackageRevision)
		want string
	}{
		{"two tasks", object("r", "new", "v1", initTask, initTask), nil, "spec.tasks: has 2 tasks"},
		{"no repository", object("", "new", "v1"), nil, "spec.repository: is missing"},
		{"unknown repository", object("q", "new", "v1"), nil, `spec.repository: repository "q" not found: registered are r, s`},
		{"no package", object("r", "", "v1"), nil, "spec.packageName: is missing"},
		{"no workspace", object("r", "new", ""), nil, "spec.workspaceName: is missing"},
		{"bad workspace", object("r", "new", "v1.2"), nil, `spec.workspaceName: "v1.2" isn't a DNS label`},
		{"name too long", object("r", strings.Repeat(strings.Repeat("a", 60)+"/", 4)+"aaaaaaaa", "v1"), nil, "there may be 253"},
		{"other name", object("r", "new", "v1"), func(pr *api.PackageRevision) { pr.Metadata.Name = "r.old.v1" }, `metadata.name: must be "r.new.v1"`},
		{"published", object("r", "new", "v1"), func(pr *api.PackageRevision) { pr.Spec.Lifecycle = api.Published }, "spec.lifecycle: is Published: a new package revision is a Draft or Proposed"},
		{"number", object("r", "new", "v1"), func(pr *api.PackageRevision) { pr.Spec.Revision = 3 }, "spec.revision: can't be chosen"},
		{"version", object("r", "new", "v1"), func(pr *api.PackageRevision) { pr.Metadata.ResourceVersion = "1" }, "metadata.resourceVersion: must be left out"},
		{"latest", object("r", "new", "v1"), func(pr *api.PackageRevision) {
			pr.Metadata.Labels = map[string]string{repository.LatestLabel: "true"}
		}, "can't be set"},
		{"workspace of a draft", object("r", "a/web", "wip", editOf("r.a.web.v1")), nil, `has a revision of workspace "wip" already (Draft)`},
		{"workspace of a published one", object("r", "a/web", "v1", editOf("r.a.web.v1")), nil, `has a revision of workspace "v1" already (Published)`},
		{"inside a package", object("r", "a/web/db", "v1"), nil, "is inside package a/web"},
		{"around a package", object("r", "a", "v1"), nil, "the repository has package a/web, which would be inside"},
		{"clone of a package that is there", object("r", "a/web", "v9", cloneOf("r.lib.v1")), nil, "can't be cloned anew"},
		{"clone of a draft", object("r", "new", "v1", cloneOf("r.a.web.wip")), nil, "is not published"},
		{"clone of a placeholder", object("r", "new", "v1", cloneOf("r.lib.main")), nil, "is a placeholder"},
		{"clone of nothing", object("r", "new", "v1", cloneOf("r.lib.v9")), nil, `"r.lib.v9" not found in repository r`},
		{"edit of another package", object("r", "new", "v1", editOf("r.lib.v1")), nil, "is not one of the package new"},
		{"edit of a draft", object("r", "a/web", "v3", editOf("r.a.web.wip")), nil, "is not published"},
		{"upgrade of another package", object("r", "a/web", "v3", upgradeOf("r.lib.v1", "r.lib.v1", "r.lib.v1")), nil, `"r.lib.v1" is no revision of package a/web`},
		{"upgrade of a draft", object("r", "a/web", "v3", upgradeOf("r.a.web.wip", "r.lib.v1", "r.lib.v1")), nil, `"r.a.web.wip" is not published`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.edit != nil {
				tt.edit(tt.pr)
			}
			_, _, err := e.CreatePackageRevision(t.Context(), tt.pr)
			require.ErrorContains(t, err, tt.want)
			assert.Equal(t, before, e.refs(), "nothing is left behind")
		})
	}
	_, _, err := e.CreatePackageRevision(t.Context(), object("s", "a/web", "v1"))
	assert.NoError(t, err, "another repository has packages of its own")
	_, _, err = e.CreatePackageRevision(t.Context(), object("r", "a/webs", "v1"))
	assert.NoError(t, err, "a sibling isn't inside")
}

func TestEngineLifecycle(t *testing.T) {
	const (
		plain = iota
		approval
	)
	type move struct {
		from, to api.Lifecycle
		by       int
	}
	allowed := map[move]bool{
		{api.Draft, api.Proposed, plain}: true, {api.Proposed, api.Draft, plain}: true,
		{api.Published, api.DeletionProposed, plain}: true, {api.DeletionProposed, api.Published, plain}: true,
		{api.Proposed, api.Published, approval}: true, {api.Proposed, api.Draft, approval}: true,
		{api.Published, api.DeletionProposed, approval}: true, {api.DeletionProposed, api.Published, approval}: true,
	}
	all := []api.Lifecycle{api.Draft, api.Proposed, api.Published, api.DeletionProposed}
	e := newEngine(t)
	for _, from := range all {
		stays := e.make(object("r", strings.ToLower(string(from)), "v1"), from)
		for _, to := range all {
			for by, change := range []func(context.Context, *api.PackageRevision) (*api.PackageRevision, *Outcome, error){e.UpdatePackageRevision, e.ApprovePackageRevision} {
				m := move{from, to, by}
				switch {
				case from == to:
				case allowed[m]:
					pr := e.make(object("r", strings.ToLower(string(from+"-"+to)+[]string{"-p", "-a"}[by]), "v1"), from)
					pr.Spec.Lifecycle = to
					made, _, err := change(t.Context(), pr)
					require.NoError(t, err, "%v", m)
					assert.Equal(t, to, made.Spec.Lifecycle)
				default:
					before := e.refs()
					pr := copyRevision(stays)
					pr.Spec.Lifecycle = to
					_, _, err := change(t.Context(), pr)
					assert.ErrorContains(t, err, "spec.lifecycle: can't become "+string(to), "%v", m)
					assert.Equal(t, before, e.refs())
				}
			}
		}
	}
}

func TestEnginePublish(t *testing.T) {
	e := newEngine(t)
	draft := e.make(object("r", "web", "first"), api.Draft)
	e.push("r.web.first", file("cm.yaml", colour))
	draft.Metadata.ResourceVersion = ""
	one := e.bring(draft, api.Published)
	assert.Equal(t, 1, one.Spec.Revision)
	assert.Equal(t, "true", one.Metadata.Labels[repository.LatestLabel])
	assert.Contains(t, one.Status.PublishedBy, "ann@example.com")
	at, err := time.Parse(time.RFC3339, one.Status.PublishTimestamp)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), at, time.Hour)
	assert.Equal(t, "web/v1", one.Status.SelfLock.Git.Ref)

	two := e.make(object("r", "web", "second", editOf("r.web.first")), api.Published)
	assert.Equal(t, 2, two.Spec.Revision)
	again, err := e.GetPackageRevision(t.Context(), "ns", "r.web.first")
	require.NoError(t, err)
	assert.Empty(t, again.Metadata.Labels[repository.LatestLabel], "only one is the latest")

	// what is published changes in nothing but lifecycle and metadata
	tag := e.r.Git("rev-parse", "web/v1")
	for name, change := range map[string]func(*api.PackageRevision){
		"gates": func(pr *api.PackageRevision) { pr.Spec.ReadinessGates = []api.ReadinessGate{{ConditionType: "x"}} },
		"labels": func(pr *api.PackageRevision) {
			pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"a": "b"}}
		},
		"tasks":    func(pr *api.PackageRevision) { pr.Spec.Tasks = append(pr.Spec.Tasks, cloneOf("r.web.second")) },
		"no tasks": func(pr *api.PackageRevision) { pr.Spec.Tasks = []api.Task{} },
		"status":   func(pr *api.PackageRevision) { pr.Status.Conditions = []api.Condition{{Type: "x", Status: "True"}} },
		"name":     func(pr *api.PackageRevision) { pr.Spec.PackageName = "other" },
		"latest":   func(pr *api.PackageRevision) { pr.Metadata.Labels = map[string]string{repository.LatestLabel: "true"} },
	} {
		pr, err := e.GetPackageRevision(t.Context(), "ns", "r.web.first")
		require.NoError(t, err)
		change(pr)
		_, _, err = e.UpdatePackageRevision(t.Context(), pr)
		assert.Error(t, err, name)
	}
	again.Metadata.Labels = map[string]string{"team": "x"}
	changed, _, err := e.UpdatePackageRevision(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"team": "x"}, changed.Metadata.Labels)
	assert.Equal(t, tag, e.r.Git("rev-parse", "web/v1"), "the tag never moves")
	list, err := e.ListPackageRevisions(t.Context(), Filter{Filter: repository.Filter{Labels: map[string]string{"team": "x"}}})
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "r.web.first", list[0].Name())
}

func TestEngineUpdateDraft(t *testing.T) {
	e := newEngine(t)
	e.make(object("s", "lib", "v1"), api.Draft)
	e.push("s.lib.v1", file("cm.yaml", colour))
	lib, err := e.GetPackageRevision(t.Context(), "ns", "s.lib.v1")
	require.NoError(t, err)
	e.bring(lib, api.Published)
	e.make(object("s", "lib", "v2", editOf("s.lib.v1")), api.Draft)
	e.push("s.lib.v2", file("cm.yaml", strings.Replace(colour, "red", "blue", 1)))
	lib, err = e.GetPackageRevision(t.Context(), "ns", "s.lib.v2")
	require.NoError(t, err)
	e.bring(lib, api.Published)

	pr := e.make(object("r", "web", "v1", cloneOf("s.lib.v1")), api.Draft)
	assert.Equal(t, "lib/v1", pr.Status.UpstreamLock.Git.Ref)

	// nothing new: nothing is written
	same, _, err := e.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	assert.Equal(t, pr.Metadata.ResourceVersion, same.Metadata.ResourceVersion)

	// metadata, gates and conditions go into the Kptfile
	pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"env": "prod"}}
	pr.Spec.ReadinessGates = []api.ReadinessGate{{ConditionType: "example.com/a"}, {ConditionType: "example.com/b"}}
	pr.Status.Conditions = []api.Condition{{Type: "example.com/a", Status: api.ConditionTrue, Reason: "x", Message: "y"}}
	pr, _, err = e.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	k, err := mustResources(t, e.Engine, "r.web.v1").Kptfile(".")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"env": "prod"}, k.Metadata.Labels)
	assert.Equal(t, []kptpkg.ReadinessGate{{ConditionType: "example.com/a"}, {ConditionType: "example.com/b"}}, k.Info.ReadinessGates)
	assert.Equal(t, []kptpkg.Condition{{Type: "example.com/a", Status: "True", Reason: "x", Message: "y"}}, k.Status.Conditions)

	// a task that is appended is applied, to the draft itself
	pr.Spec.Tasks = append(pr.Spec.Tasks, upgradeOf("r.web.v1", "s.lib.v1", "s.lib.v2"))
	pr, _, err = e.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	assert.Equal(t, "lib/v2", pr.Status.UpstreamLock.Git.Ref)
	assert.Contains(t, text(t, mustResources(t, e.Engine, "r.web.v1"), "cm.yaml"), "colour: blue")
	read, err := e.GetPackageRevision(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	assert.Equal(t, pr.Spec.Tasks, read.Spec.Tasks)

	// one that has run can't be changed, and gates hold back what isn't ready
	changed := copyRevision(pr)
	changed.Spec.Tasks = []api.Task{cloneOf("s.lib.v2")}
	_, _, err = e.UpdatePackageRevision(t.Context(), changed)
	assert.ErrorContains(t, err, "spec.tasks: tasks that have run can't be changed")
	pr = e.bring(pr, api.Proposed)
	before := e.refs()
	pr.Spec.Lifecycle = api.Published
	_, _, err = e.ApprovePackageRevision(t.Context(), pr)
	assert.ErrorContains(t, err, "condition example.com/b is missing")
	assert.Equal(t, before, e.refs())
}

func mustResources(t *testing.T, e *Engine, name string) kptpkg.Tree {
	t.Helper()
	pkg, _, err := e.Resources(t.Context(), "ns", name)
	require.NoError(t, err)
	return pkg
}

func text(t *testing.T, pkg kptpkg.Tree, path string) string {
	t.Helper()
	f := pkg.File(path)
	require.NotNil(t, f, path)
	b, err := f.Bytes()
	require.NoError(t, err)
	return string(b)
}

func TestEngineResources(t *testing.T) {
	e := newEngine(t)
	e.make(object("r", "web", "v1"), api.Draft)
	e.push("r.web.v1", file("cm.yaml", colour), file("logo", "\x89PNG\x00"),
		kptpkg.NewFile("run.sh", kptpkg.Executable, []byte("#!/bin/sh\n")), kptpkg.NewFile("link", kptpkg.Symlink, []byte("run.sh")))
	pkg := mustResources(t, e.Engine, "r.web.v1")
	assert.Equal(t, kptpkg.Executable, pkg.File("run.sh").Mode())
	assert.Equal(t, kptpkg.Symlink, pkg.File("link").Mode())

	// a client that knows values only loses neither comments nor files that it
	// wasn't given
	res, err := e.GetPackageRevisionResources(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	assert.NotContains(t, res.Spec.Resources, "logo")
	assert.NotContains(t, res.Spec.Resources, "link")
	stale := *res
	res.Spec.Resources["cm.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {colour: green}\n"
	delete(res.Spec.Resources, "README.md")
	status, err := e.UpdatePackageResources(t.Context(), res)
	require.NoError(t, err)
	assert.Empty(t, status.Error)
	pkg = mustResources(t, e.Engine, "r.web.v1")
	assert.Contains(t, text(t, pkg, "cm.yaml"), "colour: green # for now")
	assert.Nil(t, pkg.File("README.md"))
	assert.Equal(t, "\x89PNG\x00", text(t, pkg, "logo"))
	assert.Equal(t, kptpkg.Executable, pkg.File("run.sh").Mode())

	// it was read before that change
	before := e.refs()
	_, err = e.UpdatePackageResources(t.Context(), &stale)
	assert.ErrorIs(t, err, repository.ErrConflict)
	assert.Equal(t, before, e.refs())

	// a whole package: what it doesn't have goes
	pkg = pkg.Without("logo", "cm.yaml")
	pkg, err = pkg.With(kptpkg.NewFile("run.sh", kptpkg.Regular, []byte("#!/bin/sh\n")))
	require.NoError(t, err)
	_, err = e.ReplacePackage(t.Context(), "ns", "r.web.v1", "", pkg)
	require.NoError(t, err)
	now := mustResources(t, e.Engine, "r.web.v1")
	assert.Equal(t, pkg.Paths(), now.Paths())
	assert.Equal(t, kptpkg.Regular, now.File("run.sh").Mode())

	// the same once more is no commit
	before = e.refs()
	_, err = e.ReplacePackage(t.Context(), "ns", "r.web.v1", "", now)
	require.NoError(t, err)
	assert.Equal(t, before, e.refs())
}

// A package that can't be rendered is only written where the revision asks for it.
func TestEngineRenderFails(t *testing.T) {
	const broken = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: web}\npipeline:\n  mutators:\n  - image: nobody.example.com/none:v1\n"
	e := newEngine(t)
	for _, save := range []bool{false, true} {
		pr := object("r", map[bool]string{false: "strict", true: "lax"}[save], "v1")
		if save {
			pr.Metadata.Annotations = map[string]string{pushOnFailure: "true"}
		}
		made := e.make(pr, api.Draft)
		before := e.refs()
		res, err := e.GetPackageRevisionResources(t.Context(), "ns", made.Metadata.Name)
		require.NoError(t, err)
		res.Spec.Resources["Kptfile"] = broken
		status, err := e.UpdatePackageResources(t.Context(), res)
		require.ErrorContains(t, err, "nobody.example.com/none")
		assert.Contains(t, status.Error, "nobody.example.com/none")
		assert.Equal(t, save, before != e.refs())
		if save {
			assert.Contains(t, text(t, mustResources(t, e.Engine, made.Metadata.Name), "Kptfile"), "nobody.example.com/none")
		}
	}
}

func TestEngineDelete(t *testing.T) {
	e := newEngine(t)
	e.make(object("s", "lib", "v1"), api.Published)
	web := e.make(object("r", "web", "v1", cloneOf("s.lib.v1")), api.Published)
	// its tasks don't say where it comes from, its Kptfile does
	e.make(object("r", "web", "v2", editOf("r.web.v1")), api.Published)

	err := e.DeletePackageRevision(t.Context(), "ns", "s.lib.v1", "")
	assert.ErrorContains(t, err, "is Published: propose its deletion first")
	lib, err := e.GetPackageRevision(t.Context(), "ns", "s.lib.v1")
	require.NoError(t, err)
	lib.Spec.Lifecycle = api.DeletionProposed
	_, _, err = e.UpdatePackageRevision(t.Context(), lib)
	require.NoError(t, err)
	before := e.refs()
	err = e.DeletePackageRevision(t.Context(), "ns", "s.lib.v1", "")
	assert.ErrorContains(t, err, "it is the upstream of r.web.v1, r.web.v2")
	assert.Equal(t, before, e.refs())

	for _, name := range []string{"r.web.v1", "r.web.v2"} {
		pr, err := e.GetPackageRevision(t.Context(), "ns", name)
		require.NoError(t, err)
		pr.Spec.Lifecycle = api.DeletionProposed
		_, _, err = e.UpdatePackageRevision(t.Context(), pr)
		require.NoError(t, err)
	}
	err = e.DeletePackageRevision(t.Context(), "ns", "r.web.v1", strings.Repeat("0", 40))
	assert.ErrorIs(t, err, repository.ErrConflict)
	err = e.DeletePackageRevision(t.Context(), "ns", "r.web.main", "")
	assert.ErrorContains(t, err, "which has published revisions (r.web.v1)")
	assert.Contains(t, e.r.Git("ls-tree", "--name-only", "main"), "web")
	for _, name := range []string{"r.web.v2", "r.web.v1", "s.lib.v1", "r.web.main"} {
		assert.NoError(t, e.DeletePackageRevision(t.Context(), "ns", name, ""))
	}
	assert.Empty(t, e.r.Git("tag")+e.s.Git("tag")+e.r.Git("ls-tree", "--name-only", "main"))
	_, err = e.GetPackageRevision(t.Context(), "ns", web.Metadata.Name)
	assert.ErrorIs(t, err, repository.ErrNotFound)
	assert.ErrorIs(t, e.DeletePackageRevision(t.Context(), "ns", web.Metadata.Name, ""), repository.ErrNotFound)
}

// While a revision is being changed nobody else changes it.
func TestEngineLocks(t *testing.T) {
	e := newEngine(t)
	pr := e.make(object("r", "web", "v1"), api.Draft)
	repo, err := e.repository("ns", "r")
	require.NoError(t, err)
	unlock, err := e.lock(repo, "r.web.v1")
	require.NoError(t, err)
	_, _, err = e.UpdatePackageRevision(t.Context(), pr)
	assert.ErrorIs(t, err, repository.ErrConflict)
	assert.ErrorIs(t, e.DeletePackageRevision(t.Context(), "ns", "r.web.v1", ""), repository.ErrConflict)
	_, err = e.ReplacePackage(t.Context(), "ns", "r.web.v1", "", mustResources(t, e.Engine, "r.web.v1"))
	assert.ErrorIs(t, err, repository.ErrConflict)
	_, _, err = e.CreatePackageRevision(t.Context(), object("r", "web", "v1"))
	assert.ErrorIs(t, err, repository.ErrConflict)
	_, _, err = e.CreatePackageRevision(t.Context(), object("r", "web", "v2"))
	assert.NoError(t, err, "another revision is free")
	unlock()
	pr.Spec.Lifecycle = api.Proposed
	_, _, err = e.UpdatePackageRevision(t.Context(), pr)
	assert.NoError(t, err)
	assert.Empty(t, e.busy)
}

// Many at once, of two engines: everybody's own revision is published, and of
// those who want the same one gets it.
func TestEngineConcurrently(t *testing.T) {
	e := newEngine(t)
	engines := []*Engine{e.Engine, e.another(&repository.Opener{})}
	events, err := e.WatchPackageRevisions(t.Context(), Filter{Filter: repository.Filter{Lifecycles: []api.Lifecycle{api.Published}}})
	require.NoError(t, err)
	next, stop := iter.Pull(events)
	defer stop()
	var wg sync.WaitGroup
	var shared atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			mine := engines[i%2]
			pr, _, err := mine.CreatePackageRevision(t.Context(), object("r", fmt.Sprintf("p%d", i), "v1"))
			if !assert.NoError(t, err) {
				return
			}
			pr.Spec.Lifecycle = api.Proposed
			if pr, _, err = mine.UpdatePackageRevision(t.Context(), pr); !assert.NoError(t, err) {
				return
			}
			pr.Spec.Lifecycle = api.Published
			_, _, err = mine.ApprovePackageRevision(t.Context(), pr)
			assert.NoError(t, err)
			_, _, err = mine.CreatePackageRevision(t.Context(), object("r", "shared", "v1"))
			if err == nil {
				shared.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, shared.Load())
	list, err := engines[1].ListPackageRevisions(t.Context(), Filter{Filter: repository.Filter{Number: 1}})
	require.NoError(t, err)
	assert.NotEmpty(t, list)
	assert.Len(t, strings.Fields(e.r.Git("tag")), 8)
	assert.Equal(t, "8", e.r.Git("rev-list", "--count", "--merges", "main"))
	seen := map[string]bool{}
	for len(seen) < 4 { // those of this engine at least
		e, ok := next()
		require.True(t, ok)
		if !e.Revision.IsPlaceholder() && e.Type != Deleted {
			seen[e.Revision.Name()] = true
		}
	}
}

// Two engines that change one revision: the second is told. What is newer than
// what it has seen it finds.
func TestEngineConflict(t *testing.T) {
	e := newEngine(t)
	other := e.another(&repository.Opener{})
	_, err := other.ListPackageRevisions(t.Context(), Filter{})
	require.NoError(t, err)
	pr := e.make(object("r", "new", "v1"), api.Draft)
	_, err = other.GetPackageRevision(t.Context(), "ns", "r.new.v1")
	require.NoError(t, err)
	pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"a": "b"}}
	pr, _, err = e.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	pr.Spec.Lifecycle = api.Proposed
	_, _, err = other.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)

	e.make(object("r", "web", "v1"), api.Draft)
	theirs, err := other.GetPackageRevision(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	e.push("r.web.v1", file("cm.yaml", colour))
	theirs.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"a": "b"}}
	before := e.refs()
	_, _, err = other.UpdatePackageRevision(t.Context(), theirs)
	assert.ErrorIs(t, err, repository.ErrConflict)
	assert.Equal(t, before, e.refs())
}

func TestEngineList(t *testing.T) {
	e := newEngine(t)
	e.make(object("s", "lib", "v1"), api.Published)
	e.make(object("r", "web", "v1", cloneOf("s.lib.v1")), api.Draft)
	names := func(f Filter) (out []string) {
		list, err := e.ListPackageRevisions(t.Context(), f)
		require.NoError(t, err)
		for _, r := range list {
			out = append(out, r.Name())
		}
		return out
	}
	assert.Equal(t, []string{"r.web.v1", "s.lib.main", "s.lib.v1"}, names(Filter{}))
	assert.Equal(t, []string{"s.lib.main", "s.lib.v1"}, names(Filter{Repository: "s"}))
	assert.Empty(t, names(Filter{Namespace: "other"}))
	packages, err := e.ListPackages(t.Context(), Filter{})
	require.NoError(t, err)
	assert.Equal(t, []repository.Package{{Repository: "r", Name: "web"}, {Repository: "s", Name: "lib", Latest: "s.lib.v1"}}, packages)

	// a repository of two namespaces has to be told apart
	twin := *e.Repositories[0]
	twin.Metadata.Namespace = "other"
	e.Repositories = append(e.Repositories, &twin)
	_, err = e.FindPackageRevision(t.Context(), "", twin.Metadata.Name+".x.v1")
	assert.ErrorContains(t, err, "are registered, in several namespaces: give the namespace")
	_, err = e.FindPackageRevision(t.Context(), "other", "r.web.v1")
	assert.NoError(t, err)
	e.Repositories = e.Repositories[:2]
	_, unseen := e.FindPackageRevision(t.Context(), "other", "r.web.v1")
	assert.ErrorIs(t, unseen, repository.ErrNotFound)

	// what can be read is listed, whatever can't
	e.Repositories = append(e.Repositories, &api.Repository{
		Header: api.Header{Metadata: api.ObjectMeta{Name: "gone", Namespace: "ns"}},
		Spec:   api.RepositorySpec{Git: &api.GitRepository{Repo: e.r.Dir + "/none"}},
	})
	list, err := e.ListPackageRevisions(t.Context(), Filter{})
	assert.ErrorContains(t, err, "registered repository gone: ")
	assert.Len(t, list, 3)
}

// nextEvents is what the next events say.
func nextEvents(t *testing.T, next func() (Event, bool), n int) (out []string) {
	t.Helper()
	for range n {
		e, ok := next()
		require.True(t, ok)
		out = append(out, string(e.Type)+" "+e.Revision.Name()+" "+string(e.Revision.Lifecycle))
	}
	return out
}

func TestEngineWatch(t *testing.T) {
	e := newEngine(t)
	e.make(object("r", "old", "v1"), api.Draft)
	events, err := e.WatchPackageRevisions(t.Context(), Filter{Repository: "r"})
	require.NoError(t, err)
	next, stop := iter.Pull(events)
	defer stop()
	assert.Equal(t, []string{"Added r.old.v1 Draft"}, nextEvents(t, next, 1))

	// what is done is told when it is done, and what fails isn't
	pr := e.make(object("r", "web", "v1"), api.Draft)
	assert.Equal(t, []string{"Added r.web.v1 Draft"}, nextEvents(t, next, 1))
	_, _, err = e.CreatePackageRevision(t.Context(), object("r", "web", "v1"))
	require.Error(t, err)
	e.make(object("s", "elsewhere", "v1"), api.Draft)
	pr = e.bring(pr, api.Proposed)
	assert.Equal(t, []string{"Modified r.web.v1 Proposed"}, nextEvents(t, next, 1))
	pr.Spec.Lifecycle = api.Published
	pr, _, err = e.ApprovePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	assert.Equal(t, []string{"Added r.web.main Published", "Modified r.web.v1 Published"}, nextEvents(t, next, 2))
	pr.Metadata.Labels = map[string]string{"a": "b", repository.LatestLabel: "true"}
	_, _, err = e.UpdatePackageRevision(t.Context(), pr)
	require.NoError(t, err)
	got := nextEvents(t, next, 1)
	for got[0] == "Modified r.web.main Published" { // metadata are a commit on the branch
		got = nextEvents(t, next, 1)
	}
	assert.Equal(t, []string{"Modified r.web.v1 Published"}, got)
	require.NoError(t, e.DeletePackageRevision(t.Context(), "ns", "r.old.v1", ""))
	for got = nextEvents(t, next, 1); got[0] == "Modified r.web.main Published"; {
		got = nextEvents(t, next, 1)
	}
	assert.Equal(t, []string{"Deleted r.old.v1 Draft"}, got)
}

// Whoever watches is told what others do, in other processes or by git.
func TestEngineWatchOthers(t *testing.T) {
	e := newEngine(t)
	e.make(object("r", "web", "v1"), api.Draft)
	watcher := e.another(&repository.Opener{RefreshEvery: 10 * time.Millisecond, Warn: func(err error) { t.Log(err) }})
	events, err := watcher.WatchPackageRevisions(t.Context(), Filter{})
	require.NoError(t, err)
	next, stop := iter.Pull(events)
	defer stop()
	assert.Equal(t, []string{"Added r.web.v1 Draft"}, nextEvents(t, next, 1))
	e.make(object("s", "lib", "v1"), api.Draft)
	assert.Equal(t, []string{"Added s.lib.v1 Draft"}, nextEvents(t, next, 1))
	e.r.Git("branch", "-m", "drafts/web/v1", "proposed/web/v1")
	got := nextEvents(t, next, 1)
	if strings.HasPrefix(got[0], "Deleted") { // git does it in two steps
		got = nextEvents(t, next, 1)
	}
	assert.Contains(t, got[0], "r.web.v1 Proposed")
}

func TestEngineWatchUnreadable(t *testing.T) {
	e := newEngine(t)
	e.Repositories = append(e.Repositories, &api.Repository{
		Header: api.Header{Metadata: api.ObjectMeta{Name: "gone", Namespace: "ns"}},
		Spec:   api.RepositorySpec{Git: &api.GitRepository{Repo: e.r.Dir + "/none"}},
	})
	_, err := e.WatchPackageRevisions(t.Context(), Filter{})
	assert.ErrorContains(t, err, "registered repository gone: ")
	assert.Nil(t, e.watchers.all)
	_, err = e.WatchPackageRevisions(t.Context(), Filter{Repository: "r"})
	assert.NoError(t, err)
}

// What somebody else put into a repository and is no good can be listed, repaired
// and deleted, and is in nobody's way.
func TestEngineBrokenKptfile(t *testing.T) {
	e := newEngine(t)
	e.make(object("s", "lib", "v1"), api.DeletionProposed)
	e.r.Commit("main", repositorytest.Entry{Path: "README.md", Content: "packages\n"})
	for _, ref := range []string{"refs/heads/drafts/web/v1", "refs/tags/old/v1"} {
		dir := strings.Split(ref, "/")[len(strings.Split(ref, "/"))-2]
		e.r.Commit("hand", repositorytest.Entry{Path: dir + "/Kptfile", Content: "metadata: {name: [\n"})
		e.r.Git("update-ref", ref, "hand")
		e.r.Git("update-ref", "-d", "refs/heads/hand")
	}
	all, err := e.ListPackageRevisions(t.Context(), Filter{Repository: "r"})
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, rev := range all {
		pr, err := e.Describe(t.Context(), rev)
		require.NoError(t, err)
		assert.Equal(t, rev.Name(), pr.Metadata.Name)
	}
	links, err := e.Upstreams(t.Context(), all, all)
	assert.ErrorContains(t, err, `package revision "r.web.v1"`)
	assert.Len(t, links, 2)
	require.NoError(t, e.DeletePackageRevision(t.Context(), "ns", "s.lib.v1", ""))

	web, err := e.GetPackageRevision(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	web.Spec.Lifecycle = api.Proposed
	_, _, err = e.UpdatePackageRevision(t.Context(), web)
	assert.ErrorContains(t, err, "Kptfile")
	res, err := e.GetPackageRevisionResources(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	res.Spec.Resources["Kptfile"] = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: web}\n"
	_, err = e.UpdatePackageResources(t.Context(), res)
	require.NoError(t, err)
	web, err = e.GetPackageRevision(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	web.Spec.Lifecycle = api.Proposed
	_, _, err = e.UpdatePackageRevision(t.Context(), web)
	require.NoError(t, err)

	old, err := e.GetPackageRevision(t.Context(), "ns", "r.old.v1")
	require.NoError(t, err)
	old.Spec.Lifecycle = api.DeletionProposed
	_, _, err = e.UpdatePackageRevision(t.Context(), old)
	require.NoError(t, err)
	require.NoError(t, e.DeletePackageRevision(t.Context(), "ns", "r.old.v1", ""))
}

// Readiness gates are about publishing: what somebody else has published without
// them can be labelled, and a proposal to delete it rejected.
func TestEnginePublishedUnready(t *testing.T) {
	e := newEngine(t)
	e.r.Commit("main", repositorytest.Entry{Path: "web/Kptfile", Content: "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: web}\ninfo: {readinessGates: [{conditionType: tested}]}\n"})
	e.r.Git("tag", "web/v1", "main")
	web, err := e.GetPackageRevision(t.Context(), "ns", "r.web.v1")
	require.NoError(t, err)
	require.Equal(t, "tested", web.Spec.ReadinessGates[0].ConditionType)
	web.Metadata.Labels["team"] = "blue"
	for _, to := range []api.Lifecycle{api.Published, api.DeletionProposed, api.Published} {
		web.Spec.Lifecycle = to
		web, _, err = e.UpdatePackageRevision(t.Context(), web)
		require.NoError(t, err)
		assert.Equal(t, to, web.Spec.Lifecycle)
		assert.Equal(t, "blue", web.Metadata.Labels["team"])
	}
}

// Porch lets packages be inside others: those that are go on, each by itself.
func TestEngineNestedPackages(t *testing.T) {
	e := newEngine(t)
	kptfile := func(path string) repositorytest.Entry {
		return repositorytest.Entry{Path: path, Content: "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: x}\n"}
	}
	e.r.Commit("main", kptfile("a/Kptfile"), kptfile("a/b/Kptfile"))
	e.r.Git("tag", "a/v1", "main")
	e.r.Git("tag", "a/b/v1", "main")
	e.make(object("r", "a/b", "v2", editOf("r.a.b.v1")), api.Draft)
	e.push("r.a.b.v2", file("cm.yaml", colour))
	inner, err := e.GetPackageRevision(t.Context(), "ns", "r.a.b.v2")
	require.NoError(t, err)
	e.bring(inner, api.Published)
	assert.Equal(t, "a/Kptfile\na/b/Kptfile\na/b/cm.yaml", e.r.Git("ls-tree", "-r", "--name-only", "main"))
	outer := e.make(object("r", "a", "v2", editOf("r.a.v1")), api.Published)
	assert.Equal(t, 2, outer.Spec.Revision)
	assert.Equal(t, "a/Kptfile\na/b/Kptfile\na/b/cm.yaml", e.r.Git("ls-tree", "-r", "--name-only", "a/b/v2"))
	_, _, err = e.CreatePackageRevision(t.Context(), object("r", "a/c", "v1"))
	assert.ErrorContains(t, err, "is inside package a")
}
