package grpcrunner

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Options say how a Client reaches its runner.
type Options struct {
	// TLS is how to encrypt; nil: plaintext, as Porch does within a cluster.
	TLS *tls.Config
	// MaxMessage is the largest request and answer in bytes; 0: MaxMessage.
	MaxMessage int
	// Timeout is the time a call may take, tries included; 0: 4 minutes.
	Timeout time.Duration
	// Tries is how often a call is made while the runner is unavailable, with
	// growing pauses in between; 0: 4.
	Tries int
}

// Client lets a function runner run the functions that a pipeline names by
// `image:`. It is safe for concurrent use.
type Client struct {
	conn *grpc.ClientConn
	addr string
	opts Options
}

// firstPause is the time before the second try; it doubles for each further one.
const firstPause = 100 * time.Millisecond

// Dial makes a client of the runner at addr, as in "localhost:9445". It doesn't
// connect yet. The caller closes the client.
func Dial(addr string, opts Options) (*Client, error) {
	if opts.MaxMessage == 0 {
		opts.MaxMessage = MaxMessage
	}
	if opts.Timeout == 0 {
		opts.Timeout = 4 * time.Minute
	}
	if opts.Tries == 0 {
		opts.Tries = 4
	}
	creds := insecure.NewCredentials()
	if opts.TLS != nil {
		creds = credentials.NewTLS(opts.TLS)
	}
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(codec{}),
			grpc.MaxCallRecvMsgSize(opts.MaxMessage),
			grpc.MaxCallSendMsgSize(opts.MaxMessage),
		))
	if err != nil {
		return nil, fmt.Errorf("function runner %s: %w", addr, err)
	}
	return &Client{conn: conn, addr: addr, opts: opts}, nil
}

// Close ends the connection; calls in flight fail.
func (c *Client) Close() error { return c.conn.Close() }

// Find implements runtime.Runtime. The protocol can't be asked what a runner
// has, so every image is found; Run's error wraps runtime.ErrNotFound when the
// runner answers that it doesn't know it, and the call is as it was.
func (c *Client) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	if ref.Image == "" {
		return nil, fmt.Errorf("function runner: %w", runtime.ErrOtherSort)
	}
	if ref.Tag != "" {
		return nil, fmt.Errorf("%w: the function runner takes no version constraints", runtime.ErrNotFound)
	}
	image := runtime.CompleteImage(ref.Image) // a runner knows no default prefix
	f := &runtime.Function{Name: image, Run: func(ctx context.Context, call *fn.Call) error {
		if err := c.run(ctx, call, image); err != nil {
			return fmt.Errorf("function %q: runner %s: %w", ref.Image, c.addr, err)
		}
		return nil
	}}
	if ref.Limits != (runtime.Limits{}) {
		f.Unbound = "a function runner is told no limits"
	}
	return f, nil
}

func (c *Client) run(ctx context.Context, call *fn.Call, image string) error {
	list, err := fn.EncodeCall(call)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeoutCause(ctx, c.opts.Timeout, fmt.Errorf("it took longer than %v: %w", c.opts.Timeout, context.DeadlineExceeded))
	defer stop()
	answer, err := c.evaluate(ctx, &message{list: list, other: []byte(image)})
	switch status.Code(err) {
	case codes.OK:
		call.Stderr = string(answer.other)
		return fn.DecodeCall(call, answer.list)
	case codes.NotFound:
		return fmt.Errorf("%w: %s", runtime.ErrNotFound, status.Convert(err).Message())
	case codes.Canceled, codes.DeadlineExceeded:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if status.Code(err) == codes.DeadlineExceeded { // the runner's clock is a little ahead, or it has a limit of its own
			return fmt.Errorf("%w: %s", context.DeadlineExceeded, status.Convert(err).Message())
		}
	}
	return err
}

// evaluate calls until the runner is there, within reason.
func (c *Client) evaluate(ctx context.Context, request *message) (*message, error) {
	pause := firstPause
	for try := 1; ; try++ {
		answer := new(message)
		err := c.conn.Invoke(ctx, "/"+service+"/"+method, request, answer)
		if status.Code(err) != codes.Unavailable || try >= c.opts.Tries {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
			pause *= 2
		}
	}
}
