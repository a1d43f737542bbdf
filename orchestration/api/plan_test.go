package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// planExample has every field that a user can set.
const planExample = `apiVersion: stoop.dev/v1alpha1
kind: Plan
metadata:
  name: rollout
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  params: {repo: https://example.com/packages, sizes: [1, 2.5, true, null], site: {name: edge}}
  context: {ticket: NET-1}
  parallelism: 4
  limits:
  - {class: clone, max: 2}
  - {class: gpu, max: 1}
  failurePolicy: FailFast
  timeout: 1h30m
  defaults:
    timeout: 90s
    retry: {limit: 2, delay: 0s, factor: 1.5, maxDelay: 30s, on: [Timeout, Error]}
  suspend: false
  cancel: {requested: false, reason: not yet}
  outputs:
    cidr: "{{ipam.cidr}}"
    all: {from: ask.answer, default: none}
  tasks:
  - name: ipam
    type: tool_call
    tool_call:
      image: example.com/ipam
      tag: ~1.2
    inputs:
      site: "{{plan.params.site.name}}"
      size: {from: "plan.params.sizes[0]", default: 3}
    outputs:
      cidr: {type: string, from: {kind: IPClaim, name: c, field: status.cidr}}
      note: {type: string, optional: true, from: {result: spec.note}}
    resources: {memory: 64Mi, cpu: 500m, cpuTime: 10s, processes: 5}
    mock: {outputs: {cidr: 10.0.0.0/24, note: ""}}
  - name: edge
    type: clone
    target: sites/edge
    needs: [go, {task: ipam, outputKey: cidr, default: 10.0.0.0/8}]
    clone:
      upstreamRef:
        git: {repo: "{{plan.params.repo}}", ref: "v{{plan.params.sizes[0]}}", directory: edge}
    class: gpu
    priority: -5
    retry: {limit: 0}
    timeout: 10s
    deadline: 1m
    suspend: true
  - name: set
    type: eval
    target: sites/edge
    needs: [edge]
    eval:
      builtin: set-namespace
      selectors: [{kind: Deployment, labels: {app: "{{plan.context.ticket}}"}}]
      exclude: [{name: x, annotations: {a: b}}]
      config: {apiVersion: v1, kind: ConfigMap, data: {namespace: "{{ipam.cidr}}"}}
  - {name: draw, type: render, target: sites/edge, needs: [set]}
  - name: new
    type: init
    target: sites/new
    init: {description: "{{ask.answer}}", keywords: ["{{ask.answer}}"]}
  - name: copy
    type: edit
    target: sites/copy
    edit: {sourceRef: {name: packages.edge.v1}}
  - name: up
    type: upgrade
    target: sites/up
    upgrade: {oldUpstreamRef: {name: a}, newUpstreamRef: {name: b}, localPackageRevisionRef: {name: c}, strategy: copy-merge, onConflict: local}
  - name: swap
    type: replace
    target: sites/swap
    replace: {resources: {Kptfile: "{{not.bound"}}
  - name: ask
    type: llm_call
    needs: [{task: up, on: [Failed, Completed]}, {task: set, type: Blocking}]
    llm_call:
      prompt: "Which of {{ipam.cidr}}? {{{{literal}}}}"
      system: Be short.
      model: small
      maxTokens: 100
      temperature: 0
      schema: {type: object, properties: {answer: {type: string}}}
  - name: agent
    type: atomic
    atomic: {description: do it, model: large, schema: {properties: {done: {type: boolean}}}}
    inputs: {deep: [{list: ["{{ask.answer}}"]}]}
    mock: {fail: no}
  - {name: go, type: approve}
  - {name: go2, type: approve, approve: {message: "ok, {{ask.answer}}?", approved: true, by: me}}
  - name: nested
    type: compound
    compound:
      params: {cidr: "{{ipam.cidr}}"}
      plan:
        tasks:
        - {name: ipam, type: render, target: .}
  - {name: referred, type: compound, compound: {planRef: other.plan}}
  finally:
  - name: clean
    type: tool_call
    finally: true
    tool_call: {exec: ./clean.sh --all}
status:
  phase: Failed
  message: two of three
  mock: true
  counts: {Completed: 2, Failed: 1}
  tasks:
  - name: ipam
    phase: Completed
    outputs: {cidr: 10.0.0.0/24, n: 3, f: 1.5e+30, yes: true, none: null, list: [1, a], map: {}}
    observed: {spec: a, inputs: b, content: c}
  - name: nested
    phase: Failed
    code: E5205
    message: no
    attempts: 3
    mock: true
    tasks: [{name: ipam, phase: Completed}]
`

