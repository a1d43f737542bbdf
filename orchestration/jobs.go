package orchestration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"golang.org/x/sync/errgroup"
)

// carryOut works through the jobs in waves: each after those that hold its
// target, that it goes on from, or whose packages its tasks name; those of one
// wave at once.
func (r *run) carryOut(ctx context.Context) {
	waves := map[int][]*job{}
	for _, j := range r.jobs {
		if n := r.wave(j); j.works() {
			waves[n] = append(waves[n], j)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(waves)) {
		var g errgroup.Group
		g.SetLimit(cmp.Or(r.opts.Parallel, 10))
		for _, j := range waves[n] {
			if i := slices.IndexFunc(j.needs, func(n *job) bool { return n.err != nil }); i >= 0 {
				j.err = j.fail("", fmt.Sprintf("not carried out: it needs %s %s in %s, which failed", j.needs[i].object.Ref().Kind, j.needs[i].name(), j.needs[i].file))
				continue
			}
			g.Go(func() error {
				r.do(ctx, j)
				return nil
			})
		}
		_ = g.Wait() // jobs keep their own errors
		r.merge(waves[n])
	}
}

// wave is how many jobs have to be done one after another before j; it finds
// what j needs on the way. Jobs that need each other in a circle fail.
func (r *run) wave(j *job) int {
	switch {
	case j.level > 0:
		return j.level
	case j.level < 0:
		j.err = cmp.Or(j.err, j.fail("spec.tasks", "the package revisions that its tasks name need this one in turn: break the circle"))
		return 0
	}
	j.level = -1
	for d := j.target; d != "." && d != ""; {
		d = path.Dir(d)
		j.needs = append(j.needs, r.holding(d)...)
	}
	if j.before != nil {
		j.needs = append(j.needs, j.before)
	}
	// on one target: what makes the package, what replaces it, what updates it
	for _, d := range r.holding(j.target) {
		if d != j && (j.resources != nil && d.resources == nil && d.action != ActionUpdate ||
			j.action == ActionUpdate && d.resources != nil) {
			j.needs = append(j.needs, d)
		}
	}
	for _, name := range j.references() {
		if d := r.byName(j.revision.Metadata.Namespace, name); d != nil && d != j && !slices.Contains(j.needs, d) {
			j.needs = append(j.needs, d)
		}
	}
	level := 1
	for _, d := range j.needs {
		level = max(level, r.wave(d)+1)
	}
	j.level = level
	return level
}

// holding are the orders whose target is dir.
func (r *run) holding(dir string) []*job {
	if r.targets == nil {
		r.targets = map[string][]*job{}
		for _, j := range r.jobs {
			r.targets[j.target] = append(r.targets[j.target], j)
		}
	}
	return r.targets[dir]
}

// draft is the package of one job, kept in memory until the job is done.
type draft struct{ pkg kptpkg.Tree }

func (d *draft) Resources(context.Context) (kptpkg.Tree, error) { return d.pkg, nil }

func (d *draft) UpdateResources(_ context.Context, pkg kptpkg.Tree, _ *api.Task) error {
	d.pkg = pkg
	return nil
}

// do carries one order out on its own package.
func (r *run) do(ctx context.Context, j *job) {
	defer func() {
		if p := recover(); p != nil {
			j.err = j.about(bug(p))
		}
	}()
	d := &draft{r.packageAt(j.target)}
	repo := r.found.repository(j.revision)
	in := workspace{
		revisions: r.local(j), registered: r.registered, unseen: r.opts.Unseen,
		onConflict: r.opts.OnConflict, resolve: resolutionsAt(r.opts.Resolve, j.target),
	}
	var err error
	switch j.action {
	case ActionCreate:
		j.outcome, err = r.handler.applyTask(ctx, in, d, repo, j.revision, 0)
	case ActionUpdate:
		j.outcome, err = r.handler.update(ctx, in, d, repo, j.revision, j.applied, j.changed)
	case ActionReplace:
		if d.pkg.File(kptpkg.KptfileName) == nil {
			err = j.fail("spec.packageName", fmt.Sprintf("target %q holds no package that could be replaced: make one by a PackageRevision (init, clone)", j.target))
			break
		}
		j.outcome, j.status, err = r.handler.replace(ctx, in, d, j.revision, j.resources)
		j.saved = err != nil && j.revision.Metadata.Annotations[pushOnFailure] == "true"
	}
	j.pkg = d.pkg
	if err == nil && j.target == "." && j.action != ActionRebuild {
		err = r.checkInPlace(j)
	}
	if (err == nil || j.status != nil) && !r.opts.Stateless {
		var recordErr error
		j.record, recordErr = j.recorded(err == nil)
		err = errors.Join(err, recordErr)
	}
	j.err = j.about(err)
}

// bug is the error for a panic.
func bug(p any) error {
	return fmt.Errorf("stoop has a bug, please report it: %v\n%s", p, debug.Stack())
}

// packageAt is the package at target without what is stoop's in it.
func (r *run) packageAt(target string) kptpkg.Tree {
	if target != "." {
		return r.ws.Sub(target)
	}
	return r.ws.Without(slices.Collect(maps.Keys(r.found.own))...)
}

// checkInPlace refuses a package that, put in place of the declaring one, would
// give orders.
func (r *run) checkInPlace(j *job) error {
	f, err := discover(j.pkg, nil)
	if err != nil {
		return fmt.Errorf("the package brings objects for stoop along: %w", err)
	}
	for _, files := range []map[string]bool{f.own, f.mixed} {
		if len(files) > 0 {
			return j.fail("", fmt.Sprintf("the package brings objects for stoop along in %s, which would be carried out here: make the package below this one (annotation %s), or take them out upstream",
				some(slices.Sorted(maps.Keys(files))), api.TargetAnnotation))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(r.found.own)) {
		if j.pkg.File(p) != nil {
			return j.fail("", fmt.Sprintf("the package brings a file %s, and the declaring package has one with objects for stoop: move that", p))
		}
	}
	return nil
}

// merge puts the packages of finished jobs, none of which holds another, into
// the workspace.
func (r *run) merge(jobs []*job) {
	var gone []string
	var files []*kptpkg.File
	for _, j := range jobs {
		if j.err != nil && !j.saved {
			continue
		}
		for _, p := range r.packageAt(j.target).Paths() {
			gone = append(gone, path.Join(j.target, p))
		}
		for _, p := range j.pkg.Paths() {
			files = append(files, j.pkg.File(p).At(path.Join(j.target, p)))
		}
	}
	ws, err := r.ws.Without(gone...).With(files...)
	if err == nil {
		r.ws = ws
		return
	}
	for _, j := range jobs {
		j.err = cmp.Or(j.err, j.about(err))
	}
}

// resolutionsAt are the resolutions for files below a target, relative to it.
func resolutionsAt(all merge.Resolutions, target string) merge.Resolutions {
	if target == "." {
		return all
	}
	at := merge.Resolutions{}
	for place, side := range all {
		if rel, ok := strings.CutPrefix(place, target+"/"); ok {
			at[rel] = side
		}
	}
	return at
}
