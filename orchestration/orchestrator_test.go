package orchestration_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
)

var initTask = api.Task{Type: api.TaskInit, Init: &api.InitTask{}}

func inPlace(pr *api.PackageRevision) *api.PackageRevision {
	pr.Metadata.Annotations[api.TargetAnnotation] = "."
	return pr
}

func with(t *testing.T, ws kptpkg.Tree, p, content string) kptpkg.Tree {
	t.Helper()
	ws, err := ws.With(kptpkg.NewFile(p, kptpkg.Regular, []byte(content)))
	require.NoError(t, err)
	return ws
}

func actions(report *orchestration.Report) map[string]orchestration.Action {
	out := map[string]orchestration.Action{}
	for _, j := range report.Jobs {
		out[j.Revision.Metadata.Name] = j.Action
	}
	return out
}

// The second run of anything does nothing, whatever may not be done any more.
func TestSecondRunDoesNothing(t *testing.T) {
	repo := upstreamWeb(t)
	ws := workspace(t, inPlace(revision("shop", initTask)), revision("web", cloneOf(repo.Dir, "main", "web")))
	once, report, err := orchestration.Run(t.Context(), handlerOf(repo.Dir), ws, orchestration.Options{})
	require.NoError(t, err)
	assert.Equal(t, map[string]orchestration.Action{"shop": orchestration.ActionCreate, "web": orchestration.ActionCreate}, actions(report))

	twice, report, err := orchestration.Run(t.Context(), handlerOf(), once, orchestration.Options{RefuseInPlace: "no", RefuseCreation: "no"})
	require.NoError(t, err)
	assert.Equal(t, map[string]orchestration.Action{"shop": orchestration.ActionNone, "web": orchestration.ActionNone}, actions(report))
	assert.Empty(t, report.Results)
	assert.Equal(t, tasktest.Content(t, once), tasktest.Content(t, twice))
}

func TestRefusals(t *testing.T) {
	init := func(name string) *api.PackageRevision { return revision(name, initTask) }
	for name, c := range map[string]struct {
		ws   kptpkg.Tree
		opts orchestration.Options
		want string
	}{
		"in place":               {workspace(t, inPlace(init("shop"))), orchestration.Options{RefuseInPlace: "not here"}, "stoop.dev/target]: not here"},
		"creation":               {workspace(t, init("web")), orchestration.Options{RefuseCreation: "not now"}, "not now"},
		"shared files":           {with(t, workspace(t, inPlace(init("shop"))), "mixed.yaml", orderText+"---\n"+webConfig), orchestration.Options{}, "share files with resources of the package that it is about (mixed.yaml)"},
		"duplicate repositories": {with(t, workspace(t), "r.yaml", repositoryText+"---\n"+repositoryText), orchestration.Options{}, "is declared twice"},
	} {
		t.Run(name, func(t *testing.T) {
			before := tasktest.Content(t, c.ws)
			after, _, err := orchestration.Run(t.Context(), handlerOf(), c.ws, c.opts)
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, before, tasktest.Content(t, after))
		})
	}
}

const (
	orderText = `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: other
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: other
  tasks:
  - type: init
    init: {}
`
	repositoryText = `apiVersion: config.porch.kpt.dev/v1alpha1
kind: Repository
metadata:
  name: cluster
spec:
  deployment: true
  type: git
  git: {repo: https://git.example.com/cluster.git}
`
)

// A package in place leaves the orders, the local Repositories beside them and
// their files alone.
func TestInPlaceKeepsOrders(t *testing.T) {
	repo := upstreamWeb(t)
	pr := inPlace(revision("shop", cloneOf(repo.Dir, "main", "web")))
	pr.Spec.Repository = "cluster"
	local := strings.Replace(repositoryText, "name: cluster\n", "name: cluster\n  annotations: {config.kubernetes.io/local-config: 'true'}\n", 1)
	ws := with(t, workspace(t, pr), "repo.yaml", local)
	after, _, err := orchestration.Run(t.Context(), handlerOf(repo.Dir), ws, orchestration.Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"Kptfile", "cm.yaml", "logo.png", "package-context.yaml", "repo.yaml", "shop.yaml"}, after.Paths())
	assert.Equal(t, local, strings.TrimPrefix(tasktest.Content(t, after)["repo.yaml"], "0 "), "the repository's deployment is read, the file kept")
}

