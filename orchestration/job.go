package orchestration

import (
	"errors"
	"fmt"
	"path"
	"sync/atomic"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// job is an order being carried out.
type job struct {
	*order
	action Action
	before *job   // the order on the same target that this one goes on from
	after  *job   // the one that goes on from it
	needs  []*job // those that have to be done first
	step   string // the name of its step in the graph

	arranging, arranged bool // finding out what it needs; having found out

	skip    bool   // not asked for
	unmade  bool   // not asked for, and its package has never been made
	applied int    // tasks that have run
	changed bool   // whether the object says something new about the package
	note    string // a warning about the object

	last atomic.Pointer[made] // what came of carrying it out
	made                      // the same, once its step has ended
	over bool                 // it has
}

// made is what comes of an order.
type made struct {
	outcome *Outcome
	pkg     *kptpkg.Tree      // the package afterwards, nil before
	record  *yamldoc.Doc      // the object with the record of what was done; nil: as it is
	mirror  []api.Condition   // those of a PackageRevision with a record
	status  *api.RenderStatus // how the render of a replaced package went
	saved   bool              // the package is kept although it failed to render
	err     error
}

// draft is the job to be carried out: what comes of it is its own.
func (j *job) draft() *job {
	return &job{order: j.order, action: j.action, applied: j.applied, changed: j.changed, made: j.made}
}

// ended takes over what came of carrying the job out. What came too late counts
// for nothing.
func (j *job) ended(state dag.State) {
	j.over = true
	if m := j.last.Load(); m != nil && (state == dag.Completed || m.err != nil) {
		j.made = *m
	}
}

// references are the names of the revisions that the order's tasks need.
func (j *job) references() []string {
	if j.resources != nil {
		return nil
	}
	return references(j.revision, min(j.applied, len(j.revision.Spec.Tasks)))
}

// fail is an error about a field of the order, or about all of it.
func (j *job) fail(field, message string) error {
	return j.about(resultError(j.object, field, message, nil))
}

// about makes an error that the order met one about the order. What it says of
// the package's own files stays in the message: a package that couldn't be made
// isn't there to look into.
func (j *job) about(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, j.about(e))
		}
		return errors.Join(out...)
	}
	if re, ok := errors.AsType[*fn.ResultError](err); err == nil || ok && re.Result.ResourceRef != nil && *re.Result.ResourceRef == *j.object.Ref() {
		return at(err, j.file, j.index)
	}
	return &fn.ResultError{Result: fn.Result{
		Message: err.Error(), Severity: fn.Error, ResourceRef: j.object.Ref(), File: j.place(),
	}, Err: err}
}

// place is where the order's object is.
func (j *job) place() *fn.File { return &fn.File{Path: j.file, Index: j.index} }

// name is that of the order's object.
func (j *job) name() string { return j.object.Head().Metadata.Name }

// results is all there is to say about the job.
func (j *job) results() []fn.Result {
	var results []fn.Result
	switch msg := j.summary(); {
	case j.err != nil:
		results = fn.ResultsOf(j.err)
	case msg != "":
		results = append(results, j.result(fn.Info, msg))
	}
	if j.note != "" {
		results = append(results, j.result(fn.Warning, j.note))
	}
	if j.outcome != nil {
		for _, res := range j.outcome.Results {
			results = append(results, located(res, j.target).Tagged("task", j.name()))
		}
	}
	return results
}

// result is one about the order.
func (j *job) result(sev fn.Severity, message string) fn.Result {
	return fn.Result{Message: message, Severity: sev, ResourceRef: j.object.Ref(), File: j.place()}
}

// located gives a result about a file of the package at target that file's place in
// the workspace.
func located(res fn.Result, target string) fn.Result {
	if res.File != nil && target != "." {
		f := *res.File
		f.Path = path.Join(target, f.Path)
		res.File = &f
	}
	return res
}

func (j *job) summary() string {
	if j.err != nil || j.pkg == nil {
		return ""
	}
	n := count(j.pkg.Len(), "file")
	made := "cloned from"
	if j.action == ActionCreate && j.revision.Spec.Tasks[0].Type == api.TaskUpgrade {
		made = "upgraded to"
	}
	switch {
	case j.action == ActionCreate && j.outcome.Lock != nil && j.outcome.Lock.OCI != nil:
		return fmt.Sprintf("package %s %s %s and rendered: %s", j.target, made, j.outcome.Lock.OCI.Image, n)
	case j.action == ActionCreate && j.outcome.Lock != nil:
		l := j.outcome.Lock.Git
		return fmt.Sprintf("package %s %s %s of %s at %s (commit %s) and rendered: %s", j.target, made, l.Directory, l.Repo, l.Ref, l.Commit, n)
	case j.action == ActionCreate:
		return fmt.Sprintf("package %s made and rendered: %s", j.target, n)
	case j.action == ActionUpdate:
		return fmt.Sprintf("package %s updated and rendered", j.target)
	case j.action == ActionReplace:
		return fmt.Sprintf("package %s replaced and rendered: %s", j.target, n)
	case j.action == ActionRebuild:
		return fmt.Sprintf("package %s was made before; the record of it is written again", j.target)
	}
	return ""
}
