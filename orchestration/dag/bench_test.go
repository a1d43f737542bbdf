package dag_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/internal/bench/cputime"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

// manySteps is n steps without work that need up to four earlier ones each and
// use the outputs of all.
func manySteps(n int, step dag.Step) []dag.Step {
	random := rand.New(rand.NewPCG(1, 2))
	steps := make([]dag.Step, n)
	for i := range steps {
		steps[i] = step
		steps[i].Name = fmt.Sprint("s", i)
		steps[i].Do = func(_ context.Context, in dag.Inputs) (dag.Result, error) {
			sum := 1
			for _, need := range steps[i].Needs {
				sum += in.Of(need.Step)["n"].(int) & 0xffff
			}
			return dag.Result{Outputs: dag.Outputs{"n": sum}}, nil
		}
		if i == 0 {
			continue
		}
		for range random.IntN(5) {
			steps[i].Needs = append(steps[i].Needs, dag.Need{Step: fmt.Sprint("s", random.IntN(i)), Type: dag.Data, Key: "n"})
		}
	}
	return steps
}

// The time that a step takes beside its work, and that of a plain queue: no
// states, inputs, events, limits by class, priorities or timeouts.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		perStep := func(b *testing.B, run func()) {
			began, err := cputime.Process()
			for b.Loop() {
				run()
			}
			steps := float64(n) * float64(b.N)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/steps, "ns/step")
			if ended, err2 := cputime.Process(); err == nil && err2 == nil {
				b.ReportMetric(float64((ended-began).Nanoseconds())/steps, "cpu-ns/step")
			}
		}
		steps := manySteps(n, dag.Step{Class: "io", Timeout: time.Minute, Deadline: time.Hour})
		b.Run(fmt.Sprint("queue/", n), func(b *testing.B) {
			perStep(b, func() { plainQueue(steps, 10) })
		})
		b.Run(fmt.Sprint("dag/", n), func(b *testing.B) {
			b.ReportAllocs()
			perStep(b, func() {
				events := 0
				rep, err := dag.Run(b.Context(), &dag.Graph{Steps: steps, Limits: map[string]int{"io": 8}},
					dag.Options{Observe: func(dag.Event) { events++ }})
				require.NoError(b, err)
				require.Equal(b, n, rep.Stats.Completed)
				require.Equal(b, 3*n, events)
			})
		})
	}
}

// plainQueue runs steps with Kahn's algorithm over a channel.
func plainQueue(steps []dag.Step, workers int) {
	index := make(map[string]int, len(steps))
	for i := range steps {
		index[steps[i].Name] = i
	}
	waiting := make([]atomic.Int32, len(steps))
	dependents := make([][]int, len(steps))
	ready := make(chan int, len(steps))
	for i := range steps {
		waiting[i].Store(int32(len(steps[i].Needs)))
		for _, need := range steps[i].Needs {
			p := index[need.Step]
			dependents[p] = append(dependents[p], i)
		}
	}
	for i := range steps {
		if len(steps[i].Needs) == 0 {
			ready <- i
		}
	}
	var left atomic.Int64
	left.Store(int64(len(steps)))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range ready {
				for _, d := range dependents[i] {
					if waiting[d].Add(-1) == 0 {
						ready <- d
					}
				}
				if left.Add(-1) == 0 {
					close(ready)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkValidate(b *testing.B) {
	g := &dag.Graph{Steps: manySteps(10_000, dag.Step{Class: "io", Timeout: time.Minute})}
	for b.Loop() {
		require.NoError(b, dag.Validate(g))
	}
}
