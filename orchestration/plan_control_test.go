package orchestration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
)

// edited is a workspace with its plan changed.
func edited(t testing.TB, ws kptpkg.Tree, oldText, newText string) kptpkg.Tree {
	t.Helper()
	was := fileText(t, ws, "plan.yaml")
	require.Contains(t, was, oldText)
	ws, err := ws.With(kptpkg.NewFile("plan.yaml", kptpkg.Regular, []byte(strings.Replace(was, oldText, newText, 1))))
	require.NoError(t, err)
	return ws
}

// clock answers as its prompt says: "2s" after two seconds, "fail" with an error.
// It keeps who was asked, and when.
type clock struct {
	mu    sync.Mutex
	start time.Time
	seen  []string // PROMPT@SECONDS, in order
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) Execute(ctx context.Context, r agent.Request) (*agent.Response, error) {
	c.mu.Lock()
	c.seen = append(c.seen, fmt.Sprintf("%s@%g", r.Model, time.Since(c.start).Seconds()))
	c.mu.Unlock()
	if r.Prompt == "fail" {
		return nil, errors.New("failed as told")
	}
	d, _ := time.ParseDuration(r.Prompt)
	if err := after(ctx, d); err != nil {
		return nil, err
	}
	return &agent.Response{Outputs: map[string]any{"text": r.Model}}, nil
}

// llm is a task that is called like its model and takes as long as the prompt
// says; more are other fields.
func llm(name, prompt string, more ...string) string {
	return fmt.Sprintf("  - {name: %s, type: llm_call, llm_call: {model: %[1]s, prompt: %s}%s}\n", name, prompt, strings.Join(append([]string{""}, more...), ", "))
}

// timed runs a plan on a fake clock and returns what its agent saw.
func timed(t *testing.T, ctx context.Context, ws kptpkg.Tree, opts orchestration.Options) (kptpkg.Tree, *orchestration.Report, []string, error) {
	t.Helper()
	c := newClock()
	opts.Agent = c
	ws, report, err := runPlan(ctx, ws, opts)
	require.NotNil(t, report, "%v", err)
	return ws, report, c.seen, err
}

// A plan that is to be cancelled runs its finally tasks, and nothing else. When
// that is taken back it runs.
func TestPlanCancelField(t *testing.T) {
	ws := planTree(t, "  cancel: {requested: true, reason: not today}\n  tasks:\n"+llm("a", "1s")+llm("b", "1s", "needs: [a]")+"  finally:\n"+llm("f", "1s"))
	synctest.Test(t, func(t *testing.T) {
		ws, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "plan p was cancelled: not today: 2 cancelled, 1 completed")
		assert.Equal(t, []string{"f@0"}, seen)
		assert.Equal(t, map[string]string{"a": "Cancelled", "b": "Cancelled", "f": "Completed"}, states(report))
		text := fileText(t, ws, "plan.yaml")
		assert.Contains(t, text, "status:\n  phase: Cancelled\n  message: not today\n")
		assert.Contains(t, text, "  - name: a\n    phase: Cancelled\n    code: E5212\n    message: not today\n")

		again, _, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.Error(t, err)
		assert.Empty(t, seen, "the finally task has run, and nothing since")
		assert.Equal(t, text, fileText(t, again, "plan.yaml"))

		done, report, seen, err := timed(t, t.Context(), edited(t, ws, "requested: true", "requested: false"), orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"a@0", "b@1", "f@2"}, seen)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Completed", "f": "Completed"}, states(report))
		assert.NotContains(t, fileText(t, done, "plan.yaml"), "E5212")
	})
}

// One cancelled from outside keeps what is done, and goes on from there.
func TestPlanCancelContext(t *testing.T) {
	ws := planTree(t, "  parallelism: 2\n  tasks:\n"+llm("a", "1s")+llm("b", "10s")+llm("c", "1s", "needs: [a]")+llm("d", "1s", "needs: [b, c]")+"  finally:\n"+llm("f", "2s"))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(3*time.Second, func() { cancel(errors.New("enough")) })
		start := time.Now()
		ws, report, seen, err := timed(t, ctx, ws, orchestration.Options{})
		require.ErrorContains(t, err, "was cancelled: enough")
		assert.Equal(t, dag.RunCancelled, report.Graph.Phase)
		assert.Equal(t, 5*time.Second, time.Since(start))
		slices.Sort(seen)
		assert.Equal(t, []string{"a@0", "b@0", "c@1", "f@3"}, seen)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Cancelled", "c": "Completed", "d": "Cancelled", "f": "Completed"}, states(report))

		ws, report, seen, err = timed(t, t.Context(), ws, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"b@0", "d@10", "f@11"}, seen)
		whole, _, _, err := timed(t, t.Context(), planTree(t, strings.TrimPrefix(planTextOf(ws, t), "")), orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, fileText(t, whole, "plan.yaml"), fileText(t, ws, "plan.yaml"))
		assert.Equal(t, "tasks of the plan ran", taskAt(t, report, "f").Dirty)
	})
}

