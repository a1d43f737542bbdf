package dag_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

// needs are blocking needs of the named steps.
func needs(steps ...string) []dag.Need {
	var out []dag.Need
	for _, s := range steps {
		out = append(out, dag.Need{Step: s})
	}
	return out
}

func TestValidate(t *testing.T) {
	type steps = []dag.Step
	deep := &dag.Graph{Steps: steps{{Name: "leaf"}}}
	for range 17 {
		deep = &dag.Graph{Steps: steps{{Name: "s", Graph: deep}}}
	}
	itself := &dag.Graph{Steps: steps{{Name: "a"}}}
	itself.Steps[0].Graph = itself
	bomb := &dag.Graph{Steps: steps{{Name: "leaf"}}}
	for range 10 {
		next := &dag.Graph{}
		for i := range 100 {
			next.Steps = append(next.Steps, dag.Step{Name: fmt.Sprint(i), Graph: bomb})
		}
		bomb = next
	}
	long := &dag.Graph{}
	for i := range 12 {
		long.Steps = append(long.Steps, dag.Step{Name: fmt.Sprint(i), Needs: needs(fmt.Sprint((i + 1) % 12))})
	}
	for _, c := range []struct {
		name  string
		graph *dag.Graph
		want  []string // code and text; none: it's good
	}{
		{"empty", &dag.Graph{}, nil},
		{"names", &dag.Graph{Steps: steps{{}, {Name: "a/b"}, {Name: "c"}, {Name: "c"}}}, []string{
			"E5213 a step has no name", "E5213 a/b: the name has a slash", "E5213 c: another step has the same name"}},
		{"unknown need", &dag.Graph{Steps: steps{{Name: "a", Needs: needs("b", "a2")}, {Name: "a2"}}}, []string{
			`E5302 a: needs "b", but there is no such step`}},
		{"self", &dag.Graph{Steps: steps{{Name: "a", Needs: needs("a")}}}, []string{"E5301 a: needs itself: a needs a"}},
		{"cycles", &dag.Graph{Steps: steps{
			{Name: "first", Needs: needs("b")}, {Name: "a", Needs: needs("free", "c")}, {Name: "b", Needs: needs("a")}, {Name: "c", Needs: needs("b")},
			{Name: "free"}, {Name: "x", Needs: needs("y")}, {Name: "y", Needs: needs("x")}, {Name: "end", Needs: needs("x")}, {Name: "z", Finally: true}}}, []string{
			"E5301 b: needs itself: b needs a needs c needs b", "E5301 x: needs itself: x needs y needs x"}},
		{"cycle of finally steps", &dag.Graph{Steps: steps{{Name: "a"}, {Name: "y", Finally: true, Needs: needs("z")}, {Name: "z", Finally: true, Needs: needs("y")}}}, []string{
			"E5301 y: needs itself: y needs z needs y"}},
		{"long cycle", long, []string{"E5301 0: needs itself: 0 needs 1 needs 2 needs 3 needs 4 needs 5 needs 6 needs 7 needs 8 needs 9 needs (2 more) needs 0"}},
		{"inside", &dag.Graph{Steps: steps{{Name: "out", Graph: &dag.Graph{Timeout: -1, Steps: steps{{Name: "in", Needs: needs("out")}}}}}}, []string{
			"E5213 out: timeout is negative", `E5302 out/in: needs "out", but there is no such step`}},
		{"limits", &dag.Graph{Parallel: -1, Limits: map[string]int{"": 1, "io": 0, "cpu": -2}, Steps: steps{{Name: "a", Timeout: -1, Deadline: -1}}}, []string{
			"E5213 parallel is negative", "E5213 a limit is for a class without a name", "E5213 the limit of class cpu is less than 1",
			"E5213 the limit of class io is less than 1", "E5213 a: timeout is negative", "E5213 a: deadline is negative"}},
		{"only the slots", &dag.Graph{Parallel: -3, Steps: steps{{Name: "a", Do: noop}}}, []string{"E5213 parallel is negative"}},
		{"retries", &dag.Graph{Steps: steps{
			{Name: "a", Retry: dag.Retry{Limit: -1}}, {Name: "b", Retry: dag.Retry{Delay: -1}}, {Name: "c", Retry: dag.Retry{MaxDelay: -1}},
			{Name: "d", Retry: dag.Retry{Factor: 0.5}}, {Name: "e", Retry: dag.Retry{Factor: math.NaN()}}, {Name: "f", Retry: dag.Retry{Factor: math.Inf(1)}},
			{Name: "g", Retry: dag.Retry{On: []dag.Cause{dag.Permanent}}}, {Name: "h", Retry: dag.Retry{Limit: 1}, Class: "io", Graph: &dag.Graph{}}}}, []string{
			"E5704 a: retry limit is negative", "E5704 b: retry delay is negative", "E5704 c: retry maxDelay is negative",
			"E5704 d: retry factor is less than 1, or no number", "E5704 e: retry factor is less than 1, or no number", "E5704 f: retry factor is less than 1, or no number",
			"E5704 g: retry on Permanent is not possible: use Timeout, Unavailable, Transient or Error",
			"E5704 h: a step with steps inside has no retries of its own: give them to those inside",
			"E5213 h: a step with steps inside takes no slot: give the class to those inside"}},
		{"needs that can't be", &dag.Graph{Steps: steps{{Name: "a"}, {Name: "b", Needs: []dag.Need{
			{Step: "a", Type: 9}, {Step: "a", Key: "k"}, {Step: "a", Type: dag.Data, On: []dag.State{dag.Failed}},
			{Step: "a", Type: dag.Data, Key: "k", Default: 1}, {Step: "a", Type: dag.Conditional, On: []dag.State{dag.Ready}}}}}}, []string{
			"E5303 b: the need of a has no valid type", "E5303 b: the need of a has an output or a default, but isn't of type Data",
			"E5303 b: the need of a has a condition, but isn't of type Conditional",
			"E5303 b: the need of a has a default, but isn't optional or names no output", "E5303 b: the need of a is on Ready, which is no end"}},
		{"finally", &dag.Graph{Steps: steps{{Name: "a", Needs: needs("z")}, {Name: "z", Finally: true, Needs: []dag.Need{
			{Step: "a"}, {Step: "a", Type: dag.Data, Key: "k"}, {Step: "a", Type: dag.Data, Key: "k", Optional: true},
			{Step: "a", Type: dag.Conditional, On: []dag.State{dag.Failed}}}}}}, []string{
			"E5303 a: needs z, a finally step: those start when all others have ended",
			"E5303 z: a finally step starts after a anyway: leave the need out, or make it Conditional",
			"E5303 z: a finally step starts even if a has no output: give the need a default"}},
		{"too deep", deep, []string{"E5213 " + strings.Repeat("s/", 16) + "s: graphs are more than 16 deep inside one another"}},
		{"inside itself", itself, []string{"E5213 " + strings.Repeat("a/", 16) + "a: graphs are more than 16 deep inside one another"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := dag.Validate(c.graph)
			var got []string
			if err != nil {
				for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
					e, ok := errors.AsType[*dag.Error](err)
					require.True(t, ok)
					got = append(got, string(e.Code)+" "+e.Error())
				}
			}
			require.Equal(t, c.want, got)
			if err == nil {
				return
			}
			rep, err2 := dag.Run(t.Context(), c.graph, dag.Options{})
			require.Nil(t, rep)
			require.Equal(t, err, err2)
		})
	}
	start := time.Now()
	require.ErrorContains(t, dag.Validate(bomb), "there are more than 262144 steps")
	require.Less(t, time.Since(start), 20*time.Second)
}
