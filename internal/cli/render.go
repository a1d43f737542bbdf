package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// renderFlags are those of stoop render.
type renderFlags struct {
	writeFlags
	output     string // where resources go: empty in place, stdout, unwrap, or a directory
	resultsDir string
	format     bool
	truncate   bool
}

func (a *app) renderCommand() *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:   "render [DIR]",
		Short: "Run a package's pipeline, as kpt fn render does",
		Long: `Runs the pipelines of the package in DIR, by default the working directory, and
of its subpackages, and writes what became of the resources. What no function
changed keeps its bytes; with --format all resources are written anew and the
Kptfile gets a status, as kpt does.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("%s takes one directory: run `%[1]s --help`", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "."
			if len(args) == 1 {
				name = args[0]
			}
			if f.format && !cmd.Flags().Changed("status") {
				a.perms.status = string(task.StatusAlways)
			}
			return a.render(cmd.Context(), name, f)
		},
	}
	fs := cmd.Flags()
	f.writeFlags.flags(fs)
	statusFlag(fs, &a.perms)
	fs.StringVarP(&f.output, "output", "o", "", "write the resources elsewhere, `WHERE`: stdout (a ResourceList), unwrap (plain, to standard output), or a directory that doesn't exist")
	fs.StringVar(&f.resultsDir, "results-dir", "", "write the results of all functions to results.yaml in `DIR`")
	fs.BoolVar(&f.format, "format", false, "write every resource as kpt does; --status is always, unless given")
	fs.BoolVar(&f.truncate, "truncate-output", true, "show the first lines of long results and of what failed functions write")
	return cmd
}

func (a *app) render(ctx context.Context, name string, f renderFlags) error {
	if err := errors.Join(a.perms.checkStatus(), f.checkOutput()); err != nil {
		return err
	}
	dir, err := kptdir.Open(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	a.tuneMemory(dir.Tree())
	abs, err := a.resolved(name)
	if err != nil {
		return err
	}
	rs, err := a.runners(abs)
	if err != nil {
		return err
	}
	defer rs.close()
	opts := rs.of("")
	r := &render.Renderer{
		Runtime: opts.Runtime, ImagePrefix: opts.ImagePrefix, LenientResults: opts.LenientResults,
		Name: filepath.Base(abs), Strict: true,
	}
	rendered, renderErr := r.Render(ctx, dir.Tree())
	a.printUntouched(rendered)
	a.printSteps(rendered, f.truncate)
	if renderErr != nil {
		a.printRenderError(renderErr, abs)
	} else {
		fmt.Fprintf(a.err, "Successfully executed %d function(s) in %d package(s).\n", rendered.Functions, rendered.Packages)
	}
	failed := renderErr != nil
	if re, ok := errors.AsType[*render.Error](renderErr); ok && re.Refused {
		return &exitError{code: exitFailed}
	}
	if err := a.writeResults(rendered, f.resultsDir); err != nil {
		return err
	}
	switch {
	case f.output == "":
		after, err := a.renderedTree(rendered, f.format)
		if err == nil {
			err = a.write(ctx, dir, after, f.writeFlags)
		}
		if err != nil {
			return err
		}
	case !failed:
		return a.writeElsewhere(ctx, rendered, f)
	}
	if failed {
		return &exitError{code: exitFailed}
	}
	return nil
}

// resolved is the directory that name leads to; a package is called by it.
func (a *app) resolved(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	to, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", err
	}
	if info, err := os.Lstat(abs); err == nil && info.Mode()&os.ModeSymlink != 0 {
		fmt.Fprintf(a.err, "[WARN] resolved symlink %q to %q\n", name, to)
	}
	return to, nil
}

// renderedTree is the package as it is to be written, with its status.
func (a *app) renderedTree(r *render.Rendered, format bool) (kptpkg.Tree, error) {
	t, policy := r.Tree, task.StatusPolicy(a.perms.status)
	var err error
	if format {
		if t, err = r.Format(); err != nil {
			return t, err
		}
	}
	if t, err = task.WriteStatus(t, r, policy); err != nil || !format || policy == task.StatusNever {
		return t, err
	}
	return t.FormatKptfile(".")
}
