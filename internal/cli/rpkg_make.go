package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// placeFlags say where a new package revision goes.
type placeFlags struct{ repository, workspace string }

func (p *placeFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&p.repository, "repository", "", "`NAME` of the repository that the package goes to (required)")
	fs.StringVar(&p.workspace, "workspace", "v1", "`NAME` of the revision's workspace")
}

// newRevision is a new package revision made by a task.
func (r *rpkg) newRevision(p placeFlags, pkg string, t api.Task) *api.PackageRevision {
	pr := &api.PackageRevision{
		Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision", Metadata: api.ObjectMeta{Namespace: r.namespace}},
		Spec: api.PackageRevisionSpec{
			PackageName: pkg, Repository: p.repository, WorkspaceName: p.workspace,
			Lifecycle: api.Draft, Tasks: []api.Task{t},
		},
	}
	// what is wrong with it is said of the name it would get
	pr.Metadata.Name = repository.RevisionName{Repository: p.repository, Package: pkg, Workspace: p.workspace}.String()
	return pr
}

// create makes a package revision; message has a %s for its name.
func (r *rpkg) create(ctx context.Context, pr *api.PackageRevision, message string) error {
	made, out, err := r.engine.CreatePackageRevision(ctx, pr)
	if out != nil {
		r.printResults(out.Results)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.out, message+"\n", made.Metadata.Name)
	return err
}

func (a *app) rpkgInitCommand(f *rpkgFlags) *cobra.Command {
	var p placeFlags
	var t api.InitTask
	cmd := &cobra.Command{
		Use:   "init PACKAGE",
		Short: "Make a new package in a repository",
		Args:  exactArgs(1, "the name of a package"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.repository == "" {
				return usageError("--repository is missing: name the repository that the package goes to")
			}
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				return r.create(cmd.Context(), r.newRevision(p, args[0], api.Task{Type: api.TaskInit, Init: &t}), "%s created")
			})
		},
	}
	p.flags(cmd.Flags())
	cmd.Flags().StringVar(&t.Description, "description", "", "what the package is, in a sentence")
	cmd.Flags().StringSliceVar(&t.Keywords, "keywords", nil, "`WORD,...` by which it is found")
	cmd.Flags().StringVar(&t.Site, "site", "", "`URL` of a page about it")
	return cmd
}

func (a *app) rpkgCloneCommand(f *rpkgFlags) *cobra.Command {
	var p placeFlags
	var git api.GitPackage
	cmd := &cobra.Command{
		Use:   "clone SOURCE PACKAGE",
		Short: "Make a package of one from elsewhere",
		Long: `Makes a new package of SOURCE: a published package revision by its name; a package
of a git repository, REPO[.git][/DIRECTORY][@REF]; or oci://IMAGE. Naming a
repository here is leave to read it.`,
		Args: exactArgs(2, "a source and the name of the new package"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.repository == "" {
				return usageError("--repository is missing: name the repository that the package goes to")
			}
			from, access, err := cloneSource(args[0], git)
			if err != nil {
				return err
			}
			return a.withEngine(cmd.Context(), f, access, func(r *rpkg) error {
				if g := from.Git; g != nil && g.Ref == "" {
					if g.Ref, err = r.git(access, true).DefaultRef(cmd.Context(), g.Repo); err != nil {
						return err
					}
				}
				return r.create(cmd.Context(), r.newRevision(p, args[1], api.Task{Type: api.TaskClone, Clone: &api.CloneTask{UpstreamRef: from}}), "%s created")
			})
		},
	}
	p.flags(cmd.Flags())
	cmd.Flags().StringVar(&git.Directory, "directory", "", "`PATH` of the package in a git repository (default its root)")
	cmd.Flags().StringVar(&git.Ref, "ref", "", "`REF` of a git repository (default its default branch)")
	cmd.Flags().StringVar(&git.SecretRef.Name, "secret-ref", "", "`NAME` of the secret for a git repository, in --credentials-dir")
	return cmd
}

// cloneSource is what the argument of a clone means, with the flags about a git
// repository, and what a person permits by naming it.
func cloneSource(source string, flags api.GitPackage) (from api.UpstreamRef, access repository.Access, err error) {
	image, isImage := strings.CutPrefix(source, "oci://")
	isGit := strings.ContainsAny(source, "/:")
	switch {
	case (isImage || !isGit) && flags != (api.GitPackage{}):
		return from, access, usageError("--directory, --ref and --secret-ref are about a git repository, and %s is none", api.WithoutCredentials(source))
	case isImage:
		host, _, _ := strings.Cut(image, "/")
		return api.UpstreamRef{Type: api.UpstreamOCI, OCI: &api.OCIPackage{Image: image}}, repository.Access{Network: []string{host}}, nil
	case !isGit:
		return api.UpstreamRef{UpstreamRef: &api.PackageRevisionRef{Name: source}}, access, nil
	}
	repo, dir, ref, err := upstream.ParseLocator(source)
	if err != nil {
		return from, access, usageError("%v", err)
	}
	for _, f := range []struct{ flag, given, parsed string }{
		{"directory", flags.Directory, strings.Trim(dir, "/")}, {"ref", flags.Ref, ref},
	} {
		if f.given != "" && f.parsed != "" && strings.Trim(f.given, "/") != f.parsed {
			return from, access, usageError("--%s is %s, and %s says %s: leave one out", f.flag, f.given, api.WithoutCredentials(source), f.parsed)
		}
	}
	git := flags
	git.Repo, git.Ref = repo, cmp.Or(ref, git.Ref)
	if git.Directory == "" {
		git.Directory = dir
	}
	access, err = repository.AccessTo(repo)
	return api.UpstreamRef{Type: api.UpstreamGit, Git: &git}, access, err
}

