package orchestration

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/utils"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// mock is an attempt in which nothing is done.
func (w *work) mock(a *attempt) (dag.Result, error) {
	m := w.spec.Mock
	if m != nil && m.Fail != "" {
		return dag.Result{}, dag.Mark(dag.Permanent, w.fail(string(dag.Orchestration), "mock.fail", m.Fail, nil))
	}
	outputs := map[string]any{}
	names, _ := w.outputNames()
	for _, name := range names {
		outputs[name] = zeroOf(w.outputType(name))
	}
	if m != nil {
		maps.Copy(outputs, m.Outputs)
	}
	a.done, a.outputs = true, outputs
	return dag.Result{Outputs: outputs}, nil
}

// outputType is the declared type of an output, empty when there is none.
func (w *work) outputType(name string) string {
	if o, ok := w.spec.Outputs[name]; ok {
		return o.Type
	}
	props, _ := w.answerSchema()["properties"].(map[string]any)
	prop, _ := props[name].(map[string]any)
	t, _ := prop["type"].(string)
	return t
}

// zeroOf is the zero value of a type, in the words of JSON Schema.
func zeroOf(t string) any {
	switch t {
	case "integer":
		return int64(0)
	case "number":
		return float64(0)
	case "boolean":
		return false
	case "array":
		return []any{}
	case "object":
		return map[string]any{}
	}
	return ""
}

// harvest takes a function's outputs from what it returned: TaskResponse items,
// which are no part of the package, and the fields and results that the task
// names.
func (w *work) harvest(pkg kptpkg.Tree, out *Outcome) (kptpkg.Tree, map[string]any, error) {
	h := &harvest{work: w, wanted: map[string][]string{}, found: map[string]string{}, outputs: map[string]any{}}
	if err := h.results(out.Results); err != nil {
		return pkg, nil, dag.Mark(dag.Permanent, err)
	}
	var changed []*kptpkg.File
	var gone []string
	for _, p := range pkg.Paths() {
		f := pkg.File(p)
		if !f.IsYAML() || f.Text() != nil && len(h.wanted) == 0 {
			continue // read from disk as it is: no answer of the function
		}
		kept, err := h.items(p, f.Docs())
		if err != nil {
			return pkg, nil, dag.Mark(dag.Permanent, err)
		}
		switch len(kept) {
		case len(f.Docs()):
		case 0:
			gone = append(gone, p)
		default:
			changed = append(changed, f.WithDocs(kept...))
		}
	}
	pkg, err := pkg.Without(gone...).With(changed...)
	return pkg, h.outputs, err
}

// harvest is the taking of a function's outputs on its way.
type harvest struct {
	*work
	wanted  map[string][]string // outputs by the kind of the item they are in, sorted
	found   map[string]string   // the file in which an output was found
	outputs map[string]any
}

// results takes the outputs that are results, and notes which ones are in items.
func (h *harvest) results(results []fn.Result) error {
	for _, name := range slices.Sorted(maps.Keys(h.spec.Outputs)) {
		from := h.spec.Outputs[name].From
		switch {
		case from == nil:
		case from.Result == "":
			h.wanted[from.Kind] = append(h.wanted[from.Kind], name)
		default:
			v, ok, err := resultValue(results, from.Result)
			if err != nil {
				return h.fail(codeBinding, "outputs."+name+".from.result", err.Error(), err)
			}
			if ok {
				h.outputs[name] = v
			}
		}
	}
	return nil
}

