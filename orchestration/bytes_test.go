package orchestration_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/internal/cli"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// commandLineVar in the environment makes the test binary stoop's command line.
const commandLineVar = "ORCHESTRATION_TEST_COMMAND"

// TestMain is also a KRM function, `BINARY values-only`, which reads values and
// writes them as JSON: without comments, aliases, styles and the order of keys.
func TestMain(m *testing.M) {
	if os.Getenv(commandLineVar) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
	if len(os.Args) == 2 && os.Args[1] == "values-only" {
		if err := valuesOnly(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func valuesOnly(in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var list map[string]any
	if err := yaml.Unmarshal(b, &list); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(list)
}

// hard are files that YAML tools like to rewrite.
var hard = map[string]string{
	"crlf.yaml":          "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: crlf # c\r\ndata:\r\n  a: b\r\n",
	"no-newline.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: no-newline",
	"comments-only.yaml": "# nothing\n\n# but comments\n",
	"empty.yaml":         "",
	"blank.yaml":         "\n\n",
	"empty-docs.yaml":    "---\n---\n# between\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: last}\n---\n",
	"flow.yaml":          "{apiVersion: v1,   kind: ConfigMap, metadata: {name: flow, labels: { a: 'b' }}}\n",
	"anchors.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: anchors\n  labels: &l\n    a: b\ndata: *l\n",
	"bom.yaml":           "\ufeffapiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bom\n",
	"tabs.yaml":          "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: tabs\ndata:\n  a: \"x\ty\"\n  b: |\n    one\n    \ttwo\n",
	"separators.yaml":    "--- # first\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: s1\n...\n---   \napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: s2\n",
	"directive.yaml":     "%YAML 1.1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: directive\n",
	"indent.yaml":        "apiVersion: v1\nkind:   ConfigMap\nmetadata:\n      name: indent\n      finalizers:\n          -   a\n          -   b\ndata:\n    # about a\n\n    a:    b   # trailing   \n",
	"json.json":          "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"json\"}}",
	"wide.json":          "{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"ConfigMap\",\n    \"metadata\": {\n        \"name\": \"wide\",\n        \"labels\": {}\n    }\n}\n",
	"README.md":          "# not YAML\r\n",
	"binary.bin":         "\x00\xff\xfe",
	"values.yaml":        "replicas: 3   # a Helm chart's\n",
	"broken.yaml":        "a: [\n",
}

func hardDir(t *testing.T, kptfile string) string {
	dir := t.TempDir()
	for name, content := range hard {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Kptfile"), []byte(kptfile), 0o666))
	return dir
}

func requireHard(t *testing.T, dir string) {
	for name, content := range hard {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, content, string(got), name)
	}
}

// Documents nobody touches keep their bytes: through a run with nothing to do,
// and through a render whose functions get every resource and change none.
func TestUntouchedDocumentsKeepTheirBytes(t *testing.T) {
	ctx := context.Background()
	dir := hardDir(t, `apiVersion: kpt.dev/v1
kind: Kptfile
metadata:   {name: p}
pipeline:
  mutators:
  - image: set-labels:v0.2.0
    configMap: {a: b}
    selectors: [{name: nobody}]
  - image: starlark:v0.4
    configMap: {source: "x = 1"}
`)
	d, err := kptdir.Open(ctx, dir, kptdir.Limits{})
	require.NoError(t, err)
	defer d.Close()
	after, _, err := runFiles(t, d.Tree())
	require.NoError(t, err)
	require.NoError(t, d.Write(ctx, after))
	requireHard(t, dir)

	r := render.Renderer{Runtime: builtin.New(builtin.Compatible)}
	rendered, err := r.Render(ctx, d.Tree())
	require.NoError(t, err)
	require.Equal(t, 2, rendered.Functions)
	changes, err := kptdir.Diff(d.Tree(), rendered.Tree)
	require.NoError(t, err)
	require.Empty(t, changes)
	require.NoError(t, d.Write(ctx, rendered.Tree))
	requireHard(t, dir)
}

// So they do through a function in a process of its own that keeps values only.
func TestDocumentsKeepTheirBytesThroughPrograms(t *testing.T) {
	ctx := context.Background()
	self, err := os.Executable()
	require.NoError(t, err)
	const shared = "apiVersion: v1\nkind: ConfigMap\nmetadata: &m\n  name: shared # n\n  annotations: &a {k: v}" +
		"spec:\n  template: *m # t\n  annotations: {<<: *a, l: w}\n  list: [*a, *m]\n"
	dir := hardDir(t, "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline:\n  mutators:\n  - exec: \"'"+self+"' values-only\"\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shared.yaml"), []byte(shared), 0o666))
	tree, err := kptdir.Read(ctx, dir, kptdir.Limits{})
	require.NoError(t, err)
	r := render.Renderer{Runtime: &runtime.Exec{Allow: []string{self}}}
	rendered, err := r.Render(ctx, tree)
	require.NoError(t, err)
	require.Equal(t, 1, rendered.Functions)
	got, err := rendered.Tree.File("shared.yaml").Bytes()
	require.NoError(t, err)
	require.Equal(t, shared, string(got))
	for name, content := range hard {
		got, err := rendered.Tree.File(name).Bytes()
		require.NoError(t, err)
		require.Equal(t, content, string(got), name)
	}
}

// A function that changes one resource changes one line.
func TestTouchedDocumentChangesOneLine(t *testing.T) {
	ctx := context.Background()
	for name, want := range map[string]string{
		"crlf.yaml":       "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: crlf # c\r\n  namespace: prod\r\ndata:\r\n  a: b\r\n",
		"no-newline.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: no-newline\n  namespace: prod",
		"tabs.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: tabs\n  namespace: prod\ndata:\n  a: \"x\ty\"\n  b: |\n    one\n    \ttwo\n",
		"bom.yaml":        "\ufeffapiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bom\n  namespace: prod\n",
		"json.json":       "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"json\", \"namespace\": \"prod\"}}",
		"wide.json":       "{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"ConfigMap\",\n    \"metadata\": {\n        \"name\": \"wide\",\n        \"labels\": {},\n        \"namespace\": \"prod\"\n    }\n}\n",
		"indent.yaml":     "apiVersion: v1\nkind:   ConfigMap\nmetadata:\n      name: indent\n      finalizers:\n          -   a\n          -   b\n      namespace: prod\ndata:\n    # about a\n\n    a:    b   # trailing   \n",
	} {
		dir := hardDir(t, "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline:\n  mutators:\n  - image: set-namespace:v0.4.1\n    configMap: {namespace: prod}\n")
		tree, err := kptdir.Read(ctx, dir, kptdir.Limits{})
		require.NoError(t, err)
		r := render.Renderer{Runtime: builtin.New(builtin.Compatible)}
		rendered, err := r.Render(ctx, tree)
		require.NoError(t, err)
		got, err := rendered.Tree.File(name).Bytes()
		require.NoError(t, err)
		require.Equal(t, want, string(got), name)
	}
}
