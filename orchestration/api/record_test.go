package api

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// The canonical form is kept in users' packages: it must never change.
func TestTaskDigest(t *testing.T) {
	r := decode[*PackageRevision](t, pr(`
spec:
  packageName: edge
  tasks:
  - clone: # comments, order and style are no content
      upstreamRef:
        git: {ref: "v1", repo: 'https://example.com/r?a=1&b=<2>', directory: edge, secretRef: {name: ""}}
        oci: ~
    type: clone
  - {type: init, init: {keywords: [], description: "a\n\"b\"\té\u2028\u0001"}}
  - {type: edit, edit: {sourceRef: {name: a.b.v1}}}
`))
	const (
		first  = `{"clone":{"upstreamRef":{"git":{"directory":"edge","ref":"v1","repo":"https://example.com/r?a=1&b=<2>"}}},"type":"clone"}`
		second = `{"init":{"description":"a\n\"b\"\té\u2028\u0001"},"type":"init"}`
		third  = `{"edit":{"sourceRef":{"name":"a.b.v1"}},"type":"edit"}`
	)
	assert.Equal(t, sum("[]"), r.TaskDigest(0))
	assert.Equal(t, sum("["+first+"]"), r.TaskDigest(1))
	assert.Equal(t, "d0aac2c389e25bb83c7417acce0d2f6cca155df7de970c8eba2dff277c1f1b9f", r.TaskDigest(1))
	assert.Equal(t, sum("["+first+","+second+"]"), r.TaskDigest(2))
	assert.Equal(t, sum("["+first+","+second+","+third+"]"), r.TaskDigest(3))
	assert.Empty(t, r.TaskDigest(4))
	assert.Empty(t, r.TaskDigest(-1))

	init := decode[*PackageRevision](t, pr("spec: {tasks: [{type: init, init: {}}]}"))
	assert.Equal(t, sum(`[{"init":{},"type":"init"}]`), init.TaskDigest(1))
}

func TestObservedDigest(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", `{}`},
		{"spec: {packageName: a, lifecycle: Proposed, tasks: [{type: init, init: {}}], packageMetadata: {}}", `{}`},
		{"spec: {readinessGates: [], packageMetadata: {labels: {}, annotations: {}}}", `{"packageMetadata":{"annotations":{},"labels":{}},"readinessGates":[]}`},
		{"spec: {readinessGates: [{conditionType: b}, {conditionType: a}], packageMetadata: {labels: {b: '1', a: ''}}}",
			`{"packageMetadata":{"labels":{"a":"","b":"1"}},"readinessGates":[{"conditionType":"b"},{"conditionType":"a"}]}`},
		{"status: {conditions: [{type: Rendered, status: 'True'}, {type: stoop.dev.plan.x, status: 'True'}]}", `{}`},
		{"status: {conditions: [{type: b, status: 'True'}, {type: Rendered, status: 'True'}, {type: a, status: Unknown, reason: r, message: m}]}",
			`{"conditions":[{"status":"True","type":"b"},{"message":"m","reason":"r","status":"Unknown","type":"a"}]}`},
	} {
		r := decode[*PackageRevision](t, pr(tt.in))
		assert.Equal(t, sum(tt.want), r.ObservedDigest(), tt.in)
	}
}

func TestResourcesObservedDigest(t *testing.T) {
	// text that YAML writers trip over is nothing special here
	r := decode[*PackageRevisionResources](t, `{apiVersion: porch.kpt.dev/v1alpha1, kind: PackageRevisionResources, metadata: {name: a}, spec: {packageName: edge, resources: {b: "\n  x\n \t", a: ""}, binaryResources: {c: aGk=}}, status: {renderStatus: {error: e}}}`)
	assert.Equal(t, sum(`{"binaryResources":{"c":"aGk="},"packageName":"edge","resources":{"a":"","b":"\n  x\n \t"}}`), r.ObservedDigest())

	changed, err := r.Changed()
	assert.NoError(t, err)
	assert.True(t, changed)
	r.Metadata.Annotations = r.Record()
	changed, err = r.Changed()
	assert.NoError(t, err)
	assert.False(t, changed)
	r.Metadata.Annotations[ObservedAnnotation] = "x"
	_, err = r.Changed()
	assert.ErrorContains(t, err, `metadata.annotations[stoop.dev/observed]: "x" isn't a sha256 in hex`)
}

func TestPending(t *testing.T) {
	const one = "{type: init, init: {}}"
	const two = "{type: edit, edit: {sourceRef: {name: a}}}"
	load := func(tasks string) *PackageRevision {
		return decode[*PackageRevision](t, pr("spec: {packageName: edge, tasks: ["+tasks+"]}"))
	}
	r := load(one)
	n, err := r.Pending()
	assert.NoError(t, err)
	assert.Equal(t, 0, n, "no record")
	record := r.Record(1)
	require.Equal(t, "1:"+r.TaskDigest(1), record[AppliedAnnotation])

	const at = "PackageRevision edge: metadata.annotations[stoop.dev/applied]: "
	for _, tt := range []struct {
		tasks string
		want  int
		err   string
	}{
		{one, 1, ""},
		{one + "," + two, 1, ""},
		{two, 0, at + "spec.tasks[0] changed since it was applied: tasks that have run can't be changed; put it back, and append a task or declare another PackageRevision"},
		{two + "," + one, 0, at + "spec.tasks[0] changed since it was applied: tasks that have run can't be changed; put it back, and append a task or declare another PackageRevision"},
		{"", 0, at + "1 tasks have been applied and spec.tasks has 0: tasks that have run stay in the list; put them back"},
	} {
		r := load(tt.tasks)
		r.Metadata.Annotations = record
		n, err := r.Pending()
		assert.Equal(t, tt.want, n)
		if tt.err == "" {
			assert.NoError(t, err)
			assert.Empty(t, said(t, r.Validate()))
		} else {
			assert.EqualError(t, err, tt.err)
			assert.Equal(t, tt.err, said(t, r.Validate()))
		}
	}

	r = load(one + "," + two)
	r.Metadata.Annotations = r.Record(2)
	r.Spec.Tasks[1].Edit.SourceRef.Name = "b"
	_, err = r.Pending()
	assert.ErrorContains(t, err, "one of spec.tasks[0] to [1] changed since it was applied")
}

func TestChanged(t *testing.T) {
	r := decode[*PackageRevision](t, pr(goodInit))
	changed, err := r.Changed()
	assert.NoError(t, err)
	assert.True(t, changed, "no record")
	r.Metadata.Annotations = r.Record(1)
	changed, err = r.Changed()
	assert.NoError(t, err)
	assert.False(t, changed)
	r.Spec.ReadinessGates = []ReadinessGate{}
	changed, err = r.Changed()
	assert.NoError(t, err)
	assert.True(t, changed, "take out all gates")
	r.Metadata.Annotations[ObservedAnnotation] = strings.ToUpper(r.ObservedDigest())
	_, err = r.Changed()
	assert.Error(t, err)
}

func TestUserConditions(t *testing.T) {
	r := decode[*PackageRevision](t, pr("status: {conditions: [{type: Rendered}, {type: b}, {type: stoop.dev/x}, {type: stoop.dev.plan.p}, {type: a}]}"))
	assert.Equal(t, []Condition{{Type: "b"}, {Type: "a"}}, r.UserConditions())
}
