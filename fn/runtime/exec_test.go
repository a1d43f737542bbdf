package runtime_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/fn/runtime/runtimetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	runtimetest.Main()
	os.Exit(m.Run())
}

// self is this test binary, which is also the functions under test.
func self(t testing.TB) string {
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func program(t testing.TB) func(string) runtime.Ref {
	path := self(t)
	return func(name string) runtime.Ref { return runtime.Ref{Exec: "'" + path + "' krm-function " + name} }
}

func digest(t testing.TB, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func TestExecConforms(t *testing.T) {
	path := self(t)
	for name, allow := range map[string]string{"by path": path, "by digest": path + "@sha256:" + digest(t, path)} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Conform(t, runtimetest.Subject{
				Runtime:  &runtime.Exec{Allow: []string{allow}},
				Ref:      program(t),
				Unknown:  runtime.Ref{Image: "an-image"},
				Programs: true,
			})
		})
	}
}

func TestExecPermission(t *testing.T) {
	path := self(t)
	ref := program(t)("identity")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	for name, tc := range map[string]struct {
		exec runtime.Exec
		ref  runtime.Ref
		want string // in the error; empty: allowed
	}{
		"nothing allowed":      {runtime.Exec{}, ref, "--allow-exec=" + path},
		"another allowed":      {runtime.Exec{Allow: []string{"/bin/other"}}, ref, "STOOP_ALLOW_EXEC=" + path},
		"this one":             {runtime.Exec{Allow: []string{"/bin/other", path}}, ref, ""},
		"unclean":              {runtime.Exec{Allow: []string{filepath.Dir(path) + "/./" + filepath.Base(path)}}, ref, ""},
		"relative to Dir":      {runtime.Exec{Allow: []string{path}, Dir: filepath.Dir(path)}, runtime.Ref{Exec: "./" + filepath.Base(path) + " krm-function identity"}, ""},
		"a link to it":         {runtime.Exec{Allow: []string{path}}, runtime.Ref{Exec: link}, "--allow-exec=" + link},
		"bad digest":           {runtime.Exec{Allow: []string{path + "@sha256:beef"}}, ref, "64 hexadecimal digits"},
		"open quote":           {runtime.Exec{AllowAny: true}, runtime.Ref{Exec: "sed 'x"}, "quote"},
		"nothing":              {runtime.Exec{AllowAny: true}, runtime.Ref{Exec: "  "}, "executable"},
		"missing, not allowed": {runtime.Exec{}, runtime.Ref{Exec: "/no/such"}, "--allow-exec=/no/such"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := tc.exec.Find(t.Context(), tc.ref)
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				if strings.Contains(tc.want, "ALLOW") || strings.Contains(tc.want, "allow") {
					require.ErrorIs(t, err, runtime.ErrNotAllowed)
					require.ErrorContains(t, err, tc.ref.Exec)
				}
				return
			}
			require.NoError(t, err)
			assert.Empty(t, f.Notes)
			require.NoError(t, f.Run(t.Context(), &fn.Call{}))
		})
	}

	t.Run("any is allowed with a warning", func(t *testing.T) {
		f, err := (&runtime.Exec{AllowAny: true}).Find(t.Context(), ref)
		require.NoError(t, err)
		require.Len(t, f.Notes, 1)
		assert.Equal(t, fn.Warning, f.Notes[0].Severity)
		assert.Contains(t, f.Notes[0].Message, "--allow-exec="+path)
	})
	t.Run("a missing one is not found", func(t *testing.T) {
		plain := filepath.Join(t.TempDir(), "plain")
		require.NoError(t, os.WriteFile(plain, nil, 0o644))
		missing := map[string]string{
			"/no/such":      `function "/no/such": no executable /no/such: install it there, or correct the path`,
			"./no-such a b": `no-such: relative paths begin at the working directory, not at the package`,
			"no-such":       `function "no-such": no executable no-such in PATH: install it, or name it by its path`,
		}
		if goruntime.GOOS != "windows" {
			missing[plain] = plain + " can't be executed: it is a directory, or chmod +x is missing"
		}
		// neither of the others runs executables: they have nothing to say
		all := runtime.FirstOf{builtin.New(builtin.Compatible), &runtime.Exec{AllowAny: true}, &runtime.Container{AllowAny: true}}
		for name, want := range missing {
			_, err := all.Find(t.Context(), runtime.Ref{Exec: name})
			require.ErrorIs(t, err, runtime.ErrNotFound)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "no such function")
		}
	})
	t.Run("changed content is refused at the run", func(t *testing.T) {
		script := filepath.Join(t.TempDir(), "fn.sh")
		require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\ncat\n"), 0o755))
		f, err := (&runtime.Exec{Allow: []string{script + "@sha256:" + digest(t, script)}}).Find(t.Context(), runtime.Ref{Exec: script})
		require.NoError(t, err)
		if goruntime.GOOS != "windows" {
			require.NoError(t, f.Run(t.Context(), &fn.Call{}))
		}
		require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755))
		err = f.Run(t.Context(), &fn.Call{})
		require.ErrorIs(t, err, runtime.ErrNotAllowed)
		require.ErrorContains(t, err, "digest")
	})
}

