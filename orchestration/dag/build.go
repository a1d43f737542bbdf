package dag

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Validate returns all that is wrong with a graph and those inside it, each an
// [*Error] with the path of its step, joined into one: names, needs, cycles,
// limits, durations, retries. Run refuses a graph that Validate finds fault with.
func Validate(g *Graph) error {
	_, err := build(g)
	return err
}

// Prepared is a graph that was found good. It can be run once.
type Prepared struct {
	plan *plan
	used atomic.Bool
}

// Prepare makes a graph ready to be run. The error is Validate's.
func Prepare(g *Graph) (*Prepared, error) {
	p, err := build(g)
	if err != nil {
		return nil, err
	}
	return &Prepared{plan: p}, nil
}

// builder makes scopes of graphs and collects what is wrong with them.
type builder struct {
	nodes []*node // of all scopes, as declared, a step before those inside it
	free  *lane   // for steps that take no slot
	errs  []error
}

func build(g *Graph) (*plan, error) {
	b := &builder{free: &lane{}}
	root := b.scope(g, nil, 0)
	b.link(root)
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	root.setRanks(0)
	return &plan{root, b.nodes}, nil
}

// plan is a graph that was found good.
type plan struct {
	root  *scope
	nodes []*node
}

func (b *builder) fail(code Code, step, format string, args ...any) {
	b.errs = append(b.errs, &Error{Code: code, Step: step, Text: fmt.Sprintf(format, args...)})
}

// scope builds the scope of g, inside the step parent.
func (b *builder) scope(g *Graph, parent *node, depth int) *scope {
	s := &scope{graph: g, parent: parent}
	s.alarm.pos = -1
	if parent != nil {
		s.path = parent.path
	}
	if len(g.Steps) > MaxSteps-len(b.nodes) {
		b.fail(BadGraph, s.path, "there are more than %d steps", MaxSteps)
		return s
	}
	if depth > MaxDepth {
		b.fail(BadGraph, s.path, "graphs are more than %d deep inside one another", MaxDepth)
		return s
	}
	b.limits(s)
	s.nodes = make([]node, len(g.Steps))
	positions := make([]int32, len(g.Steps))
	s.names = make(map[string]*node, len(g.Steps))
	for i := range s.nodes {
		n, step := &s.nodes[i], &g.Steps[i]
		n.step, n.scope, n.index, n.pos = step, s, int32(len(b.nodes)), &positions[i]
		*n.pos = -1
		n.path, n.priority, n.held, n.attempts = step.Name, int64(step.Priority), step.Hold != "", step.Attempts
		if parent != nil {
			n.path = parent.path + "/" + step.Name
			n.priority += parent.priority
		}
		b.nodes = append(b.nodes, n)
		b.check(n)
		if s.names[step.Name] != nil && step.Name != "" {
			b.fail(BadGraph, n.path, "another step has the same name")
		}
		s.names[step.Name] = n
		if step.Graph != nil {
			n.inner = b.scope(step.Graph, n, depth+1)
		}
		n.lane = b.free
		if !n.compound() && !n.gate() {
			n.lane = s.lane(step.Class)
		}
	}
	return s
}

// link finds the needs of a scope's steps and puts the steps in order, then
// those of the scopes inside, whose steps may need what the step around them
// needs.
func (b *builder) link(s *scope) {
	b.connect(s)
	b.sort(s)
	for i := range s.nodes {
		if in := s.nodes[i].inner; in != nil {
			b.link(in)
		}
	}
	s.names = nil
}

// find returns the step that a need of a step in s names, nil if there is none:
// one of s, or one that a step around s needs.
func (s *scope) find(name string) *node {
	if p := s.names[name]; p != nil {
		return p
	}
	for around := s.parent; around != nil; around = around.scope.parent {
		for i, p := range around.needs {
			if around.step.Needs[i].Step == name {
				return p
			}
		}
	}
	return nil
}

