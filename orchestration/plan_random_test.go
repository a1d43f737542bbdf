package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task/tasktest"
)

// randomPlan is a plan, and how its agent's tasks fail.
type randomPlan struct {
	files map[string]string
	flaky map[string]int // by model: so many attempts fail; a negative number: all
	seen  map[string]int // by model: the attempts that the agent knows from before
	names int
}

type object = map[string]any

// drawPlan draws a plan whose tasks make packages, change them and talk to each
// other.
func drawPlan(t *rapid.T, finally bool) *randomPlan {
	p := &randomPlan{files: map[string]string{}, flaky: map[string]int{}}
	tasks, own := p.tasks(t, rapid.IntRange(1, 9).Draw(t, "tasks"), 1, "")
	spec := object{
		"params":  object{"p": "param", "n": 3, "m": object{"k": []any{true, nil}}},
		"context": object{"who": "me"},
		"tasks":   tasks,
	}
	if n := rapid.IntRange(0, 4).Draw(t, "parallelism"); n > 0 {
		spec["parallelism"] = n
	}
	if rapid.Bool().Draw(t, "limited") {
		spec["limits"] = []any{object{"class": "llm_call", "max": rapid.IntRange(1, 2).Draw(t, "max")}}
	}
	if finally && rapid.Bool().Draw(t, "finally") {
		from := rapid.SampledFrom(tasks).Draw(t, "from").(object)
		last := object{"name": "last", "type": "llm_call", "llm_call": object{"model": "last", "prompt": "x"}}
		if from["type"] == "llm_call" {
			last["inputs"] = object{"v": object{"from": from["name"].(string) + ".text", "default": "none"}}
		}
		spec["finally"] = []any{last, object{"name": "end", "type": "init", "target": "end", "init": object{}}}
	}
	p.files["plan.yaml"] = planText("  # what the plan is\n")
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if key != "tasks" {
			p.files["plan.yaml"] += "  " + key + ": " + jsonText(spec[key]) + "\n"
			continue
		}
		p.files["plan.yaml"] += "  tasks:\n"
		for _, task := range tasks {
			p.files["plan.yaml"] += "    - " + jsonText(task) + "\n"
		}
	}
	if rapid.Bool().Draw(t, "wide") { // a layout that the library has its own ideas about
		p.files["plan.yaml"] = widened(strings.Replace(p.files["plan.yaml"], "metadata:\n  name: p\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n",
			"metadata: {name: p, annotations: {config.kubernetes.io/local-config: \"true\"}}\n", 1))
	}
	for i, o := range own {
		if i > 3 {
			o = widened(o)
		}
		p.files[fmt.Sprintf("tasks/%d.yaml", i%3)] += o
	}
	p.files["Kptfile"] = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: root\n"
	return p
}