// planTextOf is the spec of a workspace's plan.
func planTextOf(ws kptpkg.Tree, t testing.TB) string {
	_, spec, ok := strings.Cut(fileText(t, ws, "plan.yaml"), "\nspec:\n")
	require.True(t, ok)
	spec, _, _ = strings.Cut(spec, "\nstatus:")
	return strings.TrimSuffix(spec, "\n") + "\n"
}

// A run that is suspended while a task waits for its next attempt says why, and
// the attempts count in the next.
func TestPlanSuspendedRetry(t *testing.T) {
	ws := planTree(t, "  tasks:\n"+llm("a", "fail", "retry: {limit: 2, delay: 50s}"))
	synctest.Test(t, func(t *testing.T) {
		for attempt := 1; attempt <= 2; attempt++ {
			stop := make(chan struct{})
			time.AfterFunc(30*time.Second, func() { close(stop) })
			after, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{Suspend: stop})
			require.NoError(t, err)
			require.Len(t, seen, 1)
			assert.Equal(t, 1, taskAt(t, report, "a").Attempts)
			text := fileText(t, after, "plan.yaml")
			message := fmt.Sprintf("attempt %d of 3 failed", attempt)
			assert.Contains(t, text, "  phase: Suspended\n  message: 'a: "+message)
			assert.Contains(t, text, fmt.Sprintf("    attempts: %d\n", attempt))
			assert.Regexp(t, `(?m)^    message: "`+message+`.*: failed as told"$`, text)
			ws = after
		}
		_, report, _, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "failed 3 times, the last time: ")
		assert.Equal(t, 1, taskAt(t, report, "a").Attempts)
	})
}

// When a plan's time is up it has failed; its finally tasks run.
func TestPlanTimeout(t *testing.T) {
	ws := planTree(t, "  timeout: 3s\n  tasks:\n"+llm("a", "2s")+llm("b", "2s", "needs: [a]")+llm("c", "2s", "needs: [b]")+"  finally:\n"+llm("f", "1s"))
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ws, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "plan p ran out of time: 2 cancelled, 2 completed")
		assert.Equal(t, 4*time.Second, time.Since(start))
		assert.Equal(t, []string{"a@0", "b@2", "f@3"}, seen)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Cancelled", "c": "Cancelled", "f": "Completed"}, states(report))
		last := report.Results[len(report.Results)-1]
		assert.Equal(t, "E5203", last.Tags["code"])
		assert.Contains(t, fileText(t, ws, "plan.yaml"), "status:\n  phase: Failed\n")

		// the time is that of a run: the next one has as much again
		_, report, seen, err = timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "ran out of time")
		assert.Equal(t, []string{"b@0", "c@2", "f@3"}, seen)
		assert.Equal(t, "Cancelled", states(report)["c"])
	})
}

// All attempts at a task, and the waits between them, end at its deadline.
func TestPlanTaskDeadline(t *testing.T) {
	ws := planTree(t, "  tasks:\n"+
		llm("waits", "fail", "deadline: 5s", "retry: {limit: 9, delay: 2s, factor: 1}")+
		llm("slow", "10s", "deadline: 5s", "timeout: 3s", "retry: {limit: 9, delay: 1s}"))
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		after, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "task p/waits: no time for another attempt within its deadline of 5s: failed as told (E5203)")
		require.ErrorContains(t, err, "task p/slow: not done within its deadline of 5s: timed out after 3s (E5203)")
		assert.Contains(t, fileText(t, after, "plan.yaml"), `message: "no time for another attempt within its deadline of 5s: failed as told"`)
		slices.Sort(seen)
		assert.Equal(t, []string{"slow@0", "slow@4", "waits@0", "waits@2", "waits@4"}, seen)
		assert.Equal(t, 5*time.Second, time.Since(start))
		for _, s := range report.Graph.Steps[1:] {
			assert.Equal(t, dag.TimedOut, s.Code, s.Step)
		}
	})
}

