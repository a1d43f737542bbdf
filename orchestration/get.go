package orchestration

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Get fetches one package and makes it a downstream one of the given name:
// locked to its upstream, with merge keys, not rendered.
func Get(ctx context.Context, from upstream.Source, ref upstream.Ref, name string) (kptpkg.Tree, []fn.Result, error) {
	pr := &api.PackageRevision{}
	pr.APIVersion, pr.Kind, pr.Metadata.Name = api.PorchV1Alpha1, "PackageRevision", name
	pr.Spec.PackageName = name
	pr.Spec.Tasks = []api.Task{{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{
		Git: &api.GitPackage{Repo: ref.Git.Repo, Ref: ref.Git.Ref, Directory: ref.Git.Directory},
	}}}}
	job := &task.Job{Revision: pr, Task: &pr.Spec.Tasks[0], Upstream: from}
	get := task.Kind{Name: "get", Chain: []task.Mutation{task.FetchUpstream, task.LockUpstream, task.AddMergeKeys}}
	tree, err := get.Run(ctx, job)
	if err != nil {
		return tree, job.Results, err
	}
	l := job.Lock.Git
	said := fn.Result{Severity: fn.Info, Message: fmt.Sprintf("package %s cloned from %s of %s at %s (commit %s): %s",
		name, l.Directory, l.Repo, l.Ref, l.Commit, count(tree.Len(), "file"))}
	return tree, append(job.Results, said), nil
}
