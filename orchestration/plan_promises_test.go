package orchestration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// agentFunc is an agent.Executor of a function.
type agentFunc func(ctx context.Context, r agent.Request) (map[string]any, error)

func (f agentFunc) Execute(ctx context.Context, r agent.Request) (*agent.Response, error) {
	out, err := f(ctx, r)
	if err != nil {
		return nil, err
	}
	return &agent.Response{Outputs: out}, nil
}

// after waits for d, unless ctx is done before.
func after(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// asked is what an llm_call is asked: the answer is the prompt.
func asked(_ context.Context, r agent.Request) (map[string]any, error) {
	return map[string]any{"text": r.Prompt}, nil
}

// planText is a Plan object named p; spec is its spec, indented by two.
func planText(spec string) string {
	return `apiVersion: stoop.dev/v1alpha1
kind: Plan
metadata:
  name: p
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
` + strings.TrimPrefix(spec, "\n")
}

// filesTree is a workspace of files.
func filesTree(t testing.TB, files map[string]string) kptpkg.Tree {
	t.Helper()
	var all []*kptpkg.File
	for p, content := range files {
		all = append(all, kptpkg.NewFile(p, kptpkg.Regular, []byte(content)))
	}
	ws, err := kptpkg.NewTree(all...)
	require.NoError(t, err)
	return ws
}

// planTree is a workspace with nothing but a plan in it.
func planTree(t testing.TB, spec string) kptpkg.Tree {
	t.Helper()
	return filesTree(t, map[string]string{"plan.yaml": planText(spec)})
}

// runPlan carries out ws with the builtin functions.
func runPlan(ctx context.Context, ws kptpkg.Tree, opts orchestration.Options) (kptpkg.Tree, *orchestration.Report, error) {
	functions := builtin.New(builtin.Compatible)
	return orchestration.RunFiles(ctx, &orchestration.TaskHandler{Runtime: functions, Builtins: functions}, ws, opts)
}

// states are the states of the tasks by their paths below the plan.
func states(report *orchestration.Report) map[string]string {
	out := map[string]string{}
	for _, s := range report.Tasks {
		out[strings.TrimPrefix(s.Path, "p/")] = s.State.String()
	}
	return out
}

// taskAt is what came of the task at a path below the plan.
func taskAt(t testing.TB, report *orchestration.Report, path string) orchestration.TaskReport {
	t.Helper()
	for _, s := range report.Tasks {
		if s.Path == "p/"+path {
			return s
		}
	}
	t.Fatalf("no task %s", path)
	return orchestration.TaskReport{}
}

// fileText is a file of a workspace.
func fileText(t testing.TB, ws kptpkg.Tree, p string) string {
	t.Helper()
	f := ws.File(p)
	require.NotNil(t, f, "no %s", p)
	b, err := f.Bytes()
	require.NoError(t, err)
	return string(b)
}

// The orchestrator that this one follows says six things of itself that its
// source doesn't do. These do.

// 25 tasks, ten at a time: all of them run.
func TestPromiseConcurrencyLimit(t *testing.T) {
	for _, limit := range []string{"  parallelism: 10\n", "", "  parallelism: 40\n  limits: [{class: llm_call, max: 10}]\n"} {
		synctest.Test(t, func(t *testing.T) {
			spec := limit + "  tasks:\n"
			for i := range 25 {
				spec += fmt.Sprintf("  - {name: t%d, type: llm_call, llm_call: {prompt: p%d}}\n", i, i)
			}
			var now, most atomic.Int32
			start := time.Now()
			_, report, err := runPlan(t.Context(), planTree(t, spec), orchestration.Options{Agent: agentFunc(func(ctx context.Context, r agent.Request) (map[string]any, error) {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				return map[string]any{"text": r.Prompt}, after(ctx, time.Second)
			})})
			require.NoError(t, err)
			assert.EqualValues(t, 10, most.Load())
			assert.Equal(t, 3*time.Second, time.Since(start))
			assert.Equal(t, 25, report.Graph.Stats.Completed)
		})
	}
}

// A task that always fails is tried once and three times more, after 1, 2 and 4
// seconds, while others go on.
func TestPromiseRetriesAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tried []time.Duration
		var other time.Duration
		after, report, err := runPlan(t.Context(), planTree(t, `
  parallelism: 1
  tasks:
  - {name: bad, type: llm_call, priority: 1, llm_call: {prompt: bad}}
  - {name: good, type: llm_call, llm_call: {prompt: good}}
`), orchestration.Options{Agent: agentFunc(func(_ context.Context, r agent.Request) (map[string]any, error) {
			if r.Prompt == "good" {
				other = time.Since(start)
				return map[string]any{"text": ""}, nil
			}
			tried = append(tried, time.Since(start))
			return nil, errors.New("out of order")
		})})
		require.ErrorContains(t, err, "failed 4 times, the last time: out of order (E5205)")
		assert.Equal(t, []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second}, tried)
		assert.Zero(t, other, "the wait holds no slot")
		assert.Equal(t, 3, report.Graph.Stats.Retried)
		assert.Equal(t, map[string]string{"bad": "Failed", "good": "Completed"}, states(report))
		assert.Contains(t, fileText(t, after, "plan.yaml"), "    phase: Failed\n    code: E5205\n    message: ")
		assert.Contains(t, fileText(t, after, "plan.yaml"), "    attempts: 4\n")
	})
}

