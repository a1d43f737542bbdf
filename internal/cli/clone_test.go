package cli_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/internal/cli"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

const (
	password = "p4ss-wörd/+ %x"
	webFile  = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web\n"
	webMap   = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  a: b # kept\n"
	script   = "#!/bin/sh\n"
)

var logo = "\x89PNG" + strings.Repeat("\x00\xff", 2046)

// stoop runs a command line as the host does, with nothing in its environment
// but the given variables.
func stoop(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &out, &errs, func(name string) string { return env[name] })
	return code, out.String(), errs.String()
}

// requests are those that a server got, as METHOD PATH. It fails as many as it
// is told to, and those after it without the password it wants.
type requests struct {
	mu       sync.Mutex
	seen     []string
	failures int
	password string // "": none
}

func (r *requests) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, req.Method+" "+req.URL.Path)
		r.failures--
		fail := r.failures >= 0
		r.mu.Unlock()
		user, given, _ := req.BasicAuth()
		switch {
		case fail:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		case r.password != "" && (user != "me" || given != r.password):
			w.Header().Set("WWW-Authenticate", `Basic realm="you sent `+req.Header.Get("Authorization")+`"`)
			http.Error(w, "you sent "+given+", "+req.Header.Get("Authorization"), http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, req)
		}
	})
}

// take returns what came since the last time.
func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// write makes a file in a directory, and the directory.
func write(t *testing.T, dir, name, content string) {
	t.Helper()
	name = filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}

// shop is a new declaring package with an order to clone web from upstreamRef.
func shop(t *testing.T, upstreamRef string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, "Kptfile", "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: shop\n")
	write(t, dir, "web.yaml", `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: web
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: web
  tasks:
  - type: clone
    clone:
      upstreamRef:
        `+upstreamRef+"\n")
	return dir
}

// read is what a directory holds.
func read(t *testing.T, dir string) (kptpkg.Tree, *kptpkg.Kptfile) {
	t.Helper()
	tree, err := kptdir.Read(t.Context(), dir, kptdir.Limits{})
	require.NoError(t, err)
	k, err := tree.Kptfile("web")
	require.NoError(t, err)
	return tree, k
}

func text(t *testing.T, tree kptpkg.Tree, p string) string {
	t.Helper()
	require.NotNil(t, tree.File(p), p)
	b, err := tree.File(p).Bytes()
	require.NoError(t, err)
	return string(b)
}

func webPackage(t *testing.T) kptpkg.Tree {
	t.Helper()
	tree, err := kptpkg.NewTree(
		kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(webFile)),
		kptpkg.NewFile("cm.yaml", kptpkg.Regular, []byte(webMap)),
		kptpkg.NewFile("run.sh", kptpkg.Executable, []byte(script)),
		kptpkg.NewFile("logo.png", kptpkg.Regular, []byte(logo)),
	)
	require.NoError(t, err)
	return tree
}

