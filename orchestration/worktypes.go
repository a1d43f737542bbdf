package orchestration

import (
	"context"
	"maps"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
)

// workType is how tasks of a type are carried out. What users may write is in
// package api, the chain of mutations in package task.
type workType struct {
	// makes says that the content of the target is the task's doing, once; fresh
	// that there was none, so that all files of the package are known then.
	makes, fresh bool
	// fetches says that content may come from elsewhere, which may fail for a while.
	fetches bool
	// works says that there has to be a package on the target, if it has one; again
	// that the task runs again whenever that has changed.
	works, again bool
	// tool says that the function is told of the run and may answer by a
	// TaskResponse, and that the rest of its package doesn't matter.
	tool bool
	// bare is what a target without a Kptfile can't have; empty: nothing.
	bare string
	// function is what the task calls; nil: it calls none.
	function func(*api.TaskSpec) *api.FunctionRef
	// request is what an agent is asked; nil: none is.
	request func(*api.TaskSpec) agent.Request
	// outputs are those that the task hands on where it declares none, all says that
	// there are no others; nil: there are none.
	outputs func(*work) (names []string, all bool)
	// do carries the task out; nil: the chain of its type does.
	do func(ctx context.Context, r *run, w *work, spec *api.TaskSpec) (map[string]any, error)
}

// workTypes are the types of tasks, those of package api.
var workTypes = map[api.WorkType]*workType{
	api.WorkInit:    {makes: true, fresh: true},
	api.WorkClone:   {makes: true, fresh: true, fetches: true, outputs: lockNames},
	api.WorkEdit:    {makes: true, fetches: true},
	api.WorkUpgrade: {makes: true, fetches: true, outputs: lockNames},
	api.WorkReplace: {makes: true, works: true},
	api.WorkRender: {works: true, again: true,
		bare: "and so no pipeline to run: add one, or take the task out"},
	api.WorkEval: {works: true, again: true,
		bare:     "and eval runs the package's pipeline too: make the task a tool_call, which runs the function alone, or add a Kptfile",
		function: func(s *api.TaskSpec) *api.FunctionRef { return &s.Eval.FunctionRef }},
	api.WorkToolCall: {works: true, again: true, tool: true,
		outputs:  func(*work) ([]string, bool) { return nil, false }, // a TaskResponse says
		function: func(s *api.TaskSpec) *api.FunctionRef { return &s.ToolCall.FunctionRef }},
	api.WorkAtomic: {outputs: schemaNames, do: ask,
		request: func(s *api.TaskSpec) agent.Request {
			return agent.Request{Model: s.Atomic.Model, Prompt: s.Atomic.Description, Schema: s.Atomic.Schema}
		}},
	api.WorkLLMCall: {outputs: schemaNames, do: ask,
		request: func(s *api.TaskSpec) agent.Request {
			l := s.LLMCall
			return agent.Request{Model: l.Model, System: l.System, Prompt: l.Prompt, Schema: l.Schema, MaxTokens: l.MaxTokens, Temperature: l.Temperature}
		}},
	api.WorkCompound: {outputs: func(w *work) ([]string, bool) {
		if w.inner == nil {
			return nil, false
		}
		return slices.Sorted(maps.Keys(w.inner.spec.Outputs)), true
	}},
	api.WorkApprove: {outputs: func(*work) ([]string, bool) { return []string{"by"}, true },
		do: func(_ context.Context, _ *run, _ *work, spec *api.TaskSpec) (map[string]any, error) {
			return approvalIn(spec), nil
		}},
}

// executed says whether somebody else than stoop does the work.
func (t *workType) executed() bool { return t.tool || t.request != nil }

// takesInputs says whether tasks of the type have inputs.
func (t *workType) takesInputs() bool { return t.function != nil || t.request != nil }

// changesPackage says whether there has to be a package that the task works on.
func (w *work) changesPackage() bool { return w.kind.works && w.target() != "" }

// lockNames are the outputs of a task that fetches a package.
func lockNames(*work) ([]string, bool) {
	return []string{"commit", "directory", "image", "ref", "repo"}, true
}

// schemaNames are the outputs that the schema of an agent's answer asks for.
func schemaNames(w *work) ([]string, bool) {
	schema := w.answerSchema()
	if schema == nil {
		return []string{"text"}, true
	}
	properties, _ := schema["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties)), true
}
