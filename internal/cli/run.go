package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
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
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run DIR|FILE",
		Short: "Carry out the orders of a directory, in place",
		Long: `Carries out the PackageRevision, Plan and Task objects of a directory and writes
the packages they make, all files included. What has been carried out is left
alone; a plan that was interrupted goes on where it was. With a FILE only the
orders in it are carried out; its directory is the nearest one with a Kptfile.

The first interrupt (or SIGTERM, or SIGHUP) cancels what runs, lets the finally
tasks of plans run, and writes what is done; the second interrupt or SIGTERM kills
what still runs, finally tasks too, and writes what is done.`,
		Args: f.watch.args(exactArgs(1, "one directory or file")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), args[0], f)
		},
	}
	f.writeFlags.flags(cmd.Flags())
	f.conflicts.settleFlags(cmd.Flags(), "")
	f.plans.flags(cmd.Flags(), a.getenv)
	f.watch.flags(cmd.Flags())
	f.watch.statsFlag(cmd.Flags())
	publishFlag(cmd.Flags(), &f.publish, a.getenv)
	statusFlag(cmd.Flags(), &a.perms)
	return cmd
}

func statusFlag(fs *pflag.FlagSet, p *permissions) {
	fs.StringVar(&p.status, "status", "keep", "`POLICY` for the render's status in Kptfiles: keep (where they have one), always, never")
}

// checkStatus refuses a --status that means nothing.
func (p *permissions) checkStatus() error {
	switch task.StatusPolicy(p.status) {
	case task.StatusKeep, task.StatusAlways, task.StatusNever:
		return nil
	}
	return usageError("--status is %q: write keep, always or never", p.status)
}

// runFlags are those of stoop run.
type runFlags struct {
	writeFlags
	conflicts conflictFlags
	plans     planFlags
	watch     watchFlags
	publish   bool
}

func (a *app) run(ctx context.Context, name string, f runFlags) error {
	if err := a.perms.checkStatus(); err != nil {
		return err
	}
	settle, err := f.conflicts.options()
	if err != nil {
		return err
	}
	opts := orchestration.Options{OnConflict: settle.OnConflict, Resolve: settle.Resolve, Kill: a.kill, Dry: f.dryRun || f.check}
	if err := f.plans.options(&opts, a.getenv); err != nil {
		return err
	}
	name, opts.Only, err = declaringDir(name)
	if err != nil {
		return err
	}
	a.spareCollecting()
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
	// What is done is written also when the run is cancelled.
	writing := context.WithoutCancel(ctx)
	before := dir.Tree()
	if !f.dryRun && !f.check {
		if err := dir.Writable(); err != nil && hasWork(h, before, opts) {
			return fmt.Errorf("nothing was begun, for nothing of it could be kept: %w", err)
		}
		opts.Save, opts.Suspend = saver(writing, dir)
	}
	taken := ""
	if f.diff || f.dryRun || f.check || f.watch.stats != "" {
		taken = "the changes or figures"
	}
	shown, err := f.watch.start(a, &opts, nameOf(name), taken, true)
	if err != nil {
		return err
	}
	after, report, err := orchestration.RunFiles(ctx, h, before, opts)
	if eventsErr := shown.end(report); eventsErr != nil {
		a.printError(eventsErr)
	}
	if report != nil {
		a.printResults(report.Results)
	} else if err != nil {
		return err
	}
	// what the others did is kept; the report has said what failed
	if showErr := a.show(before, after, f.writeFlags); showErr != nil {
		return showErr
	}
	if !f.dryRun && !f.check {
		if err := dir.Write(writing, after); err != nil {
			return err
		}
	}
	if printErr := f.watch.print(a, report); printErr != nil {
		return printErr
	}
	switch {
	case err != nil && onlyCancelled(report.Results):
		return &exitError{code: exitCancelled}
	case err != nil:
		return &exitError{code: exitFailed}
	case f.publish && !f.dryRun && !f.check:
		return a.publish(ctx, after, report.Jobs, opts)
	}
	return nil
}

// hasWork says whether a run may carry out anything.
func hasWork(h *orchestration.TaskHandler, ws kptpkg.Tree, opts orchestration.Options) bool {
	planned, _, _ := orchestration.Inspect(h, ws, opts) // what is wrong is the run's to say
	return slices.ContainsFunc(planned, func(p orchestration.Planned) bool {
		return p.Prospect == orchestration.WouldRun || p.Prospect == orchestration.MayRun
	})
}

// saver keeps what is finished of a run. When it can't, it suspends the run: what
// else would begin would be lost too, and asked for again.
func saver(ctx context.Context, dir *kptdir.Dir) (save func(kptpkg.Tree) error, suspend <-chan struct{}) {
	lost := make(chan struct{})
	stop := sync.OnceFunc(func() { close(lost) })
	return func(ws kptpkg.Tree) error {
		err := dir.Write(ctx, ws)
		if err != nil {
			stop()
		}
		return err
	}, lost
}

// onlyCancelled says whether all that failed did so because a plan asks to be
// cancelled.
func onlyCancelled(results []fn.Result) bool {
	cancelled := false
	for _, r := range results {
		if r.Severity != fn.Error {
			continue
		}
		if r.Tags[api.CodeTag] != string(dag.CancelledRun) {
			return false
		}
		cancelled = true
	}
	return cancelled
}

// publish closes what was made into its repositories.
func (a *app) publish(ctx context.Context, after kptpkg.Tree, jobs []orchestration.Job, opts orchestration.Options) error {
	p, done, err := a.publisher(ctx)
	if err != nil {
		return err
	}
	results, err := p.Publish(ctx, after, jobs, opts)
	a.printResults(results)
	return errors.Join(err, done())
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
	if w == (writeFlags{}) {
		return nil
	}
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