// limits checks what the graph says about itself, and makes its limiters.
func (b *builder) limits(s *scope) {
	g := s.graph
	if g.Parallel < 0 {
		b.fail(BadGraph, s.path, "parallel is negative")
	}
	if g.Timeout < 0 {
		b.fail(BadGraph, s.path, "timeout is negative")
	}
	parallel := g.Parallel
	if parallel <= 0 && s.parent == nil { // steps find a limit, even one that can't be
		parallel = defaultParallel
	}
	if parallel > 0 {
		s.slots = &limiter{max: parallel}
	}
	for _, class := range slices.Sorted(maps.Keys(g.Limits)) {
		if class == "" {
			b.fail(BadGraph, s.path, "a limit is for a class without a name")
		}
		if g.Limits[class] < 1 {
			b.fail(BadGraph, s.path, "the limit of class %s is less than 1", class)
		}
		if s.classes == nil {
			s.classes = make(map[string]*limiter, len(g.Limits))
		}
		s.classes[class] = &limiter{max: g.Limits[class]}
	}
}

// check looks at what can be told from the step alone.
func (b *builder) check(n *node) {
	s := n.step
	switch {
	case s.Name == "":
		b.fail(BadGraph, n.path, "a step has no name")
	case strings.Contains(s.Name, "/"):
		b.fail(BadGraph, n.path, "the name has a slash")
	}
	if s.Attempts < 0 {
		b.fail(BadGraph, n.path, "attempts is negative")
	}
	if s.Timeout < 0 {
		b.fail(BadGraph, n.path, "timeout is negative")
	}
	if s.Deadline < 0 {
		b.fail(BadGraph, n.path, "deadline is negative")
	}
	if wrong := s.Retry.check(); wrong != "" {
		b.fail(BadRetry, n.path, "%s", wrong)
	}
	if s.Graph == nil {
		return
	}
	if s.Retry.Limit > 0 {
		b.fail(BadRetry, n.path, "a step with steps inside has no retries of its own: give them to those inside")
	}
	if s.Class != "" {
		b.fail(BadGraph, n.path, "a step with steps inside takes no slot: give the class to those inside")
	}
}

// connect finds the step of every need.
func (b *builder) connect(s *scope) {
	count := 0
	for i := range s.nodes {
		count += len(s.nodes[i].step.Needs)
	}
	// All needs in one piece of memory, and all dependents in another: with many
	// steps it's this that takes the time.
	needs, dependents := make([]*node, 0, count), make([]*node, count)
	for i := range s.nodes {
		n := &s.nodes[i]
		first := len(needs)
		for j := range n.step.Needs {
			need := &n.step.Needs[j]
			p := s.find(need.Step)
			switch {
			case p == nil:
				b.fail(UnknownNeed, n.path, "needs %q, but there is no such step", need.Step)
			case p.scope != s: // it has ended before the scope is opened
				b.checkNeed(n, p, need)
				needs = append(needs, p)
				n.toJudge = true
			case p.step.Finally && !n.step.Finally:
				b.fail(BadNeed, n.path, "needs %s, a finally step: those start when all others have ended", need.Step)
			default:
				b.checkNeed(n, p, need)
				needs = append(needs, p)
				n.toJudge = n.toJudge || need.On != nil
				p.waiting++ // counts its dependents for now
			}
		}
		n.needs = needs[first:len(needs):len(needs)]
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		n.dependents, dependents = dependents[:0:n.waiting], dependents[n.waiting:]
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		for _, p := range n.needs {
			if p.scope == s {
				p.dependents = append(p.dependents, n)
			}
		}
		n.waitForAll()
	}
}

