package orchestration

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Function is stoop as a KRM function: one ResourceList in, one out.
type Function struct {
	// Handler carries out the orders of the list.
	Handler *TaskHandler
	// Options are how plans and tasks are carried out: Parallel, TaskTimeout,
	// Context, Agent, Mock, Observe, Suspend and Kill. The rest is what the list
	// says.
	Options Options
	// Envelope returns each target as one PackageRevisionResources with all
	// its files, rather than as items. A package made in place of the declaring
	// one comes back as items all the same.
	Envelope bool
	// Validate returns no items: a kustomize validator fails for any it gets.
	Validate bool
	// Kustomize says that the host is a kustomize build even where the list
	// doesn't show it, as with its legacy plugins.
	Kustomize bool
	// Publisher closes the package revisions into their repositories when all
	// orders have been carried out; nil: nothing is written but the list.
	Publisher *Publisher
}

// Process carries out the orders of a list: the function config and those
// among its items. With an error (a panic is one too) the list's items are as
// they were, and what there is to say is among its results either way.
func (f *Function) Process(ctx context.Context, l *fn.List) (err error) {
	items := l.Items
	defer func() {
		if p := recover(); p != nil {
			err = bug(p)
			l.Results = append(l.Results, fn.ResultOf(err))
		}
		if err != nil {
			l.Items = items
		}
	}()
	results, err := f.process(ctx, l)
	l.Results = append(l.Results, api.WithoutPasswords(results)...)
	return err
}

// process returns what there is to say, the error included.
func (f *Function) process(ctx context.Context, l *fn.List) ([]fn.Result, error) {
	ws, layout, err := OpenList(l, f.Kustomize)
	if err != nil {
		return fn.ResultsOf(err), err
	}
	ws, carriers, err := unpack(ws)
	if err != nil {
		return layout.known(fn.ResultsOf(err)), err
	}
	opts := f.Options
	opts.Config, opts.Stateless, opts.Whole = l.Config, layout.Host == Kustomize, map[string]bool{}
	opts.Unseen = func(f *kptpkg.File) bool { return !layout.travels(f) }
	for _, c := range carriers {
		if c.kind == api.CarrierPackage {
			opts.Whole[c.dir] = true
		}
	}
	if layout.Host == KptRender {
		opts.RefuseInPlace = "the target is the package whose pipeline is running, so the host would go on with the pipeline that is being replaced: run stoop by `kpt fn eval` or `stoop run`, or choose a target below the package"
	}
	if layout.Selected {
		opts.RefuseCreation = "the host passed no Kptfile of the declaring package, so it may have left out more: run without selectors (--match-…), or make a Kptfile first (kpt pkg init)"
	}
	out, report, err := Run(ctx, f.Handler, ws, opts)
	if report == nil {
		return layout.known(fn.ResultsOf(err)), err
	}
	if err != nil {
		return layout.known(report.undone()), err
	}
	var published []fn.Result
	if f.Publisher != nil && !f.Validate {
		if published, err = f.Publisher.Publish(ctx, out, report.Jobs, opts); err != nil {
			return layout.known(append(published, fn.ResultsOf(err)...)), err
		}
	}
	results, err := f.save(l, layout, out, report, carriers)
	if err != nil {
		return fn.ResultsOf(err), err
	}
	return layout.known(slices.Concat(report.Results, published, results)), nil
}

// save makes the workspace the list's items, as the host wants them.
func (f *Function) save(l *fn.List, layout *Layout, out kptpkg.Tree, report *Report, carriers []carrier) ([]fn.Result, error) {
	switch {
	case f.Validate:
		l.Items = nil
		return nil, nil
	case layout.Host == Kustomize:
		out, err := layout.resourcesOnly(out)
		if err != nil {
			return nil, err
		}
		return nil, layout.SaveList(l, out)
	}
	var (
		docs    []placedDoc
		results []fn.Result
		gone    []string
	)
	for _, target := range report.targets() {
		pkg := out.Sub(target)
		if !f.Envelope || target == "." || pkg.Len() == 0 {
			continue
		}
		d, left, err := packTarget(pkg, target, carriers)
		if err != nil {
			return nil, err
		}
		docs, results = append(docs, d), append(results, left...)
		for _, p := range pkg.Paths() {
			gone = append(gone, path.Join(target, p))
		}
	}
	out = out.Without(gone...)
	if omitted := layout.Omitted(out); len(omitted) > 0 {
		d, said, err := packFiles(omitted, carriers)
		if err != nil {
			return nil, err
		}
		if d.doc != nil {
			docs = append(docs, d)
		}
		results = append(results, said...)
	}
	out, err := withDocs(out, docs)
	if err != nil {
		return nil, err
	}
	return results, layout.SaveList(l, out)
}

// targets are the packages that orders and tasks work on, in their order, each
// once.
func (r *Report) targets() []string {
	var all []string
	seen := map[string]bool{"": true}
	add := func(t string) {
		if !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
	}
	for _, j := range r.Jobs {
		add(j.Target)
	}
	for _, t := range r.Tasks {
		add(t.Target)
	}
	return all
}

// placedDoc is a document for a file.
type placedDoc struct {
	file   string
	number int // which of the file's documents it replaces, -1: it is a new one
	doc    *yamldoc.Doc
}

// withDocs puts documents into files, which need not be there yet.
func withDocs(t kptpkg.Tree, placed []placedDoc) (kptpkg.Tree, error) {
	docs := map[string][]*yamldoc.Doc{}
	for _, d := range placed {
		ds, ok := docs[d.file]
		if f := t.File(d.file); !ok && f != nil {
			ds = slices.Clone(f.Docs())
		}
		if d.number < 0 {
			ds = append(ds, d.doc)
		} else {
			ds[d.number] = d.doc
		}
		docs[d.file] = ds
	}
	var files []*kptpkg.File
	for p, ds := range docs {
		if f := t.File(p); f != nil {
			files = append(files, f.WithDocs(ds...))
		} else {
			files = append(files, kptpkg.NewDocs(p, ds...))
		}
	}
	return t.With(files...)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some names the first of a list and says how many more there are.
func some(names []string) string {
	const show = 3
	if n := len(names) - show; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:show], ", "), n)
	}
	return strings.Join(names, ", ")
}

// resourcesOnly leaves out what a kustomize build must not get: Kptfiles,
// orders, carriers and everything that is no resource, and of the packages made
// the local objects; those that the build itself put in pass.
func (lay *Layout) resourcesOnly(ws kptpkg.Tree) (kptpkg.Tree, error) {
	var changed []*kptpkg.File
	var gone []string
	for _, p := range ws.Paths() {
		f := ws.File(p)
		var kept []*yamldoc.Doc
		if lay.travels(f) {
			for _, d := range f.Docs() {
				root, err := d.Root()
				if err != nil {
					return ws, err
				}
				if root == nil {
					continue
				}
				head := headOf(root)
				if head.Kind == "Kptfile" || (head.IsLocalConfig() && (lay.slotOf(d) == nil || api.Known(head.APIVersion, head.Kind))) {
					continue
				}
				kept = append(kept, d)
			}
		}
		switch {
		case len(kept) == 0:
			gone = append(gone, p)
		case len(kept) < len(f.Docs()):
			changed = append(changed, f.WithDocs(kept...))
		}
	}
	return ws.Without(gone...).With(changed...)
}
