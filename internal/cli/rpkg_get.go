package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/internal/progress"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// rpkgGetFlags say which revisions are printed, and how.
type rpkgGetFlags struct {
	name, pkg, workspace, repository, lifecycle string
	revision                                    int
	selector                                    map[string]string
	allNamespaces, showKptfile, watch           bool
	noHeaders                                   bool
	output                                      string
	interval                                    pause
	shown                                       watchFlags
}

func (a *app) rpkgGetCommand(f *rpkgFlags) *cobra.Command {
	g := rpkgGetFlags{interval: pause(10 * time.Second)}
	cmd := &cobra.Command{
		Use:     "get [NAME...]",
		Aliases: []string{"list"},
		Short:   "List package revisions",
		Long: `Lists the package revisions of the registered repositories, or those of the given
names. Revision -1 is no revision but the package as it is on the branch.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.check(args); err != nil {
				return err
			}
			return a.withEngine(cmd.Context(), f, repository.Access{}, func(r *rpkg) error {
				if g.watch {
					r.opener.RefreshEvery = time.Duration(g.interval)
				}
				return r.get(cmd.Context(), g, args)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&g.name, "name", "", "only packages whose name contains `TEXT`")
	fs.StringVar(&g.pkg, "package", "", "only the package of this `PATH`")
	fs.IntVar(&g.revision, "revision", 0, "only revisions of this `NUMBER`; -1: the packages on the branch")
	fs.StringVar(&g.workspace, "workspace", "", "only revisions of this workspace `NAME`")
	fs.StringVar(&g.repository, "repository", "", "only the repository of this `NAME`")
	fs.StringVar(&g.lifecycle, "lifecycle", "", "only Draft, Proposed, Published or DeletionProposed revisions")
	fs.StringToStringVarP(&g.selector, "selector", "l", nil, "only revisions with these labels, `KEY=VALUE,...`")
	fs.BoolVarP(&g.allNamespaces, "all-namespaces", "A", false, "all namespaces, and a column that says which")
	fs.BoolVar(&g.showKptfile, "show-kptfile", false, "print the Kptfile of one revision")
	fs.BoolVarP(&g.watch, "watch", "w", false, "print what there is, then what changes, until interrupted")
	fs.Var(&g.interval, "watch-interval", "how often --watch asks the repositories for changes")
	g.shown.flags(fs)
	fs.BoolVar(&g.noHeaders, "no-headers", false, "print no line of headers")
	fs.StringVarP(&g.output, "output", "o", "", "`FORMAT`: json, yaml or name (default a table)")
	return cmd
}

func (g *rpkgGetFlags) check(args []string) error {
	if !slices.Contains([]string{"", "json", "yaml", "name"}, g.output) {
		return usageError("--output is %q: write json, yaml or name", g.output)
	}
	if l := api.Lifecycle(g.lifecycle); l != "" && !slices.Contains([]api.Lifecycle{api.Draft, api.Proposed, api.Published, api.DeletionProposed}, l) {
		return usageError("--lifecycle is %q: write Draft, Proposed, Published or DeletionProposed", g.lifecycle)
	}
	switch {
	case g.showKptfile && (len(args) != 1 || g.watch || g.output != ""):
		return usageError("--show-kptfile takes the name of one revision, and neither --watch nor --output")
	case g.shown.events != "" && !g.watch:
		return usageError("--events goes with --watch")
	case g.watch && len(args) > 1:
		return usageError("--watch takes one name, or flags that say which")
	}
	return nil
}

// filter is which revisions the flags mean, but for --name.
func (g *rpkgGetFlags) filter(r *rpkg, name string) orchestration.Filter {
	f := orchestration.Filter{Namespace: r.namespace, Repository: g.repository, Filter: repository.Filter{
		Name: name, Package: g.pkg, Workspace: g.workspace, Number: g.revision, Labels: g.selector,
	}}
	if g.allNamespaces {
		f.Namespace = ""
	}
	if g.lifecycle != "" {
		f.Lifecycles = []api.Lifecycle{api.Lifecycle(g.lifecycle)}
	}
	return f
}

// wants says whether --name lets a revision through.
func (g *rpkgGetFlags) wants(rev orchestration.Revision) bool {
	return strings.Contains(rev.Package, g.name)
}

func (r *rpkg) get(ctx context.Context, g rpkgGetFlags, names []string) error {
	if g.showKptfile {
		pkg, _, err := r.engine.Resources(ctx, r.namespace, names[0])
		if err != nil {
			return err
		}
		f := pkg.File("Kptfile")
		if f == nil {
			return fmt.Errorf("package revision %q has no Kptfile", names[0])
		}
		text, err := f.Bytes()
		if err == nil {
			_, err = r.out.Write(text)
		}
		return err
	}
	var list []orchestration.Revision
	var errs []error
	if len(names) == 0 || g.watch {
		name := ""
		if len(names) > 0 {
			name = names[0]
		}
		all, err := r.engine.ListPackageRevisions(ctx, g.filter(r, name))
		list, errs = slices.DeleteFunc(all, func(rev orchestration.Revision) bool { return !g.wants(rev) }), append(errs, err)
	} else {
		errs = append(errs, forEach(names, func(name string) error {
			rev, err := r.engine.FindPackageRevision(ctx, r.namespace, name)
			if err == nil && g.filter(r, name).Matches(rev) && g.wants(rev) {
				list = append(list, rev)
			}
			return err
		}))
	}
	if g.watch {
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return r.watch(ctx, g, list, names)
	}
	err := errors.Join(errs...)
	if len(list) == 0 && len(names) != 1 && err == nil && g.output == "" {
		fmt.Fprintln(r.err, "No resources found")
	}
	return errors.Join(err, r.print(ctx, g, list, len(names) == 1))
}

// print prints revisions; one by itself is no list.
func (r *rpkg) print(ctx context.Context, g rpkgGetFlags, list []orchestration.Revision, one bool) error {
	switch g.output {
	case "":
		t := &table{columns: g.columns(false), noHeaders: g.noHeaders}
		for _, rev := range list {
			t.add(g.row(rev))
		}
		return t.write(r.out)
	case "name":
		for _, rev := range list {
			if _, err := fmt.Fprintln(r.out, resourceName(rev)); err != nil {
				return err
			}
		}
		return nil
	}
	objects := &yaml.Node{Kind: yaml.SequenceNode}
	var errs []error
	for _, rev := range list {
		pr, err := r.engine.Describe(ctx, rev)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		objects.Content = append(objects.Content, api.Node(pr))
	}
	if one && len(list) == 1 {
		if len(errs) > 0 {
			return errs[0]
		}
		return printObject(r.out, g.output, objects.Content[0])
	}
	text := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: s} }
	errs = append(errs, printObject(r.out, g.output, &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap, Content: []*yaml.Node{
		text("apiVersion"), text("v1"), text("kind"), text("List"), text("items"), objects,
	}}))
	return errors.Join(errs...)
}

func resourceName(rev orchestration.Revision) string {
	return "packagerevision.porch.kpt.dev/" + rev.Name()
}

// printObject prints an object as JSON or YAML.
func printObject(w io.Writer, format string, n *yaml.Node) error {
	var out []byte
	var err error
	if format == "json" {
		var v any
		if err = n.Decode(&v); err == nil {
			out, err = json.MarshalIndent(v, "", "    ")
			out = append(out, '\n')
		}
	} else {
		out, err = yamldoc.FromNode(n).Bytes()
	}
	if err == nil {
		_, err = w.Write(out)
	}
	return err
}

// watch prints what there is, and then what changes. list is what there was a
// moment ago, to know how wide columns are.
func (r *rpkg) watch(ctx context.Context, g rpkgGetFlags, list []orchestration.Revision, names []string) error {
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	events, err := r.engine.WatchPackageRevisions(ctx, g.filter(r, name))
	if err != nil {
		return err
	}
	shown, err := g.shown.open(r.app, "rpkg", "what changes")
	if err != nil {
		return err
	}
	defer func() {
		if err := shown.end(nil); err != nil {
			r.printError(err)
		}
	}()
	t := &table{columns: g.columns(true), noHeaders: g.noHeaders}
	t.fit([]string{string(orchestration.Modified)})
	for _, rev := range list {
		t.fit(append([]string{""}, g.row(rev)...))
	}
	for e := range events {
		if !g.wants(e.Revision) {
			continue
		}
		shown.events.PackageRevision(changes[e.Type], progress.PackageRevision{
			Name: e.Revision.Name(), Repository: e.Revision.Repository, Package: e.Revision.Package,
			Workspace: e.Revision.Workspace, Revision: e.Revision.Number, Lifecycle: string(e.Revision.Lifecycle),
		})
		if err := r.printEvent(ctx, g, t, e); err != nil {
			return err
		}
	}
	return &exitError{code: exitCancelled}
}

// changes are the changes of revisions in the words of events.
var changes = map[orchestration.EventType]progress.Change{
	orchestration.Added: progress.Added, orchestration.Modified: progress.Modified, orchestration.Deleted: progress.Deleted,
}

func (r *rpkg) printEvent(ctx context.Context, g rpkgGetFlags, t *table, e orchestration.Event) error {
	kind := strings.ToUpper(string(e.Type))
	switch g.output {
	case "":
		t.add(append([]string{kind}, g.row(e.Revision)...))
		return t.write(r.out)
	case "name":
		_, err := fmt.Fprintln(r.out, resourceName(e.Revision))
		return err
	}
	object := api.Node(&api.PackageRevision{
		Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision", Metadata: api.ObjectMeta{Name: e.Revision.Name(), Namespace: e.Revision.Namespace}},
		Spec: api.PackageRevisionSpec{
			PackageName: e.Revision.Package, Repository: e.Revision.Repository, WorkspaceName: e.Revision.Workspace,
			Revision: e.Revision.Number, Lifecycle: e.Revision.Lifecycle,
		},
	})
	if e.Type != orchestration.Deleted {
		// one that has gone meanwhile is printed as it was seen
		if pr, err := r.engine.Describe(ctx, e.Revision); err == nil {
			object = api.Node(pr)
		}
	}
	if g.output == "yaml" {
		text, err := yamldoc.FromNode(object).Bytes()
		if err == nil {
			_, err = fmt.Fprintf(r.out, "---\n# %s\n%s", kind, text)
		}
		return err
	}
	var v any
	if err := object.Decode(&v); err != nil {
		return err
	}
	line, err := json.Marshal(map[string]any{"type": kind, "object": v})
	if err == nil {
		_, err = fmt.Fprintf(r.out, "%s\n", line)
	}
	return err
}

// columns are porchctl's.
func (g *rpkgGetFlags) columns(events bool) []string {
	cols := []string{"NAME", "PACKAGE", "WORKSPACENAME", "REVISION", "LATEST", "LIFECYCLE", "REPOSITORY"}
	if g.allNamespaces {
		cols = append([]string{"NAMESPACE"}, cols...)
	}
	if events {
		cols = append([]string{"EVENT"}, cols...)
	}
	return cols
}

func (g *rpkgGetFlags) row(rev orchestration.Revision) []string {
	row := []string{rev.Name(), rev.Package, rev.Workspace, strconv.Itoa(rev.Number), strconv.FormatBool(rev.Latest), string(rev.Lifecycle), rev.Repository}
	if g.allNamespaces {
		row = append([]string{rev.Namespace}, row...)
	}
	return row
}

// table writes rows whose columns are as wide as what has been added so far.
type table struct {
	columns   []string
	noHeaders bool
	begun     bool
	widths    []int
	rows      [][]string
}

// fit makes the columns wide enough for a row.
func (t *table) fit(row []string) {
	if t.widths == nil {
		t.widths = make([]int, len(t.columns))
		if !t.noHeaders {
			t.fit(t.columns)
		}
	}
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], len(cell))
	}
}

func (t *table) add(row []string) {
	t.fit(row)
	t.rows = append(t.rows, row)
}

// write writes the rows added since the last time.
func (t *table) write(w io.Writer) error {
	rows := t.rows
	t.rows = nil
	if len(rows) == 0 {
		return nil
	}
	if !t.begun && !t.noHeaders {
		rows = append([][]string{t.columns}, rows...)
	}
	t.begun = true
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			if i == len(row)-1 {
				b.WriteString(cell + "\n")
				break
			}
			fmt.Fprintf(&b, "%-*s", t.widths[i]+3, cell)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
