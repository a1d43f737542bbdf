package task

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// FetchUpstream replaces the package with the one that the clone task names
// and notes the lock for LockUpstream.
var FetchUpstream = Mutation{"fetch upstream", fetchUpstream}

func fetchUpstream(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	ref, err := upstreamRef(ctx, j)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	t, lock, err := j.Upstream.Fetch(ctx, ref)
	if err != nil {
		return kptpkg.Tree{}, j.fieldError("git", err.Error(), err)
	}
	switch f := t.File(kptpkg.KptfileName); {
	case f == nil:
		return kptpkg.Tree{}, j.fieldError("git.directory", fmt.Sprintf(
			"directory %s of %s at %s holds no Kptfile, so it is no kpt package: name the directory of a package, or add a Kptfile there (kpt pkg init)",
			lock.Git.Directory, lock.Git.Repo, lock.Git.Ref), nil)
	case f.Mode() == kptpkg.Symlink:
		return kptpkg.Tree{}, j.fieldError("git.directory", fmt.Sprintf(
			"the Kptfile in directory %s of %s at %s is a symlink: make it a file there", lock.Git.Directory, lock.Git.Repo, lock.Git.Ref), nil)
	}
	j.Lock = &lock
	return t, nil
}

// upstreamRef is where the clone task's package comes from.
func upstreamRef(ctx context.Context, j *Job) (upstream.Ref, error) {
	up, namespace := j.Task.Clone.UpstreamRef, j.Revision.Metadata.Namespace
	switch {
	case up.Git != nil:
		git := &upstream.GitRef{Repo: up.Git.Repo, Ref: up.Git.Ref, Directory: up.Git.Directory}
		if secret := up.Git.SecretRef.Name; secret != "" {
			if j.Credentials == nil {
				return upstream.Ref{}, j.notBuilt("git.secretRef", fmt.Sprintf("secret %q: reading credentials is not built yet: take secretRef out and use a repository that needs none", secret))
			}
			var err error
			if git.Credential, err = j.Credentials.Credential(ctx, namespace, secret); err != nil {
				return upstream.Ref{}, j.fieldError("git.secretRef", fmt.Sprintf("secret %q: %v", secret, err), err)
			}
		}
		return upstream.Ref{Type: upstream.TypeGit, Git: git}, nil
	case up.OCI != nil:
		return upstream.Ref{}, j.notBuilt("oci", "cloning from OCI is not built yet: clone from git")
	case j.References == nil:
		return upstream.Ref{}, j.notBuilt("upstreamRef", "cloning a package revision by its name is not built yet: clone from git")
	}
	ref, err := j.References.Reference(ctx, namespace, up.UpstreamRef.Name)
	if err != nil {
		return upstream.Ref{}, j.fieldError("upstreamRef", fmt.Sprintf("package revision %q: %v", up.UpstreamRef.Name, err), err)
	}
	return ref, nil
}

func (j *Job) notBuilt(field, message string) error {
	return j.fieldError(field, message, api.ErrNotBuilt)
}

// fieldError is an error about a field of the clone task's upstream.
func (j *Job) fieldError(field, message string, cause error) error {
	return &fn.ResultError{Result: fn.Result{
		Message: message, Severity: fn.Error, ResourceRef: j.Revision.Ref(),
		Field: &fn.Field{Path: fmt.Sprintf("spec.tasks[%d].clone.upstreamRef.%s", j.TaskIndex, field)},
	}, Err: cause}
}

// defaultStrategy is kpt's way of updating a package that says nothing else.
const defaultStrategy = "resource-merge"

// LockUpstream writes the package's new name, its upstream and the commit that
// was read into the Kptfile, and takes upstream's status off: its conditions
// are about another package. An update strategy that the Kptfile states stays
// (Porch loses it).
var LockUpstream = Mutation{"lock upstream", lockUpstream}

func lockUpstream(_ context.Context, j *Job) (kptpkg.Tree, error) {
	k, err := j.Package.Kptfile(".")
	if err != nil {
		return kptpkg.Tree{}, err
	}
	strategy := defaultStrategy
	if k.Upstream != nil && k.Upstream.UpdateStrategy != "" {
		strategy = k.Upstream.UpdateStrategy
	}
	l := j.Lock.Git
	return j.Package.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.Remove("status")
		k.SetName(j.Revision.Spec.PackageName)
		k.SetUpstream(kptpkg.Upstream{Type: "git", UpdateStrategy: strategy,
			Git: &kptpkg.Git{Repo: l.Repo, Directory: l.Directory, Ref: l.Ref}})
		k.SetUpstreamLock(kptpkg.UpstreamLock{Type: "git",
			Git: &kptpkg.GitLock{Repo: l.Repo, Directory: l.Directory, Ref: l.Ref, Commit: l.Commit}})
		return nil
	})
}

// SetMetadata adds the revision's labels, annotations and readiness gates to
// the Kptfile, overwriting the values of keys that are there.
var SetMetadata = Mutation{"set metadata", setMetadata}

func setMetadata(_ context.Context, j *Job) (kptpkg.Tree, error) {
	spec := j.Revision.Spec
	return j.Package.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		if m := spec.PackageMetadata; m != nil {
			k.MergeLabels(m.Labels)
			k.MergeAnnotations(m.Annotations)
		}
		k.AddReadinessGates(gateTypes(spec.ReadinessGates))
		return nil
	})
}

func gateTypes(gates []api.ReadinessGate) []string {
	if gates == nil {
		return nil
	}
	types := make([]string, len(gates))
	for i, g := range gates {
		types[i] = g.ConditionType
	}
	return types
}
