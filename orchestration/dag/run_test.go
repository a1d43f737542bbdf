package dag_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

type doFunc = func(context.Context, dag.Inputs) (dag.Result, error)

// sleep works for d, or until it is told to stop.
func sleep(d time.Duration) doFunc {
	return func(ctx context.Context, _ dag.Inputs) (dag.Result, error) {
		select {
		case <-time.After(d):
			return dag.Result{}, nil
		case <-ctx.Done():
			return dag.Result{}, ctx.Err()
		}
	}
}

// deaf works for d whatever it is told.
func deaf(d time.Duration) doFunc {
	return func(context.Context, dag.Inputs) (dag.Result, error) {
		time.Sleep(d)
		return dag.Result{}, nil
	}
}

func fail(err error) doFunc {
	return func(context.Context, dag.Inputs) (dag.Result, error) { return dag.Result{}, err }
}

func give(out dag.Outputs) doFunc {
	return func(context.Context, dag.Inputs) (dag.Result, error) { return dag.Result{Outputs: out}, nil }
}

var (
	errBoom  = errors.New("boom")
	errFlaky = dag.Mark(dag.Transient, errors.New("flaky"))
	noop     = give(nil)
)

// ran is a run as a test looks at it.
type ran struct {
	*dag.Report
	err    error
	events []string // "1s a Ready>Executing"
	raw    []dag.Event
}

// run runs g on a fake clock. The events must be gapless, lead every step from
// Pending to where the report says it is, and agree with the table.
func run(t *testing.T, ctx context.Context, g *dag.Graph, opts dag.Options) ran {
	t.Helper()
	var r ran
	at := map[string]dag.State{}
	opts.Observe = func(e dag.Event) {
		r.raw = append(r.raw, e)
		r.events = append(r.events, fmt.Sprintf("%s %s %s>%s", e.At, e.Step, e.From, e.To))
		require.Equal(t, len(r.raw), e.Seq)
		require.Equal(t, at[e.Step], e.From, e.Step)
		require.True(t, e.From.CanBecome(e.To))
		at[e.Step] = e.To
	}
	r.Report, r.err = dag.Run(ctx, g, opts)
	if len(r.Stuck) > 0 {
		time.Sleep(24 * time.Hour) // they return at last, and are not waited for
	}
	for _, s := range r.Steps {
		require.Equal(t, at[s.Step], s.State, s.Step)
	}
	return r
}

func (r ran) step(path string) dag.StepReport {
	for _, s := range r.Steps {
		if s.Step == path {
			return s
		}
	}
	return dag.StepReport{}
}

// states is "a Completed, b Failed".
func (r ran) states() string {
	var out []string
	for _, s := range r.Steps {
		out = append(out, s.Step+" "+s.State.String())
	}
	return strings.Join(out, ", ")
}

// starts has the paths of the steps in the order in which they began.
func (r ran) starts() []string {
	var out []string
	for _, e := range r.raw {
		if e.To == dag.Executing {
			out = append(out, e.Step)
		}
	}
	return out
}

func codeOf(err error) dag.Code {
	if e, ok := errors.AsType[*dag.Error](err); ok {
		return e.Code
	}
	return ""
}

