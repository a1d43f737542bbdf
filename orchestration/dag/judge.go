package dag

import (
	"fmt"
	"maps"
	"slices"
)

// judge says what becomes of a step whose needs have all ended: Ready, Skipped,
// or Blocked if any need blocks it; and which need it is that isn't met.
func (n *node) judge() (State, string) {
	to, reason := Ready, ""
	for i, p := range n.needs {
		need := &n.step.Needs[i]
		switch s := need.Judge(p.state); {
		case s == Ready || to == Blocked || s == to:
		case need.Type == Conditional:
			to, reason = s, fmt.Sprintf("the condition isn't met: %s is %s", need.Step, p.state)
		default:
			to, reason = s, fmt.Sprintf("needs %s, which is %s", need.Step, p.state)
		}
	}
	return to, reason
}

// Judge says what a need means for the step that has it, by how the needed step
// ended; Ready is that it's met.
func (need *Need) Judge(end State) State {
	switch need.Type {
	case Conditional:
		if slices.Contains(need.On, end) || need.On == nil && end == Completed {
			return Ready
		}
		return Skipped
	case Data:
		if end == Completed || need.Optional {
			return Ready
		}
		if end == Skipped {
			return Skipped
		}
	default:
		if end == Completed || end == Skipped {
			return Ready
		}
	}
	return Blocked
}

// fewNeeds are as many as are found faster one after another than in a map.
const fewNeeds = 8

// gatherInputs makes the inputs of an attempt. It is no work for the coordinator:
// the steps that are needed have ended, and nothing of them changes.
func (n *node) gatherInputs(attempt int) (Inputs, error) {
	in := Inputs{Attempt: attempt, step: n}
	if outer := n.scope.parent; outer != nil {
		in.Outer = outer.inputs
	}
	if len(n.needs) > fewNeeds {
		in.byName = n.outputsByName()
	}
	var own map[string]bool // the outputs that are a copy with defaults
	for i, p := range n.needs {
		need := &n.step.Needs[i]
		if need.Type != Data || need.Key == "" {
			continue
		}
		if _, ok := p.outputs[need.Key]; ok {
			continue
		}
		if !need.Optional {
			return in, &Error{Code: MissingInput,
				Text: fmt.Sprintf("%s completed without the output %q that is needed", p.path, need.Key)}
		}
		if need.Default == nil {
			continue // whoever wants it has a default of its own
		}
		if in.byName == nil {
			in.byName = n.outputsByName()
		}
		if !own[need.Step] {
			if own == nil {
				own = map[string]bool{}
			}
			own[need.Step] = true
			in.byName[need.Step] = make(Outputs, len(p.outputs)+1)
			maps.Copy(in.byName[need.Step], p.outputs)
		}
		in.byName[need.Step][need.Key] = need.Default
	}
	return in, nil
}

func (n *node) outputsByName() map[string]Outputs {
	all := make(map[string]Outputs, len(n.needs))
	for i, p := range n.needs {
		if p.state == Completed {
			all[n.step.Needs[i].Step] = p.outputs
		}
	}
	return all
}
