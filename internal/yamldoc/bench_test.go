package yamldoc

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// resources is the text of n small resources as one file.
func resources(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings-%d
  namespace: default # kpt-set: ${namespace}
  labels:
    app: shop
    tier: "backend"
  annotations:
    config.kubernetes.io/path: shop/settings-%d.yaml
    note: 'kept as it is'
data:
  # how long to wait
  timeout: "30"
  host: shop-%d.example.com
`, i, i, i)
	}
	return b.Bytes()
}

func setNamespace(root *yaml.Node) {
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value == "metadata" {
			meta := root.Content[i+1]
			meta.Content[3].Value = "prod"
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	src := resources(1000)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		Split(src)
	}
}

func BenchmarkParse(b *testing.B) {
	src := resources(1000)
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range Split(src) {
			if _, err := d.Root(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// What a function costs that sets a namespace: parse, copy, set, write.
func BenchmarkSetScalar(b *testing.B) {
	src := resources(1000)
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range Split(src) {
			root, err := d.Copy()
			if err != nil {
				b.Fatal(err)
			}
			setNamespace(root)
			if _, err := d.With(root).Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// The part of BenchmarkSetScalar after parsing.
func BenchmarkSetScalarParsed(b *testing.B) {
	docs := Split(resources(1000))
	for _, d := range docs {
		_, err := d.Root()
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range docs {
			root, _ := d.Copy()
			setNamespace(root)
			if _, err := d.With(root).Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkUnchangedParsed(b *testing.B) {
	docs := Split(resources(1000))
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range docs {
			root, _ := d.Copy()
			if _, err := d.With(root).Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAddLabelParsed(b *testing.B) {
	docs := Split(resources(1000))
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range docs {
			root, _ := d.Copy()
			labels := root.Content[5].Content[5]
			labels.Content = append(labels.Content, str("added"), str("true"))
			if _, err := d.With(root).Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// What the same costs with the library's nodes alone.
func BenchmarkRoundTrip(b *testing.B) {
	docs := split(resources(1000))
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range docs {
			var doc yaml.Node
			if err := yaml.Unmarshal(d, &doc); err != nil {
				b.Fatal(err)
			}
			setNamespace(doc.Content[0])
			var out bytes.Buffer
			e := yaml.NewEncoder(&out)
			if err := e.Encode(&doc); err != nil {
				b.Fatal(err)
			}
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// One item taken out of the middle of a long list must not cost its square.
func BenchmarkLongList(b *testing.B) {
	var src bytes.Buffer
	src.WriteString("items:\n")
	for i := range 20000 {
		fmt.Fprintf(&src, "- name: item-%d\n  value: v\n", i)
	}
	doc := Split(src.Bytes())[0]
	b.ReportAllocs()
	for b.Loop() {
		root, err := doc.Copy()
		if err != nil {
			b.Fatal(err)
		}
		items := root.Content[1]
		items.Content = append(items.Content[:10000:10000], items.Content[10001:]...)
		if _, err := doc.With(root).Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}
