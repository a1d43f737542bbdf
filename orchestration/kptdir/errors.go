package kptdir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/stoop-dev/stoop/fn"
)

// refuse is an error about the file at p that the user can do something about. format
// may wrap one cause.
func refuse(p, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &fn.ResultError{Result: fn.Result{
		Message:  err.Error(),
		Severity: fn.Error,
		File:     &fn.File{Path: p},
	}, Err: errors.Unwrap(err)}
}

// failed is an error of the system about the file at p. The system's own account
// of the path is dropped: it names staged files and single segments.
func failed(p, activity string, err error) error {
	cause := err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		cause = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		cause = e.Err
	}
	return &fn.ResultError{Result: fn.Result{
		Message:  activity + ": " + cause.Error(),
		Severity: fn.Error,
		File:     &fn.File{Path: cmp.Or(p, ".")},
	}, Err: err}
}
