package dag

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options are how a graph is run.
type Options struct {
	// Observe is called for every event, in order, by the coordinator, which
	// waits for it: what Observe has written down is there before the step's
	// Do begins, or before those that need the step do. Nil: nobody looks.
	Observe func(Event)
	// Grace is how long a step has to return when its context is done; 0: 10s.
	Grace time.Duration
	// FinallyTime is how long the finally steps may take after a cancellation;
	// 0: 30s.
	FinallyTime time.Duration
	// Suspend, when closed, lets no further step start. Those at work finish,
	// then the run ends as suspended.
	Suspend <-chan struct{}
	// Kill, when closed, cancels all steps, the finally steps included.
	Kill <-chan struct{}
}

const (
	defaultGrace       = 10 * time.Second
	defaultFinallyTime = 30 * time.Second
)

// Run prepares a graph and runs it. Only for a graph that Validate finds fault with
// is the report nil; the error is then Validate's.
func Run(ctx context.Context, g *Graph, opts Options) (*Report, error) {
	p, err := Prepare(g)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, opts)
}

// Run runs a graph to its end. When ctx is done the run is cancelled, with
// context.Cause(ctx) as the reason: nothing else starts, what is at work is told
// to stop, and the finally steps run. The values of ctx reach every Do.
//
// The error is nil if the phase is RunCompleted, or RunSuspended and nothing
// failed until then; else it is an [*Error]. A second run is an error without a
// report.
func (p *Prepared) Run(ctx context.Context, opts Options) (*Report, error) {
	if p.used.Swap(true) {
		return nil, errors.New("a prepared graph can be run once")
	}
	r := newRun(ctx, p.plan, opts)
	defer close(r.done)
	defer close(r.calls)
	defer r.alarms.timer.Stop()
	r.open(r.root, r.start, time.Time{})
	return r.loop(ctx)
}

// run is the coordinator.
type run struct {
	*plan
	opts    Options
	ctx     context.Context // with the caller's values, never done
	start   time.Time
	calls   chan call // to goroutines that wait for one
	servers int       // those goroutines, and those at work
	busy    int       // attempts that haven't returned
	results chan result
	done    chan struct{} // closed when nobody receives results any more

	cancelled, suspend, killed <-chan struct{} // nil when they were heard

	lanes     lanes
	alarms    alarms
	ended     []*node // those whose dependents haven't been told
	spare     []*attempt
	running   int   // attempts the run waits for
	retrying  int   // steps that wait for their next attempt
	suspended bool  // nothing is to begin
	interrupt error // ErrSuspend, when nothing is to go on either
	stall     alarm
	stalled   bool
	fault     error
	seq       int
	stats     Stats
}

func newRun(ctx context.Context, p *plan, opts Options) *run {
	if opts.Grace == 0 {
		opts.Grace = defaultGrace
	}
	if opts.FinallyTime == 0 {
		opts.FinallyTime = defaultFinallyTime
	}
	r := &run{
		plan: p, opts: opts, ctx: context.WithoutCancel(ctx), start: time.Now(),
		calls: make(chan call, 64), results: make(chan result, 64), done: make(chan struct{}),
	}
	r.alarms.timer = time.NewTimer(time.Hour)
	r.alarms.timer.Stop()
	r.stall.pos = -1
	return r
}

func (r *run) loop(ctx context.Context) (*Report, error) {
	r.cancelled, r.suspend, r.killed = ctx.Done(), r.opts.Suspend, r.opts.Kill
	for {
		r.obey(ctx)
		r.settle()
		r.dispatch()
		if r.over() {
			return r.end()
		}
		if r.receiveAll() {
			continue
		}
		select {
		case res := <-r.results:
			r.receive(res)
			r.receiveAll()
		case <-r.alarms.timer.C:
			r.alarms.ring()
		case <-r.cancelled:
		case <-r.suspend:
		case <-r.killed:
		}
	}
}

// receiveAll takes the results that have come in, and says whether there were
// any.
func (r *run) receiveAll() (any bool) {
	for {
		select {
		case res := <-r.results:
			r.receive(res)
			any = true
		default:
			return any
		}
	}
}

// obey does what the caller wants; each wish is heard once.
func (r *run) obey(ctx context.Context) {
	select {
	case <-r.suspend:
		r.suspend = nil
		r.suspended = r.root.why == nil // a run that was cut short is to end
	default:
	}
	select {
	case <-r.cancelled:
		r.cancelled = nil
		r.cancel(context.Cause(ctx))
	default:
	}
	select {
	case <-r.killed:
		r.killed = nil
		r.kill(errors.New("killed"))
	default:
	}
}

