package api

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/fn"
)

// Binding is a reference to a value that another task hands on, or that the
// plan has, written {{task.key}}, {{task.key.field[0].field}},
// {{plan.params.key}} or {{plan.context.key}}; spaces inside of the braces
// don't count. A key or field is made of letters, digits, _ and -.
//
// In a text with {{ in it, {{{{ stands for {{ and }}}} for }}. A text without
// {{ is taken as it is.
type Binding struct {
	// Task is the name of the task, or "plan".
	Task string
	// Path leads to the value: keys (string) and indexes of lists (int). The
	// first is the output's name; of the plan it is params or context and
	// another key follows.
	Path []any
	// Whole says that the text is nothing but the binding, so that the value
	// keeps its type.
	Whole bool
	// Default is the value where there is none, if HasDefault says so.
	Default    any
	HasDefault bool
}

// String is the binding as it is written between the braces.
func (b Binding) String() string { return b.upTo(len(b.Path)) }

func (b Binding) upTo(n int) string {
	var s strings.Builder
	s.WriteString(b.Task)
	for _, step := range b.Path[:n] {
		if i, ok := step.(int); ok {
			s.WriteString("[" + strconv.Itoa(i) + "]")
		} else {
			fmt.Fprintf(&s, ".%v", step)
		}
	}
	return s.String()
}

// Unknown is why a value isn't known yet. A lookup may return it as its error: then
// it stands where the value would, and is no problem.
type Unknown struct{ Err error }

func (u Unknown) Error() string { return u.Err.Error() }

// Unwrap returns the reason.
func (u Unknown) Unwrap() error { return u.Err }

// In is what the binding's path leads to in a task's outputs, or in the params
// and context of a plan. Where there is nothing it is the default, or without
// one a [fn.ResultError] with code E5405. What is [Unknown] is so as an error.
func (b Binding) In(values map[string]any) (any, error) {
	var v any = values
	for i, step := range b.Path {
		var found bool
		v, found = child(v, step)
		if unknown, ok := v.(Unknown); ok {
			return nil, unknown
		}
		if found {
			continue
		}
		if b.HasDefault {
			return b.Default, nil
		}
		return nil, codedError(codeValue, "{{%s}} has no value: there is no %s", b, b.upTo(i+1))
	}
	return v, nil
}

// child is the value one step into v.
func child(v, step any) (any, bool) {
	switch key := step.(type) {
	case string:
		if m, ok := v.(map[string]any); ok {
			c, ok := m[key]
			return c, ok
		}
		if rv := reflect.ValueOf(v); rv.Kind() == reflect.Map && rv.Type().Key().Kind() == reflect.String {
			if c := rv.MapIndex(reflect.ValueOf(key).Convert(rv.Type().Key())); c.IsValid() {
				return c.Interface(), true
			}
		}
	case int:
		if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice && key < rv.Len() {
			return rv.Index(key).Interface(), true
		}
	}
	return nil, false
}

// codedError is a problem whose object and field aren't known yet.
func codedError(code, format string, args ...any) *fn.ResultError {
	return &fn.ResultError{Result: fn.Result{
		Message: fmt.Sprintf(format, args...), Severity: fn.Error, Tags: map[string]string{CodeTag: code},
	}}
}

// Bindings are those of a text, in order. The error is an [fn.ResultError] with
// code E5402 that says at which character the text can't be read.
func Bindings(s string) ([]Binding, error) {
	parts, err := parseBindings(s)
	var out []Binding
	for _, p := range parts {
		if p.binding.Task != "" {
			out = append(out, p.binding)
		}
	}
	return out, err
}

// part is a piece of a text: a binding, or plain text.
type part struct {
	text    string
	binding Binding // when it has a Task
}

const bracesHint = "write {{task.key}}, or {{{{ for two braces that are meant as such"

func parseBindings(s string) ([]part, error) {
	if !hasBinding(s) {
		return []part{{text: s}}, nil
	}
	var parts []part
	var text strings.Builder
	for i := 0; i < len(s); {
		switch rest := s[i:]; {
		case strings.HasPrefix(rest, "{{{{"):
			text.WriteString("{{")
			i += 4
		case strings.HasPrefix(rest, "}}}}"):
			text.WriteString("}}")
			i += 4
		case strings.HasPrefix(rest, "{{"):
			inner, _, closed := strings.Cut(rest[2:], "}}")
			if !closed {
				return nil, codedError(codeBinding, "has a {{ at character %d that no }} follows: %s", characterAt(s, i), bracesHint)
			}
			b, why := parsePath(strings.Trim(inner, " \t"))
			if why != "" {
				return nil, codedError(codeBinding, "has {{%s}} at character %d, which %s", printable(inner), characterAt(s, i), why)
			}
			b.Whole = len(inner)+4 == len(s)
			if text.Len() > 0 {
				parts = append(parts, part{text: text.String()})
				text.Reset()
			}
			parts = append(parts, part{binding: b})
			i += len(inner) + 4
		default:
			text.WriteByte(s[i])
			i++
		}
	}
	if text.Len() > 0 {
		parts = append(parts, part{text: text.String()})
	}
	return parts, nil
}

// onlyBinding is the binding that a text is, where it's plainly that and nothing
// else.
func onlyBinding(s string) (Binding, bool) {
	inner, opened := strings.CutPrefix(s, "{{")
	inner, closed := strings.CutSuffix(inner, "}}")
	if !opened || !closed || strings.ContainsAny(inner, "{}") {
		return Binding{}, false
	}
	b, why := parsePath(strings.Trim(inner, " \t"))
	b.Whole = true
	return b, why == ""
}

