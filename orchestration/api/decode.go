package api

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Decode reads an object of a kind that is [Known], strictly: unknown fields,
// values of the wrong type, keys given twice, aliases and merge keys are
// errors, and a number or boolean is no string unless it is quoted. A field
// whose value is null is unset. Nothing beyond the schema is checked: that is
// the object's Validate.
//
// firstLine is the line of the file on which the YAML document of node begins,
// counted from 1; messages then name lines. 0: they name none.
//
// A field without a schema gets map[string]any, []any, string, bool, int64,
// float64 or nil; an integer that is none of 64 bits is an error.
//
// The error joins up to 20 problems in the order of the document, each an
// [fn.ResultError] with the object and the field. node isn't changed or kept.
func Decode(node *yaml.Node, firstLine int) (Object, error) {
	node = content(node)
	d := newDecoder(node, firstLine)
	if node == nil || node.Kind != yaml.MappingNode {
		d.addf("", "an object must be a map, is %s", describe(node))
		return nil, d.err()
	}
	o := makeObject(d.ref.APIVersion, d.ref.Kind, &d.problems)
	if o == nil {
		return nil, d.err()
	}
	d.value(node, reflect.ValueOf(o).Elem(), nil)
	if err := d.err(); err != nil {
		return nil, err
	}
	return o, nil
}

// content unwraps a document.
func content(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		return n.Content[0]
	}
	return n
}

// refOf reads what names an object, as far as it is there.
func refOf(node *yaml.Node) fn.ResourceRef {
	meta := entry(node, "metadata")
	return fn.ResourceRef{
		APIVersion: text(entry(node, "apiVersion")), Kind: text(entry(node, "kind")),
		Name: text(entry(meta, "name")), Namespace: text(entry(meta, "namespace")),
	}
}

// entry is the value of a key of a map, nil when there is none.
func entry(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k != nil && k.Kind == yaml.ScalarNode && k.Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// text is a string's value, empty for anything else.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() != yaml.NodeTagString {
		return ""
	}
	return n.Value
}

// maxDepth is how deep maps and lists may nest; no schema comes near it.
const maxDepth = 100

// decoder turns nodes into values, going on after each problem.
type decoder struct {
	problems
	firstLine int
}

func newDecoder(node *yaml.Node, firstLine int) *decoder {
	return &decoder{problems{ref: refOf(node)}, firstLine}
}

// fail notes a problem with the node at a place.
func (d *decoder) fail(n *yaml.Node, at *place, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if line := d.line(n); line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	d.addf(at.String(), "%s", message)
}

// line is the node's line in the file, 0 when unknown or not asked for.
func (d *decoder) line(n *yaml.Node) int {
	if d.firstLine <= 0 || n == nil || n.Line <= 0 {
		return 0
	}
	return d.firstLine + n.Line - 1
}

// value decodes a node into v. null leaves v as it is.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at *place) {
	switch {
	case isNull(n):
		return
	case n.Kind == yaml.AliasNode:
		d.fail(n, at, "aliases aren't supported here: write the value out")
		return
	case at != nil && at.depth > maxDepth:
		d.fail(n, at, "is nested more than %d deep", maxDepth)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), at)
	case reflect.Struct:
		d.structure(n, v, at)
	case reflect.Map:
		d.mapping(n, v, at)
	case reflect.Slice:
		d.list(n, v, at)
	case reflect.String:
		d.string(n, v, at)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != yaml.NodeTagBool {
			d.fail(n, at, "must be true or false, is %s", describe(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int64:
		d.integer(n, v, at)
	case reflect.Float64:
		d.number(n, v, at)
	case reflect.Interface:
		if free := d.free(n, at); free != nil {
			v.Set(reflect.ValueOf(free))
		}
	default:
		d.fail(n, at, "can't be read into a Go %s", v.Type())
	}
}

// shorthand is a struct that may be written as a text instead of a map.
type shorthand interface {
	// fromText sets the fields that the text stands for.
	fromText(string)
}

// written is a struct whose zero values aren't all the same as leaving a field out.
type written interface {
	// zeroHint says what to write instead of a zero in a field; empty: it may stand.
	zeroHint(field string) string
}

// structure decodes a map into a struct, key by key.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, at *place) {
	if short, ok := v.Addr().Interface().(shorthand); ok && n.Kind != yaml.MappingNode {
		switch shortTag(n) {
		case yaml.NodeTagString, tagTimestamp:
			short.fromText(n.Value)
		default:
			d.fail(n, at, "must be a string or a map, is %s", describe(n))
		}
		return
	}
	schema := schemaOf(v.Type())
	for _, f := range schema.counts {
		f.of(v).SetInt(absent)
	}
	fields := schema.declared
	d.entries(n, at, func(key string, kn, vn *yaml.Node, at *place) {
		for _, f := range fields {
			if f.name == key {
				d.value(vn, f.of(v), at)
				d.checkZero(vn, v, f.name, at)
				return
			}
		}
		if len(d.errs) >= maxProblems {
			d.more++ // a suggestion that nobody sees isn't worth looking for
			return
		}
		var hint string
		if h, ok := v.Interface().(interface{ fieldHint(string) string }); ok {
			hint = h.fieldHint(key)
		}
		known := make([]string, len(fields))
		for i, f := range fields {
			known[i] = f.name
		}
		if hint == "" {
			hint = strings.TrimPrefix(DidYouMean(key, known), "; ")
		}
		if hint != "" {
			hint = "; " + hint
		}
		d.fail(kn, at, "unknown field%s (known: %s)", hint, strings.Join(known, ", "))
	})
}

