package api

import (
	"bytes"
	"reflect"
	"slices"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Digest is the digest of what a task does, in hex, canonical as in
// [PackageRevision.TaskDigest]: its type, target, member, inputs and outputs.
// How it is scheduled is no part of it.
func (s *TaskSpec) Digest() string {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = appendStruct((*buf)[:0], reflect.ValueOf(s).Elem(), effects())
	return digestOf(*buf)
}

// buffers hold the canonical JSON of tasks for as long as it takes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// effects are the fields of a task that say what it does, sorted by name.
var effects = sync.OnceValue(func() []field {
	return slices.DeleteFunc(slices.Clone(sortedFieldsOf(reflect.TypeFor[TaskSpec]())), func(f field) bool {
		switch f.name {
		case "type", "target", "inputs", "outputs", "init", "clone", "edit", "upgrade", "replace", "eval", "tool_call", "atomic", "llm_call", "compound":
			return false
		}
		return true
	})
})

// Equal says whether two objects have the same values, as their digests see them.
func Equal(a, b Object) bool { return equal(reflect.ValueOf(a), reflect.ValueOf(b)) }

// equal says whether two values have the same canonical JSON; it goes no further
// than to the first difference.
func equal(a, b reflect.Value) bool {
	switch {
	case a.Type() != b.Type():
	case a.Kind() == reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() && b.IsNil()
		}
		return equal(a.Elem(), b.Elem())
	case a.Kind() == reflect.Struct:
		for _, f := range fieldsOf(a.Type()) {
			av, bv := f.of(a), f.of(b)
			if none := isEmpty(av); none != isEmpty(bv) || !none && !equal(av, bv) {
				return false
			}
		}
		return true
	case a.Kind() == reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case a.Kind() == reflect.String && a.String() == b.String():
		return true
	}
	return bytes.Equal(appendCanonical(nil, a), appendCanonical(nil, b))
}

// PorchTask is the task as a PackageRevision has it, of a type that it can have.
func (s *TaskSpec) PorchTask() (t Task, ok bool) {
	t = Task{Type: TaskType(s.Type), Init: s.Init, Clone: s.Clone, Edit: s.Edit}
	if s.Upgrade != nil {
		t.Upgrade = &s.Upgrade.UpgradeTask
	}
	switch s.Type {
	case WorkInit, WorkClone, WorkEdit, WorkUpgrade:
		return t, true
	}
	return Task{}, false
}

// ValueNode is a value made of maps, lists and scalars as YAML.
func ValueNode(v any) *yaml.Node { return encode(reflect.ValueOf(v)) }

// Value is YAML as maps, lists, strings, int64, float64, booleans and nil.
func Value(n *yaml.Node) (any, error) {
	d := newDecoder(n, 0)
	var v any
	d.value(content(n), reflect.ValueOf(&v).Elem(), nil)
	return v, d.err()
}