// A compound's timeout is that of all in it.
func TestPlanCompoundTimeout(t *testing.T) {
	ws := planTree(t, "  tasks:\n  - name: c\n    type: compound\n    timeout: 3s\n    compound:\n      plan:\n        tasks:\n"+indent(llm("a", "2s")+llm("b", "2s", "needs: [a]"))+"        finally:\n"+indent(llm("f", "1s"))+llm("after", "1s", "needs: [{task: c, on: [Failed]}]"))
	synctest.Test(t, func(t *testing.T) {
		_, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "E5203")
		assert.Equal(t, []string{"a@0", "b@2", "f@3", "after@4"}, seen)
		assert.Equal(t, map[string]string{"c": "Failed", "c/a": "Completed", "c/b": "Cancelled", "c/f": "Completed", "after": "Completed"}, states(report))
	})
}

func indent(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		out.WriteString("      " + line)
	}
	return out.String()
}

// FailFast begins nothing else, lets finish what runs, and runs finally tasks.
func TestPlanFailFast(t *testing.T) {
	tasks := llm("bad", "fail", "retry: {limit: 0}", "priority: 5") + llm("runs", "5s", "priority: 4") + llm("waits", "1s") + llm("child", "1s", "needs: [runs]") + llm("cleans", "1s", "needs: [{task: bad, on: [Failed]}]")
	for policy, want := range map[string]map[string]string{
		"FailFast": {"bad": "Failed", "runs": "Completed", "waits": "Cancelled", "child": "Cancelled", "cleans": "Cancelled", "f": "Completed"},
		"Continue": {"bad": "Failed", "runs": "Completed", "waits": "Completed", "child": "Completed", "cleans": "Completed", "f": "Completed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ws := planTree(t, "  parallelism: 2\n  failurePolicy: "+policy+"\n  tasks:\n"+tasks+"  finally:\n"+llm("f", "1s"))
			ws, report, _, err := timed(t, t.Context(), ws, orchestration.Options{})
			require.ErrorContains(t, err, "1 task failed: bad")
			assert.Equal(t, want, states(report), policy)
			_, _, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
			require.Error(t, err)
			assert.Contains(t, seen, "bad@0", "it is tried again")
			assert.NotContains(t, seen, "runs@0", policy)
		})
	}
}

// Of a class no more run at once than the plan says, whatever else is free; one
// without a class is of the class of its type.
func TestPlanClassLimits(t *testing.T) {
	spec := "  parallelism: 6\n  limits: [{class: gpu, max: 2}, {class: llm_call, max: 3}]\n  tasks:\n"
	for i := range 6 {
		spec += llm(fmt.Sprintf("g%d", i), "1s", "class: gpu") + llm(fmt.Sprintf("l%d", i), "1s")
	}
	synctest.Test(t, func(t *testing.T) {
		var now, most [2]atomic.Int32
		start := time.Now()
		_, _, err := runPlan(t.Context(), planTree(t, spec), orchestration.Options{Agent: agentFunc(func(ctx context.Context, r agent.Request) (map[string]any, error) {
			class := 0
			if r.Model[0] == 'l' {
				class = 1
			}
			n := now[class].Add(1)
			for m := most[class].Load(); n > m && !most[class].CompareAndSwap(m, n); m = most[class].Load() {
			}
			defer now[class].Add(-1)
			return map[string]any{"text": ""}, after(ctx, time.Second)
		})})
		require.NoError(t, err)
		assert.EqualValues(t, 2, most[0].Load())
		assert.EqualValues(t, 3, most[1].Load())
		assert.Equal(t, 3*time.Second, time.Since(start), "the two classes don't hold each other up")
	})
}

// The limits of a plan hold for all in its compounds.
func TestPlanLimitsAreInherited(t *testing.T) {
	spec := "  parallelism: 2\n  tasks:\n"
	for i := range 3 {
		spec += fmt.Sprintf("  - name: c%d\n    type: compound\n    compound:\n      plan:\n        parallelism: 9\n        tasks:\n", i)
		for j := range 3 {
			spec += indent(llm(fmt.Sprintf("t%d", j), "1s"))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, _, seen, err := timed(t, t.Context(), planTree(t, spec), orchestration.Options{})
		require.NoError(t, err)
		assert.Len(t, seen, 9)
		assert.Equal(t, 5*time.Second, time.Since(start))
	})
}

