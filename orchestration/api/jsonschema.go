package api

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// docs are the doc comments of the types in this package and the values of
// those that are words, one a line:
//
//	api.Plan<TAB>Plan joins tasks...
//	api.Plan.spec<TAB>spec is what the user wants.
//	api.FailurePolicy=<TAB>Continue FailFast
//
//go:generate go test -run ^TestDocs$ -update .
//go:embed docs.txt
var docs string

// Schema is a JSON Schema, draft 2020-12, with the keywords that describe the
// objects of this package.
type Schema struct {
	Dialect     string     `json:"$schema,omitempty"`
	Ref         string     `json:"$ref,omitempty"` // #/$defs/NAME
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        string     `json:"type,omitempty"` // empty: any
	Const       string     `json:"const,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	AnyOf       []*Schema  `json:"anyOf,omitempty"`
	Items       *Schema    `json:"items,omitempty"`
	Properties  Properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	// Values is the schema of all values of a map; with Closed there are no
	// keys but the properties.
	Values *Schema            `json:"-"`
	Closed bool               `json:"-"`
	Defs   map[string]*Schema `json:"$defs,omitempty"`
}

// Properties are the fields of an object, in order.
type Properties []Property

// Property is a field of an object.
type Property struct {
	Name   string
	Schema *Schema
}

// Find is the field of that name, nil when there is none.
func (ps Properties) Find(name string) *Schema {
	for _, p := range ps {
		if p.Name == name {
			return p.Schema
		}
	}
	return nil
}

// MarshalJSON writes the fields in their order.
func (ps Properties) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, p := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(p.Name)
		if err != nil {
			return nil, err
		}
		schema, err := json.Marshal(p.Schema)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), schema...)
	}
	return append(b, '}'), nil
}

// MarshalJSON writes the schema's keywords.
func (s *Schema) MarshalJSON() ([]byte, error) {
	type plain Schema
	out := struct {
		*plain
		AdditionalProperties any `json:"additionalProperties,omitempty"`
	}{plain: (*plain)(s)}
	switch {
	case s.Closed:
		out.AdditionalProperties = json.RawMessage("false")
	case s.Values != nil:
		out.AdditionalProperties = s.Values
	}
	return json.Marshal(out)
}

// KindName names a kind of object.
type KindName struct{ APIVersion, Kind string }

// Kinds are those that stoop reads.
func Kinds() []KindName {
	var out []KindName
	for _, k := range kinds {
		out = append(out, KindName{k.apiVersion, k.kind})
	}
	return out
}

// SchemaOf is the schema of a kind that is [Known], nil for others. It says what
// [Decode] reads, with unset fields left out rather than null; what Validate
// checks beyond that is in the descriptions.
func SchemaOf(name KindName) *Schema {
	for _, k := range kinds {
		if k.apiVersion != name.APIVersion || k.kind != name.Kind {
			continue
		}
		b := schemaBuilder{docs: map[string]string{}, defs: map[string]*Schema{}}
		for line := range strings.Lines(docs) {
			key, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			b.docs[key] = text
		}
		s := b.structure(reflect.TypeOf(k.make()).Elem())
		s.Dialect, s.Title, s.Defs = "https://json-schema.org/draft/2020-12/schema", k.kind, b.defs
		s.Required = slices.Concat([]string{"apiVersion", "kind"}, s.Required)
		s.Properties.Find("apiVersion").Const = k.apiVersion
		s.Properties.Find("kind").Const = k.kind
		return s
	}
	return nil
}

type schemaBuilder struct {
	docs map[string]string
	defs map[string]*Schema
	// bound says that a text may hold a binding instead of what it has to be.
	bound bool
}

// of is the schema of a type; structs are put among the definitions.
func (b *schemaBuilder) of(t reflect.Type) *Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return b.of(t.Elem())
	case reflect.Struct:
		if b.defs[t.Name()] == nil {
			b.defs[t.Name()] = &Schema{} // it may contain itself
			before := b.bound
			b.bound = before && t != reflect.TypeFor[PlanSpec]()
			*b.defs[t.Name()] = *b.structure(t)
			b.bound = before
		}
		s := &Schema{Ref: "#/$defs/" + t.Name()}
		if reflect.PointerTo(t).Implements(reflect.TypeFor[shorthand]()) {
			return &Schema{AnyOf: []*Schema{{Type: "string"}, s}}
		}
		return s
	case reflect.Map:
		s := &Schema{Type: "object"}
		if t.Elem().Kind() != reflect.Interface {
			s.Values = b.of(t.Elem())
		}
		return s
	case reflect.Slice:
		return &Schema{Type: "array", Items: b.of(t.Elem())}
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &Schema{Type: "integer"}
	case reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.String:
		s := &Schema{Type: "string", Enum: strings.Fields(b.docs[t.String()+"="])}
		if b.bound && len(s.Enum) > 0 {
			return &Schema{AnyOf: []*Schema{s, {Type: "string", Pattern: `\{\{`}}}
		}
		return s
	}
	return &Schema{}
}

// structure is the schema of a struct itself.
func (b *schemaBuilder) structure(t reflect.Type) *Schema {
	s := &Schema{Type: "object", Title: t.Name(), Description: b.docs[t.String()], Closed: true}
	for _, f := range fieldsOf(t) {
		owner := t
		if len(f.index) > 1 {
			owner = t.FieldByIndex(f.index[:len(f.index)-1]).Type
		}
		before := b.bound
		b.bound = before || owner == reflect.TypeFor[TaskSpec]() && findWork(WorkType(f.name)) != nil
		p := b.of(t.FieldByIndex(f.index).Type)
		b.bound = before
		p.Description = b.docs[owner.String()+"."+f.name]
		s.Properties = append(s.Properties, Property{f.name, p})
		if isRequired(p.Description) && owner != reflect.TypeFor[Header]() {
			s.Required = append(s.Required, f.name)
		}
	}
	return s
}

// isRequired says whether a field's description calls it required without more
// ado.
func isRequired(doc string) bool {
	return strings.Contains(doc, "Required.") || strings.Contains(doc, "Required;")
}