func TestPlan(t *testing.T) {
	l := decode[*Plan](t, planExample)
	require.NoError(t, l.Validate())
	assert.Equal(t, map[string]any{"repo": "https://example.com/packages", "sizes": []any{int64(1), 2.5, true, nil}, "site": map[string]any{"name": "edge"}}, l.Spec.Params)
	edge := l.Spec.Tasks[1]
	assert.Equal(t, []TaskNeed{{Task: "go"}, {Task: "ipam", OutputKey: "cidr", Default: "10.0.0.0/8"}}, edge.Needs)
	assert.Equal(t, []NeedType{NeedBlocking, NeedData}, []NeedType{edge.Needs[0].Kind(), edge.Needs[1].Kind()})
	assert.Equal(t, NeedConditional, l.Spec.Tasks[8].Needs[0].Kind())
	assert.Equal(t, 1.5, l.Spec.Defaults.Retry.Factor)
	assert.Equal(t, "set-namespace", l.Spec.Tasks[2].Eval.Builtin)
	assert.Equal(t, CopyMerge, l.Spec.Tasks[6].Upgrade.Strategy)
	assert.Equal(t, 0.0, *l.Spec.Tasks[8].LLMCall.Temperature)
	assert.Equal(t, "10s", l.Spec.Tasks[0].Resources.CPUTime.Value().String())
	assert.Zero(t, Duration("").Value())
	assert.Equal(t, map[string]any{"cidr": "10.0.0.0/24", "n": int64(3), "f": 1.5e30, "yes": true, "none": nil, "list": []any{int64(1), "a"}, "map": map[string]any{}}, l.Status.Tasks[0].Outputs)

	written := marshal(t, Node(l))
	again := decode[*Plan](t, written)
	assert.NoError(t, again.Validate())
	assert.Equal(t, written, marshal(t, Node(again)))
	assert.Contains(t, written, `    outputs:
      cidr: 10.0.0.0/24
      f: 1.5e+30
      list:
      - 1
      - a
      map: {}
      "n": 3
      none: null
      "yes": true
`)
}

// Whole numbers are integers whatever they came as.
func TestNodeNumbers(t *testing.T) {
	s := &PlanTask{Status: TaskStatus{Outputs: map[string]any{"a": 3.0, "b": 1e20, "c": -0.5, "d": 1e-7, "e": 7, "f": []string{"x"}, "g": json.Number("12"), "h": json.Number("1.5e3")}}}
	written := marshal(t, Node(s))
	assert.Equal(t, "status:\n  outputs:\n    a: 3\n    b: 1.0e+20\n    c: -0.5\n    d: 1.0e-07\n    e: 7\n    f:\n    - x\n    g: 12\n    h: 1500\n", written)
}

// inline is a plan of the given tasks, each written as a flow map.
func inline(tasks ...string) string {
	return "apiVersion: stoop.dev/v1alpha1\nkind: Plan\nmetadata: {name: p}\nspec: {tasks: [" + strings.Join(tasks, ", ") + "]}\n"
}

func plan(spec string) string {
	return "apiVersion: stoop.dev/v1alpha1\nkind: Plan\nmetadata: {name: p}\nspec: " + spec
}

