package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// What a process may do unless its runtime says otherwise.
const (
	defaultTimeout   = 4 * time.Minute // kpt ends the function that called us at 5
	defaultGrace     = 10 * time.Second
	defaultMaxOutput = 256 << 20
	maxStderr        = 1 << 20

	defaultProcesses     = 1024     // of one container
	defaultUserProcesses = 16 << 10 // of the user, for an executable

	pipeTime   = time.Second      // for what a killed process has still to say
	removeTime = 10 * time.Second // for an engine to kill and remove a container
)

// Ending is how long a call that is told to end takes at most until nothing of it
// runs any more, unless its runtime was given another Grace. Who doesn't wait as
// long may leave a container behind.
const Ending = defaultGrace + pipeTime + removeTime

// process is one run of a program that answers its standard input on its
// standard output.
type process struct {
	path  string   // what to execute
	args  []string // argv, the name first
	dir   string   // empty: this process's
	env   []string
	files []*os.File // inherited, from descriptor 3 on

	timeout   time.Duration   // 0: defaultTimeout
	grace     time.Duration   // from the first request to end until it is killed; 0: defaultGrace
	kill      <-chan struct{} // when closed there is no grace; nil: there is
	maxOutput int             // bytes of standard output; 0: defaultMaxOutput
	limits    limits
}

// limits are what the operating system grants a process; zero: no limit.
type limits struct {
	memory    int64 // bytes of data
	cpu       time.Duration
	processes int
}

// run runs the process to its end. An exit code is no error. When ctx ends or
// the time is up the process and all it started are asked to end, then killed;
// the error wraps the reason, and the output so far is returned.
func (p process) run(ctx context.Context, stdin []byte) (*output, error) {
	timeout, grace := orDefault(p.timeout, defaultTimeout), orDefault(p.grace, defaultGrace)
	ctx, stop := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %v: %w", timeout, context.DeadlineExceeded))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	stdout := &bounded{most: orDefault(p.maxOutput, defaultMaxOutput), overflow: func() { cancel(errOutput) }}
	stderr := &bounded{most: maxStderr}
	limited := make(chan struct{})
	cmd := exec.CommandContext(ctx, p.path)
	cmd.Args, cmd.Dir, cmd.Env, cmd.ExtraFiles = p.args, p.dir, p.env, p.files
	cmd.Stdin = &gate{open: limited, r: bytes.NewReader(stdin)}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ownGroup(cmd)
	var killer *time.Timer
	ended := make(chan struct{})
	cmd.Cancel = func() error {
		killer = time.AfterFunc(grace, func() { killGroup(cmd) })
		go func() {
			select {
			case <-p.kill:
				killGroup(cmd)
			case <-ended:
			}
		}()
		return endGroup(cmd)
	}
	cmd.WaitDelay = grace + pipeTime // for pipes that something outside the group holds

	if err := cmd.Start(); err != nil {
		close(limited)
		return &output{}, fmt.Errorf("starting it: %w", err)
	}
	limitErr := p.limits.apply(cmd.Process.Pid)
	if limitErr != nil {
		cancel(fmt.Errorf("limiting it: %w", limitErr))
	}
	close(limited)
	err := cmd.Wait()
	close(ended)
	if killer != nil {
		killer.Stop()
	}
	killGroup(cmd) // what it left running
	out := &output{stdout: stdout.b.Bytes(), stderr: stderr.text(), exitCode: exitCode(cmd.ProcessState)}

	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && (err != nil || errors.Is(context.Cause(ctx), errOutput)):
		return out, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		return out, errors.New("it ended but left processes behind that hold its output open")
	case err != nil && !errors.As(err, &exit):
		return out, err
	}
	return out, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// gate holds the input back until the process's limits hold.
type gate struct {
	open <-chan struct{}
	r    io.Reader
}

func (g *gate) Read(b []byte) (int, error) {
	<-g.open
	return g.r.Read(b)
}

// bounded keeps the first bytes written to it and takes the rest without
// keeping it, so that the writer isn't stopped in the middle of its work.
type bounded struct {
	b        bytes.Buffer
	most     int
	dropped  int
	overflow func() // called once, when the first byte is dropped; may be nil
}

func (w *bounded) Write(b []byte) (int, error) {
	room := min(len(b), w.most-w.b.Len())
	w.b.Write(b[:room])
	if over := len(b) - room; over > 0 {
		if w.dropped == 0 && w.overflow != nil {
			w.overflow()
		}
		w.dropped += over
	}
	return len(b), nil
}

// text is what was kept and how much wasn't.
func (w *bounded) text() string {
	if w.dropped == 0 {
		return w.b.String()
	}
	return fmt.Sprintf("%s\n(%d bytes more)\n", w.b.String(), w.dropped)
}
