package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/fn/runtime/grpcrunner"
)

// runtimeFlags are how functions run, as far as the operator allows them to.
type runtimeFlags struct {
	builtin    string
	engine     string
	pullPolicy string
	runner     string
	runnerCA   string
	config     string
	lenient    bool
	limits     limits
	kill       <-chan struct{} // see app
}

// limits are what one call of a function may use. Zero is no limit, for timeout
// and processes the runtimes' own.
type limits struct {
	timeout   time.Duration
	memory    byteSize
	cpu       time.Duration
	cpus      float64
	processes processCount
}

func (f *runtimeFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.builtin, "builtin", string(builtin.Compatible), "which functions run in process, by `VERSIONS`: exact (only those they are), compatible, never")
	fs.StringVar(&f.engine, "container-runtime", "docker", "the `PROGRAM` that runs containers: docker, podman, nerdctl")
	fs.StringVar(&f.pullPolicy, "image-pull-policy", string(runtime.PullIfNotPresent), "`POLICY` for fetching images: Always, IfNotPresent or Never")
	fs.StringVar(&f.runner, "function-runner", "", "`HOST:PORT` of a Porch function runner, asked for images that nothing else may run")
	fs.StringVar(&f.runnerCA, "function-runner-ca", "", "speak TLS with the function runner, whose certificate is signed by one in `FILE` (\"system\": by a well-known one)")
	fs.StringVar(&f.config, "runner-config", "", "`FILE` that narrows, by namespace, which functions run and how")
	fs.BoolVar(&f.lenient, "lenient-results", false, "let a function pass that reports an error and doesn't fail, as kpt does")
	fs.DurationVar(&f.limits.timeout, "function-timeout", 4*time.Minute, "how long one call of a function may take; it is asked to end then, and killed 10s later")
	fs.Var(&f.limits.memory, "function-memory", "memory of one executable or container, `BYTES` with k, M or G (default no limit)")
	fs.DurationVar(&f.limits.cpu, "function-cpu", 0, "processor time of one executable (default no limit)")
	fs.Float64Var(&f.limits.cpus, "function-cpus", 0, "processors of one container, 1.5 for one and a half (default no limit)")
	fs.Var(&f.limits.processes, "function-processes", "processes and threads of one container (default 1024); for executables, of the user that runs them altogether, which doesn't bind root (default 16384); 0: no limit")
}

// chain is the runtimes that the operator allows, the cheapest first: of those
// named in only, or all. The caller calls done when nothing runs any more.
func (f *runtimeFlags) chain(p *permissions, l limits, only []string) (r runtime.FirstOf, done func(), err error) {
	mode, err := builtin.ParseMode(f.builtin)
	if err != nil {
		return nil, nil, usageError("--builtin: %v", err)
	}
	pull := runtime.PullPolicy(f.pullPolicy)
	if !slices.Contains([]runtime.PullPolicy{runtime.PullAlways, runtime.PullIfNotPresent, runtime.PullNever}, pull) {
		return nil, nil, usageError("--image-pull-policy is %q: write Always, IfNotPresent or Never", f.pullPolicy)
	}
	done = func() {}
	for _, name := range runtimeNames {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		switch name {
		case "builtin":
			r = append(r, builtin.New(mode))
		case "exec":
			r = append(r, &runtime.Exec{
				Allow: p.exec, AllowAny: slices.Contains(p.exec, anyValue),
				Timeout: l.timeout, Memory: int64(l.memory), CPU: l.cpu, Processes: int(l.processes), Kill: f.kill,
			})
		case "grpc":
			if f.runner == "" {
				continue
			}
			client, err := f.dial(l.timeout)
			if err != nil {
				return nil, nil, fmt.Errorf("--function-runner: %w", err)
			}
			r = append(r, client)
			done = func() { _ = client.Close() }
		case "container":
			r = append(r, &runtime.Container{
				Allow: p.container, AllowAny: slices.Contains(p.container, anyValue),
				Engine: f.engine, Pull: pull, Timeout: l.timeout, Memory: int64(l.memory), CPUs: l.cpus, Processes: int(l.processes), Kill: f.kill,
			})
		}
	}
	return r, done, nil
}

// runtimeNames are the sorts of runtimes, the cheapest first.
var runtimeNames = []string{"builtin", "exec", "grpc", "container"}

func (f *runtimeFlags) dial(timeout time.Duration) (*grpcrunner.Client, error) {
	opts := grpcrunner.Options{Timeout: timeout}
	switch f.runnerCA {
	case "":
	case "system":
		opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		pem, err := os.ReadFile(f.runnerCA)
		if err != nil {
			return nil, fmt.Errorf("--function-runner-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--function-runner-ca: %s holds no certificate in PEM", f.runnerCA)
		}
		opts.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return grpcrunner.Dial(f.runner, opts)
}

// byteSize is a number of bytes as a flag: 512M, 2G. Powers of 1024.
type byteSize int64

// maxByteSize is more than any machine has, and far from what int64 can't hold.
const maxByteSize = 1 << 50

func (b *byteSize) String() string { return fmt.Sprint(int64(*b)) }

// Type implements pflag.Value.
func (b *byteSize) Type() string { return "BYTES" }

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	shift := 0
	number := strings.TrimSuffix(strings.TrimSuffix(s, "i"), "B")
	for i, unit := range []string{"k", "M", "G"} {
		if n, ok := strings.CutSuffix(strings.TrimSuffix(number, "i"), unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	var n int64
	if _, err := fmt.Sscanf(number+"\n", "%d\n", &n); err != nil || n < 0 || n > maxByteSize>>shift {
		return fmt.Errorf("%q is no size: write a number with k, M or G", s)
	}
	*b = byteSize(n << shift)
	return nil
}

// processCount is a number of processes as a flag, in which 0 is no limit; as a
// value that is below zero, and 0 the default.
type processCount int

func (c *processCount) String() string {
	switch {
	case *c == 0:
		return ""
	case *c < 0:
		return "0"
	}
	return strconv.Itoa(int(*c))
}

// Type implements pflag.Value.
func (c *processCount) Type() string { return "int" }

// Set implements pflag.Value.
func (c *processCount) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<30 {
		return fmt.Errorf("%q is no number of processes: write one from 0, which is no limit", s)
	}
	if n == 0 {
		n = -1
	}
	*c = processCount(n)
	return nil
}

// serveCommand offers the builtin functions to a Porch server.
func (a *app) serveCommand() *cobra.Command {
	var listen, mode string
	cmd := &cobra.Command{
		Use:   "serve-functions",
		Short: "Be a function runner: offer the builtin functions to a Porch server",
		Long: `Answers Porch's function-runner protocol (evaluator.FunctionEvaluator) in plain
text with the builtin functions, until it is interrupted. It runs nothing else.`,
		Args: exactArgs(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd.Context(), listen, mode)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "localhost:9445", "`HOST:PORT` to listen on")
	cmd.Flags().StringVar(&mode, "builtin", string(builtin.Compatible), "which `VERSIONS` are answered: exact, compatible")
	return cmd
}

func (a *app) serve(ctx context.Context, listen, mode string) error {
	m, err := builtin.ParseMode(mode)
	if err != nil {
		return usageError("--builtin: %v", err)
	}
	if m == builtin.Never {
		return usageError("--builtin=never leaves nothing to serve: write exact or compatible")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "listening on %s\n", l.Addr())
	return (&grpcrunner.Server{Runtime: builtin.New(m)}).Serve(ctx, l)
}