// Of those that could start the more urgent one does, then the one with more
// behind it, then the first.
func TestPlanPriority(t *testing.T) {
	ws := planTree(t, "  parallelism: 1\n  tasks:\n"+llm("e", "1s")+llm("d", "1s")+llm("c", "1s")+llm("b", "1s", "priority: 1")+llm("a", "1s", "priority: 2")+llm("z", "1s", "needs: [c]", "priority: -1")+llm("y", "1s", "priority: -2"))
	synctest.Test(t, func(t *testing.T) {
		_, _, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"a@0", "b@1", "c@2", "e@3", "d@4", "z@5", "y@6"}, seen)
	})
}

// A task that is suspended holds up what needs it, a plan that is all of its
// tasks. That is no failure, and nothing is lost.
func TestPlanSuspendFields(t *testing.T) {
	whole := planTree(t, "  tasks:\n"+llm("a", "1s")+llm("b", "1s", "needs: [a]", "suspend: false")+llm("c", "1s", "needs: [b]")+"  finally:\n"+llm("f", "1s"))
	synctest.Test(t, func(t *testing.T) {
		once, _, _, err := timed(t, t.Context(), whole, orchestration.Options{})
		require.NoError(t, err)

		ws, report, seen, err := timed(t, t.Context(), edited(t, whole, "suspend: false", "suspend: true"), orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"a@0"}, seen)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Ready", "c": "Pending", "f": "Pending"}, states(report))
		assert.Equal(t, dag.RunSuspended, report.Graph.Phase)
		text := fileText(t, ws, "plan.yaml")
		assert.Contains(t, text, "status:\n  phase: Suspended\n  message: \"b: it is suspended (spec.tasks[1].suspend)\"\n")
		again, _, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.NoError(t, err)
		assert.Empty(t, seen)
		assert.Equal(t, text, fileText(t, again, "plan.yaml"))

		ws = edited(t, edited(t, ws, "suspend: true", "suspend: false"), "spec:\n", "spec:\n  suspend: true\n")
		ws, report, seen, err = timed(t, t.Context(), ws, orchestration.Options{})
		require.NoError(t, err)
		assert.Empty(t, seen)
		assert.Contains(t, fileText(t, ws, "plan.yaml"), "status:\n  phase: Suspended\n")
		assert.Equal(t, "Completed", statusPhase(t, ws, "a"), "what is done stays done")

		ws, _, seen, err = timed(t, t.Context(), edited(t, ws, "spec:\n  suspend: true\n", "spec:\n"), orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"b@0", "c@1", "f@2"}, seen)
		assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, ws, "plan.yaml"))
		_ = report
	})
}

// statusPhase is the phase of an inline task in the plan's status.
func statusPhase(t testing.TB, ws kptpkg.Tree, name string) string {
	t.Helper()
	_, status, ok := strings.Cut(fileText(t, ws, "plan.yaml"), "\nstatus:\n")
	require.True(t, ok)
	_, at, ok := strings.Cut(status, "  - name: "+name+"\n    phase: ")
	require.True(t, ok, "%s in %s", name, status)
	phase, _, _ := strings.Cut(at, "\n")
	return phase
}

// A run that is suspended from outside lets finish what runs and begins nothing;
// interrupted it lets nothing finish.
func TestPlanRunSuspended(t *testing.T) {
	ws := planTree(t, "  tasks:\n"+llm("a", "2s")+llm("b", "1s", "needs: [a]")+llm("c", "9s")+"  finally:\n"+llm("f", "1s"))
	synctest.Test(t, func(t *testing.T) {
		once, _, _, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.NoError(t, err)

		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) })
		part, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{Suspend: stop})
		require.NoError(t, err)
		assert.Len(t, seen, 2)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Ready", "c": "Completed", "f": "Pending"}, states(report))
		assert.Contains(t, fileText(t, part, "plan.yaml"), "status:\n  phase: Suspended\n  message: \"b: could start, but the run is suspended\"\n")
		all, _, seen, err := timed(t, t.Context(), part, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"b@0", "f@1"}, seen)
		assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, all, "plan.yaml"))

		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(3500*time.Millisecond, func() { cancel(dag.ErrSuspend) })
		part, report, _, err = timed(t, ctx, ws, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"a": "Completed", "b": "Completed", "c": "Pending", "f": "Pending"}, states(report))
		all, _, seen, err = timed(t, t.Context(), part, orchestration.Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"c@0", "f@9"}, seen)
		assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, all, "plan.yaml"))
	})
}