func (a *app) rpkgCopyCommand(f *rpkgFlags) *cobra.Command {
	var workspace string
	var replay bool
	cmd := &cobra.Command{
		Use:     "copy NAME",
		Aliases: []string{"edit"},
		Short:   "Make the next revision of a package from a published one",
		Args:    exactArgs(1, "the name of a published revision"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case workspace == "":
				return usageError("--workspace is missing: it names the new revision")
			case replay:
				return usageError("--replay-strategy: the tasks of a revision are never run again; its content is copied")
			}
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				rev, err := r.engine.FindPackageRevision(cmd.Context(), r.namespace, args[0])
				if err != nil {
					return err
				}
				p := placeFlags{rev.Repository, workspace}
				return r.create(cmd.Context(), r.newRevision(p, rev.Package, api.Task{Type: api.TaskEdit, Edit: &api.EditTask{SourceRef: api.PackageRevisionRef{Name: rev.Name()}}}), "%s created")
			})
		},
	}
	cmd.Flags().StringVar(&workspace, "workspace", "", "`NAME` of the new revision's workspace (required)")
	cmd.Flags().BoolVar(&replay, "replay-strategy", false, "porchctl's flag; only false is possible")
	return cmd
}

func (a *app) rpkgUpgradeCommand(f *rpkgFlags) *cobra.Command {
	var u upgradeRevision
	var c conflictFlags
	cmd := &cobra.Command{
		Use:   "upgrade NAME",
		Short: "Make the next revision of a package with what is new upstream",
		Long: `Makes a new revision of the package of a published one, merged with a newer
revision of its upstream: the latest, or the one that --revision says. With
--discover it makes nothing and lists what could be upgraded.`,
		Args: rangeArgs(0, 1, "the name of a published revision"),
		RunE: func(cmd *cobra.Command, args []string) error {
			settle, err := c.options()
			switch {
			case err != nil:
				return err
			case u.discover != "" && u.discover != "upstream" && u.discover != "downstream":
				return usageError("--discover is %q: write upstream or downstream", u.discover)
			case u.discover == "" && len(args) == 0:
				return usageError("stoop rpkg upgrade takes the name of a published revision: run `stoop rpkg upgrade --help`")
			case u.discover == "" && u.workspace == "":
				return usageError("--workspace is missing: it names the new revision")
			}
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				if u.discover != "" {
					return r.discover(cmd.Context(), u.discover, args)
				}
				r.engine.OnConflict, r.engine.Resolve, u.strategy = settle.OnConflict, settle.Resolve, settle.Strategy
				return r.upgradeRevision(cmd.Context(), args[0], u)
			})
		},
	}
	cmd.Flags().StringVar(&u.workspace, "workspace", "", "`NAME` of the new revision's workspace (required)")
	cmd.Flags().IntVar(&u.revision, "revision", 0, "`NUMBER` of the upstream revision to upgrade to (default the latest)")
	cmd.Flags().StringVar(&u.discover, "discover", "", "list what could be upgraded, by `SIDE`: to newer upstream revisions, or of an upstream's downstream packages")
	c.flags(cmd.Flags(), "the Kptfile's, else resource-merge")
	return cmd
}

// upgradeRevision says how a revision is upgraded.
type upgradeRevision struct {
	workspace, discover string
	revision            int
	strategy            merge.Strategy
}

