package merge

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

var update = flag.Bool("update", false, "write builtin.txt anew from kyaml's schema")

// builtin.txt is an extract of the OpenAPI schema that kyaml has.
func TestBuiltinIsWhatKyamlSays(t *testing.T) {
	want := extractSchema()
	if *update {
		require.NoError(t, os.WriteFile("builtin.txt", []byte(want), 0o644))
	}
	require.Equal(t, want, builtinText, "run: go test ./orchestration/merge -run Builtin -update")
}

// extractSchema finds the lists with identity and the types on the way to them.
func extractSchema() string {
	defs := openapi.Schema().Definitions
	short := func(name string) string { return strings.TrimPrefix(name, "io.k8s.") }
	target := func(ref string) string { return strings.TrimPrefix(ref, "#/definitions/") }
	lines := map[string]string{}
	leads := map[string]bool{} // whether a type leads to a list with identity
	var visit func(name string) bool
	visit = func(name string) bool {
		if known, ok := leads[name]; ok {
			return known
		}
		leads[name] = false // while it is being looked at: a type may contain itself
		def, ok := defs[name]
		if !ok {
			return false
		}
		var out []string
		for _, f := range slices.Sorted(maps.Keys(def.Properties)) {
			p := def.Properties[f]
			if p.Type.Contains("array") {
				strategy, _ := p.Extensions["x-kubernetes-patch-strategy"].(string)
				if !slices.Contains(strings.Split(strategy, ","), "merge") {
					continue
				}
				var keys []string
				if list, ok := p.Extensions["x-kubernetes-list-map-keys"].([]any); ok {
					for _, k := range list {
						keys = append(keys, k.(string))
					}
				} else if k, ok := p.Extensions["x-kubernetes-patch-merge-key"].(string); ok {
					keys = []string{k}
				}
				item := target(p.Items.Schema.Ref.String())
				entry := fmt.Sprintf("%s[%s]", f, strings.Join(keys, ","))
				if item != "" && len(keys) > 0 && visit(item) {
					entry += "=" + short(item)
				}
				out = append(out, entry)
			} else if r := target(p.Ref.String()); r != "" && visit(r) {
				out = append(out, f+"="+short(r))
			}
		}
		if len(out) > 0 {
			leads[name] = true
			lines[short(name)] = strings.Join(out, " ")
		}
		return leads[name]
	}
	kinds := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		gvks, _ := defs[name].Extensions["x-kubernetes-group-version-kind"].([]any)
		for _, g := range gvks {
			gvk := g.(map[string]any)
			kind := fmt.Sprintf("%v/%v", gvk["group"], gvk["kind"])
			if _, older := kinds[kind]; !older && visit(name) { // v1 comes before v1beta1
				kinds[kind] = short(name)
			}
		}
		visit(name)
	}
	var b strings.Builder
	b.WriteString("# Generated from kyaml's OpenAPI schema by go test -run Builtin -update.\n")
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "%s: %s\n", k, kinds[k])
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s %s\n", name, lines[name])
	}
	return b.String()
}
