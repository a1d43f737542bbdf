package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
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

// In is what the binding's path leads to in a task's outputs, or in the params
// and context of a plan. Where there is nothing it is the default, or without
// one a [fn.ResultError] with code E5405.
func (b Binding) In(values map[string]any) (any, error) {
	var v any = values
	for i, step := range b.Path {
		var found bool
		v, found = child(v, step)
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
	rv := reflect.ValueOf(v)
	switch key := step.(type) {
	case string:
		if m, ok := v.(map[string]any); ok {
			c, ok := m[key]
			return c, ok
		}
		if rv.Kind() == reflect.Map && rv.Type().Key().Kind() == reflect.String {
			if c := rv.MapIndex(reflect.ValueOf(key).Convert(rv.Type().Key())); c.IsValid() {
				return c.Interface(), true
			}
		}
	case int:
		if rv.Kind() == reflect.Slice && key < rv.Len() {
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

// BoundField is a binding with the field it is in.
type BoundField struct {
	Binding
	// Field is the field's path in the task's spec, such as inputs.cidr.
	Field string
}

// Bindings are those of the task, in the order of the schema, maps by key: in
// its inputs, in the params of a compound and in every text of the member that
// its type names. A map in inputs and params with exactly the keys from, a
// binding without its braces, and default is a binding too. The files of a
// replace and the plan of a compound hold none of the task. Those that can't be
// read are left out, see Validate.
func (s *TaskSpec) Bindings() []BoundField {
	var out []BoundField
	b := binder{found: func(field string, one Binding) { out = append(out, BoundField{one, field}) }}
	b.task(s)
	return out
}

// Bind returns a copy of the task in which every binding has been replaced by
// what lookup says, or s itself when it has none. What has no bindings is shared
// with s, so neither may be changed. The error joins one
// [fn.ResultError] a field, with the field's path in the task's spec and no
// object, see [At].
func (s *TaskSpec) Bind(lookup func(Binding) (any, error)) (*TaskSpec, error) {
	b := binder{lookup: (&allowance{lookup: lookup}).look}
	bound := b.task(s)
	if err := b.problems.err(); err != nil {
		return nil, err
	}
	return bound, nil
}

// BindMap returns m, a map from names to values such as the outputs of a plan,
// with every binding replaced as in a task's inputs. What has no bindings is
// shared with m. The error joins one [fn.ResultError] a field, with the field's
// path in m and no object, see [At].
func BindMap(m map[string]any, lookup func(Binding) (any, error)) (map[string]any, error) {
	b := binder{lookup: (&allowance{lookup: lookup}).look, defaults: true}
	bound, _ := b.entries(m)
	if err := b.problems.err(); err != nil {
		return nil, err
	}
	return bound, nil
}

// BindingsIn are the bindings that [BindMap] replaces, with the path of each in
// m.
func BindingsIn(m map[string]any) []BoundField {
	var out []BoundField
	b := binder{defaults: true, found: func(field string, one Binding) { out = append(out, BoundField{one, field}) }}
	b.entries(m)
	return out
}

// At puts the object and the field that err is about before the field paths of
// its [fn.ResultError]s: of "inputs.cidr" and "spec.tasks[0]" it makes
// "spec.tasks[0].inputs.cidr". Other errors become such results.
func At(err error, ref *fn.ResourceRef, field string) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, At(e, ref, field))
		}
		return errors.Join(out...)
	}
	r := fn.ResultOf(err)
	if r.ResourceRef != nil && *r.ResourceRef != (fn.ResourceRef{}) {
		return err // is about another object
	}
	if r.Field != nil && r.Field.Path != "" {
		if field != "" && r.Field.Path[0] != '[' {
			field += "."
		}
		field += r.Field.Path
	}
	r.ResourceRef, r.Field = ref, &fn.Field{Path: field}
	return &fn.ResultError{Result: r, Err: err}
}

// binder goes through what may hold bindings, and replaces them if it has a
// lookup. Where nothing is replaced nothing is copied.
type binder struct {
	problems problems
	lookup   func(Binding) (any, error)
	found    func(field string, b Binding) // nil: nobody is told
	steps    []step                        // where it is
	defaults bool                          // whether a map {from, default} is a binding here
	failed   []error                       // of the lookup, each once
}

// step is a key, or with isIndex the place in a list.
type step struct {
	key     string
	index   int
	isIndex bool
}

// field is the path of where the binder is.
func (b *binder) field() string {
	var s strings.Builder
	for _, step := range b.steps {
		if step.isIndex {
			s.WriteString("[" + strconv.Itoa(step.index) + "]")
		} else {
			s.WriteString(stepTo(step.key))
		}
	}
	return strings.TrimPrefix(s.String(), ".")
}

func (b *binder) into(key string) { b.steps = append(b.steps, step{key: key}) }
func (b *binder) item(i int)      { b.steps = append(b.steps, step{index: i, isIndex: true}) }
func (b *binder) back()           { b.steps = b.steps[:len(b.steps)-1] }

// fail notes a problem with where the binder is. The same error again, such as
// that of params which many bindings refer to, is no other problem.
func (b *binder) fail(err error) {
	if slices.Contains(b.failed, err) {
		return
	}
	if len(b.failed) < maxProblems {
		b.failed = append(b.failed, err)
	}
	b.problems.join(At(err, nil, b.field()))
}

