package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

func (a *app) getCommand() *cobra.Command {
	var w writeFlags
	cmd := &cobra.Command{
		Use:   "get {REPO[/DIR]@REF | oci://IMAGE} [DIR]",
		Short: "Get one package, now, no object needed",
		Long: `Gets a package from a git repository or a registry into a new directory: Kptfile
with upstream, lock and the directory's name, merge keys on the resources. Its
pipeline is not run: stoop render does that. Naming the repository or image here
is leave to read it, with the credentials that git or docker would use.
Without @REF it is the repository's default branch; without the last DIR the name
of the package.

  stoop get https://github.com/owner/packages/web@v1
  stoop get oci://registry.example.com/team/web:v1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usageError("stoop get takes a package and a directory: run `stoop get --help`")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) == 2 {
				to = args[1]
			}
			return a.get(cmd.Context(), args[0], to, w)
		},
	}
	w.flags(cmd.Flags())
	return cmd
}

func (a *app) get(ctx context.Context, from, to string, w writeFlags) error {
	source, ref, err := a.getSource(ctx, from)
	if err != nil {
		return err
	}
	if to == "" {
		to = packageName(ref)
	}
	abs, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(abs); err == nil && len(entries) > 0 {
		return fmt.Errorf("directory %s is there and not empty: a package is only made where there is nothing; name another", to)
	}
	tree, results, err := orchestration.Get(ctx, source, ref, filepath.Base(abs))
	a.printResults(results)
	if err != nil {
		return err
	}
	return a.writeNew(ctx, to, tree, w)
}

// getSource is where the argument of get says that the package is, and what reads
// it there.
func (a *app) getSource(ctx context.Context, from string) (upstream.Source, upstream.Ref, error) {
	if image, ok := strings.CutPrefix(from, "oci://"); ok {
		host, name, _ := strings.Cut(image, "/")
		if host == "" || name == "" {
			return nil, upstream.Ref{}, usageError("%s names no image: write oci://REGISTRY/NAME:TAG, or @sha256:DIGEST in place of the tag", api.WithoutCredentials(from))
		}
		client := a.oci(a.git(repository.Access{Network: []string{host}}, true))
		client.DockerConfig = true
		return upstream.OCI{Client: client}, upstream.Ref{Type: upstream.TypeOCI, OCI: &upstream.OCIRef{Image: image}}, nil
	}
	repo, dir, ref, err := upstream.ParseLocator(from)
	if err != nil {
		return nil, upstream.Ref{}, usageError("%v", err)
	}
	access, err := repository.AccessTo(repo)
	if err != nil {
		return nil, upstream.Ref{}, err
	}
	git := a.git(access, true)
	if ref == "" {
		if ref, err = git.DefaultRef(ctx, repo); err != nil {
			return nil, upstream.Ref{}, err
		}
	}
	return upstream.Git{Client: git}, upstream.Ref{Type: upstream.TypeGit, Git: &upstream.GitRef{Repo: repo, Ref: ref, Directory: dir}}, nil
}

// packageName is what a package is called where it is.
func packageName(ref upstream.Ref) string {
	if ref.OCI != nil {
		image, _, _ := strings.Cut(ref.OCI.Image, "@")
		name, _, _ := strings.Cut(path.Base(image), ":")
		return name
	}
	if name := path.Base(ref.Git.Directory); ref.Git.Directory != "" && name != "." && name != "/" {
		return name
	}
	return path.Base(strings.TrimSuffix(strings.TrimRight(ref.Git.Repo, "/"), ".git"))
}

// writeNew writes a package to a directory that need not be there yet.
func (a *app) writeNew(ctx context.Context, name string, tree kptpkg.Tree, w writeFlags) error {
	if w.dryRun || w.check {
		return a.show(kptpkg.Tree{}, tree, w)
	}
	_, statErr := os.Stat(name)
	if err := os.MkdirAll(name, 0o777); err != nil {
		return err
	}
	dir, err := kptdir.Open(ctx, name, a.sources.directoryLimits())
	if err == nil {
		err = errors.Join(a.write(ctx, dir, tree, w), dir.Close())
	}
	if err != nil && statErr != nil {
		_ = os.Remove(name) // only if it is empty
	}
	return err
}
