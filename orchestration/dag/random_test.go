package dag_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// script is what a step of a random graph does: its results are given, its
// delays are the schedule's.
type script struct {
	flaky int  // so many attempts fail and may be retried
	bad   bool // then it fails for good
	key   bool // its outputs have the key "k"
}

// attempt is one attempt of the step at path, whose inputs add up to sum.
func (s script) attempt(path string, n, sum int) (dag.Outputs, error) {
	switch {
	case n <= s.flaky:
		return nil, dag.Mark(dag.Transient, fmt.Errorf("flaky %d", n))
	case s.bad:
		return nil, errors.New("bad")
	}
	out := dag.Outputs{"sum": sum*31 + len(path)}
	if s.key {
		out["k"] = sum + n
	}
	return out, nil
}

// randomGraph is a graph whose steps need earlier ones.
type randomGraph struct {
	graph   dag.Graph
	scripts []script
	inner   []*randomGraph // of the steps with steps inside, else nil
}

func drawGraph(t *rapid.T, depth int) *randomGraph {
	g := &randomGraph{}
	g.graph.Parallel = rapid.IntRange(0, 3).Draw(t, "parallel")
	if rapid.Bool().Draw(t, "limited") {
		g.graph.Limits = map[string]int{"cpu": rapid.IntRange(1, 2).Draw(t, "cpu")}
	}
	n := rapid.IntRange(0, 8).Draw(t, "steps")
	finals := rapid.IntRange(0, n/3).Draw(t, "finally")
	for i := range n {
		s := dag.Step{
			Name:     fmt.Sprint("s", i),
			Finally:  i >= n-finals,
			Priority: int32(rapid.IntRange(-1, 1).Draw(t, "priority")),
		}
		for range rapid.IntRange(0, min(i, 3)).Draw(t, "needs") {
			p := rapid.IntRange(0, i-1).Draw(t, "need")
			need := dag.Need{Step: fmt.Sprint("s", p)}
			across := s.Finally && p < n-finals
			switch kind := rapid.IntRange(0, 4).Draw(t, "type"); {
			case kind == 0:
				need.Type, need.On = dag.Conditional, []dag.State{dag.Failed, dag.Blocked}
			case kind == 1 || across:
				need.Type, need.Key, need.Optional, need.Default = dag.Data, "k", true, 7
			case kind == 2:
				need.Type, need.Key = dag.Data, "k"
			}
			s.Needs = append(s.Needs, need)
		}
		var inner *randomGraph
		if depth > 0 && rapid.IntRange(0, 4).Draw(t, "nested") == 0 {
			inner = drawGraph(t, depth-1)
			s.Graph = &inner.graph
		} else {
			s.Class = rapid.SampledFrom([]string{"", "cpu", "io"}).Draw(t, "class")
			s.Retry.Limit = rapid.IntRange(0, 2).Draw(t, "retries")
		}
		g.graph.Steps = append(g.graph.Steps, s)
		g.inner = append(g.inner, inner)
		g.scripts = append(g.scripts, script{
			flaky: max(0, rapid.IntRange(-2, 3).Draw(t, "flaky")),
			bad:   rapid.IntRange(0, 5).Draw(t, "bad") == 0,
			key:   rapid.IntRange(0, 5).Draw(t, "key") > 0,
		})
	}
	return g
}

// withDelays returns the graph with functions that do as scripted, after delays
// that depend on the schedule.
func (g *randomGraph) withDelays(schedule, prefix string, outer []dag.Need) *dag.Graph {
	out := g.graph
	out.Steps = slices.Clone(g.graph.Steps)
	for i := range out.Steps {
		s := &out.Steps[i]
		path, does := prefix+s.Name, g.scripts[i]
		if g.inner[i] != nil {
			s.Graph = g.inner[i].withDelays(schedule, path+"/", s.Needs)
			s.Do = func(_ context.Context, in dag.Inputs) (dag.Result, error) {
				return dag.Result{Outputs: dag.Outputs{"k": total(in.Inner)}}, nil
			}
			continue
		}
		s.Do = func(ctx context.Context, in dag.Inputs) (dag.Result, error) {
			h := fnv.New32a()
			fmt.Fprint(h, schedule, path, in.Attempt)
			time.Sleep(time.Duration(h.Sum32()%5000) * time.Millisecond)
			sum := total(needed(&in, s.Needs)) + total(needed(in.Outer, outer))
			out, err := does.attempt(path, in.Attempt, sum)
			return dag.Result{Outputs: out}, err
		}
	}
	return &out
}

