package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

func (a *app) diffCommand() *cobra.Command {
	var theirs bool
	cmd := &cobra.Command{
		Use:   "diff DIR",
		Short: "Show what was changed in a package, or upstream, since it was made",
		Long: `Shows what was changed in the package in DIR since it was made or upgraded last, as
a unified diff: from the commit in its Kptfile's upstreamLock to what is there now.
What getting and rendering a package write (merge keys, the Kptfile's name, upstream,
upstreamLock and status) is left out. With --upstream it shows what changed upstream,
from that commit to what the Kptfile's upstream ref names now: what stoop upgrade
would bring. A tag that moved since is said: stoop upgrade won't go there.

The package names the repository, so reading it needs --allow-network or
--allow-file-repos. The exit code is 1 where there are differences, 2 for errors.`,
		Args: exactArgs(1, "one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			differ, err := a.diff(cmd.Context(), args[0], theirs)
			switch {
			case err != nil:
				return &exitError{exitUsage, err} // 1 says that there are differences
			case differ:
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&theirs, "upstream", false, "show what changed upstream")
	return cmd
}

// diff prints the changes and says whether there are any.
func (a *app) diff(ctx context.Context, name string, theirs bool) (bool, error) {
	pkg, err := kptdir.Read(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return false, err
	}
	var before, after kptpkg.Tree
	if theirs {
		var moved *fn.Result
		if before, after, moved, err = orchestration.UpstreamChanges(ctx, a.origins(), pkg); moved != nil {
			moved.Severity = fn.Warning // it is shown, not taken
			a.printResults([]fn.Result{*moved})
		}
	} else {
		before, after, err = orchestration.LocalChanges(ctx, a.origins(), pkg)
	}
	if err != nil {
		return false, err
	}
	changes, err := kptdir.Diff(before, after)
	if err != nil {
		return false, err
	}
	return len(changes) > 0, kptdir.WriteDiff(a.out, before, after)
}
