package api

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// PlanStatus is what stoop says about a plan.
type PlanStatus struct {
	// Phase is Running, Suspended, Completed, Failed or Cancelled. Set by stoop.
	Phase string `yaml:"phase,omitempty"`
	// Message says why, in words. Set by stoop.
	Message string `yaml:"message,omitempty"`
	// Mock says that the run was one with --mock, which counts for nothing in
	// a real one. Set by stoop.
	Mock bool `yaml:"mock,omitempty"`
	// Counts are the plan's tasks by phase, those of compound tasks included.
	// Set by stoop.
	Counts map[string]int `yaml:"counts,omitempty"`
	// Tasks are the states of tasks without an object of their own. Set by
	// stoop.
	Tasks []InlineTaskStatus `yaml:"tasks,omitempty"`
}

// TaskStatus is what stoop says about a task.
type TaskStatus struct {
	// Phase is Pending, Ready, Executing, Completed, Failed, Blocked, Skipped
	// or Cancelled. Set by stoop.
	Phase string `yaml:"phase,omitempty"`
	// Code is that of the error, such as E5205. Set by stoop.
	Code string `yaml:"code,omitempty"`
	// Message says why the task is where it is. Set by stoop.
	Message string `yaml:"message,omitempty"`
	// Attempts is how many there were that failed, of a task that failed or waits
	// for another. Set by stoop.
	Attempts int `yaml:"attempts,omitempty"`
	// Mock says that nothing was really done. Set by stoop.
	Mock bool `yaml:"mock,omitempty"`
	// Outputs are what the task handed on. Set by stoop.
	Outputs map[string]any `yaml:"outputs,omitempty"`
	// Observed is what the task was when it completed. Set by stoop.
	Observed *Observed `yaml:"observed,omitempty"`
	// Tasks are the states of the tasks of a compound. Set by stoop.
	Tasks []InlineTaskStatus `yaml:"tasks,omitempty"`
}

// InlineTaskStatus is the status of a task of a plan, by its name.
type InlineTaskStatus struct {
	// Name is the task's.
	Name       string `yaml:"name,omitempty"`
	TaskStatus `yaml:",inline"`
}

// Observed are digests, SHA-256 in hex, by which a later run knows whether the
// task has to run again.
type Observed struct {
	// Spec is of what is to be done: type, member, target.
	Spec string `yaml:"spec,omitempty"`
	// Inputs is of the same with the values that its bindings had; none where
	// it has no bindings.
	Inputs string `yaml:"inputs,omitempty"`
	// Content is of the target after the run, of a task that runs whenever that
	// changes (render, eval, tool_call).
	Content string `yaml:"content,omitempty"`
}

// The phases that a status can be in; none is one too. That a plan is Pending stoop
// never writes, but who makes plans may.
var (
	planPhases = []string{"Pending", "Running", "Suspended", "Completed", "Failed", "Cancelled"}
	taskPhases = slices.Concat([]string{"Pending", "Ready", "Executing"}, ends)
)

// validate checks what a run would go on from, which somebody may have edited.
func (s *PlanStatus) validate(p *problems, field string) {
	validatePhase(p, field, s.Phase, planPhases)
	validateStatuses(p, field, s.Tasks)
}

func (s *TaskStatus) validate(p *problems, field string) {
	validatePhase(p, field, s.Phase, taskPhases)
	if n := s.Attempts; n < 0 || n > math.MaxInt32 {
		p.addf(field+".attempts", "is %d: write how many attempts have failed, from 0 to %d, or take it out", n, math.MaxInt32)
	}
	validateStatuses(p, field, s.Tasks)
}

func validateStatuses(p *problems, field string, tasks []InlineTaskStatus) {
	for i := range tasks {
		tasks[i].validate(p, field+".tasks["+strconv.Itoa(i)+"]")
	}
}

func validatePhase(p *problems, field, phase string, known []string) {
	if phase != "" && !slices.Contains(known, phase) {
		p.addf(field+".phase", "unknown phase %s%s (known: %s): write what it was before it was edited, or take it out", quote(phase), DidYouMean(phase, known), strings.Join(known, ", "))
	}
}
