package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// schema is a JSON schema, draft-07 or 2020-12, that answers are checked with.
//
// The validator is Google's: santhosh-tekuri/jsonschema compiles the
// metaschemas of all drafts when a program starts, 8 ms of stoop's 11. Google's
// reports the place in the schema, of whichever error it meets first, so
// [schema.locate] finds the place in the answer, always the same one.
type schema struct {
	root  map[string]any
	text  []byte
	all   *jsonschema.Resolved
	parts map[string]*jsonschema.Resolved // by pointer, those that locate needed
}

// CheckSchema says why answers can't be asked to be as a schema says, nil if they
// can.
func CheckSchema(m map[string]any) error {
	_, err := newSchema(m)
	return err
}

// newSchema checks and compiles m.
func newSchema(m map[string]any) (*schema, error) {
	text, err := marshal(m)
	if err != nil {
		return nil, err
	}
	s := &schema{text: text, parts: map[string]*jsonschema.Resolved{}}
	if err := json.Unmarshal(text, &s.root); err != nil {
		return nil, err
	}
	if s.root["type"] != "object" {
		return nil, errors.New(`its type must be "object"`)
	}
	if v, ok := s.root["$schema"].(string); ok && !strings.Contains(v, "draft-07") && !strings.Contains(v, "2020-12") {
		return nil, fmt.Errorf("$schema %q isn't supported: use draft-07 or 2020-12", v)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	compiled, err := s.parse(nil)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:]
		return nil, fmt.Errorf("a %s stands where %s has something else", wrong.Value, at)
	}
	if err != nil {
		return nil, err
	}
	s.all, err = compiled.Resolve(nil)
	return s, err
}

// parse is a [jsonschema.Loader] that always loads s.
func (s *schema) parse(*url.URL) (*jsonschema.Schema, error) {
	c := &jsonschema.Schema{}
	return c, json.Unmarshal(s.text, c)
}

// part is a subschema: its keyword, or keyword and name or index.
type part struct {
	pointer string
	// inPlace: it applies to the same value as the schema that it is part of.
	inPlace bool
}

// partsOf are the subschemas of node, in order, that of $ref excepted.
func partsOf(pointer string, node map[string]any) []part {
	var all []part
	for _, key := range slices.Sorted(maps.Keys(node)) {
		at := pointer + "/" + escape(key)
		inPlace := false
		switch key {
		case "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies":
			inPlace = true
		case "properties", "patternProperties", "$defs", "definitions", "prefixItems", "items", "additionalItems",
			"additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains", "propertyNames":
		default:
			continue
		}
		switch v := node[key].(type) {
		case []any:
			for i := range v {
				all = append(all, part{at + "/" + strconv.Itoa(i), inPlace})
			}
		case map[string]any:
			switch key {
			case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies":
				for _, name := range slices.Sorted(maps.Keys(v)) {
					all = append(all, part{at + "/" + escape(name), inPlace})
				}
			default:
				all = append(all, part{at, inPlace})
			}
		}
	}
	return all
}

// maxApplied is how many subschemas may apply to one value.
const maxApplied = 10_000

