package task

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Revision is a package revision that a task names.
type Revision struct {
	Name      string
	Package   kptpkg.Tree                               // its content
	Published bool                                      // whether its content is final
	Lock      *upstream.Lock                            // where it is kept; nil: in this workspace only
	Current   bool                                      // it is the revision whose package is at work, the target's holder
	SameAs    func(repository, packageName string) bool // whether it is one of that package's revisions
	Made      []*api.PackageRevision                    // the orders that made it, the first one first, as far as they are declared
}

// Revisions finds the package revisions that tasks name.
type Revisions interface {
	// Revision returns the revision of that name as seen from a namespace. The
	// error says where it was looked for. Placeholders are none.
	Revision(ctx context.Context, namespace, name string) (*Revision, error)
}

// revision finds the revision that a field of the task names.
func (j *Job) revision(ctx context.Context, field, name string) (*Revision, error) {
	rev, err := j.Revisions.Revision(ctx, j.Revision.Metadata.Namespace, name)
	if err != nil {
		return nil, j.taskError(field, fmt.Sprintf("package revision %q: %v", name, err), err)
	}
	return rev, nil
}

// published is revision for one whose content has to be final.
func (j *Job) published(ctx context.Context, field, name string) (*Revision, error) {
	rev, err := j.revision(ctx, field, name)
	if err == nil && rev.Current && name == j.Revision.Metadata.Name {
		return nil, j.taskError(field, fmt.Sprintf("names this package revision (%q) itself: name a published one", name), nil)
	}
	if err == nil && !rev.Published {
		return nil, j.taskError(field, fmt.Sprintf("package revision %q is not published, so its content may change: publish it first (spec.lifecycle: Published)", name), nil)
	}
	return rev, err
}
