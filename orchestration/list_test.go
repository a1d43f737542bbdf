package orchestration_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

func docOf(pr *api.PackageRevision) *yamldoc.Doc { return yamldoc.FromNode(api.Node(pr)) }

const list = `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
# the package
- apiVersion: kpt.dev/v1
  kind: Kptfile
  metadata:
    name: shop
    annotations: {internal.config.kubernetes.io/path: Kptfile, internal.config.kubernetes.io/index: '0'}
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: second # of its file
    annotations:
      mine: stays
      internal.config.kubernetes.io/path: 'a.yaml'
      internal.config.kubernetes.io/index: '1'
      internal.config.kubernetes.io/id: '7'
- {apiVersion: v1, kind: ConfigMap, metadata: {name: first, annotations: {config.kubernetes.io/path: a.yaml, config.kubernetes.io/index: "0"}}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: last, annotations: {config.kubernetes.io/path: a.yaml}}
- apiVersion: v1
  kind: Secret
  metadata: {name: loose}
- kind: Kustomization
  metadata:
    annotations:
      config.kubernetes.io/path: kustomization.yaml
`

func open(t testing.TB, text string) (*fn.List, kptpkg.Tree, *orchestration.Layout) {
	t.Helper()
	l, err := fn.ReadList(strings.NewReader(text))
	require.NoError(t, err)
	tree, layout, err := orchestration.OpenList(l, false)
	require.NoError(t, err)
	return l, tree, layout
}

func text(t testing.TB, l *fn.List) string {
	t.Helper()
	b, err := l.Bytes()
	require.NoError(t, err)
	return string(b)
}

func TestOpenListMakesFiles(t *testing.T) {
	l, tree, layout := open(t, list)
	assert.Equal(t, []string{"Kptfile", "a.yaml", "kustomization.yaml", "secret_loose.yaml"}, tree.Paths())
	b, err := tree.File("a.yaml").Bytes()
	require.NoError(t, err)
	for _, host := range []string{"config.kubernetes.io/path", "config.kubernetes.io/index", "config.kubernetes.io/id"} {
		assert.NotContains(t, string(b), host, "tasks never see what hosts note")
	}
	assert.Contains(t, string(b), "mine: stays")
	assert.Less(t, strings.Index(string(b), "first"), strings.Index(string(b), "second"), "in the order of their indexes")
	assert.Less(t, strings.Index(string(b), "second"), strings.Index(string(b), "last"), "without an index behind the others")

	require.NoError(t, layout.SaveList(l, tree))
	assert.Equal(t, list, text(t, l), "nothing changed")
}

