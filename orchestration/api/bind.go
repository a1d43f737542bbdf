package api

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stoop-dev/stoop/fn"
)

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
	b := binders.Get().(*binder)
	defer func() {
		*b = binder{steps: b.steps[:0], keys: b.keys[:0]} // else what it was about stays with it
		binders.Put(b)
	}()
	b.lookup = (&allowance{lookup: lookup}).look
	bound := b.task(s)
	if err := b.problems.err(); err != nil {
		return nil, err
	}
	return bound, nil
}

// binders are there for what they remember of where they are.
var binders = sync.Pool{New: func() any { return new(binder) }}

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
	keys     []string                      // of the maps that it is in, sorted
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
	b.steps, b.defaults = b.steps[:0], true
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
	first := len(b.keys)
	for key := range m {
		b.keys = append(b.keys, key)
	}
	keys := b.keys[first:]
	slices.Sort(keys)
	defer func() { b.keys = b.keys[:first] }()
	for _, key := range keys {
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
		if unknown, ok := errors.AsType[Unknown](err); ok {
			return unknown, true
		}
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
	if unknown, ok := errors.AsType[Unknown](err); ok {
		return unknown, true
	}
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
		if _, unknown := bound.(Unknown); unknown || !changed {
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
			if e, changed := b.typed(f.of(v)); changed {
				if !out.IsValid() {
					out = reflect.New(v.Type()).Elem()
					out.Set(v)
				}
				f.of(out).Set(e)
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
