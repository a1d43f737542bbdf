package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// writeFlags say what is to become of changes to a directory.
type writeFlags struct {
	dryRun, diff, check bool
}

func (w *writeFlags) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&w.dryRun, "dry-run", false, "write nothing, say what would be done")
	fs.BoolVar(&w.diff, "diff", false, "print the changes as a unified diff")
	fs.BoolVar(&w.check, "check", false, "write nothing, exit with 1 when something would change")
}

func (a *app) runCommand() *cobra.Command {
	var w writeFlags
	var c conflictFlags
	cmd := &cobra.Command{
		Use:   "run DIR|FILE",
		Short: "Carry out the orders of a directory, in place",
		Long: `Carries out the PackageRevision objects of a directory and writes the packages
they make, all files included. Objects that have been carried out are left alone.
With a FILE only the orders in it are carried out; its directory is the nearest
one with a Kptfile.`,
		Args: exactArgs(1, "one directory or file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), args[0], c, w)
		},
	}
	w.flags(cmd.Flags())
	c.settleFlags(cmd.Flags(), "")
	statusFlag(cmd.Flags(), &a.perms)
	return cmd
}

func statusFlag(fs *pflag.FlagSet, p *permissions) {
	fs.StringVar(&p.status, "status", "keep", "whether Kptfiles get the render's status: `keep` (where they have one), always, never")
}

// checkStatus refuses a --status that means nothing.
func (p *permissions) checkStatus() error {
	switch task.StatusPolicy(p.status) {
	case task.StatusKeep, task.StatusAlways, task.StatusNever:
		return nil
	}
	return usageError("--status is %q: write keep, always or never", p.status)
}

func (a *app) run(ctx context.Context, name string, c conflictFlags, w writeFlags) error {
	if err := a.perms.checkStatus(); err != nil {
		return err
	}
	settle, err := c.options()
	if err != nil {
		return err
	}
	name, only, err := declaringDir(name)
	if err != nil {
		return err
	}
	dir, err := kptdir.Open(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	h, done, err := a.handler(name)
	if err != nil {
		return err
	}
	defer done()
	after, report, err := orchestration.RunFiles(ctx, h, dir.Tree(), orchestration.Options{
		Only: only, OnConflict: settle.OnConflict, Resolve: settle.Resolve,
	})
	if report != nil {
		a.printResults(report.Results)
	} else if err != nil {
		return err
	}
	// what the others did is kept; the report has said what failed
	if writeErr := a.write(ctx, dir, after, w); writeErr != nil || err == nil {
		return writeErr
	}
	return &exitError{code: exitFailed}
}

// write writes a directory, or shows what would be written.
func (a *app) write(ctx context.Context, dir *kptdir.Dir, after kptpkg.Tree, w writeFlags) error {
	if err := a.show(dir.Tree(), after, w); err != nil || w.dryRun || w.check {
		return err
	}
	return dir.Write(ctx, after)
}

// show prints what the flags want to see of a change. The error is exitError
// when the change was to be checked for and is one.
func (a *app) show(before, after kptpkg.Tree, w writeFlags) error {
	changes, err := kptdir.Diff(before, after)
	if err != nil {
		return err
	}
	switch {
	case w.diff:
		if err := kptdir.WriteDiff(a.out, before, after); err != nil {
			return err
		}
	case w.dryRun || w.check:
		for _, c := range changes {
			fmt.Fprintf(a.out, "%s %s\n", c.Kind(), c.Path)
		}
	}
	if w.check && len(changes) > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// declaringDir is the directory that name, a directory or a file, stands for:
// a file's is the nearest one with a Kptfile, else its own. only is the file
// below it.
func declaringDir(name string) (dir, only string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", "", usageError("%v: name a directory, or a file in one", err)
	}
	if info.IsDir() {
		return name, "", nil
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", "", err
	}
	dir = filepath.Dir(abs)
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, kptpkg.KptfileName)); err == nil {
			dir = d
			break
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	only, err = filepath.Rel(dir, abs)
	return dir, filepath.ToSlash(only), err
}
