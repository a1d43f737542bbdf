// Stoop creates, clones and renders kpt packages from task objects kept in the
// package: Porch without the cluster, in one KRM function.
package main

import (
	"os"
	"runtime/debug"

	"github.com/stoop-dev/stoop/internal/cli"

	// roots of trust where the system has none, as in an image from scratch
	_ "golang.org/x/crypto/x509roots/fallback"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a process that soon ends had better not clean up often
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
