package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// RetryPolicy says which failures are tried again, and when.
type RetryPolicy struct {
	// Limit is how many attempts may follow the first, up to 100. Required; set
	// by the user.
	Limit int `yaml:"limit"`
	// Delay is the wait before the second attempt. Default 1s; set by the user.
	Delay Duration `yaml:"delay,omitempty"`
	// Factor is what each wait is multiplied by to get the next, at least 1.
	// Default 2; set by the user.
	Factor float64 `yaml:"factor,omitempty"`
	// MaxDelay is the longest wait. Default 60s; set by the user.
	MaxDelay Duration `yaml:"maxDelay,omitempty"`
	// On are the causes that are tried again: Timeout, Unavailable, Transient
	// and Error, which is any other. Default the first three, and Error for
	// tool_call, atomic and llm_call. Set by the user.
	On []string `yaml:"on,omitempty"`
}

// Duration is a time span as Go writes it, such as 90s, 5m or 1h30m.
type Duration string

// Value is the time span, 0 when it is unset; that it is one is for Validate
// to check.
func (d Duration) Value() time.Duration {
	v, _ := time.ParseDuration(string(d))
	return v
}

const durationHint = "write a time span such as 90s, 5m or 1h30m"

// validate checks a time that something may take, which can't be none.
func (d Duration) validate(p *problems, field, name string) { d.check(p, "", field, name, false) }

// check is validate with a code; zero says that it can be none.
func (d Duration) check(p *problems, code, field, name string, zero bool) {
	if d == "" {
		return
	}
	field += "." + name
	switch v, err := time.ParseDuration(string(d)); {
	case err != nil:
		p.add(code, field, "is %s: %s", quote(string(d)), durationHint)
	case v < 0, v == 0 && !zero:
		p.add(code, field, "is %s: %s, or leave it out", quote(string(d)), durationHint)
	}
}

// The causes of failures that a RetryPolicy speaks of.
const (
	CauseTimeout     = "Timeout"     // an attempt took too long
	CauseUnavailable = "Unavailable" // what it needs can't be reached
	CauseTransient   = "Transient"   // the other side says to try again
	CauseError       = "Error"       // any other
)

var causes = []string{CauseTimeout, CauseUnavailable, CauseTransient, CauseError}

const maxRetries = 100

func (r *RetryPolicy) validate(p *problems, field string) {
	switch {
	case r.Limit == absent:
		p.missing(field+".limit", "write how many attempts may follow the first, from 0 to %d", maxRetries)
	case r.Limit < 0, r.Limit > maxRetries:
		p.add(codeRetry, field+".limit", "is %d: write how many attempts may follow the first, from 0 to %d", r.Limit, maxRetries)
	}
	r.Delay.check(p, codeRetry, field, "delay", true)
	r.MaxDelay.check(p, codeRetry, field, "maxDelay", true)
	if f := r.Factor; f != 0 && f < 1 {
		p.add(codeRetry, field+".factor", "is %v: write what each wait is multiplied by, at least 1", f)
	}
	for i, c := range r.On {
		if !slices.Contains(causes, c) {
			p.add(codeRetry, fmt.Sprintf("%s.on[%d]", field, i), "unknown cause %s%s (known: %s)", quote(c), DidYouMean(c, causes), strings.Join(causes, ", "))
		}
	}
}
