package task_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

const kptfile = `apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: web # renamed
status:
  conditions:
  - type: upstream.example.com/ready
    status: "True"
pipeline:
  mutators:
  - image: set-labels:v0.2.0
    configMap: {tier: front}
`

// Every kind of the table keeps what tasktest asks for.
func TestKindsConform(t *testing.T) {
	repo := repositorytest.New(t)
	repo.Commit("main",
		repositorytest.Entry{Path: "web/Kptfile", Content: kptfile},
		repositorytest.Entry{Path: "web/cm.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"},
		repositorytest.Entry{Path: "web/broken.yaml", Content: "a: [\n"},
		repositorytest.Entry{Path: "web/run.sh", Mode: repositorytest.Executable, Content: "#!/bin/sh\n"},
	)
	jobs := map[string]api.Task{
		"init":  {Type: api.TaskInit, Init: &api.InitTask{Subpackage: "db", Keywords: []string{"a", "b"}}},
		"clone": {Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{Git: &api.GitPackage{Repo: repo.Dir, Ref: "main", Directory: "web"}}}},
		"edit":  {Type: api.TaskEdit, Edit: &api.EditTask{SourceRef: api.PackageRevisionRef{Name: "old"}}},
		"upgrade": {Type: api.TaskUpgrade, Upgrade: &api.UpgradeTask{
			OldUpstreamRef: api.PackageRevisionRef{Name: "old"}, NewUpstreamRef: api.PackageRevisionRef{Name: "new"},
			LocalPackageRevisionRef: api.PackageRevisionRef{Name: "old"},
		}},
		"update": {}, "render": {}, "replace": {}, "eval": {}, "tool_call": {},
	}
	made := tree(t, map[string]string{"Kptfile": kptfile, "cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
	for _, kind := range task.Kinds {
		spec, ok := jobs[kind.Name]
		require.True(t, ok, "no job for %s: add one", kind.Name)
		makes := spec.Type != ""
		job := func() *task.Job {
			pr := &api.PackageRevision{}
			pr.Metadata.Name = "web"
			pr.Spec = api.PackageRevisionSpec{
				PackageName:     "web",
				PackageMetadata: &api.PackageMetadata{Labels: map[string]string{"a": "1", "b": "2", "c": "3"}},
				ReadinessGates:  []api.ReadinessGate{{ConditionType: "z"}, {ConditionType: "a"}},
			}
			j := &task.Job{
				Revision: pr, Deployment: true, Status: task.StatusAlways,
				Upstream: upstream.Mux{upstream.TypeGit: upstream.Git{Client: &repository.Git{Access: repository.Access{FileRepos: []string{repo.Dir}}}}},
				Resources: &api.PackageRevisionResources{Spec: api.PackageRevisionResourcesSpec{Resources: map[string]string{
					"Kptfile": kptfile, "cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {b: c}}\n",
				}}},
				Function:  &kptpkg.Function{Image: "set-annotations:v0.1.4", ConfigMap: map[string]string{"b": "1", "a": "2"}},
				Renderer:  &render.Renderer{Runtime: builtin.New(builtin.Compatible)},
				Revisions: revisions{"old": made, "new": tree(t, map[string]string{"Kptfile": kptfile, "cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {new: \"1\"}}\n"})},
			}
			if makes {
				pr.Spec.Tasks = []api.Task{spec}
				j.Task = &pr.Spec.Tasks[0]
			} else {
				j.Package = made
			}
			return j
		}
		failing := func() *task.Job {
			j := job()
			j.Package = tree(t, map[string]string{"Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\npipeline: [\n", "cm.yaml": "a: b\n"})
			j.Resources = &api.PackageRevisionResources{Spec: api.PackageRevisionResourcesSpec{Resources: map[string]string{"Kptfile": "pipeline: [\n"}}}
			if kind.Name == "tool_call" { // reads no Kptfile
				j.Function = &kptpkg.Function{Image: "unknown"}
			}
			return j
		}
		t.Run(kind.Name, func(t *testing.T) { tasktest.Conform(t, kind, job, failing) })
	}
}

// revisions are published ones by name.
type revisions map[string]kptpkg.Tree

func (r revisions) Revision(_ context.Context, _, name string) (*task.Revision, error) {
	return &task.Revision{
		Name: name, Package: r[name], Published: true,
		Lock:   &upstream.Lock{Type: upstream.TypeGit, Git: &upstream.GitLock{Repo: "r", Directory: "d", Ref: "v2", Commit: "c"}},
		SameAs: func(string, string) bool { return true },
	}, nil
}

// An image need not hold a package.
func TestCloneImageWithoutKptfile(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/packages/web:v1"
	client := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	_, err := client.Push(t.Context(), repository.OCIRef{Image: image}, tree(t, map[string]string{"cm.yaml": "a: b\n"}))
	require.NoError(t, err)
	j := &task.Job{Revision: &api.PackageRevision{}, Upstream: upstream.Mux{upstream.TypeOCI: upstream.OCI{Client: client}}}
	j.Task = &api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{OCI: &api.OCIPackage{Image: image}}}}
	_, err = task.FetchUpstream.Apply(t.Context(), j)
	require.ErrorContains(t, err, "clone.upstreamRef.oci.image: image "+image+" holds no Kptfile, so it is no kpt package: name the image of a package, or add a Kptfile there (kpt pkg init)")
}

