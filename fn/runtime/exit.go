package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// ExitError says that a function ran as a process and failed. What it reported
// before is in the call's Results and Stderr.
type ExitError struct {
	Function string // as the user named it
	ExitCode int    // 128 plus the signal's number when a signal ended it
	Stderr   string // what it wrote to standard error, as in fn.Call
	Hint     string // what the exit code means where it isn't the function's own; may be empty
}

// Error names the function and shows the first lines of its standard error, and
// the last one.
func (e *ExitError) Error() string {
	msg := fmt.Sprintf("function %q failed: exit code %d", e.Function, e.ExitCode)
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg + saying(e.Stderr)
}

// saying is the news of a function's standard error, made to follow a message, in
// as many lines as kpt shows: many say first what is wrong, and many last.
func saying(stderr string) string {
	const most, head = 5, 3
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if lines[0] == "" {
		return ""
	}
	if len(lines) > most {
		lines = slices.Concat(lines[:head], []string{fmt.Sprintf("(%d lines left out)", len(lines)-head-1)}, lines[len(lines)-1:])
	}
	return ":\n" + strings.Join(lines, "\n")
}

// output is what a process left behind.
type output struct {
	stdout   []byte
	stderr   string
	exitCode int
}

// take gives a process's output to the call that it answers.
func (out *output) take(call *fn.Call, name string) error {
	call.Stderr = out.stderr
	if out.exitCode != 0 {
		if results, ok := fn.DecodeResults(out.stdout); ok {
			call.Results = append(call.Results, results...)
		}
		return &ExitError{Function: name, ExitCode: out.exitCode, Stderr: out.stderr, Hint: killed(out.exitCode)}
	}
	if err := fn.DecodeCall(call, out.stdout); err != nil {
		return fmt.Errorf("function %q: %w%s", name, err, saying(out.stderr))
	}
	return nil
}

// errOutput says that a function wrote more than it may.
var errOutput = errors.New("it wrote more than is allowed")

// killed says which signal ended a process, by its exit code; empty for one that
// ended by itself.
func killed(code int) string {
	switch n := code - 128; {
	case n == 9:
		return "killed, perhaps for the memory or processor time it used"
	case n == 24:
		return "killed for the processor time it used"
	case n > 0 && n < 65:
		return fmt.Sprintf("killed by signal %d", n)
	}
	return ""
}
