package api

import (
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// parse is the content node of a YAML document.
func parse(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(text), &doc), text)
	return &doc
}

// decode is a document as the object it is.
func decode[T Object](t testing.TB, text string) T {
	t.Helper()
	o, err := Decode(parse(t, text), 0)
	require.NoError(t, err)
	return o.(T)
}

// said is the text of an error, "" for none, after checking that each problem
// is one that can be shown as a result.
func said(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "not joined: %v", err)
	for _, e := range joined.Unwrap() {
		re, ok := e.(*fn.ResultError)
		require.True(t, ok, "%T: %v", e, e)
		assert.NotNil(t, re.Result.ResourceRef, "%v", e)
		assert.Equal(t, fn.Error, re.Result.Severity, "%v", e)
	}
	return err.Error()
}

// lines joins the lines of a golden text.
func lines(l ...string) string { return strings.Join(l, "\n") }

// exported is what kubectl prints of a PackageRevision.
const exported = `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"kind":"PackageRevision"}
  creationTimestamp: "2026-03-01T10:00:00Z"
  deletionTimestamp: 2026-03-02T10:00:00Z
  deletionGracePeriodSeconds: 0
  finalizers: [config.porch.kpt.dev/repository]
  generateName: edge-
  generation: 3
  labels:
    kpt.dev/latest-revision: "true"
  managedFields:
  - apiVersion: porch.kpt.dev/v1alpha1
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {f:labels: {".": {}, "f:x": {}}}
      f:odd: [1, 1.5, true, null, 2026-03-01]
    manager: porch
    operation: Update
    subresource: status
    time: "2026-03-01T10:00:00Z"
  name: blueprints.edge.v1
  namespace: default
  ownerReferences:
  - apiVersion: config.porch.kpt.dev/v1alpha1
    blockOwnerDeletion: true
    controller: false
    kind: Repository
    name: blueprints
    uid: 5c0e1d1c-0000-4000-8000-000000000000
  resourceVersion: 7f1d8b
  selfLink: /apis/x
  uid: 8a0e1d1c-0000-4000-8000-000000000000
spec:
  lifecycle: Published
  packageMetadata:
    annotations: {a: b}
    labels: {c: d}
  packageName: edge
  parent:
    name: blueprints.site.v1
  readinessGates:
  - conditionType: example.com/ready
  repository: blueprints
  revision: 1
  tasks:
  - type: init
    init: {description: an edge, keywords: [a, b], site: https://example.com, subpackage: sub}
  - type: clone
    clone:
      upstreamRef:
        type: git
        git: {repo: https://example.com/r.git, ref: v1, directory: edge, secretRef: {name: s}}
  - type: clone
    clone: {upstreamRef: {oci: {image: example.com/edge:v1}}}
  - type: clone
    clone: {upstreamRef: {upstreamRef: {name: blueprints.edge.v0}}}
  - type: edit
    edit: {sourceRef: {name: blueprints.edge.v0}}
  - type: upgrade
    upgrade:
      oldUpstreamRef: {name: a.b.v1}
      newUpstreamRef: {name: a.b.v2}
      localPackageRevisionRef: {name: c.b.v1}
      strategy: copy-merge
  workspaceName: v1
status:
  conditions:
  - {type: Rendered, status: "True", reason: RenderSuccess, message: fine}
  deployment: true
  publishTimestamp: "2026-03-01T10:00:00Z"
  publishedBy: someone
  selfLock:
    type: git
    git: {repo: https://example.com/r.git, directory: edge, ref: edge/v1, commit: 7f1d8b}
  upstreamLock:
    type: git
    git: {repo: https://example.com/u.git, directory: /, ref: v1, commit: 1b2c3d}
`

