package api

import (
	"reflect"
	"strconv"
	"strings"
)

// UpgradeWork is an upgrade with what to do about conflicts.
type UpgradeWork struct {
	UpgradeTask `yaml:",inline"`
	// OnConflict is fail, local or upstream. Default fail; set by the user.
	OnConflict OnConflict `yaml:"onConflict,omitempty"`
}

// ReplaceWork makes given files the package. Comments of what was there before
// are kept where the new content has none.
type ReplaceWork struct {
	// Resources are the files' text by their path in the package. Required; set
	// by the user.
	Resources map[string]string `yaml:"resources,omitempty"`
}

// RenderWork runs the package's pipeline.
type RenderWork struct{}

// FunctionRef names a KRM function. Exactly one of Image, Exec and Builtin is
// set.
type FunctionRef struct {
	// Image is a container image as in a Kptfile's pipeline; one that is built
	// in may run in process.
	Image string `yaml:"image,omitempty"`
	// Tag is a semver constraint on the image's tag. Default none.
	Tag string `yaml:"tag,omitempty"`
	// Exec is an executable and its arguments. The operator has to allow it.
	Exec string `yaml:"exec,omitempty"`
	// Builtin is the name of a function that is built in, such as set-namespace.
	Builtin string `yaml:"builtin,omitempty"`
	// Config is the function config, an object. Default: a ConfigMap with the
	// task's inputs as data.
	Config map[string]any `yaml:"config,omitempty"`
}

// EvalWork runs one function on the package.
type EvalWork struct {
	FunctionRef `yaml:",inline"`
	// Selectors say which resources the function gets; none: all.
	Selectors []Selector `yaml:"selectors,omitempty"`
	// Exclude says which of them it doesn't get.
	Exclude []Selector `yaml:"exclude,omitempty"`
}

