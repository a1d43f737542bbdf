package dag

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errTimeout and errDeadline are why an attempt's context is done when its own
// time is up; anything else is a cancellation.
var (
	errTimeout  = errors.New("the timeout of the attempt has passed")
	errDeadline = errors.New("the deadline of the step has passed")
)

// result is what an attempt returned.
type result struct {
	node *node
	Result
	err error
	cut error // why its context was done when it returned, nil if it wasn't
}

// begin starts a step that has got its slots.
func (r *run) begin(n *node) {
	if n.gate() {
		r.stats.Executed++
		r.move(n, Completed, note{})
		return
	}
	n.attempts++
	n.tried = time.Now()
	if n.attempts == 1 {
		n.began = n.tried
		if n.step.Deadline > 0 {
			n.deadline = n.tried.Add(n.step.Deadline)
		}
	}
	r.stats.Executed++
	r.move(n, Executing, note{})
	in, err := n.gatherInputs()
	if err == nil && !n.deadline.IsZero() && !n.tried.Before(n.deadline) {
		err = n.timeout(errDeadline) // it passed while the step waited for a slot
	}
	until := sooner(n.deadline, n.tried, n.step.Timeout)
	switch {
	case err != nil:
		r.lanes.release(n.lane)
		r.failed(n, err)
	case n.compound():
		n.inputs = new(in)
		r.open(n.inner, n.tried, until)
	default:
		r.launch(n, in, until)
	}
}

// sooner returns until or start+limit, whichever is before; a zero time or limit
// is none.
func sooner(until, start time.Time, limit time.Duration) time.Time {
	if limit == 0 {
		return until
	}
	if t := start.Add(limit); until.IsZero() || t.Before(until) {
		return t
	}
	return until
}

// launch calls the step's Do on a goroutine that has nothing else to do, and
// tells it to stop at the time until, if that isn't zero.
func (r *run) launch(n *node, in Inputs, until time.Time) {
	n.ctx, n.cancel = context.WithCancelCause(r.ctx)
	n.stopping = false
	r.running++
	if !until.IsZero() {
		n.limit = until.Sub(n.tried)
		why := errTimeout
		if until.Equal(n.deadline) {
			why = errDeadline
		}
		r.alarms.at(&n.alarm, until, func() { r.stop(n, why) })
	}
	if r.interrupt != nil {
		r.stop(n, r.interrupt)
	}
	c := call{n.ctx, n, in}
	select {
	case r.calls <- c:
	default:
		go r.serve(c)
	}
}

// call is what a goroutine has to do for an attempt.
type call struct {
	ctx  context.Context
	node *node
	in   Inputs
}

// serve is all that happens outside the coordinator: one attempt after another,
// whose stack has grown as far as they need.
func (r *run) serve(c call) {
	for {
		r.work(c.ctx, c.node, c.in)
		select {
		case c = <-r.calls:
		case <-r.done:
			return
		}
	}
}

// work carries out one attempt.
func (r *run) work(ctx context.Context, n *node, in Inputs) {
	res := result{node: n, err: &Error{Code: Dispatch, Text: "the step ended its goroutine"}}
	defer func() {
		if p := recover(); p != nil {
			res.err = &Error{Code: Dispatch, Text: fmt.Sprintf("the step panicked: %v", p)}
		}
		res.cut = context.Cause(ctx)
		select {
		case r.results <- res:
		case <-r.done:
		}
	}()
	res.Result, res.err = n.step.Do(ctx, in)
}

// receive takes the result of an attempt.
func (r *run) receive(res result) {
	n := res.node
	if n.stuck { // all is decided; what counts is that it's gone
		n.stuck = false
		r.lanes.release(n.lane)
		return
	}
	r.running--
	r.alarms.off(&n.alarm)
	n.cancel(nil)
	r.lanes.release(n.lane)
	n.ctx, n.cancel = nil, nil // a run of many steps is not to keep them all
	switch {
	case res.cut == errTimeout || res.cut == errDeadline:
		r.failed(n, n.timeout(res.cut))
	case res.err == nil:
		r.completed(n, res.Result)
	case res.cut != nil:
		r.interrupted(n, res.cut)
	default:
		r.failed(n, res.err)
	}
}