func run(t *testing.T, e runtime.Exec, name string) (*fn.Call, error) {
	e.AllowAny = true
	f, err := e.Find(t.Context(), program(t)(name))
	require.NoError(t, err)
	c := &fn.Call{}
	return c, f.Run(t.Context(), c)
}

// A limit that a process can't be held to is said.
func TestExecUnbound(t *testing.T) {
	processes := "" // the kernel holds everybody else to it
	if os.Getuid() == 0 {
		processes = "root, as whom stoop runs, isn't held to a number of processes (processes)"
	}
	for limits, want := range map[runtime.Limits]string{
		{}:                                   "",
		{Memory: 1 << 30, CPU: time.Second}:  "",
		{Memory: 1 << 30, Processes: 5}:      processes,
		{CPUs: 2, Memory: 1 << 30}:           "isn't held to a number of processors (cpu)",
		{CPUs: 2, CPU: 1, Processes: 1 << 9}: processes,
	} {
		ref := program(t)("identity")
		ref.Limits = limits
		f, err := (&runtime.Exec{AllowAny: true}).Find(t.Context(), ref)
		require.NoError(t, err)
		assert.Equal(t, want == "" && limits.CPUs == 0, f.Unbound == "")
		assert.Contains(t, f.Unbound, want)
	}
}

func TestExecTimeout(t *testing.T) {
	start := time.Now()
	_, err := run(t, runtime.Exec{Timeout: 300 * time.Millisecond, Grace: 200 * time.Millisecond}, "stubborn")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "took longer than 300ms")
	assert.Less(t, time.Since(start), 3*time.Second)
}

func TestExecKillsWhatItStarted(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("no process groups")
	}
	mark := filepath.Join(t.TempDir(), "mark")
	// the child ignores requests to end and would leave a mark
	script := filepath.Join(t.TempDir(), "fn.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n(trap '' TERM; sleep 1; touch "+mark+") >/dev/null 2>&1 &\nsleep 60\n"), 0o755))
	f, err := (&runtime.Exec{AllowAny: true, Timeout: 100 * time.Millisecond, Grace: 100 * time.Millisecond}).Find(t.Context(), runtime.Ref{Exec: script})
	require.NoError(t, err)
	require.Error(t, f.Run(t.Context(), &fn.Call{}))
	time.Sleep(1300 * time.Millisecond)
	assert.NoFileExists(t, mark)
}

func TestExecOutputLimit(t *testing.T) {
	start := time.Now()
	_, err := run(t, runtime.Exec{MaxOutput: 1 << 20, Grace: time.Second}, "flood")
	require.ErrorContains(t, err, "more than is allowed")
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestExecLimits(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("limits hold on Linux only")
	}
	script := filepath.Join(t.TempDir(), "fn.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\ncat\nulimit -d >&2\nulimit -t >&2\nulimit -v >&2\n"), 0o755))
	limited := &runtime.Exec{AllowAny: true, Memory: 64 << 20, CPU: 1500 * time.Millisecond, Processes: 10_000}
	f, err := limited.Find(t.Context(), runtime.Ref{Exec: script})
	require.NoError(t, err)
	c := &fn.Call{}
	require.NoError(t, f.Run(t.Context(), c))
	assert.Equal(t, "65536\n2\nunlimited\n", c.Stderr)
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "x")
	t.Setenv("LC_TIME", "C")
	c, err := run(t, runtime.Exec{}, "environ 'two words' \"\"")
	require.NoError(t, err)
	var seen []string
	for _, r := range c.Results {
		seen = append(seen, r.Message)
	}
	assert.Contains(t, seen, "STOOP_ACTIVE=1")
	assert.Contains(t, seen, "LC_TIME=C")
	assert.Contains(t, seen, "two words")
	assert.NotContains(t, strings.Join(seen, "\n"), "SECRET_TOKEN")
}

// shOrSkip guards tests that need a shell's tools.
func shOrSkip(t *testing.T) {
	if _, err := exec.LookPath("sed"); err != nil {
		t.Skip("no sed on this machine")
	}
}

func TestExecByNameWithArguments(t *testing.T) {
	shOrSkip(t)
	f, err := (&runtime.Exec{Allow: []string{"sed"}}).Find(t.Context(), runtime.Ref{Exec: "sed -e 's/one/two words/'"})
	require.NoError(t, err)
	c := &fn.Call{Items: []*fn.Object{configMap(t, "one")}}
	require.NoError(t, f.Run(t.Context(), c))
	assert.Equal(t, "two words", c.Items[0].Node.GetName())
}
