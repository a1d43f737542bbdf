package render_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata expect")

// functions is a runtime of the functions below.
type functions map[string]fn.Func

func (fs functions) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	if ref.Exec == "forbidden" {
		return nil, fmt.Errorf("%w: say --allow-exec", runtime.ErrExecNotAllowed)
	}
	name := ref.Image + ref.Exec
	f := fs[name]
	if f == nil {
		return nil, fmt.Errorf("%s: %w", name, runtime.ErrNotFound)
	}
	found := &runtime.Function{Name: name, Run: f, InProcess: ref.Exec == "" && !strings.HasPrefix(name, "example.com/")}
	if ref.Tag != "" {
		found.Notes = []fn.Result{{Message: "asked for tag " + ref.Tag}}
	}
	return found, nil
}

// library is what the cases call. Most functions take the data of a ConfigMap.
var library = functions{
	// label adds the data as labels.
	"label": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			for _, k := range slices.Sorted(maps.Keys(c.Config.GetDataMap())) {
				if err := o.Node.PipeE(yaml.SetLabel(k, c.Config.GetDataMap()[k])); err != nil {
					return err
				}
			}
		}
		c.Add(fn.Info, nil, "", fmt.Sprintf("labelled %d", len(c.Items)))
		return nil
	},
	// annotate adds the data as annotations.
	"annotate": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			for _, k := range slices.Sorted(maps.Keys(c.Config.GetDataMap())) {
				if err := o.Node.PipeE(yaml.SetAnnotation(k, c.Config.GetDataMap()[k])); err != nil {
					return err
				}
			}
		}
		return nil
	},
	// set gives the resource called name the data key: value.
	"set": func(_ context.Context, c *fn.Call) error {
		data := c.Config.GetDataMap()
		for _, o := range c.Items {
			if o.Node.GetName() == data["name"] {
				if err := o.Node.PipeE(yaml.LookupCreate(yaml.ScalarNode, "data", data["key"]), yaml.FieldSetter{StringValue: data["value"]}); err != nil {
					return err
				}
				c.Add(fn.Info, o, "data."+data["key"], "set")
			}
		}
		return nil
	},
	// drop takes out what is in the package or has the name given.
	"drop": func(_ context.Context, c *fn.Call) error {
		data := c.Config.GetDataMap()
		c.Items = slices.DeleteFunc(c.Items, func(o *fn.Object) bool {
			return o.Package == data["package"] || o.Node.GetName() == data["name"]
		})
		return nil
	},
	// make adds a ConfigMap.
	"make": func(_ context.Context, c *fn.Call) error {
		data := c.Config.GetDataMap()
		n := yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + data["name"] + "\n")
		if ns := data["namespace"]; ns != "" {
			if err := n.SetNamespace(ns); err != nil {
				return err
			}
		}
		index, _ := strconv.Atoi(data["index"])
		c.Items = append(c.Items, &fn.Object{Node: n, Path: data["path"], Index: index, Package: data["package"]})
		return nil
	},
	// first adds a ConfigMap before all others; it has no index.
	"first": func(_ context.Context, c *fn.Call) error {
		data := c.Config.GetDataMap()
		n := yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + data["name"] + "\n")
		c.Items = slices.Insert(c.Items, 0, &fn.Object{Node: n, Path: data["path"], Index: -1})
		c.Add(fn.Info, c.Items[0], "data", "made")
		return nil
	},
	// move puts the resource called name at path and index.
	"move": func(_ context.Context, c *fn.Call) error {
		data := c.Config.GetDataMap()
		for _, o := range c.Items {
			if o.Node.GetName() == data["name"] {
				o.Path = data["path"]
				o.Index, _ = strconv.Atoi(data["index"])
			}
		}
		return nil
	},
	// swap lets the first two resources of x.yaml change places.
	"swap": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			if o.Path == "x.yaml" {
				o.Index = 1 - o.Index
			}
		}
		return nil
	},
	// seen says what it was given, in order.
	"seen": func(_ context.Context, c *fn.Call) error {
		for _, o := range c.Items {
			c.Add(fn.Info, nil, "", fmt.Sprintf("%s:%s[%d] %s %s", o.Package, o.Path, o.Index, o.Node.GetKind(), o.Node.GetName()))
		}
		if c.Config != nil {
			c.Add(fn.Info, nil, "", "config: "+strings.ReplaceAll(strings.TrimSpace(c.Config.MustString()), "\n", " | "))
		}
		return nil
	},
	"fail": func(_ context.Context, c *fn.Call) error {
		_ = c.Items[0].Node.PipeE(yaml.SetLabel("half", "done"))
		c.Add(fn.Error, nil, "", "it went wrong")
		return fmt.Errorf("function failure")
	},
	"report": func(_ context.Context, c *fn.Call) error {
		c.Add(fn.Error, c.Items[len(c.Items)-1], "data.k", "bad value")
		return nil
	},
	"panic": func(context.Context, *fn.Call) error { panic("out of ideas") },
	"nameless": func(_ context.Context, c *fn.Call) error {
		return c.Items[len(c.Items)-1].Node.PipeE(yaml.Lookup("metadata"), yaml.Clear("name"))
	},
	"twice": func(_ context.Context, c *fn.Call) error {
		c.Items = append(c.Items, c.Items[0])
		return nil
	},
	"empty": func(_ context.Context, c *fn.Call) error {
		c.Items = append(c.Items, nil)
		return nil
	},
	"talk": func(_ context.Context, c *fn.Call) error {
		c.Stderr = "hello\n"
		return nil
	},
	"./exit7": func(_ context.Context, c *fn.Call) error {
		c.Stderr = "oops\n"
		return &runtime.ExitError{Function: "./exit7", ExitCode: 7, Stderr: c.Stderr}
	},
	// outside fails as a container or function runner does that took too long.
	"example.com/outside": func(context.Context, *fn.Call) error { return fmt.Errorf("it took longer than 1s") },
	"./garbage":           func(context.Context, *fn.Call) error { return fmt.Errorf("answer is not a ResourceList") },
}

