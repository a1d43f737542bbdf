//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nothing begins that couldn't be kept, and what has nothing to do doesn't mind.
func TestRunOnAReadOnlyDirectory(t *testing.T) {
	if asNobody(t) {
		return
	}
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yes\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	defer srv.Close()
	dir := t.TempDir()
	stoop := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(append(args, dir), strings.NewReader(""), &out, &out, func(name string) string {
			return map[string]string{"STOOP_AGENT_URL": srv.URL, "STOOP_AGENT_MODEL": "m"}[name]
		})
		return code, out.String()
	}
	plan := filepath.Join(dir, "plan.yaml")
	write := func(prompt string) {
		text := "apiVersion: stoop.dev/v1alpha1\nkind: Plan\nmetadata: {name: p, annotations: {config.kubernetes.io/local-config: \"true\"}}\nspec:\n  tasks:\n"
		for i := range 6 {
			text += fmt.Sprintf("  - {name: t%d, type: llm_call, llm_call: {prompt: %s}}\n", i, prompt)
		}
		require.NoError(t, os.WriteFile(plan, []byte(text), 0o666))
	}
	write("first")
	require.NoError(t, os.Chmod(dir, 0o555))
	defer func() { _ = os.Chmod(dir, 0o755) }() // else nothing can be removed
	before, err := os.Stat(dir)
	require.NoError(t, err)
	code, out := stoop("run")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "error: .stoop: nothing was begun, for nothing of it could be kept: write directory "+dir+": make the staging directory: permission denied\n", out)
	assert.Zero(t, asked.Load())
	after, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime())
	code, out = stoop("run", "--dry-run")
	assert.Zero(t, code, out)

	require.NoError(t, os.Chmod(dir, 0o755))
	code, out = stoop("run")
	require.Zero(t, code, out)
	require.EqualValues(t, 6, asked.Load())
	require.NoError(t, os.Chmod(dir, 0o555))
	code, out = stoop("run")
	assert.Zero(t, code, out)
	assert.EqualValues(t, 6, asked.Load())
}

// asNobody runs the test again as a user without special rights when it runs as
// root, and says whether it did.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	dir, err := os.MkdirTemp("/tmp", "cli")
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	b, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	bin := filepath.Join(dir, "cli.test")
	require.NoError(t, os.WriteFile(bin, b, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	cmd := exec.Command(bin, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return true
}
