package api

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Node turns an object into a new YAML node for the caller to keep: fields in
// the order of the schema, maps by key, unset and empty fields left out.
// [Decode] reads it back.
func Node(o Object) *yaml.Node { return encode(reflect.ValueOf(o)) }

// encode turns a value of the kinds that the objects of this package are made
// of into a node. Empty fields of structs are left out; entries of maps and
// lists never are.
func encode(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return encode(v.Elem())
		}
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		for _, f := range fieldsOf(v.Type()) {
			if fv := v.FieldByIndex(f.index); !isEmpty(fv) {
				n.Content = append(n.Content, stringNode(f.name), encode(fv))
			}
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, stringNode(k.String()), encode(v.MapIndex(k)))
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: yaml.NodeTagSeq}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		return n
	case reflect.String:
		return stringNode(v.String())
	case reflect.Bool:
		return scalarNode(yaml.NodeTagBool, strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		return scalarNode(yaml.NodeTagInt, strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		return scalarNode(yaml.NodeTagFloat, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	}
	return scalarNode(yaml.NodeTagNull, "null")
}

// isEmpty reports whether a field is left out: the zero value, or a list or map
// without entries. A pointer that is set isn't empty, whatever it points to.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	case reflect.Struct:
		for i := range v.NumField() {
			if !isEmpty(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// stringNode is a string that every YAML reader takes for one.
func stringNode(s string) *yaml.Node {
	n := scalarNode(yaml.NodeTagString, s)
	if s == "<<" || yaml.IsYaml1_1NonString(n) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
