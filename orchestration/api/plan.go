package api

import (
	"fmt"
	"strconv"
)

// Plan joins tasks: those written in it and the Task objects that name it. It
// says how many run at once, what happens when one fails, and for how long.
// Schema: stoop.dev/v1alpha1.
type Plan struct {
	Header `yaml:",inline"`
	// Spec is what the user wants.
	Spec PlanSpec `yaml:"spec,omitempty"`
	// Status is what came of it; set by stoop.
	Status PlanStatus `yaml:"status,omitempty"`
}

// PlanSpec is what the user wants of a plan.
type PlanSpec struct {
	// Params are values that tasks refer to as {{plan.params.KEY}}. Default
	// none; set by the user, and by a compound task for the plan it runs.
	Params map[string]any `yaml:"params,omitempty"`
	// Context are words about the run for the executors, referred to as
	// {{plan.context.KEY}}. The operator's (--context) win over these. Default
	// none; set by the user.
	Context map[string]string `yaml:"context,omitempty"`
	// Tasks are tasks without an object of their own. Default none; set by the
	// user.
	Tasks []InlineTask `yaml:"tasks,omitempty"`
	// Finally are tasks that start when all others have ended, however that
	// was. Default none; set by the user.
	Finally []InlineTask `yaml:"finally,omitempty"`
	// Outputs are what a compound task that runs this plan hands on: values, and
	// bindings to outputs of its tasks, as in a task's inputs. Default none; set
	// by the user.
	Outputs map[string]any `yaml:"outputs,omitempty"`
	// Parallelism is how many tasks run at once, from 1 to 1024. Default 10;
	// set by the user.
	Parallelism int `yaml:"parallelism,omitempty"`
	// Limits are how many tasks of a class run at once. Default none; set by
	// the user.
	Limits []ClassLimit `yaml:"limits,omitempty"`
	// FailurePolicy says what a failed task means for those that don't need
	// it. Default Continue; set by the user.
	FailurePolicy FailurePolicy `yaml:"failurePolicy,omitempty"`
	// Timeout is how long all tasks but the finally ones may take. Default: as
	// long as they take; set by the user.
	Timeout Duration `yaml:"timeout,omitempty"`
	// Defaults are for tasks that don't say it themselves.
	Defaults *TaskDefaults `yaml:"defaults,omitempty"`
	// Suspend lets no further task start until it is taken away. Default
	// false; set by the user.
	Suspend bool `yaml:"suspend,omitempty"`
	// Cancel ends the plan: what hasn't begun is cancelled, the finally tasks
	// run. Default none; set by the user.
	Cancel *Cancel `yaml:"cancel,omitempty"`
}

// ClassLimit bounds a class of tasks.
type ClassLimit struct {
	// Class is a name that tasks give as their class, or that of a type of
	// task, which is the class of tasks that give none. Required; set by the
	// user.
	Class string `yaml:"class,omitempty"`
	// Max is how many of them run at once, at least 1. Required; set by the
	// user.
	Max int `yaml:"max,omitempty"`
}

// FailurePolicy says what a failed task means for the others.
type FailurePolicy string

// The failure policies.
const (
	Continue FailurePolicy = "Continue" // what doesn't need it goes on
	FailFast FailurePolicy = "FailFast" // nothing else begins
)

// TaskDefaults are what tasks of a plan have where they don't say it.
type TaskDefaults struct {
	// Timeout is for one attempt. Default 300s, or what the operator says
	// (--task-timeout); set by the user.
	Timeout Duration `yaml:"timeout,omitempty"`
	// Retry says which failures are tried again. Default by type of task; set
	// by the user.
	Retry *RetryPolicy `yaml:"retry,omitempty"`
}

// Cancel ends a plan.
type Cancel struct {
	// Requested cancels the plan. Set by the user.
	Requested bool `yaml:"requested,omitempty"`
	// Reason says why, for messages. Default none; set by the user.
	Reason string `yaml:"reason,omitempty"`
}

// Validate implements [Object]. Of the tasks it checks what [PlanTask.Validate]
// does. What only shows beside other objects isn't checked: whether needs and
// bindings name tasks, cycles, and targets that overlap.
func (l *Plan) Validate() error {
	p := l.problems()
	p.coded = true
	l.Header.validate(p)
	l.refuseAnnotations(p)
	l.Spec.validate(p, "spec", 1)
	l.Status.validate(p, "status")
	return p.err()
}

