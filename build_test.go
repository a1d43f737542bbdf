package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The binary is made for every system that people run kpt on.
func TestCrossCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything three times")
	}
	for _, system := range []string{"linux/arm64", "darwin/arm64", "windows/amd64"} {
		t.Run(system, func(t *testing.T) {
			goos, goarch, _ := strings.Cut(system, "/")
			cmd := exec.Command("go", "build", "./...")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
			msg, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", msg)
		})
	}
}

// The image is small, static, not root's, and answers both docker run and kpt.
func TestImage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image")
	}
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		t.Skipf("no docker engine: %v %s", err, firstLine(out))
	}
	dir := t.TempDir() // holds what the Dockerfile copies
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o777))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bin", "stoop"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	passwd, err := os.ReadFile("Dockerfile.passwd")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile.passwd"), passwd, 0o666))
	info, err := os.Stat(filepath.Join(dir, "bin", "stoop"))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(40<<20), "the image is to stay under 40 MB")
	// with a registry, or kpt puts its default one before it; and other tests may run
	tag := fmt.Sprintf("stoop.test/stoop:test-%d", os.Getpid())
	out, err = exec.Command("docker", "build", "-q", "-t", tag, "-f", "Dockerfile", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", tag).Run() })

	out, err = exec.Command("docker", "inspect", "-f", `{{.Config.User}} {{index .Config.Labels "org.opencontainers.image.title"}}`, tag).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "65532:65532 stoop", strings.TrimSpace(string(out)))

	in := `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: porch.kpt.dev/v1alpha1
  kind: PackageRevision
  metadata:
    name: web
    annotations:
      config.kubernetes.io/local-config: "true"
  spec:
    packageName: web
    tasks:
    - type: init
      init: {description: The front.}
`
	run := exec.Command("docker", "run", "-i", "--rm", "--network", "none", tag)
	run.Stdin = strings.NewReader(in)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	require.NoError(t, run.Run(), "%s", stderr.Bytes())
	require.Contains(t, stdout.String(), "description: The front.")

	kpt, err := exec.LookPath("kpt")
	if err != nil {
		t.Log("kpt is not on PATH: the image was not run by it")
		return
	}
	pkg := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(pkg, "Kptfile"), []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: shop\n"), 0o666))
	out, err = exec.Command(kpt, "fn", "eval", pkg, "--image", tag, "--image-pull-policy", "Never", "--", "type=init", "target=web").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.FileExists(t, filepath.Join(pkg, "web", "Kptfile"))
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
