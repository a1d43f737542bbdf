package orchestration_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// tool is a runtime whose functions return an item and a result.
type tool struct {
	item   string
	result any
}

func (f tool) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	return &runtime.Function{Name: ref.Image, Run: func(_ context.Context, call *fn.Call) error {
		if f.item != "" {
			call.Items = append(call.Items, &fn.Object{Node: yaml.MustParse(f.item)})
		}
		if f.result != nil {
			call.Results = append(call.Results, fn.Result{Message: "said", Field: &fn.Field{Path: "spec.x", ProposedValue: f.result}})
		}
		return nil
	}}, nil
}

func runTool(t *testing.T, f tool, ws kptpkg.Tree) (*orchestration.Report, error) {
	_, report, err := orchestration.RunFiles(t.Context(), &orchestration.TaskHandler{Runtime: f}, ws, orchestration.Options{})
	require.NotNil(t, report, "%v", err)
	return report, err
}

// Of several outputs that could be in more than one item it's always the first that
// the error names.
func TestOutputsAmbiguous(t *testing.T) {
	for range 12 {
		ws := filesTree(t, map[string]string{
			"w/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n",
			"w/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: v}\n",
			"plan.yaml": planText(`  tasks:
  - name: look
    type: tool_call
    target: w
    tool_call: {image: look}
    outputs:
      c: {from: {kind: ConfigMap, field: data.k}}
      a: {from: {kind: ConfigMap, field: data.k}}
      b: {from: {kind: ConfigMap, field: data.k}}
`),
		})
		_, err := runTool(t, tool{}, ws)
		require.ErrorContains(t, err, "spec.tasks[0].outputs.a.from: task p/look: there is more than one ConfigMap (in a.yaml and b.yaml): name the one that is meant")
	}
}

// An integer that an output can't hold is an error, wherever it is, and no text.
func TestOutputsTooLarge(t *testing.T) {
	const response = "apiVersion: stoop.dev/v1alpha1\nkind: TaskResponse\nmetadata: {name: r}\noutputs: {n: "
	for name, c := range map[string]struct {
		from, want string
		tool       tool
	}{
		"fits":     {tool: tool{item: response + "9223372036854775807}"}},
		"response": {tool: tool{item: response + "9223372036854775808}"}, want: `spec.tasks[0]: task p/look: the function's answer: TaskResponse r: outputs.n: "9223372036854775808" is no integer of 64 bits`},
		"larger":   {tool: tool{item: response + "99999999999999999999}"}, want: `"99999999999999999999" is no integer of 64 bits`},
		"item":     {tool: tool{item: "apiVersion: v1\nkind: Thing\nmetadata: {name: x}\nspec: {n: 9223372036854775808}"}, from: "kind: Thing, field: spec.n", want: "spec.tasks[0].outputs.n.from.field: "},
		"result":   {tool: tool{result: uint64(1) << 63}, from: "result: spec.x", want: "spec.tasks[0].outputs.n.from.result: "},
	} {
		t.Run(name, func(t *testing.T) {
			outputs := ""
			if c.from != "" {
				outputs = "    outputs: {n: {from: {" + c.from + "}}}\n"
			}
			report, err := runTool(t, c.tool, planTree(t, "  tasks:\n  - name: look\n    type: tool_call\n    tool_call: {image: look}\n"+outputs))
			if c.want == "" {
				require.NoError(t, err)
				assert.Equal(t, map[string]any{"n": int64(9223372036854775807)}, taskAt(t, report, "look").Outputs)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "is no integer of 64 bits")
		})
	}
}
