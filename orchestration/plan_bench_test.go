package orchestration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/internal/bench/cputime"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
)

// phases adds up the processor time of parts of a benchmark, and their time.
type phases struct {
	b    *testing.B
	n    int // of tasks
	last time.Duration
	took map[string]time.Duration
	at   time.Time
	wall map[string]time.Duration
}

// newPhases has the garbage collector run as rarely as in stoop.
func newPhases(b *testing.B, n int) *phases {
	old := debug.SetGCPercent(400)
	b.Cleanup(func() { debug.SetGCPercent(old) })
	return &phases{b: b, n: n, took: map[string]time.Duration{}, wall: map[string]time.Duration{}}
}

// done ends a part; with an empty name nothing is noted.
func (p *phases) done(name string) {
	now, err := cputime.Process()
	if err != nil {
		p.b.Skip(err)
	}
	if name != "" {
		p.took[name] += now - p.last
		p.wall[name] += time.Since(p.at)
	}
	p.last, p.at = now, time.Now()
}

// report gives the parts as metrics, in nanoseconds a task.
func (p *phases) report() {
	for name, took := range p.took {
		p.b.ReportMetric(float64(took.Nanoseconds())/float64(p.n)/float64(p.b.N), name+"-cpu-ns/task")
		p.b.ReportMetric(float64(p.wall[name].Nanoseconds())/float64(p.n)/float64(p.b.N), name+"-ns/task")
	}
}

// runOf is a run of one plan, made without any YAML.
func runOf(b *testing.B, spec *api.PlanSpec, opts Options) *run {
	p := &api.Plan{
		Header: api.Header{APIVersion: api.StoopV1Alpha1, Kind: "Plan", Metadata: api.ObjectMeta{
			Name: "bench", Annotations: map[string]string{api.LocalConfigAnnotation: "true"},
		}},
		Spec: *spec,
	}
	o := &order{file: "plan.yaml", doc: yamldoc.FromNode(api.Node(&api.Plan{Header: p.Header})), object: p}
	f := &found{plans: []*order{o}, own: map[string]bool{"plan.yaml": true}}
	return &run{handler: &TaskHandler{}, opts: opts, found: f}
}

// nobody answers at once.
type nobody struct{}

func (nobody) Execute(context.Context, agent.Request) (*agent.Response, error) {
	return done, nil
}

var done = &agent.Response{Outputs: map[string]any{"text": "done"}}

// What a task costs that does nothing: checking the plan, carrying it out with
// states, bindings, digests and events, and making the plan's new status. Beside
// it stand BenchmarkRun/queue and BenchmarkRun/dag of package dag, where the
// steps need each other alike.
func BenchmarkPlanTasks(b *testing.B) {
	const n = 100_000
	random := rand.New(rand.NewPCG(1, 2))
	spec := &api.PlanSpec{Limits: []api.ClassLimit{{Class: "io", Max: 8}}, Defaults: &api.TaskDefaults{Timeout: "60s"}}
	for i := range n {
		t := api.InlineTask{Name: fmt.Sprint("s", i), TaskSpec: api.TaskSpec{
			Type: api.WorkAtomic, Atomic: &api.AtomicWork{Description: "nothing"}, Class: "io", Deadline: "1h",
		}}
		for j := range random.IntN(5) {
			if i == 0 {
				break
			}
			if t.Inputs == nil {
				t.Inputs = map[string]any{}
			}
			t.Inputs[fmt.Sprint("in", j)] = fmt.Sprintf("{{s%d.text}}", random.IntN(i))
		}
		spec.Tasks = append(spec.Tasks, t)
	}
	p := newPhases(b, n)
	for b.Loop() {
		events := 0
		r := runOf(b, spec, Options{Agent: nobody{}, Observe: func(dag.Event) { events++ }})
		p.done("")
		require.NoError(b, r.preparePlans())
		p.done("check")
		r.store = newStore(kptpkg.Tree{}, r.found.own)
		r.carryOut(b.Context())
		p.done("run")
		docs, err := r.planDocs(false)
		require.NoError(b, err)
		p.done("status")
		require.Len(b, docs, 1)
		require.Equal(b, n, r.graphReport.Stats.Completed)
		require.GreaterOrEqual(b, events, 3*n)
	}
	p.report()
}

// Checking 10,000 tasks before anything runs.
func BenchmarkPlanValidate(b *testing.B) {
	const n = 10_000
	clone := &api.CloneTask{UpstreamRef: api.UpstreamRef{Git: &api.GitPackage{Repo: "https://example.com/packages.git", Ref: "v1", Directory: "app"}}}
	set := &api.EvalWork{FunctionRef: api.FunctionRef{Image: "apply-setters:v0.2.0"}}
	needs := func(names ...string) (needs []api.TaskNeed) {
		for _, name := range names {
			needs = append(needs, api.TaskNeed{Task: name})
		}
		return needs
	}
	fleet := func(packages int) *api.PlanSpec {
		spec := &api.PlanSpec{Params: map[string]any{"env": "prod", "replicas": map[string]any{}}}
		for i := range packages {
			dir := fmt.Sprintf("p%04d", i)
			spec.Params["replicas"].(map[string]any)[dir] = int64(3)
			spec.Tasks = append(spec.Tasks,
				api.InlineTask{Name: "clone-" + dir, TaskSpec: api.TaskSpec{Type: api.WorkClone, Target: dir, Clone: clone}},
				api.InlineTask{Name: "set-" + dir, TaskSpec: api.TaskSpec{Type: api.WorkEval, Target: dir, Eval: set, Needs: needs("clone-" + dir),
					Inputs: map[string]any{"name": "shop-" + dir, "env": "{{plan.params.env}}", "replicas": "{{plan.params.replicas." + dir + "}}"}}},
				api.InlineTask{Name: "render-" + dir, TaskSpec: api.TaskSpec{Type: api.WorkRender, Target: dir, Needs: needs("set-" + dir)}})
		}
		return spec
	}
	chain := &api.PlanSpec{}
	for i := range n {
		t := api.InlineTask{Name: fmt.Sprintf("s%05d", i), TaskSpec: api.TaskSpec{Type: api.WorkEval, Target: "app", Eval: set, Inputs: map[string]any{"n": fmt.Sprint(i)}}}
		if i > 0 {
			t.Needs = needs(chain.Tasks[i-1].Name)
		}
		chain.Tasks = append(chain.Tasks, t)
	}
	final := fleet(n / 3)
	last := api.InlineTask{Name: "last", TaskSpec: api.TaskSpec{Type: api.WorkRender, Target: "."}}
	for _, t := range final.Tasks {
		last.Needs = append(last.Needs, api.TaskNeed{Task: t.Name})
	}
	final.Tasks = append(final.Tasks, last)
	for _, c := range []struct {
		name string
		spec *api.PlanSpec
	}{{"fleet", fleet(n / 3)}, {"chain", chain}, {"final", final}} {
		b.Run(c.name, func(b *testing.B) {
			p := newPhases(b, n)
			for b.Loop() {
				r := runOf(b, c.spec, Options{})
				p.done("")
				require.NoError(b, r.preparePlans())
				p.done("check")
				require.Len(b, r.plans[0].works, len(c.spec.Tasks))
			}
			p.report()
		})
	}
}
