package render_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

const (
	linkedCM     = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # keep\n"
	linkedMarked = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # keep\n  labels:\n    m: 'x'\n"
)

// linked is a package whose pipeline has the steps; a file that begins with "-> "
// is a symlink.
func linked(t *testing.T, steps string, files map[string]string) kptpkg.Tree {
	t.Helper()
	all := []*kptpkg.File{kptpkg.NewFile("Kptfile", kptpkg.Regular,
		[]byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline: {mutators: ["+steps+"]}\n"))}
	for p, text := range files {
		mode := kptpkg.Regular
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			mode, text = kptpkg.Symlink, target
		}
		all = append(all, kptpkg.NewFile(p, mode, []byte(text)))
	}
	tr, err := kptpkg.NewTree(all...)
	require.NoError(t, err)
	return tr
}

// Functions see what links lead to, and what they make of it goes there. The link
// stays one.
func TestLinksAreFollowed(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a file that is no resource file": {"data.txt": linkedCM, "l.yaml": "-> data.txt"},
		"a file that is one too":          {"a.yaml": linkedCM, "l.yaml": "-> a.yaml"},
		"two links to one file":           {"data.txt": linkedCM, "l.yaml": "-> data.txt", "m.yaml": "-> ./data.txt"},
		"over another link":               {"d/data.txt": linkedCM, "l.yaml": "-> d/m", "d/m": "-> data.txt"},
		"in a directory that is a link":   {"d/data.txt": linkedCM, "e": "-> d", "l.yaml": "-> e/data.txt"},
		"upwards":                         {"data.txt": linkedCM, "d/l.yaml": "-> ../d/../data.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			in := linked(t, "{image: label, configMap: {m: x}}", files)
			r := &render.Renderer{Runtime: library, Strict: true}
			got, err := r.Render(t.Context(), in)
			require.NoError(t, err)
			formatted, err := got.Format()
			require.NoError(t, err)
			for _, after := range []kptpkg.Tree{got.Tree, formatted} {
				assert.Equal(t, in.Paths(), after.Paths())
				for p, text := range files {
					f := after.File(p)
					if strings.HasPrefix(text, "-> ") {
						assert.Same(t, in.File(p), f, p)
						continue
					}
					b, err := f.Bytes()
					require.NoError(t, err)
					assert.Equal(t, linkedMarked, string(b), p)
					assert.Equal(t, kptpkg.Regular, f.Mode())
				}
			}
			assert.Equal(t, "labelled "+map[bool]string{true: "3", false: "2"}[strings.Contains(name, "too") || strings.HasPrefix(name, "two")], got.Results[0].Message)

			// elsewhere there are files instead
			elsewhere, err := got.ResourceFiles(false)
			require.NoError(t, err)
			for p, text := range files {
				if !strings.HasPrefix(text, "-> ") || !strings.HasSuffix(p, ".yaml") {
					continue
				}
				b, err := elsewhere.File(p).Bytes()
				require.NoError(t, err)
				assert.Equal(t, linkedMarked, string(b))
				assert.Equal(t, kptpkg.Regular, elsewhere.File(p).Mode())
			}

			again, err := r.Render(t.Context(), got.Tree)
			require.NoError(t, err)
			assert.Equal(t, contents(t, got.Tree), contents(t, again.Tree))
		})
	}
}

// A link that leads out of the package, or nowhere, isn't followed; kpt reads and
// writes what it leads to.
func TestLinksThatStay(t *testing.T) {
	for target, want := range map[string]string{
		"../a.yaml":             "leads out of the package",
		"d/../../p/a.yaml":      "leads out of the package",
		"/etc/passwd":           "leads out of the package",
		`C:\a.yaml`:             "leads out of the package",
		"gone.yaml":             "leads to no file",
		"d":                     "leads to no file",
		"a.yaml/b":              "leads to no file",
		"l.yaml":                "in a circle",
		"up/p/a.yaml":           "leads out of the package",
		".git/hooks/pre-commit": "leads to no file",
	} {
		t.Run(target, func(t *testing.T) {
			in := linked(t, "{image: label, configMap: {m: x}}",
				map[string]string{"a.yaml": linkedCM, "l.yaml": "-> " + target, "d/x": "x", "up": "-> .."})
			got, err := (&render.Renderer{Runtime: library, Strict: true}).Render(t.Context(), in)
			require.NoError(t, err)
			assert.Equal(t, in.Paths(), got.Tree.Paths())
			assert.Same(t, in.File("l.yaml"), got.Tree.File("l.yaml"))
			assert.Equal(t, "l.yaml", got.Results[0].File.Path)
			assert.Equal(t, fn.Warning, got.Results[0].Severity)
			assert.Contains(t, got.Results[0].Message, want)
			assert.Equal(t, "labelled 2", got.Results[1].Message)
		})
	}
}

// A link whose resources are taken out is removed, its target isn't.
func TestLinkIsRemoved(t *testing.T) {
	in := linked(t, "{image: drop, configMap: {name: a}}", map[string]string{"data.txt": linkedCM, "l.yaml": "-> data.txt"})
	got, err := (&render.Renderer{Runtime: library}).Render(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, []string{"Kptfile", "data.txt"}, got.Tree.Paths())
	assert.Same(t, in.File("data.txt"), got.Tree.File("data.txt"))
}

// Where functions make two things of one file, kpt writes one of them, now this,
// now that.
func TestLinksThatDiffer(t *testing.T) {
	one := functions{"one": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			if o.Path == "l.yaml" {
				return o.Node.SetName("b")
			}
		}
		return nil
	}, "gone": func(_ context.Context, c *fn.Call) error {
		c.Items = c.Items[:2]
		return nil
	}}
	files := map[string]string{"z.yaml": linkedCM, "l.yaml": "-> z.yaml"}
	for _, image := range []string{"one", "gone"} {
		in := linked(t, "{image: "+image+"}", files)
		got, err := (&render.Renderer{Runtime: runtime.FirstOf{one, library}}).Render(t.Context(), in)
		require.ErrorContains(t, err, "l.yaml is a link: functions made something else of z.yaml")
		assert.Equal(t, "l.yaml", fn.ResultOf(err).File.Path)
		assert.Equal(t, contents(t, in), contents(t, got.Tree))
	}
}

// A configPath may be a link.
func TestConfigPathIsLink(t *testing.T) {
	in := linked(t, "{image: label, configPath: c.yaml}", map[string]string{
		"c.txt": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {m: x}\n", "c.yaml": "-> c.txt", "a.yaml": linkedCM,
	})
	got, err := (&render.Renderer{Runtime: library}).Render(t.Context(), in)
	require.NoError(t, err)
	assert.Equal(t, linkedMarked, contents(t, got.Tree)["a.yaml"])
}

// Without resources there is an empty stream and an empty list.
func TestWriteNothing(t *testing.T) {
	in := linked(t, "", map[string]string{".krmignore": "Kptfile\n"})
	got, err := (&render.Renderer{Runtime: library}).Render(t.Context(), in)
	require.NoError(t, err)
	var stream, list bytes.Buffer
	require.NoError(t, got.WriteStream(&stream))
	require.NoError(t, got.WriteList(&list))
	assert.Empty(t, stream.String())
	assert.Equal(t, "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\n", list.String())
}