func (r *rpkg) upgradeRevision(ctx context.Context, name string, u upgradeRevision) error {
	rev, err := r.engine.FindPackageRevision(ctx, r.namespace, name)
	if err != nil {
		return err
	}
	if !rev.IsPublished() {
		return fmt.Errorf("package revision %q is %s, and only what is published can be upgraded: approve it first", name, kindOf(rev))
	}
	all, err := r.engine.ListPackageRevisions(ctx, orchestration.Filter{Namespace: r.namespace})
	if err != nil {
		return err
	}
	links, err := r.engine.Upstreams(ctx, []orchestration.Revision{rev}, all)
	if err != nil {
		return err
	}
	link := links[0]
	if link.Upstream == nil {
		return fmt.Errorf("package revision %q: its upstream is no published revision of the registered repositories (%s)", name, cmp.Or(link.Place, "it has none"))
	}
	var to *orchestration.Revision
	for _, n := range byPackage(all).newer(*link.Upstream) {
		if u.revision == n.Number || u.revision == 0 && n.Latest {
			to = &n
		}
	}
	switch {
	case to != nil:
	case u.revision == 0:
		_, err := fmt.Fprintf(r.out, "%s is up to date: %s is the latest revision of its upstream\n", name, link.Upstream.Name())
		return err
	default:
		return fmt.Errorf("package %s in repository %s has no revision %d newer than %d, which %s has: `stoop rpkg upgrade --discover upstream %s` lists those", link.Upstream.Package, link.Upstream.Repository, u.revision, link.Upstream.Number, name, name)
	}
	strategy := u.strategy
	if strategy == "" {
		strategy = merge.Strategy(link.Strategy)
	}
	t := api.Task{Type: api.TaskUpgrade, Upgrade: &api.UpgradeTask{
		OldUpstreamRef:          api.PackageRevisionRef{Name: link.Upstream.Name()},
		NewUpstreamRef:          api.PackageRevisionRef{Name: to.Name()},
		LocalPackageRevisionRef: api.PackageRevisionRef{Name: name},
		Strategy:                api.MergeStrategy(strategy),
	}}
	return r.create(ctx, r.newRevision(placeFlags{rev.Repository, u.workspace}, rev.Package, t), name+" upgraded to %s")
}

func kindOf(rev orchestration.Revision) string {
	if rev.IsPlaceholder() {
		return "a placeholder"
	}
	return string(rev.Lifecycle)
}

// packageKey names a package.
type packageKey struct{ namespace, repository, pkg string }

// packages are revisions by package, in their order.
type packages map[packageKey][]orchestration.Revision

func byPackage(all []orchestration.Revision) packages {
	p := packages{}
	for _, r := range all {
		key := packageKey{r.Namespace, r.Repository, r.Package}
		p[key] = append(p[key], r)
	}
	return p
}

// newer are the published revisions of the same package with higher numbers.
func (p packages) newer(than orchestration.Revision) []orchestration.Revision {
	var found []orchestration.Revision
	for _, r := range p[packageKey{than.Namespace, than.Repository, than.Package}] {
		if r.Number > than.Number {
			found = append(found, r)
		}
	}
	return found
}

// discover lists what could be upgraded: of each latest published revision, or
// of the named ones, what is newer upstream; or of each upstream, or the named
// ones, which packages downstream could go to its latest revision.
func (r *rpkg) discover(ctx context.Context, what string, names []string) error {
	all, err := r.engine.ListPackageRevisions(ctx, orchestration.Filter{Namespace: r.namespace})
	if err != nil {
		return err
	}
	var latest []orchestration.Revision
	for _, rev := range all {
		if rev.Latest {
			latest = append(latest, rev)
		}
	}
	named := func(rev orchestration.Revision) bool { return len(names) == 0 || slices.Contains(names, rev.Name()) }
	for _, name := range names {
		if !slices.ContainsFunc(all, func(rev orchestration.Revision) bool { return rev.Name() == name }) {
			return fmt.Errorf("package revision %q %w", name, repository.ErrNotFound)
		}
	}
	from := latest
	if what == "upstream" && len(names) > 0 {
		from = nil
		for _, rev := range all {
			if named(rev) && rev.IsPublished() {
				from = append(from, rev)
			}
		}
	}
	links, unread := r.engine.Upstreams(ctx, from, all)
	t := &table{columns: []string{"PACKAGE REVISION", "UPSTREAM REPOSITORY", "UPSTREAM UPDATES"}}
	if what == "downstream" {
		t.columns = []string{"PACKAGE REVISION", "DOWNSTREAM PACKAGE", "DOWNSTREAM UPDATE"}
	}
	packages := byPackage(all)
	for i, link := range links {
		up := link.Upstream
		if up == nil {
			continue
		}
		var updates []string
		to := packages.newer(*up)
		for _, n := range to {
			updates = append(updates, fmt.Sprintf("v%d", n.Number))
		}
		switch {
		case what == "upstream" && len(updates) == 0:
			t.add([]string{from[i].Name(), up.Repository, "No update available"})
		case what == "upstream":
			t.add([]string{from[i].Name(), up.Repository, strings.Join(updates, ", ")})
		case len(updates) > 0 && (named(*up) || slices.ContainsFunc(to, named)):
			t.add([]string{up.Name(), from[i].Name(), fmt.Sprintf("v%d->%s", up.Number, updates[len(updates)-1])})
		}
	}
	if len(t.rows) == 0 && unread == nil {
		fmt.Fprintln(r.err, "No updates found")
	}
	return errors.Join(unread, t.write(r.out))
}
