package api

import (
	"reflect"
	"strings"
	"sync"
)

// field is one field of a struct as YAML has it.
type field struct {
	name  string
	index []int
}

// schemas are the fields of structs, found out once a type.
var schemas sync.Map // reflect.Type → []field

// fieldsOf lists the fields of a struct by their yaml tags, those of inlined
// structs in their place.
func fieldsOf(t reflect.Type) []field {
	if known, ok := schemas.Load(t); ok {
		return known.([]field)
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
	schemas.Store(t, fields)
	return fields
}