func needed(in *dag.Inputs, needs []dag.Need) map[string]dag.Outputs {
	outputs := map[string]dag.Outputs{}
	for _, n := range needs {
		outputs[n.Step] = in.Of(n.Step)
	}
	return outputs
}

func total(outputs map[string]dag.Outputs) int {
	sum := 0
	for _, out := range outputs {
		for _, v := range out {
			sum += v.(int)
		}
	}
	return sum
}

// expected is what has to come of a step.
type expected struct {
	State    dag.State
	Attempts int
	Outputs  dag.Outputs
}

// expect works out, step by step, what has to come of the graph; outer are the
// inputs of the step that it is in. It returns whether a step failed.
func (g *randomGraph) expect(prefix string, outer map[string]dag.Outputs, all map[string]expected) bool {
	failed := false
	for i, s := range g.graph.Steps {
		e := g.expectStep(i, prefix, outer, all)
		all[prefix+s.Name] = e
		failed = failed || e.State == dag.Failed
		if g.inner[i] != nil && e.Attempts == 0 {
			g.inner[i].never(prefix+s.Name+"/", e.State, all)
		} else if _, begun := all[prefix+s.Name+"/s0"]; g.inner[i] != nil && !begun {
			g.inner[i].never(prefix+s.Name+"/", dag.Blocked, all) // for want of an input
		}
	}
	return failed
}

func (g *randomGraph) never(prefix string, state dag.State, all map[string]expected) {
	for i, s := range g.graph.Steps {
		all[prefix+s.Name] = expected{State: state}
		if g.inner[i] != nil {
			g.inner[i].never(prefix+s.Name+"/", state, all)
		}
	}
}

func (g *randomGraph) expectStep(i int, prefix string, outer map[string]dag.Outputs, all map[string]expected) expected {
	s := g.graph.Steps[i]
	skip, block, missing := false, false, false
	in := map[string]dag.Outputs{}
	for _, need := range s.Needs {
		if p := all[prefix+need.Step]; p.State == dag.Completed {
			in[need.Step] = maps.Clone(p.Outputs)
		}
	}
	for _, need := range s.Needs {
		p := all[prefix+need.Step]
		bad := p.State == dag.Failed || p.State == dag.Blocked
		switch {
		case need.Type == dag.Conditional:
			skip = skip || !bad // the condition is that it's bad
		case need.Optional:
			if in[need.Step] == nil {
				in[need.Step] = dag.Outputs{}
			}
			if _, ok := in[need.Step]["k"]; !ok {
				in[need.Step]["k"] = 7
			}
		case need.Type == dag.Data:
			skip = skip || p.State == dag.Skipped
			block = block || bad
			_, has := p.Outputs["k"]
			missing = missing || !has
		default:
			block = block || bad
		}
	}
	path := prefix + s.Name
	switch {
	case block:
		return expected{State: dag.Blocked}
	case skip:
		return expected{State: dag.Skipped}
	case missing:
		return expected{State: dag.Failed, Attempts: 1}
	case g.inner[i] != nil:
		if g.inner[i].expect(path+"/", in, all) {
			return expected{State: dag.Failed, Attempts: 1}
		}
		inner := map[string]dag.Outputs{}
		for _, s := range g.inner[i].graph.Steps {
			inner[s.Name] = all[path+"/"+s.Name].Outputs
		}
		return expected{dag.Completed, 1, dag.Outputs{"k": total(inner)}}
	}
	for n := 1; ; n++ {
		out, err := g.scripts[i].attempt(path, n, total(in)+total(outer))
		if err == nil {
			return expected{dag.Completed, n, out}
		}
		if n > s.Retry.Limit || dag.CauseOf(err) != dag.Transient {
			return expected{State: dag.Failed, Attempts: n}
		}
	}
}

