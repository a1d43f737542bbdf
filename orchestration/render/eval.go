package render

import (
	"cmp"
	"context"
	"errors"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Eval runs one function over all resources of tree, as `kpt fn eval` does: no
// pipeline runs, and the resources of subpackages are resources of the one
// package, with paths relative to its root. tree needs no Kptfile. A configPath
// of f names a file of the root package.
//
// An error is an [*Error]; what was done until then is returned with it, never
// nil, and its Tree is the one given. An f that names stoop is refused.
func (r *Renderer) Eval(ctx context.Context, tree kptpkg.Tree, f kptpkg.Function) (*Rendered, error) {
	x := r.begin(evaluating, tree)
	x.root = &pkg{dir: ".", display: cmp.Or(r.Name, nameOf(tree), ".")}
	x.byDir["."] = x.root
	x.out.Packages = len(tree.Packages())
	if err := tree.CheckFunction(f); err != nil {
		return x.out, x.fail(x.root, err)
	}
	if namesStoop(f) {
		return x.out, x.fail(x.root, errors.New("the function is stoop itself, which runs this one already: name another"))
	}
	if err := x.load(); err != nil {
		return x.out, x.fail(x.root, err)
	}
	items := x.root.own
	if err := x.accept(x.root, items); err != nil {
		return x.out, err
	}
	s, err := x.prepare(ctx, x.root, Evaluation, -1, f)
	if err == nil {
		items, err = x.run(ctx, s, items)
	}
	if err != nil {
		return x.out, x.failStep(s, err)
	}
	return x.finish(items)
}

// nameOf is the package's name, empty where no Kptfile says it.
func nameOf(tree kptpkg.Tree) string {
	k, err := tree.Kptfile(".")
	if err != nil {
		return ""
	}
	return k.Metadata.Name
}
