package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/task"
)

func (a *app) renderCommand() *cobra.Command {
	var w writeFlags
	cmd := &cobra.Command{
		Use:   "render DIR",
		Short: "Run a package's pipeline, as kpt fn render does",
		Args:  exactArgs(1, "one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.render(cmd.Context(), args[0], w)
		},
	}
	w.flags(cmd.Flags())
	statusFlag(cmd.Flags(), &a.perms)
	return cmd
}

func (a *app) render(ctx context.Context, name string, w writeFlags) error {
	dir, err := kptdir.Open(ctx, name, kptdir.Limits{})
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	abs, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	r := &render.Renderer{Runtime: a.perms.runtime(), Name: filepath.Base(abs), Strict: true}
	rendered, err := r.Render(ctx, dir.Tree())
	a.printResults(rendered.Results)
	var failed *render.Error
	if errors.As(err, &failed) && failed.Refused {
		return err
	}
	after, statusErr := task.WriteStatus(rendered.Tree, rendered, task.StatusPolicy(a.perms.status))
	if statusErr != nil {
		return errors.Join(err, statusErr)
	}
	if writeErr := a.write(ctx, dir, after, w); writeErr != nil || err != nil {
		return errors.Join(err, writeErr)
	}
	fmt.Fprintf(a.err, "%d functions in %d packages\n", rendered.Functions, rendered.Packages)
	return nil
}
