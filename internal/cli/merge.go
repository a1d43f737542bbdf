package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// mergeFlags are those of stoop merge.
type mergeFlags struct {
	conflictFlags
	output    string
	conflicts string
	root      bool
	nested    bool
	gitDriver bool
}

func (a *app) mergeCommand() *cobra.Command {
	var f mergeFlags
	cmd := &cobra.Command{
		Use:   "merge BASE LOCAL UPSTREAM -o DIR",
		Short: "Merge two versions of a package with what they both come from",
		Long: `Brings what changed from directory BASE to UPSTREAM into the package in LOCAL and
writes the result to the directory given by -o: one that is new or empty, or
LOCAL itself. A directory that doesn't exist is a side that has no package. Where
both sides changed the same thing differently nothing is written, and the command
that accepts one side is shown. With --root --nested it merges as stoop upgrade does.

As a merge driver of git, for files of KRM resources:

  git config merge.stoop.name 'KRM resources'
  git config merge.stoop.driver 'stoop merge --git-driver %O %A %B %P'
  echo '*.yaml merge=stoop' >> .gitattributes
  echo 'Kptfile merge=stoop' >> .gitattributes

With --git-driver the arguments are files. The result is written to LOCAL. Where
both changed the same thing it holds local's values, and the command fails, so
that git asks for the file to be looked at. Files without resources are merged
by their lines, as git does.`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case f.gitDriver && len(args) != 3 && len(args) != 4:
				return usageError("stoop merge --git-driver takes three files, %%O %%A %%B, and the path they are for, %%P: run `stoop merge --help`")
			case !f.gitDriver && len(args) != 3:
				return usageError("stoop merge takes three directories: run `stoop merge --help`")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := f.options()
			if err != nil {
				return err
			}
			if !f.gitDriver {
				return a.merge(cmd.Context(), [3]string(args), opts, f)
			}
			if f.output != "" || f.conflicts != "" || f.strategy != "" || f.root || f.nested {
				return usageError("--git-driver merges files, in place: -o, --conflicts, --strategy, --root and --nested are for directories")
			}
			name := args[1]
			if len(args) == 4 {
				name = args[3]
			}
			return a.mergeFiles(cmd.Context(), [3]string(args[:3]), name, opts)
		},
	}
	fs := cmd.Flags()
	f.conflictFlags.flags(fs, string(merge.ResourceMerge))
	fs.StringVarP(&f.output, "output", "o", "", "`DIR` to write the result to; LOCAL for in place")
	fs.StringVar(&f.conflicts, "conflicts", "", "`FORMAT`: json writes all conflicts to standard output; without -o only that")
	fs.BoolVar(&f.root, "root", false, "the directories are what is being upgraded, not a package within it: resource-merge leaves the Kptfile's upstream and upstreamLock alone")
	fs.BoolVar(&f.nested, "nested", false, "merge packages within that have an upstream of their own too, each by its own strategy, instead of leaving them as they are in LOCAL")
	fs.BoolVar(&f.gitDriver, "git-driver", false, "merge files, as a merge driver of git")
	return cmd
}

// merge merges the directories base, local and upstream.
func (a *app) merge(ctx context.Context, names [3]string, opts merge.Options, f mergeFlags) error {
	switch {
	case f.conflicts != "" && f.conflicts != "json":
		return usageError("--conflicts is %q: write json", f.conflicts)
	case f.output == "" && f.conflicts == "":
		return usageError("say where the result goes: -o DIR, or -o %s for in place", shellQuote(names[1]))
	}
	opts.Root, opts.Nested = f.root, f.nested
	var trees [3]kptpkg.Tree
	var inPlace *kptdir.Dir
	for i, name := range names {
		var err error
		switch info, statErr := os.Stat(name); {
		case errors.Is(statErr, fs.ErrNotExist):
		case statErr != nil:
			return statErr
		case !info.IsDir():
			return usageError("%s is not a directory: single files are merged with --git-driver", name)
		case i == 1 && f.output != "" && sameFile(info, f.output):
			if inPlace, err = kptdir.Open(ctx, name, a.sources.directoryLimits()); err == nil {
				defer func() { _ = inPlace.Close() }()
				trees[i] = inPlace.Tree()
			}
		default:
			trees[i], err = kptdir.Read(ctx, name, a.sources.directoryLimits())
		}
		if err != nil {
			return err
		}
	}
	if trees[0].Len()+trees[1].Len()+trees[2].Len() == 0 {
		return usageError("there is nothing in %s, %s and %s: name three versions of a package", names[0], names[1], names[2])
	}
	if f.output != "" && inPlace == nil {
		if err := a.checkEmpty(ctx, f.output); err != nil {
			return err
		}
	}
	res, err := merge.Merge(trees[0], trees[1], trees[2], opts)
	var open *merge.ConflictError
	if f.conflicts != "" && (err == nil || errors.As(err, &open)) {
		if err := writeConflicts(a.out, res.Conflicts); err != nil {
			return err
		}
	}
	if err := a.judge(err, res.Conflicts, res.Unused); err != nil {
		return err
	}
	a.printSkipped(res.Skipped)
	if f.output == "" {
		return nil
	}
	if inPlace != nil {
		return inPlace.Write(ctx, res.Tree)
	}
	return a.writeNew(ctx, f.output, res.Tree, writeFlags{})
}

// printSkipped says which packages were left out of a merge.
func (a *app) printSkipped(dirs []string) {
	var results []fn.Result
	for _, dir := range dirs {
		r := fn.Result{Severity: fn.Warning, File: &fn.File{Path: path.Join(dir, kptpkg.KptfileName)}, Message: "the package has an upstream of its own, so what UPSTREAM changed in it was left out: --nested merges it"}
		if dir == "." {
			r.Message = "LOCAL comes from another upstream than BASE, so nothing was merged: --root merges it"
		}
		results = append(results, r)
	}
	a.printResults(results)
}

func sameFile(info os.FileInfo, name string) bool {
	other, err := os.Stat(name)
	return err == nil && os.SameFile(info, other)
}

// checkEmpty refuses a directory to write to that holds files: they would be
// replaced.
func (a *app) checkEmpty(ctx context.Context, name string) error {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	switch tree, err := kptdir.Read(ctx, name, a.sources.directoryLimits()); {
	case err != nil:
		return err
	case tree.Len() > 0:
		return fmt.Errorf("directory %s is there and not empty: name a new one, or LOCAL to write in place", name)
	}
	return nil
}