func TestPlanErrors(t *testing.T) {
	const render = "type: render, target: ."
	deep := "{tasks: []}"
	for range maxCompoundDeep {
		deep = "{tasks: [{name: a, type: compound, compound: {plan: " + deep + "}}]}"
	}
	const phases = "Pending, Ready, Executing, Completed, Failed, Blocked, Skipped, Cancelled"
	deepField := "spec" + strings.Repeat(".tasks[0].compound.plan", maxCompoundDeep)
	tests := []struct{ name, in, want string }{
		{"no name", inline("{" + render + "}"), `Plan p: spec.tasks[0].name: is missing: write a name for needs and bindings to refer to [E5606]`},
		{"name", inline("{name: A_b, " + render + "}"), `Plan p: spec.tasks[0].name: "A_b" ` + labelRule},
		{"reserved name", inline("{name: plan, " + render + "}"), `Plan p: spec.tasks[0].name: "plan" is what bindings call the plan: give the task another name`},
		{"same name", plan("{tasks: [{name: a, " + render + "}], finally: [{name: a, " + render + "}]}"), `Plan p: spec.finally[0].name: "a" is the name of spec.tasks[0] too: names are unique in a plan`},
		{"plan of an inline task", inline("{name: a, plan: p, " + render + "}"), `Plan p: spec.tasks[0].plan: is "p", but the task is in a plan already: leave it out`},
		{"parallelism", plan("{parallelism: 1025}"), `Plan p: spec.parallelism: is 1025: write how many tasks may run at once, from 1 to 1024`},
		{"no parallelism", plan("{parallelism: 0}"), `Plan p: spec.parallelism: is 0: write how many tasks may run at once, from 1 to 1024, or leave it out`},
		{"limits", plan("{limits: [{max: 1}, {class: A, max: 1}, {class: b}, {class: b, max: 2}, {class: tool_call, max: -1}]}"), lines(
			`Plan p: spec.limits[0].class: is missing: write a class that tasks have, or a type of task [E5606]`,
			`Plan p: spec.limits[1].class: "A" is no type of task and `+labelRule,
			`Plan p: spec.limits[2].max: is 0: write how many tasks of the class may run at once, at least 1`,
			`Plan p: spec.limits[3].class: "b" is limited twice: keep one`,
			`Plan p: spec.limits[4].max: is -1: write how many tasks of the class may run at once, at least 1`)},
		{"failure policy", plan("{failurePolicy: failfast}"), `Plan p: spec.failurePolicy: is "failfast"; did you mean "FailFast"?: write Continue or FailFast`},
		{"times", plan("{timeout: 5, defaults: {timeout: 0s, retry: {limit: 1, delay: -1s, maxDelay: x}}}"), lines(
			`Plan p: spec.timeout: must be a time span, is a number: write 5s if these are seconds`)},
		{"spans", plan("{timeout: '5', defaults: {timeout: 0s, retry: {limit: 1, delay: -1s, maxDelay: x}}}"), lines(
			`Plan p: spec.timeout: is "5": write a time span such as 90s, 5m or 1h30m`,
			`Plan p: spec.defaults.timeout: is "0s": write a time span such as 90s, 5m or 1h30m, or leave it out`,
			`Plan p: spec.defaults.retry.delay: is "-1s": write a time span such as 90s, 5m or 1h30m, or leave it out [E5704]`,
			`Plan p: spec.defaults.retry.maxDelay: is "x": write a time span such as 90s, 5m or 1h30m [E5704]`)},
		{"retry", plan("{defaults: {retry: {limit: 101, factor: 0.5, on: [timeout, x]}}}"), lines(
			`Plan p: spec.defaults.retry.limit: is 101: write how many attempts may follow the first, from 0 to 100 [E5704]`,
			`Plan p: spec.defaults.retry.factor: is 0.5: write what each wait is multiplied by, at least 1 [E5704]`,
			`Plan p: spec.defaults.retry.on[0]: unknown cause "timeout"; did you mean "Timeout"? (known: Timeout, Unavailable, Transient, Error) [E5704]`,
			`Plan p: spec.defaults.retry.on[1]: unknown cause "x" (known: Timeout, Unavailable, Transient, Error) [E5704]`)},
		{"no retry limit", plan("{defaults: {retry: {delay: -1s}}, tasks: [{name: a, retry: {}, " + render + "}, {name: b, retry: {limit: null}, " + render + "}, {name: c, retry: {limit: 0}, " + render + "}, {name: d, retry: null, " + render + "}]}"), lines(
			`Plan p: spec.tasks[0].retry.limit: is missing: write how many attempts may follow the first, from 0 to 100 [E5606]`,
			`Plan p: spec.tasks[1].retry.limit: is missing: write how many attempts may follow the first, from 0 to 100 [E5606]`,
			`Plan p: spec.defaults.retry.limit: is missing: write how many attempts may follow the first, from 0 to 100 [E5606]`,
			`Plan p: spec.defaults.retry.delay: is "-1s": write a time span such as 90s, 5m or 1h30m, or leave it out [E5704]`)},
		{"statuses", plan("{}\nstatus: {phase: Ready, tasks: [{name: a, phase: Completed, attempts: 1}, {name: gone, phase: Nope}, {name: b, attempts: -1, tasks: [{name: c, phase: failed, attempts: 2147483648}]}]}"), lines(
			`Plan p: status.phase: unknown phase "Ready" (known: Pending, Running, Suspended, Completed, Failed, Cancelled): write what it was before it was edited, or take it out`,
			`Plan p: status.tasks[1].phase: unknown phase "Nope" (known: `+phases+`): write what it was before it was edited, or take it out`,
			`Plan p: status.tasks[2].attempts: is -1: write how many attempts have failed, from 0 to 2147483647, or take it out`,
			`Plan p: status.tasks[2].tasks[0].phase: unknown phase "failed"; did you mean "Failed"? (known: `+phases+`): write what it was before it was edited, or take it out`,
			`Plan p: status.tasks[2].tasks[0].attempts: is 2147483648: write how many attempts have failed, from 0 to 2147483647, or take it out`)},
		{"status of a task", "apiVersion: stoop.dev/v1alpha1\nkind: Task\nmetadata: {name: t}\nspec: {" + render + "}\nstatus: {phase: Done, attempts: -1}", lines(
			`Task t: status.phase: unknown phase "Done" (known: `+phases+`): write what it was before it was edited, or take it out`,
			`Task t: status.attempts: is -1: write how many attempts have failed, from 0 to 2147483647, or take it out`)},
		{"keys", plan("{params: {a b: 1}, context: {a/b: c}, outputs: {'': 1, a.b: '{{x'}}"), lines(
			`Plan p: spec.params[a b]: can't be referred to as {{plan.params.KEY}}: make the key of letters, digits, _ and -`,
			`Plan p: spec.context[a/b]: can't be referred to as {{plan.context.KEY}}: make the key of letters, digits, _ and -`,
			`Plan p: spec.outputs[]: can't be referred to as {{task.KEY}}: make the key of letters, digits, _ and -`,
			`Plan p: spec.outputs[a.b]: can't be referred to as {{task.KEY}}: make the key of letters, digits, _ and -`,
			`Plan p: spec.outputs[a.b]: has a {{ at character 1 that no }} follows: write {{task.key}}, or {{{{ for two braces that are meant as such [E5402]`)},
		{"within a compound", inline("{name: a, type: compound, compound: {plan: {tasks: [{name: b, type: clone, target: x, clone: {upstreamRef: {oci: {}}}}], parallelism: -1}}}"), lines(
			`Plan p: spec.tasks[0].compound.plan.tasks[0].clone.upstreamRef.oci.image: is missing: write the image's reference, such as registry.example.com/packages/redis:v1 [E5606]`,
			`Plan p: spec.tasks[0].compound.plan.parallelism: is -1: write how many tasks may run at once, from 1 to 1024`)},
		{"too deep", plan(deep), "Plan p: " + deepField + `: is nested 17 deep: plans within compound tasks may be 16 deep; make Plan objects of the inner ones and name them by planRef`},
		{"annotations of others", "apiVersion: stoop.dev/v1alpha1\nkind: Plan\nmetadata: {name: p, annotations: {stoop.dev/target: a, stoop.dev/tarket: b}}", lines(
			`Plan p: metadata.annotations[stoop.dev/tarket]: unknown annotation of stoop; did you mean "stoop.dev/target"? (known: `+strings.Join(annotations, ", ")+`)`,
			`Plan p: metadata.annotations[stoop.dev/target]: isn't for objects of kind Plan: take it off; a Task has spec.target`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, coded(t, tt.in)) })
	}
}

