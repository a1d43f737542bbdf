package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBindings(t *testing.T) {
	for text, want := range map[string][]Binding{
		"":                           nil,
		"plain } } {":                nil,
		`{"a": {"b": {}}}`:           nil,
		"{{a.b}}":                    {{Task: "a", Path: []any{"b"}, Whole: true}},
		"{{ \ta-1.b_C-2 }}":          {{Task: "a-1", Path: []any{"b_C-2"}, Whole: true}},
		"{{a.b.0[0][12].c}}":         {{Task: "a", Path: []any{"b", "0", 0, 12, "c"}, Whole: true}},
		" {{a.b}}":                   {{Task: "a", Path: []any{"b"}}},
		"{{a.b}}{{c.d}}":             {{Task: "a", Path: []any{"b"}}, {Task: "c", Path: []any{"d"}}},
		"{{plan.params.x}}":          {{Task: "plan", Path: []any{"params", "x"}, Whole: true}},
		"{{plan.context.x[0]}}":      {{Task: "plan", Path: []any{"context", "x", 0}, Whole: true}},
		"{{{{a.b}}}}":                nil,
		"{{{{{{a.b}}}}}}":            {{Task: "a", Path: []any{"b"}}},
		`{"x": {{a.b}}}`:             {{Task: "a", Path: []any{"b"}}},
		"ünï {{a.b}} }} and {{{{{ }": {{Task: "a", Path: []any{"b"}}},
	} {
		got, err := Bindings(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestBindingErrors(t *testing.T) {
	const hint = "write {{task.key}}, or {{{{ for two braces that are meant as such"
	for text, want := range map[string]string{
		"{{":                  "has a {{ at character 1 that no }} follows: " + hint,
		"ü {{a.b}":            "has a {{ at character 3 that no }} follows: " + hint,
		"{{}}":                "has {{}} at character 1, which doesn't begin with the name of a task or with plan: " + hint,
		"x {{ .Values.a }}":   "has {{ .Values.a }} at character 3, which doesn't begin with the name of a task or with plan: " + hint,
		"{{{a.b}}}":           `has {{{a.b}} at character 1, which doesn't begin with the name of a task or with plan: ` + hint,
		"{{A.b}}":             "has {{A.b}} at character 1, which doesn't begin with the name of a task or with plan: " + hint,
		"{{a}}":               "has {{a}} at character 1, which names no output: write {{task.key}}",
		"{{a.}}":              `has {{a.}} at character 1, which has the key "": keys are made of letters, digits, _ and -`,
		"{{a.b c}}":           `has {{a.b c}} at character 1, which has the key "b c": keys are made of letters, digits, _ and -`,
		"{{a[0]}}":            "has {{a[0]}} at character 1, which names no output before the [: write {{task.key[0]}}",
		"{{a.b[}}":            "has {{a.b[}} at character 1, which has a [ without a number and ] behind: items of lists count from [0]",
		"{{a.b[-1]}}":         "has {{a.b[-1]}} at character 1, which has a [ without a number and ] behind: items of lists count from [0]",
		"{{a.b[01]}}":         "has {{a.b[01]}} at character 1, which has a [ without a number and ] behind: items of lists count from [0]",
		"{{a.b[9999999999]}}": "has {{a.b[9999999999]}} at character 1, which has a [ without a number and ] behind: items of lists count from [0]",
		"{{a.b[0]c}}":         "has {{a.b[0]c}} at character 1, which has something other than . or [ after a ]: " + hint,
		"{{plan.x}}":          "has {{plan.x}} at character 1, which is nothing that a plan has: write {{plan.params.key}} or {{plan.context.key}}",
		"{{plan.params}}":     "has {{plan.params}} at character 1, which is nothing that a plan has: write {{plan.params.key}} or {{plan.context.key}}",
		"{{plan.params[0]}}":  "has {{plan.params[0]}} at character 1, which names no key before the [: write {{plan.params.key[0]}}",
		"{{a.b}} {{\x00}}":    `has {{"\x00"}} at character 9, which doesn't begin with the name of a task or with plan: ` + hint,
	} {
		_, err := Bindings(text)
		assert.Equal(t, want+" [E5402]", withCodes(err), text)
		_, err = Expand(text, func(Binding) (any, error) { return "", nil })
		assert.Equal(t, want+" [E5402]", withCodes(err), text)
	}
}

// values is a lookup in outputs by task.
func values(outputs map[string]map[string]any) func(Binding) (any, error) {
	return func(b Binding) (any, error) { return b.In(outputs[b.Task]) }
}

func TestExpand(t *testing.T) {
	lookup := values(map[string]map[string]any{"a": {
		"text": "x {{a.text}}", "int": int64(3), "whole": 3.0, "float": 0.5, "large": 1e21, "yes": true, "null": nil, "number": json.Number("12"),
		"list": []any{int64(1), map[string]any{"k": "v"}}, "map": map[string]any{"k": []any{}}, "words": []string{"w"}, "labels": map[string]string{"l": "m"}, "empty": "",
	}})
	for text, want := range map[string]any{
		"":                        "",
		"}}}}":                    "}}}}",
		"{{a.int}}":               int64(3),
		"{{a.null}}":              nil,
		"{{a.list}}":              []any{int64(1), map[string]any{"k": "v"}},
		"{{a.list[1].k}}":         "v",
		"{{a.words[0]}}":          "w",
		"{{a.labels.l}}":          "m",
		"{{a.map.k}}":             []any{},
		"{{a.text}}":              "x {{a.text}}",
		"<{{a.text}}>":            "<x {{a.text}}>",
		"{{a.int}} ":              "3 ",
		"{{a.int}}{{a.int}}":      "33",
		"{{a.whole}},{{a.float}}": "3,0.5",
		"{{a.large}} {{a.yes}}":   "1e+21 true",
		"{{a.null}}/{{a.number}}": "null/12",
		"[{{a.empty}}]":           "[]",
		"{{{{a.int}}}}":           "{{a.int}}",
		"{{{{{{a.int}}}}}}":       "{{3}}",
		`{"n": {{a.int}}}`:        `{"n": 3}`,
		"{{a.int}} }} }}}}":       "3 }} }}",
	} {
		got, err := Expand(text, lookup)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"x {{a.list}}":    "has {{a.list}} within a text, which is of type array: bind it by itself, or one of its fields [E5402]",
		"x {{a.map}}":     "has {{a.map}} within a text, which is of type object: bind it by itself, or one of its fields [E5402]",
		"{{a.nothing}}":   "{{a.nothing}} has no value: there is no a.nothing [E5405]",
		"{{a.list[2].k}}": "{{a.list[2].k}} has no value: there is no a.list[2] [E5405]",
		"{{a.list.k}}":    "{{a.list.k}} has no value: there is no a.list.k [E5405]",
		"{{a.text[0]}}":   "{{a.text[0]}} has no value: there is no a.text[0] [E5405]",
		"{{a.map[0]}}":    "{{a.map[0]}} has no value: there is no a.map[0] [E5405]",
		"{{a.null.k}}":    "{{a.null.k}} has no value: there is no a.null.k [E5405]",
		"-{{b.k}}":        "{{b.k}} has no value: there is no b.k [E5405]",
	} {
		_, err := Expand(text, lookup)
		assert.Equal(t, want, withCodes(err), text)
	}
}

func TestTaskBindings(t *testing.T) {
	l := decode[*Plan](t, planExample)
	got := map[string][]string{}
	for _, task := range l.Spec.Tasks {
		for _, b := range task.Bindings() {
			got[task.Name] = append(got[task.Name], b.Field+" = "+b.String())
		}
	}
	assert.Equal(t, map[string][]string{
		"ipam":   {"inputs.site = plan.params.site.name", "inputs.size = plan.params.sizes[0]"},
		"edge":   {"clone.upstreamRef.git.repo = plan.params.repo", "clone.upstreamRef.git.ref = plan.params.sizes[0]"},
		"set":    {"eval.config.data.namespace = ipam.cidr", "eval.selectors[0].labels.app = plan.context.ticket"},
		"new":    {"init.description = ask.answer", "init.keywords[0] = ask.answer"},
		"ask":    {"llm_call.prompt = ipam.cidr"},
		"agent":  {"inputs.deep[0].list[0] = ask.answer"},
		"go2":    {"approve.message = ask.answer"},
		"nested": {"compound.params.cidr = ipam.cidr"},
	}, got)
	assert.Equal(t, BoundField{Binding{Task: "plan", Path: []any{"params", "sizes", 0}, Whole: true, Default: int64(3), HasDefault: true}, "inputs.size"}, l.Spec.Tasks[0].Bindings()[1])
	assert.Equal(t, []BoundField{{Binding{Task: "ask", Path: []any{"answer"}, Whole: true, Default: "none", HasDefault: true}, "all"}, {Binding{Task: "ipam", Path: []any{"cidr"}, Whole: true}, "cidr"}}, BindingsIn(l.Spec.Outputs))
	assert.Equal(t, []BoundField{{Binding{Task: "a", Path: []any{"b"}, Whole: true}, "from"}}, BindingsIn(map[string]any{"from": "{{a.b}}", "default": 1}), "these are names")
}

func TestBind(t *testing.T) {
	l := decode[*Plan](t, planExample)
	before := decode[*Plan](t, planExample)
	plan := map[string]any{"params": l.Spec.Params, "context": l.Spec.Context}
	lookup := values(map[string]map[string]any{"plan": plan, "ipam": {"cidr": "{{x.y}}"}, "ask": {"answer": int64(7)}})
	bound := map[string]*TaskSpec{}
	for _, task := range l.Spec.Tasks {
		s, err := task.Bind(lookup)
		require.NoError(t, err, task.Name)
		require.NoError(t, s.ValidateBound(l, "spec"), task.Name)
		bound[task.Name] = s
	}
	assert.Empty(t, cmp.Diff(before, l), "the task itself isn't changed")
	assert.Equal(t, map[string]any{"site": "edge", "size": int64(1)}, bound["ipam"].Inputs)
	assert.Equal(t, &GitPackage{Repo: "https://example.com/packages", Ref: "v1", Directory: "edge"}, bound["edge"].Clone.UpstreamRef.Git)
	assert.Equal(t, map[string]any{"namespace": "{{x.y}}"}, bound["set"].Eval.Config["data"])
	assert.Equal(t, []Selector{{Kind: "Deployment", Labels: map[string]string{"app": "NET-1"}}}, bound["set"].Eval.Selectors)
	assert.Equal(t, &InitTask{Description: "7", Keywords: []string{"7"}}, bound["new"].Init)
	assert.Equal(t, "Which of {{x.y}}? {{literal}}", bound["ask"].LLMCall.Prompt)
	assert.Equal(t, map[string]any{"deep": []any{map[string]any{"list": []any{int64(7)}}}}, bound["agent"].Inputs)
	assert.Equal(t, "ok, 7?", bound["go2"].Approve.Message)
	assert.Equal(t, map[string]any{"cidr": "{{x.y}}"}, bound["nested"].Compound.Params)
	assert.Equal(t, l.Spec.Tasks[12].Compound.Plan, bound["nested"].Compound.Plan)
	assert.Equal(t, map[string]string{"Kptfile": "{{not.bound"}, bound["swap"].Replace.Resources)

	out, err := BindMap(l.Spec.Outputs, values(map[string]map[string]any{"ipam": {"cidr": "c"}}))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"all": "none", "cidr": "c"}, out)
	out, err = BindMap(map[string]any{"a": []any{"{{a.b}}", "c"}, "d": nil}, values(map[string]map[string]any{"a": {"b": true}}))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"a": []any{true, "c"}, "d": nil}, out)
}

