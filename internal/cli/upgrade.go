package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// upgradeFlags are those of stoop upgrade.
type upgradeFlags struct {
	conflictFlags
	writeFlags
}

func (a *app) upgradeCommand() *cobra.Command {
	var f upgradeFlags
	cmd := &cobra.Command{
		Use:   "upgrade DIR[@REF]",
		Short: "Bring a package to another version of its upstream",
		Long: `Brings what changed upstream since the package in DIR was made or upgraded last
into it, and keeps what was changed locally. Where to look is what the Kptfile
says: upstream, and upstreamLock for the version it has now. With @REF that
becomes the upstream's ref; without, the one in the Kptfile counts, whoever wrote
it there. A strategy given here becomes the Kptfile's, as kpt does it. Where both
sides changed the same thing differently nothing is written, and the command that
accepts one side is shown.

The package names the repository, so reading it needs --allow-network or
--allow-file-repos. The result is not rendered: stoop render does that. The pipeline
only runs, on a copy, to tell what it wrote from what was changed by hand.`,
		Args: exactArgs(1, "one directory, with @REF behind it or not"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.upgrade(cmd.Context(), args[0], f)
		},
	}
	f.conflictFlags.flags(cmd.Flags(), "the Kptfile's upstream.updateStrategy, else resource-merge")
	f.writeFlags.flags(cmd.Flags())
	return cmd
}

func (a *app) upgrade(ctx context.Context, arg string, f upgradeFlags) error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	name, ref, err := directoryAt(arg)
	if err != nil {
		return err
	}
	dir, err := kptdir.Open(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	abs, err := a.resolved(name)
	if err != nil {
		return err
	}
	rs, err := a.runners(abs)
	if err != nil {
		return err
	}
	defer rs.close()
	runner := rs.of("")
	up, err := orchestration.Upgrade(ctx, a.origins(), dir.Tree(), orchestration.UpgradeOptions{
		Ref: ref, Strategy: opts.Strategy, OnConflict: opts.OnConflict, Resolve: opts.Resolve,
		Renderer: &render.Renderer{Runtime: runner.Runtime, ImagePrefix: runner.ImagePrefix, LenientResults: runner.LenientResults},
	})
	err = a.judge(err, up.Conflicts, up.Unused)
	a.printResults(up.Results)
	if err != nil {
		return err
	}
	if up.UpToDate {
		fmt.Fprintf(a.err, "%s is up to date with %s\n", name, lockText(up.To))
		return a.write(ctx, dir, up.Tree, f.writeFlags)
	}
	if err := a.write(ctx, dir, up.Tree, f.writeFlags); err != nil {
		return err
	}
	done := "upgraded"
	if f.dryRun {
		done = "would be upgraded"
	}
	fmt.Fprintf(a.err, "%s %s by %s from %s to %s; not rendered: stoop render %s does that\n",
		name, done, up.Strategy, lockText(up.From), lockText(up.To), shellQuote(name))
	return nil
}

// lockText is a lock in the words of a message.
func lockText(l upstream.Lock) string {
	if l.Git == nil {
		return l.OCI.Image
	}
	return fmt.Sprintf("%s of %s at %s (commit %s)", l.Git.Directory, l.Git.Repo, l.Git.Ref, l.Git.Commit)
}

// directoryAt takes DIR[@REF] apart. A directory may have an @ in its name, and
// so may a ref: DIR is the shortest part that is there.
func directoryAt(arg string) (dir, ref string, err error) {
	if isDir(arg) {
		return arg, "", nil
	}
	for i := 0; i < len(arg); i++ {
		if arg[i] == '@' && isDir(arg[:i]) {
			if arg[i+1:] == "" {
				return "", "", usageError("%s names no ref behind @: write the tag, branch or commit to upgrade to", arg)
			}
			return arg[:i], arg[i+1:], nil
		}
	}
	if dir, _, _ = strings.Cut(arg, "@"); dir == "" {
		return "", "", usageError("%q names no directory: write DIR, or DIR@REF", arg)
	}
	return "", "", usageError("%s is no directory: name one with a package", dir)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
