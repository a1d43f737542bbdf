package fn_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// lists that hosts and people write; each must come out as it went in.
var lists = map[string]string{
	"kpt": `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- # head
  apiVersion: v1
  kind: ConfigMap
  metadata:
    name: cm # hi
    annotations:
      config.kubernetes.io/index: '0'
  data: {a: b}
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: cm2
  data:
    text: |
      - not an item
      items:

      end
functionConfig:
  metadata:
    name: function-input
  data: {}
  kind: ConfigMap
  apiVersion: v1`,
	"indented": `# a comment
kind: ResourceList
apiVersion: config.kubernetes.io/v1alpha1
functionConfig: {apiVersion: v1, kind: ConfigMap, data: {a: "b"}}
items:
  # about the first
  - apiVersion: v1
    kind: A
    metadata: {name: a}
  # about the second
  - apiVersion: v1
    kind: B
    metadata: {name: b}
results:
- message: from an earlier function
  severity: info
`,
	"flow items": `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}}
- apiVersion: v1
  kind: B
  metadata: {name: b}
`,
	"empty":          "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\n",
	"list":           "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n  metadata:\n    name: a\n",
	"stream":         "apiVersion: v1\nkind: A\nmetadata:\n  name: a\n---\napiVersion: v1\nkind: B\nmetadata:\n  name: b # c\n",
	"crlf":           "apiVersion: config.kubernetes.io/v1\r\nkind: ResourceList\r\nitems:\r\n- apiVersion: v1\r\n  kind: A\r\n  metadata:\r\n    name: a\r\n",
	"extra field":    "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nmetadata:\n  name: x\nitems: []\n",
	"legacy results": "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\nresults:\n  items:\n  - message: old\n",
}

func TestListComesOutAsItWentIn(t *testing.T) {
	for name, text := range lists {
		t.Run(name, func(t *testing.T) {
			l, err := fn.ReadList(strings.NewReader(text))
			require.NoError(t, err)
			out, err := l.Bytes()
			require.NoError(t, err)
			require.Equal(t, text, string(out))
		})
	}
}

func TestListOneItemChanged(t *testing.T) {
	l, err := fn.ReadList(strings.NewReader(lists["indented"]))
	require.NoError(t, err)
	require.Len(t, l.Items, 2)
	n, err := l.Items[0].Doc.Copy()
	require.NoError(t, err)
	require.NoError(t, yaml.NewRNode(n).SetName("changed"))
	l.Items[0].Doc = l.Items[0].Doc.With(n)
	l.Items = append(l.Items, fn.NewItem(yamldoc.FromNode(yaml.MustParse("apiVersion: v1\nkind: New\nmetadata:\n  name: new\n").YNode())))
	l.Results = append(l.Results, fn.Result{Message: "done", Severity: fn.Info}, fn.Result{Message: "done", Severity: fn.Info})
	out, err := l.Bytes()
	require.NoError(t, err)
	want := strings.Replace(lists["indented"], "{name: a}", "{name: changed}", 1)
	want = strings.Replace(want, "results:\n", "  - apiVersion: v1\n    kind: New\n    metadata:\n      name: new\nresults:\n", 1)
	want += "- message: done\n  severity: info\n"
	require.Equal(t, want, string(out))

	again, err := fn.ReadList(bytes.NewReader(out))
	require.NoError(t, err)
	again.Results = append(again.Results, fn.Result{Message: "done", Severity: fn.Info})
	twice, err := again.Bytes()
	require.NoError(t, err)
	require.Equal(t, string(out), string(twice), "saying the same again changes nothing")
}

func TestListItemRemoved(t *testing.T) {
	l, err := fn.ReadList(strings.NewReader(lists["kpt"]))
	require.NoError(t, err)
	l.Items = l.Items[1:]
	out, err := l.Bytes()
	require.NoError(t, err)
	require.NotContains(t, string(out), "name: cm #")
	require.Contains(t, string(out), "      - not an item\n      items:\n\n      end\n")
	l.Items = nil
	out, err = l.Bytes()
	require.NoError(t, err)
	require.Contains(t, string(out), "items: []\n")
}

// Where cutting by lines would go wrong the list is read as one document.
func TestListReadAsOneDocument(t *testing.T) {
	for name, text := range map[string]string{
		"json":          `{"apiVersion":"config.kubernetes.io/v1","kind":"ResourceList","items":[{"apiVersion":"v1","kind":"A","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"B"}]}`,
		"anchors":       "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: v1\n  kind: A\n  metadata: &m\n    name: a\n- apiVersion: v1\n  kind: B\n  metadata: *m\n",
		"quoted dashes": "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- apiVersion: v1\n  kind: A\n  data: {a: \"x\n- apiVersion: v1\n  y\"}\n- apiVersion: v1\n  kind: B\n",
		"flow":          "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: [{apiVersion: v1, kind: A}, {apiVersion: v1, kind: B}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := fn.ReadList(strings.NewReader(text))
			require.NoError(t, err)
			require.Len(t, l.Items, 2)
			out, err := l.Bytes()
			require.NoError(t, err)
			again, err := fn.ReadList(bytes.NewReader(out))
			require.NoError(t, err)
			require.Len(t, again.Items, 2)
			for i := range l.Items {
				a, _ := l.Items[i].Doc.Root()
				b, _ := again.Items[i].Doc.Root()
				require.True(t, yamldoc.Equal(a, b))
			}
		})
	}
}

func TestListErrors(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: config.kubernetes.io/v9\nkind: ResourceList\nitems: []\n":         `apiVersion "config.kubernetes.io/v9": want config.kubernetes.io/v1`,
		"apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: {a: b}\n":     "items must be a list",
		"apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- a\n":       "item 0 is not an object",
		"apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n- a: [\n":    "did not find expected",
		"apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nfunctionConfig: 3\n": "functionConfig has the wrong form",
		"just text": "item 0 is not an object",
	} {
		_, err := fn.ReadList(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}

func FuzzReadList(f *testing.F) {
	for _, text := range lists {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := fn.ReadList(bytes.NewReader(in))
		if err != nil {
			return
		}
		out, err := l.Bytes()
		if err != nil {
			return
		}
		again, err := fn.ReadList(bytes.NewReader(out))
		require.NoError(t, err, "what was written can be read: %q", out)
		require.Len(t, again.Items, len(l.Items))
	})
}
