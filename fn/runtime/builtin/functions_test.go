package builtin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// TestFunctions runs testdata/FUNCTION/*.txtar: config.yaml and in/* go in,
// want/*, results and error are what has to come out. A second run on the
// output has to change nothing, unless there is a file "once" that says why.
func TestFunctions(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*/*.txtar")
	require.NoError(t, err)
	tested := map[string]bool{}
	for _, script := range scripts {
		name := filepath.Base(filepath.Dir(script))
		tested[name] = true
		t.Run(name+"/"+strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(script)
			require.NoError(t, err)
			call, once := readScript(t, a)
			config := ""
			if call.Config != nil {
				config = call.Config.MustString()
			}

			runErr := run(t, name, call)
			got := output(t, call, runErr)
			if *update {
				writeScript(t, script, a, got)
				return
			}
			if diff := cmp.Diff(expected(a), got); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
			if runErr != nil {
				return
			}
			if call.Config != nil {
				require.Equal(t, config, call.Config.MustString(), "functionConfig changed")
			}
			if !once {
				call.Results = nil
				require.NoError(t, run(t, name, call))
				second := output(t, call, nil)
				for path, text := range got {
					if path != "results" {
						require.Equal(t, text, second[path], "second run")
					}
				}
			}
		})
	}
	for _, f := range functions() {
		require.True(t, tested[f.name], "no script for %s", f.name)
	}
}

func run(t *testing.T, name string, call *fn.Call) error {
	t.Helper()
	f, err := New(Compatible).Find(context.Background(), runtime.Ref{Image: name})
	require.NoError(t, err)
	return f.Run(context.Background(), call)
}

func readScript(t *testing.T, a *txtar.Archive) (call *fn.Call, once bool) {
	t.Helper()
	call = &fn.Call{}
	for _, f := range a.Files {
		path, isInput := strings.CutPrefix(f.Name, "in/")
		switch {
		case isInput:
			call.Items = append(call.Items, parseObjects(t, path, f.Data)...)
		case f.Name == "config.yaml":
			n, err := yaml.Parse(string(f.Data))
			require.NoError(t, err)
			call.Config = n
		case f.Name == "once":
			once = true
		}
	}
	return call, once
}

func parseObjects(t testing.TB, path string, data []byte) []*fn.Object {
	t.Helper()
	var objects []*fn.Object
	d := yaml.NewDecoder(bytes.NewReader(data))
	for i := 0; ; i++ {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return objects
		}
		require.NoError(t, err)
		objects = append(objects, &fn.Object{Node: yaml.NewRNode(n.Content[0]), Path: path, Index: i})
	}
}

// output is what a run left, by the names that a script has for it.
func output(t *testing.T, call *fn.Call, err error) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err != nil {
		r := fn.ResultOf(err)
		out["error"] = resultLine(r)
		return out
	}
	slices.SortStableFunc(call.Items, func(a, b *fn.Object) int { return a.Index - b.Index })
	for _, o := range call.Items {
		s, err := o.Node.String()
		require.NoError(t, err)
		key := "want/" + o.Path
		if out[key] != "" {
			s = out[key] + "---\n" + s
		}
		out[key] = s
	}
	for _, r := range call.Results {
		out["results"] += resultLine(r)
	}
	return out
}

func resultLine(r fn.Result) string {
	line := fmt.Sprintf("[%s] %s", r.Severity, r.Text())
	if r.File != nil && r.File.Index > 0 {
		line += fmt.Sprintf(" (document %d)", r.File.Index)
	}
	return line + "\n"
}

func expected(a *txtar.Archive) map[string]string {
	want := map[string]string{}
	for _, f := range a.Files {
		if strings.HasPrefix(f.Name, "want/") || f.Name == "results" || f.Name == "error" {
			want[f.Name] = string(f.Data)
		}
	}
	return want
}

func writeScript(t *testing.T, path string, a *txtar.Archive, got map[string]string) {
	t.Helper()
	kept := a.Files[:0]
	for _, f := range a.Files {
		if !strings.HasPrefix(f.Name, "want/") && f.Name != "results" && f.Name != "error" {
			kept = append(kept, f)
		}
	}
	a.Files = kept
	names := map[string]bool{}
	for name := range got {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got[name])})
	}
	require.NoError(t, os.WriteFile(path, txtar.Format(a), 0o644))
}
