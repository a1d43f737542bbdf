package orchestration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// memory is a Draft in memory that notes how often it was saved.
type memory struct {
	pkg   kptpkg.Tree
	saves []*api.Task
	fail  error
}

func (m *memory) Resources(context.Context) (kptpkg.Tree, error) { return m.pkg, nil }

func (m *memory) UpdateResources(_ context.Context, pkg kptpkg.Tree, t *api.Task) error {
	if m.fail != nil {
		return m.fail
	}
	m.pkg, m.saves = pkg, append(m.saves, t)
	return nil
}

func handlerOf(repos ...string) *orchestration.TaskHandler {
	return &orchestration.TaskHandler{
		Runtime:  runtime.FirstOf{builtin.New(builtin.Compatible)},
		Upstream: upstream.Mux{upstream.TypeGit: upstream.Git{Client: &repository.Git{Access: repository.Access{FileRepos: repos}}}},
	}
}

func revision(name string, tasks ...api.Task) *api.PackageRevision {
	pr := &api.PackageRevision{}
	pr.APIVersion, pr.Kind, pr.Metadata.Name = api.PorchV1Alpha1, "PackageRevision", name
	pr.Metadata.Annotations = map[string]string{api.LocalConfigAnnotation: "true"}
	pr.Spec.PackageName, pr.Spec.Tasks = name, tasks
	return pr
}

func cloneOf(repo, ref, dir string) api.Task {
	return api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{Git: &api.GitPackage{Repo: repo, Ref: ref, Directory: dir}}}}
}

const (
	webKptfile = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web # ours\npipeline:\n  mutators:\n  - image: set-labels:v0.2.0\n    configMap: {tier: front}\n"
	webConfig  = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\n"
)

func upstreamWeb(t *testing.T) *repositorytest.Repo {
	r := repositorytest.New(t)
	r.Commit("main", webFiles()...)
	return r
}

func webFiles() []repositorytest.Entry {
	return []repositorytest.Entry{entry("web/Kptfile", webKptfile), entry("web/cm.yaml", webConfig), entry("web/logo.png", "\x00\xff")}
}

func entry(path, content string) repositorytest.Entry {
	return repositorytest.Entry{Path: path, Content: content}
}

func TestApplyTaskClones(t *testing.T) {
	repo := upstreamWeb(t)
	pr := revision("shop", cloneOf(repo.Dir, "main", "/web"))
	pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"env": "prod"}}
	deployment := &api.Repository{}
	deployment.Spec.Deployment = true

	draft := &memory{}
	out, err := handlerOf(repo.Dir).ApplyTask(t.Context(), draft, deployment, pr)
	require.NoError(t, err)
	require.Len(t, draft.saves, 1, "a draft is updated once")
	assert.Same(t, &pr.Spec.Tasks[0], draft.saves[0])

	k, err := draft.pkg.Kptfile(".")
	require.NoError(t, err)
	assert.Equal(t, "shop", k.Metadata.Name)
	assert.Equal(t, map[string]string{"env": "prod", "tier": "front"}, merged(k.Metadata.Labels, "tier", draft.pkg, t))
	assert.Equal(t, out.Lock.Git.Commit, k.UpstreamLock.Git.Commit)
	assert.Len(t, k.UpstreamLock.Git.Commit, 40)
	assert.Equal(t, "web", k.Upstream.Git.Directory)
	assert.Equal(t, []string{"Kptfile", "cm.yaml", "logo.png", "package-context.yaml"}, draft.pkg.Paths())
	assert.Equal(t, 1, out.Rendered.Functions)

	// Porch's word for it: creating is for empty drafts only
	_, err = handlerOf(repo.Dir).ApplyTask(t.Context(), draft, deployment, pr)
	assert.ErrorContains(t, err, "already holds content")
	assert.Len(t, draft.saves, 1)
}

// merged adds the label that the pipeline gives resources: whether it reaches
// the Kptfile is the function's business.
func merged(labels map[string]string, key string, pkg kptpkg.Tree, t *testing.T) map[string]string {
	b, err := pkg.File("cm.yaml").Bytes()
	require.NoError(t, err)
	require.Contains(t, string(b), key+": front")
	out := map[string]string{key: "front"}
	for k, v := range labels {
		out[k] = v
	}
	return out
}