// One that fails twice succeeds.
func TestPromiseRetriesHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		after, _, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: flaky, type: llm_call, llm_call: {prompt: x}}
`), orchestration.Options{Agent: agentFunc(func(context.Context, agent.Request) (map[string]any, error) {
			if tried++; tried < 3 {
				return nil, errors.New("not now")
			}
			return map[string]any{"text": "done"}, nil
		})})
		require.NoError(t, err)
		assert.Equal(t, 3, tried)
		assert.NotContains(t, fileText(t, after, "plan.yaml"), "attempts")
	})
}

// A task may take as long as it says, its plan says, the operator says, or five
// minutes; then its context is done, and an attempt has failed.
func TestPromiseTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		task, plan string
		operator   time.Duration
		want       time.Duration
	}{
		"its own":        {"timeout: 2s, ", "  defaults: {timeout: 3s}\n", 4 * time.Second, 2 * time.Second},
		"the plan's":     {"", "  defaults: {timeout: 3s}\n", 4 * time.Second, 3 * time.Second},
		"the operator's": {"", "", 4 * time.Second, 4 * time.Second},
		"the default":    {"", "", 0, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, report, err := runPlan(t.Context(), planTree(t, c.plan+`
  tasks:
  - {name: slow, type: llm_call, `+c.task+`retry: {limit: 0}, llm_call: {prompt: x}}
  - {name: child, type: llm_call, needs: [slow], llm_call: {prompt: y}}
`), orchestration.Options{TaskTimeout: c.operator, Agent: agentFunc(func(ctx context.Context, r agent.Request) (map[string]any, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})})
				require.ErrorContains(t, err, "(E5203)")
				assert.Equal(t, c.want, time.Since(start))
				assert.Equal(t, map[string]string{"slow": "Failed", "child": "Blocked"}, states(report))
			})
		})
	}
}

// An executor that doesn't listen doesn't hold up the plan for ever, and what it
// says too late counts for nothing.
func TestPromiseTimeoutOfTheDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws, report, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: late, type: llm_call, timeout: 1s, retry: {limit: 0}, llm_call: {prompt: "5"}}
  - {name: deaf, type: llm_call, timeout: 1s, retry: {limit: 0}, llm_call: {prompt: "100"}}
`), orchestration.Options{Agent: agentFunc(func(_ context.Context, r agent.Request) (map[string]any, error) {
			d, _ := time.ParseDuration(r.Prompt + "s")
			time.Sleep(d)
			return map[string]any{"text": "too late"}, nil
		})})
		require.ErrorContains(t, err, "(E5203)")
		assert.Equal(t, map[string]string{"late": "Failed", "deaf": "Failed"}, states(report))
		assert.NotContains(t, fileText(t, ws, "plan.yaml"), "too late")
		assert.Equal(t, []string{"p/deaf"}, report.Graph.Stuck)
		time.Sleep(2 * time.Minute) // it comes back, and harms nobody
		for _, path := range []string{"late", "deaf"} {
			assert.Empty(t, taskAt(t, report, path).Outputs)
		}
	})
}

// {{task.key}} becomes the value.
func TestPromiseSubstitution(t *testing.T) {
	var prompt string
	ws, _, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: a, type: llm_call, llm_call: {prompt: "10.0.0.0/8"}}
  - {name: b, type: llm_call, llm_call: {prompt: "net {{a.text}}, {{ a.text }}"}}
  - {name: c, type: init, target: c, init: {description: "{{b.text}}"}}
`), orchestration.Options{Agent: agentFunc(func(ctx context.Context, r agent.Request) (map[string]any, error) {
		if r.Prompt != "10.0.0.0/8" {
			prompt = r.Prompt
		}
		return asked(ctx, r)
	})})
	require.NoError(t, err)
	assert.Equal(t, "net 10.0.0.0/8, 10.0.0.0/8", prompt)
	assert.Contains(t, fileText(t, ws, "c/Kptfile"), "description: net 10.0.0.0/8, 10.0.0.0/8\n")
}

// What needs a task that failed is blocked, and what needs that too, however far
// behind, through compound tasks and whatever the type of need.
func TestPromiseBlockedTransitively(t *testing.T) {
	_, report, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: bad, type: llm_call, retry: {limit: 0}, llm_call: {prompt: x}}
  - {name: child, type: init, target: child, init: {}, needs: [bad]}
  - name: grandchild
    type: compound
    needs: [child]
    compound:
      plan:
        tasks: [{name: in, type: init, target: in, init: {}}]
        outputs: {v: 1}
  - {name: great, type: init, target: great, init: {description: "{{grandchild.v}}"}}
  - {name: greater, type: init, target: greater, init: {}, needs: [{task: great, type: Blocking}]}
  - {name: other, type: init, target: other, init: {}}
`), orchestration.Options{Agent: agentFunc(func(context.Context, agent.Request) (map[string]any, error) {
		return nil, errors.New("no")
	})})
	require.Error(t, err)
	assert.Equal(t, map[string]string{
		"bad": "Failed", "child": "Blocked", "grandchild": "Blocked", "grandchild/in": "Blocked", "great": "Blocked", "greater": "Blocked", "other": "Completed",
	}, states(report))
	assert.Equal(t, dag.RunFailed, report.Graph.Phase)
}