// A package comes out of a registry with its lock, all bytes and modes; a second
// run needs neither the registry nor leave to ask it.
func TestCloneFromRegistry(t *testing.T) {
	var seen requests
	server := httptest.NewServer(seen.wrap(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/team/web"
	client := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	lock, err := client.Push(t.Context(), repository.OCIRef{Image: image + ":v1"}, webPackage(t))
	require.NoError(t, err)
	seen.take()

	dir := shop(t, "{type: oci, oci: {image: '"+image+":v1'}}")
	cache := filepath.Join(t.TempDir(), "cache")
	env := map[string]string{"STOOP_ALLOW_NETWORK": "127.0.0.1", "STOOP_CACHE_DIR": cache}
	code, _, stderr := stoop(t, nil, "run", dir, "--cache-dir=")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "network access to 127.0.0.1 is not allowed")
	for flag, want := range map[string]string{ // more than the declaring directory has
		"--max-files=2":        "has more than 2 files and directories: --max-files",
		"--max-file-bytes=3k":  "logo.png: too big: 4096 bytes, more than 3072 bytes: --max-file-bytes",
		"--max-total-bytes=4k": "its files have more than 4096 bytes: --max-total-bytes",
	} {
		code, _, stderr = stoop(t, env, "run", dir, flag, "--cache-dir=")
		assert.Equal(t, 1, code, flag)
		assert.Contains(t, stderr, want)
	}
	seen.take()
	seen.failures = 99
	start := time.Now()
	code, _, stderr = stoop(t, env, "run", dir, "--attempts=8", "--retry-delay=1ms")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "503")
	assert.GreaterOrEqual(t, len(seen.take()), 8)
	assert.Less(t, time.Since(start), 3*time.Second, "by default the pauses take 3.2 s or more")
	seen.failures = 0
	assert.NoDirExists(t, filepath.Join(dir, "web"))

	code, _, stderr = stoop(t, env, "run", dir)
	require.Equal(t, 0, code, stderr)
	tree, k := read(t, dir)
	assert.Equal(t, []string{"Kptfile", "web.yaml", "web/Kptfile", "web/cm.yaml", "web/logo.png", "web/run.sh"}, tree.Paths())
	require.NotNil(t, k.Upstream)
	assert.Equal(t, "oci", k.Upstream.Type)
	assert.Equal(t, image+":v1", k.Upstream.OCI.Image)
	assert.Equal(t, "oci", k.UpstreamLock.Type)
	assert.Equal(t, lock.Image, k.UpstreamLock.OCI.Image)
	assert.Regexp(t, `/team/web@sha256:[0-9a-f]{64}$`, k.UpstreamLock.OCI.Image)
	assert.Contains(t, text(t, tree, "web/cm.yaml"), "  a: b # kept\n")
	assert.Equal(t, script, text(t, tree, "web/run.sh"))
	assert.Equal(t, kptpkg.Executable, tree.File("web/run.sh").Mode())
	assert.Equal(t, logo, text(t, tree, "web/logo.png"))
	assert.Contains(t, text(t, tree, "web.yaml"), "stoop.dev/applied")
	assert.NotContains(t, text(t, tree, "web.yaml"), "upstreamLock", "Porch's status has no place for an image")

	// by digest everything is in the cache
	seen.take()
	pinned := shop(t, "{oci: {image: '"+lock.Image+"'}}")
	code, _, stderr = stoop(t, env, "run", pinned)
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, seen.take(), "nothing is asked for twice")

	server.Close()
	code, stdout, stderr := stoop(t, nil, "run", dir, "--check", "--diff", "--cache-dir=")
	assert.Equal(t, 0, code, stderr)
	assert.Empty(t, stdout)
	assert.Empty(t, seen.take())

	// a lost record is written again from the lock, and nothing is asked for it
	for _, dir := range []string{dir, pinned} {
		recorded, _ := read(t, dir)
		forget(t, dir)
		write(t, dir, "web/cm.yaml", webMap+"  mine: too\n")
		code, _, stderr = stoop(t, nil, "run", dir, "--cache-dir=")
		assert.Equal(t, 0, code, stderr)
		assert.Contains(t, stderr, "made before; the record of it is written again")
		tree, _ = read(t, dir)
		assert.Equal(t, text(t, recorded, "web.yaml"), text(t, tree, "web.yaml"))
		assert.Equal(t, webMap+"  mine: too\n", text(t, tree, "web/cm.yaml"))
	}

	// what is locked to something else is not what the task makes
	for of, to := range map[string]string{":v1": ":v2", "/team/web:v1": "/team/wep:v1", "'": "@sha256:" + strings.Repeat("0", 64) + "'"} {
		forget(t, dir)
		tree, _ := read(t, dir)
		order := text(t, tree, "web.yaml")
		i := strings.LastIndex(order, of)
		write(t, dir, "web.yaml", order[:i]+to+order[i+len(of):])
		code, _, stderr = stoop(t, nil, "run", dir, "--cache-dir=")
		assert.Equal(t, 1, code, to)
		assert.Contains(t, stderr, "target \"web\"")
		write(t, dir, "web.yaml", order)
	}
}