// onFakeClock runs a test in a bubble where time passes when all sleep.
func onFakeClock(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// What orchestrators promise and don't all keep.
func TestPromises(t *testing.T) {
	onFakeClock(t, "25 independent steps at a limit of 10 all run", func(t *testing.T) {
		var g dag.Graph
		for i := range 25 {
			g.Steps = append(g.Steps, dag.Step{Name: fmt.Sprint(i), Do: sleep(time.Second)})
		}
		r := run(t, t.Context(), &g, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunCompleted, r.Phase)
		require.Equal(t, dag.Stats{Executed: 25, Completed: 25}, r.Stats)
		require.Equal(t, 3*time.Second, r.Elapsed, "ten, ten and five at a time")
		require.Equal(t, 1.0, r.Stats.SuccessRate())
	})
	onFakeClock(t, "retries fire, with 1s 2s 4s between them, and hold no slot", func(t *testing.T) {
		var tries []time.Duration
		start := time.Now()
		g := &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "flaky", Priority: 1, Retry: dag.Retry{Limit: 3}, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				tries = append(tries, time.Since(start))
				require.Equal(t, len(tries), in.Attempt)
				return dag.Result{}, errFlaky
			}},
			{Name: "other", Do: sleep(500 * time.Millisecond)},
		}}
		r := run(t, t.Context(), g, dag.Options{})
		require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, tries, "3 retries are 4 attempts")
		require.Equal(t, 500*time.Millisecond, r.step("other").Elapsed)
		require.Contains(t, r.events, "500ms other Executing>Completed")
		require.EqualError(t, r.err, "flaky: attempt 4 of 4: flaky")
		require.Equal(t, dag.StepsFailed, codeOf(r.err))
		require.Equal(t, dag.RetriesExhausted, r.step("flaky").Code)
		require.Equal(t, 4, r.step("flaky").Attempts)
		require.Equal(t, dag.Stats{Executed: 5, Retried: 3, Completed: 1, Failed: 1}, r.Stats)
		require.InDelta(t, 0.2, r.Stats.SuccessRate(), 1e-9)
		require.InDelta(t, 0.2, r.Stats.FailureRate(), 1e-9)
	})
	onFakeClock(t, "timeouts are enforced", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Timeout: 5 * time.Second, Do: sleep(time.Hour)}}}, dag.Options{})
		require.EqualError(t, r.err, "a: timed out after 5s")
		require.Equal(t, dag.TimedOut, r.step("a").Code)
		require.Equal(t, 5*time.Second, r.Elapsed)
	})
	onFakeClock(t, "outputs reach dependents", func(t *testing.T) {
		var got dag.Inputs
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: give(dag.Outputs{"data": 42, "more": "x"})},
			{Name: "b", Do: give(dag.Outputs{"n": 1})},
			{Name: "c", Needs: []dag.Need{{Step: "a", Type: dag.Data, Key: "data"}, {Step: "b"}}, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				got = in
				return dag.Result{Outputs: dag.Outputs{"sum": in.Of("a")["data"].(int) + 1}}, nil
			}},
		}}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, 1, got.Attempt)
		require.Nil(t, got.Outer)
		require.Equal(t, dag.Outputs{"data": 42, "more": "x"}, got.Of("a"))
		require.Equal(t, dag.Outputs{"n": 1}, got.Of("b"))
		require.Nil(t, got.Of("c"))
		require.Equal(t, dag.Outputs{"sum": 43}, r.step("c").Outputs)
		require.Equal(t, dag.Outputs{"sum": 43}, r.raw[len(r.raw)-1].Outputs)
	})
	onFakeClock(t, "a step can hold itself", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: fail(dag.Held("somebody has to look")), Retry: dag.Retry{Limit: 3}, Timeout: time.Second},
			{Name: "b", Needs: needs("a"), Do: noop}, {Name: "c", Do: noop},
		}}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunSuspended, r.Phase)
		require.Equal(t, "a Ready, b Pending, c Completed", r.states())
		require.Equal(t, "somebody has to look", r.step("a").Reason)
		require.Equal(t, 0, r.step("a").Attempts)
		require.Equal(t, 1, r.Stats.Executed)
	})
	onFakeClock(t, "attempts of earlier runs count", func(t *testing.T) {
		g := &dag.Graph{Steps: []dag.Step{{Name: "a", Do: fail(errBoom), Attempts: 2, Retry: dag.Retry{Limit: 3, Delay: time.Hour, MaxDelay: time.Hour, On: []dag.Cause{dag.Other}}}}}
		r := run(t, t.Context(), g, dag.Options{})
		require.Equal(t, dag.RetriesExhausted, r.step("a").Code)
		require.Equal(t, 4, r.step("a").Attempts)
		require.Equal(t, time.Hour, r.step("a").Elapsed)
		require.Equal(t, 2, r.Stats.Executed)
		g.Steps[0].Attempts = 7 // the policy was another one
		r = run(t, t.Context(), g, dag.Options{})
		require.Equal(t, 8, r.step("a").Attempts)
		require.Equal(t, "a Failed", r.states())
	})
	onFakeClock(t, "outputs of many reach one", func(t *testing.T) {
		steps := []dag.Step{}
		last := dag.Step{Name: "last"}
		for i := range 20 {
			steps = append(steps, dag.Step{Name: fmt.Sprint("s", i), Do: give(dag.Outputs{"n": i})})
			last.Needs = append(last.Needs, dag.Need{Step: fmt.Sprint("s", i)})
		}
		last.Do = func(_ context.Context, in dag.Inputs) (dag.Result, error) {
			for i := range 20 {
				require.Equal(t, dag.Outputs{"n": i}, in.Of(fmt.Sprint("s", i)))
			}
			require.Nil(t, in.Of("last"))
			return dag.Result{}, nil
		}
		r := run(t, t.Context(), &dag.Graph{Steps: append(steps, last)}, dag.Options{})
		require.NoError(t, r.err)
	})
	onFakeClock(t, "grandchildren are blocked", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: fail(errBoom)}, {Name: "b", Needs: needs("a"), Do: noop}, {Name: "c", Needs: needs("b"), Do: noop}, {Name: "d", Do: noop},
		}}, dag.Options{})
		require.Equal(t, "a Failed, b Blocked, c Blocked, d Completed", r.states())
		require.Equal(t, "needs b, which is Blocked", r.step("c").Reason)
		require.ErrorIs(t, r.err, errBoom)
		require.Equal(t, dag.Orchestration, r.step("a").Code)
	})
}

// Every type of need with every end of the needed step.
func TestNeeds(t *testing.T) {
	// the step "p" that ends in a state, and what it takes
	ends := map[dag.State][]dag.Step{
		dag.Completed: {{Name: "p", Do: give(dag.Outputs{"k": 1})}},
		dag.Failed:    {{Name: "p", Do: fail(errBoom)}},
		dag.Blocked:   {{Name: "x", Do: fail(errBoom)}, {Name: "p", Needs: needs("x"), Do: noop}},
		dag.Skipped: {{Name: "x", Do: noop},
			{Name: "p", Needs: []dag.Need{{Step: "x", Type: dag.Conditional, On: []dag.State{dag.Failed}}}, Do: noop}},
	}
	data := dag.Need{Step: "p", Type: dag.Data, Key: "k"}
	optional := dag.Need{Step: "p", Type: dag.Data, Key: "k", Optional: true, Default: "d"}
	on := func(s ...dag.State) dag.Need { return dag.Need{Step: "p", Type: dag.Conditional, On: s} }
	const C, F, B, S = dag.Completed, dag.Failed, dag.Blocked, dag.Skipped
	order := []dag.State{C, F, B, S}
	for _, c := range []struct {
		name string
		need dag.Need
		want []dag.State // for each of order
		k    []any       // the output, where it's completed
	}{
		{"blocking", dag.Need{Step: "p"}, []dag.State{C, B, B, C}, []any{1, nil, nil, nil}},
		{"data", data, []dag.State{C, B, B, S}, []any{1, nil, nil, nil}},
		{"data with default", optional, []dag.State{C, C, C, C}, []any{1, "d", "d", "d"}},
		{"condition", on(), []dag.State{C, S, S, S}, []any{1, nil, nil, nil}},
		{"on failure", on(F), []dag.State{S, C, S, S}, []any{nil, nil, nil, nil}},
		{"on anything bad", on(F, B, S), []dag.State{S, C, C, C}, []any{nil, nil, nil, nil}},
	} {
		for i, end := range order {
			onFakeClock(t, c.name+" "+end.String(), func(t *testing.T) {
				var k any
				g := &dag.Graph{Steps: append(slices.Clone(ends[end]), dag.Step{Name: "q", Needs: []dag.Need{c.need}, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
					k = in.Of("p")["k"]
					return dag.Result{}, nil
				}})}
				r := run(t, t.Context(), g, dag.Options{})
				require.Equal(t, end, r.step("p").State)
				require.Equal(t, c.want[i], r.step("q").State)
				require.Equal(t, c.k[i], k)
				require.Equal(t, c.want[i] == C, r.step("q").Reason == "")
			})
		}
	}
	onFakeClock(t, "missing output", func(t *testing.T) {
		shared := dag.Outputs{"other": 1}
		var got dag.Outputs
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "p", Do: give(shared)}, {Name: "q", Needs: []dag.Need{data}, Do: noop, Retry: dag.Retry{Limit: 3}},
			{Name: "r", Needs: []dag.Need{optional, {Step: "p", Type: dag.Data, Key: "l", Optional: true}}, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				got = in.Of("p")
				return dag.Result{}, nil
			}}}}, dag.Options{})
		require.EqualError(t, r.err, `q: p completed without the output "k" that is needed`)
		require.Equal(t, dag.MissingInput, r.step("q").Code)
		require.Equal(t, 1, r.step("q").Attempts)
		require.Equal(t, dag.Outputs{"other": 1, "k": "d"}, got)
		require.Equal(t, dag.Outputs{"other": 1}, shared, "defaults don't leak into what others get")
	})
	onFakeClock(t, "blocked wins over skipped, the first over others", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "ok", Do: noop}, {Name: "bad", Do: fail(errBoom)}, {Name: "bad2", Do: fail(errBoom)},
			{Name: "q", Do: noop, Needs: []dag.Need{{Step: "ok", Type: dag.Conditional, On: []dag.State{F}}, {Step: "bad"}, {Step: "bad2"}}}}}, dag.Options{})
		require.Equal(t, B, r.step("q").State)
		require.Equal(t, "needs bad, which is Failed", r.step("q").Reason)
	})
}

