package task

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// CopyRevision makes the package from a published revision of the same package,
// as it is. Where the target holds that revision already nothing is copied: the
// new revision takes it over.
var CopyRevision = Mutation{"copy revision", copyRevision}

func copyRevision(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	const field = "sourceRef.name"
	name := j.Task.Edit.SourceRef.Name
	rev, err := j.published(ctx, field, name)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	spec := j.Revision.Spec
	if j.By == nil && !rev.SameAs(spec.Repository, spec.PackageName) {
		return kptpkg.Tree{}, j.taskError(field, fmt.Sprintf("package revision %q is not one of the package %s in repository %q: edit makes a new revision of the same package; clone makes another package of it",
			name, spec.PackageName, spec.Repository), nil)
	}
	if rev.Current {
		return j.Package, nil
	}
	if _, err := requireEmpty(ctx, j); err != nil {
		return kptpkg.Tree{}, err
	}
	return rev.Package, nil
}
