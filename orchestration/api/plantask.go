package api

import (
	"fmt"
	"math"
	"path"
	"reflect"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// PlanTask is the object of kind Task: one piece of work, on a package or for
// the tasks that come after it. Schema: stoop.dev/v1alpha1.
type PlanTask struct {
	Header `yaml:",inline"`
	// Spec is what the user wants.
	Spec TaskSpec `yaml:"spec,omitempty"`
	// Status is what came of it; set by stoop.
	Status TaskStatus `yaml:"status,omitempty"`
}

// InlineTask is a task written in a plan.
type InlineTask struct {
	// Name is the task's, a DNS label other than plan, unique in the plan.
	// Required; set by the user.
	Name     string `yaml:"name,omitempty"`
	TaskSpec `yaml:",inline"`
}

// WorkType is the type of a stoop Task.
type WorkType string

// The types of tasks. Those of [TaskType] make or change the package that is
// the target, as in a PackageRevision.
const (
	WorkInit     = WorkType(TaskInit)
	WorkClone    = WorkType(TaskClone)
	WorkEdit     = WorkType(TaskEdit)
	WorkUpgrade  = WorkType(TaskUpgrade)
	WorkReplace  = WorkType("replace")
	WorkRender   = WorkType("render")
	WorkEval     = WorkType("eval")
	WorkToolCall = WorkType("tool_call")
	WorkAtomic   = WorkType("atomic")
	WorkLLMCall  = WorkType("llm_call")
	WorkCompound = WorkType("compound")
	WorkApprove  = WorkType("approve")
)

// TaskSpec is what the user wants of a task. The member that Type names is set,
// and no other.
type TaskSpec struct {
	// Plan is the name of the plan that the task belongs to. Default none: it
	// runs by itself. Never set in a plan's own tasks; set by the user.
	Plan string `yaml:"plan,omitempty"`
	// Type says which member is set. Required; set by the user.
	Type WorkType `yaml:"type,omitempty"`
	// Target is the directory of the package that the task works on, below the
	// declaring package, "." for that itself; bindings to the plan's params and
	// context may be in it. All that the task reads and
	// writes is below it. Required for package tasks; default none for a
	// tool_call, which then sees its inputs only; not allowed for others. Set by
	// the user.
	Target string `yaml:"target,omitempty"`

	// Init makes a new package.
	Init *InitTask `yaml:"init,omitempty"`
	// Clone copies a package from elsewhere and remembers where it came from.
	Clone *CloneTask `yaml:"clone,omitempty"`
	// Edit copies another revision of the same package.
	Edit *EditTask `yaml:"edit,omitempty"`
	// Upgrade merges a newer upstream into the package.
	Upgrade *UpgradeWork `yaml:"upgrade,omitempty"`
	// Replace makes given files the package.
	Replace *ReplaceWork `yaml:"replace,omitempty"`
	// Render runs the package's pipeline. May be left out.
	Render *RenderWork `yaml:"render,omitempty"`
	// Eval runs one function on the package, and then its pipeline.
	Eval *EvalWork `yaml:"eval,omitempty"`
	// ToolCall runs a KRM function as a tool, for its outputs or on the target.
	ToolCall *ToolCallWork `yaml:"tool_call,omitempty"`
	// Atomic hands a piece of work to an agent.
	Atomic *AtomicWork `yaml:"atomic,omitempty"`
	// LLMCall asks a language model.
	LLMCall *LLMCallWork `yaml:"llm_call,omitempty"`
	// Compound runs another plan as one task.
	Compound *CompoundWork `yaml:"compound,omitempty"`
	// Approve waits until somebody approves. May be left out.
	Approve *ApproveWork `yaml:"approve,omitempty"`

	// Needs are the tasks, and PackageRevisions by name, that have to end
	// before this one begins. Default none; set by the user.
	Needs []TaskNeed `yaml:"needs,omitempty"`
	// Inputs are values for the task, bindings such as {{other.key}} among
	// them. A map with exactly the keys from and default is a binding with a
	// default. For an eval and a tool_call they are the data of its ConfigMap,
	// for atomic and llm_call they go with the prompt; not allowed for others.
	// Default none; set by the user.
	Inputs map[string]any `yaml:"inputs,omitempty"`
	// Outputs are what the task has to hand on, by name. Default: what comes,
	// unchecked; set by the user.
	Outputs map[string]OutputSpec `yaml:"outputs,omitempty"`

	// Timeout is for one attempt. Default that of the plan; set by the user.
	Timeout Duration `yaml:"timeout,omitempty"`
	// Deadline is for all attempts together, the waits between them included.
	// Default none; set by the user.
	Deadline Duration `yaml:"deadline,omitempty"`
	// Retry says which failures are tried again. Default that of the plan, else
	// 3 times for clone, edit, upgrade, tool_call, atomic and llm_call and never
	// for others. Set by the user.
	Retry *RetryPolicy `yaml:"retry,omitempty"`
	// Priority: of the tasks that could start, those with the highest do.
	// Default 0; set by the user.
	Priority int `yaml:"priority,omitempty"`
	// Class is what the plan's limits count the task for. Default its type; set
	// by the user.
	Class string `yaml:"class,omitempty"`
	// Resources bound the function that an eval or tool_call runs, beside what
	// the operator allows. Default none; set by the user.
	Resources *TaskResources `yaml:"resources,omitempty"`
	// Finally makes the task one that starts when all others of its plan have
	// ended. Default false; set by the user.
	Finally bool `yaml:"finally,omitempty"`
	// Suspend holds the task back until it is taken away. Default false; set by
	// the user.
	Suspend bool `yaml:"suspend,omitempty"`
	// Mock is what the task yields in a run with --mock. Default: outputs as
	// declared, with the zero values of their types; set by the user.
	Mock *MockSpec `yaml:"mock,omitempty"`
}

// Validate implements [Object]. What holds bindings is checked as far as that
// can be done before they have values; [TaskSpec.ValidateBound] does the rest.
func (t *PlanTask) Validate() error {
	p := t.problems()
	p.coded = true
	t.Header.validate(p)
	t.refuseAnnotations(p)
	if t.Metadata.Name != "" {
		if why := checkTaskName(t.Metadata.Name); why != "" {
			p.addf("metadata.name", "%s %s", quote(t.Metadata.Name), why)
		}
	}
	if t.Spec.Plan != "" {
		if why := checkSubdomain(t.Spec.Plan); why != "" {
			p.addf("spec.plan", "%s %s", quote(t.Spec.Plan), why)
		}
	}
	t.Spec.validate(p, "spec", 1)
	t.Status.validate(p, "status")
	return p.err()
}

// ValidateBound checks what [TaskSpec.Bind] returned for a task: all of the member
// that the type names, in which a text {{...}} now is just that. of and field are
// the object that the task is in and where, such as "spec" or "spec.tasks[3]".
func (s *TaskSpec) ValidateBound(of Object, field string) error {
	w := findWork(s.Type)
	if w == nil || w.member(s).IsNil() || s.Type == WorkCompound {
		return nil
	}
	p := &problems{ref: *of.Ref(), coded: true}
	s.checkMember(p, field+"."+string(s.Type), 1)
	return p.err()
}

// work is what a type of task may and must have.
type work struct {
	name     WorkType
	shape    string // how to write the member, for error messages
	optional bool   // whether the member may be left out
	target   targetRule
	inputs   bool // whether it takes inputs
	function bool // whether it runs a function: outputs can be taken from what that returns, and limits set
	index    int  // the member's place in TaskSpec
}

type targetRule int

const (
	noTarget targetRule = iota
	mayTarget
	mustTarget
)

// works are the types of tasks, in the order of the schema.
var works = makeWorks([]work{
	{name: WorkInit, shape: "init: {}", target: mustTarget},
	{name: WorkClone, shape: "clone: {upstreamRef: ...}", target: mustTarget},
	{name: WorkEdit, shape: "edit: {sourceRef: {name: ...}}", target: mustTarget},
	{name: WorkUpgrade, shape: "upgrade: {oldUpstreamRef: ..., newUpstreamRef: ..., localPackageRevisionRef: ...}", target: mustTarget},
	{name: WorkReplace, shape: "replace: {resources: ...}", target: mustTarget},
	{name: WorkRender, shape: "render: {}", optional: true, target: mustTarget},
	{name: WorkEval, shape: "eval: {image: ...}", target: mustTarget, inputs: true, function: true},
	{name: WorkToolCall, shape: "tool_call: {image: ...}", target: mayTarget, inputs: true, function: true},
	{name: WorkAtomic, shape: "atomic: {description: ...}", inputs: true},
	{name: WorkLLMCall, shape: "llm_call: {prompt: ...}", inputs: true},
	{name: WorkCompound, shape: "compound: {planRef: ...}"},
	{name: WorkApprove, shape: "approve: {}", optional: true},
})

// makeWorks finds the members of the types in TaskSpec.
func makeWorks(works []work) []work {
	for i := range works {
		for _, f := range fieldsOf(reflect.TypeFor[TaskSpec]()) {
			if f.name == string(works[i].name) {
				works[i].index = f.index[0]
			}
		}
	}
	return works
}

// findWork is the type of that name, nil when there is none.
func findWork(name WorkType) *work {
	for i := range works {
		if works[i].name == name {
			return &works[i]
		}
	}
	return nil
}

// member is the type's member of s, a pointer.
func (w *work) member(s *TaskSpec) reflect.Value { return reflect.ValueOf(s).Elem().Field(w.index) }

// workNames are the names of the types for which is says yes.
func workNames(is func(*work) bool) []string {
	var names []string
	for i := range works {
		if is(&works[i]) {
			names = append(names, string(works[i].name))
		}
	}
	return names
}

func anyWork(*work) bool { return true }

// WorkTypes are the types of tasks, in the order of the schema.
func WorkTypes() []WorkType {
	types := make([]WorkType, len(works))
	for i, w := range works {
		types[i] = w.name
	}
	return types
}

// maxTargetDepth leaves a package some of the depth that a directory may have.
const maxTargetDepth = 50

// CheckTarget says what is wrong with a target of the task, a path below the
// declaring package. The error is an [fn.ResultError] with no object and no field.
func (s *TaskSpec) CheckTarget(target string) error {
	why := checkSubpath(target)
	if why == "" && strings.Count(target, "/") >= maxTargetDepth {
		why = fmt.Sprintf("is more than %d directories deep", maxTargetDepth)
	}
	switch s.Type {
	case WorkInit, WorkClone, WorkEdit:
		if name := path.Base(target); why == "" && name != "." && !isLabel(name) {
			why = "names the package " + quote(name) + ", which " + labelRule
		}
	}
	if why == "" {
		return nil
	}
	return &fn.ResultError{Result: fn.Result{Message: quote(target) + " " + why, Severity: fn.Error}}
}

// validate checks the task found at field; deep is as in PlanSpec.validate.
func (s *TaskSpec) validate(p *problems, field string, deep int) {
	if w := s.validateType(p, field); w != nil {
		s.validateFor(w, p, field)
		if !w.member(s).IsNil() {
			s.validateMember(p, field, deep)
		}
	}
	switch bindings, err := Bindings(s.Target); {
	case s.Target == "":
	case err != nil:
		p.join(At(err, &p.ref, field+".target"))
	case len(bindings) == 0:
		p.join(At(s.CheckTarget(s.Target), &p.ref, field+".target"))
	default:
		for _, b := range bindings {
			if b.Task != planName {
				p.add(codeBinding, field+".target", "{{%s}}: a target has to be known before anything runs: use the plan's params or context", b)
			}
		}
	}
	b := binder{}
	b.task(s)
	p.join(At(b.problems.err(), &p.ref, field))
	if len(s.Needs) > 0 {
		validateNeeds(p, field+".needs", s.Needs)
	}
	s.Timeout.validate(p, field, "timeout")
	s.Deadline.validate(p, field, "deadline")
	if s.Retry != nil {
		s.Retry.validate(p, field+".retry")
	}
	if s.Priority < math.MinInt32 || s.Priority > math.MaxInt32 {
		p.addf(field+".priority", "is %d: write a number from %d to %d", s.Priority, math.MinInt32, math.MaxInt32)
	}
	if s.Class != "" && !isClass(s.Class) {
		p.addf(field+".class", "%s is no type of task and %s", quote(s.Class), labelRule)
	}
	if s.Resources != nil {
		s.Resources.validate(p, field+".resources")
	}
	if s.Mock != nil {
		s.Mock.validate(p, field+".mock", s.Outputs)
	}
}

// validateType checks that the member that the type names is set, and no other.
// It returns the type when it is one.
func (s *TaskSpec) validateType(p *problems, field string) *work {
	var set []string
	for i := range works {
		if !works[i].member(s).IsNil() {
			set = append(set, string(works[i].name))
		}
	}
	w := findWork(s.Type)
	switch {
	case s.Type == "" && len(set) == 1:
		p.missing(field+".type", "write type: %s", set[0])
	case s.Type == "":
		p.missing(field+".type", "write one of %s", strings.Join(workNames(anyWork), ", "))
	case w == nil:
		types := workNames(anyWork)
		p.add(codeType, field+".type", "unknown task type %s%s (known: %s)", quote(string(s.Type)), DidYouMean(string(s.Type), types), strings.Join(types, ", "))
	case len(set) > 1:
		p.addf(field, "has %s set: keep %s, which its type names, and make a task of each other", strings.Join(set, " and "), s.Type)
	case len(set) == 1 && w.member(s).IsNil():
		p.addf(field, "has type %s but %s set: write type: %s, or %s", s.Type, set[0], set[0], w.shape)
	case len(set) == 0 && !w.optional:
		p.missing(field+"."+string(s.Type), "write %s in a task of type %s", w.shape, s.Type)
	}
	return w
}

// validateFor checks what only tasks of some types may have.
func (s *TaskSpec) validateFor(w *work, p *problems, field string) {
	switch {
	case w.target == mustTarget && s.Target == "":
		p.missing(field+".target", `write the path of the package that the task works on, "." for the package that declares it`)
	case w.target == noTarget && s.Target != "":
		p.addf(field+".target", "isn't for tasks of type %s, which have no package: take it out (those with one: %s)", w.name,
			strings.Join(workNames(func(w *work) bool { return w.target != noTarget }), ", "))
	}
	if !w.inputs && len(s.Inputs) > 0 {
		p.addf(field+".inputs", "aren't for tasks of type %s: put bindings into the fields of %s instead (inputs are for %s)", w.name, w.name,
			strings.Join(workNames(func(w *work) bool { return w.inputs }), ", "))
	}
	if !w.function && s.Resources != nil {
		p.addf(field+".resources", "aren't for tasks of type %s: take them out (they are for %s)", w.name,
			strings.Join(workNames(func(w *work) bool { return w.function }), ", "))
	}
	if s.Retry != nil && w.name == WorkCompound {
		p.addf(field+".retry", "isn't for tasks of type compound: the tasks in its plan are tried again by themselves, give it to those (or to the plan's defaults)")
	}
	if w.name == WorkApprove {
		for _, f := range []struct {
			name string
			set  bool
		}{{"retry", s.Retry != nil}, {"timeout", s.Timeout != ""}, {"deadline", s.Deadline != ""}} {
			if f.set {
				p.addf(field+"."+f.name, "isn't for tasks of type approve, which wait for as long as it takes: take it out")
			}
		}
	}
	if len(s.Outputs) > 0 {
		validateOutputs(p, field+".outputs", s.Outputs, w.function)
	}
}

// validateMember checks the member, but for fields with bindings: those are
// checked once they have values.
func (s *TaskSpec) validateMember(p *problems, field string, deep int) {
	found := problems{ref: p.ref, coded: p.coded}
	s.checkMember(&found, field+"."+string(s.Type), deep)
	if len(found.errs) == 0 {
		return
	}
	bound := map[string]bool{}
	for _, b := range s.Bindings() {
		bound[field+"."+b.Field] = true
	}
	for _, err := range found.errs {
		if f := fn.ResultOf(err).Field; f == nil || !bound[f.Path] {
			p.join(err)
		}
	}
	p.more += found.more
}

// checkMember checks the member that the type names, which is set.
func (s *TaskSpec) checkMember(p *problems, field string, deep int) {
	switch s.Type {
	case WorkInit:
		s.Init.validate(p, field)
	case WorkClone:
		s.Clone.validate(p, field)
	case WorkEdit:
		s.Edit.validate(p, field)
	case WorkUpgrade:
		s.Upgrade.validate(p, field)
	case WorkReplace:
		s.Replace.validate(p, field)
	case WorkEval:
		s.Eval.validate(p, field, s.Inputs)
	case WorkToolCall:
		s.ToolCall.validate(p, field, s.Inputs)
	case WorkAtomic:
		s.Atomic.validate(p, field)
	case WorkLLMCall:
		s.LLMCall.validate(p, field)
	case WorkCompound:
		s.Compound.validate(p, field, deep)
	}
}
