package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
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

// Options that mean nothing are refused, and nothing is begun.
func TestExecutePlanOptions(t *testing.T) {
	plan := &api.Plan{}
	plan.Metadata.Name = "p"
	plan.Spec.Tasks = []api.InlineTask{{Name: "a", TaskSpec: api.TaskSpec{Type: api.WorkInit, Target: "a", Init: &api.InitTask{}}}}
	for want, opts := range map[string]orchestration.Options{
		"option Parallel is -3: set how many":      {Parallel: -3},
		"option TaskTimeout is -1s: set how long ": {TaskTimeout: -time.Second},
	} {
		res, err := (&orchestration.Orchestrator{Options: opts}).ExecutePlan(t.Context(), plan, nil)
		require.ErrorContains(t, err, want)
		assert.Nil(t, res)
	}
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

// planOf is a plan named goal.
func planOf(tasks ...api.InlineTask) *api.Plan {
	p := &api.Plan{}
	p.Metadata.Name, p.Spec.Tasks = "goal", tasks
	return p
}

func inline(name string, spec api.TaskSpec) api.InlineTask {
	return api.InlineTask{Name: name, TaskSpec: spec}
}

// An Orchestrator of which nothing is set carries out what needs nobody else, a
// plan without apiVersion and kind too; what it can't do it says.
func TestZeroOrchestrator(t *testing.T) {
	o := &orchestration.Orchestrator{}
	plan := planOf(
		inline("make", api.TaskSpec{Type: api.WorkInit, Target: "a", Init: &api.InitTask{Description: "hi"}}),
		inline("fetch", api.TaskSpec{Type: api.WorkClone, Target: "b", Clone: &api.CloneTask{UpstreamRef: api.UpstreamRef{
			Git: &api.GitPackage{Repo: "https://example.com/x", Ref: "v1", Directory: "/"},
		}}}),
		inline("call", api.TaskSpec{Type: api.WorkToolCall, ToolCall: &api.ToolCallWork{FunctionRef: api.FunctionRef{Builtin: "set-labels"}}}),
		inline("ask", api.TaskSpec{Type: api.WorkLLMCall, LLMCall: &api.LLMCallWork{Prompt: "hello"}}),
	)
	res, err := o.ExecutePlan(t.Context(), plan, nil)
	require.ErrorContains(t, err, "task goal/fetch: nothing can be fetched: TaskHandler.Upstream isn't set (E5200)")
	require.ErrorContains(t, err, `function "set-labels": no such function here: no runtime is set up (E5901)`)
	require.ErrorContains(t, err, "task goal/ask: nobody is there to carry out tasks of type llm_call")
	assert.Equal(t, []any{"Failed", 1, 3}, []any{res.Status, res.Completed, res.Failed})
	k, err := res.Workspace.Kptfile("a")
	require.NoError(t, err)
	assert.Equal(t, "hi", k.Info.Description)
	assert.Empty(t, plan.Kind, "the caller's plan gets a status and nothing else")
	assert.Equal(t, "Failed", plan.Status.Phase)

	for _, h := range []api.Header{{Kind: "Task"}, {APIVersion: "v1"}} {
		plan.APIVersion, plan.Kind = h.APIVersion, h.Kind
		_, err = o.ExecutePlan(t.Context(), plan, nil)
		require.EqualError(t, err, fmt.Sprintf("plan goal has apiVersion %q and kind %q: leave them empty, or write stoop.dev/v1alpha1 and Plan", h.APIVersion, h.Kind))
	}
}

// executor is an agent.
type executor func(context.Context, agent.Request) (*agent.Response, error)

func (e executor) Execute(ctx context.Context, r agent.Request) (*agent.Response, error) {
	return e(ctx, r)
}

// asking is a plan with one task, for an agent.
func asking() *api.Plan {
	return planOf(inline("ask", api.TaskSpec{Type: api.WorkLLMCall, LLMCall: &api.LLMCallWork{Prompt: "hello"}}))
}

// Why a context ended a plan can be told from the error.
func TestExecutePlanCutShort(t *testing.T) {
	waits := &orchestration.Orchestrator{Options: orchestration.Options{Agent: executor(func(ctx context.Context, _ agent.Request) (*agent.Response, error) {
		<-ctx.Done()
		return nil, errors.New("gave up")
	})}}
	run := func(ctx context.Context) error {
		t.Helper()
		plan := asking()
		res, err := waits.ExecutePlan(ctx, plan, nil)
		require.Error(t, err)
		assert.Equal(t, "Cancelled", res.Status)
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := run(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "stoop/plan-goal.yaml: Plan goal: plan goal was cancelled: context deadline exceeded: 1 cancelled")
	assert.Len(t, fn.ResultsOf(err), 1)
	assert.Equal(t, "E5212", fn.ResultsOf(err)[0].Tags[api.CodeTag])

	why := &os.PathError{Op: "watch", Path: "stop", Err: errors.New("is there")}
	ctx, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(why)
	err = run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, why)
	var path *os.PathError
	require.ErrorAs(t, err, &path)

	// what ended otherwise isn't the context's
	ctx, stop := context.WithCancel(t.Context())
	o := &orchestration.Orchestrator{Options: orchestration.Options{Agent: answers{}, Observe: func(e dag.Event) {
		if e.Step == "goal" && e.To.Ended() {
			stop()
		}
	}}}
	_, err = o.ExecutePlan(ctx, asking(), nil)
	require.ErrorContains(t, err, "no idea")
	require.NotErrorIs(t, err, context.Canceled)
}

// Copies of one plan, made by assignment, may be executed at the same time.
func TestExecutePlanConcurrently(t *testing.T) {
	plan := asking()
	plan.Spec.Context = map[string]string{"mood": "?"}
	o := &orchestration.Orchestrator{Options: orchestration.Options{Agent: answers{"hello": "hi"}}}
	_, err := o.ExecutePlan(t.Context(), plan, nil) // with a status to share
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 8 {
		one := *plan
		all.Go(func() {
			res, err := o.ExecutePlan(t.Context(), &one, nil)
			assert.NoError(t, err)
			assert.Equal(t, "hi?", res.Outputs["ask"]["text"])
			assert.Equal(t, "Completed", one.Status.Phase)
		})
	}
	all.Wait()
	assert.Equal(t, 9, o.Stats().PlansExecuted)
}

// What an agent answers with is the same in the run that asked and in those that
// go on from its status.
func TestAgentOutputs(t *testing.T) {
	type word string
	o := &orchestration.Orchestrator{Options: orchestration.Options{Agent: executor(func(context.Context, agent.Request) (*agent.Response, error) {
		return &agent.Response{Outputs: map[string]any{
			"whole": 3.0, "part": float32(2.5), "large": 1e30, "int": 7, "uint": uint8(7), "number": json.Number("1e3"),
			"words": []string{"2", "null", "\x00"}, "named": word("x"), "none": nil, "yes": true,
			"lists": map[word][]any{"empty": nil, "mixed": {1, "a", map[string]int(nil)}},
		}}, nil
	})}}
	want := map[string]any{
		"whole": int64(3), "part": 2.5, "large": 1e30, "int": int64(7), "uint": int64(7), "number": int64(1000),
		"words": []any{"2", "null", "\x00"}, "named": "x", "none": nil, "yes": true,
		"lists": map[string]any{"empty": []any{}, "mixed": []any{int64(1), "a", map[string]any{}}},
	}
	res, err := o.ExecutePlan(t.Context(), asking(), nil)
	require.NoError(t, err)
	assert.Equal(t, want, res.Outputs["ask"])

	var files []*kptpkg.File
	for p, text := range bytesOf(t, res.Workspace) {
		files = append(files, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
	}
	o.Workspace, err = kptpkg.NewTree(files...)
	require.NoError(t, err)
	res, err = o.ExecutePlan(t.Context(), asking(), nil)
	require.NoError(t, err)
	assert.True(t, res.Report.Tasks[0].Clean)
	assert.Equal(t, want, res.Outputs["ask"])
}

// What JSON can't hold isn't handed on, nor tried again.
func TestAgentOutputsRefused(t *testing.T) {
	loop := []any{nil}
	loop[0] = loop
	for want, v := range map[string]any{
		"outputs.x is a Go value of type chan int: hand on what JSON has, in maps, slices, strings, numbers and booleans": make(chan int),
		"outputs.x.then is a Go value of type func(): hand on":                                                            map[string]any{"then": func() {}},
		"outputs.x[1] is a Go value of type struct {}: hand on":                                                           []any{1, struct{}{}},
		"outputs.x is a Go value of type *fs.PathError: hand on":                                                          &os.PathError{},
		"outputs.x is a Go value of type []uint8: hand on":                                                                []byte("text"),
		"outputs.x is a Go value of type map[int]string: hand on":                                                         map[int]string{},
		"outputs.x is NaN, which is no number of JSON":                                                                    math.NaN(),
		"outputs.x is 18446744073709551615: hand on a number that":                                                        uint64(math.MaxUint64),
		"outputs.x is much: hand on a number that":                                                                        json.Number("much"),
		"outputs.x is 1e999: hand on a number that":                                                                       json.Number("1e999"),
		"outputs.x is no UTF-8: hand on bytes as base64":                                                                  "\xff",
		"a key of outputs.x is no UTF-8: hand on bytes as base64":                                                         map[string]any{"\xff": 1},
		"outputs.x[0][0][0][0][0][0][0][0][0][0][… is nested more than 100":                                               loop,
	} {
		asked := 0
		o := &orchestration.Orchestrator{Options: orchestration.Options{Agent: executor(func(context.Context, agent.Request) (*agent.Response, error) {
			asked++
			return &agent.Response{Outputs: map[string]any{"x": v}}, nil
		})}}
		res, err := o.ExecutePlan(t.Context(), asking(), nil)
		require.ErrorContains(t, err, "task goal/ask: the agent's answer: "+want)
		require.ErrorContains(t, err, "(E5402)")
		assert.Equal(t, []any{"Failed", 0, 1}, []any{res.Status, res.Completed, res.Failed}, want)
		assert.Empty(t, res.Outputs)
		assert.Equal(t, 1, asked, want)
	}
}

// An agent that returns nothing at all is at fault, and says so like any other.
func TestAgentReturnsNothing(t *testing.T) {
	o := &orchestration.Orchestrator{Options: orchestration.Options{Agent: executor(func(context.Context, agent.Request) (*agent.Response, error) {
		return nil, nil
	})}}
	_, err := o.ExecutePlan(t.Context(), asking(), nil)
	require.ErrorContains(t, err, "task goal/ask: the agent returned neither an answer nor an error (E5200)")

	// an answer without outputs is one
	o.Options.Agent = executor(func(context.Context, agent.Request) (*agent.Response, error) { return &agent.Response{}, nil })
	res, err := o.ExecutePlan(t.Context(), asking(), nil)
	require.NoError(t, err)
	assert.Equal(t, []any{"Completed", 1}, []any{res.Status, res.Completed})
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