// open begins a scope, which is to end at the time until, if that isn't zero, or
// when its own timeout has passed.
func (r *run) open(s *scope, now, until time.Time) {
	s.begun, s.open = true, true
	s.left = [2]int{s.ordinary, len(s.order) - s.ordinary}
	s.deadline = sooner(until, now, s.graph.Timeout)
	if !s.deadline.IsZero() {
		r.alarms.at(&s.alarm, s.deadline, func() { r.expire(s, s.deadline.Sub(now)) })
	}
	if why := s.graph.Cancelled; why != nil {
		r.cut(s, why, false)
	} else {
		for i := range s.nodes {
			if n := &s.nodes[i]; n.waiting == 0 {
				r.admit(n)
			}
		}
	}
	r.advance(s)
}

// admit decides about a step when all it needs has ended.
func (r *run) admit(n *node) {
	if n.toJudge {
		if to, reason := n.judge(); to != Ready {
			r.move(n, to, note{reason: reason})
			return
		}
	}
	r.queue(n)
}

// queue makes a step ready and lets it wait for its start.
func (r *run) queue(n *node) {
	if n.held {
		r.move(n, Ready, note{reason: n.step.Hold})
		return
	}
	r.move(n, Ready, note{})
	r.lanes.push(n)
}

// dispatch starts all that can be started.
func (r *run) dispatch() {
	for !r.suspended && r.fault == nil {
		n := r.lanes.next()
		if n == nil {
			return
		}
		r.begin(n)
		r.settle()
	}
}

// settle tells the dependents of all steps that ended, and ends scopes, until
// there is nothing more to tell. It is a loop, however long the chains are.
func (r *run) settle() {
	for len(r.ended) > 0 {
		ended := r.ended
		r.ended = nil
		for _, n := range ended {
			r.spread(n)
		}
		if r.ended == nil {
			r.ended = ended[:0]
		}
	}
}

// spread tells others that n has ended.
func (r *run) spread(n *node) {
	if n.compound() && !n.inner.begun {
		r.close(n)
	}
	s := n.scope
	if !s.open {
		return
	}
	for _, d := range n.dependents {
		d.waiting--
		if n.state != Completed {
			d.toJudge = true
		}
		if d.waiting == 0 && d.state == Pending {
			r.admit(d)
		}
	}
	if n.state == Failed && !n.step.Finally && s.graph.FailFast {
		r.halt(s, n)
	}
	if n.step.Finally {
		s.left[1]--
	} else {
		s.left[0]--
	}
	r.advance(s)
}

// close ends the steps inside one that ended without beginning them.
func (r *run) close(n *node) {
	to, why := n.state, note{}
	if n.why != nil {
		why = note{code: n.why.code, reason: n.why.reason}
	}
	if to == Failed { // it couldn't even begin, they didn't fail
		to, why = Blocked, note{reason: fmt.Sprintf("%s, which it is in, is Failed", n.path)}
	}
	for i := range n.inner.nodes {
		r.move(&n.inner.nodes[i], to, why)
	}
}

// advance lets the finally steps of a scope go, or ends it, when it is time to.
func (r *run) advance(s *scope) {
	if s.left[0] > 0 || !s.open {
		return
	}
	if !s.closing {
		s.closing = true
		r.alarms.off(&s.alarm)
		if s.why != nil {
			r.limitFinally(s)
		}
		for _, n := range s.order[s.ordinary:] {
			n.waiting--
			if n.waiting == 0 && n.state == Pending {
				r.admit(n)
			}
		}
	}
	if s.left[1] > 0 {
		return
	}
	s.open = false
	r.alarms.off(&s.alarm)
	if s.parent != nil {
		r.gather(s.parent)
	}
}

// over says whether there is nothing left to do or to wait for.
func (r *run) over() bool {
	if r.fault != nil || !r.root.open {
		return true
	}
	if r.running > 0 || r.retrying > 0 && !r.suspended {
		r.alarms.off(&r.stall)
		return false
	}
	if r.suspended || r.lanes.queued == 0 || r.stalled {
		return true
	}
	// All slots that the queued steps could have are those of attempts that
	// never returned. They may yet.
	if r.stall.pos < 0 {
		r.alarms.at(&r.stall, time.Now().Add(r.opts.Grace), r.giveUp)
	}
	return false
}

// giveUp ends the wait for slots that don't fall free.
func (r *run) giveUp() {
	if why := r.root.why; why != nil {
		r.kill(why) // it is to end anyway, now without the rest of its finally steps
		return
	}
	r.stalled = true
}