// check finds what the validator would follow for ever, or nearly so, and what
// it would pass over.
func (s *schema) check() error {
	applied := map[string]int{} // by pointer, how many subschemas apply in place; -1: being counted
	others := []string{""}      // to visit, after what applies in place: they may well hold it again
	var visit func(pointer string) error
	visit = func(pointer string) error {
		switch n, seen := applied[pointer]; {
		case n < 0:
			return fmt.Errorf("%s refers to itself", where(pointer))
		case seen:
			return nil
		}
		applied[pointer] = -1
		v, ok := s.at(pointer)
		if !ok {
			return fmt.Errorf("%s isn't there", where(pointer))
		}
		node, ok := v.(map[string]any)
		if !ok { // true, false, or nothing that the validator takes
			applied[pointer] = 1
			return nil
		}
		inPlace := []string{}
		for _, key := range []string{"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$id"} {
			if _, ok := node[key]; ok && (key != "$id" || pointer != "") {
				return fmt.Errorf("%s: %s isn't supported, refer to schemas by #/$defs/NAME", where(pointer), key)
			}
		}
		for _, t := range typesOf(node) {
			if !slices.Contains([]any{"array", "boolean", "integer", "null", "number", "object", "string"}, t) {
				return fmt.Errorf("%s: there is no type %v", where(pointer), t)
			}
		}
		if ref, ok := node["$ref"].(string); ok {
			to, err := target(ref)
			if err != nil {
				return fmt.Errorf("%s: %w", where(pointer), err)
			}
			inPlace = append(inPlace, to)
		}
		for _, p := range partsOf(pointer, node) {
			if p.inPlace {
				inPlace = append(inPlace, p.pointer)
			} else {
				others = append(others, p.pointer)
			}
		}
		sum := 1
		for _, p := range inPlace {
			if err := visit(p); err != nil {
				return err
			}
			if sum += applied[p]; sum > maxApplied {
				return fmt.Errorf("%s: more than %d subschemas apply to one value", where(pointer), maxApplied)
			}
		}
		applied[pointer] = sum
		return nil
	}
	for len(others) > 0 {
		p := others[0]
		others = others[1:]
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

func typesOf(node map[string]any) []any {
	switch t := node["type"].(type) {
	case nil:
		return nil
	case []any:
		return t
	default:
		return []any{t}
	}
}

// target is the pointer that a $ref holds.
func target(ref string) (string, error) {
	if ref != "#" && !strings.HasPrefix(ref, "#/") {
		return "", fmt.Errorf("$ref %q isn't supported, refer to schemas by #/$defs/NAME", ref)
	}
	return url.PathUnescape(ref[1:])
}

// at is what pointer points to.
func (s *schema) at(pointer string) (any, bool) {
	var v any = s.root
	for _, token := range strings.Split(pointer, "/")[1:] {
		switch in := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = in[unescape(token)]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// A JSON pointer's way of writing a name, RFC 6901.
var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1").Replace
	unescape = strings.NewReplacer("~1", "/", "~0", "~").Replace
)

func where(pointer string) string {
	if pointer == "" {
		return "its top"
	}
	return pointer
}

// decode reads an answer and checks it. Errors name the place in the answer by
// a JSON pointer.
func (s *schema) decode(text string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		at := int64(len(text)) // where it ends too early
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = e.Offset
		}
		return nil, fmt.Errorf("it is no JSON at byte %d: %w", at, err)
	}
	end := d.InputOffset()
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more follows the JSON at byte %d", end)
	}
	v, err := exact("", v, 0)
	if err != nil {
		return nil, err
	}
	if err := s.all.Validate(v); err != nil {
		return nil, s.locate("", v, "")
	}
	return v.(map[string]any), nil // the schema is of type object
}

// unfenced is an answer without the fence of Markdown that some models put around
// the whole of it. Blanks stand in its place, so that places in errors are those
// of the answer.
func unfenced(text string) string {
	const fence = "```"
	fenced := strings.TrimSpace(text)
	opening, rest, found := strings.Cut(fenced, "\n")
	word, opens := strings.CutPrefix(opening, fence)
	inside, closes := strings.CutSuffix(rest, fence)
	if word = strings.TrimSpace(word); !found || !opens || !closes || word != "" && !strings.EqualFold(word, "json") {
		return text
	}
	return strings.Repeat(" ", strings.Index(text, fenced)+len(opening)+1) + inside
}

// maxDepth is how deep an answer may be nested.
const maxDepth = 100

// exact replaces the numbers in v by int64 and float64.
func exact(place string, v any, depth int) (_ any, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d levels deep", maxDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if v[key], err = exact(place+"/"+escape(key), v[key], depth+1); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = exact(place+"/"+strconv.Itoa(i), v[i], depth+1); err != nil {
				return nil, err
			}
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) || !strings.ContainsAny(v.String(), ".eE") {
			return nil, fmt.Errorf("%s: number %s is too large", where(place), oneLine(v.String()))
		}
		return f, nil
	}
	return v, nil
}

