package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stoop-dev/stoop/orchestration/render"
)

// The values of --output that are no directory.
const (
	outputList   = "stdout"
	outputUnwrap = "unwrap"
)

// checkOutput refuses flags that make no sense together, and a directory that is
// there: what is in it would be mixed up with the resources.
func (f renderFlags) checkOutput() error {
	switch {
	case f.output == "":
		return nil
	case f.dryRun || f.diff || f.writeFlags.check:
		return usageError("--output writes elsewhere: --dry-run, --diff and --check are about the package itself")
	case f.output == outputList || f.output == outputUnwrap:
		return nil
	}
	if _, err := os.Lstat(f.output); err == nil {
		// kpt's words: they are what people search for
		return fmt.Errorf("directory %q already exists, please delete the directory and retry", f.output)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeElsewhere writes the resources to where --output says. As in kpt, files
// that hold none aren't written.
func (a *app) writeElsewhere(ctx context.Context, r *render.Rendered, f renderFlags) error {
	switch f.output {
	case outputList:
		return r.WriteList(a.out)
	case outputUnwrap:
		return r.WriteStream(a.out)
	}
	t, err := r.ResourceFiles(f.format)
	if err != nil {
		return err
	}
	return a.writeNew(ctx, f.output, t, writeFlags{})
}

// writeResults writes results.yaml, in kpt's form, into dir, made if need be.
func (a *app) writeResults(r *render.Rendered, dir string) error {
	if dir == "" {
		return nil
	}
	var b bytes.Buffer
	if _, err := r.ResultList().WriteTo(&b); err != nil {
		return err
	}
	name := filepath.Join(dir, render.ResultsFile)
	err := os.MkdirAll(dir, 0o777)
	if err == nil {
		err = os.WriteFile(name, b.Bytes(), 0o666)
	}
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	fmt.Fprintf(a.err, "For complete results, see %s\n", name)
	return nil
}