// end says what came of the run.
func (r *run) end() (*Report, error) {
	for i := len(r.nodes) - 1; i >= 0; i-- { // those inside first
		if n := r.nodes[i]; n.state == Executing && r.fault == nil {
			r.move(n, Pending, note{reason: "steps inside it are left"})
		}
	}
	failed := r.root.failure()
	switch {
	case r.fault != nil:
		r.kill(r.fault)
		return r.report(RunFailed), r.fault
	case r.root.open:
		if !r.suspended && !r.held() {
			return r.report(RunFailed), r.noProgress()
		}
		if r.root.expired {
			failed = r.root.why
		}
		return r.report(RunSuspended), failed
	case r.root.expired:
		return r.report(RunFailed), r.root.why
	case r.root.why != nil:
		return r.report(RunCancelled), &Error{Code: CancelledRun, Text: "cancelled", Err: r.root.why}
	case failed != nil:
		return r.report(RunFailed), failed
	}
	return r.report(RunCompleted), nil
}

// failure is the error of a scope with steps that failed, or that are blocked by
// one outside; nil if it has none.
func (s *scope) failure() error {
	var names, blocked []string
	var first error
	for i := range s.nodes {
		switch n := &s.nodes[i]; n.state {
		case Failed:
			names = append(names, n.path)
			if first == nil {
				first = n.why.err
			}
		case Blocked:
			blocked = append(blocked, n.path)
		}
	}
	switch {
	case first == nil && len(blocked) > 0:
		return &Error{Code: StepsFailed, Text: fmt.Sprintf("%s blocked by what failed before", list(blocked))}
	case first == nil:
		return nil
	}
	if len(names) == 1 {
		return &Error{Code: StepsFailed, Err: first}
	}
	return &Error{Code: StepsFailed, Text: fmt.Sprintf("%d steps failed (%s), the first", len(names), list(names)), Err: first}
}

// list names the first few of many.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// held says whether a step waits for somebody outside.
func (r *run) held() bool {
	for _, n := range r.nodes {
		if n.state == Ready && n.held {
			return true
		}
	}
	return false
}

// noProgress is the error of a run that can't go on, with what each step waits
// for.
func (r *run) noProgress() error {
	var waits []string
	for _, n := range r.nodes {
		if !n.state.Ended() {
			waits = append(waits, n.path+" "+r.wait(n))
		}
	}
	return &Error{Code: Orchestration, Text: fmt.Sprintf("no progress: %d steps are left and none can start: %s", len(waits), list(waits))}
}

// wait says what a step that hasn't ended waits for.
func (r *run) wait(n *node) string {
	switch {
	case !n.scope.open:
		return "waits for the step it is in"
	case n.state == Ready && n.held:
		return n.why.reason
	case n.state == Ready && r.suspended:
		return "could start, but the run is suspended"
	case n.state == Ready:
		return "waits for a slot"
	case n.waiting == 0 && n.why != nil:
		return n.why.reason // a retry or interruption
	}
	var names []string
	named := map[*node]bool{} // for its end and for an output of it
	for _, p := range n.needs {
		if !p.state.Ended() && !named[p] {
			named[p] = true
			names = append(names, p.step.Name)
		}
	}
	if len(names) == 0 {
		return "waits for all others"
	}
	return "waits for " + list(names)
}

// note is why a step is in its state.
type note struct {
	code    Code
	reason  string
	err     error
	clean   bool
	elapsed time.Duration // of the attempt
}

func (n note) says() bool { return n.code != "" || n.reason != "" || n.err != nil || n.clean }

// move changes the state of a step and tells the observer. All changes are made
// here.
func (r *run) move(n *node, to State, why note) {
	from := n.state
	if !from.CanBecome(to) {
		if r.fault == nil {
			r.fault = &Error{Code: BadTransition, Step: n.path, Text: fmt.Sprintf("%s must not become %s", from, to)}
		}
		return
	}
	n.state, n.why = to, nil
	if why.says() {
		kept := why
		n.why = &kept
	}
	if to.Ended() {
		if !n.began.IsZero() {
			n.took = time.Since(n.began)
		}
		r.ended = append(r.ended, n)
	}
	if r.opts.Observe == nil {
		return
	}
	r.seq++
	e := Event{Seq: r.seq, At: time.Since(r.start), Step: n.path, Of: n.step.Of, From: from, To: to, Attempt: n.attempts,
		Elapsed: why.elapsed, Code: why.code, Reason: why.reason, Err: why.err, Clean: why.clean}
	if to == Completed {
		e.Outputs = n.outputs
	}
	r.opts.Observe(e)
}