// TestRender runs the cases of testdata. A case is a txtar archive: its comment
// says what it shows and, in a line beginning with "flags:", how the Renderer is
// set up. in/ is the package. What is expected: out/ the whole package
// afterwards, absent where it is as it was; status the Kptfile's status in kpt's
// form; results all results, one a line; error the error. Those that a case
// leaves out aren't looked at, but an error is always expected to be said.
func TestRender(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			require.NoError(t, err)
			in, want := tree(t, ar, "in/"), map[string]string{}
			for _, f := range ar.Files {
				if !strings.HasPrefix(f.Name, "in/") {
					want[f.Name] = string(f.Data)
				}
			}
			flags := ""
			for line := range strings.Lines(string(ar.Comment)) {
				if rest, ok := strings.CutPrefix(line, "flags:"); ok {
					flags = rest
				}
			}
			r := &render.Renderer{
				Runtime: library, Name: "root",
				Strict:         strings.Contains(flags, "strict"),
				LenientResults: strings.Contains(flags, "lenient"),
			}
			before := contents(t, in)
			got, err := r.Render(t.Context(), in)
			require.NotNil(t, got)
			assert.Equal(t, before, contents(t, in), "Render changed what it was given")

			have := map[string]string{}
			if err != nil {
				have["error"] = err.Error() + "\n"
			}
			after := contents(t, got.Tree)
			if !maps.Equal(after, before) {
				for p, text := range after {
					have["out/"+p] = text
				}
			}
			have["status"] = status(t, got)
			var b strings.Builder
			for _, res := range got.Results {
				fmt.Fprintf(&b, "%s %s: %s\n", res.Severity, res.Tags["step"], res.Text())
			}
			have["results"] = b.String()

			if *update {
				rewrite(t, file, ar, have)
				return
			}
			for _, optional := range []string{"status", "results"} {
				if _, ok := want[optional]; !ok {
					delete(have, optional)
				}
			}
			assert.Equal(t, want, have)

			if err == nil && !strings.Contains(flags, "once") {
				again, err := r.Render(t.Context(), got.Tree)
				require.NoError(t, err)
				assert.Equal(t, after, contents(t, again.Tree), "rendering again changes the package")
			}
		})
	}
}

// status is what would be in the Kptfile.
func status(t *testing.T, r *render.Rendered) string {
	t.Helper()
	doc := struct {
		Condition    map[string]string `yaml:"condition"`
		RenderStatus *yaml.Node        `yaml:"renderStatus,omitempty"`
	}{map[string]string{}, r.RenderStatusNode()}
	c := r.Condition()
	for k, v := range map[string]string{"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message} {
		if v != "" {
			doc.Condition[k] = v
		}
	}
	var b bytes.Buffer
	require.NoError(t, yaml.NewEncoder(&b).Encode(doc))
	return b.String()
}

func rewrite(t *testing.T, file string, ar *txtar.Archive, have map[string]string) {
	t.Helper()
	hadStatus := slices.ContainsFunc(ar.Files, func(f txtar.File) bool { return f.Name == "status" })
	hadResults := slices.ContainsFunc(ar.Files, func(f txtar.File) bool { return f.Name == "results" })
	ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return !strings.HasPrefix(f.Name, "in/") })
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if name == "status" && !hadStatus || name == "results" && !hadResults {
			continue
		}
		ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(have[name])})
	}
	require.NoError(t, os.WriteFile(file, txtar.Format(ar), 0o644))
}

