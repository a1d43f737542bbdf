package grpcrunner

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/runtimetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// odd is a Runtime of functions that misbehave, with those of runtimetest
// behind it. It knows them by their complete names only, as Porch's runner does.
type odd struct{}

func (odd) Find(ctx context.Context, ref runtime.Ref) (*runtime.Function, error) {
	short, complete := strings.CutPrefix(strings.TrimSuffix(ref.Image, ":latest"), runtime.DefaultPrefix)
	if !complete {
		return nil, fmt.Errorf("odd: %w: %s", runtime.ErrNotFound, ref)
	}
	ref.Image = short
	f := func(run fn.Func) (*runtime.Function, error) {
		return &runtime.Function{Name: ref.Image, Run: run}, nil
	}
	switch ref.Image {
	case "panic":
		return f(func(context.Context, *fn.Call) error { panic("oh no") })
	case "forbidden":
		return nil, fmt.Errorf("odd: %w", runtime.ErrNotAllowed)
	case "error-result":
		return f(func(_ context.Context, c *fn.Call) error { c.Add(fn.Error, nil, "", "bad"); return nil })
	case "log":
		return f(func(_ context.Context, c *fn.Call) error { c.Stderr = "talking"; return nil })
	case "big":
		return f(func(_ context.Context, c *fn.Call) error {
			return c.Items[0].Node.PipeE(yaml.SetField("data", yaml.NewStringRNode(strings.Repeat("x", 1<<20))))
		})
	}
	return runtimetest.InProcess{}.Find(ctx, ref)
}

// start serves odd on loopback and returns the address and what ends it.
func start(t *testing.T) (addr string, stop func() error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Server{Runtime: odd{}}).Serve(ctx, l) }()
	stop = func() error { cancel(); return <-done }
	t.Cleanup(cancel)
	return l.Addr().String(), stop
}

func dial(t *testing.T, addr string, o Options) *Client {
	c, err := Dial(addr, o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func image(name string) runtime.Ref { return runtime.Ref{Image: name} }

func call(t *testing.T, c runtime.Runtime, name string) (*fn.Call, error) {
	f, err := c.Find(t.Context(), image(name))
	require.NoError(t, err)
	call := &fn.Call{Items: []*fn.Object{{Path: "a.yaml", Node: yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n")}}}
	return call, f.Run(t.Context(), call)
}

func TestConforms(t *testing.T) {
	addr, _ := start(t)
	runtimetest.Conform(t, runtimetest.Subject{
		Runtime: dial(t, addr, Options{}),
		Ref:     image,
		Unknown: image("nobody-has-this"),
	})
}

func TestAnswers(t *testing.T) {
	addr, _ := start(t)
	c := dial(t, addr, Options{})
	for name, tc := range map[string]struct {
		code codes.Code
		says []string
	}{
		"panic":        {codes.Internal, []string{"panicked", "oh no"}},
		"forbidden":    {codes.PermissionDenied, []string{"not allowed"}},
		"error-result": {codes.Internal, []string{"error-result", "[error] bad"}},
		"fail":         {codes.Internal, []string{"it went wrong", "[error] a.yaml: ConfigMap a: data.k: k is wrong"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := call(t, c, name)
			require.Equal(t, tc.code, status.Code(err), "%v", err)
			for _, s := range tc.says {
				assert.ErrorContains(t, err, s)
			}
			assert.Len(t, got.Items, 1)
		})
	}
	got, err := call(t, c, "log")
	require.NoError(t, err)
	assert.Equal(t, "talking", got.Stderr)

	_, err = call(t, dial(t, addr, Options{MaxMessage: 1 << 19}), "big")
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	_, err = call(t, c, "big")
	require.NoError(t, err)
}

func TestFindLeavesOthersToOthers(t *testing.T) {
	c := dial(t, "127.0.0.1:1", Options{})
	for _, ref := range []runtime.Ref{{Exec: "sed"}, {Image: "x", Tag: "~1.0"}} {
		_, err := c.Find(t.Context(), ref)
		require.ErrorIs(t, err, runtime.ErrNotFound)
	}
}

func TestFindSaysThatLimitsDontHold(t *testing.T) {
	c := dial(t, "127.0.0.1:1", Options{})
	f, err := c.Find(t.Context(), runtime.Ref{Image: "x"})
	require.NoError(t, err)
	assert.Empty(t, f.Unbound)
	f, err = c.Find(t.Context(), runtime.Ref{Image: "x", Limits: runtime.Limits{Memory: 1}})
	require.NoError(t, err)
	assert.Equal(t, "a function runner is told no limits", f.Unbound)
}

func TestFallsThrough(t *testing.T) {
	addr, _ := start(t)
	behind := runtime.FirstOf{dial(t, addr, Options{}), elsewhere{}}
	_, err := call(t, behind, "elsewhere")
	require.NoError(t, err)
	_, err = call(t, behind, "nowhere")
	require.ErrorIs(t, err, runtime.ErrNotFound)
}

type elsewhere struct{}

func (elsewhere) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	if ref.Image != "elsewhere" {
		return nil, runtime.ErrNotFound
	}
	return &runtime.Function{Name: "elsewhere", Run: runtimetest.Functions["identity"]}, nil
}

// TestRetries speaks to a server that is unavailable twice.
func TestRetries(t *testing.T) {
	var calls atomic.Int32
	addr := answering(t, func(m *message) (*message, error) {
		if calls.Add(1) <= 2 {
			return nil, status.Error(codes.Unavailable, "later")
		}
		return &message{list: m.list}, nil
	})
	_, err := call(t, dial(t, addr, Options{}), "x")
	require.NoError(t, err)
	assert.EqualValues(t, 3, calls.Load())

	calls.Store(0)
	_, err = call(t, dial(t, addr, Options{Tries: 2}), "x")
	require.Equal(t, codes.Unavailable, status.Code(err))
}

// answering serves answer on loopback and returns the address.
func answering(t *testing.T, answer func(*message) (*message, error)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := grpc.NewServer(grpc.ForceServerCodec(codec{}))
	g.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: method,
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new(message)
			if err := decode(m); err != nil {
				return nil, err
			}
			return answer(m)
		},
	}}}, nil)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return l.Addr().String()
}

