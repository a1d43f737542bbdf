package orchestration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// ended takes over what the last attempt returned. What one did that was too
// late counts for nothing.
func (w *work) ended(state dag.State) {
	w.over = true
	if a := w.last.Swap(nil); a != nil {
		w.attempt = *a
	}
	if state != dag.Completed {
		w.attempt = attempt{dirty: w.dirty, outcome: w.outcome}
	}
}

// carry carries out one attempt at a task.
func (r *run) carry(ctx context.Context, w *work, in dag.Inputs) (dag.Result, error) {
	a := &attempt{}
	defer w.last.Store(a)
	bound, err := r.bind(w, in)
	if err != nil {
		return dag.Result{}, err
	}
	if why := w.unapproved(bound); why != "" {
		return dag.Result{}, dag.Held(why)
	}
	seen := &api.Observed{Spec: w.spec.Digest()}
	if bound != w.spec {
		if d := bound.Digest(); d != seen.Spec {
			seen.Inputs = d
		}
	}
	a.dirty = r.whyDirty(w, bound, seen)
	if a.dirty == "" && !r.opts.Stateless {
		if why := r.gone(w); why != "" {
			return dag.Result{}, dag.Mark(dag.Permanent, w.fail("", "target", why, nil))
		}
		a.done, a.clean, a.outputs, a.seen = true, true, w.was.Outputs, w.was.Observed
		return dag.Result{Outputs: a.outputs, Clean: true}, nil
	}
	switch {
	case !w.kind.executed():
	case r.opts.Mock:
		return w.mock(a)
	case r.opts.Dry && !r.builtIn(w):
		return dag.Result{}, dag.Held("it would run: a dry run asks no agent and calls no tool that isn't built in")
	}
	pkg := kptpkg.Tree{}
	if w.target() != "" {
		pkg = r.store.pkg(w.target())
	}
	next, outputs, err := r.perform(ctx, w, a, bound, pkg)
	if err == nil {
		outputs, err = w.checkOutputs(outputs)
	}
	if err != nil {
		return dag.Result{}, err
	}
	a.outcome.settle()
	if w.target() != "" {
		a.next = &next
	}
	a.done, a.outputs, a.seen = true, outputs, seen
	return dag.Result{Outputs: outputs}, nil
}

// builtIn says whether a task calls a tool that is known to run inside of stoop.
func (r *run) builtIn(w *work) bool {
	if w.spec.ToolCall == nil {
		return false
	}
	_, known, err := r.knownFunction(w)
	return err == nil && known != nil && known.InProcess
}

// whyDirty is why the task has to run, empty when it completed before and nothing
// has changed since.
func (r *run) whyDirty(w *work, bound *api.TaskSpec, seen *api.Observed) string {
	if why := w.saysElse(bound, seen); why != "" {
		return why
	}
	if w.endsAgain() && w.plan.tried() {
		return planRan
	}
	return r.contentChanged(w)
}

// saysElse is why a task is another one than the one that completed, empty when it
// is the same.
func (w *work) saysElse(bound *api.TaskSpec, seen *api.Observed) string {
	was := w.was.Observed
	switch {
	case w.undone:
		return fmt.Sprintf("its target %q was made anew", w.target())
	case was == nil || w.was.Mock:
		return "it has not completed before"
	case was.Spec != seen.Spec:
		return "its spec changed"
	case was.Inputs != seen.Inputs:
		return "its inputs changed"
	case w.spec.Type == api.WorkApprove && !maps.Equal(w.was.Outputs, approvalIn(bound)):
		return "its approval changed"
	}
	return ""
}

// gone says that the package a task has made isn't there any more. It isn't made
// again: what other tasks have done to it since they would not do again. Of a host
// nobody knows what it has.
func (r *run) gone(w *work) string {
	if !w.kind.makes || r.opts.Unseen != nil || r.store.has(w.target()) {
		return ""
	}
	return fmt.Sprintf("target %q is gone, which this task has made: bring it back, or take the status of the tasks that work on it out of their objects to have it made again", w.target())
}

// endsAgain says whether the task is a finally one that runs again when anything of
// its plan was tried again.
func (w *work) endsAgain() bool {
	return w.spec.Finally && w.plan != nil && (w.kind.executed() || w.kind.again)
}

const planRan = "tasks of the plan ran"