// coded is what decoding and validating an object says, a line a problem, with
// the codes.
func coded(t testing.TB, text string) string {
	t.Helper()
	o, err := Decode(parse(t, text), 0)
	if err == nil {
		err = o.Validate()
	}
	return withCodes(err)
}

func withCodes(err error) string {
	var out []string
	for _, r := range fn.ResultsOf(err) {
		line := r.Text()
		if c := r.Tags[CodeTag]; c != "" {
			line += " [" + c + "]"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestTaskErrors(t *testing.T) {
	const types = "init, clone, edit, upgrade, replace, render, eval, tool_call, atomic, llm_call, compound, approve"
	tests := []struct{ name, spec, want string }{
		{"no type", "{}", "type: is missing: write one of " + types + " [E5606]"},
		{"no type but a member", "{init: {}, target: a}", "type: is missing: write type: init [E5606]"},
		{"unknown type", "{type: toolcall}", `type: unknown task type "toolcall"; did you mean "tool_call"? (known: ` + types + ") [E5303]"},
		{"no member", "{type: init, target: a}", "init: is missing: write init: {} in a task of type init [E5606]"},
		{"other member", "{type: init, target: a, render: {}}", "has type init but render set: write type: render, or init: {}"},
		{"two members", "{type: init, target: a, init: {}, edit: {sourceRef: {name: a}}}", "has init and edit set: keep init, which its type names, and make a task of each other"},
		{"other member of one that may be left out", "{type: render, target: a, init: {}}", "has type render but init set: write type: init, or render: {}"},
		{"no target", "{type: render}", `target: is missing: write the path of the package that the task works on, "." for the package that declares it [E5606]`},
		{"target that leads out", "{type: render, target: ../a}", `target: "../a" leads out of the package (..): write a path below the package that declares it`},
		{"target of one without", "{type: approve, target: a}", "target: isn't for tasks of type approve, which have no package: take it out (those with one: init, clone, edit, upgrade, replace, render, eval, tool_call)"},
		{"no target needed", "{type: tool_call, tool_call: {builtin: a}}", ""},
		{"inputs", "{type: render, target: a, inputs: {a: 1}}", "inputs: aren't for tasks of type render: put bindings into the fields of render instead (inputs are for eval, tool_call, atomic, llm_call)"},
		{"resources of others", "{type: approve, resources: {}}", "resources: aren't for tasks of type approve: take them out (they are for eval, tool_call)"},
		{"resources", "{type: tool_call, tool_call: {builtin: a}, resources: {memory: 64mb, cpu: x, cpuTime: 1, processes: -1}}", `resources.cpuTime: must be a time span, is a number: write 1s if these are seconds`},
		{"quantities", "{type: tool_call, tool_call: {builtin: a}, resources: {memory: 64mb, cpu: x, cpuTime: '1', processes: -1}}", lines(
			`resources.memory: is "64mb": write bytes as in Kubernetes, such as 64Mi`,
			`resources.cpu: is "x": write processors as in Kubernetes, such as 500m or 2`,
			`resources.cpuTime: is "1": write a time span such as 90s, 5m or 1h30m`,
			`resources.processes: is -1: write how many there may be, at least 1`)},
		{"priority", "{type: approve, priority: 2147483648}", "priority: is 2147483648: write a number from -2147483648 to 2147483647"},
		{"class", "{type: approve, class: my_class}", `class: "my_class" is no type of task and ` + labelRule},
		{"class that is a type", "{type: approve, class: llm_call}", ""},
		{"approve in time", "{type: approve, timeout: 5s, deadline: 1m, retry: {limit: 1}}", lines(
			`retry: isn't for tasks of type approve, which wait for as long as it takes: take it out`,
			`timeout: isn't for tasks of type approve, which wait for as long as it takes: take it out`,
			`deadline: isn't for tasks of type approve, which wait for as long as it takes: take it out`)},
		{"compound again", "{type: compound, compound: {planRef: p}, timeout: 5s, retry: {limit: 1}}", lines(
			`retry: isn't for tasks of type compound: the tasks in its plan are tried again by themselves, give it to those (or to the plan's defaults)`)},
		{"times", "{type: render, target: a, timeout: x, deadline: 0s, retry: {limit: -1}}", lines(
			`timeout: is "x": write a time span such as 90s, 5m or 1h30m`,
			`deadline: is "0s": write a time span such as 90s, 5m or 1h30m, or leave it out`,
			`retry.limit: is -1: write how many attempts may follow the first, from 0 to 100 [E5704]`)},
		{"needs", "{type: approve, needs: [{}, A, a, a, {task: b, type: data}, {task: c, type: Data}, {task: d, type: Blocking, outputKey: k, on: [Failed], default: 1}, {task: e, on: [failed]}, {task: f, outputKey: a.b}]}", lines(
			`needs[0].task: is missing: name the task, or PackageRevision, that has to end first [E5606]`,
			`needs[1].task: "A" `+subdomainRule,
			`needs[3]: needs "a" twice: keep one`,
			`needs[4].type: unknown type of need "data"; did you mean "Data"? (known: Blocking, Data, Conditional) [E5303]`,
			`needs[5].outputKey: is missing: a need of type Data names the output it is for [E5606]`,
			`needs[6].outputKey: is for needs of type Data: write type: Data, or take it out`,
			`needs[6].default: is for needs of type Data, where there is no such output: take it out`,
			`needs[6].on: is for needs of type Conditional: write type: Conditional, or take it out`,
			`needs[7].on[0]: unknown end of a task "failed"; did you mean "Failed"? (known: Completed, Failed, Blocked, Skipped, Cancelled)`,
			`needs[8].outputKey: "a.b" can't be an output's name: keys are made of letters, digits, _ and -`)},
		{"two outputs of one", "{type: approve, needs: [{task: a, outputKey: k}, {task: a, outputKey: l}]}", ""},
		{"outputs", "{type: tool_call, tool_call: {builtin: a}, outputs: {a.b: {}, c: {type: int}, d: {from: {}}, e: {from: {kind: A}}, f: {from: {field: a}}, g: {from: {kind: A, result: b}}}}", lines(
			`outputs[a.b]: can't be referred to as {{task.KEY}}: make the key of letters, digits, _ and -`,
			`outputs.c.type: unknown type "int" (known: string, integer, number, boolean, array, object, any) [E5303]`,
			`outputs.d.from: names no place: write kind and field of an item that the function returns, or result, the field of one of its results [E5606]`,
			`outputs.e.from.field: is missing: write the path of the item's field, such as data.cidr [E5606]`,
			`outputs.f.from.kind: is missing: write the kind of the item that the output is in [E5606]`,
			`outputs.g.from: has result and an item's field set: keep result, or kind and field`)},
		{"outputs from no function", "{type: approve, outputs: {a: {from: {result: b}}}}", "outputs.a.from: is for tasks of type eval and tool_call, whose function returns items and results: take it out"},
		{"mock", "{type: approve, outputs: {n: {type: integer}, s: {type: string}}, mock: {fail: x, outputs: {n: a, s: 1, free: []}}}", lines(
			`mock: has fail and outputs set: a task that fails has no outputs; keep one`,
			`mock.outputs.n: must be of type integer, is of type string [E5303]`,
			`mock.outputs.s: must be of type string, is of type integer [E5303]`)},

		{"no function", "{type: eval, target: a, eval: {}}", "eval: names no function: set one of image, exec and builtin [E5606]"},
		{"functions", "{type: eval, target: a, eval: {image: a b, exec: c, builtin: -d, tag: v1}}", lines(
			`eval: has image and exec and builtin set: keep the one that is the function`,
			`eval.image: "a b" has a space or control character`,
			`eval.builtin: "-d" begins with -`)},
		{"tag", "{type: eval, target: a, eval: {exec: c, tag: v1}}", "eval.tag: is for an image only: take it out"},
		{"config", "{type: eval, target: a, eval: {exec: c, config: {kind: 1}}, inputs: {a: b}}", lines(
			`eval.config.apiVersion: is missing: write config as an object with apiVersion and kind, or plain keys and values as the task's inputs [E5606]`,
			`eval.config.kind: is missing: write config as an object with apiVersion and kind, or plain keys and values as the task's inputs [E5606]`,
			`eval.config: is set and the task's inputs are too: keep config, with bindings in it, or inputs, which become the data of a ConfigMap`)},
		{"selectors", "{type: eval, target: a, eval: {exec: c, selectors: [{kind: A}, {}], exclude: [{labels: {}}]}}", lines(
			`eval.selectors[1]: selects nothing in particular: write what the resources have: apiVersion, kind, name, namespace, labels or annotations [E5606]`,
			`eval.exclude[0]: selects nothing in particular: write what the resources have: apiVersion, kind, name, namespace, labels or annotations [E5606]`)},
		{"replace", "{type: replace, target: a, replace: {}}", "replace.resources: is missing: list every file the package is to have; what it doesn't name is deleted [E5606]"},
		{"upgrade", "{type: upgrade, target: a, upgrade: {oldUpstreamRef: {name: a}, newUpstreamRef: {name: b}, strategy: x, onConflict: mine}}", lines(
			`upgrade.localPackageRevisionRef.name: is missing: name the PackageRevision to be upgraded [E5606]`,
			`upgrade.strategy: is "x" (known: resource-merge, copy-merge, force-delete-replace, fast-forward)`,
			`upgrade.onConflict: is "mine": write fail, local or upstream`)},
		{"atomic", "{type: atomic, atomic: {schema: {}}}", lines(
			`atomic.description: is missing: say what is to be done [E5606]`,
			`atomic.schema.properties: is missing: write the task's outputs, each with its schema [E5606]`)},
		{"llm_call", "{type: llm_call, llm_call: {schema: {type: string, properties: {a.b: {}}}, maxTokens: -1, temperature: 2.5}}", lines(
			`llm_call.prompt: is missing: write the question [E5606]`,
			`llm_call.schema.type: must be object: its properties are the outputs`,
			`llm_call.schema.properties[a.b]: can't be referred to as {{task.KEY}}: make the key of letters, digits, _ and -`,
			`llm_call.maxTokens: is -1: write how long the answer may be, at least 1`,
			`llm_call.temperature: is 2.5: write a number from 0 to 2`)},
		{"compound of nothing", "{type: compound, compound: {}}", "compound: names no plan: set plan (the plan itself) or planRef (the name of a Plan object) [E5606]"},
		{"compound of two", "{type: compound, compound: {plan: {}, planRef: a}}", "compound: has plan and planRef set: keep one"},
		{"compound", "{type: compound, compound: {planRef: A, params: {a b: 1}}}", lines(
			`compound.planRef: "A" `+subdomainRule,
			`compound.params[a b]: can't be referred to as {{plan.params.KEY}}: make the key of letters, digits, _ and -`)},
		{"bindings that can't be read", "{type: llm_call, llm_call: {prompt: 'a {{b}}'}, inputs: {a: ['{{x.']}}", lines(
			`inputs.a[0]: has a {{ at character 1 that no }} follows: write {{task.key}}, or {{{{ for two braces that are meant as such [E5402]`,
			`llm_call.prompt: has {{b}} at character 3, which names no output: write {{task.key}} [E5402]`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []struct{ text, before string }{
				{task("spec: " + tt.spec), "Task t: spec"},
				{inline("{name: a, " + strings.TrimPrefix(tt.spec, "{")), "Plan p: spec.tasks[0]"},
			} {
				var want []string
				for line := range strings.SplitSeq(tt.want, "\n") {
					switch {
					case line == "":
					case strings.HasPrefix(line, "has "):
						want = append(want, in.before+": "+line)
					default:
						want = append(want, in.before+"."+line)
					}
				}
				assert.Equal(t, strings.Join(want, "\n"), coded(t, in.text))
			}
		})
	}
	assert.Equal(t, `Task plan: metadata.name: "plan" is what bindings call the plan: give the task another name`,
		coded(t, "apiVersion: stoop.dev/v1alpha1\nkind: Task\nmetadata: {name: plan}\nspec: {type: approve}"))
	assert.Equal(t, `Task t: spec.plan: "A" `+subdomainRule, coded(t, task("spec: {plan: A, type: approve}")))
}

// What holds a binding is checked when it has its value, and not before.
func TestValidateBound(t *testing.T) {
	const text = `spec:
  type: clone
  target: a
  clone: {upstreamRef: {type: "{{plan.params.type}}", git: {repo: "{{plan.params.repo}}", ref: "{{ plan.params.ref }}", directory: "../{{plan.params.dir}}"}}}
`
	s := decode[*PlanTask](t, task(text))
	require.NoError(t, s.Validate())
	bind := func(params map[string]any) string {
		bound, err := s.Spec.Bind(func(b Binding) (any, error) { return b.In(map[string]any{"params": params}) })
		require.NoError(t, err)
		return withCodes(bound.ValidateBound(s, "spec"))
	}
	assert.Equal(t, lines(
		`Task t: spec.clone.upstreamRef.git.repo: is missing: write the repository's URL [E5606]`,
		`Task t: spec.clone.upstreamRef.git.ref: "--all" begins with -`,
		`Task t: spec.clone.upstreamRef.git.directory: "../x" leads upwards (..): write the path from the repository's root`),
		bind(map[string]any{"type": "git", "repo": "", "ref": "--all", "dir": "x"}))
	assert.Equal(t, `Task t: spec.clone.upstreamRef.type: is "{{x.y}}": write git or oci, or leave it out`,
		bind(map[string]any{"type": "{{x.y}}", "repo": "r", "ref": 1, "dir": "x"}), "a value isn't a binding")

	missing := strings.Replace(text, `ref: "{{ plan.params.ref }}", `, "", 1)
	assert.Equal(t, "Task t: spec.clone.upstreamRef.git.ref: is missing: write a branch, tag or commit [E5606]",
		coded(t, task(strings.Replace(missing, `type: "{{plan.params.type}}", `, "", 1))), "what has no binding is checked at once")
}

func TestQuantities(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "128": 128, "64Mi": 64 << 20, "1.5Gi": 3 << 29, "1k": 1000, "2M": 2e6, "1e3": 1000, "1E": 1e18, "1E3": 1000, "1Ei": 1 << 60, ".5Ki": 512, "1500m": 2} {
		assert.Equal(t, want, (&TaskResources{Memory: text}).MemoryBytes(), text)
	}
	for text, want := range map[string]float64{"": 0, "500m": 0.5, "2": 2, "0.25": 0.25, "100000u": 0.1, "1000000000n": 1} {
		assert.InDelta(t, want, (&TaskResources{CPU: text}).CPUs(), 1e-12, text)
	}
	for _, text := range []string{"-1", "+1", "1 Gi", "Gi", "1gi", "1GiB", "0x1", "1e", "NaN", "1e999", "."} {
		_, ok := parseQuantity(text)
		assert.False(t, ok, text)
	}
}

func BenchmarkValidate(b *testing.B) {
	var tasks []string
	for i := range 1000 {
		tasks = append(tasks, fmt.Sprintf(`{name: t%d, type: eval, target: a/t%d, needs: [t%d], eval: {builtin: set-namespace}, inputs: {a: "{{t%d.x}}", b: 1}}`, i, i, i, i))
	}
	l := decode[*Plan](b, inline(tasks...))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Validate(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/task")
}
