package dag

import (
	"slices"
	"time"
)

// Event is one change of a step's state.
type Event struct {
	Seq      int           // counts from 1 without gaps
	At       time.Duration // since the run began
	Step     string        // the path of the step
	Of       any           // as in the step
	From, To State
	Attempt  int           // how many attempts have begun, those of earlier runs included
	Elapsed  time.Duration // of the attempt that ended with this change, else 0
	Code     Code          // of Err, or of a cancellation
	Reason   string        // in words, why; may be empty
	Err      error         // of the attempt that failed; also when it will be retried
	Outputs  Outputs       // of a step that completed
	Clean    bool          // it completed because there was nothing to do
}

// Report is what came of a run.
type Report struct {
	Phase Phase
	// Steps are in the order of their declaration, those inside a step after it.
	Steps []StepReport
	Stats Stats
	// CriticalPath has the paths of the steps that, one after another, took
	// longest; CriticalTime is the sum of their times.
	CriticalPath []string
	CriticalTime time.Duration
	Elapsed      time.Duration
	// Stuck are the paths of steps whose Do had not returned at the end of the
	// run, though its context was done for the time of grace. They still run.
	Stuck []string
}

// StepReport is what came of one step.
type StepReport struct {
	Step     string // its path
	Of       any    // as in the step
	State    State
	Attempts int     // those of earlier runs included
	Outputs  Outputs // of a step that completed
	Code     Code    // of Err, or of a cancellation
	Err      error   // of a step that failed
	// Reason says, in words, why the step is where it is, or what one that
	// hasn't ended waits for. Empty for steps that completed.
	Reason string
	Clean  bool
	// Elapsed is from the start of the first attempt to the end of the last.
	Elapsed time.Duration
}

// Stats are the figures of a run. Steps inside others count like those outside.
type Stats struct {
	// Executed counts attempts, and gates and steps with steps inside as one.
	Executed int
	Retried  int // attempts that were to be followed by another
	Clean    int // steps that completed without anything to do; not in Executed

	// The steps by how they ended.
	Completed, Failed, Blocked, Skipped, Cancelled int

	Unfinished int // steps that haven't ended, in a run that was suspended
}

// SuccessRate is the share of Executed that completed a step, 0 if there is none.
func (s Stats) SuccessRate() float64 { return share(s.Completed-s.Clean, s.Executed) }

// FailureRate is the share of Executed that failed a step for good, 0 if there
// is none.
func (s Stats) FailureRate() float64 { return share(s.Failed, s.Executed) }

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// report describes the run as it is.
func (r *run) report(phase Phase) *Report {
	rep := &Report{Phase: phase, Stats: r.stats, Elapsed: time.Since(r.start), Steps: make([]StepReport, len(r.nodes))}
	for i, n := range r.nodes {
		s := &rep.Steps[i]
		*s = StepReport{Step: n.path, Of: n.step.Of, State: n.state, Attempts: n.attempts, Outputs: n.outputs, Elapsed: n.took}
		if n.why != nil {
			s.Code, s.Err, s.Reason, s.Clean = n.why.code, n.why.err, n.why.reason, n.why.clean
		}
		switch n.state {
		case Completed:
			rep.Stats.Completed++
		case Failed:
			rep.Stats.Failed++
		case Blocked:
			rep.Stats.Blocked++
		case Skipped:
			rep.Stats.Skipped++
		case Cancelled:
			rep.Stats.Cancelled++
		default:
			rep.Stats.Unfinished++
			s.Reason = r.wait(n)
		}
		if n.attempt != nil && n.attempt.stuck {
			rep.Stuck = append(rep.Stuck, n.path)
		}
	}
	last := longest(r.root, nil)
	if last != nil {
		rep.CriticalTime = last.length
	}
	for n := last; n != nil; n = n.tail {
		rep.CriticalPath = append(rep.CriticalPath, n.path)
	}
	slices.Reverse(rep.CriticalPath)
	return rep
}

// longest returns the last step of the chain of steps that took longest, of all
// in the scope; before is the last step of the chain in front of the scope, nil
// if there is none. The step in front of each is its tail.
func longest(s *scope, before *node) *node {
	top := before
	for i, n := range s.order {
		if i == s.ordinary {
			before = top // the finally steps follow all others
		}
		n.tail = before
		for _, p := range n.needs {
			last := p
			if p.compound() {
				last = p.tail
			}
			n.tail = longer(n.tail, last)
		}
		last := n
		if n.compound() {
			// it is no link of the chain itself, but ends where the chain inside does
			n.tail = longest(n.inner, n.tail)
			last = n.tail
		} else {
			n.length = n.took
			if n.tail != nil {
				n.length += n.tail.length
			}
		}
		top = longer(top, last)
	}
	return top
}

// longer returns the one with the longer chain, a if they are the same.
func longer(a, b *node) *node {
	if b == nil || a != nil && a.length >= b.length {
		return a
	}
	return b
}