func TestOrder(t *testing.T) {
	onFakeClock(t, "priority, then the longest way to go, then as declared", func(t *testing.T) {
		s := sleep(time.Second)
		r := run(t, t.Context(), &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "late", Priority: -1, Do: s}, {Name: "a", Do: s}, {Name: "b", Do: s}, {Name: "long", Do: s}, {Name: "after", Needs: needs("long"), Do: s},
			{Name: "inner", Graph: &dag.Graph{Steps: []dag.Step{{Name: "x", Do: s}, {Name: "y", Needs: needs("x"), Do: s}, {Name: "z", Priority: 9, Finally: true, Do: s}}}},
			{Name: "first", Priority: 1, Do: s}}}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, "first inner inner/x long inner/y inner/z a b after late", strings.Join(r.starts(), " "))
		require.Equal(t, 9*time.Second, r.Elapsed)
	})
	onFakeClock(t, "a class at its limit stops nobody else", func(t *testing.T) {
		g := &dag.Graph{Parallel: 4, Limits: map[string]int{"cpu": 1}}
		for i := range 3 {
			g.Steps = append(g.Steps, dag.Step{Name: fmt.Sprint("cpu", i), Class: "cpu", Priority: 9, Do: sleep(time.Second)})
		}
		for i := range 3 {
			g.Steps = append(g.Steps, dag.Step{Name: fmt.Sprint("io", i), Class: "io", Do: sleep(time.Second)})
		}
		r := run(t, t.Context(), g, dag.Options{})
		require.Equal(t, []string{"cpu0", "io0", "io1", "io2", "cpu1", "cpu2"}, r.starts())
		require.Equal(t, 3*time.Second, r.Elapsed)
	})
	onFakeClock(t, "a timeout ends steps that wait at a limit", func(t *testing.T) {
		inner := func() *dag.Graph {
			return &dag.Graph{Parallel: 1, Steps: []dag.Step{{Name: "s", Class: "cpu", Do: sleep(time.Second)}}}
		}
		r := run(t, t.Context(), &dag.Graph{Limits: map[string]int{"cpu": 1}, Steps: []dag.Step{
			{Name: "holder", Priority: 9, Class: "cpu", Do: sleep(2 * time.Second)},
			{Name: "a", Priority: 5, Timeout: time.Second, Graph: inner()}, {Name: "b", Graph: inner()}}}, dag.Options{})
		require.Equal(t, "holder Completed, a Failed, a/s Cancelled, b Completed, b/s Completed", r.states())
		require.Equal(t, 3*time.Second, r.Elapsed)
		require.EqualError(t, r.err, "a: not done within 1s")
		require.Equal(t, dag.TimedOut, r.step("a").Code)
	})
}

