package orchestration_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/agent"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// teller answers every request with the outputs that are there for its model, and
// keeps what it was asked.
type teller struct {
	outputs map[string]map[string]any // by model
	mu      sync.Mutex
	asked   map[string]agent.Request
}

func (a *teller) Execute(_ context.Context, r agent.Request) (*agent.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[string]agent.Request{}
	}
	a.asked[r.Model] = r
	out := a.outputs[r.Model]
	if out == nil {
		out = map[string]any{"text": ""}
	}
	if err, ok := out["error"].(error); ok {
		return nil, err
	}
	return &agent.Response{Outputs: maps.Clone(out)}, nil
}

// values are outputs of all types, and some that YAML could take for others.
var values = map[string]any{
	"s": "text", "i": int64(7), "f": 2.5, "whole": 3.0, "big": int64(1) << 60, "huge": 1e21, "tiny": 1e-9, "t": true, "none": nil,
	"empty": "", "list": []any{"a", int64(2), map[string]any{"k": "deep"}}, "no-items": []any{}, "no-keys": map[string]any{},
	"map": map[string]any{"nested": map[string]any{"n": int64(1), "none": nil}, "l": []any{[]any{"x", "y"}}},
	"yes": "yes", "null": "null", "number": "1e3", "octal": "017", "date": "2026-01-02", "tilde": "~", "lines": "a\n b\n\n", "space": " x ",
	"like": "{{plan.params.x}} {{{{", "hash": "a # b", "colon": "a: b", "bang": "!!str x", "quote": `"'`, "crlf": "a\r\nb", "tab": "\tx", "uni": "\u2028 é \u0085",
	"number-like": "0x1F", "inf": ".inf", "merge": "<<", "anchor": "*a", "dash": "- a",
}

// Values keep their types from a task to the next, and through the file.
func TestBindingTypes(t *testing.T) {
	spec := "  tasks:\n  - {name: a, type: llm_call, llm_call: {model: a, prompt: x, schema: {type: object, properties: {"
	inputs := ""
	want := map[string]any{}
	for key, v := range values {
		spec += `"` + key + `": {}, `
		inputs += `      in-` + key + `: "{{a.` + key + `}}"` + "\n"
		want["in-"+key] = v
	}
	want["in-whole"] = int64(3) // as the file has it
	spec += "}}}}\n  - name: b\n    type: llm_call\n    llm_call: {model: b, prompt: y}\n    inputs:\n" + inputs
	ws := planTree(t, spec)
	says := &teller{outputs: map[string]map[string]any{"a": values}}
	once, _, err := runPlan(t.Context(), ws, orchestration.Options{Agent: says})
	require.NoError(t, err)
	assert.Equal(t, want, says.asked["b"].Inputs)

	// what the file says is the same: nothing has changed
	silent := &teller{}
	twice, report, err := runPlan(t.Context(), once, orchestration.Options{Agent: silent})
	require.NoError(t, err)
	assert.Empty(t, silent.asked)
	assert.True(t, taskAt(t, report, "b").Clean)
	assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, twice, "plan.yaml"))

	// a task that comes later gets the same values from the file
	more, err := once.With(kptpkg.NewFile("task.yaml", kptpkg.Regular, []byte(taskText("late", "  plan: p\n  type: llm_call\n  llm_call: {model: late, prompt: z}\n  inputs:\n"+inputs))))
	require.NoError(t, err)
	_, _, err = runPlan(t.Context(), more, orchestration.Options{Agent: silent})
	require.NoError(t, err)
	wantText, err := json.Marshal(want)
	require.NoError(t, err)
	gotText, err := json.Marshal(silent.asked["late"].Inputs)
	require.NoError(t, err)
	assert.JSONEq(t, string(wantText), string(gotText))
	assert.Equal(t, want, silent.asked["late"].Inputs)
}

// taskText is a Task object.
func taskText(name, spec string) string {
	return "apiVersion: stoop.dev/v1alpha1\nkind: Task\nmetadata:\n  name: " + name + "\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\nspec:\n" + spec
}