func tree(t *testing.T, ar *txtar.Archive, prefix string) kptpkg.Tree {
	t.Helper()
	var files []*kptpkg.File
	for _, f := range ar.Files {
		if p, ok := strings.CutPrefix(f.Name, prefix); ok {
			files = append(files, kptpkg.NewFile(p, kptpkg.Regular, f.Data))
		}
	}
	out, err := kptpkg.NewTree(files...)
	require.NoError(t, err)
	return out
}

func contents(t *testing.T, tr kptpkg.Tree) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range tr.Paths() {
		b, err := tr.File(p).Bytes()
		require.NoError(t, err)
		out[p] = string(b)
	}
	return out
}

// TestRenderProperties renders random packages with random pipelines: the same
// input gives the same bytes, the input stays as it was, what a function didn't
// touch keeps its bytes, and a render whose functions only set values can be
// repeated.
func TestRenderProperties(t *testing.T) {
	dirs := []string{"", "a/", "a/b/", "c/"}
	texts := []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n",
		"# c\n\napiVersion:   v1\nkind: Secret\nmetadata: {name: '%s', labels: {x: \"y\"}} # tail\n",
		"---\n# only a comment\n",
		"foo: bar # %s\n",
		"",
		"\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n    name: %s",
	}
	steps := []string{"image: label\n    configMap: {l: %q}", "image: label\n    configMap: {x: %q}\n    selectors: [{kind: Secret}]", "image: seen\n    name: %q", "image: drop\n    configMap: {name: %q}"}
	rapid.Check(t, func(rt *rapid.T) {
		var files []*kptpkg.File
		for i, dir := range dirs {
			if i == 0 || rapid.Bool().Draw(rt, "package") {
				k := "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: p\n  annotations:\n    kpt.dev/bfs-rendering: \"" +
					strconv.FormatBool(rapid.Bool().Draw(rt, "bfs")) + "\"\n"
				for _, phase := range []string{"mutators", "validators"} {
					if n := rapid.IntRange(0, 3).Draw(rt, "steps"); n > 0 {
						if !strings.Contains(k, "pipeline") {
							k += "pipeline:\n"
						}
						k += "  " + phase + ":\n"
						for range n {
							k += "  - " + fmt.Sprintf(rapid.SampledFrom(steps).Draw(rt, "step"), rapid.SampledFrom([]string{"f0", "f1", "v"}).Draw(rt, "arg")) + "\n"
						}
					}
				}
				files = append(files, kptpkg.NewFile(dir+"Kptfile", kptpkg.Regular, []byte(k)))
			}
			for j := range rapid.IntRange(0, 3).Draw(rt, "files") {
				var b strings.Builder
				for d := range rapid.IntRange(0, 3).Draw(rt, "documents") {
					if d > 0 {
						b.WriteString("\n---\n")
					}
					b.WriteString(strings.ReplaceAll(rapid.SampledFrom(texts).Draw(rt, "text"), "%s", fmt.Sprintf("f%d", j)))
				}
				files = append(files, kptpkg.NewFile(fmt.Sprintf("%sf%d.yaml", dir, j), kptpkg.Regular, []byte(b.String())))
			}
		}
		in, err := kptpkg.NewTree(files...)
		require.NoError(rt, err)
		before := contents(t, in)
		r := &render.Renderer{Runtime: library}
		one, err := r.Render(t.Context(), in)
		require.NoError(rt, err)
		two, err := r.Render(t.Context(), in)
		require.NoError(rt, err)
		assert.Equal(rt, before, contents(t, in))
		assert.Equal(rt, contents(t, one.Tree), contents(t, two.Tree))
		assert.Equal(rt, one.Results, two.Results)
		again, err := r.Render(t.Context(), one.Tree)
		require.NoError(rt, err)
		assert.Equal(rt, contents(t, one.Tree), contents(t, again.Tree))
		for p, text := range before {
			if strings.Count(text, "kind:") == 0 {
				assert.Equal(rt, text, contents(t, one.Tree)[p])
			}
		}
	})
}

func TestUntouchedFilesAreTheSame(t *testing.T) {
	in, err := kptpkg.NewTree(
		kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline: {mutators: [{image: seen}]}")),
		kptpkg.NewFile("cm.yaml", kptpkg.Executable, []byte("\xef\xbb\xbfapiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}")),
		kptpkg.NewFile("link.yaml", kptpkg.Symlink, []byte("nowhere: [")),
		kptpkg.NewFile("binary", kptpkg.Regular, []byte{0, 255, '\n'}),
	)
	require.NoError(t, err)
	got, err := (&render.Renderer{Runtime: library, Strict: true}).Render(t.Context(), in)
	require.NoError(t, err)
	assert.Len(t, got.Steps[0].Results, 2)
	for _, p := range in.Paths() {
		assert.Same(t, in.File(p), got.Tree.File(p), p)
	}
}