// With an error the draft is unchanged, whatever went wrong.
func TestApplyTaskFailures(t *testing.T) {
	repo := upstreamWeb(t)
	repo.Commit("failing", entry("web/Kptfile", strings.Replace(webKptfile, "set-labels:v0.2.0", "example.com/unknown:v1", 1)))
	repo.Commit("git-dir", entry("web/Kptfile", webKptfile), entry("web/.git/config", "[core]"))
	repo.Commit("git-short", entry("web/Kptfile", webKptfile), entry("web/GIT~1/config", "[core]"))
	repo.Commit("up", entry("web/Kptfile", webKptfile), entry("web/../x", "x"))
	repo.Commit("link", entry("web/Kptfile", webKptfile), repositorytest.Entry{Path: "web/x", Mode: repositorytest.Symlink, Content: "../../x"})
	repo.Commit("absolute", entry("web/Kptfile", webKptfile), repositorytest.Entry{Path: "web/x", Mode: repositorytest.Symlink, Content: "/etc/passwd"})
	clone := func(ref string) *api.PackageRevision { return revision("web", cloneOf(repo.Dir, ref, "web")) }
	secret := clone("main")
	secret.Spec.Tasks[0].Clone.UpstreamRef.Git.SecretRef.Name = "git"

	for name, c := range map[string]struct {
		pr   *api.PackageRevision
		want string
	}{
		"no task":          {revision("web"), "spec.tasks: is missing"},
		"two tasks":        {revision("web", clone("main").Spec.Tasks[0], clone("main").Spec.Tasks[0]), "has 2 tasks"},
		"unset member":     {revision("web", api.Task{Type: api.TaskClone}), "spec.tasks[0].clone: is missing"},
		"edit":             {revision("web", api.Task{Type: api.TaskEdit, Edit: &api.EditTask{SourceRef: api.PackageRevisionRef{Name: "a"}}}), "no PackageRevision of that name is declared"},
		"unknown ref":      {clone("nowhere"), `ref "nowhere" not found`},
		"secret":           {secret, "spec.tasks[0].clone.upstreamRef.git.secretRef"},
		"unknown function": {clone("failing"), "example.com/unknown:v1"},
		".git":             {clone("git-dir"), ".git"},
		"git~1":            {clone("git-short"), "GIT~1"},
		"..":               {clone("up"), ".."},
		"symlink out":      {clone("link"), "symlink"},
		"absolute symlink": {clone("absolute"), "symlink"},
	} {
		t.Run(name, func(t *testing.T) {
			draft := &memory{}
			_, err := handlerOf(repo.Dir).ApplyTask(t.Context(), draft, nil, c.pr)
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, draft.saves)
			assert.Zero(t, draft.pkg.Len())
		})
	}

	draft := &memory{fail: errors.New("disk full")}
	_, err := handlerOf(repo.Dir).ApplyTask(t.Context(), draft, nil, clone("main"))
	require.ErrorIs(t, err, draft.fail)
	assert.ErrorContains(t, err, "saving the package: disk full")
}

