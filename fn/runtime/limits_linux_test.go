package runtime_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
)

// The number of processes has a limit without being asked for one; a lower one
// that this process has already stays.
func TestExecProcesses(t *testing.T) {
	var own unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NPROC, &own))
	script := filepath.Join(t.TempDir(), "fn.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/bash\ncat\nulimit -u >&2\n"), 0o755))
	if _, err := os.Stat("/bin/bash"); err != nil {
		t.Skip("no bash on this machine: sh has no ulimit -u")
	}
	for asked, want := range map[int]uint64{0: min(16384, own.Cur), 512: min(512, own.Cur), -1: own.Cur} {
		f, err := (&runtime.Exec{AllowAny: true, Processes: asked}).Find(t.Context(), runtime.Ref{Exec: script})
		require.NoError(t, err)
		c := &fn.Call{}
		require.NoError(t, f.Run(t.Context(), c))
		said := strings.TrimSpace(c.Stderr)
		if want == unix.RLIM_INFINITY {
			assert.Equal(t, "unlimited", said)
			continue
		}
		assert.Equal(t, strconv.FormatUint(want, 10), said)
	}
}