// checkZero refuses a zero that is written where it would be taken for none.
func (d *decoder) checkZero(n *yaml.Node, v reflect.Value, field string, at *place) {
	if n == nil || n.Value != "0" || shortTag(n) != yaml.NodeTagInt {
		return
	}
	if w, ok := v.Addr().Interface().(written); ok {
		if hint := w.zeroHint(field); hint != "" {
			d.fail(n, at, "is 0: %s", hint)
		}
	}
}

// mapping decodes a map with free keys.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, at *place) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(n, at, func(key string, _, vn *yaml.Node, at *place) {
		// an entry can't be unset like a field, and what an empty one would
		// mean is too easy to get wrong
		if elem := v.Type().Elem(); isNull(vn) && elem.Kind() != reflect.Interface {
			d.fail(vn, at, `is null: write "" for an empty text, or take the key out`)
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(vn, e, at)
		v.SetMapIndex(reflect.ValueOf(key), e)
	})
}

// entries calls visit for each key of a map with the place of its value.
func (d *decoder) entries(n *yaml.Node, at *place, visit func(key string, kn, vn *yaml.Node, at *place)) {
	if n.Kind != yaml.MappingNode || n.ShortTag() != yaml.NodeTagMap {
		d.fail(n, at, "must be a map, is %s", describe(n))
		return
	}
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		switch tag := shortTag(kn); {
		case tag == yaml.NodeTagString, tag == tagTimestamp:
		case tag == tagMerge:
			d.fail(kn, at, "merge keys (<<) aren't supported here: write the fields out")
			continue
		case kn != nil && kn.Kind == yaml.ScalarNode:
			d.fail(kn, at, "a key must be a string, is %s: quote it (%s)", describe(kn), quote(kn.Value))
			continue
		default:
			d.fail(kn, at, "a key must be a string, is %s", describe(kn))
			continue
		}
		inner := at.in(stepTo(kn.Value))
		if first, twice := seen[kn.Value]; twice {
			if line := d.line(first); line > 0 {
				d.fail(kn, inner, "is given twice, first on line %d", line)
			} else {
				d.fail(kn, inner, "is given twice")
			}
			continue
		}
		seen[kn.Value] = kn
		visit(kn.Value, kn, vn, inner)
	}
}

