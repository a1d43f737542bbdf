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
	clone := &api.CloneTask{}
	switch ref.Type {
	case upstream.TypeGit:
		clone.UpstreamRef.Git = &api.GitPackage{Repo: ref.Git.Repo, Ref: ref.Git.Ref, Directory: ref.Git.Directory}
	case upstream.TypeOCI:
		clone.UpstreamRef.OCI = &api.OCIPackage{Image: ref.OCI.Image}
	}
	pr.Spec.Tasks = []api.Task{{Type: api.TaskClone, Clone: clone}}
	job := &task.Job{Revision: pr, Task: &pr.Spec.Tasks[0], Upstream: from}
	get := task.Kind{Name: "get", Chain: []task.Mutation{task.FetchUpstream, task.LockUpstream, task.AddMergeKeys}}
	tree, err := get.Run(ctx, job)
	if err != nil {
		r := fn.ResultOf(err)
		r.ResourceRef, r.Field = nil, nil // an object that nobody wrote
		return tree, job.Results, &fn.ResultError{Result: r, Err: err}
	}
	var place string
	switch l := job.Lock; l.Type {
	case upstream.TypeGit:
		place = fmt.Sprintf("%s of %s at %s (commit %s)", l.Git.Directory, l.Git.Repo, l.Git.Ref, l.Git.Commit)
	case upstream.TypeOCI:
		place = l.OCI.Image
	}
	said := fn.Result{Severity: fn.Info, Message: fmt.Sprintf("package %s cloned from %s: %s", name, place, count(tree.Len(), "file"))}
	return tree, append(job.Results, said), nil
}
