package dag

import (
	"context"
	"time"
)

// node is a step in its place. What stands below the line changes while it runs
// and is the coordinator's alone.
type node struct {
	step       *Step
	path       string
	index      int // among all steps, as declared
	scope      *scope
	inner      *scope // of a step with a Graph
	lane       *lane
	needs      []*node // as in step.Needs
	dependents []*node // once for each need
	priority   int64
	rank       int // see setRanks

	// ----

	state    State
	why      note // of the state
	pos      int  // in its lane, -1 when it isn't queued
	waiting  int  // needs that haven't ended
	attempts int
	began    time.Time // the first attempt
	tried    time.Time // the last attempt
	deadline time.Time // zero: none
	took     time.Duration
	ctx      context.Context // of the last attempt
	cancel   context.CancelCauseFunc
	limit    time.Duration // of the last attempt
	stopping bool          // the last attempt was told to stop
	alarm    alarm         // for the next attempt, or to stop or abandon the last one
	stuck    bool          // the last attempt never returned
	inputs   *Inputs       // of a compound
	outputs  Outputs
	tail     *node // see longest
	length   time.Duration
}

// before says which of two ready steps starts first.
func (n *node) before(m *node) bool {
	if n.priority != m.priority {
		return n.priority > m.priority
	}
	if n.rank != m.rank {
		return n.rank > m.rank
	}
	return n.index < m.index
}

func (n *node) place() *int { return &n.pos }

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

	// ----

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
