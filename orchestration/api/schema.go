package api

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is one field of a struct as YAML has it.
type field struct {
	name  string
	index []int
	// counts is set for a number without omitempty, of which 0 says something
	// else than nothing: it is written as 0 too, and [absent] when it isn't there.
	counts bool
}

// absent is what a number that counts is when an object doesn't have it.
const absent = math.MinInt

// of is the field of a struct. Most are its own, and not an inlined one's.
func (f *field) of(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	return v.FieldByIndex(f.index)
}

// schemas are the fields of structs, found out once a type.
var schemas sync.Map // reflect.Type → schema

// schema is the fields of a struct as they are declared, by name, and those that
// are numbers that count.
type schema struct{ declared, sorted, counts []field }

// fieldsOf lists the fields of a struct by their yaml tags, those of inlined
// structs in their place.
func fieldsOf(t reflect.Type) []field { return schemaOf(t).declared }

// sortedFieldsOf is fieldsOf sorted by name.
func sortedFieldsOf(t reflect.Type) []field { return schemaOf(t).sorted }

func schemaOf(t reflect.Type) schema {
	if known, ok := schemas.Load(t); ok {
		return known.(schema)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case opts == "inline":
			for _, in := range fieldsOf(f.Type) {
				fields = append(fields, field{in.name, append([]int{i}, in.index...), in.counts})
			}
		case name != "" && name != "-":
			fields = append(fields, field{name, []int{i}, opts == "" && f.Type.Kind() == reflect.Int})
		}
	}
	sorted := slices.SortedFunc(slices.Values(fields), func(a, b field) int { return strings.Compare(a.name, b.name) })
	s := schema{declared: fields, sorted: sorted}
	for _, f := range fields {
		if f.counts {
			s.counts = append(s.counts, f)
		}
	}
	schemas.Store(t, s)
	return s
}