// Given the results of its steps, what comes of a graph is the same whatever the
// delays, limits and priorities: what a plain evaluation in order says.
func TestScheduleNeverMatters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt, 2)
		want := map[string]expected{}
		failed := g.expect("", nil, want)
		for _, schedule := range []string{"a", "b", "c"} {
			var r ran
			graph := g.withDelays(schedule, "", nil)
			if schedule == "c" {
				graph.Parallel = 1024
			}
			synctest.Test(t, func(t *testing.T) { r = run(t, t.Context(), graph, dag.Options{}) })
			got := map[string]expected{}
			attempts, retried := 0, 0
			for _, s := range r.Steps {
				got[s.Step] = expected{s.State, s.Attempts, s.Outputs}
				attempts += s.Attempts
			}
			require.Equal(rt, want, got)
			require.Equal(rt, failed, r.err != nil, "%v", r.err)
			require.Equal(rt, attempts, r.Stats.Executed)
			for _, e := range r.raw {
				if e.From == dag.Executing && e.To == dag.Pending {
					retried++
				}
			}
			require.Equal(rt, retried, r.Stats.Retried)
			checkLimits(rt, graph, r.raw)
			checkFinally(rt, g, "", r.raw)
		}
	})
}

// checkLimits counts, event by event, the steps at work in every graph, those
// inside it included.
func checkLimits(t require.TestingT, g *dag.Graph, events []dag.Event) {
	type place struct {
		steps *dag.Step
		path  []*dag.Graph // the graphs it is in
	}
	places := map[string]place{}
	var walk func(g *dag.Graph, prefix string, path []*dag.Graph)
	walk = func(g *dag.Graph, prefix string, path []*dag.Graph) {
		path = append(slices.Clone(path), g)
		for i := range g.Steps {
			s := &g.Steps[i]
			if s.Graph != nil {
				walk(s.Graph, prefix+s.Name+"/", path)
				continue
			}
			places[prefix+s.Name] = place{s, path}
		}
	}
	walk(g, "", nil)
	all, classes := map[*dag.Graph]int{}, map[*dag.Graph]map[string]int{}
	for _, e := range events {
		p, ok := places[e.Step]
		change := 0
		if e.To == dag.Executing {
			change = 1
		} else if e.From == dag.Executing {
			change = -1
		}
		if !ok || change == 0 {
			continue
		}
		for i, g := range p.path {
			if classes[g] == nil {
				classes[g] = map[string]int{}
			}
			all[g] += change
			classes[g][p.steps.Class] += change
			limit := g.Parallel
			if i == 0 && limit == 0 {
				limit = 10
			}
			if limit > 0 {
				require.LessOrEqual(t, all[g], limit)
			}
			if limit := g.Limits[p.steps.Class]; limit > 0 {
				require.LessOrEqual(t, classes[g][p.steps.Class], limit)
			}
		}
	}
}

// checkFinally looks whether finally steps began after all others of their
// graph had ended.
func checkFinally(t require.TestingT, g *randomGraph, prefix string, events []dag.Event) {
	lastEnd := 0
	for i, s := range g.graph.Steps {
		for _, e := range events {
			if e.Step != prefix+s.Name {
				continue
			}
			if !s.Finally && e.To.Ended() {
				lastEnd = max(lastEnd, e.Seq)
			}
			if s.Finally && e.To == dag.Ready {
				require.Greater(t, e.Seq, lastEnd)
			}
		}
		if g.inner[i] != nil {
			checkFinally(t, g.inner[i], prefix+s.Name+"/", events)
		}
	}
}

// A run that is cancelled, timed out, suspended or killed at any moment ends,
// soon, with every step accounted for.
func TestCutAtAnyMoment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		graph := drawGraph(rt, 2).withDelays("a", "", nil)
		graph.FailFast = rapid.Bool().Draw(rt, "failfast")
		moment := time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "moment")) * time.Millisecond
		how := rapid.IntRange(0, 4).Draw(rt, "how")
		var r ran
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			suspend, kill := make(chan struct{}), make(chan struct{})
			defer time.AfterFunc(moment, func() {
				switch how {
				case 0:
					cancel(errors.New("cancelled by the test"))
				case 1:
					cancel(dag.ErrSuspend)
				case 2:
					close(suspend)
				case 3:
					close(kill)
				}
			}).Stop()
			if how == 4 {
				graph.Timeout = moment + 1
			}
			r = run(t, ctx, graph, dag.Options{})
		})
		require.Empty(rt, r.Stuck)
		for _, s := range r.Steps {
			require.NotEqual(rt, dag.Executing, s.State)
			if r.Phase != dag.RunSuspended {
				require.True(rt, s.State.Ended(), "%s is %s in a run that is %s", s.Step, s.State, r.Phase)
			}
		}
		require.NotEqual(rt, dag.BadTransition, codeOf(r.err))
		if how != 2 { // what runs may take its 5s, and finally steps their 30s for each depth
			require.Less(rt, r.Elapsed, moment+5*time.Second+3*31*time.Second)
		}
	})
}
