package orchestration

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// codeOf is the code of a failed step: that of its error, or the scheduler's.
func codeOf(s dag.StepReport) string { return string(codeFor(s.Code, s.Err)) }

// codeFor is the code that an error has where the scheduler has no better one.
func codeFor(code dag.Code, err error) dag.Code {
	if re, ok := errors.AsType[*fn.ResultError](err); ok && code == dag.Orchestration {
		return cmp.Or(dag.Code(re.Result.Tags[api.CodeTag]), code)
	}
	return code
}

// ownError is what the task itself failed with, without the scheduler's words about
// it; deadline are those that say more, empty unless the time for all attempts was up.
func (w *work) ownError() (deadline string, err error) {
	told, ok := errors.AsType[*dag.Error](w.state.Err)
	if !ok || told.Err == nil {
		return "", w.state.Err
	}
	switch why, ok := told.Err.(*dag.Error); {
	case !ok || why.Err == nil:
	case why.Code == dag.TimedOut:
		return why.Text + ": ", why.Err
	case why.Code == dag.RetriesExhausted:
		return "", why.Err
	}
	if told.Code == dag.MissingInput {
		return "", w.missing(told.Err)
	}
	return "", told.Err
}

// missing makes the error of a task that an output wasn't there for one about the
// field that names it.
func (w *work) missing(err error) error {
	if w.plan == nil {
		return err
	}
	missing := func(field, task, key string) error {
		d := w.plan.byName[task]
		if d == nil || d.state.State != dag.Completed {
			return nil
		}
		if _, ok := d.state.Outputs[key]; ok {
			return nil
		}
		fix := "have it yield that"
		if d.spec.Type == api.WorkApprove {
			fix = "say there who approved (approve.by)"
		}
		return w.fail(codeMissing, field, fmt.Sprintf("task %s completed without the output %q: %s, or write needs: [{task: %s, outputKey: %s, default: VALUE}] here", d.path, key, fix, task, key), err)
	}
	for i, n := range w.spec.Needs {
		if n.OutputKey != "" && n.Default == nil {
			if err := missing(fmt.Sprintf("needs[%d].outputKey", i), n.Task, n.OutputKey); err != nil {
				return err
			}
		}
	}
	for _, bd := range w.bindings {
		key, _ := bd.Path[0].(string)
		if bd.Task != "plan" && !bd.HasDefault && !w.needDefault(bd.Task, key) {
			if err := missing(bd.Field, bd.Task, key); err != nil {
				return err
			}
		}
	}
	return err
}

// ownLine is what the task failed with in one line.
func (w *work) ownLine() string {
	deadline, err := w.ownError()
	return deadline + firstLine(err)
}

// firstLine is an error in one line: its first, with what that announces.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if re, ok := errors.AsType[*fn.ResultError](err); ok {
		text = re.Result.Message
	}
	line, rest, _ := strings.Cut(text, "\n")
	if strings.HasSuffix(line, ":") { // what it was stands below
		next, more, _ := strings.Cut(strings.TrimLeft(rest, " \n"), "\n")
		if more = strings.TrimSpace(more); strings.HasSuffix(next, ":") && more != "" { // as a traceback does
			next += " " + more[strings.LastIndexByte(more, '\n')+1:]
		}
		line += " " + next
	}
	return line
}

// said is what there is to say about plans and tasks after a run.
type said struct {
	news []fn.Result // what came of plans by itself
	out  []fn.Result
	errs []error // of those that failed
}

func (s *said) fail(res fn.Result, cause error) {
	res.Severity = fn.Error
	s.errs = append(s.errs, &fn.ResultError{Result: res, Err: cause})
}

// planResults is what there is to say about all plans and tasks.
func (r *run) planResults() (s said) {
	for w := range r.allWorks() {
		r.sayOfTask(w, &s)
	}
	for _, p := range r.plans {
		r.sayOfPlan(p, &s)
	}
	return s
}