// A package that is there already is not made once more of itself.
func TestCloneOfItself(t *testing.T) {
	j := &task.Job{Revision: &api.PackageRevision{}, Revisions: revisions{"up": tree(t, map[string]string{"Kptfile": kptfile})}}
	j.Revision.Spec = api.PackageRevisionSpec{Repository: "r", PackageName: "web"}
	j.Task = &api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{UpstreamRef: &api.PackageRevisionRef{Name: "up"}}}}
	_, err := task.FetchUpstream.Apply(t.Context(), j)
	require.ErrorContains(t, err, `package revision "up" is one of the package web in repository "r" itself: make its next revision by an edit or upgrade task`)
}

// What an upstream says of itself is not true of the clone.
func TestFetchUpstreamDropsStatus(t *testing.T) {
	j := &task.Job{Revision: &api.PackageRevision{}, Revisions: revisions{"up": tree(t, map[string]string{"Kptfile": kptfile})}}
	j.Task = &api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{UpstreamRef: &api.PackageRevisionRef{Name: "up"}}}}
	got, err := task.FetchUpstream.Apply(t.Context(), j)
	require.NoError(t, err)
	k, err := got.Kptfile(".")
	require.NoError(t, err)
	assert.Empty(t, k.Status.Conditions)
}

func TestLockUpstream(t *testing.T) {
	j := &task.Job{Revision: &api.PackageRevision{}, Package: tree(t, map[string]string{"Kptfile": kptfile})}
	j.Revision.Spec.PackageName = "mine"
	j.Lock = &upstream.Lock{Type: upstream.TypeGit, Git: &upstream.GitLock{Repo: "r", Directory: "d", Ref: "v1", Commit: "c"}}
	got, err := task.LockUpstream.Apply(t.Context(), j)
	require.NoError(t, err)
	k, err := got.Kptfile(".")
	require.NoError(t, err)
	assert.Equal(t, "mine", k.Metadata.Name)
	assert.Equal(t, "c", k.UpstreamLock.Git.Commit)
	assert.Equal(t, "resource-merge", k.Upstream.UpdateStrategy)
}

func TestAddMergeKeys(t *testing.T) {
	const given = "# top\napiVersion: apps/v1\nkind: Deployment\nmetadata:%s\n  name: web\n"
	for name, c := range map[string]struct{ comment, want, id string }{
		"added":                 {"", "# kpt-merge: /web", "apps|Deployment|default|web"},
		"believed":              {" # kpt-merge: ns/old", "# kpt-merge: ns/old", "apps|Deployment|ns|old"},
		"another comment stays": {" # mine", "# mine", "apps|Deployment|default|web"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &task.Job{Package: tree(t, map[string]string{"a.yaml": fmt.Sprintf(given, c.comment)})}
			got, err := task.AddMergeKeys.Apply(t.Context(), j)
			require.NoError(t, err)
			b, err := got.File("a.yaml").Bytes()
			require.NoError(t, err)
			assert.Contains(t, string(b), "metadata: "+c.want+"\n")
			assert.Contains(t, string(b), c.id)
			again, err := task.AddMergeKeys.Apply(t.Context(), &task.Job{Package: got})
			require.NoError(t, err)
			assert.Equal(t, tasktest.Content(t, got), tasktest.Content(t, again))
		})
	}

	j := &task.Job{Revision: &api.PackageRevision{}, Package: tree(t, map[string]string{"a.yaml": fmt.Sprintf(given, " # kpt-merge: nonsense")})}
	got, err := task.AddMergeKeys.Apply(t.Context(), j)
	require.NoError(t, err)
	assert.Equal(t, tasktest.Content(t, j.Package), tasktest.Content(t, got), "a file with a malformed key stays as it is")
	require.Len(t, j.Results, 1)
	assert.Contains(t, j.Results[0].Message, `line 4: malformed merge comment "# kpt-merge: nonsense"`)
}

func TestFindUnknown(t *testing.T) {
	_, ok := task.Find("push")
	assert.False(t, ok)
}

func tree(t testing.TB, content map[string]string) kptpkg.Tree {
	t.Helper()
	var files []*kptpkg.File
	for p, c := range content {
		files = append(files, kptpkg.NewFile(p, kptpkg.Regular, []byte(c)))
	}
	tree, err := kptpkg.NewTree(files...)
	require.NoError(t, err)
	return tree
}
