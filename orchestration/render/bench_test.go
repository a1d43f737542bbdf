package render_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stretchr/testify/require"
)

// What a render of 1,000 resources in 100 files costs from bytes to bytes: all
// of them changed by three functions, one in ten, and all of them eleven times.
func BenchmarkRender1000(b *testing.B) {
	three := []string{"set-namespace: namespace: prod", "set-labels: team: data", "set-annotations: owner: somebody"}
	var eleven []string
	for i := range 11 {
		eleven = append(eleven, fmt.Sprintf("set-labels: label-%d: value", i))
	}
	for _, c := range []struct {
		name, selector string
		steps          []string
	}{
		{"ThreeSteps", "", three},
		{"ThreeStepsOfATenth", "tier: picked", three},
		{"ElevenSteps", "", eleven},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &render.Renderer{Runtime: builtin.New(builtin.Compatible), Strict: true}
			texts := thousand(c.steps, c.selector)
			b.ReportAllocs()
			for b.Loop() {
				files := make([]*kptpkg.File, 0, len(texts))
				for p, text := range texts {
					files = append(files, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
				}
				tree, err := kptpkg.NewTree(files...)
				require.NoError(b, err)
				out, err := r.Render(context.Background(), tree)
				require.NoError(b, err)
				for _, p := range out.Tree.Paths() {
					_, err := out.Tree.File(p).Bytes()
					require.NoError(b, err)
				}
			}
		})
	}
}

// thousand is a package of 1,000 resources. steps are written function: key:
// value; they get the resources with the label selector, all when it is empty.
func thousand(steps []string, selector string) map[string]string {
	var k strings.Builder
	k.WriteString("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: bench\npipeline:\n  mutators:\n")
	for _, s := range steps {
		name, config, _ := strings.Cut(s, ": ")
		fmt.Fprintf(&k, "  - image: %s:latest\n    configMap:\n      %s\n", name, config)
		if selector != "" {
			fmt.Fprintf(&k, "    selectors:\n    - labels:\n        %s\n", selector)
		}
	}
	texts := map[string]string{kptpkg.KptfileName: k.String()}
	for i := range 100 {
		var f strings.Builder
		for j := range 10 {
			tier := "rest"
			if j == i%10 {
				tier = "picked"
			}
			fmt.Fprintf(&f, `---
apiVersion: v1
kind: ConfigMap
metadata:
  name: cm-%d-%d # a comment to keep
  labels:
    app: bench
    tier: %s
  annotations:
    example.com/number: "%d"
data:
  key-one: a value of file %d
  key-two: "a quoted value"
  key-three: |
    two lines
    of text
`, i, j, tier, j, i)
		}
		texts[fmt.Sprintf("file-%03d.yaml", i)] = f.String()
	}
	return texts
}
