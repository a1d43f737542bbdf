package task

import (
	"cmp"
	"context"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Eval runs the job's function over all resources of the package and of its
// subpackages, as `kpt fn eval` does. It fails like a step of a render, with an
// error that wraps a [render.Error].
var Eval = Mutation{"run the function", eval}

func eval(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	done, err := cmp.Or(j.Evaluator, j.Renderer).Eval(ctx, j.Package, *j.Function)
	j.Results = append(j.Results, done.Results...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return done.Tree, nil
}
