package task

import (
	"context"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Render runs the package's pipeline and those of its subpackages, and writes
// how it went into the root Kptfile as the job's policy says.
var Render = Mutation{"render", renderPackage}

func renderPackage(ctx context.Context, j *Job) (kptpkg.Tree, error) {
	rendered, err := j.Renderer.Render(ctx, j.Package)
	j.Rendered = rendered
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return WriteStatus(rendered.Tree, rendered, j.Status)
}