// characterAt counts from 1 which character of s begins at byte i.
func characterAt(s string, i int) int { return utf8.RuneCountInString(s[:i]) + 1 }

func hasBinding(s string) bool { return strings.Contains(s, "{{") }

// parsePath reads what is between the braces; why says what is wrong with it.
func parsePath(s string) (b Binding, why string) {
	end := stepEnd(s, 0)
	b.Task = s[:end]
	if !isLabel(b.Task) {
		return b, "doesn't begin with the name of a task or with plan: " + bracesHint
	}
	for rest := s[end:]; rest != ""; {
		if rest[0] == '[' {
			digits, after, closed := strings.Cut(rest[1:], "]")
			i, err := strconv.ParseUint(digits, 10, 31)
			if !closed || err != nil || len(digits) > 1 && digits[0] == '0' {
				return b, "has a [ without a number and ] behind: items of lists count from [0]"
			}
			b.Path, rest = append(b.Path, int(i)), after
			continue
		}
		if rest[0] != '.' {
			return b, "has something other than . or [ after a ]: " + bracesHint
		}
		end := stepEnd(rest, 1)
		key := rest[1:end]
		if !isWord(key) {
			return b, "has the key " + quote(key) + ": keys are made of letters, digits, _ and -"
		}
		b.Path, rest = append(b.Path, key), rest[end:]
	}
	if len(b.Path) == 0 {
		return b, "names no output: write {{task.key}}"
	}
	if _, ok := b.Path[0].(string); !ok {
		return b, "names no output before the [: write {{task.key[0]}}"
	}
	if b.Task == planName {
		if first := b.Path[0]; len(b.Path) < 2 || first != "params" && first != "context" {
			return b, "is nothing that a plan has: write {{plan.params.key}} or {{plan.context.key}}"
		}
		if _, ok := b.Path[1].(string); !ok {
			return b, "names no key before the [: write {{plan.params.key[0]}}"
		}
	}
	return b, ""
}

// stepEnd is where the first . or [ of s is, from an index on, else its end.
func stepEnd(s string, from int) int {
	for i := from; i < len(s); i++ {
		if s[i] == '.' || s[i] == '[' {
			return i
		}
	}
	return len(s)
}

// planName is what bindings call the plan, so that no task has the name.
const planName = "plan"

// Expand replaces the bindings of a text by what lookup says. A text that is
// nothing but one binding becomes its value, of whatever type; otherwise texts
// go in as they are and numbers, booleans and null as JSON writes them. What
// lookup returns isn't looked through for bindings. Errors are those of lookup,
// and a [fn.ResultError] with code E5402 for a text that can't be read, for a map
// or list within one, and for values of more than 1 MiB.
func Expand(s string, lookup func(Binding) (any, error)) (any, error) {
	return expand(s, (&allowance{lookup: lookup}).look)
}

// maxBound is how many bytes bindings may put into one task, or one map: what
// plans within plans pass on could otherwise grow tenfold with each.
const maxBound = 1 << 20

// allowance looks up values until they are too much.
type allowance struct {
	lookup func(Binding) (any, error)
	used   int
}

func (a *allowance) look(b Binding) (any, error) {
	v, err := a.lookup(b)
	if err != nil {
		return nil, err
	}
	if a.used += sizeOf(v, maxBound-a.used); a.used > maxBound {
		return nil, codedError(codeBinding, "{{%s}} is too much: bindings may put in %d MiB altogether; keep such values in a file of a package", b, maxBound>>20)
	}
	return v, nil
}

// sizeOf is about how many bytes a value takes as text. It stops counting where
// that is more than most.
func sizeOf(v any, most int) int {
	n := 1
	switch v := v.(type) {
	case string:
		n += len(v)
	case map[string]any:
		for key, e := range v {
			if n += len(key) + sizeOf(e, most-n); n > most {
				break
			}
		}
	case []any:
		for _, e := range v {
			if n += sizeOf(e, most-n); n > most {
				break
			}
		}
	}
	return n
}

func expand(s string, lookup func(Binding) (any, error)) (any, error) {
	if b, ok := onlyBinding(s); ok { // as most texts with a binding are
		return lookup(b)
	}
	parts, err := parseBindings(s)
	if err != nil {
		return nil, err
	}
	if len(parts) == 1 && parts[0].binding.Whole {
		return lookup(parts[0].binding)
	}
	var out strings.Builder
	for _, p := range parts {
		text := p.text
		if p.binding.Task != "" {
			v, err := lookup(p.binding)
			if err != nil {
				return nil, err
			}
			var ok bool
			if text, ok = textOf(v); !ok {
				return nil, codedError(codeBinding, "has {{%s}} within a text, which is of type %s: bind it by itself, or one of its fields", p.binding, typeOf(v))
			}
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

// textOf is a scalar as it stands in a text.
func textOf(v any) (string, bool) {
	if s, ok := v.(string); ok {
		return s, true
	}
	switch typeOf(v) {
	case "null", "boolean", "integer", "number":
		text, err := json.Marshal(v)
		return string(text), err == nil
	case "string":
		return reflect.ValueOf(v).String(), true
	}
	return "", false
}

// typeOf is the type of a value in the words of JSON Schema.
func typeOf(v any) string {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Invalid:
		return "null"
	case reflect.String:
		if n, ok := v.(json.Number); ok {
			if f, err := n.Float64(); err == nil {
				return typeOf(f)
			}
		}
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		if f := rv.Float(); f == math.Trunc(f) && !math.IsInf(f, 0) {
			return "integer"
		}
		return "number"
	case reflect.Slice:
		return "array"
	default:
		return "object"
	}
}
