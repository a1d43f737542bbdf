package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			version := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
			}
			fmt.Fprintf(a.out, "stoop %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func (a *app) fnCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "fn", Short: "About functions"}
	cmd.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the functions that are built in",
		Long:  "Lists the functions that run in process, the versions whose behaviour they have,\nand the images they answer for.",
		Args:  exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "IMAGE\tVERSIONS\tDOES")
			var others []string
			for _, f := range builtin.List() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", f.Images[0], strings.Join(f.Versions, " "), f.Doc)
				others = f.Images[1:]
				for i, image := range others {
					others[i] = strings.ReplaceAll(image, f.Name, "NAME")
				}
			}
			fmt.Fprintf(w, "\nEach is also found as %s.\n", strings.Join(others, ", "))
			return w.Flush()
		},
	})
	return cmd
}