// Selector picks resources, as in a Kptfile's pipeline; all that is set has to
// hold.
type Selector struct {
	// APIVersion of the resource.
	APIVersion string `yaml:"apiVersion,omitempty"`
	// Kind of the resource.
	Kind string `yaml:"kind,omitempty"`
	// Name of the resource.
	Name string `yaml:"name,omitempty"`
	// Namespace of the resource.
	Namespace string `yaml:"namespace,omitempty"`
	// Labels that the resource has.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Annotations that the resource has.
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// ToolCallWork runs a KRM function as a tool. With a target it gets the
// package's resources and what it returns becomes the package; without one it
// gets none, and what it returns is only looked into for outputs.
type ToolCallWork struct {
	FunctionRef `yaml:",inline"`
}

// AtomicWork is a piece of work for an agent.
type AtomicWork struct {
	// Description is what is to be done. Required; set by the user.
	Description string `yaml:"description,omitempty"`
	// Model is the model's name. Default the operator's; set by the user.
	Model string `yaml:"model,omitempty"`
	// Schema is the JSON schema of the answer, an object; its properties are
	// the outputs. Default: one output, text. Set by the user.
	Schema map[string]any `yaml:"schema,omitempty"`
}

// LLMCallWork is a question to a language model.
type LLMCallWork struct {
	// Prompt is the question. Required; set by the user.
	Prompt string `yaml:"prompt,omitempty"`
	// System is what the model is told before. Default none; set by the user.
	System string `yaml:"system,omitempty"`
	// Model is the model's name. Default the operator's; set by the user.
	Model string `yaml:"model,omitempty"`
	// Schema is the JSON schema of the answer, an object; its properties are
	// the outputs. Default: one output, text. Set by the user.
	Schema map[string]any `yaml:"schema,omitempty"`
	// MaxTokens bounds the answer. Default the server's; set by the user.
	MaxTokens int `yaml:"maxTokens,omitempty"`
	// Temperature of the answer, from 0 to 2. Default the server's; set by the
	// user.
	Temperature *float64 `yaml:"temperature,omitempty"`
}

// CompoundWork runs a plan as one task. Exactly one of Plan and PlanRef is set.
type CompoundWork struct {
	// Plan is the plan itself.
	Plan *PlanSpec `yaml:"plan,omitempty"`
	// PlanRef is the name of a Plan object, which then doesn't run by itself.
	PlanRef string `yaml:"planRef,omitempty"`
	// Params are the plan's, over its own. Bindings may be among them, as in a
	// task's inputs. Default none; set by the user.
	Params map[string]any `yaml:"params,omitempty"`
}

// ApproveWork waits for an approval.
type ApproveWork struct {
	// Message says what is to be approved. Default none; set by the user.
	Message string `yaml:"message,omitempty"`
	// Approved lets the task complete. Set by who approves.
	Approved bool `yaml:"approved,omitempty"`
	// By says who approved. Set by who approves.
	By string `yaml:"by,omitempty"`
}

func (w *UpgradeWork) validate(p *problems, field string) {
	w.UpgradeTask.validate(p, field)
	switch c := w.OnConflict; c {
	case "", ConflictFail, ConflictLocal, ConflictUpstream:
	default:
		p.addf(field+".onConflict", "is %s: write %s, %s or %s", quote(string(c)), ConflictFail, ConflictLocal, ConflictUpstream)
	}
}

func (w *ReplaceWork) validate(p *problems, field string) {
	if len(w.Resources) == 0 {
		p.missing(field+".resources", "list every file the package is to have; what it doesn't name is deleted")
	}
}

// validate checks the function; inputs are those of the task.
func (r *FunctionRef) validate(p *problems, field string, inputs map[string]any) {
	var set []string
	for _, f := range []struct{ name, value string }{{"image", r.Image}, {"exec", r.Exec}, {"builtin", r.Builtin}} {
		if f.value != "" {
			set = append(set, f.name)
		}
	}
	switch len(set) {
	case 0:
		p.add(codeMissing, field, "names no function: set one of image, exec and builtin")
	case 1:
	default:
		p.addf(field, "has %s set: keep the one that is the function", strings.Join(set, " and "))
	}
	for _, f := range []struct{ name, value string }{{"image", r.Image}, {"builtin", r.Builtin}} {
		if why := checkWord(f.value); why != "" {
			p.addf(field+"."+f.name, "%s %s", quote(f.value), why)
		}
	}
	if r.Tag != "" && r.Image == "" {
		p.addf(field+".tag", "is for an image only: take it out")
	}
	if r.Config == nil {
		return
	}
	for _, key := range []string{"apiVersion", "kind"} {
		if v, _ := r.Config[key].(string); v == "" {
			p.missing(field+".config."+key, "write config as an object with apiVersion and kind, or plain keys and values as the task's inputs")
		}
	}
	if len(inputs) > 0 {
		p.addf(field+".config", "is set and the task's inputs are too: keep config, with bindings in it, or inputs, which become the data of a ConfigMap")
	}
}

func (w *EvalWork) validate(p *problems, field string, inputs map[string]any) {
	w.FunctionRef.validate(p, field, inputs)
	validateSelectors(p, field+".selectors", w.Selectors)
	validateSelectors(p, field+".exclude", w.Exclude)
}

func validateSelectors(p *problems, field string, selectors []Selector) {
	for i, s := range selectors {
		if isEmpty(reflect.ValueOf(s)) {
			p.add(codeMissing, field+"["+strconv.Itoa(i)+"]", "selects nothing in particular: write what the resources have: apiVersion, kind, name, namespace, labels or annotations")
		}
	}
}

func (w *ToolCallWork) validate(p *problems, field string, inputs map[string]any) {
	w.FunctionRef.validate(p, field, inputs)
}

func (w *AtomicWork) validate(p *problems, field string) {
	if w.Description == "" {
		p.missing(field+".description", "say what is to be done")
	}
	validateAnswer(p, field+".schema", w.Schema)
}

func (w *LLMCallWork) validate(p *problems, field string) {
	if w.Prompt == "" {
		p.missing(field+".prompt", "write the question")
	}
	validateAnswer(p, field+".schema", w.Schema)
	if w.MaxTokens < 0 {
		p.addf(field+".maxTokens", "is %d: write how long the answer may be, at least 1", w.MaxTokens)
	}
	if t := w.Temperature; t != nil && (*t < 0 || *t > 2) {
		p.addf(field+".temperature", "is %v: write a number from 0 to 2", *t)
	}
}

// validateAnswer checks the schema of an answer whose properties are outputs.
func validateAnswer(p *problems, field string, schema map[string]any) {
	if schema == nil {
		return
	}
	if t, ok := schema["type"]; ok && t != "object" {
		p.addf(field+".type", "must be object: its properties are the outputs")
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok || len(properties) == 0 {
		p.missing(field+".properties", "write the task's outputs, each with its schema")
	}
	checkKeys(p, field+".properties", properties, "task")
}

// validate checks a compound that is itself deep plans down.
func (w *CompoundWork) validate(p *problems, field string, deep int) {
	switch {
	case w.Plan == nil && w.PlanRef == "":
		p.add(codeMissing, field, "names no plan: set plan (the plan itself) or planRef (the name of a Plan object)")
	case w.Plan != nil && w.PlanRef != "":
		p.addf(field, "has plan and planRef set: keep one")
	case w.Plan != nil:
		w.Plan.validate(p, field+".plan", deep+1)
	default:
		if why := checkSubdomain(w.PlanRef); why != "" {
			p.addf(field+".planRef", "%s %s", quote(w.PlanRef), why)
		}
	}
	checkKeys(p, field+".params", w.Params, "plan.params")
}
