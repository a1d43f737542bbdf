// Package runtime finds and runs KRM functions. One [Runtime] can run one sort
// of function (built into this process, executables, containers, a function
// runner); [FirstOf] asks several in turn.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn"
)

// Ref names a function as a step of a Kptfile pipeline does. Exactly one of
// Image and Exec is set.
type Ref struct {
	Image string // as written, before default prefixes and tags
	Tag   string // the step's own `tag:`, a semver constraint
	Exec  string // executable and arguments
	// Limits bound the function where it runs as a process or in a container.
	Limits Limits
}

// Limits are what a function is bound to beside what its runtime bounds all to:
// of two limits the lower one holds. Zero is no limit.
type Limits struct {
	Memory    int64         // bytes: of data for an executable, of everything for a container
	CPUs      float64       // processors at once, for a container
	CPU       time.Duration // processor time, for an executable
	Processes int           // processes and threads
}

// lower is the lower of two limits, where zero is none.
func lower[T int | int64 | float64 | time.Duration](a, b T) T {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// String is the function as a user wrote it.
func (r Ref) String() string {
	switch {
	case r.Exec != "":
		return r.Exec
	case r.Tag != "":
		return r.Image + " (tag " + r.Tag + ")"
	}
	return r.Image
}

// Function is a function that was found and may be run.
type Function struct {
	// Name says what runs, for results and logs.
	Name string
	// Run calls it. It is safe for concurrent use.
	Run fn.Func
	// Notes are what the user should know about the choice, such as a tag that
	// the function doesn't exactly stand for.
	Notes []fn.Result
	// Unbound is why limits of the Ref don't bind it, empty when all do.
	Unbound string
	// InProcess says that it is part of this program and has no standard error
	// of its own.
	InProcess bool
}

// Runtime can run one sort of function.
type Runtime interface {
	// Find returns the function that ref names. Its error wraps ErrNotFound
	// when another Runtime should be asked, ErrOtherSort when this one runs no
	// functions of the sort at all, ErrNotAllowed when this one could run the
	// function if the operator let it. Find doesn't run anything.
	Find(ctx context.Context, ref Ref) (*Function, error)
}

// ErrNotFound says that a Runtime doesn't know a function.
var ErrNotFound = errors.New("no such function here")

// ErrOtherSort is an ErrNotFound that says nothing about the function: it is an
// executable where a Runtime runs images, or an image where it runs executables.
var ErrOtherSort = fmt.Errorf("%w: another sort of function", ErrNotFound)

// ErrNotAllowed says that the operator's leave is missing.
var ErrNotAllowed = errors.New("not allowed")

// ErrExecNotAllowed is the ErrNotAllowed of an executable that --allow-exec would
// let run.
var ErrExecNotAllowed = fmt.Errorf("%w: executables run only with the operator's leave", ErrNotAllowed)

// FirstOf asks runtimes in order; only ErrNotFound leads to the next.
//
// A runtime that can't know beforehand whether it has a function (a function
// runner over gRPC) finds it and lets Run fail with ErrNotFound; then Run goes
// on with the next runtime too. Such a Run must leave the call as it was.
type FirstOf []Runtime

// Find implements Runtime. When no runtime knows the function the error wraps
// ErrNotFound and says what those answered that run such functions; so does the
// error of one that knows it and doesn't run it.
func (rs FirstOf) Find(ctx context.Context, ref Ref) (*Function, error) {
	var said []string
	for i, r := range rs {
		f, err := r.Find(ctx, ref)
		if err == nil {
			return rs[i+1:].behind(f, ref), nil
		}
		switch {
		case errors.Is(err, ErrOtherSort):
		case errors.Is(err, ErrNotFound):
			// what is left of the answer says it
			said = append(said, strings.Replace(err.Error(), ErrNotFound.Error()+": ", "", 1))
		case len(said) > 0:
			return nil, fmt.Errorf("function %q: %s; %w", ref, strings.Join(said, "; "), err)
		default:
			return nil, err
		}
	}
	if len(said) == 0 {
		return nil, fmt.Errorf("function %q: %w", ref, ErrNotFound)
	}
	return nil, &notFound{fmt.Sprintf("function %q: %s", ref, strings.Join(said, "; "))}
}

// notFound is an ErrNotFound with a text of its own.
type notFound struct{ text string }

func (e *notFound) Error() string        { return e.text }
func (e *notFound) Is(target error) bool { return target == ErrNotFound }

// behind returns f with rs to fall back on when it turns out not to be there.
func (rs FirstOf) behind(f *Function, ref Ref) *Function {
	if len(rs) == 0 {
		return f
	}
	g := *f
	g.Run = func(ctx context.Context, call *fn.Call) error {
		err := f.Run(ctx, call)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		next, findErr := rs.Find(ctx, ref)
		if findErr != nil {
			return fmt.Errorf("%w; %w", err, findErr)
		}
		call.Results = append(call.Results, next.Notes...)
		return next.Run(ctx, call)
	}
	return &g
}
