package orchestration

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/agent"
)

// answered are the outputs of an agent as the status will give them back, so that
// what needs them sees the same in this run and in one that goes on from it.
func answered(r *agent.Response) (map[string]any, error) {
	if isPlain(r.Outputs, 0) { // as those of chat endpoints mostly are
		return r.Outputs, nil
	}
	v, err := plain("outputs", reflect.ValueOf(r.Outputs), 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// isPlain says whether a value is what plain would make of it, as far as that is told
// at a glance.
func isPlain(v any, depth int) bool {
	switch v := v.(type) {
	case nil, bool, int64:
		return true
	case string:
		return utf8.ValidString(v)
	case map[string]any:
		for k, e := range v {
			if depth > maxNesting || !utf8.ValidString(k) || !isPlain(e, depth+1) {
				return false
			}
		}
		return v != nil
	case []any:
		for _, e := range v {
			if depth > maxNesting || !isPlain(e, depth+1) {
				return false
			}
		}
		return v != nil
	}
	return false
}

// maxNesting is how deep an output may be nested; it also ends one that holds
// itself.
const maxNesting = 100

// plain is a value of JSON as maps, lists, strings, int64, float64, booleans and
// nil. Whole numbers are int64 as far as a float64 holds them exactly.
func plain(place string, v reflect.Value, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%s… is nested more than %d levels deep", string([]rune(place)[:40]), maxNesting)
	}
	switch {
	case !v.IsValid():
		return nil, nil
	case v.Type() == reflect.TypeFor[json.Number]():
		return plainNumber(place, json.Number(v.String()))
	}
	switch v.Kind() {
	case reflect.Interface:
		return plain(place, v.Elem(), depth)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			return plainMap(place, v, depth)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 { // bytes have more than one form in JSON
			return plainList(place, v, depth)
		}
	case reflect.String:
		return plainText(place, v.String())
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return plainNumber(place, json.Number(strconv.FormatUint(v.Uint(), 10)))
	case reflect.Float32, reflect.Float64:
		return plainFloat(place, v.Float())
	}
	return nil, fmt.Errorf("%s is a Go value of type %s: hand on what JSON has, in maps, slices, strings, numbers and booleans", place, v.Type())
}

func plainMap(place string, v reflect.Value, depth int) (any, error) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	out := make(map[string]any, len(keys))
	for _, k := range keys {
		key, err := plainText("a key of "+place, k.String())
		if err != nil {
			return nil, err
		}
		if out[key], err = plain(place+"."+key, v.MapIndex(k), depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func plainList(place string, v reflect.Value, depth int) (any, error) {
	out := make([]any, v.Len())
	for i := range out {
		var err error
		if out[i], err = plain(place+"["+strconv.Itoa(i)+"]", v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func plainText(place, text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("%s is no UTF-8: hand on bytes as base64", place)
	}
	return text, nil
}

func plainNumber(place string, n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil || !strings.ContainsAny(n.String(), ".eE") {
		return nil, fmt.Errorf("%s is %s: hand on a number that an int64 or float64 can hold, or a string", place, n)
	}
	return plainFloat(place, f)
}

func plainFloat(place string, f float64) (any, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("%s is %v, which is no number of JSON: leave it out, or hand on a string", place, f)
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return int64(f), nil
	}
	return f, nil
}