func TestSaveListPutsBack(t *testing.T) {
	l, tree, layout := open(t, list)
	docs := append([]*yamldoc.Doc(nil), tree.File("a.yaml").Docs()...)
	root, err := docs[1].Copy()
	require.NoError(t, err)
	root.Content[len(root.Content)-1].Content[1].Value = "renamed"
	docs[1] = docs[1].With(root)
	more := yamldoc.Split([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: new\n"))
	tree, err = tree.Without("secret_loose.yaml").With(
		tree.File("a.yaml").WithDocs(append(docs, more...)...),
		kptpkg.NewFile("b.yaml", kptpkg.Regular, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n")),
		kptpkg.NewFile("README.md", kptpkg.Regular, []byte("# no item\n")),
		kptpkg.NewFile("values.yaml", kptpkg.Regular, []byte("a: 1\n")),
	)
	require.NoError(t, err)
	before := text(t, l)
	items := l.Items
	require.NoError(t, layout.SaveList(l, tree))
	got := text(t, l)
	assert.Contains(t, got, "    name: renamed # of its file\n    annotations:\n      mine: stays\n      internal.config.kubernetes.io/path: 'a.yaml'\n      internal.config.kubernetes.io/index: '1'\n      internal.config.kubernetes.io/id: '7'\n")
	assert.NotContains(t, got, "loose")
	assert.NotContains(t, got, "no item")
	assert.Contains(t, got, "internal.config.kubernetes.io/index: '3'\n      internal.config.kubernetes.io/path: 'a.yaml'", "behind those of its file")
	assert.Contains(t, got, "internal.config.kubernetes.io/index: '0'\n      internal.config.kubernetes.io/path: 'b.yaml'")
	assert.Equal(t, 1, strings.Count(got, "config.kubernetes.io/id"), "new items get none")
	var omitted []string
	for _, f := range layout.Omitted(tree) {
		omitted = append(omitted, f.Path())
	}
	assert.Equal(t, []string{"README.md", "values.yaml"}, omitted)

	l.Items = items
	assert.Equal(t, before, text(t, l), "the items that were read are as they were")
}

// New items of a package that kpt renders get its package-path, and paths below
// it.
func TestOpenListOfRender(t *testing.T) {
	const nested = `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: kpt.dev/v1
  kind: Kptfile
  metadata: {name: db, annotations: {internal.config.kubernetes.io/path: Kptfile, internal.config.kubernetes.io/package-path: /w/shop/db}}
- apiVersion: kpt.dev/v1
  kind: Kptfile
  metadata: {name: shop, annotations: {internal.config.kubernetes.io/path: Kptfile, internal.config.kubernetes.io/package-path: /w/shop}}
`
	l, tree, layout := open(t, nested)
	assert.Equal(t, orchestration.KptRender, layout.Host)
	assert.Equal(t, []string{"Kptfile", "db/Kptfile"}, tree.Paths())
	tree, err := tree.With(kptpkg.NewFile("new/a.yaml", kptpkg.Regular, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n")))
	require.NoError(t, err)
	require.NoError(t, layout.SaveList(l, tree))
	got := text(t, l)
	assert.True(t, strings.HasPrefix(got, nested))
	assert.Contains(t, got, "internal.config.kubernetes.io/package-path: '/w/shop'\n      internal.config.kubernetes.io/path: 'new/a.yaml'")
}

// Whatever a list holds: it is refused, or it becomes files and comes back as it
// was, and its orders are carried out or the list stays as it is.
func FuzzList(f *testing.F) {
	f.Add([]byte(list))
	f.Add([]byte(strings.ReplaceAll(list, "a.yaml", "../a.yaml")))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A, metadata: {name: x}}\n"))
	f.Add([]byte("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nfunctionConfig: {apiVersion: v1, kind: ConfigMap, data: {type: init, target: web}}\nitems: []\n"))
	f.Add([]byte("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: porch.kpt.dev/v1alpha1\n  kind: PackageRevision\n  metadata: {name: a, annotations: {config.kubernetes.io/local-config: 'true'}}\n  spec: {packageName: a, tasks: [{type: init, init: {subpackage: b}}]}\n"))
	f.Add([]byte("apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: porch.kpt.dev/v1alpha1\n  kind: PackageRevisionResources\n  metadata: {name: a, annotations: {config.kubernetes.io/local-config: 'true', stoop.dev/carrier: files, stoop.dev/target: .}}\n  spec: {resources: {x.md: \"a\\r\\n\", Kptfile: ''}, binaryResources: {y: AAH/}}\n"))
	h := handlerOf()
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := fn.ReadList(bytes.NewReader(src))
		if err != nil {
			return
		}
		was, err := l.Bytes()
		if err != nil {
			return
		}
		tree, layout, err := orchestration.OpenList(l, false)
		if err == nil {
			for _, p := range tree.Paths() {
				require.NoError(t, kptpkg.CheckPath(p))
			}
			require.NoError(t, layout.SaveList(l, tree))
			assert.Equal(t, string(was), text(t, l))
		}

		if err := (&orchestration.Function{Handler: h}).Process(t.Context(), l); err != nil {
			require.NotEmpty(t, l.Results)
			l.Results = nil
			if again, err := fn.ReadList(bytes.NewReader(src)); err == nil && len(again.Results) == 0 {
				assert.Equal(t, string(was), text(t, l), "a failure leaves the items as they were")
			}
			return
		}
		once := text(t, l)
		l, err = fn.ReadList(strings.NewReader(once))
		require.NoError(t, err, once)
		require.NoError(t, (&orchestration.Function{Handler: h}).Process(t.Context(), l), once)
		assert.Equal(t, once, text(t, l), "a second run changes nothing")
	})
}
