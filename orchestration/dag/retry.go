package dag

import (
	"errors"
	"math"
	"slices"
	"time"
)

// Retry says which failures of a step are tried again, and when. While it waits
// a step holds no slot.
type Retry struct {
	// Limit is how many attempts may follow the first: with 3 there are up to 4.
	Limit int
	// Delay is the wait before the second attempt; 0: 1s.
	Delay time.Duration
	// Factor is what each wait is multiplied by to get the next, at least 1; 0: 2.
	Factor float64
	// MaxDelay is the longest wait; 0: 60s.
	MaxDelay time.Duration
	// On are the causes that are tried again. Nil: Timeout, Unavailable and
	// Transient. Permanent is never among them.
	On []Cause
}

const (
	defaultDelay    = time.Second
	defaultFactor   = 2
	defaultMaxDelay = time.Minute
)

// handles says whether a failure for this cause is tried again.
func (r Retry) handles(c Cause) bool {
	on := r.On
	if on == nil {
		on = []Cause{Timeout, Unavailable, Transient}
	}
	return c != Permanent && slices.Contains(on, c)
}

// wait is the time between attempt n, counted from 1, which failed with err,
// and the next: delay, delay·factor, delay·factor² and so on, or longer if err
// asks for it, but never longer than MaxDelay.
func (r Retry) wait(n int, err error) time.Duration {
	delay, factor, limit := r.Delay, r.Factor, r.MaxDelay
	if delay == 0 {
		delay = defaultDelay
	}
	if factor == 0 {
		factor = defaultFactor
	}
	if limit == 0 {
		limit = defaultMaxDelay
	}
	wait := limit
	// compared as floats, where too much is +Inf and not a negative duration
	if w := float64(delay) * math.Pow(factor, float64(n-1)); w < float64(limit) {
		wait = time.Duration(w)
	}
	if after, ok := errors.AsType[RetryAfter](err); ok {
		wait = max(wait, after.RetryAfter())
	}
	return min(wait, limit)
}

// check returns what is wrong with the policy, "" if nothing is.
func (r Retry) check() string {
	switch {
	case r.Limit < 0:
		return "retry limit is negative"
	case r.Delay < 0:
		return "retry delay is negative"
	case r.MaxDelay < 0:
		return "retry maxDelay is negative"
	case r.Factor != 0 && (!(r.Factor >= 1) || math.IsInf(r.Factor, 0)):
		return "retry factor is less than 1, or no number"
	}
	for _, c := range r.On {
		if !slices.Contains([]Cause{Timeout, Unavailable, Transient, Other}, c) {
			return "retry on " + string(c) + " is not possible: use Timeout, Unavailable, Transient or Error"
		}
	}
	return ""
}
