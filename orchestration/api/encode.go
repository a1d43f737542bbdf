package api

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

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
			if fv := f.of(v); f.isSet(fv) {
				n.Content = append(n.Content, stringNode(f.name), encode(fv))
			}
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		for _, k := range sortedKeysOf(v) {
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
		if v.Type() == reflect.TypeFor[json.Number]() {
			return jsonNumberNode(json.Number(v.String()))
		}
		return stringNode(v.String())
	case reflect.Bool:
		return scalarNode(yaml.NodeTagBool, strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int64:
		return scalarNode(yaml.NodeTagInt, strconv.FormatInt(v.Int(), 10))
	case reflect.Uint64: // as YAML has integers that are too large for an int64
		return scalarNode(yaml.NodeTagInt, strconv.FormatUint(v.Uint(), 10))
	case reflect.Float64:
		return numberNode(v.Float())
	}
	return scalarNode(yaml.NodeTagNull, "null")
}

// sortedKeys are the keys of a map, sorted.
func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// sortedKeysOf are the keys of a map whose keys are strings, sorted.
func sortedKeysOf(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	return keys
}

// isSet says whether a field with the value v is written.
func (f *field) isSet(v reflect.Value) bool {
	if f.counts {
		return v.Int() != absent
	}
	return !isEmpty(v)
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

// numberNode is a number that YAML 1.1 and JSON read as such too. A whole one is
// an integer, as in JSON Schema: what it came from may not know the difference.
func numberNode(f float64) *yaml.Node {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return scalarNode(yaml.NodeTagInt, strconv.FormatInt(int64(f), 10))
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if digits, exp, ok := strings.Cut(s, "e"); ok && !strings.Contains(digits, ".") {
		s = digits + ".0e" + exp
	}
	return scalarNode(yaml.NodeTagFloat, s)
}

// jsonNumberNode is a number that wasn't parsed yet.
func jsonNumberNode(n json.Number) *yaml.Node {
	if _, err := n.Int64(); err == nil {
		return scalarNode(yaml.NodeTagInt, n.String())
	}
	f, err := n.Float64()
	if err != nil {
		return stringNode(n.String())
	}
	return numberNode(f)
}

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// stringNode is a string that every YAML reader takes for one.
func stringNode(s string) *yaml.Node {
	n := scalarNode(yaml.NodeTagString, s)
	if !isPlainly(s) && (s == "<<" || yaml.IsYaml1_1NonString(n)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isPlainly says of most strings that every YAML reader takes them for one
// without quotes too. Of the others [yaml.IsYaml1_1NonString] has to tell, which
// parses.
func isPlainly(s string) bool {
	if s == "" {
		return true
	}
	if len(s) <= len("false") {
		switch strings.ToLower(s) {
		case "y", "yes", "n", "no", "on", "off", "true", "false", "null":
			return false
		}
	}
	digits := '0' <= s[0] && s[0] <= '9'
	switch c := s[0]; {
	case digits:
		// a digest: no number has its letters, unless a 0 makes it one
		if len(s) < 2 || c == '0' && strings.IndexByte("xXoObB_", s[1]) >= 0 || !strings.ContainsAny(s, "abcdf") {
			return false
		}
	case !isLetter(c) && c != '/':
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (c < '0' || c > '9') && (digits || c != '-' && c != '_' && c != '.' && c != '/') {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
