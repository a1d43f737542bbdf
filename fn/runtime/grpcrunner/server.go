package grpcrunner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Server is a function runner: it offers the functions of a Runtime to Porch.
type Server struct {
	// Runtime finds the functions.
	Runtime runtime.Runtime
	// MaxMessage is the largest request and answer in bytes; 0: MaxMessage.
	MaxMessage int
	// Grace is how long calls in flight may go on when Serve is told to end;
	// 0: 10 seconds.
	Grace time.Duration
}

// Serve answers calls on l until ctx ends, then lets those in flight finish. It
// closes l. The error is nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	most, grace := s.MaxMessage, s.Grace
	if most == 0 {
		most = MaxMessage
	}
	if grace == 0 {
		grace = 10 * time.Second
	}
	g := grpc.NewServer(grpc.ForceServerCodec(codec{}), grpc.MaxRecvMsgSize(most), grpc.MaxSendMsgSize(most))
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: method, Handler: handle}},
	}, s)

	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving functions on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	hurry := time.AfterFunc(grace, g.Stop)
	defer hurry.Stop()
	g.GracefulStop()
	<-served
	return nil
}

// handle is grpc's way to call a method.
func handle(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	request := new(message)
	if err := decode(request); err != nil {
		return nil, err
	}
	return srv.(*Server).evaluate(ctx, request)
}

// evaluate answers one call. Its errors are those of Porch's runner: NotFound
// for an image nobody has, so that Porch asks its next evaluator, and Internal
// with the results as text for a function that failed.
func (s *Server) evaluate(ctx context.Context, request *message) (_ *message, err error) {
	image := string(request.other)
	defer func() {
		if p := recover(); p != nil {
			err = status.Errorf(codes.Internal, "function %q panicked: %v", image, p)
		}
	}()
	f, err := s.Runtime.Find(ctx, runtime.Ref{Image: image})
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		return nil, status.Error(codes.NotFound, err.Error())
	case errors.Is(err, runtime.ErrNotAllowed):
		return nil, status.Error(codes.PermissionDenied, err.Error())
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	}
	var log string
	run := func(ctx context.Context, call *fn.Call) error {
		err := f.Run(ctx, call)
		log = call.Stderr
		return err
	}
	answer, results, err := fn.Serve(ctx, run, request.list)
	switch {
	case ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, runtime.ErrNotFound):
		return nil, status.Error(codes.NotFound, err.Error())
	case err != nil:
		return nil, status.Error(codes.Internal, failure(image, err, results))
	}
	return &message{list: answer, other: []byte(log)}, nil
}

// failure is a function's failure in the one string that the protocol has for
// it.
func failure(image string, err error, results []fn.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "function %q failed: %v", image, err)
	for _, r := range results {
		fmt.Fprintf(&b, "\n[%s] %s", r.Severity, r.Text())
	}
	return b.String()
}