// items takes the outputs that are in the items of a file, and returns the items that
// are the package's.
func (h *harvest) items(path string, docs []*yamldoc.Doc) (kept []*yamldoc.Doc, err error) {
	for _, d := range docs {
		root, err := d.Root()
		if err != nil || root == nil {
			kept = append(kept, d)
			continue
		}
		n := yaml.NewRNode(root)
		if h.kind.tool && n.GetKind() == "TaskResponse" && n.GetApiVersion() == api.StoopV1Alpha1 {
			err = h.response(root)
		} else {
			kept = append(kept, d)
			err = h.pick(path, n.GetKind(), root)
		}
		if err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// response takes the outputs of a TaskResponse, but for those that the task finds
// elsewhere.
func (h *harvest) response(root *yaml.Node) error {
	v, err := api.Value(root)
	if err != nil {
		return h.fail(codeBinding, "", "the function's answer: "+err.Error(), err)
	}
	given, _ := v.(map[string]any)["outputs"].(map[string]any)
	for key, v := range given {
		if h.spec.Outputs[key].From == nil {
			h.outputs[key] = v
		}
	}
	return nil
}

// pick takes the outputs that an item of a kind holds, which is in the file at path.
func (h *harvest) pick(path, kind string, root *yaml.Node) error {
	for _, name := range h.wanted[kind] {
		from := h.spec.Outputs[name].From
		if from.Name != "" && from.Name != kptpkg.Name(root) {
			continue
		}
		if first, twice := h.found[name]; twice {
			return h.fail(codeBinding, "outputs."+name+".from", fmt.Sprintf("there is more than one %s (in %s and %s): name the one that is meant", kind, first, path), nil)
		}
		v, ok, err := fieldValue(root, from.Field)
		if err != nil {
			return h.fail(codeBinding, "outputs."+name+".from.field", err.Error(), err)
		}
		if ok {
			h.found[name], h.outputs[name] = path, v
		}
	}
	return nil
}

// fieldValue is the value of a field of an object, ok says whether it has one.
func fieldValue(root *yaml.Node, field string) (v any, ok bool, err error) {
	n, err := yaml.NewRNode(root).Pipe(yaml.Lookup(utils.SmarterPathSplitter(field, ".")...))
	if err != nil || n == nil {
		return nil, false, err
	}
	v, err = api.Value(n.YNode())
	return v, err == nil, err
}

// resultValue is the value that a function reported about a field, ok says whether it
// did.
func resultValue(results []fn.Result, field string) (v any, ok bool, err error) {
	for _, res := range results {
		switch {
		case res.Field == nil || res.Field.Path != field:
			continue
		case res.Field.ProposedValue != nil:
			v = res.Field.ProposedValue
		case res.Field.CurrentValue != nil:
			v = res.Field.CurrentValue
		default:
			return res.Message, true, nil
		}
		v, err = api.Value(api.ValueNode(v)) // with the types that outputs have
		return v, err == nil, err
	}
	return nil, false, nil
}

// checkOutputs returns the outputs that the task declares; what is missing or of
// another type is an error.
func (w *work) checkOutputs(outputs map[string]any) (map[string]any, error) {
	var declared []string
	if len(w.spec.Outputs) > 0 {
		declared = slices.Sorted(maps.Keys(w.spec.Outputs))
	}
	for _, name := range declared {
		o := w.spec.Outputs[name]
		v, ok := outputs[name]
		switch {
		case !ok && !o.Optional:
			return nil, w.fail(codeMissing, "outputs."+name, "the task yielded no output "+name+": correct where it comes from, or make it optional", nil)
		case ok:
			if err := o.Check(v); err != nil {
				return nil, w.fail(codeBinding, "outputs."+name+".type", "output "+name+" "+err.Error(), err)
			}
		}
	}
	size := 0
	for name, v := range outputs {
		size += len(name) + len(inputText(v))
	}
	if size > maxOutputs {
		return nil, dag.Mark(dag.Permanent, w.fail(codeBinding, "outputs", fmt.Sprintf("the outputs take %d bytes, more than %d: keep such values in a file of a package", size, maxOutputs), nil))
	}
	if len(outputs) == 0 {
		return nil, nil
	}
	return outputs, nil
}

// maxOutputs bounds what a task hands on, in bytes of JSON: it is kept in the
// status.
const maxOutputs = 64 << 10
