package task

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// FetchUpstream replaces the package with the one that the clone task names,
// without the status it had there, and notes the lock for LockUpstream.
var FetchUpstream = Mutation{"fetch upstream", fetchUpstream}

func fetchUpstream(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	t, from, err := j.fetch(ctx)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	field, choose := "git.directory", "name the directory of a package"
	switch up := j.Task.Clone.UpstreamRef; {
	case up.UpstreamRef != nil:
		field, choose = "upstreamRef.name", "name another"
	case up.OCI != nil:
		field, choose = "oci.image", "name the image of a package"
	}
	switch f := t.File(kptpkg.KptfileName); {
	case f == nil:
		return kptpkg.Tree{}, j.taskError("upstreamRef."+field, fmt.Sprintf(
			"%s holds no Kptfile, so it is no kpt package: %s, or add a Kptfile there (kpt pkg init)", from, choose), nil)
	case f.Mode() == kptpkg.Symlink:
		return kptpkg.Tree{}, j.taskError("upstreamRef."+field, fmt.Sprintf("the Kptfile in %s is a symlink: make it a file there", from), nil)
	}
	if _, err := t.Kptfile("."); err != nil {
		return kptpkg.Tree{}, err
	}
	// the conditions of upstream are about another package
	t, err = t.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.Remove("status")
		return nil
	})
	if err != nil || j.Lock != nil {
		return t, err
	}
	return withoutOrigin(t)
}

// fetch reads the clone task's package and notes its lock; from says in an
// error where that is.
func (j *Job) fetch(ctx context.Context) (t kptpkg.Tree, from string, err error) {
	up := j.Task.Clone.UpstreamRef
	switch {
	case up.UpstreamRef != nil:
		rev, err := j.published(ctx, "upstreamRef.upstreamRef.name", up.UpstreamRef.Name)
		if err != nil {
			return t, "", err
		}
		if spec := j.Revision.Spec; spec.Repository != "" && rev.SameAs(spec.Repository, spec.PackageName) {
			return t, "", j.taskError("upstreamRef.upstreamRef.name", fmt.Sprintf("package revision %q is one of the package %s in repository %q itself: make its next revision by an edit or upgrade task, or clone it to a package of another name",
				rev.Name, spec.PackageName, spec.Repository), nil)
		}
		j.Lock = rev.Lock
		return rev.Package, fmt.Sprintf("package revision %q", rev.Name), nil
	case up.OCI != nil:
		t, lock, err := j.Upstream.Fetch(ctx, upstream.Ref{Type: upstream.TypeOCI, OCI: &upstream.OCIRef{Image: up.OCI.Image}})
		if err != nil {
			return t, "", j.taskError("upstreamRef.oci.image", err.Error(), err)
		}
		j.Lock = &lock
		return t, "image " + up.OCI.Image, nil
	}
	git := &upstream.GitRef{Repo: up.Git.Repo, Ref: up.Git.Ref, Directory: up.Git.Directory}
	if secret := up.Git.SecretRef.Name; secret != "" {
		if j.Credentials == nil {
			return t, "", j.taskError("upstreamRef.git.secretRef", fmt.Sprintf("secret %q: no credentials are allowed; allow them with --credentials-dir=DIR or STOOP_CREDENTIALS_DIR=DIR, or take secretRef out", secret), nil)
		}
		if git.Credential, err = j.Credentials.Credential(ctx, j.Revision.Metadata.Namespace, secret); err != nil {
			return t, "", j.taskError("upstreamRef.git.secretRef", fmt.Sprintf("secret %q: %v", secret, err), err)
		}
	}
	t, lock, err := j.Upstream.Fetch(ctx, upstream.Ref{Type: upstream.TypeGit, Git: git})
	if err != nil {
		return t, "", j.taskError("upstreamRef.git", err.Error(), err)
	}
	j.Lock = &lock
	return t, fmt.Sprintf("directory %s of %s at %s", lock.Git.Directory, lock.Git.Repo, lock.Git.Ref), nil
}

// defaultStrategy is kpt's way of updating a package that says nothing else.
const defaultStrategy = "resource-merge"

// LockUpstream writes the package's name, its upstream and the commit that was
// read into the Kptfile. An update strategy that the Kptfile states stays (Porch
// loses it). A package that came from this workspace has no upstream to lock.
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
	return j.Package.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.SetName(j.Revision.Spec.PackageName)
		switch l := j.Lock; {
		case l == nil:
		case l.OCI != nil:
			k.SetUpstream(kptpkg.Upstream{Type: "oci", UpdateStrategy: strategy, OCI: &kptpkg.OCI{Image: l.OCI.Ref}})
			k.SetUpstreamLock(l.InKptfile())
		default:
			k.SetUpstream(kptpkg.Upstream{Type: "git", UpdateStrategy: strategy,
				Git: &kptpkg.Git{Repo: l.Git.Repo, Directory: l.Git.Directory, Ref: l.Git.Ref}})
			k.SetUpstreamLock(l.InKptfile())
		}
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
