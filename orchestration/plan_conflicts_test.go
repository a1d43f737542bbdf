package orchestration_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
)

// slowly is a runtime whose functions take a time that depends on the schedule
// and on what they get.
type slowly struct {
	runtime.Runtime
	schedule string
}

func (s slowly) Find(ctx context.Context, ref runtime.Ref) (*runtime.Function, error) {
	f, err := s.Runtime.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	slow := *f
	slow.Run = func(ctx context.Context, call *fn.Call) error {
		h := fnv.New32a()
		fmt.Fprint(h, s.schedule, call.Config.MustString())
		time.Sleep(time.Duration(h.Sum32()%1000) * time.Millisecond)
		return f.Run(ctx, call)
	}
	return &slow, nil
}

// drawOverlaps draws tasks that work on a few nested packages, in some order or
// in none.
func drawOverlaps(t *rapid.T, depth int, names *int) []any {
	var tasks []any
	var before []string
	for range rapid.IntRange(1, 5).Draw(t, "tasks") {
		*names++
		name := fmt.Sprintf("t%d", *names)
		task := object{"name": name, "type": "eval"}
		if depth > 0 && rapid.IntRange(0, 3).Draw(t, "compound") == 0 {
			task["type"] = "compound"
			plan := object{"tasks": drawOverlaps(t, depth-1, names)}
			if rapid.IntRange(0, 3).Draw(t, "finally") == 0 {
				plan["finally"] = drawOverlaps(t, 0, names)
			}
			task["compound"] = object{"plan": plan}
		} else {
			task["target"] = rapid.SampledFrom([]string{"a", "a", "a/b", "a/b/c", "a/d", "e", "e/f", "."}).Draw(t, "target")
			task["eval"] = object{"image": "set-labels:v0.2.0"}
			task["inputs"] = object{"last": name}
		}
		var needs []any
		for _, of := range before {
			switch rapid.IntRange(0, 5).Draw(t, "needs") {
			case 0, 1, 2:
				needs = append(needs, of)
			case 3:
				needs = append(needs, object{"task": of, "on": []any{"Completed", "Failed"}})
			}
		}
		if len(needs) > 0 {
			task["needs"] = needs
		}
		before = append(before, name)
		tasks = append(tasks, task)
	}
	return tasks
}

// Tasks with overlapping targets either are refused because nothing says which
// comes first, or come to the same whatever the schedule.
func TestPlanConflictsAreFound(t *testing.T) {
	refused, ran := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		names := 0
		spec := "  parallelism: 16\n  tasks: " + jsonText(drawOverlaps(rt, 2, &names)) + "\n"
		if rapid.IntRange(0, 3).Draw(rt, "finally") == 0 {
			spec += "  finally: " + jsonText(drawOverlaps(rt, 0, &names)) + "\n"
		}
		files := map[string]string{"plan.yaml": planText(spec)}
		for _, dir := range []string{"", "a/", "a/b/", "a/b/c/", "a/d/", "e/", "e/f/"} {
			files[dir+"Kptfile"] = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: x\n"
			files[dir+"cm.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm\n"
		}
		ws := filesTree(t, files)
		var first map[string]string
		for _, schedule := range []string{"a", "b", "c", "again"} {
			var got map[string]string
			var err error
			synctest.Test(t, func(t *testing.T) {
				functions := slowly{builtin.New(builtin.Compatible), schedule}
				after, report, runErr := orchestration.RunFiles(t.Context(), &orchestration.TaskHandler{Runtime: functions, Builtins: functions}, ws, orchestration.Options{})
				if err = runErr; report != nil {
					got = tasktest.Content(t, after)
					if schedule == "c" {
						ws = after // the last one changes nothing
					}
				}
			})
			if got == nil {
				require.ErrorContains(rt, err, "nothing says which comes first")
				refused++
				return
			}
			require.NoError(rt, err)
			if first == nil {
				first = got
			}
			sameFiles(rt, first, got, schedule+" "+spec)
		}
		ran++
	})
	t.Logf("%d were refused, %d ran", refused, ran)
	require.NotZero(t, refused)
	require.NotZero(t, ran)
}