// A step inside takes a slot in every graph around it, the step around it none.
func TestNested(t *testing.T) {
	onFakeClock(t, "limits", func(t *testing.T) {
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		count := func(keys ...string) doFunc {
			return func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				add := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					for _, k := range keys {
						now[k] += n
						most[k] = max(most[k], now[k])
					}
				}
				add(1)
				defer add(-1)
				return sleep(time.Second)(ctx, in)
			}
		}
		g := &dag.Graph{Parallel: 3, Limits: map[string]int{"cpu": 2}}
		for _, name := range []string{"a", "b", "c"} {
			inner := &dag.Graph{Parallel: 2}
			for i := range 4 {
				inner.Steps = append(inner.Steps, dag.Step{Name: fmt.Sprint("cpu", i), Class: "cpu", Do: count("all", "cpu", name)},
					dag.Step{Name: fmt.Sprint("io", i), Class: "io", Do: count("all", name)})
			}
			g.Steps = append(g.Steps, dag.Step{Name: name, Graph: inner})
		}
		r := run(t, t.Context(), g, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, map[string]int{"all": 3, "cpu": 2, "a": 2, "b": 2, "c": 2}, most)
		require.Equal(t, 9*time.Second, r.Elapsed, "24 steps, 3 at a time; in the last second c alone is left, which may have 2")
	})
	onFakeClock(t, "inputs in, outputs out", func(t *testing.T) {
		inner := &dag.Graph{Steps: []dag.Step{
			{Name: "x", Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				return dag.Result{Outputs: dag.Outputs{"n": in.Outer.Of("a")["n"].(int) + 1}}, nil
			}},
			{Name: "y", Needs: []dag.Need{{Step: "x", Type: dag.Conditional, On: []dag.State{dag.Failed}}}, Do: noop},
		}}
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Do: give(dag.Outputs{"n": 1})},
			{Name: "b", Needs: needs("a"), Graph: inner, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				require.Equal(t, []string{"x"}, slices.Collect(maps.Keys(in.Inner)))
				return dag.Result{Outputs: in.Inner["x"]}, nil
			}},
			{Name: "c", Needs: []dag.Need{{Step: "b", Type: dag.Data, Key: "n"}}, Do: func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				return dag.Result{Outputs: in.Of("b")}, nil
			}}}}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.Outputs{"n": 2}, r.step("c").Outputs)
		require.Equal(t, dag.Stats{Executed: 4, Completed: 4, Skipped: 1}, r.Stats)
	})
	onFakeClock(t, "needs of the step around", func(t *testing.T) {
		ended := []dag.Need{{Step: "a", Type: dag.Conditional, On: []dag.State{dag.Completed, dag.Failed}}, {Step: "bad", Type: dag.Conditional, On: []dag.State{dag.Failed}}}
		use := func(_ context.Context, in dag.Inputs) (dag.Result, error) {
			return dag.Result{Outputs: in.Of("a")}, nil
		}
		deep := &dag.Graph{Steps: []dag.Step{{Name: "z", Needs: needs("a"), Do: use}, {Name: "end", Finally: true, Needs: needs("a"), Do: noop}}}
		g := &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: give(dag.Outputs{"n": 7})}, {Name: "bad", Do: fail(errBoom)},
			{Name: "b", Needs: ended, Graph: &dag.Graph{Steps: []dag.Step{
				{Name: "x", Needs: needs("a"), Do: use}, {Name: "y", Needs: needs("bad"), Do: noop}, {Name: "in", Needs: needs("x"), Graph: deep},
			}}},
		}}
		r := run(t, t.Context(), g, dag.Options{})
		require.Equal(t, "a Completed, bad Failed, b Failed, b/x Completed, b/y Blocked, b/in Completed, b/in/z Completed, b/in/end Completed", r.states())
		require.Equal(t, dag.Outputs{"n": 7}, r.step("b/x").Outputs)
		require.Equal(t, dag.Outputs{"n": 7}, r.step("b/in/z").Outputs)
		g.Steps[2].Needs = nil
		require.ErrorContains(t, dag.Validate(g), `b/x: needs "a", but there is no such step`)
	})
	onFakeClock(t, "cancelled from the start", func(t *testing.T) {
		inner := &dag.Graph{Cancelled: errBoom, Steps: []dag.Step{{Name: "x", Do: noop}, {Name: "y", Needs: needs("x"), Graph: &dag.Graph{Steps: []dag.Step{{Name: "in", Do: noop}}}}, {Name: "z", Finally: true, Do: noop}}}
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Graph: inner}, {Name: "b", Needs: needs("a"), Do: noop}, {Name: "c", Do: noop}}}, dag.Options{})
		require.Equal(t, "a Cancelled, a/x Cancelled, a/y Cancelled, a/y/in Cancelled, a/z Completed, b Blocked, c Completed", r.states())
		require.Equal(t, "boom", r.step("a/x").Reason)
		r = run(t, t.Context(), inner, dag.Options{})
		require.Equal(t, dag.RunCancelled, r.Phase)
	})
	onFakeClock(t, "failures", func(t *testing.T) {
		in := func(do doFunc) *dag.Graph {
			return &dag.Graph{Steps: []dag.Step{{Name: "x", Do: do}, {Name: "z", Finally: true, Do: noop}}}
		}
		gone := dag.Need{Step: "ok", Type: dag.Data, Key: "gone"}
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "bad", Graph: in(fail(errBoom)), Do: noop}, {Name: "blocked", Needs: needs("bad"), Graph: in(noop)},
			{Name: "skipped", Needs: []dag.Need{{Step: "bad", Type: dag.Conditional}}, Graph: in(noop)},
			{Name: "ok", Graph: in(noop)}, {Name: "empty", Graph: &dag.Graph{}},
			{Name: "noinput", Needs: []dag.Need{gone}, Graph: in(noop)},
			{Name: "gather", Graph: in(noop), Timeout: time.Second, Do: sleep(time.Minute)}}}, dag.Options{})
		require.Equal(t, "bad Failed, bad/x Failed, bad/z Completed, blocked Blocked, blocked/x Blocked, blocked/z Blocked, "+
			"skipped Skipped, skipped/x Skipped, skipped/z Skipped, ok Completed, ok/x Completed, ok/z Completed, empty Completed, "+
			"noinput Failed, noinput/x Blocked, noinput/z Blocked, gather Failed, gather/x Completed, gather/z Completed", r.states())
		require.EqualError(t, r.err, "3 steps failed (bad, noinput, gather), the first: bad: bad/x: boom")
		require.Equal(t, dag.StepsFailed, r.step("bad").Code)
		require.Equal(t, dag.MissingInput, r.step("noinput").Code)
		require.EqualError(t, r.step("gather").Err, "gather: timed out after 1s")
	})
}

func TestFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{FailFast: true, Parallel: 3, Steps: []dag.Step{
			{Name: "bad", Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				time.Sleep(time.Second)
				return dag.Result{}, errBoom
			}},
			{Name: "running", Do: sleep(5 * time.Second)},
			{Name: "flaky", Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				time.Sleep(2 * time.Second)
				return dag.Result{}, errFlaky
			}, Retry: dag.Retry{Limit: 3}},
			{Name: "queued", Do: noop, Priority: -1},
			{Name: "pending", Needs: needs("running"), Do: noop},
			{Name: "blocked", Needs: needs("bad"), Do: noop},
			{Name: "end", Finally: true, Do: noop},
		}}, dag.Options{})
		require.Equal(t, "bad Failed, running Completed, flaky Failed, queued Cancelled, pending Cancelled, blocked Blocked, end Completed", r.states())
		require.Equal(t, "bad failed", r.step("queued").Reason)
		require.Equal(t, dag.CancelledRun, r.step("queued").Code)
		require.Equal(t, 1, r.step("flaky").Attempts, "nothing is tried again")
		require.Contains(t, r.events, "5s end Ready>Executing")
		require.Equal(t, dag.RunFailed, r.Phase)
	})
	onFakeClock(t, "of a graph inside another that is held", func(t *testing.T) {
		inner := &dag.Graph{FailFast: true, Steps: []dag.Step{{Name: "flaky", Do: fail(errFlaky), Retry: dag.Retry{Limit: 1, Delay: time.Minute}},
			{Name: "bad", Timeout: time.Second, Do: sleep(time.Hour)}}}
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "in", Graph: inner}, {Name: "held", Hold: "wait"}}}, dag.Options{})
		require.Equal(t, "in Failed, in/flaky Cancelled, in/bad Failed, held Ready", r.states())
		require.Equal(t, time.Second, r.Elapsed, "nobody waits for an attempt that will not be")
	})
	onFakeClock(t, "a step that waits for its next attempt", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{FailFast: true, Steps: []dag.Step{
			{Name: "bad", Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				time.Sleep(1500 * time.Millisecond)
				return dag.Result{}, errBoom
			}},
			{Name: "flaky", Do: fail(errFlaky), Retry: dag.Retry{Limit: 9, Delay: time.Minute}},
		}}, dag.Options{})
		require.Equal(t, "bad Failed, flaky Cancelled", r.states())
		require.Equal(t, 1500*time.Millisecond, r.Elapsed)
	})
}

func TestTimeouts(t *testing.T) {
	onFakeClock(t, "each attempt has its own", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Timeout: 5 * time.Second, Retry: dag.Retry{Limit: 1},
			Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				return sleep(time.Duration(10-6*(in.Attempt-1))*time.Second)(ctx, in)
			}}}}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, 10*time.Second, r.Elapsed, "5s, a wait of 1s, 4s")
		require.ErrorContains(t, r.raw[2].Err, "timed out after 5s")
		require.Equal(t, dag.TimedOut, r.raw[2].Code)
		require.Equal(t, 5*time.Second, r.raw[2].Elapsed)
	})
	onFakeClock(t, "a late result is discarded", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Timeout: time.Second, Do: deaf(3 * time.Second)}, {Name: "b", Needs: needs("a"), Do: noop}}}, dag.Options{})
		require.Equal(t, "a Failed, b Blocked", r.states())
		require.Equal(t, 3*time.Second, r.Elapsed)
		require.Empty(t, r.Stuck)
	})
	onFakeClock(t, "deadline", func(t *testing.T) {
		policy := dag.Retry{Limit: 9, Delay: 4 * time.Second, Factor: 1}
		r := run(t, t.Context(), &dag.Graph{Parallel: 2, Steps: []dag.Step{
			{Name: "a", Deadline: 10 * time.Second, Timeout: 7 * time.Second, Retry: policy, Do: sleep(time.Hour)},
			{Name: "b", Deadline: 5 * time.Second, Retry: policy, Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				time.Sleep(time.Second)
				return dag.Result{}, errFlaky
			}},
			{Name: "c", Deadline: 12 * time.Second, Timeout: 7 * time.Second, Retry: policy, Do: sleep(time.Hour)},
		}}, dag.Options{})
		require.EqualError(t, r.step("a").Err, "a: no time for another attempt within its deadline of 10s: timed out after 7s")
		require.EqualError(t, r.step("b").Err, "b: no time for another attempt within its deadline of 5s: flaky")
		require.EqualError(t, r.step("c").Err, "c: not done within its deadline of 12s: timed out after 7s")
		require.Equal(t, dag.TimedOut, r.step("c").Code)
		require.Equal(t, 12*time.Second, r.step("c").Elapsed)
	})
	onFakeClock(t, "deadline passed while waiting for a slot", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "a", Priority: 1, Deadline: 5 * time.Second, Retry: dag.Retry{Limit: 1}, Do: fail(errFlaky)},
			{Name: "b", Do: sleep(time.Minute)}}}, dag.Options{})
		require.Equal(t, "a Failed, b Completed", r.states())
		require.Equal(t, 2, r.step("a").Attempts)
	})
	onFakeClock(t, "of the graph", func(t *testing.T) {
		var cause error
		r := run(t, t.Context(), &dag.Graph{Timeout: 10 * time.Second, Steps: []dag.Step{
			{Name: "a", Do: sleep(time.Second)}, {Name: "b", Needs: needs("a"), Do: func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return dag.Result{}, ctx.Err()
			}}, {Name: "c", Needs: needs("b"), Do: noop},
			{Name: "end", Finally: true, Do: sleep(20 * time.Second)}}}, dag.Options{})
		require.Equal(t, "a Completed, b Cancelled, c Cancelled, end Completed", r.states())
		require.EqualError(t, r.err, "not done within 10s")
		require.EqualError(t, cause, "not done within 10s")
		require.Equal(t, dag.TimedOut, codeOf(r.err))
		require.Equal(t, dag.RunFailed, r.Phase)
		require.Equal(t, 30*time.Second, r.Elapsed)
	})
}

