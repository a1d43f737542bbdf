package runtime_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/runtimetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docker skips the test where no engine runs.
func docker(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker on this machine")
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if out, err := exec.CommandContext(ctx, "docker", "info").CombinedOutput(); err != nil {
		t.Skipf("docker doesn't run here: %s", out)
	}
	if testing.Short() {
		t.Skip("builds images")
	}
}

// repo is this process's own corner of the engine.
var repo = fmt.Sprintf("stoop.test/%d/", os.Getpid())

// images makes an image for each function and some versions of identity, all of
// them one static program built from the suite and called with other words. The
// engine gets them in one go; they are removed afterwards.
func images(t *testing.T, names ...string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "fn")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(`package main

import "github.com/stoop-dev/stoop/fn/runtime/runtimetest"

func main() { runtimetest.Main() }
`), 0o644))
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	program, err := os.ReadFile(bin)
	require.NoError(t, err)
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "fn", Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(root.Bytes())), nil })
	require.NoError(t, err)
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: goruntime.GOARCH})
	require.NoError(t, err)
	base, err = mutate.AppendLayers(base, layer)
	require.NoError(t, err)

	all := map[string]v1.Image{}
	for _, name := range names {
		all[repo+name+":latest"], err = mutate.Config(base, v1.Config{Entrypoint: []string{"/fn", "krm-function", name}})
		require.NoError(t, err)
	}
	for _, version := range []string{"v1.1.0", "v1.2.0", "v2.0.0"} {
		all[repo+"identity:"+version] = all[repo+"identity:latest"]
	}
	file := filepath.Join(dir, "images.tar")
	require.NoError(t, crane.MultiSave(all, file))
	t.Cleanup(func() {
		_ = exec.Command("docker", append([]string{"rmi", "-f"}, slices.Collect(maps.Keys(all))...)...).Run()
	})
	out, err = exec.Command("docker", "load", "-q", "-i", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func inRepo(name string) runtime.Ref { return runtime.Ref{Image: repo + name} }

func TestContainer(t *testing.T) {
	docker(t)
	names := []string{"empty", "garbage", "stderr", "stubborn", "environ", "hog"}
	for name := range runtimetest.Functions {
		names = append(names, name)
	}
	images(t, names...)
	c := &runtime.Container{Allow: []string{repo + "*"}, Pull: runtime.PullNever, Grace: time.Second}

	run := func(c *runtime.Container, ref runtime.Ref) (*runtime.Function, *fn.Call, error) {
		f, err := c.Find(t.Context(), ref)
		require.NoError(t, err)
		call := &fn.Call{Items: []*fn.Object{configMap(t, "a")}}
		return f, call, f.Run(t.Context(), call)
	}

	t.Run("conforms", func(t *testing.T) {
		runtimetest.Conform(t, runtimetest.Subject{Runtime: c, Ref: inRepo, Unknown: runtime.Ref{Exec: "sed"}, Programs: true})
	})
	t.Run("is closed off", func(t *testing.T) {
		t.Setenv("SECRET_TOKEN", "x")
		_, call, err := run(c, inRepo("environ"))
		require.NoError(t, err)
		said := fmt.Sprint(call.Results)
		assert.Contains(t, said, "LOG_TO_STDERR=true")
		assert.NotContains(t, said, "SECRET_TOKEN")
	})
	t.Run("memory is limited", func(t *testing.T) {
		limited := *c
		limited.Memory, limited.CPUs, limited.Processes = 64<<20, 1, 50
		_, _, err := run(&limited, inRepo("identity"))
		require.NoError(t, err)
		_, _, err = run(&limited, inRepo("hog"))
		var exit *runtime.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 137, exit.ExitCode)
	})
	t.Run("none is left behind", func(t *testing.T) {
		hasty := *c
		hasty.Timeout = 1500 * time.Millisecond
		_, _, err := run(&hasty, inRepo("stubborn"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Eventually(t, func() bool {
			out, err := exec.Command("docker", "ps", "-aq", "--filter", "name=stoop-", "--filter", "ancestor="+repo+"stubborn").Output()
			return err == nil && len(out) == 0
		}, 5*time.Second, 100*time.Millisecond)
	})
	t.Run("a missing image is named", func(t *testing.T) {
		_, _, err := run(c, inRepo("no-such-image"))
		var exit *runtime.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 125, exit.ExitCode)
		assert.Contains(t, exit.Hint, repo+"no-such-image:latest can't be had with pull policy Never")
	})
	t.Run("a version constraint takes the highest that is here", func(t *testing.T) {
		for tag, want := range map[string]string{"~1.1": "v1.1.0", "^1.0": "v1.2.0", ">=1.0.0": "v2.0.0", "v1.1.0": "v1.1.0", "latest": "latest"} {
			f, err := c.Find(t.Context(), runtime.Ref{Image: repo + "identity", Tag: tag})
			require.NoError(t, err, tag)
			assert.Equal(t, repo+"identity:"+want, f.Name, tag)
		}
		_, err := c.Find(t.Context(), runtime.Ref{Image: repo + "identity", Tag: "~7"})
		require.ErrorContains(t, err, "no local image")
	})
}

// engine is a stand-in for a container engine, for failures that a real one
// doesn't have on demand.
func engine(t *testing.T, script string) string {
	shOrSkip(t)
	path := filepath.Join(t.TempDir(), "engine")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
	return path
}

func TestContainerPermission(t *testing.T) {
	const catalog = "ghcr.io/kptdev/krm-functions-catalog/"
	here := engine(t, "cat")
	for name, tc := range map[string]struct {
		allow []string
		image string
		want  string // the image that runs; empty: refused
	}{
		"nothing":          {nil, "set-labels:v0.2", ""},
		"short name":       {[]string{"set-labels"}, "set-labels:v0.2", catalog + "set-labels:v0.2"},
		"latest":           {[]string{"set-*"}, "set-labels", catalog + "set-labels:latest"},
		"whole registry":   {[]string{"ghcr.io/kptdev/*"}, "set-labels", catalog + "set-labels:latest"},
		"another":          {[]string{"set-labels"}, "set-labels-too:v1", ""},
		"tag pinned":       {[]string{"a/b:v1"}, "a/b:v2", ""},
		"digest":           {[]string{"a/b"}, "a/b@sha256:0123", "a/b@sha256:0123"},
		"registry port":    {[]string{"localhost:5000/*"}, "localhost:5000/f", "localhost:5000/f:latest"},
		"any":              {[]string{"*/*"}, "x/y:1", "x/y:1"},
		"prefix lookalike": {[]string{"ghcr.io/kptdev/*"}, "ghcr.io/kptdev-evil/x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := (&runtime.Container{Allow: tc.allow, Engine: here}).Find(t.Context(), runtime.Ref{Image: tc.image})
			if tc.want == "" {
				require.ErrorIs(t, err, runtime.ErrNotAllowed)
				require.ErrorContains(t, err, "--allow-container=")
				require.ErrorContains(t, err, tc.image)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.want, f.Name)
		})
	}
	for _, image := range []string{"--privileged", "-v/:/x", "a b", ""} {
		_, err := (&runtime.Container{AllowAny: true, Engine: here}).Find(t.Context(), runtime.Ref{Image: image, Exec: ""})
		require.Error(t, err, image)
	}
}

