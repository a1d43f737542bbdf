package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// TaskDigest is the digest of the first n tasks, in hex; empty when the object
// has fewer or n is negative.
//
// A digest is the SHA-256 of canonical JSON: the decoded value under the
// schema's names, keys sorted bytewise, no white space, <, > and & as they are,
// and no trace of fields that are unset or empty. So neither comments, order
// and style of the YAML nor a release of stoop changes it. A task's member that
// is set counts as set, even when empty (init: {}).
func (r *PackageRevision) TaskDigest(n int) string {
	if n < 0 || n > len(r.Spec.Tasks) {
		return ""
	}
	return digest(r.Spec.Tasks[:n])
}

// ObservedDigest is the digest, in hex, of what an update carries over to the
// package: an object of packageMetadata, readinessGates and conditions (the
// user's, see [PackageRevision.UserConditions]). It is canonical as in
// [PackageRevision.TaskDigest], except that labels, annotations and
// readinessGates that are set and empty are there as {} and []: set and empty
// means take out, unset means leave.
func (r *PackageRevision) ObservedDigest() string {
	o := map[string]any{}
	if m := r.Spec.PackageMetadata; m != nil {
		meta := map[string]any{}
		if m.Labels != nil {
			meta["labels"] = m.Labels
		}
		if m.Annotations != nil {
			meta["annotations"] = m.Annotations
		}
		if len(meta) > 0 {
			o["packageMetadata"] = meta
		}
	}
	if r.Spec.ReadinessGates != nil {
		o["readinessGates"] = r.Spec.ReadinessGates
	}
	if c := r.UserConditions(); len(c) > 0 { // none left is no other than none ever
		o["conditions"] = c
	}
	return digest(o)
}

// Pending is the index of the first task that has yet to be applied: 0 when
// nothing has run, len(spec.tasks) when all has. The error, an
// [fn.ResultError], says that the record is malformed or that tasks already
// applied were changed.
func (r *PackageRevision) Pending() (int, error) {
	text, ok := r.Metadata.Annotations[AppliedAnnotation]
	if !ok {
		return 0, nil
	}
	a, err := ParseApplied(text)
	switch {
	case err != nil:
		return 0, r.annotationError(AppliedAnnotation, "%v: %s", err, recordHint)
	case a.Tasks > len(r.Spec.Tasks):
		return 0, r.annotationError(AppliedAnnotation, "%d tasks have been applied and spec.tasks has %d: tasks that have run stay in the list; put them back", a.Tasks, len(r.Spec.Tasks))
	case r.TaskDigest(a.Tasks) != a.Digest:
		return 0, r.annotationError(AppliedAnnotation, "%s changed since it was applied: tasks that have run can't be changed; put it back, and append a task or declare another PackageRevision", appliedTasks(a.Tasks))
	}
	return a.Tasks, nil
}

func appliedTasks(n int) string {
	if n == 1 {
		return taskField(0)
	}
	return fmt.Sprintf("one of spec.tasks[0] to [%d]", n-1)
}

// Changed reports whether what an update carries over differs from what the
// ObservedAnnotation remembers; true when there is no such annotation. The
// error, an [fn.ResultError], says that the annotation is malformed.
func (r *PackageRevision) Changed() (bool, error) {
	seen, err := r.observed()
	return err == nil && seen != r.ObservedDigest(), err
}

// Record is the annotations that say that the first n tasks have been applied
// and the object as it is now was carried over; n is from 1 to len(spec.tasks).
func (r *PackageRevision) Record(n int) map[string]string {
	return map[string]string{
		AppliedAnnotation:  Applied{Tasks: n, Digest: r.TaskDigest(n)}.String(),
		ObservedAnnotation: r.ObservedDigest(),
	}
}

func (r *PackageRevision) validateRecord(p *problems) {
	_, err := r.Pending()
	p.join(err)
	_, err = r.observed()
	p.join(err)
}

// ObservedDigest is the digest of spec, in hex, canonical as in
// [PackageRevision.TaskDigest].
func (r *PackageRevisionResources) ObservedDigest() string { return digest(r.Spec) }

// Changed reports whether spec differs from what the ObservedAnnotation
// remembers; true when there is no such annotation. The error, an
// [fn.ResultError], says that the annotation is malformed.
func (r *PackageRevisionResources) Changed() (bool, error) {
	seen, err := r.observed()
	return err == nil && seen != r.ObservedDigest(), err
}

// Record is the annotation that says that the order as it is now was carried
// out.
func (r *PackageRevisionResources) Record() map[string]string {
	return map[string]string{ObservedAnnotation: r.ObservedDigest()}
}

// digest is the SHA-256, in hex, of v as canonical JSON.
func digest(v any) string { return digestOf(canonical(v)) }

func digestOf(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// canonical is v as JSON as [PackageRevision.TaskDigest] has it.
func canonical(v any) []byte { return appendCanonical(make([]byte, 0, 512), reflect.ValueOf(v)) }

// appendCanonical appends a value of the kinds that [encode] knows.
func appendCanonical(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return appendCanonical(b, v.Elem())
		}
	case reflect.Interface:
		if !v.IsNil() {
			return appendValue(b, v.Interface())
		}
	case reflect.Struct:
		return appendStruct(b, v, sortedFieldsOf(v.Type()))
	case reflect.Map:
		if m, ok := v.Interface().(map[string]any); ok {
			return appendValue(b, m)
		}
		b = append(b, '{')
		for i, k := range sortedKeysOf(v) {
			b = appendCanonical(appendKey(b, k.String(), i == 0), v.MapIndex(k))
		}
		return append(b, '}')
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, v.Index(i))
		}
		return append(b, ']')
	case reflect.String:
		if v.Type() != reflect.TypeFor[json.Number]() {
			return appendText(b, v.String())
		}
	}
	n := encode(v)
	if n.Tag == yaml.NodeTagString { // a json.Number that is none
		return appendText(b, n.Value)
	}
	return append(b, n.Value...) // a number or boolean, which JSON writes alike
}

// appendStruct appends some fields of a struct.
func appendStruct(b []byte, v reflect.Value, fields []field) []byte {
	b = append(b, '{')
	first := true
	for i := range fields {
		if fv := fields[i].of(v); !isEmpty(fv) {
			b = appendKey(b, fields[i].name, first)
			b, first = appendCanonical(b, fv), false
		}
	}
	return append(b, '}')
}

// appendValue is appendCanonical for a value without a schema, whose usual types
// are known without reflection.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case map[string]any:
		b = append(b, '{')
		for i, k := range sortedKeys(v) {
			b = appendValue(appendKey(b, k, i == 0), v[k])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e)
		}
		return append(b, ']')
	}
	return appendCanonical(b, reflect.ValueOf(v))
}

// appendKey appends a key of an object, behind the comma that it needs unless it
// is the first.
func appendKey(b []byte, key string, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	return append(appendText(b, key), ':')
}

// appendText appends a string as JSON.
func appendText(b []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = ' ' <= s[i] && s[i] <= '~' && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		return append(append(append(b, '"'), s...), '"')
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string: nothing that can fail
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