func (s *PlanSpec) zeroHint(field string) string {
	if field != "parallelism" {
		return ""
	}
	return fmt.Sprintf("write how many tasks may run at once, from 1 to %d, or leave it out", maxParallelism)
}

const (
	maxParallelism  = 1024
	maxCompoundDeep = 16
)

// validate checks the plan found at field; deep is 1 for a Plan object, and one
// more for each compound that the plan is in.
func (s *PlanSpec) validate(p *problems, field string, deep int) {
	if deep > maxCompoundDeep {
		p.addf(field, "is nested %d deep: plans within compound tasks may be %d deep; make Plan objects of the inner ones and name them by planRef", deep, maxCompoundDeep)
		return
	}
	checkKeys(p, field+".params", s.Params, "plan.params")
	checkKeys(p, field+".context", s.Context, "plan.context")
	names := make(map[string]string, len(s.Tasks)+len(s.Finally)) // the field of each
	for _, group := range []struct {
		field string
		tasks []InlineTask
	}{{field + ".tasks", s.Tasks}, {field + ".finally", s.Finally}} {
		for i := range group.tasks {
			t := &group.tasks[i]
			at := group.field + "[" + strconv.Itoa(i) + "]"
			first, twice := names[t.Name]
			switch why := checkTaskName(t.Name); {
			case t.Name == "":
				p.missing(at+".name", "write a name for needs and bindings to refer to")
			case why != "":
				p.addf(at+".name", "%s %s", quote(t.Name), why)
			case twice:
				p.addf(at+".name", "%s is the name of %s too: names are unique in a plan", quote(t.Name), first)
			}
			names[t.Name] = at
			if t.Plan != "" {
				p.addf(at+".plan", "is %s, but the task is in a plan already: leave it out", quote(t.Plan))
			}
			t.validate(p, at, deep)
		}
	}
	checkKeys(p, field+".outputs", s.Outputs, "task")
	for _, key := range sortedKeys(s.Outputs) {
		b := binder{defaults: true}
		b.value(s.Outputs[key])
		p.join(At(b.problems.err(), &p.ref, field+".outputs"+stepTo(key)))
	}
	if n := s.Parallelism; n < 0 || n > maxParallelism {
		p.addf(field+".parallelism", "is %d: write how many tasks may run at once, from 1 to %d", n, maxParallelism)
	}
	classes := make(map[string]bool, len(s.Limits))
	for i, l := range s.Limits {
		at := fmt.Sprintf("%s.limits[%d]", field, i)
		switch {
		case l.Class == "":
			p.missing(at+".class", "write a class that tasks have, or a type of task")
		case !isClass(l.Class):
			p.addf(at+".class", "%s is no type of task and %s", quote(l.Class), labelRule)
		case classes[l.Class]:
			p.addf(at+".class", "%s is limited twice: keep one", quote(l.Class))
		}
		classes[l.Class] = true
		if l.Max < 1 {
			p.addf(at+".max", "is %d: write how many tasks of the class may run at once, at least 1", l.Max)
		}
	}
	switch f := s.FailurePolicy; f {
	case "", Continue, FailFast:
	default:
		p.addf(field+".failurePolicy", "is %s%s: write %s or %s", quote(string(f)), DidYouMean(string(f), []string{string(Continue), string(FailFast)}), Continue, FailFast)
	}
	s.Timeout.validate(p, field, "timeout")
	if d := s.Defaults; d != nil {
		d.Timeout.validate(p, field+".defaults", "timeout")
		if d.Retry != nil {
			d.Retry.validate(p, field+".defaults.retry")
		}
	}
}

// checkTaskName says why s can't be a task's name, empty when it can.
func checkTaskName(s string) string {
	if s == planName {
		return "is what bindings call the plan: give the task another name"
	}
	return checkLabel(s)
}

// isClass reports whether s can be a class of tasks.
func isClass(s string) bool { return isLabel(s) || findWork(WorkType(s)) != nil }

// checkKeys refuses keys that no binding could name; of says whose they are.
func checkKeys[V any](p *problems, field string, m map[string]V, of string) {
	for _, key := range sortedKeys(m) {
		if !isWord(key) {
			p.addf(field+stepTo(key), "can't be referred to as {{%s.KEY}}: make the key of letters, digits, _ and -", of)
		}
	}
}
