package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// metadataFile remembers in a pulled directory which revision it holds, so that
// a push doesn't overwrite what somebody else pushed meanwhile; the name and form
// are porchctl's.
const metadataFile = ".KptRevisionMetadata"

type revisionMetadata struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name            string `yaml:"name"`
		Namespace       string `yaml:"namespace,omitempty"`
		ResourceVersion string `yaml:"resourceVersion"`
	} `yaml:"metadata"`
}

func metadataOf(namespace, name, version string) (*kptpkg.File, error) {
	m := revisionMetadata{APIVersion: kptpkg.KptfileAPIVersion, Kind: "KptRevisionMetadata"}
	m.Metadata.Name, m.Metadata.Namespace, m.Metadata.ResourceVersion = name, namespace, version
	text, err := yaml.Marshal(m)
	return kptpkg.NewFile(metadataFile, kptpkg.Regular, text), err
}

// pulledVersion is the version of the revision that a directory was pulled from,
// "" when it wasn't pulled.
func pulledVersion(tree kptpkg.Tree, name string) (string, error) {
	f := tree.File(metadataFile)
	if f == nil {
		return "", nil
	}
	text, err := f.Bytes()
	if err != nil {
		return "", err
	}
	var m revisionMetadata
	if err := yaml.Unmarshal(text, &m); err != nil {
		return "", fmt.Errorf("%s: %w: pull the revision anew, or take the file out to push whatever was pushed meanwhile", metadataFile, err)
	}
	if m.Metadata.Name != name {
		return "", fmt.Errorf("%s: the directory was pulled from %q, not from %q: name that one, or take the file out", metadataFile, m.Metadata.Name, name)
	}
	return m.Metadata.ResourceVersion, nil
}

func (a *app) rpkgPullCommand(f *rpkgFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "pull NAME [DIR]",
		Short: "Write the content of a package revision to a directory",
		Long: `Writes the package of a revision to a new directory, to be changed and pushed back.
Without DIR its resources are written to standard output as a ResourceList.`,
		Args: rangeArgs(1, 2, "the name of a revision and a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				if len(args) == 1 {
					return r.pullList(cmd.Context(), args[0])
				}
				return r.pull(cmd.Context(), args[0], args[1])
			})
		},
	}
}

func (r *rpkg) pull(ctx context.Context, name, dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("directory %s is there and not empty: a package is only written where there is nothing; name another", dir)
	}
	pkg, version, err := r.engine.Resources(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	metadata, err := metadataOf(r.namespace, name, version)
	if err != nil {
		return err
	}
	if pkg, err = pkg.With(metadata); err != nil {
		return err
	}
	return r.writeNew(ctx, dir, pkg, writeFlags{})
}

// versionAnnotation keeps on the Kptfile of a list which revision it was pulled
// from; the name is porchctl's.
const versionAnnotation = "internal.kpt.dev/resource-version"

func (r *rpkg) pullList(ctx context.Context, name string) error {
	pkg, version, err := r.engine.Resources(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	pkg, err = pkg.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		k.MergeAnnotations(map[string]string{versionAnnotation: version})
		return nil
	})
	if err != nil {
		return err
	}
	list := &fn.List{Kind: "ResourceList", APIVersion: "config.kubernetes.io/v1"}
	_, layout, err := orchestration.OpenList(list, false)
	if err != nil {
		return err
	}
	if err := layout.SaveList(list, pkg); err != nil {
		return err
	}
	if left := layout.Omitted(pkg); len(left) > 0 {
		fmt.Fprintf(r.err, "warning: %d files are no resources and left out, %s the first: name a directory to get them too\n", len(left), left[0].Path())
	}
	return list.Write(r.out)
}

func (a *app) rpkgPushCommand(f *rpkgFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "push NAME [DIR]",
		Short: "Make a directory the content of a draft, and render it",
		Long: `Makes a directory the content of a package revision, which has to be a Draft, and
renders it. A directory that was pulled before somebody else pushed is refused.
Without DIR the resources come from standard input as a ResourceList; files that
are no resources stay.`,
		Args: rangeArgs(1, 2, "the name of a revision and a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				if len(args) == 1 {
					return r.pushList(cmd.Context(), args[0])
				}
				return r.push(cmd.Context(), args[0], args[1])
			})
		},
	}
}

func (r *rpkg) push(ctx context.Context, name, from string) error {
	dir, err := kptdir.Open(ctx, from, r.sources.directoryLimits())
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	version, err := pulledVersion(dir.Tree(), name)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := r.pushTree(ctx, name, version, dir.Tree().Without(metadataFile)); err != nil || version == "" {
		return err
	}
	// so that it can be pushed again
	rev, err := r.engine.FindPackageRevision(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	metadata, err := metadataOf(r.namespace, name, rev.Commit)
	if err != nil {
		return err
	}
	after, err := dir.Tree().With(metadata)
	if err != nil {
		return err
	}
	return dir.Write(ctx, after)
}

func (r *rpkg) pushList(ctx context.Context, name string) error {
	if isTerminal(r.in) {
		return usageError("stoop rpkg push NAME reads a ResourceList from standard input: name a directory, or pipe one in")
	}
	list, err := fn.ReadList(r.in)
	if err != nil {
		return err
	}
	pkg, layout, err := orchestration.OpenList(list, false)
	if err != nil {
		return err
	}
	now, _, err := r.engine.Resources(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	if pkg, err = pkg.With(layout.Omitted(now)...); err != nil {
		return err
	}
	k, err := pkg.Kptfile(".")
	if err != nil {
		return err
	}
	version := k.Metadata.Annotations[versionAnnotation]
	if pkg, err = withoutVersion(pkg); err != nil {
		return err
	}
	return r.pushTree(ctx, name, version, pkg)
}

// withoutVersion takes out of the Kptfile what pullList put there.
func withoutVersion(pkg kptpkg.Tree) (kptpkg.Tree, error) {
	f := pkg.File(kptpkg.KptfileName)
	var docs []*yamldoc.Doc
	for _, d := range f.Docs() {
		root, err := d.Copy()
		if err != nil {
			return pkg, err
		}
		if root != nil {
			if err := yaml.NewRNode(root).PipeE(yaml.ClearAnnotation(versionAnnotation)); err != nil {
				return pkg, err
			}
			if err := yaml.ClearEmptyAnnotations(yaml.NewRNode(root)); err != nil {
				return pkg, err
			}
			d = d.With(root)
		}
		docs = append(docs, d)
	}
	return pkg.With(f.WithDocs(docs...))
}

// pushTree makes a package the content of a draft.
func (r *rpkg) pushTree(ctx context.Context, name, version string, pkg kptpkg.Tree) error {
	if pkg.File(kptpkg.KptfileName) == nil {
		return errors.New("there is no Kptfile, so it is no kpt package: name the directory of one")
	}
	out, err := r.engine.ReplacePackage(ctx, r.namespace, name, version, pkg)
	if out != nil {
		r.printResults(out.Results)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.out, "%s pushed\n", name)
	return err
}
