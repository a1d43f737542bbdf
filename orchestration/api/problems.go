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
	// coded says that results have the codes of plans, as [CodeTag].
	coded bool
}

// CodeTag is the tag of a result that holds the code of its error.
const CodeTag = "code"

// The codes of what can be wrong with a plan or task before it runs.
const (
	codeType    = "E5303" // no such type
	codeBinding = "E5402" // a binding that can't be read or written
	codeValue   = "E5405" // a binding without a value
	codeMissing = "E5606" // a field that has to be there
	codeRetry   = "E5704" // a retry policy that makes no sense
)

// addf notes a problem with a field; the message goes on from the field's name,
// as in "spec.packageName: is missing".
func (p *problems) addf(field, format string, args ...any) {
	p.add("", field, format, args...)
}

// missing notes that a field isn't there; advice says what to write.
func (p *problems) missing(field, advice string, args ...any) {
	p.add(codeMissing, field, "is missing: "+advice, args...)
}

// add is addf with a code.
func (p *problems) add(code, field, format string, args ...any) {
	ref := p.ref
	r := fn.Result{Message: fmt.Sprintf(format, args...), Severity: fn.Error, ResourceRef: &ref}
	if field != "" {
		r.Field = &fn.Field{Path: field}
	}
	if code != "" && p.coded {
		r.Tags = map[string]string{CodeTag: code}
	}
	p.join(&fn.ResultError{Result: r})
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
	s = HidePasswords(s) // of which a part may not be found any more
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}
