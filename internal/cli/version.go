package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
)

// version is set by the linker; without it the module's version is used.
var version = ""

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			v := version
			if info, ok := debug.ReadBuildInfo(); ok && v == "" {
				v = info.Main.Version
			}
			fmt.Fprintf(a.out, "stoop %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func (a *app) fnCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "fn", Short: "About functions"}
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the functions that are built in",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			for _, f := range builtin.List() {
				fmt.Fprintf(a.out, "%-32s %s\n", f.Name, f.Doc)
			}
			return nil
		},
	})
	return cmd
}
