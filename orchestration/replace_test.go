package orchestration_test

import (
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
)

const replaceKptfile = `apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: web # mine
pipeline:
  mutators:
  - image: set-labels:v0.2.0
    configMap: {tier: front}
`

func replacement(resources map[string]string) *api.PackageRevisionResources {
	r := &api.PackageRevisionResources{}
	r.APIVersion, r.Kind, r.Metadata.Name = api.PorchV1Alpha1, "PackageRevisionResources", "web"
	r.Spec.PackageName, r.Spec.Resources = "web", resources
	return r
}

func replaceDraft(t *testing.T) *memory {
	files := map[string]string{
		"Kptfile":       replaceKptfile,
		"a.yaml":        "# about a\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a   # kpt-set: ${name}\ndata:\n    # indented by four\n    k: v\n",
		"b.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n",
		"empty.yaml":    "",
		"comments.yaml": "# only this\n",
		"README.md":     "# web\n",
	}
	var all []*kptpkg.File
	for p, text := range files {
		all = append(all, kptpkg.NewFile(p, kptpkg.Regular, []byte(text)))
	}
	all = append(all, kptpkg.NewFile("logo.png", kptpkg.Regular, []byte("\x89PNG\x00")), kptpkg.NewFile("run.sh", kptpkg.Executable, []byte("#!/bin/sh\n")))
	tree, err := kptpkg.NewTree(all...)
	require.NoError(t, err)
	return &memory{pkg: tree}
}

func content(t *testing.T, tree kptpkg.Tree, p string) string {
	t.Helper()
	f := tree.File(p)
	require.NotNil(t, f, p)
	b, err := f.Bytes()
	require.NoError(t, err)
	return string(b)
}

func TestReplaceKeepsComments(t *testing.T) {
	d := replaceDraft(t)
	pr := revision("web")
	h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
	status, err := h.DoPRResourceMutations(t.Context(), pr, d, nil, replacement(map[string]string{
		"Kptfile": replaceKptfile,
		// as a client writes it that knows values only, in another file
		"moved.yaml":    "apiVersion: v1\ndata:\n  k: w\nkind: ConfigMap\nmetadata:\n  name: a\n",
		"empty.yaml":    "",
		"comments.yaml": "# only this\n",
		"README.md":     "# changed\n",
		"run.sh":        "#!/bin/sh\necho\n",
	}))
	require.NoError(t, err)
	require.Empty(t, status.Error)
	require.Len(t, status.Result.Items, 1)

	require.Equal(t, "# about a\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a   # kpt-set: ${name}\n  labels:\n    tier: front\ndata:\n    # indented by four\n    k: w\n", content(t, d.pkg, "moved.yaml"))
	require.Equal(t, "# only this\n", content(t, d.pkg, "comments.yaml"))
	require.Equal(t, "", content(t, d.pkg, "empty.yaml"))
	require.Equal(t, "# changed\n", content(t, d.pkg, "README.md"))
	require.Equal(t, "\x89PNG\x00", content(t, d.pkg, "logo.png"), "what can't be listed isn't deleted")
	require.Equal(t, kptpkg.Executable, d.pkg.File("run.sh").Mode())
	require.Nil(t, d.pkg.File("a.yaml"))
	require.Nil(t, d.pkg.File("b.yaml"))
}

func TestReplaceWithTheSameChangesNothing(t *testing.T) {
	d := replaceDraft(t)
	h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
	all := map[string]string{}
	for _, p := range d.pkg.Paths() {
		if p != "logo.png" {
			all[p] = content(t, d.pkg, p)
		}
	}
	_, err := h.DoPRResourceMutations(t.Context(), revision("web"), d, nil, replacement(all))
	require.NoError(t, err)
	once := d.pkg
	for p := range all {
		all[p] = content(t, d.pkg, p)
	}
	_, err = h.DoPRResourceMutations(t.Context(), revision("web"), d, nil, replacement(all))
	require.NoError(t, err)
	for _, p := range once.Paths() {
		require.Equal(t, content(t, once, p), content(t, d.pkg, p))
	}
}

func TestReplaceRefusals(t *testing.T) {
	h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
	published := revision("web")
	published.Spec.Lifecycle = api.Published
	for name, c := range map[string]struct {
		pr       *api.PackageRevision
		old, new map[string]string
		want     string
	}{
		"not a draft":     {published, nil, map[string]string{"Kptfile": replaceKptfile}, "only the content of a Draft can be changed"},
		"escaping path":   {revision("web"), nil, map[string]string{"Kptfile": replaceKptfile, "../x": "a"}, "leads out of the package"},
		".git":            {revision("web"), nil, map[string]string{"Kptfile": replaceKptfile, ".git/config": "a"}, "inside a .git directory"},
		"nothing":         {revision("web"), nil, nil, "is empty"},
		"changed since":   {revision("web"), map[string]string{"README.md": "# other\n"}, map[string]string{"Kptfile": replaceKptfile}, "another content by now"},
		"without Kptfile": {revision("web"), nil, map[string]string{"a.yaml": "a: b\n"}, "Kptfile"},
	} {
		t.Run(name, func(t *testing.T) {
			d := replaceDraft(t)
			before := d.pkg
			var old *api.PackageRevisionResources
			if c.old != nil {
				old = replacement(c.old)
			}
			_, err := h.DoPRResourceMutations(t.Context(), c.pr, d, old, replacement(c.new))
			require.ErrorContains(t, err, c.want)
			require.Equal(t, before.Paths(), d.pkg.Paths(), "nothing changed")
		})
	}
}

// The status tells of a failed render; the package is saved only where the
// revision says so.
func TestReplaceThatFailsToRender(t *testing.T) {
	h := &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)}
	broken := map[string]string{
		"Kptfile":  replaceKptfile + "  - image: example.com/unknown:v1\n",
		"new.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: new\n",
	}
	for _, save := range []bool{false, true} {
		d := replaceDraft(t)
		pr, says := revision("web"), "nor pushed to a repository: fix it locally until the render succeeds"
		if save {
			pr.Metadata.Annotations = map[string]string{"porch.kpt.dev/push-on-render-failure": "true"}
			says = "package written all the same, as annotation porch.kpt.dev/push-on-render-failure asks for"
		}
		status, err := h.DoPRResourceMutations(t.Context(), pr, d, nil, replacement(broken))
		require.ErrorContains(t, err, "unknown:v1")
		require.ErrorContains(t, err, says)
		require.Contains(t, status.Error, "unknown:v1")
		require.Equal(t, save, d.pkg.File("new.yaml") != nil)
	}
}
