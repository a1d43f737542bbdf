// Krmfn is one of stoop's builtin functions as an executable KRM function, named
// by its first argument: what `make bench` gives kpt to run.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: krmfn FUNCTION < RESOURCELIST")
	}
	ctx := context.Background()
	f, err := builtin.New(builtin.Compatible).Find(ctx, runtime.Ref{Image: os.Args[1]})
	if err != nil {
		return err
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, _, err := fn.Serve(ctx, f.Run, in)
	if len(out) > 0 {
		if _, werr := os.Stdout.Write(out); werr != nil {
			return werr
		}
	}
	return err
}