// A second signal ends finally tasks too.
func TestPlanKilled(t *testing.T) {
	ws := planTree(t, "  tasks:\n"+llm("a", "9s")+"  finally:\n"+llm("f", "9s"))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		kill := make(chan struct{})
		time.AfterFunc(time.Second, cancel)
		time.AfterFunc(2*time.Second, func() { close(kill) })
		start := time.Now()
		_, report, _, err := timed(t, ctx, ws, orchestration.Options{Kill: kill})
		require.Error(t, err)
		assert.Equal(t, 2*time.Second, time.Since(start))
		assert.Equal(t, map[string]string{"a": "Cancelled", "f": "Cancelled"}, states(report))
	})
}

// An approval is a task like others: what is approved is handed on, what waits
// isn't lost, and a plan inside another waits too.
func TestPlanApprove(t *testing.T) {
	const in = `
  tasks:
  - name: c
    type: compound
    compound:
      plan:
        outputs: {by: "{{gate.by}}"}
        tasks:
        - {name: gate, type: approve, approve: {message: well}}
  - {name: after, type: llm_call, llm_call: {model: after, prompt: "{{c.by}}"}}
`
	ws, report, err := runPlan(t.Context(), planTree(t, in), orchestration.Options{})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"c": "Pending", "c/gate": "Ready", "after": "Pending"}, states(report))
	text := fileText(t, ws, "plan.yaml")
	assert.Contains(t, text, "c/gate: waits for approval (well): set spec.tasks[0].compound.plan.tasks[0].approve.approved to true")
	again, _, err := runPlan(t.Context(), ws, orchestration.Options{})
	require.NoError(t, err)
	assert.Equal(t, text, fileText(t, again, "plan.yaml"))
	says := &teller{}
	_, _, err = runPlan(t.Context(), edited(t, ws, "{message: well}", "{approved: true, by: me}"), orchestration.Options{Agent: says})
	require.NoError(t, err)
	assert.Equal(t, "me", says.asked["after"].Prompt)
}

// A task can be there for the failure of another, and is skipped without.
func TestPlanConditionalNeeds(t *testing.T) {
	for prompt, want := range map[string]map[string]string{
		"fail": {"a": "Failed", "cleans": "Completed", "goes": "Skipped", "either": "Completed", "next": "Completed", "data": "Skipped", "blocked": "Blocked", "onblocked": "Completed"},
		"1s":   {"a": "Completed", "cleans": "Skipped", "goes": "Completed", "either": "Completed", "next": "Completed", "data": "Completed", "blocked": "Completed", "onblocked": "Skipped"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ws := planTree(t, "  tasks:\n"+llm("a", prompt, "retry: {limit: 0}")+
				llm("cleans", "1s", "needs: [{task: a, on: [Failed]}]")+
				llm("goes", "1s", "needs: [{task: a, type: Conditional}]")+
				llm("either", "1s", "needs: [{task: a, on: [Failed, Completed]}]")+
				llm("next", "1s", "needs: [cleans, goes]")+
				llm("data", "'{{goes.text}}'")+
				llm("blocked", "1s", "needs: [a]")+
				llm("onblocked", "1s", "needs: [{task: blocked, on: [Blocked]}]"))
			ws, report, _, err := timed(t, t.Context(), ws, orchestration.Options{})
			assert.Equal(t, prompt == "fail", err != nil)
			assert.Equal(t, want, states(report))
			again, report, _, _ := timed(t, t.Context(), ws, orchestration.Options{})
			assert.Equal(t, want, states(report))
			assert.Equal(t, fileText(t, ws, "plan.yaml"), fileText(t, again, "plan.yaml"))
		})
	}
}

