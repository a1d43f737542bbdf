package dag

import (
	"context"
	"time"
)

// node is a step in its place. What changes while it runs is the coordinator's
// alone, but for what a step that has ended hands on. The fields that are looked
// at when another step ends come first: those of many steps are never at hand.
type node struct {
	state    State
	held     bool   // by step.Hold, or by what its Do said
	toJudge  bool   // whether its needs are met can't be told by their number
	waiting  int32  // needs that haven't ended
	pos      *int32 // in its lane, -1 when it isn't queued; apart from the node, of which a move in the lane needs nothing else
	index    int32  // among all steps, as declared
	rank     int32  // see setRanks
	attempts int
	priority int64
	step     *Step
	lane     *lane
	needs    []*node // as in step.Needs
	outputs  Outputs

	dependents []*node // once for each need
	path       string
	scope      *scope
	inner      *scope  // of a step with a Graph
	inputs     *Inputs // of a compound

	why      *note     // of the state; nil: there is nothing to say
	began    time.Time // the first attempt
	tried    time.Time // the last attempt
	deadline time.Time // zero: none
	took     time.Duration
	attempt  *attempt // nil unless one is at work, or to be waited for

	tail   *node // see longest
	length time.Duration
}

func (n *node) ready() ready { return ready{n, n.pos, n.priority, n.rank, n.index} }

// attempt is what has to be known of the attempt that a step makes, or waits for.
type attempt struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	limit    time.Duration
	alarm    alarm // for its beginning, or to stop or abandon it
	stopping bool  // it was told to stop
	stuck    bool  // it didn't return in time
	last     error // of the attempt before, nil for the first
}

// compound says whether the step is a graph.
func (n *node) compound() bool { return n.inner != nil }

// gate says whether the step does nothing.
func (n *node) gate() bool { return n.inner == nil && n.step.Do == nil }

// waitForAll sets what the step waits for before the run: its needs, and if it
// is a finally step, once more for all others.
func (n *node) waitForAll() {
	n.waiting = 0
	for _, p := range n.needs {
		if p.scope == n.scope {
			n.waiting++
		}
	}
	if n.step.Finally {
		n.waiting++
	}
}

// scope is a graph in its place.
type scope struct {
	graph    *Graph
	parent   *node // the step that it is in, nil for the outermost
	path     string
	nodes    []node
	order    []*node // each after all it needs, finally steps last
	ordinary int     // how many of them are no finally steps
	slots    *limiter
	classes  map[string]*limiter
	lanes    map[string]*lane
	names    map[string]*node // while it is built

	// what changes while it runs

	begun    bool
	open     bool   // it has begun and not ended
	closing  bool   // all but its finally steps have ended
	halted   bool   // a step failed and nothing else is to begin
	why      error  // why it was cut short, nil if it wasn't
	expired  bool   // that was its own timeout
	killed   bool   // the finally steps too
	left     [2]int // steps that haven't ended: ordinary, finally
	deadline time.Time
	alarm    alarm // for the deadline, then for its finally steps
}

// lane returns where the ready steps of a class wait.
func (s *scope) lane(class string) *lane {
	if s.slots == nil && s.classes == nil {
		return s.parent.scope.lane(class) // the outermost scope has slots
	}
	if l := s.lanes[class]; l != nil {
		return l
	}
	l := &lane{}
	if s.parent != nil {
		l.limits = append(l.limits, s.parent.scope.lane(class).limits...)
	}
	if s.slots != nil {
		l.limits = append(l.limits, s.slots)
	}
	if c := s.classes[class]; c != nil {
		l.limits = append(l.limits, c)
	}
	if s.lanes == nil {
		s.lanes = map[string]*lane{}
	}
	s.lanes[class] = l
	return l
}

// refuses says whether a step of the scope gets no further attempt.
func (s *scope) refuses(n *node) bool {
	if n.step.Finally {
		return s.killed
	}
	return s.halted || s.why != nil
}
