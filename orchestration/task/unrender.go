package task

import (
	"context"
	"errors"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// Merge is [merge.Merge] for a package that is rendered afterwards. What cloning
// and rendering wrote into it is nobody's change: where the merge would stop for
// such a value, or fast-forward for such a file, it is taken back first, and
// rendering writes it again. A package whose pipeline can't run now is merged as
// it is.
func (j *Job) Merge(ctx context.Context, base, local, up kptpkg.Tree, o merge.Options) (merge.Result, error) {
	res, err := merge.Merge(base, local, up, o)
	unused := res.Unused
	written := make(map[string]merge.Conflict, len(res.Conflicts)) // as the package says it
	for _, c := range res.Conflicts {
		written[c.Place()] = c
	}
	inputs := base
	for range 2 { // with upstream's inputs of the pipeline, then with the package's own
		if j.Renderer == nil || !contested(res, err, o.Strategy) {
			break
		}
		plain, bad := j.unrendered(ctx, base, inputs, local)
		if bad != nil {
			break
		}
		res, err = merge.Merge(base, plain, up, o)
		inputs = plain
	}
	for i, c := range res.Conflicts {
		if w, ok := written[c.Place()]; ok {
			res.Conflicts[i].Line, res.Conflicts[i].Local = w.Line, w.Local
		}
	}
	res.Unused = unused
	if open, ok := errors.AsType[*merge.ConflictError](err); ok {
		open.Conflicts = slices.DeleteFunc(slices.Clone(res.Conflicts), func(c merge.Conflict) bool { return c.Taken != "" })
	}
	return res, err
}

// contested says whether a merge came upon changes of the package's own that
// somebody has to think about.
func contested(res merge.Result, err error, s merge.Strategy) bool {
	switch s {
	case "", merge.ResourceMerge:
		return slices.ContainsFunc(res.Conflicts, func(c merge.Conflict) bool { return !c.Info })
	}
	return s == merge.FastForward && err != nil
}

// unrendered is local less what a clone of base, with the inputs that the tree
// of that name has, has from its making: names, metadata, and what functions
// wrote.
func (j *Job) unrendered(ctx context.Context, base, inputs, local kptpkg.Tree) (kptpkg.Tree, error) {
	from, err := withInputs(base, inputs)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	if f := local.File(contextFile); f != nil {
		if from, err = from.With(f); err != nil {
			return kptpkg.Tree{}, err
		}
	}
	clone := *j
	clone.Package, clone.Results = from, nil
	for _, m := range []Mutation{LockUpstream, AddMergeKeys, SetMetadata, Render} {
		if clone.Package, err = m.Apply(ctx, &clone); err != nil {
			return kptpkg.Tree{}, err
		}
	}
	res, err := merge.Merge(clone.Package, local, from, merge.Options{OnConflict: merge.TakeLocal, Root: true})
	return res.Tree, err
}

// withInputs is base with the pipelines and function configs of another version
// of it.
func withInputs(base, version kptpkg.Tree) (kptpkg.Tree, error) {
	var files []*kptpkg.File
	for _, dir := range version.Packages() {
		name := path.Join(dir, kptpkg.KptfileName)
		if base.File(name) == nil {
			continue
		}
		k, err := version.Kptfile(dir)
		if err != nil {
			return kptpkg.Tree{}, err
		}
		files = append(files, version.File(name))
		for _, f := range slices.Concat(k.Pipeline.Mutators, k.Pipeline.Validators) {
			if c := version.File(path.Join(dir, f.ConfigPath)); f.ConfigPath != "" && c != nil {
				files = append(files, c)
			}
		}
	}
	return base.With(files...)
}
