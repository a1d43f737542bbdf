package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	return m
}

const ports = `{
	"type": "object",
	"properties": {
		"ports": {"type": "array", "items": {"$ref": "#/$defs/port"}, "maxItems": 3},
		"by/name": {"type": "object", "additionalProperties": {"type": "boolean"}},
		"size": {"enum": ["S", "L"]},
		"ratio": {"type": "number"},
		"any": {"anyOf": [{"type": "string"}, {"type": "null"}]},
		"both": {"allOf": [{"type": "object"}, {"properties": {"x": {"type": "integer"}}}]},
		"self": {"$ref": "#"}
	},
	"required": ["ports"],
	"additionalProperties": false,
	"$defs": {"port": {"type": "object", "properties": {"number": {"type": "integer", "minimum": 1}, "name": {"type": "string"}}, "required": ["number"]}}
}`

// The answer is checked over the wire, once; the table below takes it from there.
func TestSchema(t *testing.T) {
	r := ask
	r.Schema = object(t, ports)
	resp, err := server(t, streamed(` {"ports": [{"number": 9007199254740993, "name": "http"}], "ratio": 1.0, "any": null, "self": {"ports": []}}`+"\n")).Execute(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"ports": []any{map[string]any{"number": int64(9007199254740993), "name": "http"}},
		"ratio": 1.0, "any": nil, "self": map[string]any{"ports": []any{}},
	}, resp.Outputs)

	err = fails(t, server(t, streamed(`{"ports": [{"number": 1}, {"number": "80"}]}`)), r, dag.Other)
	assert.EqualError(t, err, `the model's answer: /ports/1/number: type: 80 has type "string", want "integer"`)
}

func TestInvalidAnswers(t *testing.T) {
	s, err := newSchema(object(t, ports))
	require.NoError(t, err)
	for answer, want := range map[string]string{
		`Sure! {"ports": []}`:           "it is no JSON at byte 1: invalid character 'S'",
		`{"ports": [`:                   "it is no JSON at byte 11: unexpected EOF",
		``:                              "it is no JSON at byte 0: EOF",
		`{"ports": []} {}`:              "more follows the JSON at byte 13",
		`[]`:                            `its top: type: [] has type "array", want "object"`,
		`{}`:                            `its top: required: missing properties: ["ports"]`,
		`{"ports": [], "z": 1, "y": 1}`: "/y: there is no such property in the schema",
		`{"ports": [{"number": 1}, {"number": 0}]}`:                        "/ports/1/number: minimum: 0/1 is less than 1.000000",
		`{"ports": [{"number": 1.5}]}`:                                     `/ports/0/number: type: 1.5 has type "number", want "integer"`,
		`{"ports": [{}, {"number": "x"}]}`:                                 `/ports/0: required: missing properties: ["number"]`,
		`{"ports": [], "by/name": {"b": 1, "a~": 2, "c": true}}`:           `/by~1name/a~0: type: 2 has type "integer", want "boolean"`,
		`{"ports": [], "size": "M"}`:                                       "/size: enum: M does not equal any of: [S L]",
		`{"ports": [], "any": 1}`:                                          "/any: anyOf: did not validate against any of",
		`{"ports": [], "both": {"x": "1"}}`:                                `/both/x: type: 1 has type "string", want "integer"`,
		`{"ports": [], "self": {"ports": [], "self": {"ports": null}}}`:    `/self/self/ports: type: null has type "null", want "array"`,
		`{"ports": [{"number": 12345678901234567890}]}`:                    "/ports/0/number: number 12345678901234567890 is too large",
		`{"ports": [], "ratio": 1e999}`:                                    "/ratio: number 1e999 is too large",
		`{"ports": [{"number":1},{"number":2},{"number":3},{"number":4}]}`: "/ports: maxItems: array length 4 is greater than 3",
	} {
		for range 20 { // the validator goes through maps, the message may not show it
			_, err := s.decode(answer)
			require.ErrorContains(t, err, want, answer)
		}
	}
}

func TestBadSchemas(t *testing.T) {
	wide := map[string]any{"type": "object", "allOf": []any{map[string]any{"$ref": "#/$defs/d20"}}}
	defs := map[string]any{"d0": true}
	for i := 1; i <= 20; i++ {
		ref := map[string]any{"$ref": fmt.Sprintf("#/$defs/d%d", i-1)}
		defs[fmt.Sprintf("d%d", i)] = map[string]any{"allOf": []any{ref, ref}}
	}
	wide["$defs"] = defs
	wideText, err := json.Marshal(wide)
	require.NoError(t, err)
	for text, want := range map[string]string{
		`{"type": "object", "$ref": "#"}`: "its top refers to itself",
		`{"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {"not": {"$ref": "#/properties/a"}}}}`: "/properties/a refers to itself",
		`{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}`:                                                "/$defs/a isn't there",
		`{"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/a"}}}`:                                     `/properties/a: $ref "http://127.0.0.1:1/a" isn't supported`,
		`{"type": "object", "properties": {"a": {"$dynamicRef": "#x"}}}`:                                                "/properties/a: $dynamicRef isn't supported",
		`{"type": "object", "properties": {"a": {"type": ["string", "int"]}}}`:                                          "/properties/a: there is no type int",
		`{"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}`:                                                 "invalid or unsupported Perl syntax",
		`{"type": "object", "minProperties": "x"}`:                                                                      "cannot be unmarshaled",
		`{"type": "object", "$schema": "http://json-schema.org/draft-04/schema#"}`:                                      "use draft-07 or 2020-12",
		string(wideText): "more than 10000 subschemas apply to one value",
	} {
		_, err := newSchema(object(t, text))
		assert.ErrorContains(t, err, want, text)
	}
}

