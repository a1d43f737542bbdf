package dag

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type busy time.Duration

func (b busy) Error() string             { return "busy" }
func (b busy) RetryAfter() time.Duration { return time.Duration(b) }

func TestRetryWait(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name   string
		policy Retry
		err    error
		want   []time.Duration
	}{
		{"defaults", Retry{}, nil, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}},
		{"cap", Retry{Delay: 3 * s, MaxDelay: 10 * s}, nil, []time.Duration{3 * s, 6 * s, 10 * s, 10 * s}},
		{"constant", Retry{Delay: s, Factor: 1}, nil, []time.Duration{s, s, s}},
		{"fraction", Retry{Delay: 2 * s, Factor: 1.5}, nil, []time.Duration{2 * s, 3 * s, 4500 * time.Millisecond}},
		{"delay above cap", Retry{Delay: time.Hour}, nil, []time.Duration{60 * s, 60 * s}},
		{"huge factor", Retry{Factor: 1e300}, nil, []time.Duration{s, 60 * s, 60 * s}},
		{"server asks for more", Retry{}, fmt.Errorf("x: %w", busy(5*s)), []time.Duration{5 * s, 5 * s, 5 * s, 8 * s}},
		{"server asks for too much", Retry{}, busy(math.MaxInt64), []time.Duration{60 * s, 60 * s}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, want := range c.want {
				require.Equal(t, want, c.policy.wait(i+1, c.err), "after attempt %d", i+1)
			}
		})
	}
	require.Equal(t, time.Minute, Retry{}.wait(math.MaxInt32, nil))
}

func TestCauseOf(t *testing.T) {
	plain := errors.New("x")
	for _, c := range []struct {
		err  error
		want Cause
	}{
		{plain, Other},
		{context.DeadlineExceeded, Timeout},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), Timeout},
		{fmt.Errorf("get: %w", Mark(Unavailable, plain)), Unavailable},
		{Mark(Permanent, Mark(Transient, plain)), Permanent},
		{&Error{Code: "E5402", Err: plain}, Permanent},
		{&Error{Code: "E5901", Err: Mark(Unavailable, plain)}, Unavailable},
		{&Error{Code: TimedOut}, Timeout},
		{&Error{Code: Orchestration, Err: plain}, Other},
	} {
		require.Equal(t, c.want, CauseOf(c.err), "%#v", c.err)
	}
	require.NoError(t, Mark(Transient, nil))
	require.ErrorIs(t, Mark(Transient, plain), plain)
	require.True(t, Retry{On: []Cause{Other}}.handles(Other))
	require.False(t, Retry{On: []Cause{Permanent}}.handles(Permanent))
	require.False(t, Retry{}.handles(Other))
}
