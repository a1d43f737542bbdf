package repository

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	registry "github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// retries say how patient a client is.
type retries struct {
	attempts int           // 0 means 3
	delay    time.Duration // before the second attempt; 0 means 200 ms
}

// retry does something until it succeeds, fails for good or was tried often
// enough.
func (r retries) retry(ctx context.Context, do func() error) error {
	attempts := r.attempts
	if attempts <= 0 {
		attempts = 3
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = 200 * time.Millisecond
	if r.delay > 0 {
		wait.InitialInterval = r.delay
		wait.MaxInterval = max(wait.MaxInterval, r.delay)
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if err != nil && !isTransient(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(uint(attempts)), backoff.WithMaxElapsedTime(0)) // the attempts are the bound
	var permanent *backoff.PermanentError
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &permanent): // the last try's
		return permanent.Unwrap()
	}
	return err
}

// isTransient says whether trying again may help.
func isTransient(err error) bool {
	// Before the wrappings are off: a registry without TLS is asked with TLS
	// too, and of the two errors the wrong one would remain.
	var answer *registry.Error
	if errors.As(err, &answer) && answer.StatusCode != 0 {
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
	}
	err = unwrapUnexpected(err)
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= 500
	}
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
	)
	switch {
	case IsDenied(err), isTLS(err), errors.As(err, &cert), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &op), errors.Is(err, errHungUp), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// IsTransient says whether an error of this package is one that may go away:
// the network or the server failed. A refusal, or something that isn't there,
// stays.
func IsTransient(err error) bool { return err != nil && isTransient(err) }
