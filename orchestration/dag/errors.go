package dag

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Code says what sort of error it is.
type Code string

// The codes of this package.
const (
	Orchestration    Code = "E5200" // a step's own error without a code; or the graph can't go on
	BadTransition    Code = "E5201" // a state followed another one it must not follow: a bug
	Dispatch         Code = "E5202" // a step's function panicked or never returned
	TimedOut         Code = "E5203" // a timeout or deadline passed
	StepsFailed      Code = "E5204" // the graph ended and steps of it failed
	RetriesExhausted Code = "E5205" // the last allowed attempt failed too
	CancelledRun     Code = "E5212" // the run was cancelled
	BadGraph         Code = "E5213" // a step or limit that can't be
	Cycle            Code = "E5301" // steps that need each other
	UnknownNeed      Code = "E5302" // a need names no step
	BadNeed          Code = "E5303" // a need that can't be
	MissingInput     Code = "E5405" // a completed step hasn't got the output that was needed
	BadRetry         Code = "E5704" // a retry policy that can't be
)

// Error is an error about a step, or about the whole graph.
type Error struct {
	Code Code
	Step string // the path of the step; empty: the graph
	Text string // what is wrong; empty when Err says it
	Err  error  // the cause; nil: there is none beside the text
}

// Error is the step's path, text and cause in one line; the code is not in it. Of steps
// inside one another the innermost is named: its path says the others. Behind a
// text that lists steps the one of them that it goes on with is named too.
func (e *Error) Error() string { return e.say(!e.ofInner()) }

func (e *Error) say(step bool) string {
	parts := make([]string, 0, 3)
	if step && e.Step != "" {
		parts = append(parts, e.Step)
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	if in, ok := e.Err.(*Error); ok && e.Text != "" {
		parts = append(parts, in.say(true))
	} else if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ofInner says whether the cause is an error of a step inside the one it is about.
func (e *Error) ofInner() bool {
	for in, ok := e.Err.(*Error); ok; in, ok = in.Err.(*Error) {
		if strings.HasPrefix(in.Step, e.Step+"/") {
			return true
		}
	}
	return false
}

// codeOf is the code err carries, Orchestration if it has none.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Orchestration
}

// Cause is why an attempt failed, as far as trying again is concerned.
type Cause string

// The causes. A timeout is an error with the code TimedOut, one that reports
// Timeout() true, as those of package net do, and context.DeadlineExceeded. An
// [*Error] with another code than Orchestration is Permanent: something is wrong
// that stays wrong. Any other error that isn't marked is Other.
const (
	Timeout     Cause = "Timeout"     // it took too long
	Unavailable Cause = "Unavailable" // the other side isn't there, or is busy
	Transient   Cause = "Transient"   // it is known to go away
	Other       Cause = "Error"       // anything else
	Permanent   Cause = "Permanent"   // trying again is of no use; never retried
)

// Mark returns err with a cause that [CauseOf] finds. A nil err stays nil.
func Mark(cause Cause, err error) error {
	if err == nil {
		return nil
	}
	return &marked{cause, err}
}

type marked struct {
	cause Cause
	error
}

func (m *marked) Unwrap() error { return m.error }

// CauseOf returns the cause that the outermost Mark in err's chain gave it, or
// else what err tells about itself.
func CauseOf(err error) Cause {
	if m, ok := errors.AsType[*marked](err); ok {
		return m.cause
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != Orchestration {
		if e.Code == TimedOut {
			return Timeout
		}
		return Permanent
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout
	}
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return Timeout
	}
	return Other
}

// RetryAfter is implemented by errors that know when trying again makes sense.
type RetryAfter interface {
	error
	RetryAfter() time.Duration
}

// ErrSuspend as the cause of the context given to Run, see
// [context.WithCancelCause], suspends the run and interrupts what is at work:
// those steps are Pending again, and no finally steps run.
var ErrSuspend = errors.New("suspended")