func TestGoodSchemas(t *testing.T) {
	for text, answers := range map[string][]string{
		// holds itself, also in place, which isn't the same as applying itself
		`{"type": "object", "allOf": [{"properties": {"child": {"$ref": "#"}}}]}`: {`{}`, `{"child": {"child": {}}}`},
		`{"$schema": "http://json-schema.org/draft-07/schema#", "$id": "http://example.com/a", "type": "object", "properties": {"a": {"$ref": "#/definitions/%41b"}}, "definitions": {"Ab": {"type": "integer"}}}`: {`{"a": 1}`, `{"a": 1.0}`},
		// a property may have the name of a keyword
		`{"type": "object", "properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}, "type": {"const": "x"}}}`: {`{"$id": "a", "$ref": "b", "type": "x"}`},
	} {
		s, err := newSchema(object(t, text))
		require.NoError(t, err, text)
		for _, a := range answers {
			_, err = s.decode(a)
			assert.NoError(t, err, text)
		}
	}
}

func TestStrict(t *testing.T) {
	for text, want := range map[string]bool{
		`{"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"], "additionalProperties": false}`:                                                          true,
		`{"type": "object", "properties": {}, "additionalProperties": false}`:                                                                                                              true,
		`{"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "additionalProperties": false, "$defs": {"x": {"anyOf": [{"type": "string"}, {"enum": [1]}]}}}`: true,
		`{"type": "object", "properties": {"a": {}}, "additionalProperties": false}`:                                                                                                       false,
		`{"type": "object", "properties": {"a": {}}, "required": ["a"]}`:                                                                                                                   false,
		`{"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}, "required": ["a"], "additionalProperties": false}`:                                        false,
		`{"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"], "additionalProperties": false}`:                                                    false,
		`{"type": "object", "allOf": [], "additionalProperties": false}`:                                                                                                                   false,
	} {
		assert.Equal(t, want, strict(object(t, text)), text)
	}
}

// What is at fault at the end of much is found, too.
func TestLargeInvalidAnswer(t *testing.T) {
	s, err := newSchema(object(t, ports))
	require.NoError(t, err)
	nested := func(n int) string {
		return strings.Repeat(`{"ports":[],"self":`, n) + "1" + strings.Repeat("}", n)
	}
	_, err = s.decode(nested(maxDepth))
	assert.ErrorContains(t, err, strings.Repeat("/self", maxDepth)+`: type: 1 has type "integer"`)
	_, err = s.decode(nested(maxDepth + 1))
	assert.EqualError(t, err, "it is nested more than 100 levels deep")
	_, err = s.decode(`{"ports": [` + strings.Repeat(`{"number":1},`, 20_000) + `{}]}`)
	assert.EqualError(t, err, `/ports/20000: required: missing properties: ["number"]`)
}

// Some models put their JSON into a fence of Markdown, whatever they are told.
func TestFencedAnswers(t *testing.T) {
	s, err := newSchema(object(t, `{"type": "object", "properties": {"text": {"type": "string"}}}`))
	require.NoError(t, err)
	for _, answer := range []string{
		"```json\n{\"text\": \"a\"}\n```", "\n ```JSON\r\n{\"text\": \"a\"}\r\n``` \n", "```\n{\"text\":\n\"a\"}```", "``` json \n\n{\"text\": \"a\"}\n\n```",
	} {
		v, err := s.decode(unfenced(answer))
		require.NoError(t, err, "%q", answer)
		assert.Equal(t, map[string]any{"text": "a"}, v, "%q", answer)
	}
	r := ask
	r.Schema = s.root
	resp, err := server(t, streamed("```json\n{\"text\": \"a\"}\n```")).Execute(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"text": "a"}, resp.Outputs)
	r.Schema = nil // whoever asks for a text may want one
	resp, err = server(t, streamed("```json\n{}\n```")).Execute(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"text": "```json\n{}\n```"}, resp.Outputs)

	v, err := s.decode(unfenced("```json\n{\"text\": \"```sh\\nls\\n```\"}\n```"))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"text": "```sh\nls\n```"}, v)
	for answer, want := range map[string]string{
		"```json\n{\"text\": \"a\"}":                        "it is no JSON at byte 1: invalid character '`'",
		"Here:\n```json\n{\"text\": \"a\"}\n```":            "it is no JSON at byte 1: invalid character 'H'",
		"```json\n{\"text\": \"a\"}\n```\nDone.":            "it is no JSON at byte 1: invalid character '`'",
		"```json\n{\"text\": \"a\"}\n```\n```json\n{}\n```": "more follows the JSON at byte 21",
		"```yaml\n{\"text\": \"a\"}\n```":                   "it is no JSON at byte 1: invalid character '`'",
		"```json\n{\"text\": a}\n```":                       "it is no JSON at byte 18: invalid character 'a'",
		"```{\"text\": \"a\"}```":                           "it is no JSON at byte 1: invalid character '`'",
		"```\n```":                                          "it is no JSON at byte 4: EOF",
	} {
		_, err := s.decode(unfenced(answer))
		require.ErrorContains(t, err, want, "%q", answer)
	}
}
