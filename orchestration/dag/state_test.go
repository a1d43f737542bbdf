package dag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var all = []State{Pending, Ready, Executing, Completed, Failed, Blocked, Skipped, Cancelled}

// Every pair of states is either in the table or refused.
func TestTransitions(t *testing.T) {
	allowed := map[State][]State{
		Pending:   {Ready, Blocked, Skipped, Cancelled},
		Ready:     {Executing, Completed, Cancelled},
		Executing: {Pending, Completed, Failed, Cancelled},
	}
	for _, from := range all {
		for _, to := range all {
			require.Equal(t, contains(allowed[from], to), from.CanBecome(to), "%s to %s", from, to)
		}
		require.False(t, from.CanBecome(Cancelled+1))
		require.False(t, (Cancelled + 1).CanBecome(from))
		require.Equal(t, allowed[from] == nil, from.Ended(), from)
	}
	require.Equal(t, "invalid", (Cancelled + 1).String())
}

func contains(states []State, s State) bool {
	for _, x := range states {
		if x == s {
			return true
		}
	}
	return false
}

// newTestRun is a run that has begun and whose loop the test may enter.
func newTestRun(t *testing.T, g *Graph) *run {
	p, err := build(g)
	require.NoError(t, err)
	r := newRun(t.Context(), p, Options{})
	r.open(r.root, r.start, time.Time{})
	return r
}

// A change of state that is not in the table is a bug that ends the run: the
// state stays, nothing else starts, and the error says which step it was.
func TestBadTransition(t *testing.T) {
	r := newTestRun(t, &Graph{Steps: []Step{{Name: "a"}, {Name: "b", Needs: []Need{{Step: "a"}}}}})
	r.move(r.nodes[1], Completed, note{})
	rep, err := r.loop(t.Context())
	require.EqualError(t, err, "b: Pending must not become Completed")
	require.Equal(t, BadTransition, codeOf(err))
	require.Equal(t, RunFailed, rep.Phase)
	require.Equal(t, Cancelled, rep.Steps[1].State)
}

// If steps are left, and nothing runs, waits or is held, the run says so and who
// waits for what. A graph that was found good doesn't come to that.
func TestNoProgress(t *testing.T) {
	r := newTestRun(t, &Graph{Steps: []Step{{Name: "a"}, {Name: "b", Needs: []Need{{Step: "a"}}}, {Name: "z", Finally: true}}})
	r.nodes[1].waiting++ // for something that never comes
	rep, err := r.loop(t.Context())
	require.EqualError(t, err, "no progress: 2 steps are left and none can start: b waits for all others, z waits for all others")
	require.Equal(t, Orchestration, codeOf(err))
	require.Equal(t, RunFailed, rep.Phase)
	require.Equal(t, Stats{Executed: 1, Completed: 1, Unfinished: 2}, rep.Stats)
}