// What a binding comes to, and what is an error.
func TestBindings(t *testing.T) {
	// a answers with values; ended-badly fails and skipped is skipped
	const head = `  params: {p: [1, {q: 2}], x: outer, none: null}
  context: {who: me}
  tasks:
  - {name: a, type: llm_call, llm_call: {model: a, prompt: x, schema: {type: object, properties: {s: {}, i: {}, f: {}, t: {}, none: {}, list: {}, map: {}, empty: {}, like: {}, missing: {}}}}}
  - {name: failed, type: llm_call, retry: {limit: 0}, llm_call: {model: failed, prompt: x}}
  - {name: skipped, type: llm_call, needs: [{task: a, on: [Failed]}], llm_call: {model: skipped, prompt: x}}
`
	for name, c := range map[string]struct {
		task  string // b's fields
		want  any    // its input in
		code  string // of its error
		state string // instead
	}{
		"nested":           {task: `inputs: {in: "{{a.map.nested.n}}"}`, want: int64(1)},
		"index":            {task: `inputs: {in: "{{a.list[2].k}}"}`, want: "deep"},
		"indexes":          {task: `inputs: {in: "{{a.map.l[0][1]}}"}`, want: "y"},
		"map":              {task: `inputs: {in: "{{a.map.nested}}"}`, want: map[string]any{"n": int64(1), "none": nil}},
		"in a list":        {task: `inputs: {in: ["{{a.i}}", {k: "{{a.t}}"}]}`, want: []any{int64(7), map[string]any{"k": true}}},
		"embedded":         {task: `inputs: {in: "{{a.s}}/{{a.i}}/{{a.f}}/{{a.t}}/{{a.none}}/{{a.empty}}/"}`, want: "text/7/2.5/true/null//"},
		"spaces":           {task: `inputs: {in: "{{ a.i }}"}`, want: int64(7)},
		"escaped":          {task: `inputs: {in: "{{{{a.i}}}} {{a.i}}"}`, want: "{{a.i}} 7"},
		"not read twice":   {task: `inputs: {in: "{{a.like}}"}`, want: "{{plan.params.x}} {{{{"},
		"null":             {task: `inputs: {in: "{{a.none}}"}`, want: nil},
		"empty text":       {task: `inputs: {in: "{{a.empty}}"}`, want: ""},
		"param":            {task: `inputs: {in: "{{plan.params.p[1].q}}"}`, want: int64(2)},
		"null param":       {task: `inputs: {in: "{{plan.params.none}}"}`, want: nil},
		"context":          {task: `inputs: {in: "{{plan.context.who}}"}`, want: "me"},
		"operator's":       {task: `inputs: {in: "{{plan.context.run}}"}`, want: "operator"},
		"key of a binding": {task: `inputs: {in: {"{{a.i}}": 1}}`, want: map[string]any{"{{a.i}}": int64(1)}},

		"missing":            {task: `inputs: {in: "{{a.missing}}"}`, code: "E5405"},
		"missing, embedded":  {task: `inputs: {in: "x{{a.missing}}"}`, code: "E5405"},
		"missing key":        {task: `inputs: {in: "{{a.map.nowhere}}"}`, code: "E5405"},
		"missing index":      {task: `inputs: {in: "{{a.list[3]}}"}`, code: "E5405"},
		"key of a text":      {task: `inputs: {in: "{{a.s.k}}"}`, code: "E5405"},
		"below null":         {task: `inputs: {in: "{{a.none.k}}"}`, code: "E5405"},
		"missing need":       {task: `needs: [{task: a, outputKey: missing}]`, code: "E5405"},
		"map within a text":  {task: `inputs: {in: "x{{a.map}}"}`, code: "E5402"},
		"list within a text": {task: `inputs: {in: "{{a.list}} "}`, code: "E5402"},

		"default":                   {task: `inputs: {in: {from: a.missing, default: 5}}`, want: int64(5)},
		"default not used":          {task: `inputs: {in: {from: a.i, default: 5}}`, want: int64(7)},
		"default for a null":        {task: `inputs: {in: {from: a.none, default: 5}}`, want: nil},
		"default null":              {task: `inputs: {in: {from: a.missing, default: null}}`, want: nil},
		"default of a key":          {task: `inputs: {in: {from: a.map.nowhere, default: 5}}`, want: int64(5)},
		"default of a need":         {task: `needs: [{task: a, outputKey: missing, default: 5}], inputs: {in: "{{a.missing}}"}`, want: int64(5)},
		"default of a need, twice":  {task: `needs: [{task: a, outputKey: missing, default: 5}], inputs: {in: "{{a.missing}}", too: "{{a.missing}}"}`, want: int64(5)},
		"default, embedded":         {task: `needs: [{task: a, outputKey: missing, default: 5}], inputs: {in: "x{{a.missing}}"}`, want: "x5"},
		"default of both":           {task: `needs: [{task: a, outputKey: missing, default: 5}], inputs: {in: {from: a.missing, default: 6}}`, want: int64(5)},
		"two defaults":              {task: `inputs: {in: {from: a.missing, default: 6}, too: {from: a.missing, default: 5}}`, want: int64(6)},
		"one default of two":        {task: `inputs: {in: {from: a.missing, default: 6}, too: "{{a.missing}}"}`, code: "E5405"},
		"default, failed":           {task: `inputs: {in: {from: failed.text, default: 6}}`, want: int64(6)},
		"default of a need, failed": {task: `needs: [{task: failed, outputKey: text, default: 5}], inputs: {in: "{{failed.text}}"}`, want: int64(5)},
		"default, skipped":          {task: `inputs: {in: {from: skipped.text, default: 6}}`, want: int64(6)},
		"no default, failed":        {task: `inputs: {in: "{{failed.text}}"}`, state: "Blocked"},
		"no default, skipped":       {task: `inputs: {in: "{{skipped.text}}"}`, state: "Skipped"},
		"default of a need, param":  {task: `inputs: {in: {from: plan.params.nope, default: 6}}`, want: int64(6)},
		"default of context":        {task: `inputs: {in: {from: plan.context.nope, default: 6}}`, want: int64(6)},

		"injected":             {task: `needs: [{task: a, outputKey: i}], inputs: {in: 1}`, want: int64(1)},
		"injected as in":       {task: `needs: [{task: a, outputKey: map}]`, want: nil},
		"injected and renamed": {task: `needs: [{task: a, outputKey: i}], inputs: {in: "{{a.i}}"}`, want: int64(7)},
	} {
		t.Run(name, func(t *testing.T) {
			says := &teller{outputs: map[string]map[string]any{"a": maps.Clone(values), "failed": {"error": errors.New("no")}}}
			delete(says.outputs["a"], "missing")
			ws := planTree(t, head+"  - {name: b, type: llm_call, llm_call: {model: b, prompt: y}, "+c.task+"}\n")
			_, report, _ := runPlan(t.Context(), ws, orchestration.Options{Agent: says, Context: map[string]string{"run": "operator"}})
			require.NotNil(t, report)
			b := taskAt(t, report, "b")
			switch {
			case c.code != "":
				assert.Equal(t, "Failed", b.State.String())
				assert.NotContains(t, says.asked, "b", "never asked")
				found := false
				for _, res := range report.Results {
					found = found || res.Tags["task"] == "p/b" && res.Tags["code"] == c.code
				}
				assert.True(t, found, "%v", b.Err)
			case c.state != "":
				assert.Equal(t, c.state, b.State.String())
			default:
				require.Equal(t, "Completed", b.State.String(), "%v", b.Err)
				assert.Equal(t, c.want, says.asked["b"].Inputs["in"])
			}
			if name == "injected" || name == "injected as in" {
				key := map[string]string{"injected": "i", "injected as in": "map"}[name]
				assert.Equal(t, values[key], says.asked["b"].Inputs[key])
			}
			if name == "injected and renamed" {
				assert.Equal(t, map[string]any{"in": int64(7)}, says.asked["b"].Inputs)
			}
			assert.Equal(t, map[string]string{"who": "me", "run": "operator"}, says.asked["a"].Context)
		})
	}
}