// Steps that don't return when they are told to.
func TestStuck(t *testing.T) {
	onFakeClock(t, "the run goes on and ends without it", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "a", Timeout: time.Second, Retry: dag.Retry{Limit: 3}, Do: deaf(time.Hour)}, {Name: "b", Needs: needs("a"), Do: noop},
			{Name: "c", Do: sleep(5 * time.Second)}}}, dag.Options{Grace: 2 * time.Second})
		require.Equal(t, "a Failed, b Blocked, c Completed", r.states())
		require.EqualError(t, r.err, "a: timed out after 1s, and hasn't returned 2s after that")
		require.Equal(t, []string{"a"}, r.Stuck)
		require.Equal(t, 5*time.Second, r.Elapsed)
		require.Equal(t, 1, r.step("a").Attempts)
	})
	onFakeClock(t, "its slot falls free when it returns", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "a", Priority: 1, Timeout: time.Second, Do: deaf(4 * time.Second)}, {Name: "b", Do: sleep(time.Second)}}}, dag.Options{Grace: 2 * time.Second})
		require.Equal(t, "a Failed, b Completed", r.states())
		require.Contains(t, r.events, "3s a Executing>Failed")
		require.Contains(t, r.events, "4s b Ready>Executing")
		require.Empty(t, r.Stuck)
	})
	onFakeClock(t, "twice", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "a", Priority: 2, Timeout: time.Second, Do: deaf(4 * time.Second)}, {Name: "b", Priority: 1, Timeout: time.Second, Do: deaf(4500 * time.Millisecond)},
			{Name: "c", Do: sleep(time.Second)}}}, dag.Options{Grace: 2 * time.Second})
		require.Equal(t, "a Failed, b Failed, c Completed", r.states())
		require.Equal(t, 9500*time.Millisecond, r.Elapsed)
	})
	onFakeClock(t, "or it is no progress", func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Parallel: 1, Steps: []dag.Step{
			{Name: "a", Priority: 1, Timeout: time.Second, Do: deaf(time.Hour)}, {Name: "b", Do: noop}, {Name: "c", Needs: needs("b"), Do: noop},
			{Name: "d", Needs: needs("c"), Graph: &dag.Graph{Steps: []dag.Step{{Name: "x", Do: noop}}}}}}, dag.Options{Grace: 2 * time.Second})
		require.EqualError(t, r.err, "no progress: 4 steps are left and none can start: b waits for a slot, c waits for b, d waits for c, d/x waits for the step it is in")
		require.Equal(t, dag.Orchestration, codeOf(r.err))
		require.Equal(t, dag.RunFailed, r.Phase)
		require.Equal(t, 5*time.Second, r.Elapsed)
	})
	onFakeClock(t, "cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := run(t, ctx, &dag.Graph{Parallel: 1, Steps: []dag.Step{{Name: "a", Do: deaf(time.Hour)}, {Name: "end", Finally: true, Do: noop}}}, dag.Options{Grace: 2 * time.Second})
		require.Equal(t, "a Cancelled, end Cancelled", r.states(), "the finally step never got a slot")
		require.Equal(t, dag.RunCancelled, r.Phase)
		require.ErrorIs(t, r.err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, r.Elapsed)
		require.Equal(t, []string{"a"}, r.Stuck)
	})
}

func TestCancel(t *testing.T) {
	why := errors.New("interrupted by the user")
	onFakeClock(t, "what runs is told, the rest never begins, finally steps run", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		inner := func() *dag.Graph {
			return &dag.Graph{Steps: []dag.Step{{Name: "x", Do: sleep(time.Hour)}, {Name: "z", Finally: true, Do: sleep(time.Second)}}}
		}
		r := run(t, ctx, &dag.Graph{Parallel: 4, Steps: []dag.Step{
			{Name: "done", Do: sleep(time.Second)},
			{Name: "running", Do: sleep(time.Hour)},
			{Name: "finishing", Do: deaf(4 * time.Second)},
			{Name: "flaky", Do: fail(errFlaky), Retry: dag.Retry{Limit: 1, Delay: time.Minute}},
			{Name: "inner", Graph: inner()},
			{Name: "queued", Priority: -1, Do: noop},
			{Name: "pending", Needs: needs("running"), Graph: inner()},
			{Name: "held", Hold: "wait", Do: noop},
			{Name: "end", Finally: true, Do: sleep(time.Second)},
			{Name: "end2", Finally: true, Needs: needs("end"), Do: sleep(time.Hour)},
		}}, dag.Options{FinallyTime: 10 * time.Second})
		require.Equal(t, "done Completed, running Cancelled, finishing Completed, flaky Cancelled, inner Cancelled, inner/x Cancelled, inner/z Completed, queued Completed, "+
			"pending Cancelled, pending/x Cancelled, pending/z Cancelled, held Cancelled, end Completed, end2 Cancelled", r.states())
		require.Equal(t, why.Error(), r.step("running").Reason)
		require.Equal(t, dag.CancelledRun, r.step("inner").Code)
		require.Equal(t, "what runs finally wasn't done within 10s", r.step("end2").Reason)
		require.EqualError(t, r.err, "cancelled: interrupted by the user")
		require.Equal(t, dag.CancelledRun, codeOf(r.err))
		require.ErrorIs(t, r.err, why)
		require.Equal(t, dag.RunCancelled, r.Phase)
		require.Equal(t, 14*time.Second, r.Elapsed, "3s, 1s for what finished, 10s for finally steps")
	})
	onFakeClock(t, "while finally steps run", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		r := run(t, ctx, &dag.Graph{Timeout: time.Second, Steps: []dag.Step{{Name: "a", Do: noop}, {Name: "end", Finally: true, Do: sleep(time.Hour)}}}, dag.Options{})
		require.Equal(t, "a Completed, end Cancelled", r.states())
		require.Equal(t, 90*time.Second, r.Elapsed, "they have 30s from then; the timeout of the graph was not for them")
		require.ErrorIs(t, r.err, context.Canceled)
	})
	onFakeClock(t, "before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		r := run(t, ctx, &dag.Graph{Steps: []dag.Step{{Name: "a", Do: noop}, {Name: "end", Finally: true, Do: noop}}}, dag.Options{})
		require.Equal(t, dag.RunCancelled, r.Phase)
		require.Equal(t, []string{"end"}, r.starts())
	})
	onFakeClock(t, "kill", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		kill := make(chan struct{})
		time.AfterFunc(time.Second, func() { cancel(why) })
		time.AfterFunc(2*time.Second, func() { close(kill) })
		r := run(t, ctx, &dag.Graph{Parallel: 1, Steps: []dag.Step{{Name: "a", Do: sleep(time.Hour)},
			{Name: "end", Finally: true, Do: sleep(time.Hour)}, {Name: "end2", Finally: true, Do: noop}}}, dag.Options{Kill: kill})
		require.Equal(t, "a Cancelled, end Cancelled, end2 Cancelled", r.states())
		require.Equal(t, 2*time.Second, r.Elapsed)
		require.Equal(t, "killed", r.step("end").Reason)
	})
	onFakeClock(t, "a killed step isn't tried again", func(t *testing.T) {
		kill := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(kill) })
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "end", Finally: true, Timeout: time.Second, Retry: dag.Retry{Limit: 3}, Do: deaf(3 * time.Second)}}}, dag.Options{Kill: kill})
		require.Equal(t, "end Failed", r.states())
		require.Equal(t, 3*time.Second, r.Elapsed)
	})
	onFakeClock(t, "values of the context", func(t *testing.T) {
		type key struct{}
		var got any
		run(t, context.WithValue(t.Context(), key{}, "v"), &dag.Graph{Steps: []dag.Step{{Name: "a", Do: func(ctx context.Context, _ dag.Inputs) (dag.Result, error) {
			got = ctx.Value(key{})
			return dag.Result{}, nil
		}}}}, dag.Options{})
		require.Equal(t, "v", got)
	})
}