func (b *builder) checkNeed(n, p *node, need *Need) {
	switch {
	case need.Type > Conditional:
		b.fail(BadNeed, n.path, "the need of %s has no valid type", need.Step)
	case need.Type != Data && (need.Key != "" || need.Optional || need.Default != nil):
		b.fail(BadNeed, n.path, "the need of %s has an output or a default, but isn't of type Data", need.Step)
	case need.Type != Conditional && need.On != nil:
		b.fail(BadNeed, n.path, "the need of %s has a condition, but isn't of type Conditional", need.Step)
	case need.Default != nil && (!need.Optional || need.Key == ""):
		b.fail(BadNeed, n.path, "the need of %s has a default, but isn't optional or names no output", need.Step)
	}
	for _, s := range need.On {
		if !s.Ended() || s > Cancelled {
			b.fail(BadNeed, n.path, "the need of %s is on %s, which is no end", need.Step, s)
		}
	}
	if n.step.Finally && !p.step.Finally && p.scope == n.scope {
		switch {
		case need.Type == Blocking:
			b.fail(BadNeed, n.path, "a finally step starts after %s anyway: leave the need out, or make it Conditional", need.Step)
		case need.Type == Data && !need.Optional:
			b.fail(BadNeed, n.path, "a finally step starts even if %s has no output: give the need a default", need.Step)
		}
	}
}

// sort puts the steps in an order in which each follows all it needs, finally
// steps last, and reports every cycle that keeps it from doing so.
func (b *builder) sort(s *scope) {
	order := make([]*node, 0, len(s.nodes))
	ordinary := 0
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.step.Finally {
			ordinary++
		}
		if n.waiting == 0 {
			order = append(order, n)
		}
	}
	reached := 0
	spread := func() {
		for ; reached < len(order); reached++ {
			for _, d := range order[reached].dependents {
				if d.waiting--; d.waiting == 0 {
					order = append(order, d)
				}
			}
		}
	}
	spread()
	if len(order) == ordinary {
		for i := range s.nodes {
			if n := &s.nodes[i]; n.step.Finally {
				if n.waiting--; n.waiting == 0 {
					order = append(order, n)
				}
			}
		}
		spread()
	}
	s.order, s.ordinary = order, ordinary
	if len(order) < len(s.nodes) {
		b.cycles(s)
	}
	for i := range s.nodes {
		s.nodes[i].waitForAll()
	}
}

// cycles reports the cycles among the steps that sort left over. Each of them
// needs another one that is left over, so following those ends in a cycle.
func (b *builder) cycles(s *scope) {
	walk := make(map[*node]int) // the walk a step was seen in
	for i := range s.nodes {
		var path []*node
		n := &s.nodes[i]
		if n.waiting == 0 || walk[n] != 0 {
			continue
		}
		for n != nil && walk[n] == 0 {
			walk[n] = i + 1
			path = append(path, n)
			n = leftOver(n)
		}
		if n == nil || walk[n] != i+1 {
			continue // not a cycle, or one that is known
		}
		path = path[slices.Index(path, n):]
		b.fail(Cycle, n.path, "needs itself: %s", chain(path))
	}
}

// leftOver returns a step that n needs and that waits itself. A finally step
// that waits for others than its needs has none.
func leftOver(n *node) *node {
	for _, p := range n.needs {
		if p.scope == n.scope && p.waiting > 0 && p.step.Finally == n.step.Finally {
			return p
		}
	}
	return nil
}

// chain names the steps of a cycle, the middle of a long one left out.
func chain(cycle []*node) string {
	const most = 10
	names := make([]string, 0, most+2)
	for i, n := range cycle {
		if i == most {
			names = append(names, fmt.Sprintf("(%d more)", len(cycle)-most))
			break
		}
		names = append(names, n.step.Name)
	}
	return strings.Join(append(names, cycle[0].step.Name), " needs ")
}

// setRanks gives every step the number of steps that come after it one after
// another, itself included; after is that number for what follows the scope. It
// returns the largest.
func (s *scope) setRanks(after int32) int32 {
	top := after
	for i := len(s.order) - 1; i >= 0; i-- {
		n := s.order[i]
		if i == s.ordinary-1 {
			after = top // the finally steps follow all others
		}
		rank := after
		for _, d := range n.dependents {
			rank = max(rank, d.rank)
		}
		if n.compound() {
			n.rank = n.inner.setRanks(rank)
		} else {
			n.rank = rank + 1
		}
		top = max(top, n.rank)
	}
	return top
}
