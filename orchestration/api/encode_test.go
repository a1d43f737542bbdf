package api

import (
	"testing"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func TestNode(t *testing.T) {
	r := decode[*PackageRevision](t, exported)
	text := marshal(t, Node(r))
	assert.Equal(t, r, decode[*PackageRevision](t, text), "reads back")
	assert.Equal(t, text, marshal(t, Node(decode[*PackageRevision](t, text))))

	p := &PackageRevisionResources{
		Header: Header{APIVersion: PorchV1Alpha1, Kind: "PackageRevisionResources", Metadata: ObjectMeta{Name: "123", Annotations: map[string]string{"b": "on", "a": ""}}},
		Spec:   PackageRevisionResourcesSpec{PackageName: "edge", Resources: map[string]string{"b.yaml": "a: 1\nb: 2\n", "a.txt": "", "c.txt": "\n  x\n"}},
		Status: PackageRevisionResourcesStatus{RenderStatus: RenderStatus{
			Error: "e",
			Result: ResultList{ExitCode: 1, Items: []FunctionResult{{Image: "i", Results: []fn.Result{{
				Message: "m", Field: &fn.Field{Path: "p", CurrentValue: []any{1, 1.5, true, nil, "null"}},
			}}}}},
		}},
	}
	assert.Equal(t, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevisionResources
metadata:
  name: "123"
  annotations:
    a: ""
    b: "on"
spec:
  packageName: edge
  resources:
    a.txt: ""
    b.yaml: |
      a: 1
      b: 2
    c.txt: |2

        x
status:
  renderStatus:
    result:
      exitCode: 1
      items:
      - image: i
        results:
        - message: m
          field:
            path: p
            currentValue:
            - 1
            - 1.5
            - true
            - null
            - "null"
    error: e
`, marshal(t, Node(p)))
}

// Any text comes back as it was from the YAML that a node is written as.
func FuzzNodeText(f *testing.F) {
	for _, text := range []string{"", "yes", "1.0", "~", "a: b", "#", "\n  x\n", "a \n\tb\n\n", "\r\n", "\u2028\u0085\ufeff", "\x00\x7f", "---\n...\n", "<<", "x\n ", "\n", "\t"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // decoded text never is
		}
		r := &PackageRevisionResources{Header: Header{APIVersion: PorchV1Alpha1, Kind: "PackageRevisionResources", Metadata: ObjectMeta{Name: text}},
			Spec: PackageRevisionResourcesSpec{Resources: map[string]string{text: text}}}
		if r.Metadata.Name == "" {
			r.Metadata.Name = "x"
		}
		assert.Equal(t, r, decode[*PackageRevisionResources](t, marshal(t, Node(r))))
	})
}

// What Node leaves out and what it keeps.
func TestNodeEmpty(t *testing.T) {
	r := &PackageRevision{Header: Header{Kind: "PackageRevision"}, Spec: PackageRevisionSpec{
		Tasks: []Task{{Type: TaskInit, Init: &InitTask{Keywords: []string{}}}, {Clone: &CloneTask{UpstreamRef: UpstreamRef{Git: &GitPackage{}}}}},
	}}
	assert.Equal(t, `kind: PackageRevision
spec:
  tasks:
  - type: init
    init: {}
  - clone:
      upstreamRef:
        git: {}
`, marshal(t, Node(r)))
	assert.Equal(t, "{}\n", marshal(t, Node(&Repository{})))
	assert.Equal(t, yaml.MappingNode, Node(&Repository{}).Kind)
}

// A retry limit of 0 says something: a plan that is written and read again has it
// still, and one that has none still has none.
func TestNodeKeepsRetryLimit(t *testing.T) {
	for _, retry := range []string{"{}", "{limit: 0}", "{limit: 3}"} {
		text := "apiVersion: stoop.dev/v1alpha1\nkind: Task\nmetadata: {name: a}\nspec: {type: render, target: ., retry: " + retry + "}\n"
		o, err := Decode(parse(t, text), 0)
		require.NoError(t, err)
		again, err := Decode(Node(o), 0)
		require.NoError(t, err)
		assert.Equal(t, o, again)
		if retry == "{}" {
			require.ErrorContains(t, again.Validate(), "spec.retry.limit: is missing")
		} else {
			require.NoError(t, again.Validate())
		}
	}
	assert.Equal(t, "spec:\n  retry:\n    limit: 0\n", marshal(t, Node(&PlanTask{Spec: TaskSpec{Retry: &RetryPolicy{}}})))
}

// What isPlainly lets pass needs no quotes.
func FuzzIsPlainly(f *testing.F) {
	for _, s := range []string{
		"", "a", "yes", "No", "off", "null", "true", "FALSE", "y", "nothing", "trueish", "onward", "~", "<<", "1", "01", "0x1f", "0b1", "0o7", "0_x1f",
		"1e3", "1e5a", "12e34", "1_000", "2001-01-01", "1:30", "0", "0a", "00x1", "1f", "12abc", "d0aac2c389e2", "9e107d9d372bb6826bd81d3542a419d6",
		"a b", "a: b", "-", "-a", ".5", ".inf", ".nan", "/a/b", "a/b.yaml", "shop-p0001", "infinity", "NaN", "1d", "0d1", "1a_b", "+1", "a\nb", "é",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isPlainly(s) {
			assert.False(t, yaml.IsYaml1_1NonString(scalarNode(yaml.NodeTagString, s)), "%q", s)
			assert.Equal(t, s+"\n", marshal(t, scalarNode("", s)))
		}
	})
}

func TestEqualSeesWhatDigestsSee(t *testing.T) {
	status := func(tasks ...InlineTaskStatus) *Plan { return &Plan{Status: PlanStatus{Tasks: tasks}} }
	one := func(outputs map[string]any, seen *Observed) *Plan {
		return status(InlineTaskStatus{Name: "a", TaskStatus: TaskStatus{Outputs: outputs, Observed: seen}})
	}
	all := []*Plan{
		{}, status(), status([]InlineTaskStatus{}...), {Status: PlanStatus{Counts: map[string]int{}}}, {Status: PlanStatus{Counts: map[string]int{"failed": 1}}},
		{Spec: PlanSpec{Cancel: &Cancel{}}}, {Spec: PlanSpec{Cancel: &Cancel{Requested: true}}}, {Status: PlanStatus{Tasks: []InlineTaskStatus{}}},
		one(nil, nil), one(map[string]any{}, nil), one(nil, &Observed{}), one(nil, &Observed{Spec: "a"}), one(nil, &Observed{Spec: "b"}),
		one(map[string]any{"n": int64(3)}, nil), one(map[string]any{"n": 3.0}, nil), one(map[string]any{"n": "3"}, nil), one(map[string]any{"n": nil}, nil),
		one(map[string]any{"n": []any{}}, nil), one(map[string]any{"n": []any(nil)}, nil), one(map[string]any{"n": map[string]any{}}, nil), one(map[string]any{"n": false}, nil),
		status(InlineTaskStatus{Name: "a"}, InlineTaskStatus{Name: "b"}), status(InlineTaskStatus{Name: "b"}, InlineTaskStatus{Name: "a"}),
	}
	for i, a := range all {
		for j, b := range all {
			assert.Equal(t, string(canonical(a)) == string(canonical(b)), Equal(a, b), "%d %d", i, j)
		}
	}
}