func TestSuspend(t *testing.T) {
	graph := func() *dag.Graph {
		return &dag.Graph{Parallel: 3, Steps: []dag.Step{
			{Name: "a", Do: sleep(5 * time.Second)}, {Name: "b", Needs: needs("a"), Do: noop},
			{Name: "flaky", Do: fail(errFlaky), Retry: dag.Retry{Limit: 3, Delay: time.Hour, MaxDelay: time.Hour}},
			{Name: "inner", Graph: &dag.Graph{Steps: []dag.Step{{Name: "x", Do: sleep(time.Second)}, {Name: "y", Needs: needs("x"), Do: sleep(9 * time.Second)}}}},
			{Name: "end", Finally: true, Do: noop}}}
	}
	onFakeClock(t, "what runs finishes", func(t *testing.T) {
		suspend := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(suspend) })
		r := run(t, t.Context(), graph(), dag.Options{Suspend: suspend})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunSuspended, r.Phase)
		require.Equal(t, "a Completed, b Ready, flaky Pending, inner Completed, inner/x Completed, inner/y Completed, end Pending", r.states())
		require.Equal(t, "could start, but the run is suspended", r.step("b").Reason)
		require.Equal(t, "attempt 1 of 4 failed, the next is in 1h0m0s", r.step("flaky").Reason)
		require.Equal(t, "waits for all others", r.step("end").Reason)
		require.Equal(t, 10*time.Second, r.Elapsed)
		require.Equal(t, 3, r.Stats.Unfinished)
	})
	onFakeClock(t, "what runs is interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2*time.Second, func() { cancel(fmt.Errorf("the host's time is up: %w", dag.ErrSuspend)) })
		r := run(t, ctx, graph(), dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunSuspended, r.Phase)
		require.Equal(t, "a Pending, b Pending, flaky Pending, inner Pending, inner/x Completed, inner/y Pending, end Pending", r.states())
		require.Equal(t, "interrupted by the suspension of the run", r.step("a").Reason)
		require.Equal(t, "waits for a", r.step("b").Reason)
		require.Equal(t, 2*time.Second, r.Elapsed)
	})
	onFakeClock(t, "what begins at the end of others is interrupted too", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(dag.ErrSuspend) })
		r := run(t, ctx, &dag.Graph{Steps: []dag.Step{{Name: "in", Do: sleep(time.Hour), Graph: &dag.Graph{Steps: []dag.Step{{Name: "x", Do: deaf(2 * time.Second)}}}}}}, dag.Options{})
		require.Equal(t, "in Pending, in/x Completed", r.states())
		require.Equal(t, 2*time.Second, r.Elapsed)
	})
	onFakeClock(t, "then cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		suspend := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(suspend) })
		time.AfterFunc(2*time.Second, cancel)
		r := run(t, ctx, &dag.Graph{Steps: []dag.Step{{Name: "a", Do: deaf(3 * time.Second)}, {Name: "b", Needs: needs("a"), Do: noop},
			{Name: "end", Finally: true, Do: noop}}}, dag.Options{Suspend: suspend})
		require.Equal(t, "a Completed, b Cancelled, end Completed", r.states())
		require.Equal(t, dag.RunCancelled, r.Phase)
	})
	onFakeClock(t, "after a cancellation", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		suspend := make(chan struct{})
		time.AfterFunc(time.Second, cancel)
		time.AfterFunc(2*time.Second, func() { close(suspend) })
		r := run(t, ctx, &dag.Graph{Steps: []dag.Step{{Name: "a", Do: deaf(3 * time.Second)}, {Name: "end", Finally: true, Do: noop}}}, dag.Options{Suspend: suspend})
		require.Equal(t, "a Completed, end Completed", r.states())
		require.Equal(t, dag.RunCancelled, r.Phase)
	})
	onFakeClock(t, "interrupted after its time was up", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2*time.Second, func() { cancel(dag.ErrSuspend) })
		r := run(t, ctx, &dag.Graph{Timeout: time.Second, Steps: []dag.Step{{Name: "a", Do: sleep(time.Hour)}, {Name: "end", Finally: true, Do: sleep(time.Hour)}}}, dag.Options{})
		require.Equal(t, "a Cancelled, end Pending", r.states())
		require.Equal(t, dag.RunSuspended, r.Phase)
		require.EqualError(t, r.err, "not done within 1s")
	})
	onFakeClock(t, "then out of time", func(t *testing.T) {
		suspend := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(suspend) })
		r := run(t, t.Context(), &dag.Graph{Timeout: 2 * time.Second, Steps: []dag.Step{{Name: "a", Do: sleep(3 * time.Second)}, {Name: "end", Finally: true, Do: noop}}}, dag.Options{Suspend: suspend})
		require.Equal(t, "a Cancelled, end Completed", r.states())
		require.Equal(t, dag.RunFailed, r.Phase)
	})
	onFakeClock(t, "before it begins", func(t *testing.T) {
		suspend := make(chan struct{})
		close(suspend)
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{{Name: "a", Do: noop}}}, dag.Options{Suspend: suspend})
		require.Equal(t, "a Ready", r.states())
		require.Equal(t, dag.RunSuspended, r.Phase)
	})
	onFakeClock(t, "holds and gates", func(t *testing.T) {
		steps := []dag.Step{{Name: "a", Do: noop}, {Name: "approve", Needs: needs("a"), Hold: "waits for approval"},
			{Name: "b", Needs: needs("approve"), Do: noop}, {Name: "c", Do: sleep(time.Minute)}, {Name: "end", Finally: true, Do: noop}}
		r := run(t, t.Context(), &dag.Graph{Steps: steps}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunSuspended, r.Phase)
		require.Equal(t, "a Completed, approve Ready, b Pending, c Completed, end Pending", r.states())
		require.Equal(t, "waits for approval", r.step("approve").Reason)
		require.Equal(t, "waits for approve", r.step("b").Reason)
		require.Equal(t, time.Minute, r.Elapsed, "a gate stops nobody who doesn't need it")

		steps[1].Hold = ""
		r = run(t, t.Context(), &dag.Graph{Steps: steps}, dag.Options{})
		require.NoError(t, r.err)
		require.Equal(t, dag.RunCompleted, r.Phase)
		require.Contains(t, r.events, "0s approve Ready>Completed")

		steps[1].Hold, steps[3].Do = "waits for approval", fail(errBoom)
		r = run(t, t.Context(), &dag.Graph{Steps: steps}, dag.Options{})
		require.ErrorIs(t, r.err, errBoom, "a failure isn't hidden by the suspension")
		require.Equal(t, dag.RunSuspended, r.Phase)
	})
}