func TestBindErrors(t *testing.T) {
	s := decode[*PlanTask](t, task(`spec:
  type: eval
  target: .
  eval: {builtin: "{{a.list}}", selectors: [{name: "{{a.b}}", labels: {x.y: "{{a.c}}"}}]}
  inputs: {from: a.b, default: 1, deep: {from: "{{a.b}}", default: 1}, k: [{from: a.b, default: ~}, "-{{a.list}}"]}
`))
	assert.Equal(t, `Task t: spec.inputs.deep.from: is "{{a.b}}", which doesn't begin with the name of a task or with plan: write {{task.key}}, or {{{{ for two braces that are meant as such: beside default it is written without braces, as in task.key [E5402]`, withCodes(s.Validate()))
	_, err := s.Spec.Bind(values(map[string]map[string]any{"a": {"list": []any{}}}))
	assert.Equal(t, lines(
		`inputs.deep.from: is "{{a.b}}", which doesn't begin with the name of a task or with plan: write {{task.key}}, or {{{{ for two braces that are meant as such: beside default it is written without braces, as in task.key [E5402]`,
		`inputs.k[1]: has {{a.list}} within a text, which is of type array: bind it by itself, or one of its fields [E5402]`,
		`eval.builtin: must be a string, and {{a.list}} is of type array: bind one of its fields [E5402]`,
		`eval.selectors[0].name: {{a.b}} has no value: there is no a.b [E5405]`,
		`eval.selectors[0].labels[x.y]: {{a.c}} has no value: there is no a.c [E5405]`), withCodes(err))
	assert.Equal(t, `Task t: spec.tasks[1].eval.builtin: must be a string, and {{a.list}} is of type array: bind one of its fields [E5402]`,
		strings.Split(withCodes(At(err, s.Ref(), "spec.tasks[1]")), "\n")[2])

	gone := errors.New("gone")
	_, err = BindMap(map[string]any{"x": []any{"{{a.b}}"}}, func(Binding) (any, error) { return nil, gone })
	assert.ErrorIs(t, err, gone)
	assert.Equal(t, "Plan p: spec.outputs.x[0]: gone", withCodes(At(err, &fn.ResourceRef{Kind: "Plan", Name: "p"}, "spec.outputs")))
	other := &fn.ResultError{Result: fn.Result{Message: "m", ResourceRef: &fn.ResourceRef{Kind: "Task", Name: "a"}}}
	assert.Equal(t, "Task a: m", withCodes(At(other, s.Ref(), "spec")))
	assert.NoError(t, At(nil, nil, "x"))
}