func TestDoPRMutations(t *testing.T) {
	repo := upstreamWeb(t)
	made := &memory{}
	old := revision("web", cloneOf(repo.Dir, "main", "web"))
	old.Spec.ReadinessGates = []api.ReadinessGate{{ConditionType: "a"}}
	_, err := handlerOf(repo.Dir).ApplyTask(t.Context(), made, nil, old)
	require.NoError(t, err)
	h := handlerOf() // no leave to read anything: an update needs none

	change := func(edit func(*api.PackageRevision)) *api.PackageRevision {
		pr := revision("web", old.Spec.Tasks...)
		pr.Spec.ReadinessGates = old.Spec.ReadinessGates
		edit(pr)
		return pr
	}
	labelled := change(func(pr *api.PackageRevision) {
		pr.Spec.PackageMetadata = &api.PackageMetadata{Labels: map[string]string{"env": "prod"}}
	})

	t.Run("nothing changed", func(t *testing.T) {
		draft := &memory{pkg: made.pkg}
		out, err := h.DoPRMutations(t.Context(), old, change(func(*api.PackageRevision) {}), nil, draft)
		require.NoError(t, err)
		assert.Empty(t, draft.saves)
		assert.Nil(t, out.Rendered)
	})
	t.Run("metadata", func(t *testing.T) {
		draft := &memory{pkg: made.pkg}
		_, err := h.DoPRMutations(t.Context(), old, labelled, nil, draft)
		require.NoError(t, err)
		require.Len(t, draft.saves, 1)
		k, err := draft.pkg.Kptfile(".")
		require.NoError(t, err)
		assert.Equal(t, "prod", k.Metadata.Labels["env"])
		b, err := draft.pkg.File("Kptfile").Bytes()
		require.NoError(t, err)
		assert.Contains(t, string(b), "# ours", "comments stay")
	})
	t.Run("gates and conditions", func(t *testing.T) {
		draft := &memory{pkg: made.pkg}
		_, err := h.DoPRMutations(t.Context(), old, change(func(pr *api.PackageRevision) {
			pr.Spec.ReadinessGates = []api.ReadinessGate{{ConditionType: "z"}, {ConditionType: "b"}}
			pr.Status.Conditions = []api.Condition{{Type: "z", Status: api.ConditionTrue}}
		}), nil, draft)
		require.NoError(t, err)
		k, err := draft.pkg.Kptfile(".")
		require.NoError(t, err)
		assert.Equal(t, []kptpkg.ReadinessGate{{ConditionType: "z"}, {ConditionType: "b"}}, k.Info.ReadinessGates, "in their order")
		assert.Equal(t, "True", k.Status.Conditions[0].Status)
	})
	for _, l := range []api.Lifecycle{api.Proposed, api.Published, api.DeletionProposed} {
		t.Run("no-op in "+string(l), func(t *testing.T) {
			was := change(func(pr *api.PackageRevision) { pr.Spec.Lifecycle = l })
			draft := &memory{pkg: made.pkg}
			out, err := h.DoPRMutations(t.Context(), was, labelled, nil, draft)
			require.NoError(t, err)
			assert.Nil(t, out)
			assert.Empty(t, draft.saves)
		})
	}
	for name, c := range map[string]struct {
		pr   *api.PackageRevision
		want string
	}{
		"a task that ran changed": {change(func(pr *api.PackageRevision) { pr.Spec.Tasks = []api.Task{cloneOf(repo.Dir, "v2", "web")} }), "can't be changed"},
		"a task that ran is gone": {change(func(pr *api.PackageRevision) { pr.Spec.Tasks = nil }), "can't be changed"},
		"a task without its member": {change(func(pr *api.PackageRevision) {
			pr.Spec.Tasks = append(pr.Spec.Tasks[:1:1], api.Task{Type: api.TaskUpgrade})
		}), "spec.tasks[1].upgrade: is missing"},
		"a second clone": {change(func(pr *api.PackageRevision) {
			pr.Spec.Tasks = append(pr.Spec.Tasks[:1:1], cloneOf(repo.Dir, "main", "web"))
		}), "already holds content"},
	} {
		t.Run(name, func(t *testing.T) {
			draft := &memory{pkg: made.pkg}
			_, err := h.DoPRMutations(t.Context(), old, c.pr, nil, draft)
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, draft.saves)
		})
	}
}

// panics is a runtime whose functions all panic.
type panics struct{}

func (panics) Find(context.Context, runtime.Ref) (*runtime.Function, error) {
	return &runtime.Function{Name: "panics", Run: func(context.Context, *fn.Call) error { panic("boom") }}, nil
}

// brokenSource panics where no function's own recovery can help.
type brokenSource struct{}

func (brokenSource) Fetch(context.Context, upstream.Ref) (kptpkg.Tree, upstream.Lock, error) {
	panic("boom")
}

func TestPanicsBecomeErrors(t *testing.T) {
	repo := upstreamWeb(t)
	ws := workspace(t, revision("web", cloneOf(repo.Dir, "main", "web")), revision("api", api.Task{Type: api.TaskInit, Init: &api.InitTask{}}))
	before := tasktest.Content(t, ws)

	h := handlerOf(repo.Dir)
	h.Runtime = panics{}
	after, report, err := orchestration.Run(t.Context(), h, ws, orchestration.Options{})
	require.ErrorContains(t, err, "boom")
	assert.ErrorContains(t, err, `rendering package "web": mutator 1 (set-labels:v0.2.0)`, "a function's panic is its error")
	require.NotNil(t, report)
	assert.Nil(t, after.File("web/Kptfile"))
	assert.NotNil(t, after.File("api/Kptfile"), "the other order is carried out")

	h = handlerOf()
	h.Upstream = brokenSource{}
	after, _, err = orchestration.Run(t.Context(), h, ws, orchestration.Options{})
	require.ErrorContains(t, err, "stoop has a bug, please report it: boom")
	assert.Nil(t, after.File("web/Kptfile"))
	assert.Equal(t, before, tasktest.Content(t, ws), "the workspace given is never changed")
}

