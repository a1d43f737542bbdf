package builtin

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// everyReference returns resources with every reference there is, and as many
// to nothing.
func everyReference() string {
	var b strings.Builder
	table := nameReferences()
	i := 0
	for _, kind := range slices.Sorted(maps.Keys(table.references)) {
		for _, ref := range table.references[kind] {
			i++
			fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata: {name: t%d}\n---\n",
				apiVersionFor(ref.target.group, ref.target.version, ref.target.kind), ref.target.kind, i)
			for _, name := range []string{fmt.Sprintf("t%d", i), "nothing"} {
				value := fmt.Sprintf("%q", name)
				switch ref.path[len(ref.path)-1] {
				case "subjects":
					value = fmt.Sprintf("[{kind: ServiceAccount, name: %s, namespace: default}]", name)
				case "service", "configMap":
					value = fmt.Sprintf("{name: %s, namespace: default}", name)
				case "resourceNames":
					value = fmt.Sprintf("[other, %s]", name)
				}
				for at, key := range slices.Backward(ref.path) {
					if at == 0 && key == "metadata" {
						continue
					}
					value = fmt.Sprintf("{%q: %s}", key, value)
					switch key {
					case "containers", "env", "volumes":
						// a list by its first item
						value = strings.Replace(value, ": ", ": [", 1)
						value = strings.TrimSuffix(value, "}") + "]}"
					}
				}
				metadata := fmt.Sprintf("{name: from-%d-%s}", i, name)
				if ref.path[0] == "metadata" {
					metadata = fmt.Sprintf("{name: from-%d-%s, %s", i, name, value[1:])
					value = "{}"
				}
				fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata: %s\n%s\n---\n",
					apiVersionFor(ref.group, ref.version, kind), kind, metadata, strings.TrimPrefix(fields(value), "{}"))
			}
		}
	}
	return strings.TrimSuffix(b.String(), "---\n")
}

// fields takes the braces off a mapping, so that it may follow other fields.
func fields(mapping string) string { return mapping[1 : len(mapping)-1] }

// apiVersionFor returns an apiVersion in which a kind of the table exists.
func apiVersionFor(group, version, kind string) string {
	if version == "" {
		version = "v1"
	}
	if group == "" {
		for gk := range scopes {
			if gk.kind == kind && gk.group != "extensions" {
				group = gk.group
			}
		}
	}
	return strings.TrimPrefix(group+"/"+version, "/")
}

// Every reference of the table is one that kustomize fixes.
func TestReferencesAsKustomize(t *testing.T) {
	kustomize, err := exec.LookPath("kustomize")
	if err != nil {
		t.Skip("no kustomize to compare with")
	}
	resources := everyReference()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(resources), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("namePrefix: x-\nresources: [all.yaml]\n"), 0o666))
	cmd := exec.Command(kustomize, "build", dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())

	call := &fn.Call{
		Items:  parseObjects(t, "all.yaml", []byte(resources)),
		Config: yaml.MustParse("{apiVersion: v1, kind: ConfigMap, data: {prefix: x-}}"),
	}
	require.NoError(t, setNamePrefix(context.Background(), call))
	fixed := 0
	for _, r := range call.Results {
		if r.Field.Path != "metadata.name" {
			fixed++
		}
	}
	references := 0
	for _, refs := range nameReferences().references {
		references += len(refs)
	}
	assert.Equal(t, references, fixed, "one of each")
	want, got := byName(t, parseObjects(t, "", out)), byName(t, call.Items)
	require.Greater(t, len(got), 300)
	require.Len(t, got, len(want))
	for name := range got {
		assert.Equal(t, want[name], got[name], name)
	}
}

// byName returns the values of resources by their kind and name.
func byName(t *testing.T, objects []*fn.Object) map[string]any {
	t.Helper()
	m := map[string]any{}
	for _, o := range objects {
		var v any
		require.NoError(t, o.Node.YNode().Decode(&v))
		m[o.Node.GetKind()+" "+o.Node.GetName()] = v
	}
	return m
}

// As many resources of one name as there are namespaces, and a list of aliases
// of one list in every one of them, take no longer than the same without.
func TestReferencesTakeLinearTime(t *testing.T) {
	const n = 3000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n%d}}\n---\n", i)
		fmt.Fprintf(&b, "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: n%d}, spec: {volumes: [{configMap: {name: a}}]}}\n---\n", i)
	}
	fmt.Fprintf(&b, "{apiVersion: v1, kind: Pod, metadata: {name: aliases}, spec: {containers: [&c {env: [%s]}%s]}}",
		strings.Repeat("{valueFrom: {configMapKeyRef: {name: a}}}, ", 10*n), strings.Repeat(", *c", 10*n))
	call := &fn.Call{
		Items:  parseObjects(t, "all.yaml", []byte(b.String())),
		Config: yaml.MustParse("{apiVersion: v1, kind: ConfigMap, data: {append: -x}}"),
	}
	start := time.Now()
	require.NoError(t, ensureNameSubstring(context.Background(), call))
	assert.Less(t, time.Since(start), 2*time.Second)
	assert.Len(t, call.Results, 3*n+1)
}
