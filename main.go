// Stoop creates, clones and renders kpt packages from task objects kept in the
// package: Porch without the cluster, in one KRM function.
package main

import (
	"os"

	"github.com/stoop-dev/stoop/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
