package task

import (
	"context"
	"fmt"
	"path"
	"reflect"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// Merge is [merge.Merge] for a package that is rendered afterwards: what making
// and rendering it wrote, and would write again, is nobody's change.
func (j *Job) Merge(ctx context.Context, base, local, up kptpkg.Tree, o merge.Options) (merge.Result, error) {
	if j.Renderer != nil {
		o.Rendered = func(contested, inputs []string) (before, after kptpkg.Tree, err error) {
			return j.rendered(ctx, base, local, contested, inputs)
		}
	}
	res, err := merge.Merge(base, local, up, o)
	if err != nil && res.RenderError != nil {
		j.report(fn.Info, "", fmt.Sprintf("the package can't be rendered now, so what rendering wrote counts as changed locally: %v", res.RenderError))
	}
	return res, err
}

// rendered is local with base's version of some files, before and after
// rendering. Everything else that functions read (setters, comments, sources of
// replacements, the pipeline itself) is the package's own, inputs aside: what it no
// longer writes was left there on purpose.
func (j *Job) rendered(ctx context.Context, base, local kptpkg.Tree, contested, inputs []string) (before, after kptpkg.Tree, err error) {
	made := *j
	made.Package, made.Results = local, nil
	whole := false
	was, err := merge.WithCommentsLeft(base, local, contested)
	if err != nil {
		return before, after, err
	}
	for _, p := range contested {
		f := was.File(p)
		switch {
		case p == ".":
			whole, made.Package = true, base
			if f := local.File(contextFile); f != nil {
				made.Package, err = base.With(f)
			}
		case base.Sub(p).Len() > 0:
			made.Package = made.Package.Replace(p, base.Sub(p))
		case f == nil:
			made.Package = made.Package.Without(p)
		case path.Base(p) != kptpkg.KptfileName || samePipeline(base, local, path.Dir(p)):
			made.Package, err = made.Package.With(f)
		}
		if err != nil {
			return before, after, err
		}
	}
	for _, p := range inputs {
		if made.Package, err = made.Package.With(base.File(p)); err != nil {
			return before, after, err
		}
	}
	apply := func(chain ...Mutation) {
		for _, m := range chain {
			if err == nil {
				made.Package, err = m.Apply(ctx, &made)
			}
		}
	}
	apply(LockUpstream, AddMergeKeys)
	before = made.Package
	orders := []*api.PackageRevision{j.Revision}
	if whole && len(j.made) > 0 {
		orders = j.made // what they wrote stays, whether it is written again or not
	}
	for _, made.Revision = range orders {
		apply(SetMetadata)
	}
	apply(Render)
	return before, made.Package, err
}

// samePipeline says whether the packages at dir have the same steps.
func samePipeline(a, b kptpkg.Tree, dir string) bool {
	x, err1 := a.Kptfile(dir)
	y, err2 := b.Kptfile(dir)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x.Pipeline, y.Pipeline)
}