// task goes through the task's inputs and its member, and returns s or a
// changed copy.
func (b *binder) task(s *TaskSpec) *TaskSpec {
	out := s
	change := func() {
		if out == s {
			c := *s
			out = &c
		}
	}
	var steps [8]step
	b.steps, b.defaults = steps[:0], true
	b.into("inputs")
	if inputs, changed := b.entries(s.Inputs); changed {
		change()
		out.Inputs = inputs
	}
	b.back()
	w := findWork(s.Type)
	if w == nil || w.member(s).IsNil() {
		return out
	}
	b.into(string(s.Type))
	switch s.Type {
	case WorkReplace:
	case WorkCompound:
		b.into("params")
		if params, changed := b.entries(s.Compound.Params); changed {
			change()
			c := *s.Compound
			c.Params, out.Compound = params, &c
		}
		b.back()
	default:
		b.defaults = false
		if m, changed := b.typed(w.member(s)); changed {
			change()
			w.member(out).Set(m)
		}
	}
	b.back()
	return out
}

// value goes through a value without a schema and reports whether it returns
// another.
func (b *binder) value(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return b.text(v)
	case map[string]any:
		if from, ok := v["from"].(string); ok && len(v) == 2 && b.defaults {
			if def, ok := v["default"]; ok {
				return b.defaulted(v, from, def)
			}
		}
		return b.entries(v)
	case []any:
		var out []any
		for i, e := range v {
			b.item(i)
			if e, changed := b.value(e); changed {
				if out == nil {
					out = slices.Clone(v)
				}
				out[i] = e
			}
			b.back()
		}
		if out != nil {
			return out, true
		}
	}
	return v, false
}

func (b *binder) entries(m map[string]any) (map[string]any, bool) {
	out, changed := m, false
	for _, key := range sortedKeys(m) {
		b.into(key)
		if e, other := b.value(m[key]); other {
			if !changed {
				out, changed = maps.Clone(m), true
			}
			out[key] = e
		}
		b.back()
	}
	return out, changed
}

// text is a text with its bindings replaced.
func (b *binder) text(s string) (any, bool) {
	if !hasBinding(s) {
		return s, false
	}
	if b.lookup != nil {
		v, err := expand(s, b.lookup)
		if err != nil {
			b.fail(err)
			return s, false
		}
		return v, true
	}
	parts, err := parseBindings(s)
	if err != nil {
		b.fail(err)
	}
	for i := range parts {
		if parts[i].binding.Task != "" {
			b.tell(parts[i].binding)
		}
	}
	return s, false
}

func (b *binder) tell(one Binding) {
	if b.found != nil {
		b.found(b.field(), one)
	}
}

// defaulted is the value of the binding {from: path, default: value}.
func (b *binder) defaulted(m map[string]any, from string, def any) (any, bool) {
	one, why := parsePath(from)
	if why != "" {
		b.into("from")
		b.fail(codedError(codeBinding, "is %s, which %s: beside default it is written without braces, as in task.key", quote(from), why))
		b.back()
		return m, false
	}
	one.Whole, one.Default, one.HasDefault = true, def, true
	if b.lookup == nil {
		b.tell(one)
		return m, false
	}
	v, err := b.lookup(one)
	if err != nil {
		b.fail(err)
		return m, false
	}
	return v, true
}

// typed goes through a value of the schema and reports whether it returns
// another.
func (b *binder) typed(v reflect.Value) (reflect.Value, bool) {
	var out reflect.Value
	switch v.Kind() {
	case reflect.String:
		if !hasBinding(v.String()) {
			return v, false
		}
		bound, changed := b.text(v.String())
		if !changed {
			return v, false
		}
		text, ok := textOf(bound)
		if !ok {
			b.fail(codedError(codeBinding, "must be a string, and %s is of type %s: bind one of its fields", v.String(), typeOf(bound)))
			return v, false
		}
		return reflect.ValueOf(text).Convert(v.Type()), true
	case reflect.Interface:
		if bound, changed := b.value(v.Interface()); changed {
			out = reflect.New(v.Type()).Elem()
			if bound != nil {
				out.Set(reflect.ValueOf(bound))
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			return v, false
		}
		if e, changed := b.typed(v.Elem()); changed {
			out = reflect.New(v.Type().Elem())
			out.Elem().Set(e)
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			b.into(f.name)
			if e, changed := b.typed(v.FieldByIndex(f.index)); changed {
				if !out.IsValid() {
					out = reflect.New(v.Type()).Elem()
					out.Set(v)
				}
				out.FieldByIndex(f.index).Set(e)
			}
			b.back()
		}
	case reflect.Map:
		for _, key := range sortedKeysOf(v) {
			b.into(key.String())
			if e, changed := b.typed(v.MapIndex(key)); changed {
				if !out.IsValid() {
					out = reflect.MakeMapWithSize(v.Type(), v.Len())
					for it := v.MapRange(); it.Next(); {
						out.SetMapIndex(it.Key(), it.Value())
					}
				}
				out.SetMapIndex(key, e)
			}
			b.back()
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.item(i)
			if e, changed := b.typed(v.Index(i)); changed {
				if !out.IsValid() {
					out = reflect.MakeSlice(v.Type(), v.Len(), v.Len())
					reflect.Copy(out, v)
				}
				out.Index(i).Set(e)
			}
			b.back()
		}
	}
	if !out.IsValid() {
		return v, false
	}
	return out, true
}