// forget takes the record out of the order of shop.
func forget(t *testing.T, dir string) {
	t.Helper()
	tree, _ := read(t, dir)
	var kept strings.Builder
	for line := range strings.Lines(text(t, tree, "web.yaml")) {
		if !strings.Contains(line, "stoop.dev/") {
			kept.WriteString(line)
		}
	}
	write(t, dir, "web.yaml", kept.String())
}

// A package revision is found by its name in a declared registry, cloned, and
// upgraded to the next one.
func TestCloneFromDeclaredRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://") + "/packages"
	client := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	locks := map[string]string{}
	for version, value := range map[string]string{"v1": "b", "v1.2": "c"} {
		pkg, err := webPackage(t).With(kptpkg.NewFile("cm.yaml", kptpkg.Regular, []byte(strings.Replace(webMap, "a: b", "a: "+value, 1))))
		require.NoError(t, err)
		lock, err := client.Push(t.Context(), repository.OCIRef{Image: host + "/team/web:" + version}, pkg)
		require.NoError(t, err)
		locks[version] = lock.Image
	}
	dir := shop(t, "{upstreamRef: {name: shelf.team.web.v1}}")
	write(t, dir, "repository.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata:\n  name: shelf\nspec:\n  type: oci\n  oci:\n    registry: "+host+"\n")
	env := map[string]string{"STOOP_ALLOW_NETWORK": "127.0.0.1", "STOOP_CACHE_DIR": t.TempDir()}
	code, _, stderr := stoop(t, nil, "run", dir, "--cache-dir=")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "network access to 127.0.0.1 is not allowed")
	code, _, stderr = stoop(t, env, "run", dir)
	require.Equal(t, 0, code, stderr)
	tree, k := read(t, dir)
	assert.Equal(t, host+"/team/web:v1", k.Upstream.OCI.Image)
	assert.Equal(t, locks["v1"], k.UpstreamLock.OCI.Image)
	assert.Contains(t, text(t, tree, "web/cm.yaml"), "a: b")

	write(t, dir, "web-2.yaml", `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: web-2
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: web
  tasks:
  - type: upgrade
    upgrade:
      oldUpstreamRef: {name: shelf.team.web.v1}
      newUpstreamRef: {name: shelf.team.web.v1.2}
      localPackageRevisionRef: {name: web}
`)
	code, _, stderr = stoop(t, env, "run", dir)
	require.Equal(t, 0, code, stderr)
	tree, k = read(t, dir)
	assert.Equal(t, host+"/team/web:v1.2", k.Upstream.OCI.Image)
	assert.Equal(t, locks["v1.2"], k.UpstreamLock.OCI.Image)
	assert.Contains(t, text(t, tree, "web/cm.yaml"), "a: c")

	unknown := shop(t, "{upstreamRef: {name: shelf.team.web.v3}}")
	write(t, unknown, "repository.yaml", text(t, tree, "repository.yaml"))
	code, _, stderr = stoop(t, env, "run", unknown)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, host+"/team/web:v3: image not found (404): there is v1")
}