// stop tells an attempt to return, and gives it the time of grace to do so.
func (r *run) stop(n *node, why error) {
	if n.stopping {
		return
	}
	n.stopping = true
	n.cancel(why)
	r.alarms.at(&n.alarm, time.Now().Add(r.opts.Grace), func() { r.abandon(n) })
}

// abandon goes on without an attempt that hasn't returned in time. There is no
// other one: two at a time might do harm.
func (r *run) abandon(n *node) {
	r.running--
	n.stuck = true
	cut := context.Cause(n.ctx)
	if cut == errTimeout || cut == errDeadline {
		err := n.timeout(cut)
		err.Text += fmt.Sprintf(", and hasn't returned %s after that", r.opts.Grace)
		r.conclude(n, err)
		return
	}
	r.interrupted(n, cut)
}

// timeout is the error of an attempt whose context was done because its time was
// up.
func (n *node) timeout(cut error) *Error {
	if cut == errDeadline {
		return &Error{Code: TimedOut, Text: fmt.Sprintf("not done within its deadline of %s", n.step.Deadline)}
	}
	return &Error{Code: TimedOut, Text: fmt.Sprintf("timed out after %s", n.limit)}
}

// gather ends a step when all the steps inside it have ended.
func (r *run) gather(n *node) {
	s := n.inner
	if s.expired {
		r.conclude(n, s.why)
		return
	}
	if s.why != nil {
		r.interrupted(n, s.why)
		return
	}
	if err := s.failure(); err != nil {
		r.conclude(n, err)
		return
	}
	if n.step.Do == nil {
		r.completed(n, Result{})
		return
	}
	in := *n.inputs // those inside may still look at the original
	in.Inner = make(map[string]Outputs, len(s.nodes))
	for i := range s.nodes {
		if c := &s.nodes[i]; c.state == Completed {
			in.Inner[c.step.Name] = c.outputs
		}
	}
	r.launch(n, in, s.deadline)
}

// completed ends a step that did its work.
func (r *run) completed(n *node, res Result) {
	n.outputs = res.Outputs
	if res.Clean {
		r.stats.Executed--
		r.stats.Clean++
	}
	r.move(n, Completed, note{clean: res.Clean, elapsed: time.Since(n.tried)})
}

// interrupted ends a step that was told to stop, or puts it back for the next
// run if this one is only suspended.
func (r *run) interrupted(n *node, why error) {
	elapsed := time.Since(n.tried)
	if errors.Is(why, ErrSuspend) {
		r.move(n, Pending, note{reason: "interrupted by the suspension of the run", elapsed: elapsed})
		return
	}
	r.move(n, Cancelled, note{code: CancelledRun, reason: why.Error(), elapsed: elapsed})
}

// failed lets a step wait for its next attempt, or ends it if there is none.
func (r *run) failed(n *node, err error) {
	policy := n.step.Retry
	if policy.Limit == 0 || !policy.handles(CauseOf(err)) || n.scope.refuses(n) {
		r.conclude(n, err)
		return
	}
	if n.attempts > policy.Limit {
		r.conclude(n, &Error{Code: RetriesExhausted, Text: fmt.Sprintf("attempt %d of %d", n.attempts, policy.Limit+1), Err: err})
		return
	}
	wait := policy.wait(n.attempts, err)
	again := time.Now().Add(wait)
	if !n.deadline.IsZero() && !again.Before(n.deadline) {
		r.conclude(n, &Error{Code: TimedOut, Text: fmt.Sprintf("no time for another attempt within its deadline of %s", n.step.Deadline), Err: err})
		return
	}
	r.stats.Retried++
	r.retrying++
	r.move(n, Pending, note{code: codeOf(err), reason: fmt.Sprintf("attempt %d of %d failed, the next is in %s", n.attempts, policy.Limit+1, wait),
		err: err, elapsed: time.Since(n.tried)})
	r.alarms.at(&n.alarm, again, func() {
		r.retrying--
		r.queue(n)
	})
}

// conclude ends a step that failed.
func (r *run) conclude(n *node, err error) {
	r.move(n, Failed, note{code: codeOf(err), reason: err.Error(), elapsed: time.Since(n.tried),
		err: &Error{Code: codeOf(err), Step: n.path, Err: err}})
}