// A function that doesn't behave fails its step and nothing else.
func TestBadFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "panic", Retry: dag.Retry{Limit: 3, On: []dag.Cause{dag.Other}}, Do: func(context.Context, dag.Inputs) (dag.Result, error) { panic("oh") }},
			{Name: "exit", Do: func(context.Context, dag.Inputs) (dag.Result, error) { runtime.Goexit(); return dag.Result{}, nil }},
			{Name: "clean", Do: func(context.Context, dag.Inputs) (dag.Result, error) {
				return dag.Result{Clean: true, Outputs: dag.Outputs{"k": 1}}, nil
			}}}}, dag.Options{})
		require.Equal(t, "panic Failed, exit Failed, clean Completed", r.states())
		require.EqualError(t, r.step("panic").Err, "panic: the step panicked: oh")
		require.EqualError(t, r.step("exit").Err, "exit: the step ended its goroutine")
		require.Equal(t, dag.Dispatch, r.step("panic").Code)
		require.Equal(t, 1, r.step("panic").Attempts)
		require.True(t, r.step("clean").Clean)
		require.Equal(t, dag.Stats{Executed: 2, Clean: 1, Completed: 1, Failed: 2}, r.Stats)
		require.Zero(t, r.Stats.SuccessRate())
	})
}

func TestCriticalPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := func(n int) doFunc { return sleep(time.Duration(n) * time.Second) }
		r := run(t, t.Context(), &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: s(1)}, {Name: "b", Do: s(3)},
			{Name: "in", Needs: needs("a", "b"), Graph: &dag.Graph{Steps: []dag.Step{{Name: "x", Do: s(2)}, {Name: "y", Do: s(5)}, {Name: "z", Needs: needs("x"), Do: s(4)}}}},
			{Name: "gate", Needs: needs("in")}, {Name: "c", Needs: needs("gate"), Do: s(1)}, {Name: "long", Do: s(9)},
			{Name: "end", Finally: true, Do: s(1)}}}, dag.Options{})
		require.Equal(t, []string{"b", "in/x", "in/z", "gate", "c", "end"}, r.CriticalPath)
		require.Equal(t, 11*time.Second, r.CriticalTime)
		require.Equal(t, r.Elapsed, r.CriticalTime)
	})
}

// Neither long chains nor wide fans take more than linear time or deep stacks.
func TestLarge(t *testing.T) {
	const n = 50_000
	chain, fan := &dag.Graph{}, &dag.Graph{}
	for i := range n {
		step := dag.Step{Name: fmt.Sprint(i), Do: noop}
		if i > 0 {
			fan.Steps = append(fan.Steps, dag.Step{Name: step.Name, Do: noop, Needs: needs("0")})
			step.Needs = needs(fmt.Sprint(i - 1))
		} else {
			fan.Steps = append(fan.Steps, step)
			step.Do = fail(errBoom)
		}
		chain.Steps = append(chain.Steps, step)
	}
	start := time.Now()
	rep, err := dag.Run(t.Context(), chain, dag.Options{})
	require.ErrorIs(t, err, errBoom)
	require.Equal(t, dag.Stats{Executed: 1, Failed: 1, Blocked: n - 1}, rep.Stats)
	rep, err = dag.Run(t.Context(), fan, dag.Options{})
	require.NoError(t, err)
	require.Equal(t, n, rep.Stats.Completed)

	// many graphs with limits of their own, all waiting for the same few slots
	many := &dag.Graph{Limits: map[string]int{"cpu": 2}}
	for i := range n / 10 {
		inner := &dag.Graph{Parallel: 1}
		for j := range 10 {
			inner.Steps = append(inner.Steps, dag.Step{Name: fmt.Sprint(j), Class: "cpu", Do: noop})
		}
		many.Steps = append(many.Steps, dag.Step{Name: fmt.Sprint(i), Graph: inner})
	}
	rep, err = dag.Run(t.Context(), many, dag.Options{})
	require.NoError(t, err)
	require.Equal(t, n+n/10, rep.Stats.Completed)
	require.Less(t, time.Since(start), 30*time.Second, "it is quadratic")
}
