package orchestration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stretchr/testify/require"
)

// Through the whole chain, from a directory through three functions and back,
// every document is parsed once and every changed one written once.
func TestDocumentsAreParsedAndWrittenOnce(t *testing.T) {
	const files, each = 20, 5
	dir := t.TempDir()
	kptfile := `apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: p
pipeline:
  mutators:
  - image: set-namespace:v0.4.1
    configMap: {namespace: prod}
  - image: set-labels:v0.2.0
    configMap: {team: data}
  - image: set-annotations:v0.1.4
    configMap: {owner: me}
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Kptfile"), []byte(kptfile), 0o666))
	for i := range files {
		var docs []string
		for j := range each {
			docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-%d-%d # keep\ndata:\n  a: b\n", i, j))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.yaml", i)), []byte(strings.Join(docs, "---\n")), 0o666))
	}

	ctx := context.Background()
	parsed, written := yamldoc.Work()
	d, err := kptdir.Open(ctx, dir, kptdir.Limits{})
	require.NoError(t, err)
	defer d.Close()
	r := render.Renderer{Runtime: builtin.New(builtin.Compatible), Strict: true}
	rendered, err := r.Render(ctx, d.Tree())
	require.NoError(t, err)
	require.NoError(t, d.Write(ctx, rendered.Tree))
	nowParsed, nowWritten := yamldoc.Work()

	documents := int64(files*each + 1) // and the Kptfile
	require.Equal(t, documents, nowParsed-parsed, "documents parsed")
	require.Equal(t, documents, nowWritten-written, "documents written")
}

// A run with nothing to do parses nothing and changes nothing.
func TestNothingToDoCostsNoParsing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cm.yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"), 0o666))
	parsed, written := yamldoc.Work()
	d, err := kptdir.Open(context.Background(), dir, kptdir.Limits{})
	require.NoError(t, err)
	defer d.Close()
	after, report, err := runFiles(t, d.Tree())
	require.NoError(t, err)
	require.Empty(t, report.Results)
	changes, err := kptdir.Diff(d.Tree(), after)
	require.NoError(t, err)
	require.Empty(t, changes)
	nowParsed, nowWritten := yamldoc.Work()
	require.Zero(t, nowParsed-parsed)
	require.Zero(t, nowWritten-written)
}
