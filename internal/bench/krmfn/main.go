// Krmfn is one of stoop's builtin functions as an executable KRM function, named
// by its first argument: what `make bench` gives kpt to run. To the file that a
// second one names it adds a line: the processor time it took, in nanoseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/internal/bench/cputime"
)

func main() {
	err := run(os.Args[1:])
	if err == nil && len(os.Args) > 2 {
		err = tell(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 && len(args) != 2 {
		return fmt.Errorf("usage: krmfn FUNCTION [FILE] < RESOURCELIST")
	}
	ctx := context.Background()
	f, err := builtin.New(builtin.Compatible).Find(ctx, runtime.Ref{Image: args[0]})
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

// tell adds the cost of this process to a file.
func tell(name string) error {
	took, err := cputime.Process()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, took.Nanoseconds())
	return errors.Join(err, f.Close())
}
