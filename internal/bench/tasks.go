package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// tasks: what a plan's tasks cost beside their work, in process. The benchmarks
// are those of `go test -bench`, which measure the processor time themselves.
func (b *bench) tasks() error {
	least := map[string]float64{}
	for pkg, pattern := range map[string]string{
		"./orchestration/dag": "^BenchmarkRun$/^(queue|dag)$/^100000$",
		"./orchestration":     "^BenchmarkPlan(Tasks|Validate)$",
	} {
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "1x", "-count", strconv.Itoa(b.runs), pkg)
		cmd.Env = append(os.Environ(), "GOGC=400") // as in stoop
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		readMetrics(least, string(out))
	}
	micro := func(benchmark, metric string) float64 { return least[benchmark+" "+metric] / 1000 }
	b.table.figure("plain queue, 100,000 tasks without work", micro("Run/queue/100000", "ns/step"), "µs a task")
	b.table.figure("the same, CPU", micro("Run/queue/100000", "cpu-ns/step"), "µs")
	b.table.atMost("package dag: states, inputs, events", micro("Run/dag/100000", "ns/step"), 5, "µs")
	b.table.figure("the same, CPU", micro("Run/dag/100000", "cpu-ns/step"), "µs")
	b.table.atMost("a plan: bindings and digests too", micro("PlanTasks", "run-ns/task"), 5, "µs")
	b.table.figure("the same, CPU", micro("PlanTasks", "run-cpu-ns/task"), "µs")
	b.table.figure("and before, to check it, CPU", micro("PlanTasks", "check-cpu-ns/task"), "µs")
	b.table.figure("and after, to make its status, CPU", micro("PlanTasks", "status-cpu-ns/task"), "µs")
	for _, shape := range []struct{ name, title string }{
		{"fleet", "three tasks on each of 3,333 packages"},
		{"chain", "10,000 tasks on one package"},
		{"final", "the fleet, and a task that needs all"},
	} {
		b.table.atMost("checking "+shape.title, micro("PlanValidate/"+shape.name, "check-cpu-ns/task")*10_000/1000, 50, "ms")
	}
	return nil
}

// readMetrics reads the output of go test -bench: the least of each metric, by
// benchmark, without Benchmark before and the number of processors behind its
// name, and metric.
func readMetrics(least map[string]float64, out string) {
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(words[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		for i := 2; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			key := name + " " + words[i+1]
			if was, known := least[key]; err == nil && (!known || v < was) {
				least[key] = v
			}
		}
	}
}
