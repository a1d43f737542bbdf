package task

import (
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// AddMergeKeys notes on every resource what it is called upstream, so that a
// later upgrade finds it again however it was renamed, see [merge.AddKeys]. A
// file that can't take them is left alone, with a warning (Porch loses the whole
// package).
var AddMergeKeys = Mutation{"add merge keys", addMergeKeys}

func addMergeKeys(_ context.Context, j *Job) (kptpkg.Tree, error) {
	t, skipped, err := merge.AddKeys(j.Package)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	for _, s := range skipped {
		j.report(fn.Warning, s.Path, fmt.Sprintf("no merge keys added, upgrades will treat this as a plain file: %v", s.Err))
	}
	return t, nil
}
