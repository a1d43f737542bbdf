package dag

import (
	"context"
	"time"
)

// Graph is steps and how they may run.
type Graph struct {
	Steps []Step
	// Parallel is how many steps run at once, those of graphs inside included.
	// 0 means 10 for the graph given to Run, and no limit of its own for the
	// graph of a step.
	Parallel int
	// Limits is how many steps of a class run at once, those of graphs inside
	// included. A class that isn't named has no limit of its own.
	Limits map[string]int
	// FailFast cancels what hasn't begun as soon as a step has failed; what runs
	// is let finish. Finally steps run all the same.
	FailFast bool
	// Cancelled, if it isn't nil, is why the graph is cancelled as soon as it
	// begins: nothing but its finally steps runs.
	Cancelled error
	// Timeout is how long the graph may take, its finally steps excepted; then
	// it is cancelled and has failed with [TimedOut]. 0: as long as it takes.
	Timeout time.Duration
}

// Step is one node of a Graph. It has a Do, or a Graph, or both, or neither: then
// it is a gate, which completes as soon as it is ready and takes no slot.
type Step struct {
	// Name is unique in the graph and has no slash: the path of a step inside a
	// step is outer/inner.
	Name string
	// Of is whose step it is, for who looks at its events and report.
	Of any
	// Needs are the steps that have to end before this one begins.
	Needs []Need
	// Do does the work. It is called on a goroutine of its own and is to return
	// soon after its context is done; context.Cause says why it is done. A panic
	// fails the step. An error made by [Held] leaves the step as Hold does.
	Do func(context.Context, Inputs) (Result, error)
	// Graph is run in place of the step, which completes when all of it has.
	// Do is then called once, at the end, to make the step's outputs.
	Graph *Graph
	// Hold is why the step isn't started though it is ready, such as an approval
	// that is missing. Empty: nothing holds it.
	Hold string
	// Attempts is how many attempts earlier runs have made that failed. They
	// count for Retry.
	Attempts int
	// Finally steps start when all others of their graph have ended, however
	// that was, also after a cancellation.
	Finally bool
	// Class is the limit the step counts for, beside Parallel. Empty: none.
	Class string
	// Priority: of the steps that are ready, those with the highest start first.
	// A step inside a step adds its own to that of the outer.
	Priority int32
	// Timeout is how long one attempt may take; 0: as long as it takes.
	Timeout time.Duration
	// Deadline is how long all attempts together may take, the waits between
	// them included, counted from the start of the first; 0: as long as they take.
	Deadline time.Duration
	// Retry says which failures are tried again. A step with a Graph has no
	// retries of its own, the steps inside have theirs.
	Retry Retry
}

// Need is a step that another one needs, and what for.
type Need struct {
	// Step is the name of the step, one of the same graph, or else one that a
	// step around this graph needs: the graph isn't begun before that has ended.
	Step string
	// Type says when the need is met; the zero value is Blocking.
	Type NeedType
	// Key is the output that a Data need wants. Empty: whatever there is.
	Key string
	// Optional, of a Data need: where there is no such output, Default is used; nil
	// is none, and the step gets no such output.
	Optional bool
	Default  any
	// On are the ends that meet a Conditional need. Empty: Completed.
	On []State
}

// NeedType says when a need is met.
type NeedType uint8

// The types of needs. What happens by how the needed step ended:
//
//	             Completed         Skipped                 Failed, Blocked, Cancelled
//	Blocking     met               met                     Blocked
//	Data         met               default, else Skipped   default, else Blocked
//	Conditional  met if in On, else Skipped
//
// A completed step that hasn't got the output of a Data need, which isn't
// Optional, fails the step that needs it with [MissingInput].
const (
	Blocking NeedType = iota
	Data
	Conditional
)

// String is the type's name.
func (t NeedType) String() string {
	switch t {
	case Data:
		return "Data"
	case Conditional:
		return "Conditional"
	}
	return "Blocking"
}

// Outputs are what a step hands to those that need it. They are shared: nobody
// may change them once they are returned.
type Outputs map[string]any

// Inputs are what a step gets.
type Inputs struct {
	// Attempt counts from 1, the attempts of earlier runs included.
	Attempt int
	// Outer are the inputs of the step whose graph this one is in; nil in the
	// graph given to Run.
	Outer *Inputs
	// Inner has the outputs of the steps inside by their names, when this is
	// a step with a Graph.
	Inner map[string]Outputs

	step   *node              // whose needs are looked through
	byName map[string]Outputs // in place of that, where it isn't nil
}

// InputsOf are inputs with the given outputs of needed steps.
func InputsOf(needs map[string]Outputs, outer *Inputs) Inputs {
	return Inputs{byName: needs, Outer: outer}
}

// Of returns the outputs of a needed step that completed, nil for any other,
// with defaults put in where a Data need has one and there is no output.
func (in Inputs) Of(step string) Outputs {
	if in.byName != nil || in.step == nil {
		return in.byName[step]
	}
	for i := range in.step.needs {
		if in.step.step.Needs[i].Step == step {
			return in.step.needs[i].outputs
		}
	}
	return nil
}

// Result is what came of one attempt that succeeded.
type Result struct {
	Outputs Outputs
	// Clean says that there was nothing to do: the outputs are known from an
	// earlier run. It is counted as such and not as an attempt.
	Clean bool
}

// MaxSteps is how many steps a graph may have, all graphs inside counted each
// time they are used.
const MaxSteps = 1 << 18

// MaxDepth is how deep graphs may be inside one another.
const MaxDepth = 16

// defaultParallel is the Graph.Parallel of the graph given to Run.
const defaultParallel = 10
