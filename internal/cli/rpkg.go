package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// rpkgFlags are those of all rpkg commands.
type rpkgFlags struct {
	repos     []string
	namespace string
	user      string
}

func (f *rpkgFlags) flags(fs *pflag.FlagSet, getenv func(string) string) {
	var def []string
	if v := getenv("STOOP_REPOS"); v != "" {
		def = strings.Split(v, ",")
	}
	fs.StringSliceVar(&f.repos, "repos", def, "`FILE|DIR,...` with the Repository objects; naming them is leave to use their repositories (environment: STOOP_REPOS)")
	fs.StringVarP(&f.namespace, "namespace", "n", "", "only repositories and revisions of this `NAMESPACE`")
	fs.StringVar(&f.user, "user", "", "`\"NAME <EMAIL>\"` of who makes the change (default: as git has it)")
	fs.Lookup("repos").DefValue = "[]"
}

func (a *app) rpkgCommand() *cobra.Command {
	var f rpkgFlags
	cmd := &cobra.Command{
		Use:     "rpkg",
		Aliases: []string{"rpackage"},
		Short:   "Manage package revisions in repositories: porchctl's verbs without a server",
		Long: `Lists, makes, changes, publishes and deletes the package revisions of registered
repositories, in Porch's layout and without its server. Repositories are declared by
Repository objects (config.porch.kpt.dev/v1alpha1) in the files that --repos names.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("unknown command %q: run `stoop rpkg --help` for the commands", args[0])
			}
			return cmd.Help()
		},
	}
	f.flags(cmd.PersistentFlags(), a.getenv)
	cmd.AddCommand(
		a.rpkgGetCommand(&f), a.rpkgInitCommand(&f), a.rpkgCloneCommand(&f), a.rpkgCopyCommand(&f), a.rpkgUpgradeCommand(&f),
		a.rpkgPullCommand(&f), a.rpkgPushCommand(&f),
		a.rpkgProposeCommand(&f), a.rpkgApproveCommand(&f), a.rpkgRejectCommand(&f), a.rpkgProposeDeleteCommand(&f), a.rpkgDeleteCommand(&f),
	)
	return cmd
}

// rpkg is one rpkg command at work.
type rpkg struct {
	*app
	*rpkgFlags
	engine *orchestration.Engine
	opener *repository.Opener
}

// withEngine runs a command with the engine that the flags make. Naming a
// repository in --repos is leave to use it; more is what else the command line
// names.
func (a *app) withEngine(ctx context.Context, f *rpkgFlags, more repository.Access, do func(*rpkg) error) error {
	if len(f.repos) == 0 {
		return usageError("no repository is known: name files with Repository objects by --repos or STOOP_REPOS")
	}
	repos, err := a.readRepositories(ctx, f.repos)
	if err != nil {
		return err
	}
	who, err := a.author(ctx, f.user)
	if err != nil {
		return err
	}
	access, err := accessToAll(repos, more)
	if err != nil {
		return err
	}
	h, done, err := a.handler("")
	if err != nil {
		return err
	}
	defer done()
	git := a.git(access, true)
	h.Upstream = upstreams(git, a.oci(git))
	r := &rpkg{app: a, rpkgFlags: f, opener: a.opener(git)}
	r.engine = &orchestration.Engine{
		Handler: h, Opener: r.opener, Repositories: repos,
		User: func(context.Context) repository.Author { return who },
	}
	r.opener.Changed = r.engine.Refreshed
	return errors.Join(do(r), r.opener.Close())
}

// opener opens repositories with a client, those in registries as far as it may
// go.
func (a *app) opener(git *repository.Git) *repository.Opener {
	o := &repository.Opener{
		Git: git, OCI: a.oci(git),
		Warn: func(err error) { fmt.Fprintf(a.err, "warning: %s\n", oneLine(err.Error())) },
	}
	if dir := a.sources.credentialsDir; dir != "" {
		o.Credentials = &repository.CredentialsDir{Dir: dir}
	}
	return o
}

// accessToAll is more, and what a person permits by naming repositories.
func accessToAll(repos []*api.Repository, more repository.Access) (repository.Access, error) {
	for _, repo := range repos {
		if oci := repo.Spec.OCI; oci != nil {
			host, _, _ := strings.Cut(oci.Registry, "/")
			more.Network = append(more.Network, host)
			continue
		}
		one, err := repository.AccessTo(repo.Spec.Git.Repo)
		if err != nil {
			return more, err
		}
		more.Network = append(more.Network, one.Network...)
		more.FileRepos = append(more.FileRepos, one.FileRepos...)
	}
	return more, nil
}

// readRepositories reads the Repository objects of files and directories.
func (a *app) readRepositories(ctx context.Context, names []string) ([]*api.Repository, error) {
	var repos []*api.Repository
	seen := map[string]string{} // the file of each
	for _, name := range names {
		files, err := a.repositoryFiles(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			found, err := repositoriesIn(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path(), err)
			}
			for _, repo := range found {
				key := repo.Metadata.Namespace + "/" + repo.Metadata.Name
				if other, twice := seen[key]; twice {
					return nil, fmt.Errorf("%s: Repository %s is declared in %s too: keep one", f.Path(), repo.Metadata.Name, other)
				}
				seen[key] = f.Path()
				repos = append(repos, repo)
			}
		}
	}
	if len(repos) == 0 {
		return nil, fmt.Errorf("%s: no Repository object (%s) is there: write one, or name another file by --repos", strings.Join(names, ", "), api.PorchConfigV1Alpha1)
	}
	return repos, nil
}

// repositoryFiles are the files that --repos means, with paths as the user wrote
// them.
func (a *app) repositoryFiles(ctx context.Context, name string) ([]*kptpkg.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, usageError("--repos: %v", err)
	}
	if !info.IsDir() {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		return []*kptpkg.File{kptpkg.NewFile(name, kptpkg.Regular, text)}, nil
	}
	tree, err := kptdir.Read(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return nil, err
	}
	var files []*kptpkg.File
	for _, p := range tree.Paths() {
		if f := tree.File(p); f.IsYAML() && path.Base(p) != kptpkg.KptfileName {
			files = append(files, f.At(path.Join(name, p)))
		}
	}
	return files, nil
}

// repositoriesIn are the Repository objects of a file, those in lists included;
// other documents may be anything.
func repositoriesIn(f *kptpkg.File) ([]*api.Repository, error) {
	var repos []*api.Repository
	line := 1
	for _, d := range f.Docs() {
		first := line
		text, err := d.Bytes()
		if err != nil {
			return nil, err
		}
		line += bytes.Count(text, []byte("\n"))
		if !bytes.Contains(text, []byte("config.porch.kpt.dev")) {
			continue
		}
		root, err := d.Root()
		if err != nil {
			return nil, errors.New(kptpkg.ShiftLines(err.Error(), first-1))
		}
		for _, n := range repositoryNodes(root) {
			obj, err := api.Decode(n, first)
			if err != nil {
				return nil, err
			}
			if err := obj.Validate(); err != nil {
				return nil, err
			}
			repos = append(repos, obj.(*api.Repository))
		}
	}
	return repos, nil
}

// repositoryNodes are the Repository objects of a document: itself, or what it
// lists, as kubectl prints them.
func repositoryNodes(root *yaml.Node) []*yaml.Node {
	if root == nil {
		return nil
	}
	n := yaml.NewRNode(root)
	if n.YNode().Kind != yaml.MappingNode {
		return nil
	}
	if strings.HasSuffix(n.GetKind(), "List") {
		var found []*yaml.Node
		if items := n.Field("items"); items != nil && items.Value.YNode().Kind == yaml.SequenceNode {
			for _, item := range items.Value.Content() {
				found = append(found, repositoryNodes(item)...)
			}
		}
		return found
	}
	if n.GetKind() != "Repository" || !strings.HasPrefix(n.GetApiVersion(), "config.porch.kpt.dev/") {
		return nil
	}
	return []*yaml.Node{n.YNode()}
}

// author is who makes changes: the one named, else whom git would name as author,
// else the user of the process.
func (a *app) author(ctx context.Context, named string) (repository.Author, error) {
	if named != "" {
		if addr, err := mail.ParseAddress(named); err == nil {
			return repository.Author{Name: addr.Name, Email: addr.Address}, nil
		}
		if strings.ContainsAny(named, "<>\n") {
			return repository.Author{}, usageError("--user is %q: write \"NAME <EMAIL>\"", named)
		}
		return repository.Author{Name: named}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// "NAME <EMAIL> SECONDS ZONE"; an error when git is missing or knows nobody
	if out, err := exec.CommandContext(ctx, "git", "var", "GIT_AUTHOR_IDENT").Output(); err == nil {
		name, rest, _ := strings.Cut(string(out), " <")
		if email, _, ok := strings.Cut(rest, ">"); ok {
			return repository.Author{Name: name, Email: email}, nil
		}
	}
	if name := a.getenv("GIT_AUTHOR_NAME"); name != "" {
		return repository.Author{Name: name, Email: a.getenv("GIT_AUTHOR_EMAIL")}, nil
	}
	if u, err := user.Current(); err == nil {
		return repository.Author{Name: u.Username}, nil
	}
	return repository.Author{}, nil
}

// forEach does something with each name, all of them even when some fail.
func forEach(names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, do(name))
	}
	return errors.Join(errs...)
}

// someArgs wants at least one argument.
func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError("%s takes %s: run `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// rangeArgs wants a number of arguments.
func rangeArgs(from, to int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < from || len(args) > to {
			return usageError("%s takes %s: run `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