// The record can be rebuilt however the URL is spelt, and only for the place
// that the task names.
func TestRecordIsRebuilt(t *testing.T) {
	const kptfile = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web\nupstreamLock:\n  type: git\n  git: {repo: https://example.com/up, directory: /web, ref: v1, commit: abc}\n"
	for name, c := range map[string]struct {
		task api.Task
		want orchestration.Action
	}{
		"same place":      {cloneOf("https://example.com/up.git", "v1", "web/"), orchestration.ActionRebuild},
		"another ref":     {cloneOf("https://example.com/up", "v2", "web"), orchestration.ActionCreate},
		"another package": {cloneOf("https://example.com/up", "v1", "api"), orchestration.ActionCreate},
		"another task":    {initTask, orchestration.ActionCreate},
	} {
		t.Run(name, func(t *testing.T) {
			ws := with(t, with(t, workspace(t, revision("web", c.task)), "web/Kptfile", kptfile), "web/mine.yaml", "a: b\n")
			after, report, err := orchestration.Run(t.Context(), handlerOf(), ws, orchestration.Options{})
			assert.Equal(t, c.want, report.Jobs[0].Action)
			assert.Equal(t, "0 "+kptfile, tasktest.Content(t, after)["web/Kptfile"], "the content is never touched")
			if c.want == orchestration.ActionCreate {
				require.ErrorContains(t, err, "already holds content")
				return
			}
			require.NoError(t, err)
			_, report, err = orchestration.Run(t.Context(), handlerOf(), after, orchestration.Options{})
			require.NoError(t, err)
			assert.Equal(t, orchestration.ActionNone, report.Jobs[0].Action)
		})
	}
}

// The record is written into whatever the object has for a status.
func TestRecordInAnyStatus(t *testing.T) {
	for _, status := range []string{"", "status:\n", "status: {}\n", "status: null # none\n", "status:\n  publishedBy: me\n"} {
		ws := with(t, workspace(t), "pr.yaml", orderText+status)
		after, _, err := orchestration.Run(t.Context(), handlerOf(), ws, orchestration.Options{})
		require.NoError(t, err)
		got := tasktest.Content(t, after)["pr.yaml"]
		assert.Contains(t, got, "  - type: Rendered\n", status)
		assert.Equal(t, strings.Contains(status, "me"), strings.Contains(got, "publishedBy: me"))
		_, report, err := orchestration.Run(t.Context(), handlerOf(), after, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, orchestration.ActionNone, report.Jobs[0].Action)
	}
}

// Results name files of the workspace and the order they belong to.
func TestResultsAreLocated(t *testing.T) {
	repo := upstreamWeb(t)
	repo.Commit("foreign", append(webFiles(), entry("web/values.yaml", "a: 1\n"))...)
	ws := workspace(t, revision("web", cloneOf(repo.Dir, "foreign", "web")))
	_, report, err := orchestration.Run(t.Context(), handlerOf(repo.Dir), ws, orchestration.Options{})
	require.NoError(t, err)
	var warned bool
	for _, r := range report.Results {
		if r.Severity == fn.Warning {
			warned = true
			assert.Equal(t, "web/values.yaml", r.File.Path)
			assert.Equal(t, "web", r.Tags["task"])
		}
	}
	assert.True(t, warned)
	assert.Equal(t, report.Results, report.Jobs[0].Results)
}

// An item without a path gets a file to be in, which results don't name.
func TestResultsDontNameMadeUpFiles(t *testing.T) {
	for name, order := range map[string]string{"good": orderText, "bad": strings.Replace(orderText, "init: {}", "init: {nothing: x}", 1)} {
		t.Run(name, func(t *testing.T) {
			l, err := fn.ReadList(strings.NewReader(order + "---\n" + webConfig))
			require.NoError(t, err)
			_ = (&orchestration.Function{Handler: handlerOf()}).Process(t.Context(), l)
			require.NotEmpty(t, l.Results)
			assert.Equal(t, "other", l.Results[0].ResourceRef.Name)
			assert.Nil(t, l.Results[0].File)
		})
	}
}

// A Function hands the list back as it was when its own code fails.
func TestFunctionPanics(t *testing.T) {
	in := strings.Replace(list, "items:\n", "items:\n- "+strings.ReplaceAll(strings.TrimSpace(orderText), "\n", "\n  ")+"\n", 1)
	l, err := fn.ReadList(strings.NewReader(in))
	require.NoError(t, err)
	was := text(t, l)
	err = (&orchestration.Function{}).Process(t.Context(), l) // no handler: nothing can work
	require.ErrorContains(t, err, "stoop has a bug")
	require.NotEmpty(t, l.Results)
	l.Results = nil
	assert.Equal(t, was, text(t, l))
}