// A text of a member takes scalars only.
func TestBindingsOfTexts(t *testing.T) {
	says := &teller{outputs: map[string]map[string]any{"a": values}}
	ws, report, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: a, type: llm_call, llm_call: {model: a, prompt: x, schema: {type: object, properties: {map: {}, i: {}, none: {}}}}}
  - {name: b, type: init, target: b, init: {description: "{{a.map}}"}}
  - {name: c, type: init, target: c, init: {description: "{{a.i}}"}}
  - {name: d, type: init, target: d, init: {description: "{{a.none}}"}}
`), orchestration.Options{Agent: says})
	require.ErrorContains(t, err, "(E5402)")
	assert.Equal(t, map[string]string{"a": "Completed", "b": "Failed", "c": "Completed", "d": "Completed"}, states(report))
	assert.Contains(t, fileText(t, ws, "c/Kptfile"), "description: \"7\"\n")
	assert.Contains(t, fileText(t, ws, "d/Kptfile"), "description: \"null\"\n")
}

// Outputs are of the types that the task declares, or it has failed.
func TestOutputsAreChecked(t *testing.T) {
	for name, c := range map[string]struct{ declares, code string }{
		"right":    {"i: {type: integer}, s: {type: string}", ""},
		"number":   {"i: {type: number}", ""},
		"wrong":    {"i: {type: string}", "E5402"},
		"null":     {"none: {type: string}", "E5402"},
		"missing":  {"nope: {type: string}", "E5405"},
		"optional": {"nope: {type: string, optional: true}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			says := &teller{outputs: map[string]map[string]any{"a": values}}
			_, report, _ := runPlan(t.Context(), planTree(t, "  tasks:\n  - {name: a, type: llm_call, retry: {limit: 0}, llm_call: {model: a, prompt: x}, outputs: {"+c.declares+"}}\n"), orchestration.Options{Agent: says})
			require.NotNil(t, report)
			if c.code == "" {
				assert.Equal(t, map[string]string{"a": "Completed"}, states(report))
				return
			}
			assert.Equal(t, map[string]string{"a": "Failed"}, states(report))
			assert.Contains(t, taskAt(t, report, "a").Err.Error(), "outputs.")
		})
	}
}

// Params go into compound tasks and outputs come out, with their types; names
// inside and outside don't meet.
func TestCompoundBindings(t *testing.T) {
	says := &teller{outputs: map[string]map[string]any{
		"a":     {"m": map[string]any{"n": int64(1)}},
		"inner": {"text": "inner"},
		"deep":  {"text": "deepest"},
	}}
	ws, _, err := runPlan(t.Context(), planTree(t, `
  params: {x: outer, y: 2}
  context: {who: outer}
  tasks:
  - {name: a, type: llm_call, llm_call: {model: a, prompt: x, schema: {type: object, properties: {m: {}}}}}
  - name: c
    type: compound
    compound:
      params: {given: "{{a.m}}", y: "{{plan.params.y}}", none: {from: a.m.q, default: [1]}}
      plan:
        params: {own: mine, given: overridden, y: 0}
        context: {who: inner}
        outputs:
          m: "{{plan.params.given.n}}"
          text: "{{a.text}} of {{plan.params.own}}"
          deep: "{{d.v}}"
          lit: [1, {k: "{{plan.params.none}}"}]
          def: {from: skipped.text, default: 3}
        tasks:
        - {name: a, type: llm_call, llm_call: {model: inner, prompt: "{{plan.params.y}} {{plan.context.who}}"}}
        - {name: skipped, type: llm_call, needs: [{task: a, on: [Failed]}], llm_call: {model: skipped, prompt: x}}
        - name: d
          type: compound
          compound:
            params: {z: "{{plan.params.given}}", w: "{{a.text}}"}
            plan:
              outputs: {v: ["{{plan.params.z}}", "{{plan.params.w}}", "{{deep.text}}"]}
              tasks:
              - {name: deep, type: llm_call, llm_call: {model: deep, prompt: x}}
  - {name: out, type: llm_call, llm_call: {model: out, prompt: z}, inputs: {all: ["{{c.m}}", "{{c.text}}", "{{c.deep}}", "{{c.lit}}", "{{c.def}}"]}}
