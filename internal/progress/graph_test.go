package progress

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rollout has plans in plans, all states, an outer need, and what isn't there.
var rollout = []Node{
	{Path: "PackageRevision:base", Type: "clone", Target: "base", State: "clean"},
	{Path: "rollout", Type: "compound", State: "run", Needs: []Edge{{To: "PackageRevision:base", Type: "Blocking"}}, Critical: true},
	{Path: "rollout/clone", Type: "clone", Target: "sites/a", State: "run", Reason: "spec changed", Needs: []Edge{{To: "PackageRevision:base"}}, Critical: true, Priority: 5},
	{Path: "rollout/check", Type: "compound", State: "unknown", Reason: "it depends on outputs of rollout/clone", Needs: []Edge{{To: "rollout/clone", Type: "Data"}}, Critical: true},
	{Path: "rollout/check/ask", Type: "llm_call", Class: "models", State: "unknown", Critical: true},
	{Path: "rollout/check/tell", Type: "tool_call", Class: "tool_call", State: "unknown", Needs: []Edge{{To: "rollout/check/ask", Type: "Data"}}, Critical: true},
	{Path: "rollout/ok", Type: "approve", State: "hold", Reason: "nobody has approved", Needs: []Edge{{To: "rollout/check", Type: "Blocking"}}},
	{Path: "rollout/after", Type: "render", Target: "sites/a", State: "blocked", Needs: []Edge{{To: "rollout/ok", Type: "Blocking"}, {To: "rollout/gone", Type: "Conditional"}}},
	{Path: "tidy", Type: "eval", State: "skip", Reason: "condition isn't met", Needs: []Edge{{To: "rollout", Type: "Conditional"}}},
}

var hostile = []Node{
	{Path: "a\"];\x1b[2J\n%%{init: {}}%% <script>", Type: "\\N\\", State: "run", Reason: "1. <b>&amp;</b> `x` #35; \u202egnp.exe\u0085\nend\n\"--> n0", Class: "-", Critical: true},
	{Path: "- 世界" + strings.Repeat("界", 80), Type: "x\x00y", Target: "]]>", State: "state\";}", Needs: []Edge{{To: "a\"];\x1b[2J\n%%{init: {}}%% <script>", Type: "\"|evil|\\"}, {To: "\nnowhere"}}},
	{Path: "_b_ **c** (d) \xff", State: "unknown", Reason: strings.Repeat("very long ", 50)},
}

func TestGraphGolden(t *testing.T) {
	for name, nodes := range map[string][]Node{"rollout": rollout, "hostile": hostile, "empty": nil} {
		for _, format := range GraphFormats {
			t.Run(name+"."+format, func(t *testing.T) {
				var b bytes.Buffer
				require.NoError(t, WriteGraph(&b, format, nodes, nil))
				file := filepath.Join("testdata", name+"."+format)
				if *update {
					require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Equal(t, string(want), b.String())
				requireHarmless(t, b.String())
			})
		}
	}
}

// requireHarmless wants nothing that a terminal would obey.
func requireHarmless(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2028) {
			require.Failf(t, "not harmless", "%q in %q", r, s)
		}
	}
}

func TestGraphJSONIsLossless(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteGraph(&b, "json", hostile, nil))
	var got struct{ Tasks []Node }
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	for i, n := range got.Tasks {
		if len(n.Needs) == 0 {
			n.Needs = nil
		}
		want := hostile[i]
		want.Path = strings.ToValidUTF8(want.Path, "\ufffd")
		require.Equal(t, want, n)
	}
}

// TestGraphLines counts lines: whatever names hold, there is one for each task
// and each edge, and what is opened is closed.
func TestGraphLines(t *testing.T) {
	for _, nodes := range [][]Node{rollout, hostile} {
		edges := 0
		for _, n := range nodes {
			for _, e := range n.Needs {
				if slices.ContainsFunc(nodes, func(n Node) bool { return n.Path == e.To }) {
					edges++
				}
			}
		}
		var b bytes.Buffer
		require.NoError(t, WriteGraph(&b, "dot", nodes, nil))
		require.Equal(t, edges, strings.Count(b.String(), " -> n"))
		require.Equal(t, strings.Count(b.String(), "{\n"), strings.Count(b.String(), "}\n"))
		require.Zero(t, strings.Count(strings.ReplaceAll(strings.ReplaceAll(b.String(), `\\`, ""), `\"`, ""), `"`)%2)

		b.Reset()
		require.NoError(t, WriteGraph(&b, "mermaid", nodes, nil))
		require.Equal(t, edges, strings.Count(b.String(), "->"))
		require.Equal(t, strings.Count(b.String(), "subgraph "), strings.Count(b.String(), "  end\n"))
	}
}

func TestGraphUnknownFormat(t *testing.T) {
	require.EqualError(t, WriteGraph(&bytes.Buffer{}, "png", rollout, nil), `unknown format "png": write text, json, dot, mermaid`)
}

func TestTree(t *testing.T) {
	var got []string
	for _, n := range newTree([]string{"b", "b/y", "a", "b/x", "a/l/m", "a/l/m/n", "b"}) {
		got = append(got, strings.Repeat(" ", n.depth)+n.name)
	}
	require.Equal(t, []string{"b", " y", " x", "a", " l/m", "  n", "b"}, got)
}
