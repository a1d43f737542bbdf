package fn

import (
	"errors"
	"maps"
	"strings"
)

// Severity says how bad a Result is, in the words of the KRM function
// specification.
type Severity string

// The severities of the KRM function specification.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Result is one thing a function or task has to say, as the KRM function
// specification writes it in a ResourceList's results.
type Result struct {
	// Message is what there is to say, for people.
	Message string `yaml:"message"`
	// Severity is error, warning or info. Default info.
	Severity Severity `yaml:"severity,omitempty"`
	// ResourceRef is the object that it is about. Default none.
	ResourceRef *ResourceRef `yaml:"resourceRef,omitempty"`
	// Field is the field of the object that it is about. Default none.
	Field *Field `yaml:"field,omitempty"`
	// File is the file that it is about. Default none.
	File *File `yaml:"file,omitempty"`
	// Tags are words for programs, such as the code of an error. Default none.
	Tags map[string]string `yaml:"tags,omitempty"`
}

// ResourceRef names the object a Result is about.
type ResourceRef struct {
	// APIVersion is the object's.
	APIVersion string `yaml:"apiVersion,omitempty"`
	// Kind is the object's.
	Kind string `yaml:"kind,omitempty"`
	// Name is the object's.
	Name string `yaml:"name,omitempty"`
	// Namespace is the object's; unset where it has none.
	Namespace string `yaml:"namespace,omitempty"`
}

// Field names the field a Result is about, with its values where they matter.
type Field struct {
	// Path is dotted, items of lists by index: spec.tasks[0].clone.
	Path string `yaml:"path,omitempty"`
	// CurrentValue is what the field holds. Default: it isn't said.
	CurrentValue any `yaml:"currentValue,omitempty"`
	// ProposedValue is what the function would write there. Default: nothing is
	// proposed.
	ProposedValue any `yaml:"proposedValue,omitempty"`
}

// File names the file a Result is about.
type File struct {
	// Path has slashes and is relative to the directory the function was given.
	Path string `yaml:"path,omitempty"`
	// Index counts the file's documents from zero.
	Index int `yaml:"index,omitempty"`
}

// Text is the result in one line: where, then what.
func (r Result) Text() string {
	var b strings.Builder
	if r.File != nil && r.File.Path != "" {
		b.WriteString(r.File.Path + ": ")
	}
	if ref := r.ResourceRef; ref != nil && (ref.Kind != "" || ref.Name != "") {
		b.WriteString(strings.TrimSpace(ref.Kind+" "+ref.Name) + ": ")
	}
	if r.Field != nil && r.Field.Path != "" {
		b.WriteString(r.Field.Path + ": ")
	}
	b.WriteString(r.Message)
	return b.String()
}

// Tagged is the result with one more tag; r keeps those it has.
func (r Result) Tagged(key, value string) Result {
	tags := make(map[string]string, len(r.Tags)+1)
	maps.Copy(tags, r.Tags)
	tags[key] = value
	r.Tags = tags
	return r
}

// ResultError is an error that knows the object, file and field it is about.
// Wrap it freely: [ResultOf] finds it again.
type ResultError struct {
	Result Result
	Err    error // the cause, nil when Result.Message says it all
}

// Error is the result as text.
func (e *ResultError) Error() string { return e.Result.Text() }

// Unwrap returns the cause.
func (e *ResultError) Unwrap() error { return e.Err }

// ResultOf turns an error into a Result of severity error. Where err wraps a
// ResultError its file, object and field are kept and the message is the whole
// chain's.
func ResultOf(err error) Result {
	var re *ResultError
	if !errors.As(err, &re) {
		return Result{Message: err.Error(), Severity: Error}
	}
	r := re.Result
	r.Severity = Error
	if full := err.Error(); full != re.Error() {
		// what the wrapping added, without saying the place twice
		r.Message = strings.Replace(full, re.Error(), re.Result.Message, 1)
	}
	return r
}

// ResultsOf turns an error into results: one for each error that was joined
// into it.
func ResultsOf(err error) []Result {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Result
		for _, e := range joined.Unwrap() {
			out = append(out, ResultsOf(e)...)
		}
		return out
	}
	return []Result{ResultOf(err)}
}
