// Package task holds what can be done to a package: each type of task is a
// value, a name and a chain of mutations, and one table lists them all.
//
// A new task type is its spec in package api, its mutations in a file here and
// one line in kinds.go.
package task

import (
	"cmp"
	"context"
	"fmt"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Kind is one type of task.
type Kind struct {
	Name  string // as a user writes it
	Chain []Mutation
}

// Mutation is one link of a chain: a package in, a changed package out. The
// package it is given is never changed; with an error it returns none.
type Mutation struct {
	Name  string // as it reads in an error: "clone: fetch upstream: …"
	Apply func(context.Context, *Job) (kptpkg.Tree, error)
}

// Job is one Kind at work on one package: all that a Mutation may read, and
// the few things that later mutations and the caller need to know.
type Job struct {
	Revision *api.PackageRevision // whose package it is
	Task     *api.Task            // the task, nil for an update
	// By is the object that orders the work, which errors are about; nil: Revision does.
	// Where there is one Revision is made up, and no package's of a repository.
	By *fn.ResourceRef
	// Field is where the task stands in the object; empty: spec.tasks[0].
	Field string
	// Resources are what replaces the package, nil for other work.
	Resources   *api.PackageRevisionResources
	Function    *kptpkg.Function   // what an eval runs, nil for other work
	Package     kptpkg.Tree        // as the previous mutation left it
	Deployment  bool               // whether the package is for a deployment repository
	Upstream    upstream.Source    // where clones come from
	Credentials CredentialResolver // nil: there are none
	Revisions   Revisions          // the package revisions that can be named
	// OnConflict and Resolve are who wins where an upgrade finds a conflict, as
	// the operator has it; empty: the revision's annotation says. Dir is where
	// the operator sees the package, as in [merge.Options].
	OnConflict merge.Policy
	Resolve    merge.Resolutions
	Dir        string
	// Unseen says of a file that the package may have it and the host couldn't
	// pass it; nil: the package is there as a whole.
	Unseen   func(*kptpkg.File) bool
	Renderer *render.Renderer // how pipelines run
	// Evaluator is how Function runs; nil: as pipelines do.
	Evaluator *render.Renderer
	Status    StatusPolicy // whether Kptfiles get a status

	Lock     *upstream.Lock   // what FetchUpstream read
	Rendered *render.Rendered // what Render did, also when it failed
	Results  []fn.Result      // what there is to say, beside the results of functions

	replaced kptpkg.Tree            // the package before ReplaceFiles
	made     []*api.PackageRevision // the orders that made what MergeUpstream merges
}

// CredentialResolver finds the credentials that a secretRef names.
type CredentialResolver interface {
	// Credential returns the content of the secret; the error says where it was
	// looked for, never what it holds.
	Credential(ctx context.Context, namespace, secret string) (*repository.Credential, error)
}

// StatusPolicy says whether rendering writes its status into Kptfiles.
type StatusPolicy string

// The status policies. The zero value means StatusKeep.
const (
	StatusKeep   StatusPolicy = "keep"   // updated where there is one already
	StatusAlways StatusPolicy = "always" // always written, as kpt does
	StatusNever  StatusPolicy = "never"  // never written
)

// Run applies the chain to the job's package and returns the package as the
// last mutation left it. The first error ends the chain and nothing of it is
// kept. The caller gives up job.
func (k Kind) Run(ctx context.Context, job *Job) (kptpkg.Tree, error) {
	for _, m := range k.Chain {
		if ctx.Err() != nil {
			return kptpkg.Tree{}, fmt.Errorf("%s: %s: %w", k.Name, m.Name, context.Cause(ctx))
		}
		next, err := m.Apply(ctx, job)
		if err != nil {
			return kptpkg.Tree{}, fmt.Errorf("%s: %s: %w", k.Name, m.Name, err)
		}
		job.Package = next
	}
	return job.Package, nil
}

// report adds a result about the job.
func (j *Job) report(sev fn.Severity, file, message string) {
	r := fn.Result{Message: message, Severity: sev, ResourceRef: j.by()}
	if file != "" {
		r.File = &fn.File{Path: file}
	}
	j.Results = append(j.Results, r)
}

// by is the object that orders the work.
func (j *Job) by() *fn.ResourceRef {
	if j.By != nil || j.Revision == nil {
		return j.By
	}
	return j.Revision.Ref()
}

// taskError is an error about the task, or with a name about that field of what its
// type says.
func (j *Job) taskError(field, message string, cause error) error {
	at := cmp.Or(j.Field, "spec.tasks[0]")
	if field != "" {
		at += "." + string(j.Task.Type) + "." + field
	}
	return &fn.ResultError{Result: fn.Result{
		Message: message, Severity: fn.Error, ResourceRef: j.by(), Field: &fn.Field{Path: at},
	}, Err: cause}
}

// anotherTarget is how the object's author chooses one.
func (j *Job) anotherTarget() string {
	if j.By != nil {
		return "another target"
	}
	return "another target with annotation " + api.TargetAnnotation
}
