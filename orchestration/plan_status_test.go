package orchestration_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// What a status looks like depends on what it says and on the layout of the
// document, not on what it said before; what isn't the status keeps its bytes.
func TestPlanStatusLayout(t *testing.T) {
	const head = "apiVersion: stoop.dev/v1alpha1\nkind: Plan\n"
	const meta = "metadata: {name: p, annotations: {config.kubernetes.io/local-config: 'true'}}\n"
	for name, text := range map[string]string{
		"indented lists": head + meta + `spec:
    tasks:
      -   name: a
          type: init
          target: a
          init: {}
      - {name: g, type: approve, needs: [a], approve: {approved: false}}
      - {name: b, type: init, target: b, init: {}, needs: [g]}
`,
		"tight lists": head + meta + `spec:
 tasks:
 - {name: a, type: init, target: a, init: {}}
 - {name: g, type: approve, needs: [a], approve: {approved: false}}
 - {name: b, type: init, target: b, init: {}, needs: [g]}
`,
		"flow": head + meta + `spec: {tasks: [{name: a, type: init, target: a, init: {}}, {name: g, type: approve, needs: [a], approve: {approved: false}}]}`,
		"status in the middle": head + `status: # of the plan
  phase: Pending # as yet
` + meta + `# about it

spec: {tasks: [{name: a, type: init, target: a, init: {}}, {name: g, type: approve, needs: [a], approve: {approved: false}}]}
# the end
`,
		"no status":    head + "status:\n" + meta + `spec: {tasks: [{name: g, type: approve, approve: {approved: false}}]}` + "\n",
		"JSON":         `{"apiVersion":"stoop.dev/v1alpha1", "kind": "Plan", "metadata":{"name":"p","annotations":{"config.kubernetes.io/local-config":"true"}},"spec":{"tasks":[{"name":"g","type":"approve","approve":{"by": "x", "approved": false}}]}}`,
		"CRLF":         strings.ReplaceAll(head+meta+"# c\nspec:\n  tasks:\n  - {name: g, type: approve, approve: {approved: false}} # t\n", "\n", "\r\n"),
		"more objects": "# one\n---\n" + head + meta + "spec:\n  tasks:\n  - {name: g, type: approve, approve: {approved: false}}\n---\napiVersion: v1\nkind:   ConfigMap\nmetadata: {name:   other}\n# end\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := "plan.yaml"
			if name == "JSON" {
				file = "plan.json"
			}
			ws := filesTree(t, map[string]string{file: text})
			approved := func(ws kptpkg.Tree) kptpkg.Tree {
				was := fileText(t, ws, file)
				opened := strings.NewReplacer("approved: false", "approved: true", `"approved": false`, `"approved": true`).Replace(was)
				require.NotEqual(t, was, opened)
				ws, err := ws.With(kptpkg.NewFile(file, kptpkg.Regular, []byte(opened)))
				require.NoError(t, err)
				return ws
			}
			run := func(ws kptpkg.Tree) kptpkg.Tree {
				ws, _, err := runPlan(t.Context(), ws, orchestration.Options{})
				require.NoError(t, err)
				return ws
			}
			waits := run(ws)
			assert.Contains(t, fileText(t, waits, file), "Suspended")
			whole, parts := run(approved(ws)), run(approved(waits))
			assert.Equal(t, fileText(t, whole, file), fileText(t, parts, file))
			assert.Contains(t, fileText(t, whole, file), "Completed")
			assert.Equal(t, fileText(t, whole, file), fileText(t, run(whole), file))
			for line := range strings.Lines(text) {
				if !strings.Contains(line, "status") && !strings.Contains(line, "Pending") && name != "JSON" {
					assert.Contains(t, fileText(t, whole, file), strings.TrimRight(strings.Replace(line, "approved: false", "approved: true", 1), "\r\n"))
				}
			}
		})
	}
}

// A mock run counts for nothing: no package changes, and what was done before is
// still done.
func TestPlanMockKeepsWhatIsDone(t *testing.T) {
	ws := planTree(t, `
  tasks:
  - {name: a, type: llm_call, llm_call: {prompt: x}}
  - {name: b, type: init, target: b, init: {description: "{{a.text}}"}}
  - name: c
    type: compound
    compound:
      plan:
        outputs: {v: "{{d.text}}"}
        tasks: [{name: d, type: llm_call, llm_call: {prompt: y}}]
`)
	once, _, err := runPlan(t.Context(), ws, orchestration.Options{Agent: agentFunc(asked)})
	require.NoError(t, err)
	mocked, _, err := runPlan(t.Context(), once, orchestration.Options{Mock: true})
	require.NoError(t, err)
	assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, mocked, "plan.yaml"))

	mocked, _, err = runPlan(t.Context(), ws, orchestration.Options{Mock: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"plan.yaml"}, mocked.Paths())
	real, _, err := runPlan(t.Context(), mocked, orchestration.Options{Agent: agentFunc(asked)})
	require.NoError(t, err)
	assert.Equal(t, fileText(t, once, "plan.yaml"), fileText(t, real, "plan.yaml"))
}
