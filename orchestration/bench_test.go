package orchestration_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// deployment is a resource of 1.6 KB with comments, one of them a setter's.
func deployment(i int) string {
	var env strings.Builder
	for j := range 14 {
		fmt.Fprintf(&env, "        - name: VARIABLE_%d # about it\n          value: \"the value of variable %d of %d\"\n", j, j, i)
	}
	return fmt.Sprintf(`# deployment %d
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%d
  labels:
    app: app-%d
spec:
  replicas: 1 # kpt-set: ${replicas}
  selector:
    matchLabels:
      app: app-%d
  template:
    metadata:
      labels:
        app: app-%d
    spec:
      containers:
      - name: main
        image: example.com/app:v1
        env:
%s`, i, i, i, i, i, env.String())
}

const benchKptfile = `apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: bench
pipeline:
  mutators:
  - image: set-namespace:v0.4.1
    configMap: {namespace: prod}
  - image: apply-setters:v0.2
    configMap: {replicas: "3"}
`

// roundTrip is what a tool pays that parses everything and writes everything.
func roundTrip(b *testing.B, files map[string]string) {
	for _, text := range files {
		var n yaml.Node
		require.NoError(b, yaml.Unmarshal([]byte(text), &n))
		e := yaml.NewEncoder(io.Discard)
		require.NoError(b, e.Encode(&n))
		require.NoError(b, e.Close())
	}
}

// BenchmarkReplace replaces a package by content whose comments are gone, as a
// client writes it that knows values only, and renders it; beside a plain YAML
// round trip of the same package.
func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{300, 1000, 3000, 30000} {
		files := map[string]string{"Kptfile": benchKptfile}
		stripped := map[string]string{"Kptfile": benchKptfile}
		for i := range n {
			p, text := fmt.Sprintf("d%05d.yaml", i), deployment(i)
			files[p] = text
			var bare bytes.Buffer
			for line := range strings.Lines(text) {
				if at := strings.Index(line, "#"); at >= 0 {
					line = strings.TrimRight(line[:at], " ") + "\n"
				}
				if line != "\n" {
					bare.WriteString(line)
				}
			}
			stripped[p] = bare.String()
		}
		b.Run(fmt.Sprintf("%d/roundtrip", n), func(b *testing.B) {
			for b.Loop() {
				roundTrip(b, files)
			}
		})
		b.Run(fmt.Sprintf("%d/replace", n), func(b *testing.B) {
			h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
			order := replacement(stripped)
			for b.Loop() {
				var all []*kptpkg.File
				for p, text := range files {
					all = append(all, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
				}
				tree, err := kptpkg.NewTree(all...)
				require.NoError(b, err)
				d := &memory{pkg: tree}
				_, err = h.DoPRResourceMutations(b.Context(), revision("web"), d, nil, order)
				require.NoError(b, err)
				for _, p := range d.pkg.Paths() {
					_, err := d.pkg.File(p).Bytes()
					require.NoError(b, err)
				}
			}
		})
	}
}