// However many orders are worked on at once, the same comes out, byte for byte.
func TestParallelChangesNothing(t *testing.T) {
	repo := upstreamWeb(t)
	var orders []*api.PackageRevision
	for i := range 12 {
		pr := revision(fmt.Sprintf("p%d", i), cloneOf(repo.Dir, "main", "web"))
		if i%3 == 0 {
			pr = revision(fmt.Sprintf("p%d", i), api.Task{Type: api.TaskInit, Init: &api.InitTask{Description: "d"}})
		}
		if i%4 == 3 {
			pr.Metadata.Annotations[api.TargetAnnotation] = fmt.Sprintf("p%d/below", i-3)
		}
		if i == 7 {
			pr.Spec.Tasks[0].Clone.UpstreamRef.Git.Ref = "nowhere"
		}
		orders = append(orders, pr)
	}
	ws := workspace(t, orders...)
	var want map[string]string
	var said []fn.Result
	for _, parallel := range []int{1, 10, 10, 10} {
		after, report, err := orchestration.Run(t.Context(), handlerOf(repo.Dir), ws, orchestration.Options{Parallel: parallel})
		require.ErrorContains(t, err, "nowhere")
		got := tasktest.Content(t, after)
		if want == nil {
			want, said = got, report.Results
			require.Contains(t, got, "p0/below/Kptfile")
		}
		assert.Equal(t, want, got)
		assert.Equal(t, said, report.Results)
	}
}

// Eval runs its function over the whole package and then the pipeline; what both
// say is in the Outcome.
func TestEval(t *testing.T) {
	draft := &memory{pkg: workspace(t)}
	var err error
	draft.pkg, err = draft.pkg.With(
		kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(webKptfile)),
		kptpkg.NewFile("cm.yaml", kptpkg.Regular, []byte(webConfig)),
		kptpkg.NewFile("db/Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: db\n")),
		kptpkg.NewFile("db/cm.yaml", kptpkg.Regular, []byte(webConfig)),
	)
	require.NoError(t, err)
	pr := revision("web")
	f := kptpkg.Function{Image: "set-annotations:v0.1.4", ConfigMap: map[string]string{"team": "shop"}, Selectors: []kptpkg.Selector{{Kind: "ConfigMap"}}}

	bad := f
	bad.Image = "example.com/unknown:v1"
	before := tasktest.Content(t, draft.pkg)
	_, err = handlerOf().Eval(t.Context(), draft, pr, bad)
	require.ErrorContains(t, err, `eval: run the function: running a function on package "web": eval (unknown:v1)`)
	published := revision("web")
	published.Spec.Lifecycle = api.Published
	_, err = handlerOf().Eval(t.Context(), draft, published, f)
	require.ErrorContains(t, err, "only the content of a Draft can be changed")
	assert.Empty(t, draft.saves)
	assert.Equal(t, before, tasktest.Content(t, draft.pkg))

	out, err := handlerOf().Eval(t.Context(), draft, pr, f)
	require.NoError(t, err)
	assert.Len(t, draft.saves, 1)
	for _, p := range []string{"cm.yaml", "db/cm.yaml"} {
		assert.Contains(t, content(t, draft.pkg, p), "team: shop", p)
		assert.Contains(t, content(t, draft.pkg, p), "tier: front", p) // by the pipeline
	}
	var steps []string
	for _, r := range out.Results {
		steps = append(steps, r.Tags["step"])
	}
	assert.Contains(t, steps, "eval (set-annotations:v0.1.4)")
	assert.Equal(t, 1, out.Rendered.Functions)
}

// A cancelled run carries nothing out and says why.
func TestRunCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the host waits no longer"))
	ws := workspace(t, revision("web", api.Task{Type: api.TaskInit, Init: &api.InitTask{}}))
	after, _, err := orchestration.Run(ctx, handlerOf(), ws, orchestration.Options{})
	require.ErrorContains(t, err, "the host waits no longer")
	assert.Equal(t, ws.Paths(), after.Paths())
}

// workspace is a declaring package with an order a file.
func workspace(t *testing.T, orders ...*api.PackageRevision) kptpkg.Tree {
	t.Helper()
	files := []*kptpkg.File{kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: shop\n"))}
	for _, pr := range orders {
		files = append(files, kptpkg.NewDocs(pr.Metadata.Name+".yaml", docOf(pr)))
	}
	ws, err := kptpkg.NewTree(files...)
	require.NoError(t, err)
	return ws
}