// widened is YAML indented by twice as much.
func widened(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		rest := strings.TrimLeft(line, " ")
		out.WriteString(strings.Repeat("  ", len(line)-len(rest)) + rest)
	}
	return out.String()
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// tasks draws the tasks of a plan, and the Task objects that belong to it.
func (p *randomPlan) tasks(t *rapid.T, n, depth int, below string) (inline []any, own []string) {
	type pkg struct {
		dir   string
		tasks []string // those that work on it, one after another
		whole bool     // one of these replaces all of it, so that no package may be inside
		outer bool     // one is
	}
	var pkgs []*pkg
	var tellers []string
	var names []string
	for range n {
		p.names++
		name := fmt.Sprintf("t%d", p.names)
		var needs []any
		words := func(plain string) any { // a value with or without a binding
			if len(tellers) == 0 {
				return rapid.SampledFrom([]string{plain, plain + " {{plan.params.p}}", "{{plan.context.who}}"}).Draw(t, "words")
			}
			from := rapid.SampledFrom(tellers).Draw(t, "teller")
			return rapid.SampledFrom([]any{plain, plain + "-{{" + from + ".text}}", "{{" + from + ".text}}"}).Draw(t, "words")
		}
		bound := func(plain string) any { // one of inputs
			if len(tellers) > 0 && rapid.IntRange(0, 2).Draw(t, "defaulted") == 0 {
				return object{"from": rapid.SampledFrom(tellers).Draw(t, "teller") + ".text", "default": "d-" + plain}
			}
			return words(plain)
		}
		task := object{"name": name}
		change := func(pkgs []*pkg) *pkg {
			on := rapid.SampledFrom(pkgs).Draw(t, "package")
			needs = append(needs, on.tasks[len(on.tasks)-1])
			on.tasks = append(on.tasks, name)
			return on
		}
		but := func(unfit func(*pkg) bool) []*pkg { return slices.DeleteFunc(slices.Clone(pkgs), unfit) }
		replaceable, open := but(func(p *pkg) bool { return p.outer }), but(func(p *pkg) bool { return p.whole })
		kinds := []string{"init", "llm_call", "llm_call", "approve"}
		if len(pkgs) > 0 {
			kinds = append(kinds, "eval", "eval", "render")
		}
		if len(replaceable) > 0 {
			kinds = append(kinds, "replace")
		}
		if depth > 0 {
			kinds = append(kinds, "compound")
		}
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		task["type"] = kind
		switch kind {
		case "init":
			dir := below + "pkg-" + name
			if len(open) > 0 && rapid.IntRange(0, 3).Draw(t, "nested") == 0 {
				on := change(open)
				on.outer = true
				dir = on.dir + "/sub-" + name
			} else {
				pkgs = append(pkgs, &pkg{dir: dir, tasks: []string{name}})
			}
			task["target"] = dir
			task["init"] = object{"description": words(name)}
		case "replace":
			on := change(replaceable)
			on.whole = true
			task["target"] = on.dir
			task["replace"] = object{"resources": object{
				"Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: x # " + name + "\npipeline:\n  mutators:\n  - image: set-annotations:v0.1.4\n    configMap: {by: " + name + "}\n",
				"cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm # of " + name + "\ndata: {a: b}\n",
			}}
		case "eval":
			task["target"] = change(pkgs).dir
			task["eval"] = object{"image": rapid.SampledFrom([]string{"set-labels:v0.2.0", "set-annotations:v0.1.4", "set-labels:v0.2.0", "no-such-function"}).Draw(t, "function")}
			task["inputs"] = object{"k" + fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "key")): bound(name)}
		case "render":
			task["target"] = change(pkgs).dir
		case "llm_call":
			task["llm_call"] = object{"model": name, "prompt": words(name)}
			task["retry"] = object{"limit": 2}
			if rapid.Bool().Draw(t, "inputs") {
				task["inputs"] = object{"a": bound(name), "b": []any{bound(name), "{{plan.params.n}}", "{{plan.params.m.k[0]}}"}}
			}
			switch rapid.IntRange(0, 7).Draw(t, "fails") {
			case 0:
				p.flaky[name] = -1
			case 1, 2:
				p.flaky[name] = rapid.IntRange(1, 2).Draw(t, "flaky")
			}
		case "approve":
			task["approve"] = object{"approved": true, "by": "me"}
		case "compound":
			inner, _ := p.tasks(t, rapid.IntRange(1, 3).Draw(t, "inner"), depth-1, "in-"+name+"/")
			plan := object{"params": object{"p": "inner", "n": 4, "m": object{"k": []any{false}}}, "tasks": inner, "outputs": object{"text": "{{plan.params.p}} of " + name}}
			task["compound"] = object{"plan": plan, "params": object{"p": bound(name)}}
		}
		for range rapid.IntRange(0, 2).Draw(t, "needs") {
			if len(names) == 0 {
				break
			}
			of := rapid.SampledFrom(names).Draw(t, "need")
			if slices.ContainsFunc(needs, func(n any) bool { return strings.Contains(jsonText(n), `"`+of+`"`) }) {
				continue
			}
			switch how := rapid.IntRange(0, 4).Draw(t, "how"); {
			case how == 0:
				needs = append(needs, object{"task": of, "on": rapid.SampledFrom([][]any{{"Failed", "Blocked"}, {"Completed"}, {"Completed", "Failed", "Skipped"}}).Draw(t, "on")})
			case how <= 2 && slices.Contains(tellers, of) && (kind == "llm_call" || kind == "eval"):
				need := object{"task": of, "outputKey": "text"}
				if how == 1 {
					need["default"] = "need's " + name
				}
				needs = append(needs, need)
			default:
				needs = append(needs, of)
			}
		}
		if len(needs) > 0 {
			task["needs"] = needs
		}
		if rapid.IntRange(0, 3).Draw(t, "urgent") == 0 {
			task["priority"] = rapid.IntRange(-2, 2).Draw(t, "priority")
		}
		if kind == "llm_call" || kind == "compound" {
			tellers = append(tellers, name)
		}
		names = append(names, name)
		if below == "" && rapid.IntRange(0, 3).Draw(t, "object") == 0 {
			delete(task, "name")
			task["plan"] = "p"
			if len(own) > 2 {
				name = name + " # " + name
			}
			text := taskText(name, "")
			for _, key := range slices.Sorted(maps.Keys(task)) {
				text += "  " + key + ": " + jsonText(task[key]) + "\n"
			}
			own = append(own, "---\n"+text)
			task["name"], _, _ = strings.Cut(name, " ")
			continue
		}
		inline = append(inline, task)
	}
	if len(inline) == 0 {
		inline = append(inline, object{"name": "only", "type": "approve", "approve": object{"approved": true}})
	}
	return inline, own
}