// A secret that a task names is used and seen nowhere.
func TestCloneWithSecret(t *testing.T) {
	seen := requests{password: password}
	repo := repositorytest.New(t)
	commit := repo.Commit("main",
		repositorytest.Entry{Path: "web/Kptfile", Content: webFile},
		repositorytest.Entry{Path: "web/cm.yaml", Content: webMap},
	)
	repo.Git("update-ref", "refs/tags/v1", commit)
	server := repo.ServeHTTP([]string{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"}, seen.wrap)
	ref := func(version string) string {
		return fmt.Sprintf("git: {repo: %q, ref: %q, directory: web, secretRef: {name: upstream}}", server, version)
	}
	secrets, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	write(t, secrets, "upstream/username", "me")
	args := func(dir string, more ...string) []string {
		return append([]string{"run", dir, "--allow-network=127.0.0.1", "--credentials-dir=" + secrets, "--cache-dir=" + cache, "--retry-delay=1ms"}, more...)
	}
	const wrong = "wr0ng-0ne"

	// a wrong password is tried once, and the server's answer isn't repeated
	dir := shop(t, ref("v1"))
	write(t, secrets, "upstream/password", wrong)
	code, stdout, stderr := stoop(t, nil, args(dir)...)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "web.yaml: PackageRevision web: spec.tasks[0].clone.upstreamRef.git")
	assert.Contains(t, stderr, "the server refused the credentials (401)")
	assert.Equal(t, []string{"GET /repo.git/info/refs"}, seen.take(), "a 401 is not retried")
	hidden(t, wrong, stdout, stderr, dir, cache)
	assert.NoDirExists(t, filepath.Join(dir, "web"))

	// without leave for the secrets it is not read
	code, _, stderr = stoop(t, nil, "run", dir, "--allow-network=127.0.0.1", "--cache-dir=")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "--credentials-dir")
	assert.Empty(t, seen.take())

	write(t, secrets, "upstream/password", password)
	start := time.Now()
	for _, attempts := range []int{1, 2, 8} { // a server that is down is tried that often
		seen.failures = 99
		code, stdout, stderr = stoop(t, nil, args(dir, fmt.Sprint("--attempts=", attempts))...)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "503")
		assert.Len(t, seen.take(), attempts)
		hidden(t, password, stdout, stderr, dir, cache)
	}
	assert.Less(t, time.Since(start), 3*time.Second, "by default the pauses take 3.2 s or more")

	seen.failures = 2 // and one that comes back is read
	code, stdout, stderr = stoop(t, nil, args(dir)...)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, strings.Join(seen.take(), "\n"), "POST /repo.git/git-upload-pack")
	hidden(t, password, stdout, stderr, dir, cache)
	tree, k := read(t, dir)
	assert.Contains(t, text(t, tree, "web/cm.yaml"), "  a: b # kept\n")
	assert.Equal(t, server, k.UpstreamLock.Git.Repo)
	assert.Equal(t, commit, k.UpstreamLock.Git.Commit)
	assert.Contains(t, text(t, tree, "web.yaml"), "commit: "+commit)

	// the record stands: no request, and no secret needed
	code, stdout, _ = stoop(t, nil, "run", dir, "--check", "--cache-dir=")
	assert.Equal(t, 0, code)
	assert.Empty(t, stdout)
	assert.Empty(t, seen.take())

	// elsewhere it comes from the cache: of a tag only where it points is asked,
	// of a commit nothing
	for version, want := range map[string][]string{"v1": {"POST /repo.git/git-upload-pack"}, commit: nil} {
		other := shop(t, ref(version))
		code, stdout, stderr = stoop(t, nil, args(other)...)
		require.Equal(t, 0, code, stderr)
		assert.Equal(t, want, seen.take(), version)
		hidden(t, password, stdout, stderr, other, cache)
		same, _ := read(t, other)
		assert.Equal(t, text(t, tree, "web/cm.yaml"), text(t, same, "web/cm.yaml"))
	}
}

// hidden says where a secret is seen: in what was printed, or in the names and
// the content of what is below the directories.
func hidden(t *testing.T, secret, stdout, stderr string, dirs ...string) {
	t.Helper()
	forms := []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), fmt.Sprintf("%q", secret),
		base64.StdEncoding.EncodeToString([]byte("me:" + secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
	}
	look := func(where, text string) {
		for _, form := range forms {
			assert.NotContains(t, text, form, "a secret in "+where)
		}
	}
	look("stdout", stdout)
	look("stderr", stderr)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil // no cache yet
			case err != nil || d.IsDir():
				return err
			}
			content, err := os.ReadFile(name)
			look(name, name)
			look(name, string(content))
			return err
		})
		require.NoError(t, err)
	}
}