func TestOutputCheck(t *testing.T) {
	is := map[string][]any{
		"string": {"", "x"}, "integer": {int64(1), 1, 2.0, json.Number("3")}, "number": {1, 1.5, json.Number("0.5")}, "boolean": {true},
		"array": {[]any{}, []string{"a"}}, "object": {map[string]any{}, map[string]string{}}, "any": {nil, 1, "x"}, "": {nil},
	}
	all := []any{nil, "x", 1, 1.5, true, []any{}, map[string]any{}}
	for typ, good := range is {
		for _, v := range good {
			assert.NoError(t, OutputSpec{Type: typ}.Check(v), "%s %v", typ, v)
		}
		if typ == "" || typ == "any" {
			continue
		}
		bad := 0
		for _, v := range all {
			if (OutputSpec{Type: typ}).Check(v) != nil {
				bad++
			}
		}
		want := len(all) - 1
		if typ == "number" {
			want--
		}
		assert.Equal(t, want, bad, typ)
	}
}

func FuzzBindings(f *testing.F) {
	for _, text := range []string{"", "{{a.b}}", "{{a.b}}}}", "{{{{a}}}}", "x{{ plan.params.x[0] }}{{b.c}}", "{{", "}}", "{{{a.b}}}", "{{a.b[", "ü{{a.ü}}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := Bindings(text)
		var looked []Binding
		value := "{{not.again}}"
		out, expandErr := Expand(text, func(b Binding) (any, error) { looked = append(looked, b); return value, nil })
		if (err == nil) != (expandErr == nil) {
			t.Fatalf("Bindings: %v, Expand: %v", err, expandErr)
		}
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("the error is %d long", len(err.Error()))
			}
			return
		}
		if d := cmp.Diff(found, looked); d != "" {
			t.Error(d)
		}
		for _, b := range found {
			again, err := Bindings("{{" + b.String() + "}}")
			b.Whole = true
			if d := cmp.Diff([]Binding{b}, again); err != nil || d != "" {
				t.Error(err, d)
			}
		}
		if len(found) == 0 && !strings.Contains(text, "{{") && out != text {
			t.Errorf("%q became %q", text, out)
		}
		// any text can be written so that it comes out as it is
		if strings.Contains(text, "{{") && !strings.Contains(text, "{{{") && !strings.Contains(text, "}}}") {
			escaped := strings.NewReplacer("{{", "{{{{", "}}", "}}}}").Replace(text)
			if back, err := Expand(escaped, nil); err != nil || back != text {
				t.Errorf("%q came back as %q, %v", text, back, err)
			}
		}
	})
}