`), orchestration.Options{Agent: says})
	require.NoError(t, err)
	assert.Equal(t, "2 inner", says.asked["inner"].Prompt)
	assert.Equal(t, map[string]string{"who": "inner"}, says.asked["deep"].Context)
	assert.Equal(t, []any{
		int64(1), "inner of mine", []any{map[string]any{"n": int64(1)}, "inner", "deepest"},
		[]any{int64(1), map[string]any{"k": []any{int64(1)}}}, int64(3),
	}, says.asked["out"].Inputs["all"])
	again, _, err := runPlan(t.Context(), ws, orchestration.Options{})
	require.NoError(t, err)
	assert.Equal(t, fileText(t, ws, "plan.yaml"), fileText(t, again, "plan.yaml"))
}

// The params of a compound are what its outputs see too, when nothing else in it
// looks at them.
func TestCompoundHandsParamsOn(t *testing.T) {
	says := &teller{outputs: map[string]map[string]any{"a": {"text": "value"}}}
	_, _, err := runPlan(t.Context(), planTree(t, `
  tasks:
  - {name: a, type: llm_call, llm_call: {model: a, prompt: x}}
  - name: c
    type: compound
    compound:
      params: {given: "{{a.text}}"}
      plan:
        outputs: {v: "{{plan.params.given}}"}
        tasks:
        - {name: a, type: init, target: a, init: {}}
  - {name: out, type: llm_call, llm_call: {model: out, prompt: "{{c.v}}"}}
`), orchestration.Options{Agent: says})
	require.NoError(t, err)
	assert.Equal(t, "value", says.asked["out"].Prompt)
}
