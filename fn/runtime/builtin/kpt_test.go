package builtin

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Name is the image that a step stands for, with the tag that was chosen.
func TestName(t *testing.T) {
	for _, test := range []struct{ image, tag, want string }{
		{"set-namespace", "0.4.1 - 0.4.3", "ghcr.io/kptdev/krm-functions-catalog/set-namespace:v0.4.3"},
		{"gcr.io/kpt-fn/set-labels:v0.1", "~0.2", "gcr.io/kpt-fn/set-labels:v0.2.5"},
		{"set-labels", "", "ghcr.io/kptdev/krm-functions-catalog/set-labels:latest"},
		{"set-labels:v0.2", "", "ghcr.io/kptdev/krm-functions-catalog/set-labels:v0.2"},
	} {
		f, err := New(Compatible).Find(context.Background(), runtime.Ref{Image: test.image, Tag: test.tag})
		require.NoError(t, err)
		assert.Equal(t, test.want, f.Name)
	}
}

// The catalog tells its results by file, document and field, so that files of
// one name in several packages count once.
func TestSetAnnotationsReportsOnce(t *testing.T) {
	call := &fn.Call{Config: yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}")}
	for _, dir := range []string{".", "db"} {
		call.Items = append(call.Items, &fn.Object{
			Node: yaml.MustParse("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: k}"), Path: "Kptfile", Package: dir,
		})
	}
	require.NoError(t, setAnnotations(context.Background(), call))
	assert.Len(t, call.Results, 1)
	for _, o := range call.Items {
		assert.Equal(t, map[string]string{"a": "b"}, o.Node.GetAnnotations())
	}
}

// A script sees the package of a resource, may move it to another, and what it
// prints is its standard error.
func TestStarlarkPackages(t *testing.T) {
	call := &fn.Call{Config: yaml.MustParse(`
apiVersion: fn.kpt.dev/v1alpha1
kind: StarlarkRun
metadata: {name: s}
source: |
  P = "internal.config.kubernetes.io/package-path"
  for r in ctx.resource_list["items"]:
    print(r["metadata"]["annotations"][P])
    r["metadata"]["annotations"][P] = "/other"
`)}
	for _, dir := range []string{".", "x/db"} {
		call.Items = append(call.Items, &fn.Object{Node: yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"), Path: "a.yaml", Package: dir})
	}
	require.NoError(t, runStarlark(context.Background(), call))
	assert.Equal(t, "/\n/x/db", call.Stderr)
	for _, o := range call.Items {
		assert.Equal(t, "other", o.Package)
		assert.Empty(t, o.Node.GetAnnotations())
	}
}