// schedule answers after delays that are the schedule's own; what it answers, and
// which attempts fail, depends on the plan.
type schedule struct {
	plan     *randomPlan
	seed     string
	mu       sync.Mutex
	attempts map[string]int
	asked    int
}

func (s *schedule) Execute(ctx context.Context, r agent.Request) (*agent.Response, error) {
	s.mu.Lock()
	if s.attempts == nil {
		s.attempts = map[string]int{}
	}
	s.attempts[r.Model]++
	s.asked++
	n := s.attempts[r.Model]
	s.mu.Unlock()
	h := fnv.New32a()
	fmt.Fprint(h, s.seed, r.Model, n)
	if err := after(ctx, time.Duration(h.Sum32()%5000)*time.Millisecond); err != nil {
		return nil, err
	}
	if flaky := s.plan.flaky[r.Model]; flaky < 0 || n <= flaky {
		return nil, errors.New("failed as drawn")
	}
	return &agent.Response{Outputs: map[string]any{"text": "says " + r.Model + ": " + r.Prompt + jsonText(r.Inputs)}}, nil
}

// went is what came of one run.
type went struct {
	ws     kptpkg.Tree
	files  map[string]string
	report *orchestration.Report
	err    error
	saved  []kptpkg.Tree
	asked  int

	attempts map[string]int // by model
}

// run runs the plan on a fake clock.
func (p *randomPlan) run(t *testing.T, rt *rapid.T, ws kptpkg.Tree, seed string, parallel int, interrupt func(*orchestration.Options) (context.Context, func())) went {
	var w went
	s := &schedule{plan: p, seed: seed, attempts: maps.Clone(p.seen)}
	synctest.Test(t, func(t *testing.T) {
		opts := orchestration.Options{Agent: s, Parallel: parallel, Save: func(ws kptpkg.Tree) error {
			w.saved = append(w.saved, ws)
			return nil
		}}
		ctx := t.Context()
		if interrupt != nil {
			var done func()
			ctx, done = interrupt(&opts)
			defer done()
		}
		w.ws, w.report, w.err = runPlan(ctx, ws, opts)
	})
	if w.report == nil {
		rt.Fatalf("nothing ran: %v\n%s", w.err, jsonText(p.files))
	}
	w.files, w.asked, w.attempts = tasktest.Content(t, w.ws), s.asked, s.attempts
	return w
}

