//go:build unix

package orchestration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chatServer answers after delay with what it was asked. Requests whose prompt is
// "wait" get no answer; each is told to asked.
func chatServer(t *testing.T, delay time.Duration, asked chan<- string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Messages []struct{ Content string } `json:"messages"`
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
			http.Error(w, `{"error":{"message":"what?"}}`, http.StatusBadRequest)
			return
		}
		prompt := req.Messages[len(req.Messages)-1].Content
		if asked != nil {
			asked <- prompt
		}
		if prompt == "wait" {
			<-r.Context().Done()
			return
		}
		time.Sleep(delay)
		text, _ := json.Marshal("said " + prompt)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", text)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v1"
}

// stoop is a process of the command line.
func stoop(t *testing.T, agentURL string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), commandLineVar+"=1", "STOOP_AGENT_URL="+agentURL, "STOOP_AGENT_MODEL=m", "STOOP_ALLOW_EXEC=true", "HOME="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	return cmd, &out
}

// onDisk are the files of a directory, whatever they are.
func onDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all[rel] = string(b)
		return err
	}))
	return all
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for p, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, p), []byte(content), 0o666))
	}
}

// longPlan is a plan of some 40 tasks of most types, in eight packages; tool is
// an executable that changes nothing.
func longPlan(tool string) map[string]string {
	spec := "  parallelism: 4\n  params: {env: prod}\n  tasks:\n"
	for i := range 8 {
		spec += fmt.Sprintf(`  - {name: ask-%[1]d, type: llm_call, llm_call: {prompt: question %[1]d}}
  - {name: make-%[1]d, type: init, target: pkgs/p%[1]d, init: {description: "{{ask-%[1]d.text}}"}}
  - {name: label-%[1]d, type: eval, target: pkgs/p%[1]d, needs: [make-%[1]d], eval: {image: set-labels:v0.2.0}, inputs: {env: "{{plan.params.env}}", who: p%[1]d}}
  - {name: tool-%[1]d, type: tool_call, target: pkgs/p%[1]d, needs: [label-%[1]d], tool_call: {exec: %[2]q}}
`, i, tool)
		if i > 0 {
			spec += fmt.Sprintf("  - {name: more-%[1]d, type: llm_call, needs: [tool-%[1]d], llm_call: {prompt: \"{{ask-%[2]d.text}} and {{ask-%[1]d.text}}\"}}\n", i, i-1)
		}
	}
	spec += `  - name: inside
    type: compound
    needs: [tool-0]
    compound:
      params: {d: "{{ask-0.text}}"}
      plan:
        outputs: {text: "{{last.text}} of {{plan.params.d}}"}
        tasks:
        - {name: first, type: init, target: inside, init: {description: "{{plan.params.d}}"}}
        - {name: last, type: llm_call, needs: [first], llm_call: {prompt: "{{plan.params.d}}?"}}
  finally:
  - {name: sum, type: llm_call, llm_call: {prompt: sum}, inputs: {v: {from: inside.text, default: none}}}
`
	return map[string]string{
		"plan.yaml": planText(spec), "Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: root\ninfo:\n  readinessGates:\n  - conditionType: stoop.dev.plan.p\n",
		"task.yaml": "# a task of its own\n" + taskText("own", "  plan: p\n  type: init\n  target: own\n  init: {description: \"{{inside.text}}\"}\n"),
	}
}

// Killed at any moment, as often as may be, and run again, a plan comes to what
// it would have without, and leaves nothing else behind.
func TestPlanKilledAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some dozens of processes")
	}
	tool := filepath.Join(t.TempDir(), "tool.sh")
	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\nsleep 0.02\nexec cat\n"), 0o777))
	asked := make(chan string, 1000)
	url := chatServer(t, 10*time.Millisecond, asked)

	whole := t.TempDir()
	writeFiles(t, whole, longPlan(tool))
	cmd, out := stoop(t, url, "run", whole)
	require.NoError(t, cmd.Run(), "%s", out)
	want := onDisk(t, whole)
	require.Contains(t, want["plan.yaml"], "  phase: Completed\n  ")
	require.Contains(t, want["Kptfile"], "stoop.dev.plan.p\n    status: \"True\"\n")

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	killed, rounds := 0, 0
	for killed < 24 {
		dir := t.TempDir()
		writeFiles(t, dir, longPlan(tool))
		for rounds++; ; {
			cmd, out := stoop(t, url, "run", dir)
			for len(asked) > 0 {
				<-asked
			}
			require.NoError(t, cmd.Start())
			times, then := random.IntN(7), time.Duration(random.IntN(50))*time.Millisecond
			ended := make(chan struct{})
			go func() { // some while after the agent was asked some times
				for range times {
					select {
					case <-asked:
					case <-ended:
						return
					}
				}
				time.Sleep(then)
				_ = cmd.Process.Kill()
			}()
			err := cmd.Wait()
			close(ended)
			if err == nil {
				break
			}
			require.Equal(t, -1, cmd.ProcessState.ExitCode(), "%s", out)
			killed++
		}
		got := onDisk(t, dir)
		sameFiles(t, want, got, fmt.Sprintf("seed %d, round %d, after %d kills", seed, rounds, killed))
	}
	t.Logf("%d kills in %d rounds", killed, rounds)
}

// An interrupt cancels what runs, and a second one isn't needed: the finally
// tasks run, the state is written, and the exit code says what happened. The next
// run goes on.
func TestPlanInterruptedProcess(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		asked := make(chan string, 100)
		url := chatServer(t, 0, asked)
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"plan.yaml": planText(`
  params: {q: wait}
  tasks:
  - {name: a, type: llm_call, llm_call: {prompt: first}}
  - {name: b, type: llm_call, needs: [a], llm_call: {prompt: "{{plan.params.q}}"}}
  - {name: c, type: init, target: c, init: {description: "{{b.text}}"}}
  finally:
  - {name: f, type: llm_call, llm_call: {prompt: goodbye}}
  - {name: g, type: init, target: g, needs: [f], init: {}}
`)})
		cmd, out := stoop(t, url, "run", dir)
		require.NoError(t, cmd.Start())
		for <-asked != "wait" {
		}
		require.NoError(t, cmd.Process.Signal(sig))
		require.Error(t, cmd.Wait())
		assert.Equal(t, 130, cmd.ProcessState.ExitCode(), "%s", out)
		assert.Contains(t, out.String(), "plan p was cancelled: ")
		assert.Equal(t, "goodbye", <-asked)
		got := onDisk(t, dir)
		assert.Contains(t, got["plan.yaml"], "status:\n  phase: Cancelled\n")
		assert.Contains(t, got["plan.yaml"], "  - name: b\n    phase: Cancelled\n    code: E5212\n")
		assert.Contains(t, got, "g/Kptfile")
		assert.NotContains(t, got, "c/Kptfile")

		writeFiles(t, dir, map[string]string{"plan.yaml": strings.Replace(got["plan.yaml"], "{q: wait}", "{q: now}", 1)})
		cmd, out = stoop(t, url, "run", dir)
		require.NoError(t, cmd.Run(), "%s", out)
		assert.Equal(t, "now", <-asked, "what was answered isn't asked again")
		assert.Equal(t, "goodbye", <-asked, "what ends a plan does when it goes on")
		assert.Empty(t, asked)
		assert.Contains(t, onDisk(t, dir)["c/Kptfile"], "description: said now\n")
	}
}
