package orchestration

import (
	"context"
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/api"
)

// remarks are what there is to say about tasks that are carried out all the same:
// limits that bind nothing.
func (r *run) remarks() []fn.Result {
	var remarks []fn.Result
	for w := range r.allWorks() {
		if w.spec.Resources == nil {
			continue
		}
		name, f, _ := r.knownFunction(w)
		why := ""
		switch {
		case f == nil:
			continue
		case f.InProcess:
			why = fmt.Sprintf("bind nothing: %s is built in and runs inside of stoop, where no limits hold; take them out, or name an image and run with --builtin=never", name)
		case f.Unbound != "":
			why = fmt.Sprintf("don't all bind %s: %s; take out what binds nothing", name, f.Unbound)
		default:
			continue
		}
		res := w.result(fn.Warning, why)
		res.Field = &fn.Field{Path: w.field + ".resources"}
		remarks = append(remarks, res)
	}
	return remarks
}

// knownFunction is the function that a task calls, as the task names it and as it
// was found; nil if it isn't known, with the error if there is none. Nobody is asked
// for images whose tag isn't known.
func (r *run) knownFunction(w *work) (string, *runtime.Function, error) {
	if w.kind.function == nil {
		return "", nil, nil
	}
	f := w.kind.function(w.spec)
	name := f.Builtin + f.Image + f.Exec // one of them
	if f.Tag != "" || unbound(name) {
		return name, nil, nil
	}
	if f.Builtin != "" && r.handler.Builtins != nil {
		known, err := r.handler.Builtins.Find(context.Background(), runtime.Ref{Image: f.Builtin})
		return name, known, err
	}
	ref := runtime.Ref{Image: f.Image, Exec: f.Exec}
	if l := w.spec.Resources; l != nil {
		ref.Limits = limitsOf(l)
	}
	functions := r.handler.Runtime
	if r.handler.RunnerOptions != nil {
		opts := r.handler.RunnerOptions(w.object.Ref().Namespace)
		if opts.Runtime != nil {
			functions = opts.Runtime
		}
		if ref.Image != "" && opts.ImagePrefix != "" && !strings.Contains(ref.Image, "/") {
			ref.Image = strings.TrimSuffix(opts.ImagePrefix, "/") + "/" + ref.Image
		}
	}
	if functions == nil {
		return name, nil, nil
	}
	known, err := functions.Find(context.Background(), ref)
	return name, known, err
}

// limitsOf are a task's limits, for the runtime of its function.
func limitsOf(l *api.TaskResources) runtime.Limits {
	return runtime.Limits{Memory: l.MemoryBytes(), CPUs: l.CPUs(), CPU: l.CPUTime.Value(), Processes: l.Processes}
}