// list decodes a list. An empty one is not nil.
func (d *decoder) list(n *yaml.Node, v reflect.Value, at *place) {
	if n.Kind != yaml.SequenceNode || n.ShortTag() != yaml.NodeTagSeq {
		d.fail(n, at, "must be a list, is %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		inner := at.in("[" + strconv.Itoa(i) + "]")
		if isNull(c) {
			d.fail(c, inner, "is null: write a value, or take the item out")
			continue
		}
		d.value(c, v.Index(i), inner)
	}
}

// scalarText is a string that takes any scalar as it is written: hosts build
// ConfigMaps from command lines and don't always quote.
type scalarText string

func (d *decoder) string(n *yaml.Node, v reflect.Value, at *place) {
	tag := shortTag(n)
	switch {
	case n.Kind != yaml.ScalarNode:
	case tag == yaml.NodeTagString, tag == tagTimestamp, v.Type() == reflect.TypeFor[scalarText]():
		v.SetString(n.Value)
		return
	case v.Type() == reflect.TypeFor[Duration]() && decimal.MatchString(n.Value):
		d.fail(n, at, "must be a time span, is %s: write %ss if these are seconds", describe(n), n.Value)
		return
	case tag == yaml.NodeTagInt, tag == yaml.NodeTagFloat, tag == yaml.NodeTagBool:
		d.fail(n, at, "must be a string, is %s: quote it (%s)", describe(n), quote(n.Value))
		return
	}
	d.fail(n, at, "must be a string, is %s", describe(n))
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

func (d *decoder) integer(n *yaml.Node, v reflect.Value, at *place) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, at, "must be an integer, is %s", describe(n))
		return
	}
	i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
	fits := err == nil && decimal.MatchString(n.Value)
	switch tag := n.ShortTag(); {
	case tag == yaml.NodeTagInt && fits:
		v.SetInt(i)
	case tag == yaml.NodeTagInt && decimal.MatchString(n.Value):
		d.fail(n, at, "%s is out of range", quote(n.Value))
	case tag == yaml.NodeTagString && fits:
		d.fail(n, at, "must be an integer, is a string: write %d without quotes", i)
	case tag == yaml.NodeTagInt, tag == yaml.NodeTagFloat:
		d.fail(n, at, "must be an integer, is %s: write it in plain decimal digits", quote(n.Value))
	default:
		d.fail(n, at, "must be an integer, is %s", describe(n))
	}
}

func (d *decoder) number(n *yaml.Node, v reflect.Value, at *place) {
	tag := shortTag(n)
	f, ok := parseNumber(n)
	switch {
	case tag == yaml.NodeTagInt && ok, tag == yaml.NodeTagFloat && ok:
		v.SetFloat(f)
	case tag == yaml.NodeTagInt, tag == yaml.NodeTagFloat:
		d.fail(n, at, "must be a number, is %s: write it in decimal digits", quote(n.Value))
	case tag == yaml.NodeTagString && ok:
		d.fail(n, at, "must be a number, is a string: write %s without quotes", n.Value)
	default:
		d.fail(n, at, "must be a number, is %s", describe(n))
	}
}

// decimalNumber is what YAML, JSON and Go all take for the same number.
var decimalNumber = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

func parseNumber(n *yaml.Node) (float64, bool) {
	if n.Kind != yaml.ScalarNode || !decimalNumber.MatchString(n.Value) {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	return f, err == nil
}

// free decodes a value without a schema into maps, lists, strings, numbers and
// booleans; nil is null.
func (d *decoder) free(n *yaml.Node, at *place) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.value(n, reflect.ValueOf(&m).Elem(), at)
		return m
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			var e any
			d.value(c, reflect.ValueOf(&e).Elem(), at.in("["+strconv.Itoa(i)+"]"))
			l = append(l, e)
		}
		return l
	}
	switch shortTag(n) {
	case yaml.NodeTagString, tagTimestamp:
		return n.Value
	case yaml.NodeTagBool:
		return strings.EqualFold(n.Value, "true")
	case yaml.NodeTagInt:
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			return i
		}
		d.fail(n, at, "%s is no integer of 64 bits: quote it, or write it with an exponent", quote(n.Value))
		return nil
	case yaml.NodeTagFloat:
		f, ok := parseNumber(n)
		switch {
		case decimal.MatchString(n.Value): // too much for an integer, and not all of it a float64 can hold
			d.fail(n, at, "%s is no integer of 64 bits: quote it, or write it with an exponent", quote(n.Value))
			return nil
		case ok:
			return f
		}
		return n.Value
	}
	d.fail(n, at, "must be a map, list, string, number or boolean, is %s", describe(n))
	return nil
}

// Tags that kyaml has no names for.
const (
	tagTimestamp = "!!timestamp"
	tagMerge     = "!!merge"
)

// shortTag is the tag of a scalar, empty for anything else.
func shortTag(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.ShortTag()
}

func isNull(n *yaml.Node) bool { return n == nil || shortTag(n) == yaml.NodeTagNull }

// describe says what a node is, as in "must be a string, is a map".
func describe(n *yaml.Node) string {
	if isNull(n) {
		return "null"
	}
	if n.Kind == yaml.AliasNode {
		return "an alias"
	}
	switch tag := n.ShortTag(); tag {
	case yaml.NodeTagMap:
		return "a map"
	case yaml.NodeTagSeq:
		return "a list"
	case yaml.NodeTagString, tagTimestamp:
		return "a string"
	case yaml.NodeTagInt, yaml.NodeTagFloat:
		return "a number"
	case yaml.NodeTagBool:
		return "a boolean"
	default:
		return "tagged " + printable(tag)
	}
}
