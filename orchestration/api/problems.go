package api

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/stoop-dev/stoop/fn"
)

// maxProblems bounds how much is said about one object; what goes beyond is
// counted.
const maxProblems = 20

// problems collects what is wrong with one object.
type problems struct {
	ref  fn.ResourceRef
	errs []error
	more int // problems beyond maxProblems
}

// addf notes a problem with a field; the message goes on from the field's name,
// as in "spec.packageName: is missing".
func (p *problems) addf(field, format string, args ...any) {
	p.add(field, nil, format, args...)
}

// add is addf with a cause that callers find with [errors.Is].
func (p *problems) add(field string, cause error, format string, args ...any) {
	ref := p.ref
	r := fn.Result{Message: fmt.Sprintf(format, args...), Severity: fn.Error, ResourceRef: &ref}
	if field != "" {
		r.Field = &fn.Field{Path: field}
	}
	p.join(&fn.ResultError{Result: r, Err: cause})
}

// join notes a problem found elsewhere; nil is none.
func (p *problems) join(err error) {
	switch {
	case err == nil:
	case len(p.errs) < maxProblems:
		p.errs = append(p.errs, err)
	default:
		p.more++
	}
}

// err is everything noted, joined in the order it was found; nil when nothing was.
func (p *problems) err() error {
	if p.more > 0 {
		ref := p.ref
		p.errs = append(p.errs, &fn.ResultError{Result: fn.Result{
			Message:  fmt.Sprintf("and %d more problems", p.more),
			Severity: fn.Error, ResourceRef: &ref,
		}})
		p.more = 0
	}
	return errors.Join(p.errs...)
}

// maxQuoted is how many bytes of a user's text an error repeats.
const maxQuoted = 80

// quote is a user's text as an error shows it: in quotes, one line, not too long.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}