func (r *run) sayOfTask(w *work, s *said) {
	switch {
	case w.inner != nil:
		// what is inside speaks for itself, unless its outputs are wrong
		if w.state.State == dag.Failed && w.state.Code != dag.StepsFailed {
			s.fail(w.failure())
		}
	case w.state.State == dag.Failed:
		s.fail(w.failure())
	case w.plan == nil && r.opts.Stateless && !w.state.State.Ended():
		s.fail(w.result(fn.Error, fmt.Sprintf("task %s waits: %s; %s", w.name, w.why(), noState)), nil)
	case w.plan == nil && w.state.State == dag.Ready:
		s.out = append(s.out, w.result(fn.Info, fmt.Sprintf("task %s waits: %s", w.name, w.state.Reason)))
	case w.done && !w.clean && (w.was.Observed != nil || w.undone) && !r.opts.Mock:
		s.out = append(s.out, w.result(fn.Info, fmt.Sprintf("task %s ran again: %s", w.path, w.dirty)))
	}
	if w.outcome != nil && !w.clean {
		for _, res := range w.outcome.Results {
			s.out = append(s.out, w.tagged(located(res, w.target())))
		}
	}
}

// failure is what a task failed with, and the error that says so.
func (w *work) failure() (fn.Result, error) {
	deadline, err := w.ownError()
	res := w.tagged(fn.ResultOf(w.about(err)))
	res.Tags[api.CodeTag] = codeOf(w.state)
	if w.state.Code == dag.RetriesExhausted {
		res.Message = fmt.Sprintf("failed %s, the last time: %s", count(w.state.Attempts, "time"), res.Message)
	}
	res.Message = fmt.Sprintf("task %s: %s%s (%s)", w.path, deadline, res.Message, res.Tags[api.CodeTag])
	return res, err
}

func (r *run) sayOfPlan(p *plan, s *said) {
	res := fn.Result{ResourceRef: p.object.Ref(), File: &fn.File{Path: p.file, Index: p.index}, Severity: fn.Info, Message: p.said(r.opts.Mock)}
	code := func(c dag.Code) { res.Tags = map[string]string{api.CodeTag: string(c)} }
	switch {
	case p.state.State == dag.Completed && p.allClean():
	case p.state.State == dag.Failed:
		code(cmp.Or(p.state.Code, dag.StepsFailed))
		s.fail(res, p.state.Err)
	case p.state.State == dag.Cancelled:
		code(dag.CancelledRun)
		s.fail(res, p.state.Err)
	case p.state.State != dag.Completed && p.stalled:
		code(dag.Orchestration)
		s.fail(res, nil)
	case p.state.State != dag.Completed && r.opts.Stateless:
		res.Message += "; " + noState
		s.fail(res, nil)
	default:
		s.news = append(s.news, res)
	}
}

// noState is why what is suspended is lost under a host that writes no objects back.
const noState = "this host keeps no state that a next call could go on from: complete it with stoop run, or leave out what waits"

// allClean says whether there was nothing to do.
func (p *plan) allClean() bool {
	return !slices.ContainsFunc(p.works, func(w *work) bool {
		return w.inner != nil && !w.inner.allClean() || w.inner == nil && w.done && !w.clean
	})
}

// said is what came of a plan, in a sentence.
func (p *plan) said(mock bool) string {
	c := p.counts()
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%d %s", c[k], k))
	}
	what := strings.ToLower(p.state.State.String())
	switch {
	case p.state.State == dag.Failed && p.state.Code == dag.TimedOut:
		what = "ran out of time"
	case p.stalled:
		what = "makes no progress: " + p.waiting()
	case !p.state.State.Ended():
		what = "is suspended: " + p.waiting()
	case p.state.State == dag.Cancelled:
		what = "was cancelled: " + p.state.Reason
	}
	if mock {
		what += " (a mock run: nothing was really done)"
	}
	text := fmt.Sprintf("plan %s %s: %s", p.name, what, strings.Join(parts, ", "))
	if s := p.summary(); s != "" {
		text += "; " + s
	}
	return text
}

// result is one about the task.
func (w *work) result(sev fn.Severity, message string) fn.Result {
	return w.tagged(fn.Result{Message: message, Severity: sev, ResourceRef: w.object.Ref(), File: &fn.File{Path: w.file, Index: w.index}})
}
