package api

import (
	"slices"
	"strings"
)

// OutputSpec is what is known of an output beforehand.
type OutputSpec struct {
	// Type is string, integer, number, boolean, array, object or any. Default
	// any; set by the user.
	Type string `yaml:"type,omitempty"`
	// Optional says that the task may complete without it. Default false; set
	// by the user.
	Optional bool `yaml:"optional,omitempty"`
	// From is where the output of an eval or tool_call is found. Default: the
	// entry of that name in the outputs of a TaskResponse that the function
	// returns. Set by the user.
	From *OutputSource `yaml:"from,omitempty"`
}

// OutputSource is where an output is found: a field of an item that the
// function returned, or one of its results. Result, or Kind and Field, are set.
type OutputSource struct {
	// Kind of the item.
	Kind string `yaml:"kind,omitempty"`
	// Name of the item. Default: the only one of that kind.
	Name string `yaml:"name,omitempty"`
	// Field is the path of the field in the item, such as data.cidr.
	Field string `yaml:"field,omitempty"`
	// Result is the field.path of a result, whose proposed value is the output,
	// or else its current value, or else its message.
	Result string `yaml:"result,omitempty"`
}

// MockSpec is what a task yields in a run with --mock.
type MockSpec struct {
	// Outputs are the task's. Default as declared; set by the user.
	Outputs map[string]any `yaml:"outputs,omitempty"`
	// Fail makes it fail with this message. Default none; set by the user.
	Fail string `yaml:"fail,omitempty"`
}

// outputTypes are the types of JSON Schema, and any.
var outputTypes = []string{"string", "integer", "number", "boolean", "array", "object", "any"}

// Check says why v can't be the output, nil when it can: null isn't of any type
// but any. The error is an [fn.ResultError] with code E5303, no object and no
// field.
func (o OutputSpec) Check(v any) error {
	is := typeOf(v)
	if o.Type == "" || o.Type == "any" || o.Type == is || o.Type == "number" && is == "integer" {
		return nil
	}
	return codedError(codeType, "must be of type %s, is of type %s", o.Type, is)
}

// validateOutputs checks the outputs that a task declares; function says whether the
// task runs one that outputs can be taken from.
func validateOutputs(p *problems, field string, outputs map[string]OutputSpec, function bool) {
	checkKeys(p, field, outputs, "task")
	for _, key := range sortedKeys(outputs) {
		o, at := outputs[key], field+stepTo(key)
		if o.Type != "" && !slices.Contains(outputTypes, o.Type) {
			p.add(codeType, at+".type", "unknown type %s%s (known: %s)", quote(o.Type), DidYouMean(o.Type, outputTypes), strings.Join(outputTypes, ", "))
		}
		if o.From == nil {
			continue
		}
		if !function {
			p.addf(at+".from", "is for tasks of type %s and %s, whose function returns items and results: take it out", WorkEval, WorkToolCall)
			continue
		}
		o.From.validate(p, at+".from")
	}
}

func (s *OutputSource) validate(p *problems, field string) {
	item := s.Kind != "" || s.Name != "" || s.Field != ""
	switch {
	case s.Result != "" && item:
		p.addf(field, "has result and an item's field set: keep result, or kind and field")
	case s.Result != "":
	case !item:
		p.add(codeMissing, field, "names no place: write kind and field of an item that the function returns, or result, the field of one of its results")
	case s.Kind == "":
		p.missing(field+".kind", "write the kind of the item that the output is in")
	case s.Field == "":
		p.missing(field+".field", "write the path of the item's field, such as data.cidr")
	}
}

func (m *MockSpec) validate(p *problems, field string, outputs map[string]OutputSpec) {
	if m.Fail != "" && len(m.Outputs) > 0 {
		p.addf(field, "has fail and outputs set: a task that fails has no outputs; keep one")
	}
	checkKeys(p, field+".outputs", m.Outputs, "task")
	for _, key := range sortedKeys(m.Outputs) {
		if err := outputs[key].Check(m.Outputs[key]); err != nil {
			p.join(At(err, &p.ref, field+".outputs"+stepTo(key)))
		}
	}
}