func TestDecodeExported(t *testing.T) {
	r := decode[*PackageRevision](t, exported)
	assert.Equal(t, "blueprints.edge.v1", r.Head().Metadata.Name)
	assert.Equal(t, int64(3), r.Metadata.Generation)
	assert.Equal(t, new(int64), r.Metadata.DeletionGracePeriodSeconds)
	assert.Equal(t, "2026-03-02T10:00:00Z", r.Metadata.DeletionTimestamp)
	assert.Equal(t, new(bool), r.Metadata.OwnerReferences[0].Controller)
	assert.Equal(t, []any{int64(1), 1.5, true, nil, "2026-03-01"}, r.Metadata.ManagedFields[0].FieldsV1["f:odd"])
	assert.Equal(t, 1, r.Spec.Revision)
	assert.Equal(t, "blueprints.site.v1", r.Spec.Parent.Name)
	assert.Equal(t, &InitTask{Subpackage: "sub", Description: "an edge", Keywords: []string{"a", "b"}, Site: "https://example.com"}, r.Spec.Tasks[0].Init)
	assert.Equal(t, &GitPackage{Repo: "https://example.com/r.git", Ref: "v1", Directory: "edge", SecretRef: SecretRef{"s"}}, r.Spec.Tasks[1].Clone.UpstreamRef.Git)
	assert.Equal(t, "example.com/edge:v1", r.Spec.Tasks[2].Clone.UpstreamRef.OCI.Image)
	assert.Equal(t, "blueprints.edge.v0", r.Spec.Tasks[3].Clone.UpstreamRef.UpstreamRef.Name)
	assert.Equal(t, "blueprints.edge.v0", r.Spec.Tasks[4].Edit.SourceRef.Name)
	assert.Equal(t, CopyMerge, r.Spec.Tasks[5].Upgrade.Strategy)
	assert.Equal(t, "1b2c3d", r.Status.UpstreamLock.Git.Commit)
	assert.Equal(t, &fn.ResourceRef{APIVersion: PorchV1Alpha1, Kind: "PackageRevision", Name: "blueprints.edge.v1", Namespace: "default"}, r.Ref())
	assert.Empty(t, said(t, r.Validate()))
}

