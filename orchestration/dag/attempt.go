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
	off bool  // it ended its goroutine
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
	if n.began.IsZero() {
		n.began = n.tried
		if n.step.Deadline > 0 {
			n.deadline = n.tried.Add(n.step.Deadline)
		}
	}
	r.stats.Executed++
	r.move(n, Executing, note{})
	var err error
	if !n.deadline.IsZero() && !n.tried.Before(n.deadline) {
		err = n.timeout(errDeadline, 0) // it passed while the step waited for a slot
	}
	until := sooner(n.deadline, n.tried, n.step.Timeout)
	if err == nil && n.compound() {
		var in Inputs
		in, err = n.gatherInputs(n.attempts)
		n.inputs = &in
	}
	switch {
	case err != nil:
		r.lanes.release(n.lane)
		r.failed(n, err)
	case n.compound():
		r.open(n.inner, n.tried, until)
	default:
		r.launch(n, until)
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
func (r *run) launch(n *node, until time.Time) {
	a := r.attempt(n)
	a.ctx, a.cancel = context.WithCancelCause(r.ctx)
	r.running++
	if !until.IsZero() {
		a.limit = until.Sub(n.tried)
		why := errTimeout
		if until.Equal(n.deadline) {
			why = errDeadline
		}
		r.alarms.at(&a.alarm, until, func() { r.stop(n, why) })
	}
	if r.interrupt != nil {
		r.stop(n, r.interrupt)
	}
	r.hand(call{a.ctx, n, n.attempts})
}

// attempt gives a step what its next attempt takes.
func (r *run) attempt(n *node) *attempt {
	if n.attempt == nil {
		if last := len(r.spare) - 1; last >= 0 {
			n.attempt, r.spare = r.spare[last], r.spare[:last]
		} else {
			n.attempt = &attempt{alarm: alarm{pos: -1}}
		}
	}
	return n.attempt
}

// discharge takes that away again. Few are ever in use, of however many steps.
func (r *run) discharge(n *node) {
	a := n.attempt
	n.attempt = nil
	r.alarms.off(&a.alarm)
	*a = attempt{alarm: alarm{pos: -1}}
	r.spare = append(r.spare, a)
}

// hand gives a call to a goroutine that has nothing to do or will soon, to a new
// one if there is none: attempts that never return keep theirs.
func (r *run) hand(c call) {
	r.busy++
	if r.busy <= r.servers {
		select {
		case r.calls <- c:
			return
		default:
		}
	}
	r.servers++
	go r.serve(c)
}

// call is what a goroutine has to do for an attempt.
type call struct {
	ctx     context.Context
	node    *node
	attempt int
}

// serve is all that happens outside the coordinator: one attempt after another,
// whose stack has grown as far as they need.
func (r *run) serve(c call) {
	r.work(c)
	for c := range r.calls {
		r.work(c)
	}
}

// work carries out one attempt.
func (r *run) work(c call) {
	res := result{node: c.node, off: true, err: &Error{Code: Dispatch, Text: "the step ended its goroutine"}}
	defer func() {
		if p := recover(); p != nil {
			res.off = false
			res.err = &Error{Code: Dispatch, Text: fmt.Sprintf("the step panicked: %v", p)}
		}
		res.cut = context.Cause(c.ctx)
		select {
		case r.results <- res:
			return
		default:
		}
		select {
		case r.results <- res:
		case <-r.done:
		}
	}()
	if in, err := c.node.inputsOf(c.attempt); err != nil {
		res.err = err
	} else {
		res.Result, res.err = c.node.step.Do(c.ctx, in)
	}
	res.off = false
}

// receive takes the result of an attempt.
func (r *run) receive(res result) {
	n := res.node
	r.busy--
	if res.off {
		r.servers--
	}
	stuck, limit, last := n.attempt.stuck, n.attempt.limit, n.attempt.last
	n.attempt.cancel(nil)
	r.discharge(n)
	r.lanes.release(n.lane)
	if stuck { // all is decided; what counts is that it's gone
		return
	}
	r.running--
	switch {
	case res.err != nil && res.cut == nil && isHeld(res.err):
		r.hold(n, res.err.Error())
	case res.cut == errTimeout || res.cut == errDeadline:
		err := n.timeout(res.cut, limit)
		if res.cut == errDeadline {
			err.Err = last // the clock doesn't say what went wrong before
		}
		r.failed(n, err)
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
	a := n.attempt
	if a.stopping {
		return
	}
	a.stopping = true
	a.cancel(why)
	r.alarms.at(&a.alarm, time.Now().Add(r.opts.Grace), func() { r.abandon(n) })
}

// abandon goes on without an attempt that hasn't returned in time. There is no
// other one: two at a time might do harm.
func (r *run) abandon(n *node) {
	r.running--
	n.attempt.stuck = true
	cut := context.Cause(n.attempt.ctx)
	if cut == errTimeout || cut == errDeadline {
		err := n.timeout(cut, n.attempt.limit)
		err.Text += fmt.Sprintf(", and hasn't returned %s after that", r.opts.Grace)
		r.conclude(n, err)
		return
	}
	r.interrupted(n, cut)
}

// timeout is the error of an attempt whose context was done because its time was
// up.
func (n *node) timeout(cut error, limit time.Duration) *Error {
	if cut == errDeadline {
		return &Error{Code: TimedOut, Text: fmt.Sprintf("not done within its deadline of %s", n.step.Deadline)}
	}
	return &Error{Code: TimedOut, Text: fmt.Sprintf("timed out after %s", limit)}
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
	r.launch(n, s.deadline)
}

// inputsOf are the inputs of an attempt at the step itself: of a compound, when
// all the steps inside have completed.
func (n *node) inputsOf(attempt int) (Inputs, error) {
	if !n.compound() {
		return n.gatherInputs(attempt)
	}
	in := *n.inputs // those inside may still look at the original
	in.Inner = make(map[string]Outputs, len(n.inner.nodes))
	for i := range n.inner.nodes {
		if c := &n.inner.nodes[i]; c.state == Completed {
			in.Inner[c.step.Name] = c.outputs
		}
	}
	return in, nil
}

// heldError is Held's.
type heldError struct{ reason string }

func (e *heldError) Error() string { return e.reason }

// Held makes an error by which a Do says that its step has to wait for somebody
// outside, and why. Nothing was attempted.
func Held(reason string) error { return &heldError{reason} }

func isHeld(err error) bool {
	var held *heldError
	return errors.As(err, &held)
}

// hold leaves a step to another run.
func (r *run) hold(n *node, reason string) {
	n.attempts--
	r.stats.Executed--
	n.held = true
	r.move(n, Pending, note{})
	r.move(n, Ready, note{reason: reason})
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
		n.attempts-- // it hasn't failed
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
		if codeOf(err) != TimedOut || time.Now().Before(n.deadline) {
			err = &Error{Code: TimedOut, Text: fmt.Sprintf("no time for another attempt within its deadline of %s", n.step.Deadline), Err: err}
		}
		r.conclude(n, err)
		return
	}
	r.stats.Retried++
	r.retrying++
	r.move(n, Pending, note{code: codeOf(err), reason: fmt.Sprintf("attempt %d of %d failed, the next is in %s", n.attempts, policy.Limit+1, wait),
		err: err, elapsed: time.Since(n.tried)})
	a := r.attempt(n)
	a.last = err
	r.alarms.at(&a.alarm, again, func() {
		r.retrying--
		r.queue(n)
	})
}

// conclude ends a step that failed.
func (r *run) conclude(n *node, err error) {
	r.move(n, Failed, note{code: codeOf(err), reason: err.Error(), elapsed: time.Since(n.tried),
		err: &Error{Code: codeOf(err), Step: n.path, Err: err}})
}
