package task

import (
	"context"
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// RequireEmpty refuses to make a package where there is one: nothing is ever
// created over content. In place of the declaring package a Kptfile without
// upstream and pipeline, as `kpt pkg init` leaves it, is no content.
var RequireEmpty = Mutation{"check the target", requireEmpty}

func requireEmpty(_ context.Context, j *Job) (kptpkg.Tree, error) {
	var content []string
	for _, p := range j.Package.Paths() {
		if p != kptpkg.KptfileName {
			content = append(content, p)
		}
	}
	target, err := j.Revision.Target()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	switch {
	case j.Package.File(kptpkg.KptfileName) == nil:
	case target != ".":
		content = append([]string{kptpkg.KptfileName}, content...)
	default:
		k, err := j.Package.Kptfile(".")
		if err != nil {
			return kptpkg.Tree{}, err
		}
		if k.Upstream != nil || k.UpstreamLock != nil || len(k.Pipeline.Mutators)+len(k.Pipeline.Validators) > 0 {
			content = append([]string{kptpkg.KptfileName + " with an upstream or a pipeline"}, content...)
		}
	}
	if len(content) == 0 {
		return j.Package, nil
	}
	const show = 3
	more := ""
	if n := len(content) - show; n > 0 {
		content, more = content[:show], fmt.Sprintf(" and %d more", n)
	}
	return kptpkg.Tree{}, &fn.ResultError{Result: fn.Result{
		Severity: fn.Error, ResourceRef: j.Revision.Ref(), Field: &fn.Field{Path: fmt.Sprintf("spec.tasks[%d]", j.TaskIndex)},
		Message: fmt.Sprintf("target %q already holds content (%s%s), and a package is only made where there is none: remove the content, or choose another target with annotation %s",
			target, strings.Join(content, ", "), more, api.TargetAnnotation),
	}}
}
