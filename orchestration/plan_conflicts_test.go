package orchestration_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
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
		} else if rapid.IntRange(0, 4).Draw(t, "reads") == 0 {
			task["type"], task["target"] = "clone", "copy-"+name
			name := "rev"
			if depth == 2 && rapid.Bool().Draw(t, "param") {
				name = "{{plan.params.r}}"
			}
			task["clone"] = object{"upstreamRef": object{"upstreamRef": object{"name": name}}}
		} else {
			task["target"] = rapid.SampledFrom([]string{"a", "a", "a/b", "a/b/c", "a/d", "e", "e/f", ".", "g", "g"}).Draw(t, "target")
			if g, _ := task["target"].(string); (g == "g" || g == ".") && !slices.Contains(before, "rev") {
				before = append([]string{"rev"}, before...)
			}
			task["eval"] = object{"image": rapid.SampledFrom([]string{"set-labels:v0.2.0", "set-annotations:v0.1.4"}).Draw(t, "function")}
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

const (
	declaredRev = `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: rev
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: g
spec:
  packageName: g
  lifecycle: Published
  tasks:
  - type: init
    init: {}
`
	anotherRev = `---
apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: another
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: k
spec:
  packageName: g
  tasks:
  - type: edit
    edit:
      sourceRef: {name: rev}
`
	insideRev = `---
apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: inside
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: g/sub
spec:
  packageName: sub
  tasks:
  - type: init
    init: {}
`
)

// Tasks with overlapping targets either are refused because nothing says which
// comes first, or come to the same whatever the schedule.
func TestPlanConflictsAreFound(t *testing.T) {
	refused, ran := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		names := 0
		spec := "  parallelism: 16\n  params: {r: rev}\n  tasks: " + jsonText(drawOverlaps(rt, 2, &names)) + "\n"
		if rapid.IntRange(0, 3).Draw(rt, "finally") == 0 {
			spec += "  finally: " + jsonText(drawOverlaps(rt, 0, &names)) + "\n"
		}
		files := map[string]string{"plan.yaml": planText(spec), "rev.yaml": declaredRev}
		if rapid.IntRange(0, 3).Draw(rt, "another") == 0 {
			files["rev.yaml"] += anotherRev
		}
		if rapid.IntRange(0, 3).Draw(rt, "inside") == 0 {
			files["rev.yaml"] += insideRev
		}
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

// What copies from a declared revision, and a task that changes that one's target,
// need an order too.
func TestPlanReaders(t *testing.T) {
	const eval = "  - {name: change, type: eval, target: %s, needs: [rev%s], eval: {image: set-annotations:v0.1.4}, inputs: {a: b}}\n"
	clone := func(needs string) string {
		return "  - {name: copy, type: clone, target: copy, needs: [rev" + needs + "], clone: {upstreamRef: {upstreamRef: {name: rev}}}}\n"
	}
	for name, tc := range map[string]struct{ tasks, rev, want string }{
		"clone and the target": {fmt.Sprintf(eval, "g", "") + clone(""), declaredRev, `spec.tasks[1].clone: copies PackageRevision rev, whose target "g" task p/change in plan.yaml changes, and nothing says which comes first: write needs: [change] in one of them`},
		"clone and one above":  {fmt.Sprintf(eval, ".", "") + clone(""), declaredRev, `overlaps with`},
		"clone by a param":     {fmt.Sprintf(eval, "g", "") + strings.Replace(clone(""), "{name: rev}", `{name: "{{plan.params.r}}"}`, 1), declaredRev, `spec.tasks[1].clone: copies PackageRevision rev, whose target "g"`},
		"clone by an output": {"  - {name: says, type: approve, approve: {approved: true, by: rev}}\n" + strings.Replace(clone(""), "{name: rev}", `{name: "{{says.by}}"}`, 1), declaredRev,
			`package revision "rev": it is declared in rev.yaml, and the task names it by what another task yields`},
		"one inside, changed after": {fmt.Sprintf(eval, "g", ", inside, copy") + clone(""), declaredRev + insideRev, ""},
		"clone after":               {fmt.Sprintf(eval, "g", "") + clone(", change"), declaredRev, ""},
		"clone before":              {fmt.Sprintf(eval, "g", ", copy") + clone(""), declaredRev, ""},
		"a PackageRevision":         {fmt.Sprintf(eval, "g", ""), declaredRev + anotherRev, `spec.tasks[0].target: target "g" is read by PackageRevision another in rev.yaml, which goes on from rev, and nothing says which comes first: write needs: [another]`},
		"a PackageRevision first":   {fmt.Sprintf(eval, "g", ", another"), declaredRev + anotherRev, ""},
		"upgrade": {fmt.Sprintf(eval, "g", "") + clone("") +
			"  - {name: up, type: upgrade, target: copy, needs: [copy], upgrade: {oldUpstreamRef: {name: rev}, newUpstreamRef: {name: rev}, localPackageRevisionRef: {name: copy}}}\n", declaredRev, `spec.tasks[2].upgrade: copies PackageRevision rev`},
	} {
		t.Run(name, func(t *testing.T) {
			ws := filesTree(t, map[string]string{
				"Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: x\n", "rev.yaml": tc.rev, "plan.yaml": planText("  params: {r: rev}\n  tasks:\n" + tc.tasks),
			})
			functions := builtin.New(builtin.Compatible)
			var first map[string]string
			for _, parallel := range []int{1, 2, 8} {
				after, _, err := orchestration.RunFiles(t.Context(), &orchestration.TaskHandler{Runtime: functions, Builtins: functions}, ws, orchestration.Options{Parallel: parallel})
				if tc.want != "" {
					require.ErrorContains(t, err, tc.want)
					continue
				}
				require.NoError(t, err)
				got := tasktest.Content(t, after)
				if first == nil {
					first = got
				}
				require.Equal(t, first, got, "%d", parallel)
				if strings.Contains(tc.rev, "inside") {
					require.Contains(t, got, "copy/sub/Kptfile")
				}
			}
		})
	}
}

// An order that is done still has its place behind what is around it: who copies
// from it finds what an update of that has made of it.
func TestReadersOfWhatIsDone(t *testing.T) {
	order := func(name, target, more string) string {
		return fmt.Sprintf("apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata:\n  name: %s\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n    stoop.dev/target: %s\nspec:\n  packageName: %s\n%s", name, target, name, more)
	}
	const made = "  tasks:\n  - type: init\n    init: {}\n"
	functions := builtin.New(builtin.Compatible)
	run := func(ws kptpkg.Tree, parallel int) kptpkg.Tree {
		after, _, err := orchestration.RunFiles(t.Context(), &orchestration.TaskHandler{Runtime: functions, Builtins: functions}, ws, orchestration.Options{Parallel: parallel})
		require.NoError(t, err)
		return after
	}
	ws := run(filesTree(t, map[string]string{
		"Kptfile":  "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: x\n",
		"top.yaml": order("top", "g", made), "web.yaml": order("web", "g/web", "  lifecycle: Published\n"+made),
	}), 1)
	ws, err := ws.With(
		kptpkg.NewFile("top.yaml", kptpkg.Regular, []byte(strings.Replace(fileText(t, ws, "top.yaml"), "  packageName: top\n", "  packageName: top\n  packageMetadata: {labels: {a: b}}\n", 1))),
		kptpkg.NewFile("g/Kptfile", kptpkg.Regular, []byte(fileText(t, ws, "g/Kptfile")+"pipeline:\n  mutators:\n  - image: set-annotations:v0.1.4\n    configMap: {by: top}\n")),
		kptpkg.NewFile("copy.yaml", kptpkg.Regular, []byte(order("copy", "copy", "  tasks:\n  - type: clone\n    clone: {upstreamRef: {upstreamRef: {name: web}}}\n"))),
		kptpkg.NewFile("plan.yaml", kptpkg.Regular, []byte(planText("  tasks:\n  - {name: change, type: eval, target: g/web, needs: [web, copy], eval: {image: set-annotations:v0.1.4}, inputs: {changed: x}}\n"))),
	)
	require.NoError(t, err)
	first := tasktest.Content(t, run(ws, 1))
	require.Contains(t, first["copy/Kptfile"], "by: top")
	for i := range 24 {
		require.Equal(t, first, tasktest.Content(t, run(ws, 1<<(i%5))))
	}
}