func BenchmarkBind(b *testing.B) {
	s := decode[*PlanTask](b, task(`spec: {type: eval, target: ., eval: {builtin: set-namespace}, inputs: {a: "{{x.a}}", b: "{{x.b}}"}}`))
	outputs := map[string]any{"a": "1", "b": "2"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Spec.Bind(func(b Binding) (any, error) { return b.In(outputs) }); err != nil {
			b.Fatal(err)
		}
	}
}

// What bindings put in is bounded, however it is put: plans within plans could
// otherwise hand on ten times what they got.
func TestBindBound(t *testing.T) {
	big := strings.Repeat("x", maxBound/4)
	wide := []any{map[string]any{"k": big}, big}
	for name, in := range map[string]struct {
		value any
		n     int
	}{
		"texts":  {big, 5},
		"values": {wide, 3},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := func(Binding) (any, error) { return in.value, nil }
			list := make([]any, in.n)
			for i := range list {
				list[i] = "{{a.b}}"
			}
			_, err := BindMap(map[string]any{"few": list[:in.n-2]}, lookup)
			require.NoError(t, err)
			_, err = BindMap(map[string]any{"many": list}, lookup)
			require.ErrorContains(t, err, "bindings may put in 1 MiB altogether")
			s := decode[*PlanTask](t, task(`spec: {type: tool_call, tool_call: {builtin: x}, inputs: {a: 1}}`)).Spec
			s.Inputs = map[string]any{"many": list}
			_, err = s.Bind(lookup)
			require.ErrorContains(t, err, "bindings may put in 1 MiB altogether")
		})
	}
	_, err := Expand(strings.Repeat("{{a.b}}", 5), func(Binding) (any, error) { return big, nil })
	require.ErrorContains(t, err, "bindings may put in 1 MiB altogether")
}

func BenchmarkDigest(b *testing.B) {
	s := decode[*PlanTask](b, task(`spec: {type: eval, target: ., eval: {builtin: set-namespace}, inputs: {a: "{{x.a}}", b: "{{x.b}}"}}`))
	b.ReportAllocs()
	for b.Loop() {
		s.Spec.Digest()
	}
}