// A runner may see that the time is up before the client does.
func TestRunnersTimeout(t *testing.T) {
	addr := answering(t, func(*message) (*message, error) {
		return nil, status.Error(codes.DeadlineExceeded, "after a second")
	})
	_, err := call(t, dial(t, addr, Options{}), "x")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "after a second")
}

func TestTimeout(t *testing.T) {
	addr, _ := start(t)
	began := time.Now()
	_, err := call(t, dial(t, addr, Options{Timeout: 100 * time.Millisecond}), "sleep")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 5*time.Second)
}

func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := tls.NewListener(plain, &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Server{Runtime: odd{}}).Serve(ctx, l) }()
	defer func() { cancel(); assert.NoError(t, <-done) }()

	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	_, err = call(t, dial(t, l.Addr().String(), Options{TLS: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}), "identity")
	require.NoError(t, err)
	_, err = call(t, dial(t, l.Addr().String(), Options{Tries: 1, TLS: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}}), "identity")
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	_, err = call(t, dial(t, l.Addr().String(), Options{Tries: 1}), "identity")
	require.Equal(t, codes.Unavailable, status.Code(err))
}

func TestServeEndsWithContext(t *testing.T) {
	addr, stop := start(t)
	c := dial(t, addr, Options{})
	_, err := call(t, c, "identity")
	require.NoError(t, err)
	require.NoError(t, stop())
	_, err = call(t, dial(t, addr, Options{Tries: 1}), "identity")
	require.Equal(t, codes.Unavailable, status.Code(err))
}

func TestCodec(t *testing.T) {
	for _, m := range []*message{{}, {list: []byte("a")}, {other: []byte("b")}, {list: []byte("a"), other: []byte("b")}} {
		b, err := codec{}.Marshal(m)
		require.NoError(t, err)
		var got message
		require.NoError(t, codec{}.Unmarshal(b, &got))
		assert.Equal(t, *m, got)
	}
	// as protoc's code writes it: field 1 "l", field 2 "i", then an unknown field 3 varint
	var m message
	require.NoError(t, codec{}.Unmarshal([]byte{0x0a, 1, 'l', 0x12, 1, 'i', 0x18, 5}, &m))
	assert.Equal(t, message{list: []byte("l"), other: []byte("i")}, m)
	for _, bad := range [][]byte{{0x0a}, {0x0a, 9, 'x'}, {0xff}, {0x18}} {
		assert.Error(t, codec{}.Unmarshal(bad, &m), "%x", bad)
	}
	_, err := codec{}.Marshal("x")
	assert.Error(t, err)
}