func TestContainerEngine(t *testing.T) {
	_, err := (&runtime.Container{AllowAny: true, Engine: "no-such-engine"}).Find(t.Context(), runtime.Ref{Image: "x"})
	require.ErrorContains(t, err, "no container engine")

	for script, want := range map[string]string{
		"echo 'Cannot connect to the Docker daemon' >&2; exit 125": "doesn't run",
		"echo 'invalid mount' >&2; exit 125":                       "refused",
		"exit 126":                                                 "can't be executed",
		"exit 127":                                                 "doesn't exist",
	} {
		f, err := (&runtime.Container{AllowAny: true, Engine: engine(t, script)}).Find(t.Context(), runtime.Ref{Image: "x"})
		require.NoError(t, err)
		require.ErrorContains(t, f.Run(t.Context(), &fn.Call{}), want)
	}
}

// What an engine says while it fetches an image isn't the function's.
func TestContainerPulling(t *testing.T) {
	c := &runtime.Container{AllowAny: true, Engine: engine(t, `cat
cat >&2 <<END
Unable to find image 'x/y:1' locally
1: Pulling from x/y
4f4fb700ef54: Pulling fs layer
4f4fb700ef54: Pull complete
Digest: sha256:0123
Status: Downloaded newer image for x/y:1
Status: all is well
END`)}
	f, err := c.Find(t.Context(), runtime.Ref{Image: "x/y:1"})
	require.NoError(t, err)
	call := &fn.Call{}
	require.NoError(t, f.Run(t.Context(), call))
	assert.Equal(t, "Status: all is well", call.Stderr)
}
