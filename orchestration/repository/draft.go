package repository

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Draft is a change of a package revision that isn't written yet. It is kept in
// memory until [Repository.CloseDraft]; to drop it is to roll it back. It must
// not be used concurrently.
type Draft struct {
	pkg, workspace string
	of             *Revision // what is changed; nil: a new one
	read           func(context.Context) (kptpkg.Tree, error)
	updates        []update
	closed         bool
}

// update is one change of a draft's content.
type update struct {
	content kptpkg.Tree
	task    *api.Task // nil: a render
}

// Package is the path of the package.
func (d *Draft) Package() string { return d.pkg }

// Workspace is the name of the revision's workspace.
func (d *Draft) Workspace() string { return d.workspace }

// Revision is the revision that is changed, as it was when the draft was opened;
// ok is false when it is a new one.
func (d *Draft) Revision() (r Revision, ok bool) {
	if d.of == nil {
		return Revision{}, false
	}
	return *d.of, true
}

// Resources is the package as it is now; empty for a new revision before its
// first update.
func (d *Draft) Resources(ctx context.Context) (kptpkg.Tree, error) {
	if n := len(d.updates); n > 0 {
		return d.updates[n-1].content, nil
	}
	if d.of == nil {
		return kptpkg.Tree{}, nil
	}
	return d.read(ctx)
}

// UpdateResources replaces the package. t is the task that did it, nil for a
// render; each update becomes one commit that notes its task. A published
// revision's content is refused, and so is one without a Kptfile.
func (d *Draft) UpdateResources(_ context.Context, pkg kptpkg.Tree, t *api.Task) error {
	switch {
	case d.closed:
		return fmt.Errorf("package %s, workspace %s: the draft was closed before", d.pkg, d.workspace)
	case d.of != nil && d.of.IsPublished():
		return fmt.Errorf("package revision %s is %s: its content doesn't change any more; make a new revision of it", d.of.Name(), d.of.Lifecycle)
	case pkg.File(kptpkg.KptfileName) == nil:
		return fmt.Errorf("package %s, workspace %s: it has no %s, without which it is no package", d.pkg, d.workspace, kptpkg.KptfileName)
	}
	d.updates = append(d.updates, update{pkg, t})
	return nil
}