// What comes of a plan is the same bytes whatever the delays and however many run
// at once; and a second run changes none.
func TestPlanScheduleNeverMatters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, true)
		ws := filesTree(t, p.files)
		one := p.run(t, rt, ws, "a", 1, nil)
		for _, seed := range []string{"b", "c"} {
			other := p.run(t, rt, ws, seed, rapid.IntRange(2, 16).Draw(rt, "parallel"), nil)
			sameFiles(rt, one.files, other.files, seed)
			require.Equal(rt, states(one.report), states(other.report))
			require.Equal(rt, messages(one.report), messages(other.report))
		}
		again := p.run(t, rt, one.ws, "d", 0, nil)
		sameFiles(rt, one.files, again.files, "again")
		require.Equal(rt, states(one.report), states(again.report))
		require.Equal(rt, one.err == nil, again.err == nil)
		for _, s := range again.report.Tasks {
			after := one.err != nil && s.Dirty == "tasks of the plan ran" // a finally task
			require.Equal(rt, s.State == dag.Completed, s.Clean || after, "%s: %s", s.Path, s.Dirty)
		}
		if one.err == nil {
			require.Zero(rt, again.asked)
		}
	})
}

// sameFiles compares files one by one, for messages of bearable length.
func sameFiles(t require.TestingT, want, got map[string]string, how string) {
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), how)
	for _, p := range slices.Sorted(maps.Keys(want)) {
		require.Equal(t, want[p], got[p], "%s: %s", how, p)
	}
}

// messages are the messages of all results.
func messages(report *orchestration.Report) []string {
	var out []string
	for _, r := range report.Results {
		out = append(out, string(r.Severity)+" "+r.Message)
	}
	return out
}

// A run that ends early, however and whenever, and is then continued comes to the
// same bytes as one that isn't.
func TestPlanInterruptionsNeverMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, false)
		ws := filesTree(t, p.files)
		whole := p.run(t, rt, ws, "a", 0, nil)
		finish := func(how string, ws kptpkg.Tree, seen map[string]int) {
			p.seen = seen
			end := p.run(t, rt, ws, "b", 0, nil)
			p.seen = nil
			sameFiles(rt, whole.files, end.files, how)
			require.Equal(rt, states(whole.report), states(end.report), how)
		}
		for i, saved := range whole.saved {
			if i%2 == rapid.IntRange(0, 1).Draw(rt, "which") {
				finish(fmt.Sprintf("checkpoint %d", i), saved, nil)
			}
		}
		moment := time.Duration(rapid.IntRange(0, 12_000).Draw(rt, "moment")) * time.Millisecond
		for how, interrupt := range map[string]func(*orchestration.Options) (context.Context, func()){
			"suspended": func(opts *orchestration.Options) (context.Context, func()) {
				stop := make(chan struct{})
				opts.Suspend = stop
				return context.Background(), stopper(time.AfterFunc(moment, func() { close(stop) }))
			},
			"interrupted": func(*orchestration.Options) (context.Context, func()) {
				ctx, cancel := context.WithCancelCause(context.Background())
				return ctx, stopper(time.AfterFunc(moment, func() { cancel(dag.ErrSuspend) }))
			},
			"cancelled": func(*orchestration.Options) (context.Context, func()) {
				ctx, cancel := context.WithCancelCause(context.Background())
				return ctx, stopper(time.AfterFunc(moment, func() { cancel(errors.New("enough")) }))
			},
		} {
			part := p.run(t, rt, ws, "a", 3, interrupt)
			finish(how, part.ws, part.attempts)
		}
	})
}

func stopper(timer *time.Timer) func() { return func() { timer.Stop() } }