// A plan whose slots are all held by executors that never return can't go on,
// and says so.
func TestPlanNoProgress(t *testing.T) {
	ws := planTree(t, "  parallelism: 1\n  tasks:\n"+llm("deaf", "1s", "timeout: 1s", "retry: {limit: 0}", "priority: 1")+llm("waits", "1s"))
	synctest.Test(t, func(t *testing.T) {
		ws, report, err := runPlan(t.Context(), ws, orchestration.Options{Agent: agentFunc(func(context.Context, agent.Request) (map[string]any, error) {
			time.Sleep(time.Hour)
			return nil, nil
		})})
		require.Error(t, err)
		require.NotNil(t, report)
		assert.Equal(t, dag.RunFailed, report.Graph.Phase)
		assert.Equal(t, "Failed", states(report)["deaf"])
		codes := ""
		for _, r := range report.Results {
			codes += r.Tags["code"] + ": " + r.Message + "\n"
		}
		assert.Contains(t, codes, "E5200: ")
		assert.Contains(t, codes, "makes no progress: waits: waits for a slot")
		assert.NotContains(t, fileText(t, ws, "plan.yaml"), "phase: Completed")
		assert.Contains(t, fileText(t, ws, "plan.yaml"), "status:\n  phase: Failed\n")
		time.Sleep(2 * time.Hour)
	})
}

// A task by itself has a state of its own, is tried again like others, and waits
// for nobody else.
func TestTaskByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := filesTree(t, map[string]string{
			"bad.yaml":  taskText("bad", "  type: llm_call\n  retry: {limit: 1}\n  llm_call: {model: bad, prompt: fail}\n"),
			"good.yaml": taskText("good", "  type: llm_call\n  llm_call: {model: good, prompt: 1s}\n"),
			"gate.yaml": taskText("gate", "  type: approve\n"),
		})
		after, report, seen, err := timed(t, t.Context(), ws, orchestration.Options{})
		require.ErrorContains(t, err, "failed 2 times, the last time: failed as told (E5205)")
		slices.Sort(seen)
		assert.Equal(t, []string{"bad@0", "bad@1", "good@0"}, seen)
		assert.Contains(t, messages(report), "info task gate waits: waits for approval: set spec.approve.approved to true")
		assert.Contains(t, fileText(t, after, "bad.yaml"), "status:\n  phase: Failed\n  code: E5205\n")
		assert.Contains(t, fileText(t, after, "good.yaml"), "status:\n  phase: Completed\n  outputs:\n    text: good\n")
		assert.Contains(t, fileText(t, after, "gate.yaml"), "status:\n  phase: Ready\n")
		again, _, seen, err := timed(t, t.Context(), after, orchestration.Options{})
		require.Error(t, err)
		assert.Equal(t, []string{"bad@0", "bad@1"}, seen)
		assert.Equal(t, tasktest.Content(t, after), tasktest.Content(t, again))
	})
}

// deafTool is a runtime whose functions take no notice of being told to end until
// they are killed.
type deafTool struct{ called, gone atomic.Int32 }

func (d *deafTool) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	return &runtime.Function{Name: ref.Image, Run: func(ctx context.Context, _ *fn.Call) error {
		d.called.Add(1)
		<-ctx.Done()
		time.Sleep(runtime.Ending)
		d.gone.Add(1)
		return context.Cause(ctx)
	}}, nil
}

// An attempt that has to be killed is over then: it is tried again like others, and
// the run doesn't end before.
func TestPlanDeafTool(t *testing.T) {
	const in = "  tasks:\n  - {name: deaf, type: tool_call, tool_call: {image: deaf}, timeout: 1s, retry: {limit: 1, on: [Timeout]}}\n"
	synctest.Test(t, func(t *testing.T) {
		d := &deafTool{}
		_, report, err := orchestration.RunFiles(t.Context(), &orchestration.TaskHandler{Runtime: d}, planTree(t, in), orchestration.Options{})
		require.ErrorContains(t, err, "failed 2 times, the last time: timed out after 1s (E5205)")
		assert.EqualValues(t, 2, d.gone.Load())
		assert.Equal(t, 2, taskAt(t, report, "deaf").Attempts)
		assert.Empty(t, report.Graph.Stuck)

		d = &deafTool{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, _, err = orchestration.RunFiles(ctx, &orchestration.TaskHandler{Runtime: d}, planTree(t, in), orchestration.Options{})
		require.Error(t, err)
		assert.EqualValues(t, 1, d.gone.Load())
	})
}