// locate is the error of v, which is at place of the answer and not valid by the
// schema at pointer: that of the first part of v that is not.
func (s *schema) locate(pointer string, v any, place string) error {
	err := s.validate(pointer, v)
	node, _ := s.at(pointer)
	if node == false {
		return fmt.Errorf("%s: there is no such property in the schema", where(place))
	}
	n, ok := node.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: %s", where(place), reason(err))
	}
	if ref, ok := n["$ref"].(string); ok {
		if to, err := target(ref); err == nil && s.validate(to, v) != nil {
			return s.locate(to, v, place)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		named, _ := n["properties"].(map[string]any)
		_, patterns := n["patternProperties"]
		_, others := n["additionalProperties"]
		for _, key := range slices.Sorted(maps.Keys(v)) {
			part := pointer + "/properties/" + escape(key)
			if _, ok := named[key]; !ok {
				if patterns || !others {
					continue
				}
				part = pointer + "/additionalProperties"
			}
			if s.validate(part, v[key]) != nil {
				return s.locate(part, v[key], place+"/"+escape(key))
			}
		}
	case []any:
		prefix, _ := n["prefixItems"].([]any)
		_, items := n["items"].(map[string]any)
		for i := range v {
			part := pointer + "/prefixItems/" + strconv.Itoa(i)
			if i >= len(prefix) {
				if part = pointer + "/items"; !items {
					break
				}
			}
			if s.validate(part, v[i]) != nil {
				return s.locate(part, v[i], place+"/"+strconv.Itoa(i))
			}
		}
	}
	all, _ := n["allOf"].([]any)
	for i := range all {
		if part := pointer + "/allOf/" + strconv.Itoa(i); s.validate(part, v) != nil {
			return s.locate(part, v, place)
		}
	}
	return fmt.Errorf("%s: %s", where(place), reason(err))
}

// validate checks v with the schema at pointer.
func (s *schema) validate(pointer string, v any) error {
	if pointer == "" {
		return s.all.Validate(v)
	}
	r := s.parts[pointer]
	if r == nil {
		const base = "stoop://answer/"
		version, _ := s.root["$schema"].(string)
		sub := &jsonschema.Schema{Schema: version, Ref: base + "schema#" + (&url.URL{Fragment: pointer}).EscapedFragment()}
		var err error
		if r, err = sub.Resolve(&jsonschema.ResolveOptions{BaseURI: base, Loader: s.parse}); err != nil {
			return err
		}
		s.parts[pointer] = r
	}
	return r.Validate(v)
}

// reason is the validator's message without the places in the schema.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	for strings.HasPrefix(text, "validating ") {
		_, rest, ok := strings.Cut(text, ": ")
		if !ok {
			break
		}
		text = rest
	}
	text = strings.ReplaceAll(text, "<invalid reflect.Value>", "null")
	return oneLine(strings.TrimSuffix(text, ":"))
}

// strict says whether the schema is one that servers can hold a model to while
// it writes: objects name all their properties, require them and allow no
// others, and only the keywords of
// https://platform.openai.com/docs/guides/structured-outputs are used.
func strict(v any) bool {
	node, ok := v.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range node {
		switch key {
		case "type", "title", "description", "enum", "const", "required", "$ref", "pattern", "format", "multipleOf",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems":
		case "additionalProperties":
			if value != false {
				return false
			}
		case "items":
			if !strict(value) {
				return false
			}
		case "anyOf":
			list, ok := value.([]any)
			if !ok || !all(slices.Values(list)) {
				return false
			}
		case "properties", "$defs":
			named, ok := value.(map[string]any)
			if !ok || !all(maps.Values(named)) {
				return false
			}
		default:
			return false
		}
	}
	if slices.Contains(typesOf(node), "object") {
		required, _ := node["required"].([]any)
		named, _ := node["properties"].(map[string]any)
		for name := range named {
			if !slices.Contains(required, any(name)) {
				return false
			}
		}
		return node["additionalProperties"] == false
	}
	return true
}

// all says whether all schemas are strict.
func all(schemas func(func(any) bool)) bool {
	for s := range schemas {
		if !strict(s) {
			return false
		}
	}
	return true
}
