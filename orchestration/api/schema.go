package api

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is one field of a struct as YAML has it.
type field struct {
	name  string
	index []int
}

// schemas are the fields of structs, found out once a type.
var schemas sync.Map // reflect.Type → schema

// schema is the fields of a struct as they are declared, and by name.
type schema struct{ declared, sorted []field }

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
				fields = append(fields, field{in.name, append([]int{i}, in.index...)})
			}
		case name != "" && name != "-":
			fields = append(fields, field{name, []int{i}})
		}
	}
	sorted := slices.SortedFunc(slices.Values(fields), func(a, b field) int { return strings.Compare(a.name, b.name) })
	s := schema{fields, sorted}
	schemas.Store(t, s)
	return s
}