// contentChanged says that the content of the task's target has changed since it
// completed, where it runs again for that; empty when it hasn't.
func (r *run) contentChanged(w *work) string {
	if !w.kind.again || w.target() == "" {
		return ""
	}
	if d, err := r.store.digest(w.target()); err != nil || d != w.was.Observed.Content {
		return "the content of " + w.target() + " changed"
	}
	return ""
}

// tried says whether anything was attempted in this run of what the plan's finally
// tasks come after.
func (p *plan) tried() bool {
	return slices.ContainsFunc(p.works, func(w *work) bool {
		return !w.spec.Finally && (w.tried && !w.clean || w.inner != nil && w.inner.tried())
	})
}

// approvalIn is what an approve task hands on.
func approvalIn(bound *api.TaskSpec) map[string]any {
	if bound.Approve == nil || bound.Approve.By == "" {
		return nil
	}
	return map[string]any{"by": bound.Approve.By}
}

// contentDigest is the SHA-256, in hex, of the files of a package that functions
// see: paths and bytes, without the status of Kptfiles, which kpt writes anew at each
// render. No host passes others, or their modes. Nothing is parsed.
func contentDigest(pkg kptpkg.Tree) (string, error) {
	files, err := render.Seen(pkg)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	var line []byte
	for _, f := range files {
		b, err := f.Bytes()
		if err != nil {
			return "", err
		}
		if isComment(b) {
			continue
		}
		if path.Base(f.Path()) == kptpkg.KptfileName {
			b = withoutStatus(b)
		}
		one := sha256.Sum256(b)
		line = append(append(line[:0], f.Path()...), 0)
		sum.Write(append(hex.AppendEncode(line, one[:]), '\n'))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// isComment says whether YAML has no line but comments, empty ones and those between
// documents.
func isComment(b []byte) bool {
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && string(line) != "---" {
			return false
		}
	}
	return true
}

// withoutStatus is a Kptfile without the lines of its top-level status.
func withoutStatus(b []byte) []byte {
	if !bytes.Contains(b, []byte("status:")) {
		return b
	}
	var out []byte
	skip := false
	for line := range bytes.Lines(b) {
		switch c := line[0]; {
		case bytes.HasPrefix(line, []byte("status:")):
			skip = true
		case skip && c != ' ' && c != '\n' && c != '\r' && c != '-' && c != '#':
			skip = false
		}
		if !skip {
			out = append(out, line...)
		}
	}
	return out
}

// fail is an error about a field of the task.
func (w *work) fail(code, field, message string, cause error) error {
	at := w.field
	if field != "" {
		at += "." + field
	}
	return w.about(codedError(w.object, code, at, message, cause))
}

// about makes an error that the task met one about its object.
func (w *work) about(err error) error {
	if err == nil {
		return nil
	}
	re, ok := errors.AsType[*fn.ResultError](err)
	if !ok || re.Result.ResourceRef == nil || *re.Result.ResourceRef != *w.object.Ref() {
		res := fn.Result{Message: err.Error(), Severity: fn.Error, ResourceRef: w.object.Ref(), Field: &fn.Field{Path: w.field}}
		return &fn.ResultError{Result: w.tagged(inPlace(res, w.file, w.index)), Err: err}
	}
	return &fn.ResultError{Result: w.tagged(inPlace(re.Result, w.file, w.index)), Err: err}
}

// inPlace gives a result a place, unless it has one.
func inPlace(res fn.Result, file string, index int) fn.Result {
	if res.File == nil {
		res.File = &fn.File{Path: file, Index: index}
	}
	return res
}

// tagged says in a result which task it is about.
func (w *work) tagged(res fn.Result) fn.Result { return res.Tagged("task", w.path) }

// caused says of an error whether trying again may help.
func (w *work) caused(err error) error {
	told := w.about(err)
	switch {
	case errors.Is(err, runtime.ErrNotFound), errors.Is(err, runtime.ErrNotAllowed), repository.IsDenied(err):
		re, _ := errors.AsType[*fn.ResultError](told)
		re.Result.Tags[api.CodeTag] = codeUnavailable
		return dag.Mark(dag.Permanent, re)
	case repository.IsTransient(err):
		return dag.Mark(dag.Unavailable, told)
	case w.kind.executed():
		return told
	}
	var failed *render.Error
	if errors.As(err, &failed) || errors.Is(err, repository.ErrNotFound) {
		return dag.Mark(dag.Permanent, told)
	}
	return told
}