func TestDecodeExportedResources(t *testing.T) {
	r := decode[*PackageRevisionResources](t, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevisionResources
metadata: {name: blueprints.edge.v1, namespace: default, creationTimestamp: null}
spec:
  packageName: edge
  workspaceName: v1
  revision: 1
  repository: blueprints
  resources:
    Kptfile: |
      kind: Kptfile
status:
  renderStatus:
    error: ""
    result:
      apiVersion: kpt.dev/v1
      kind: FunctionResultList
      metadata: {name: fnresults, creationTimestamp: null}
      exitCode: 1
      items:
      - image: example.com/fn:v1
        exec: ./fn
        stderr: oh
        exitCode: 1
        results:
        - message: bad
          severity: error
          resourceRef: {apiVersion: v1, kind: ConfigMap, name: a, namespace: b}
          field: {path: data.x, currentValue: 1, proposedValue: {a: [b]}}
          file: {path: cm.yaml, index: 2}
          tags: {k: v}
`)
	assert.Empty(t, said(t, r.Validate()))
	assert.Equal(t, map[string]string{"Kptfile": "kind: Kptfile\n"}, r.Spec.Resources)
	assert.Equal(t, "fnresults", r.Status.RenderStatus.Result.Metadata.Name)
	assert.Equal(t, fn.Result{
		Message: "bad", Severity: fn.Error,
		ResourceRef: &fn.ResourceRef{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Namespace: "b"},
		Field:       &fn.Field{Path: "data.x", CurrentValue: int64(1), ProposedValue: map[string]any{"a": []any{"b"}}},
		File:        &fn.File{Path: "cm.yaml", Index: 2},
		Tags:        map[string]string{"k": "v"},
	}, r.Status.RenderStatus.Result.Items[0].Results[0])
}

func TestDecodeExportedRepository(t *testing.T) {
	r := decode[*Repository](t, `apiVersion: config.porch.kpt.dev/v1alpha1
kind: Repository
metadata: {name: blueprints, namespace: default}
spec:
  description: ours
  deployment: true
  type: git
  content: Package
  sync: {schedule: "*/10 * * * *", runOnceAt: 2026-03-01T10:00:00Z}
  git:
    repo: https://example.com/r.git
    branch: main
    createBranch: true
    directory: /packages/
    secretRef: {name: s}
    author: A
    email: a@example.com
status:
  conditions:
  - {type: Ready, status: "True", observedGeneration: 2, lastTransitionTime: "2026-03-01T10:00:00Z", reason: Ready, message: ok}
  lastFullSyncTime: "2026-03-01T10:00:00Z"
  nextFullSyncTime: "2026-03-01T11:00:00Z"
  observedGeneration: 2
  observedRunOnceAt: null
  packageCount: 7
  gitCommitHash: 1b2c3d
`)
	assert.Empty(t, said(t, r.Validate()))
	assert.Equal(t, "packages", r.Spec.Git.Path())
	assert.Equal(t, 7, r.Status.PackageCount)

	oci := decode[*Repository](t, `{apiVersion: config.porch.kpt.dev/v1alpha1, kind: Repository, metadata: {name: r}, spec: {oci: {registry: example.com/p, secretRef: {name: s}}}}`)
	assert.Empty(t, said(t, oci.Validate()))
	assert.Equal(t, "s", oci.Spec.OCI.SecretRef.Name)
}

// pr is a PackageRevision called edge with the given fields, which begin at
// line 4.
func pr(rest string) string {
	return "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge}\n" + rest
}

// task is a Task t with the given rest.
func task(rest string) string {
	return "apiVersion: stoop.dev/v1alpha1\nkind: Task\nmetadata: {name: t}\n" + rest
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"unknown field with a neighbour", pr("spec: {tasks: [{type: clone, clone: {upstream: {}}}]}"),
			`PackageRevision edge: spec.tasks[0].clone.upstream: unknown field; did you mean "upstreamRef"? (known: upstreamRef)`},
		{"unknown field in another case", pr("spec: {packagename: a}"),
			`PackageRevision edge: spec.packagename: unknown field; did you mean "packageName"? (known: packageName, repository, workspaceName, revision, parent, lifecycle, tasks, readinessGates, packageMetadata)`},
		{"unknown field without a neighbour", pr("spec: {tasks: [{edit: {zzz: 1}}]}"),
			`PackageRevision edge: spec.tasks[0].edit.zzz: unknown field (known: sourceRef)`},
		{"unknown field at the top", pr("stats: {}"),
			`PackageRevision edge: stats: unknown field; did you mean "status"? (known: apiVersion, kind, metadata, spec, status)`},
		{"removed task", pr("spec: {tasks: [{type: patch, patch: {patches: []}}]}"),
			`PackageRevision edge: spec.tasks[0].patch: unknown field; Porch removed tasks of this type; edit the package's files instead (known: type, init, clone, edit, upgrade)`},
		{"removed clone strategy", pr("spec: {tasks: [{clone: {strategy: x}}]}"),
			`PackageRevision edge: spec.tasks[0].clone.strategy: unknown field; Porch removed it; an upgrade task says how to merge (known: upstreamRef)`},
		{"hostile key", pr("spec: {\"a\\n\\e[31m\": 1}"),
			`PackageRevision edge: spec["a\n\x1b[31m"]: unknown field (known: packageName, repository, workspaceName, revision, parent, lifecycle, tasks, readinessGates, packageMetadata)`},
		{"map for string", pr("spec: {packageName: {}}"), `PackageRevision edge: spec.packageName: must be a string, is a map`},
		{"list for string", pr("spec: {packageName: [a]}"), `PackageRevision edge: spec.packageName: must be a string, is a list`},
		{"string for map", pr("spec: edge"), `PackageRevision edge: spec: must be a map, is a string`},
		{"list for map", pr("spec: {tasks: [{init: []}]}"), `PackageRevision edge: spec.tasks[0].init: must be a map, is a list`},
		{"map for list", pr("spec: {tasks: {type: init}}"), `PackageRevision edge: spec.tasks: must be a list, is a map`},
		{"string for bool", pr("status: {deployment: \"true\"}"), `PackageRevision edge: status.deployment: must be true or false, is a string`},
		{"yes for bool", pr("status: {deployment: yes}"), `PackageRevision edge: status.deployment: must be true or false, is a string`},
		{"list for bool", pr("status: {deployment: []}"), `PackageRevision edge: status.deployment: must be true or false, is a list`},
		{"float for string", pr("spec: {tasks: [{clone: {upstreamRef: {git: {ref: 1.0}}}}]}"),
			`PackageRevision edge: spec.tasks[0].clone.upstreamRef.git.ref: must be a string, is a number: quote it ("1.0")`},
		{"int for string", pr("spec: {workspaceName: 123}"), `PackageRevision edge: spec.workspaceName: must be a string, is a number: quote it ("123")`},
		{"commit that looks like a float", pr("spec: {workspaceName: 12e45}"), `PackageRevision edge: spec.workspaceName: must be a string, is a number: quote it ("12e45")`},
		{"bool for string", pr("spec: {workspaceName: true}"), `PackageRevision edge: spec.workspaceName: must be a string, is a boolean: quote it ("true")`},
		{"binary for string", pr("spec: {workspaceName: !!binary aGk=}"), `PackageRevision edge: spec.workspaceName: must be a string, is tagged !!binary`},
		{"custom tag on a map", pr("spec: !x {}"), `PackageRevision edge: spec: must be a map, is tagged !x`},
		{"quoted int", pr("spec: {revision: \"3\"}"), `PackageRevision edge: spec.revision: must be an integer, is a string: write 3 without quotes`},
		{"word for int", pr("spec: {revision: v3}"), `PackageRevision edge: spec.revision: must be an integer, is a string`},
		{"float for int", pr("spec: {revision: 3.0}"), `PackageRevision edge: spec.revision: must be an integer, is "3.0": write it in plain decimal digits`},
		{"octal for int", pr("spec: {revision: 010}"), `PackageRevision edge: spec.revision: must be an integer, is "010": write it in plain decimal digits`},
		{"hex for int", pr("spec: {revision: 0x10}"), `PackageRevision edge: spec.revision: must be an integer, is "0x10": write it in plain decimal digits`},
		{"int out of range", pr("spec: {revision: 9223372036854775808}"), `PackageRevision edge: spec.revision: "9223372036854775808" is out of range`},
		{"map for int", pr("spec: {revision: {}}"), `PackageRevision edge: spec.revision: must be an integer, is a map`},
		{"key twice", pr("spec: {revision: 1, revision: 2}"), `PackageRevision edge: spec.revision: is given twice`},
		{"map key twice", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, labels: {a/b: c, a/b: d}}",
			`PackageRevision edge: metadata.labels[a/b]: is given twice`},
		{"number as key", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, labels: {1: c}}",
			`PackageRevision edge: metadata.labels: a key must be a string, is a number: quote it ("1")`},
		{"list as key", pr("spec: {? [a] : b}"), `PackageRevision edge: spec: a key must be a string, is a list`},
		{"annotation that isn't text", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, annotations: {config.kubernetes.io/local-config: true}}",
			`PackageRevision edge: metadata.annotations[config.kubernetes.io/local-config]: must be a string, is a boolean: quote it ("true")`},
		{"null entry", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, labels: {a: }}",
			`PackageRevision edge: metadata.labels.a: is null: write "" for an empty text, or take the key out`},
		{"null item", pr("spec: {tasks: [~]}"), `PackageRevision edge: spec.tasks[0]: is null: write a value, or take the item out`},
		{"alias", pr("spec: {packageName: &a x, repository: *a}"), `PackageRevision edge: spec.repository: aliases aren't supported here: write the value out`},
		{"merge key", pr("spec: {<<: {packageName: a}}"), `PackageRevision edge: spec: merge keys (<<) aren't supported here: write the fields out`},
		{"alias in free form", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, managedFields: [{fieldsV1: &f {a: *f}}]}",
			`PackageRevision edge: metadata.managedFields[0].fieldsV1.a: aliases aren't supported here: write the value out`},
		{"large integers in free form", task("spec: {inputs: {a: 9223372036854775808, b: [-99999999999999999999], c: 9223372036854775807, d: 1e20}}"),
			lines(`Task t: spec.inputs.a: "9223372036854775808" is no integer of 64 bits: quote it, or write it with an exponent`,
				`Task t: spec.inputs.b[0]: "-99999999999999999999" is no integer of 64 bits: quote it, or write it with an exponent`)},
		{"tag in free form", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, managedFields: [{fieldsV1: {a: !!binary aGk=}}]}",
			`PackageRevision edge: metadata.managedFields[0].fieldsV1.a: must be a map, list, string, number or boolean, is tagged !!binary`},
		{"all problems in order", pr("spec:\n  packagename: a\n  revision: x\n  tasks: [{typ: a}]\nstatus: []"), lines(
			`PackageRevision edge: spec.packagename: unknown field; did you mean "packageName"? (known: packageName, repository, workspaceName, revision, parent, lifecycle, tasks, readinessGates, packageMetadata)`,
			`PackageRevision edge: spec.revision: must be an integer, is a string`,
			`PackageRevision edge: spec.tasks[0].typ: unknown field; did you mean "type"? (known: type, init, clone, edit, upgrade)`,
			`PackageRevision edge: status: must be a map, is a list`)},

		{"no object", "[]", `an object must be a map, is a list`},
		{"empty document", "~", `an object must be a map, is null`},
		{"no apiVersion", "kind: PackageRevision", `PackageRevision: apiVersion: is missing`},
		{"no kind", "apiVersion: porch.kpt.dev/v1alpha1\nmetadata: {name: x}", `x: kind: is missing`},
		{"other version", "apiVersion: porch.kpt.dev/v1alpha2\nkind: PackageRevision", `PackageRevision: apiVersion: "porch.kpt.dev/v1alpha2" isn't read by stoop: write the object as porch.kpt.dev/v1alpha1`},
		{"misspelt kind", "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevison", `PackageRevison: kind: unknown kind "PackageRevison"; did you mean "PackageRevision"? (known in porch.kpt.dev/v1alpha1: PackageRevision, PackageRevisionResources)`},
		{"foreign", "apiVersion: v1\nkind: Secret", `Secret: apiVersion: "v1" "Secret" isn't an object that stoop reads (it reads PackageRevision, PackageRevisionResources, Repository, Plan, Task)`},
		{"misspelt kind of stoop's", "apiVersion: stoop.dev/v1alpha1\nkind: Paln", `Paln: kind: unknown kind "Paln"; did you mean "Plan"? (known in stoop.dev/v1alpha1: Plan, Task)`},

		{"number from text", task("spec: {retry: {factor: '2'}}"), `Task t: spec.retry.factor: must be a number, is a string: write 2 without quotes`},
		{"number from word", task("spec: {retry: {factor: two}}"), `Task t: spec.retry.factor: must be a number, is a string`},
		{"number from boolean", task("spec: {retry: {factor: true}}"), `Task t: spec.retry.factor: must be a number, is a boolean`},
		{"number that isn't finite", task("spec: {retry: {factor: .inf}}"), `Task t: spec.retry.factor: must be a number, is ".inf": write it in decimal digits`},
		{"number in hex", task("spec: {llm_call: {temperature: 0x1}}"), `Task t: spec.llm_call.temperature: must be a number, is "0x1": write it in decimal digits`},
		{"need from number", task("spec: {needs: [1, [a], {task: a, typ: b}]}"), lines(
			`Task t: spec.needs[0]: must be a string or a map, is a number`,
			`Task t: spec.needs[1]: must be a string or a map, is a list`,
			`Task t: spec.needs[2].typ: unknown field; did you mean "type"? (known: task, type, outputKey, on, default)`)},
		{"field of an inline struct", task("spec: {eval: {imag: a}}"), `Task t: spec.eval.imag: unknown field; did you mean "image"? (known: image, tag, exec, builtin, config, selectors, exclude)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := Decode(parse(t, tt.in), 0)
			assert.Equal(t, tt.want, said(t, err))
			assert.Nil(t, o)
		})
	}
}

func TestKnown(t *testing.T) {
	assert.True(t, Known(StoopV1Alpha1, "Plan"))
	assert.True(t, Known(PorchV1Alpha1, "PackageRevision"))
	assert.False(t, Known("porch.kpt.dev/v1alpha2", "PackageRevision"))
	assert.False(t, Known(PorchConfigV1Alpha1, "PackageVariant"))
}

func TestDecodeLines(t *testing.T) {
	text := pr("spec:\n  revision: x\n  revision: 2\n")
	_, err := Decode(parse(t, text), 1)
	assert.Equal(t, lines(
		"PackageRevision edge: spec.revision: line 5: must be an integer, is a string",
		"PackageRevision edge: spec.revision: line 6: is given twice, first on line 5"), said(t, err))
	_, err = Decode(parse(t, text), 101)
	assert.ErrorContains(t, err, "line 105: must be an integer")
	_, err = Decode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		stringNode("apiVersion"), stringNode(PorchV1Alpha1), stringNode("kind"), stringNode("PackageRevision"), stringNode("spec"), stringNode("x"),
	}}, 1)
	assert.EqualError(t, err, "PackageRevision: spec: must be a map, is a string", "nodes without a line")
}

// null is unset; empty is not.
func TestDecodeNullAndEmpty(t *testing.T) {
	r := decode[*PackageRevision](t, pr("spec: {packageName: , revision: ~, tasks: null, readinessGates: ~, packageMetadata: ~}\nstatus: null"))
	assert.Equal(t, PackageRevisionSpec{}, r.Spec)
	r = decode[*PackageRevision](t, pr("spec: {readinessGates: [], packageMetadata: {labels: {}, annotations: ~}, tasks: [{init: {}}]}"))
	assert.Equal(t, []ReadinessGate{}, r.Spec.ReadinessGates)
	assert.Equal(t, map[string]string{}, r.Spec.PackageMetadata.Labels)
	assert.Nil(t, r.Spec.PackageMetadata.Annotations)
	assert.Equal(t, &InitTask{}, r.Spec.Tasks[0].Init)
	r = decode[*PackageRevision](t, pr("spec: {packageName: 'null', workspaceName: yes, repository: 2026-01-02, parent: {name: !!str 12}}"))
	assert.Equal(t, PackageRevisionSpec{PackageName: "null", WorkspaceName: "yes", Repository: "2026-01-02", Parent: &PackageRevisionRef{"12"}}, r.Spec)
}

func TestDecodeBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString("  unknown" + strconv.Itoa(i) + ": 1\n")
	}
	_, err := Decode(parse(t, pr("spec:\n"+b.String())), 0)
	assert.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), maxProblems+1)
	assert.Contains(t, said(t, err), "\nPackageRevision edge: and 980 more problems")

	_, err = Decode(parse(t, pr("spec:\n  ? "+strings.Repeat("x", 1<<20)+"\n  : 1\n")), 0)
	assert.Less(t, len(said(t, err)), 500, "a long key is cut")
	_, err = Decode(parse(t, pr("spec: {revision: 1"+strings.Repeat("0", 1<<20)+"}")), 0)
	assert.Less(t, len(said(t, err)), 500, "a long value is cut")

	deep := "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: edge, managedFields: [{fieldsV1: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}]}"
	_, err = Decode(parse(t, deep), 0)
	assert.Contains(t, said(t, err), "is nested more than 100 deep")
}

// Nodes that no parser makes must not do harm either.
func TestDecodeOddNodes(t *testing.T) {
	loop := &yaml.Node{Kind: yaml.MappingNode}
	loop.Content = []*yaml.Node{stringNode("a"), loop}
	m := func(content ...*yaml.Node) *yaml.Node {
		return &yaml.Node{Kind: yaml.MappingNode, Content: append([]*yaml.Node{
			stringNode("apiVersion"), stringNode(PorchV1Alpha1), stringNode("kind"), stringNode("PackageRevision")}, content...)}
	}
	for name, n := range map[string]*yaml.Node{
		"nil":             nil,
		"zero":            {},
		"document":        {Kind: yaml.DocumentNode},
		"alias":           {Kind: yaml.AliasNode},
		"odd":             m(stringNode("spec")),
		"nil key":         m(nil, stringNode("x")),
		"nil value":       m(stringNode("spec"), nil),
		"zero value":      m(stringNode("spec"), &yaml.Node{}),
		"dangling alias":  m(stringNode("spec"), &yaml.Node{Kind: yaml.AliasNode}),
		"document inside": m(stringNode("spec"), &yaml.Node{Kind: yaml.DocumentNode}),
		"loop": m(stringNode("metadata"), &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			stringNode("managedFields"), {Kind: yaml.SequenceNode, Content: []*yaml.Node{
				{Kind: yaml.MappingNode, Content: []*yaml.Node{stringNode("fieldsV1"), loop}}}}}}),
		"lying tag": m(stringNode("spec"), &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			stringNode("revision"), scalarNode(yaml.NodeTagInt, "no")}}),
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Decode(n, 1)
			if err == nil {
				assert.NotNil(t, o)
			} else {
				assert.NotEmpty(t, said(t, err))
			}
		})
	}
}

// Every field of every kind has a name, and a type that can be decoded.
func TestSchema(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(rt reflect.Type, at string)
	walk = func(rt reflect.Type, at string) {
		if seen[rt] {
			return
		}
		seen[rt] = true
		switch rt.Kind() {
		case reflect.Struct:
			named := 0
			for i := range rt.NumField() {
				f := rt.Field(i)
				name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				assert.True(t, name != "" || opts == "inline", "%s.%s has no name", at, f.Name)
				counts := opts == "" && f.Type.Kind() == reflect.Int
				assert.True(t, opts == "omitempty" || opts == "inline" || counts || rt == reflect.TypeFor[fn.Result](), "%s.%s: %s", at, f.Name, opts)
				named++
				walk(f.Type, at+"."+f.Name)
			}
			assert.True(t, named > 0 || rt == reflect.TypeFor[RenderWork](), at)
		case reflect.Pointer, reflect.Slice:
			walk(rt.Elem(), at)
		case reflect.Map:
			assert.Equal(t, reflect.String, rt.Key().Kind(), at)
			walk(rt.Elem(), at)
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64, reflect.Interface:
		default:
			t.Errorf("%s: nothing decodes a %s", at, rt)
		}
	}
	for _, k := range kinds {
		walk(reflect.TypeOf(k.make()).Elem(), k.kind)
	}
	walk(reflect.TypeFor[configMap](), "ConfigMap")
}

func TestDidYouMean(t *testing.T) {
	known := []string{"lifecycle", "tasks", "repository", "upstreamRef"}
	for written, want := range map[string]string{
		"lifecylce": "lifecycle", "task": "tasks", "Tasks": "tasks", "repo": "", "upstream": "upstreamRef", "x": "", "": "",
		strings.Repeat("tasks", 1000): "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		assert.Equal(t, want, DidYouMean(written, known), written)
	}
	for _, d := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "abc", 0}} {
		assert.Equal(t, d.want, distance(d.a, d.b), d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(exported)
	f.Add(pr("spec: {<<: &a {x: *a}, revision: 0x1, ? [] : {}}"))
	f.Add("apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nspec: {git: {repo: -x, directory: /../}}")
	f.Add("apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevisionResources\nmetadata: {annotations: {stoop.dev/carrier: files}}\nspec: {binaryResources: {a: =}}")
	f.Add(planExample)
	f.Add(task("spec: {type: compound, compound: {plan: {tasks: [{name: a, type: eval, target: ., eval: {builtin: '{{x.y}}'}}]}, params: {a: {from: 'b.c[0]', default: ~}}}}\nstatus: {outputs: {a: [1, 1.5, .inf, 1e999, 99999999999999999999]}}"))
	f.Add("apiVersion: v1\nkind: ConfigMap\ndata: {type: clone, repo: x, ref: 1.0, directory: ., target: ../a}")
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		if r, err := FromConfigMap(&doc); err == nil && r != nil {
			again := decode[*PackageRevision](t, marshal(t, Node(r)))
			if d := cmp.Diff(r, again); d != "" {
				t.Errorf("expanded and read back (-before +after):\n%s", d)
			}
		}
		o, err := Decode(&doc, 1)
		if err != nil {
			if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n > maxProblems+1 {
				t.Errorf("%d problems", n)
			}
			return
		}
		_ = o.Validate()
		if r, ok := o.(*PackageRevision); ok {
			_ = r.ValidateCreate()
			_, _ = r.Target()
			_, _ = r.Pending()
			_ = r.Record(len(r.Spec.Tasks))
		}
		if task, ok := o.(*PlanTask); ok {
			for _, v := range []any{"{{a.b}}", nil, []any{int64(1)}} {
				if bound, err := task.Spec.Bind(func(Binding) (any, error) { return v, nil }); err == nil {
					_ = bound.ValidateBound(task, "spec")
				}
			}
		}
		// what was written is what is read, and says the same once more
		node := Node(o)
		again, err := Decode(node, 0)
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		if d := cmp.Diff(marshal(t, node), marshal(t, Node(again))); d != "" {
			t.Errorf("written again (-before +after):\n%s", d)
		}
	})
}

func marshal(t testing.TB, n *yaml.Node) string {
	t.Helper()
	out, err := yaml.Marshal(n)
	require.NoError(t, err)
	return string(out)
}
