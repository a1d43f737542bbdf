package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// maxMergeFile is how large a file may be that is merged by itself.
const maxMergeFile = 64 << 20

// mergeFiles merges three versions of one file and writes the result to the
// second of them, as git wants it of a merge driver. name is the file's own: it
// says how to read it. With conflicts left the file gets local's values there,
// and there is an error, by which git takes the file to be in conflict; unless one
// side is to win, which it then does everywhere. A file without resources is merged
// line by line, as git does.
func (a *app) mergeFiles(ctx context.Context, files [3]string, name string, opts merge.Options) error {
	var trees [3]kptpkg.Tree
	base := path.Base(filepath.ToSlash(name))
	for i, file := range files {
		text, err := readMergeFile(file)
		if err != nil {
			return err
		}
		if trees[i], err = kptpkg.NewTree(kptpkg.NewFile(base, kptpkg.Regular, text)); err != nil {
			return err
		}
	}
	if base == kptpkg.KptfileName {
		if err := checkOrigins(name, trees, opts); err != nil {
			return err
		}
		opts.Strategy = merge.CopyMerge // takes what upstream changed in a Kptfile's upstream and lock, and its one file is a Kptfile
	}
	opts.Dir = path.Dir(filepath.ToSlash(name))
	opts.Resolve = opts.Resolve.Below(opts.Dir)
	policy := opts.OnConflict
	opts.OnConflict = merge.Fail
	res, err := merge.Merge(trees[0], trees[1], trees[2], opts)
	var open *merge.ConflictError
	if errors.As(err, &open) {
		if c := open.Conflicts[0]; c.Resource == (fn.ResourceRef{}) && c.Field == "" {
			return mergeLines(ctx, files, name, policy)
		}
		side := merge.Local
		opts.OnConflict = merge.TakeLocal
		if policy == merge.TakeUpstream {
			side, opts.OnConflict = merge.Upstream, policy
		}
		for _, c := range open.Conflicts {
			opts.Resolve[strings.TrimPrefix(c.Place(), opts.Dir+"/")] = side
		}
		res, err = merge.Merge(trees[0], trees[1], trees[2], opts)
	}
	if by, ok := errors.AsType[*merge.StrategyError](err); ok {
		err = by.Err // nobody has chosen a strategy here
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var text []byte
	if f := res.Tree.File(base); f != nil {
		if text, err = f.Bytes(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := os.WriteFile(files[1], text, 0o666); err != nil {
		return err
	}
	if open == nil || policy == merge.TakeLocal || policy == merge.TakeUpstream {
		return nil
	}
	return fmt.Errorf("%s: both sides changed %s differently: the file has local's values there; change what should be upstream's, then git add it\n%s",
		name, places(len(open.Conflicts)), strings.TrimSuffix(open.Conflicts.Table(), "\n"))
}

// mergeLines has git merge files by their lines. What both sides changed gets
// git's conflict markers, or the lines of the side that is to win.
func mergeLines(ctx context.Context, files [3]string, name string, policy merge.Policy) error {
	args := []string{"merge-file", "-q", "-L", "local", "-L", "base", "-L", "upstream"}
	switch policy {
	case merge.TakeLocal:
		args = append(args, "--ours")
	case merge.TakeUpstream:
		args = append(args, "--theirs")
	}
	err := exec.CommandContext(ctx, "git", append(args, "--", files[1], files[0], files[2])...).Run()
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 && exit.ExitCode() < 128 { // the number of conflicts
		return fmt.Errorf("%s: holds no resources, and both sides changed the same lines: they are marked in the file", name)
	}
	switch policy {
	case merge.TakeLocal:
		return nil
	case merge.TakeUpstream:
		text, err := readMergeFile(files[2])
		if err != nil {
			return err
		}
		return os.WriteFile(files[1], text, 0o666)
	}
	return fmt.Errorf("%s: both sides changed it, and it can't be merged by lines: it stays as it is locally (git merge-file: %w)", name, err)
}

func places(n int) string {
	if n == 1 {
		return "1 place"
	}
	return fmt.Sprintf("%d places", n)
}

// checkOrigins refuses to choose between two upgrades of one package: a Kptfile
// whose lock says one version while the resources are of another would spoil
// every later upgrade.
func checkOrigins(name string, trees [3]kptpkg.Tree, opts merge.Options) error {
	if opts.OnConflict == merge.TakeUpstream {
		return nil
	}
	var locks [3]string
	for i, t := range trees {
		k, err := t.Kptfile(".")
		if err != nil {
			return nil // merging says what is wrong with it, or that it is new
		}
		if l := k.UpstreamLock; l != nil && l.Git != nil {
			locks[i] = l.Git.Ref + " (commit " + l.Git.Commit + ")"
		}
	}
	if locks[0] == locks[1] || locks[0] == locks[2] || locks[1] == locks[2] {
		return nil
	}
	return fmt.Errorf("%s: upstreamLock: both sides upgraded the package, to %s and to %s: keep one side's package and upgrade it anew (stoop upgrade)", name, locks[1], locks[2])
}

func readMergeFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usageError("%v: name a file", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMergeFile+1))
	if err != nil {
		return nil, usageError("%v: name a file", err)
	}
	if len(text) > maxMergeFile {
		return nil, fmt.Errorf("%s has more than %d MiB", name, maxMergeFile>>20)
	}
	return text, nil
}
