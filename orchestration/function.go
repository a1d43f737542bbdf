package orchestration

import (
	"context"
	"fmt"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Function is stoop as a KRM function: one ResourceList in, one out.
type Function struct {
	// Handler carries out the orders of the list.
	Handler *TaskHandler
	// Envelope returns each target as one PackageRevisionResources with all
	// its files, rather than as items.
	Envelope bool
	// Validate returns no items: a kustomize validator fails for any it gets.
	Validate bool
	// Kustomize says that the host is a kustomize build even where the list
	// doesn't show it, as with its legacy plugins.
	Kustomize bool
}

// Process carries out the orders of a list: the function config and those
// among its items. With an error the list's items are as they were, and what
// there is to say is among its results either way.
func (f *Function) Process(ctx context.Context, l *fn.List) error {
	items := slices.Clone(l.Items)
	docs := make([]*fn.Item, len(items))
	for i, it := range items {
		c := *it
		docs[i] = &c
	}
	report, err := f.process(ctx, l)
	if err == nil {
		l.Results = append(l.Results, report.Results...)
		return nil
	}
	l.Items = docs
	if report == nil {
		l.Results = append(l.Results, fn.ResultsOf(err)...)
	} else {
		l.Results = append(l.Results, report.Results...)
	}
	return err
}

func (f *Function) process(ctx context.Context, l *fn.List) (*Report, error) {
	ws, layout, err := OpenList(l, f.Kustomize)
	if err != nil {
		return nil, err
	}
	ws, carriers, err := unpack(ws)
	if err != nil {
		return nil, err
	}
	opts := Options{Config: l.Config, Stateless: layout.Host == Kustomize}
	if layout.Host == KptRender {
		opts.RefuseInPlace = "the target is the package whose pipeline is running, so the host would go on with the pipeline that is being replaced: run stoop by `kpt fn eval` or `stoop run`, or choose a target below the package"
	}
	if layout.Selected {
		opts.RefuseCreation = "the host passed no Kptfile of the declaring package, so it may have left out more: run without selectors (--match-…), or make a Kptfile first (kpt pkg init)"
	}
	out, report, err := Run(ctx, f.Handler, ws, opts)
	if err != nil {
		return report, err
	}
	switch {
	case f.Validate:
		l.Items = nil
		return report, nil
	case layout.Host == Kustomize:
		if out, err = layout.resourcesOnly(out); err != nil {
			return report, err
		}
		_, err = layout.SaveList(l, out)
		return report, err
	}
	if f.Envelope {
		if out, err = envelope(out, report, carriers); err != nil {
			return report, err
		}
	}
	return report, saveWithCarrier(l, layout, out, carriers, report)
}

// saveWithCarrier saves files as items, and those that can't be items in a
// carrier.
func saveWithCarrier(l *fn.List, layout *Layout, out kptpkg.Tree, carriers []carrier, report *Report) error {
	var omitted []*kptpkg.File
	for _, p := range out.Paths() {
		if f := out.File(p); !travels(f) {
			omitted = append(omitted, f)
		}
	}
	file, isNew, err := packFiles(omitted, carriers)
	if err != nil {
		return err
	}
	if file != nil {
		if out, err = out.With(file); err != nil {
			return err
		}
	}
	if isNew {
		report.Results = append(report.Results, fn.Result{
			Severity: fn.Warning, File: &fn.File{Path: file.Path()},
			Message: fmt.Sprintf("%s omitted, being no resources; `stoop run` writes what this carrier holds", count(len(omitted), "file")),
		})
	}
	_, err = layout.SaveList(l, out)
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// envelope replaces the files of each target by one carrier of all of them.
func envelope(ws kptpkg.Tree, report *Report, carriers []carrier) (kptpkg.Tree, error) {
	out := ws
	for _, j := range report.Jobs {
		if j.Target == "." {
			continue
		}
		file, err := packTarget(ws, j.Target, carriers)
		if err != nil {
			return ws, err
		}
		if out, err = out.Replace(j.Target, kptpkg.Tree{}).With(file); err != nil {
			return ws, err
		}
	}
	return out, nil
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
		if travels(f) {
			for _, d := range f.Docs() {
				root, err := d.Root()
				if err != nil {
					return ws, err
				}
				if root == nil {
					continue
				}
				head := headOf(root)
				_, fromHost := lay.byOrigin[d.Origin()]
				if head.Kind == "Kptfile" || (head.IsLocalConfig() && (!fromHost || api.Known(head.APIVersion, head.Kind))) {
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
