package merge

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// deployments is a package of n Deployments of 37 lines, one a file; of every
// tenth, bump is the image.
func deployments(n int, bump string) []*kptpkg.File {
	files := make([]*kptpkg.File, n)
	for i := range files {
		image := "v1"
		if i%10 == 0 {
			image = bump
		}
		text := fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%[1]d
  namespace: default
  labels:
    app: app-%[1]d
spec:
  replicas: 3 # kpt-set: ${replicas}
  selector:
    matchLabels:
      app: app-%[1]d
  template:
    metadata:
      labels:
        app: app-%[1]d
    spec:
      containers:
        - name: app
          image: registry.example.com/app:%[2]s # kpt-set: app:${tag}
          ports:
            - containerPort: 8080
              protocol: TCP
          env:
            - name: LEVEL
              value: info
            - name: REGION
              value: eu
          resources:
            requests:
              cpu: 100m
              memory: 128Mi
            limits:
              cpu: 500m
              memory: 256Mi
          readinessProbe:
            httpGet:
              path: /healthz
              port: 8080
`, i, image)
		files[i] = kptpkg.NewFile(fmt.Sprintf("d%d/app-%d.yaml", i/100, i), kptpkg.Regular, []byte(text))
	}
	return files
}

// upgrade is base, a clone of it with an edit in every twentieth file, and
// upstream with every tenth changed, all freshly read.
func upgrade(tb testing.TB, n int) (base, local, upstream kptpkg.Tree) {
	tree := func(bump string) kptpkg.Tree {
		t, err := kptpkg.NewTree(deployments(n, bump)...)
		require.NoError(tb, err)
		return t
	}
	clone, skipped, err := AddKeys(tree("v1"))
	require.NoError(tb, err)
	require.Empty(tb, skipped)
	var files []*kptpkg.File
	for i, p := range clone.Paths() {
		text := textOf(tb, clone.File(p))
		if i%20 == 0 {
			text = strings.Replace(text, "value: info", "value: debug", 1)
		}
		files = append(files, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
	}
	local, err = kptpkg.NewTree(files...)
	require.NoError(tb, err)
	return tree("v1"), local, tree("v2")
}

var sizes = []int{300, 1000, 3000, 30000}

// BenchmarkMerge is a resource-merge of a clone, a tenth of whose resources
// changed upstream, from bytes to bytes.
func BenchmarkMerge(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				base, local, upstream := upgrade(b, n)
				b.StartTimer()
				res, err := Merge(base, local, upstream, Options{Root: true})
				require.NoError(b, err)
				for _, p := range res.Tree.Paths() {
					if _, err := res.Tree.File(p).Bytes(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/resource")
		})
	}
}

// BenchmarkRoundTrip is what reading and writing the same package takes with
// nothing in between, on one core: the yardstick.
func BenchmarkRoundTrip(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			_, local, _ := upgrade(b, n)
			b.ResetTimer()
			for range b.N {
				for _, p := range local.Paths() {
					var doc yaml.Node
					text, _ := local.File(p).Bytes()
					require.NoError(b, yaml.Unmarshal(text, &doc))
					var out bytes.Buffer
					e := yaml.NewEncoder(&out)
					require.NoError(b, e.Encode(&doc))
					require.NoError(b, e.Close())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/resource")
		})
	}
}
