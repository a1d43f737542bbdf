package dag

import (
	"errors"
	"fmt"
	"time"
)

// cancel ends the run early because its caller wants it to, or interrupts it.
func (r *run) cancel(why error) {
	if !errors.Is(why, ErrSuspend) {
		r.suspended = false // it is to end, and the finally steps are to run
		r.cut(r.root, why, false)
		return
	}
	r.suspended, r.interrupt = true, why
	for _, n := range r.nodes {
		if n.working() {
			r.stop(n, why)
		}
	}
}

// kill ends the run early, without its finally steps.
func (r *run) kill(why error) {
	r.suspended = false
	r.cut(r.root, why, true)
}

// expire ends a scope whose time is up.
func (r *run) expire(s *scope, after time.Duration) {
	s.expired = true
	if s == r.root {
		r.suspended = r.interrupt != nil // it has failed, its finally steps are to run
	}
	r.cut(s, &Error{Code: TimedOut, Text: fmt.Sprintf("not done within %s", after)}, false)
}

// cut ends a scope early: what hasn't begun is cancelled, what is at work is
// told to stop; all is whether that goes for finally steps too.
func (r *run) cut(s *scope, why error, all bool) {
	if !s.open {
		return
	}
	first := s.why == nil
	if first {
		s.why = why
	}
	s.killed = s.killed || all
	for i := range s.nodes {
		n := &s.nodes[i]
		switch {
		case n.step.Finally && !all:
		case n.compound() && n.inner.open:
			r.cut(n.inner, why, all)
		case n.working():
			r.stop(n, why)
		default:
			r.withdraw(n, why.Error())
		}
	}
	if first && s.closing && !all {
		r.limitFinally(s)
	}
}

// working says whether an attempt of the step itself is at work.
func (n *node) working() bool {
	return n.state == Executing && !(n.compound() && n.inner.open)
}

// withdraw cancels a step that hasn't begun, or waits for its next attempt.
func (r *run) withdraw(n *node, why string) {
	if n.state != Pending && n.state != Ready {
		return
	}
	if *n.pos >= 0 {
		r.lanes.remove(n)
	}
	if n.attempt != nil && n.attempt.alarm.pos >= 0 {
		r.discharge(n)
		r.retrying--
	}
	r.move(n, Cancelled, note{code: CancelledRun, reason: why})
}

// halt is FailFast: nothing else of the scope begins, but for finally steps.
func (r *run) halt(s *scope, failed *node) {
	if s.halted {
		return
	}
	s.halted = true
	for _, n := range s.order[:s.ordinary] {
		r.withdraw(n, failed.path+" failed")
	}
}

// limitFinally gives the finally steps of a scope that is cut short their time.
func (r *run) limitFinally(s *scope) {
	r.alarms.at(&s.alarm, time.Now().Add(r.opts.FinallyTime), func() {
		r.cut(s, &Error{Code: CancelledRun, Text: fmt.Sprintf("what runs finally wasn't done within %s", r.opts.FinallyTime)}, true)
	})
}
