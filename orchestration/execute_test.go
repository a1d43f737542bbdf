package orchestration_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers is an agent that knows what to say to a prompt.
type answers map[string]string

func (a answers) Execute(_ context.Context, r agent.Request) (*agent.Response, error) {
	text, ok := a[r.Prompt]
	if !ok {
		return nil, dag.Mark(dag.Permanent, errors.New("no idea"))
	}
	return &agent.Response{Outputs: map[string]any{"text": text + r.Context["mood"]}}, nil
}

func TestExecutePlan(t *testing.T) {
	plan := &api.Plan{Header: api.Header{APIVersion: api.StoopV1Alpha1, Kind: "Plan"}}
	plan.Metadata.Name = "goal"
	task := func(name string, spec api.TaskSpec) {
		plan.Spec.Tasks = append(plan.Spec.Tasks, api.InlineTask{Name: name, TaskSpec: spec})
	}
	task("ask", api.TaskSpec{Type: api.WorkLLMCall, LLMCall: &api.LLMCallWork{Prompt: "hello"}})
	task("make", api.TaskSpec{Type: api.WorkInit, Target: "a", Init: &api.InitTask{Description: "{{ask.text}}"}})
	task("fail", api.TaskSpec{Type: api.WorkAtomic, Atomic: &api.AtomicWork{Description: "the impossible"}})
	task("after", api.TaskSpec{Type: api.WorkRender, Target: "a", Needs: []api.TaskNeed{{Task: "make"}, {Task: "fail"}}})

	o := &orchestration.Orchestrator{
		Handler: &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)},
		Options: orchestration.Options{Agent: answers{"hello": "hi"}},
	}
	res, err := o.ExecutePlan(t.Context(), plan, map[string]string{"mood": "!"})
	require.ErrorContains(t, err, "task goal/fail: no idea (E5200)")
	assert.Equal(t, "Failed", res.Status)
	assert.Equal(t, []int{2, 1}, []int{res.Completed, res.Failed})
	assert.Equal(t, map[string]map[string]any{"ask": {"text": "hi!"}}, res.Outputs)
	assert.Positive(t, res.ExecutionTime)
	assert.Equal(t, "Failed", plan.Status.Phase)
	assert.Equal(t, map[string]int{"completed": 2, "failed": 1, "blocked": 1}, plan.Status.Counts)
	k, err := res.Workspace.Kptfile("a")
	require.NoError(t, err)
	assert.Equal(t, "hi!", k.Info.Description)

	// it goes on from what it made
	o.Workspace, o.Options.Agent = res.Workspace, answers{"the impossible": "done"}
	res, err = o.ExecutePlan(t.Context(), plan, nil)
	require.NoError(t, err)
	assert.Equal(t, []any{"Completed", 4, 0}, []any{res.Status, res.Completed, res.Failed})

	o.Workspace = res.Workspace
	again, err := o.ExecutePlan(t.Context(), plan, nil)
	require.NoError(t, err)
	assert.Equal(t, bytesOf(t, res.Workspace), bytesOf(t, again.Workspace))

	assert.Equal(t, orchestration.Stats{
		PlansExecuted: 3, TasksExecuted: 5, TasksCompleted: 10, TasksClean: 6, TasksFailed: 1, TasksBlocked: 1,
	}, o.Stats())
	assert.InDelta(t, 0.8, o.Stats().SuccessRate(), 1e-9)
	assert.InDelta(t, 0.2, o.Stats().FailureRate(), 1e-9)
}

// A plan that is executed again with nothing to do, on a workspace that it isn't
// part of, is what it was.
func TestExecutePlanAgain(t *testing.T) {
	plan := &api.Plan{Header: api.Header{APIVersion: api.StoopV1Alpha1, Kind: "Plan"}}
	plan.Metadata.Name = "goal"
	plan.Spec.Tasks = []api.InlineTask{{Name: "ask", TaskSpec: api.TaskSpec{Type: api.WorkLLMCall, LLMCall: &api.LLMCallWork{Prompt: "hello"}}}}
	o := &orchestration.Orchestrator{Handler: &orchestration.TaskHandler{}, Options: orchestration.Options{Agent: answers{"hello": "hi"}}}
	for range 2 {
		res, err := o.ExecutePlan(t.Context(), plan, nil)
		require.NoError(t, err)
		assert.Equal(t, []any{"Completed", 1}, []any{res.Status, res.Completed})
		assert.Equal(t, "hi", res.Outputs["ask"]["text"])
	}
}

// bytesOf is a tree's files as text.
func bytesOf(t *testing.T, tree kptpkg.Tree) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range tree.Paths() {
		b, err := tree.File(p).Bytes()
		require.NoError(t, err)
		out[p] = string(b)
	}
	return out
}