func TestSymlinkIsNotOverwritten(t *testing.T) {
	in, err := kptpkg.NewTree(
		kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline: {mutators: [{image: make, configMap: {name: x, path: link.yaml}}]}")),
		kptpkg.NewFile("link.yaml", kptpkg.Symlink, []byte("/etc/passwd")),
	)
	require.NoError(t, err)
	_, err = (&render.Renderer{Runtime: library}).Render(t.Context(), in)
	assert.ErrorContains(t, err, `must not write "link.yaml"`)
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := functions{"stop": func(context.Context, *fn.Call) error { cancel(); return nil }, "never": library["panic"]}
	in, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular,
		[]byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline: {mutators: [{image: stop}, {image: never}]}")))
	require.NoError(t, err)
	got, err := (&render.Renderer{Runtime: stop}).Render(ctx, in)
	require.ErrorIs(t, err, context.Canceled)
	failed, ok := errors.AsType[*render.Error](err)
	require.True(t, ok)
	assert.Equal(t, 2, failed.Step.Number)
	assert.Len(t, got.Steps, 2)
	assert.Equal(t, 1, got.Functions)
}

func TestRefused(t *testing.T) {
	in, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1alpha2\nkind: Kptfile\n")))
	require.NoError(t, err)
	got, err := (&render.Renderer{}).Render(t.Context(), in)
	failed, ok := errors.AsType[*render.Error](err)
	require.True(t, ok)
	assert.True(t, failed.Refused)
	assert.Contains(t, failed.Reason(), `has an old version ("v1alpha2") of the Kptfile schema`)
	assert.Equal(t, "Kptfile", fn.ResultOf(err).File.Path)
	assert.Equal(t, in.File("Kptfile"), got.Tree.File("Kptfile"))
}

func TestResultList(t *testing.T) {
	kptfile := func(steps string) kptpkg.Tree {
		in, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular,
			[]byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\npipeline: {mutators: ["+steps+"]}")))
		require.NoError(t, err)
		return in
	}
	for want, steps := range map[string]string{
		`apiVersion: kpt.dev/v1
kind: FunctionResultList
metadata:
  name: fnresults
exitCode: 0
items:
  - image: ghcr.io/kptdev/krm-functions-catalog/talk:latest
    stderr: |
      hello
    exitCode: 0
  - image: ghcr.io/kptdev/krm-functions-catalog/label:latest
    exitCode: 0
    results:
      - message: labelled 1
        severity: info
`: "{image: talk}, {image: label, configMap: {a: b}}",
		`apiVersion: kpt.dev/v1
kind: FunctionResultList
metadata:
  name: fnresults
exitCode: 1
items:
  - exec: ./exit7
    stderr: |
      oops
    exitCode: 7
`: "{exec: ./exit7}",
		`apiVersion: kpt.dev/v1
kind: FunctionResultList
metadata:
  name: fnresults
exitCode: 0
`: "{exec: forbidden}",
	} {
		got, _ := (&render.Renderer{Runtime: library}).Render(t.Context(), kptfile(steps))
		var b strings.Builder
		_, err := got.ResultList().WriteTo(&b)
		require.NoError(t, err)
		assert.Equal(t, want, b.String())
	}
}

// BenchmarkRender renders 100 files of 10 resources through three functions.
func BenchmarkRender(b *testing.B) {
	files := []*kptpkg.File{kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: p}\n"+
		"pipeline: {mutators: [{image: label, configMap: {a: b}}, {image: label, configMap: {c: d}}, {image: label, configMap: {e: f}}]}"))}
	texts := map[string][]byte{}
	for i := range 100 {
		var text bytes.Buffer
		for j := range 10 {
			fmt.Fprintf(&text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm-%d-%d # the name\n  labels:\n    app: x\ndata:\n  one: \"1\"\n  two: some text\n", i, j)
		}
		texts[fmt.Sprintf("f%d.yaml", i)] = text.Bytes()
	}
	for b.Loop() {
		all := slices.Clone(files)
		for p, text := range texts {
			all = append(all, kptpkg.NewFile(p, kptpkg.Regular, text)) // nothing parsed yet
		}
		in, err := kptpkg.NewTree(all...)
		require.NoError(b, err)
		got, err := (&render.Renderer{Runtime: library}).Render(b.Context(), in)
		require.NoError(b, err)
		for _, p := range got.Tree.Paths() {
			_, err := got.Tree.File(p).Bytes()
			require.NoError(b, err)
		}
	}
}
