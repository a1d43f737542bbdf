package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// lifecycleVerb is a command that moves revisions from one lifecycle to another.
type lifecycleVerb struct {
	use, short string
	aliases    []string
	// next is the lifecycle that one is moved to, by the one it has, and what is
	// said then.
	next map[api.Lifecycle]move
	// none is said of a revision with another lifecycle.
	none string
}

type move struct {
	to      api.Lifecycle // the one that it has: nothing is to do
	message string        // after the revision's name
	// approval says that it takes an approver, in Porch's sense.
	approval bool
}

func (a *app) lifecycleCommand(f *rpkgFlags, v lifecycleVerb) *cobra.Command {
	return &cobra.Command{
		Use:     v.use + " NAME...",
		Aliases: v.aliases,
		Short:   v.short,
		Args:    someArgs("names of revisions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				return forEach(args, func(name string) error { return r.move(cmd.Context(), name, v) })
			})
		},
	}
}

func (r *rpkg) move(ctx context.Context, name string, v lifecycleVerb) error {
	rev, err := r.engine.FindPackageRevision(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	m, ok := v.next[rev.Lifecycle]
	if !ok || rev.IsPlaceholder() {
		return fmt.Errorf("package revision %q is %s: %s", name, kindOf(rev), v.none)
	}
	if m.to != rev.Lifecycle {
		change := r.engine.UpdatePackageRevision
		if m.approval {
			change = r.engine.ApprovePackageRevision
		}
		_, out, err := change(ctx, withLifecycle(rev, m.to))
		if out != nil {
			r.printResults(out.Results)
		}
		if err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(r.out, "%s %s\n", name, m.message)
	return err
}

// withLifecycle is the object that gives a revision another lifecycle.
func withLifecycle(rev orchestration.Revision, to api.Lifecycle) *api.PackageRevision {
	return &api.PackageRevision{
		Header: api.Header{
			APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision",
			Metadata: api.ObjectMeta{Name: rev.Name(), Namespace: rev.Namespace, ResourceVersion: rev.Commit},
		},
		Spec: api.PackageRevisionSpec{PackageName: rev.Package, Lifecycle: to},
	}
}

func (a *app) rpkgProposeCommand(f *rpkgFlags) *cobra.Command {
	return a.lifecycleCommand(f, lifecycleVerb{
		use: "propose", short: "Propose drafts to be published",
		next: map[api.Lifecycle]move{
			api.Draft:    {to: api.Proposed, message: "proposed"},
			api.Proposed: {to: api.Proposed, message: "is already proposed"},
		},
		none: "only a Draft can be proposed",
	})
}

func (a *app) rpkgApproveCommand(f *rpkgFlags) *cobra.Command {
	return a.lifecycleCommand(f, lifecycleVerb{
		use: "approve", short: "Publish proposed revisions whose readiness gates are met",
		next: map[api.Lifecycle]move{
			api.Proposed: {to: api.Published, message: "approved", approval: true},
		},
		none: "only what is Proposed can be approved; propose it first",
	})
}

func (a *app) rpkgRejectCommand(f *rpkgFlags) *cobra.Command {
	return a.lifecycleCommand(f, lifecycleVerb{
		use: "reject", short: "Make proposed revisions drafts again, and keep those whose deletion is proposed",
		next: map[api.Lifecycle]move{
			api.Proposed:         {to: api.Draft, message: "rejected", approval: true},
			api.DeletionProposed: {to: api.Published, message: "no longer proposed for deletion", approval: true},
		},
		none: "only what is Proposed or DeletionProposed can be rejected",
	})
}

func (a *app) rpkgProposeDeleteCommand(f *rpkgFlags) *cobra.Command {
	return a.lifecycleCommand(f, lifecycleVerb{
		use: "propose-delete", aliases: []string{"propose-del"}, short: "Propose published revisions to be deleted",
		next: map[api.Lifecycle]move{
			api.Published:        {to: api.DeletionProposed, message: "proposed for deletion"},
			api.DeletionProposed: {to: api.DeletionProposed, message: "is already proposed for deletion"},
		},
		none: "only what is Published is proposed for deletion; a Draft or Proposed revision is deleted at once (stoop rpkg del)",
	})
}

func (a *app) rpkgDeleteCommand(f *rpkgFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "del NAME...",
		Aliases: []string{"delete"},
		Short:   "Delete revisions that are drafts, proposed, or proposed for deletion",
		Args:    someArgs("names of revisions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				return forEach(args, func(name string) error {
					if err := r.engine.DeletePackageRevision(cmd.Context(), r.namespace, name, ""); err != nil {
						return err
					}
					_, err := fmt.Fprintf(r.out, "%s deleted\n", name)
					return err
				})
			})
		},
	}
}
