package task

import (
	"context"
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// RequireEmpty refuses to make a package where there is one: nothing is ever
// created over content. In place of the declaring package a Kptfile without
// upstream and pipeline, as `kpt pkg init` leaves it, is no content.
var RequireEmpty = Mutation{"check the target", requireEmpty}

func requireEmpty(_ context.Context, j *Job) (kptpkg.Tree, error) {
	target, content, err := j.content()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	if content == "" {
		return j.Package, nil
	}
	return kptpkg.Tree{}, j.taskError("", fmt.Sprintf("target %q already holds content (%s), and a package is only made where there is none: remove the content, or choose %s",
		target, content, j.anotherTarget()), nil)
}

// content names what the target holds that a package can't be made over, empty where
// it can.
func (j *Job) content() (target, content string, err error) {
	var files []string
	for _, p := range j.Package.Paths() {
		if p != kptpkg.KptfileName {
			files = append(files, p)
		}
	}
	if target, err = j.Revision.Target(); err != nil {
		return "", "", err
	}
	switch {
	case j.Package.File(kptpkg.KptfileName) == nil:
	case target != ".":
		files = append([]string{kptpkg.KptfileName}, files...)
	default:
		k, err := j.Package.Kptfile(".")
		if err != nil {
			return "", "", err
		}
		if !bare(k) {
			files = append([]string{kptpkg.KptfileName + " with an upstream or a pipeline"}, files...)
		}
	}
	const show = 3
	more := ""
	if n := len(files) - show; n > 0 {
		files, more = files[:show], fmt.Sprintf(" and %d more", n)
	}
	return target, strings.Join(files, ", ") + more, nil
}

// IsBare says whether a Kptfile is as `kpt pkg init` leaves it, so that a package can be
// made over it.
func IsBare(f *kptpkg.File) bool {
	k, err := kptpkg.ReadKptfile(f)
	return err == nil && bare(k)
}

func bare(k *kptpkg.Kptfile) bool {
	return k.Upstream == nil && k.UpstreamLock == nil && len(k.Pipeline.Mutators)+len(k.Pipeline.Validators) == 0
}
