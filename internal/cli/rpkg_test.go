package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/internal/cli"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// registered is the environment of one who has an empty repository r registered.
func registered(t *testing.T) map[string]string {
	t.Helper()
	repo := repositorytest.New(t)
	dir := t.TempDir()
	write(t, dir, "repos.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  git: {repo: "+repo.Dir+", createBranch: true}\n")
	return map[string]string{"STOOP_REPOS": filepath.Join(dir, "repos.yaml")}
}

// get --watch prints what there is, then what changes, and ends when nobody
// reads it any more.
func TestRpkgWatch(t *testing.T) {
	env := registered(t)
	do := func(args ...string) {
		t.Helper()
		code, _, errs := stoop(t, env, append([]string{"rpkg"}, args...)...)
		require.Equal(t, 0, code, errs)
	}
	watch := func(args ...string) (lines *bufio.Scanner, leave func(), code chan int) {
		r, w := io.Pipe()
		code = make(chan int)
		go func() {
			code <- cli.Main(append([]string{"rpkg", "get", "--watch", "--watch-interval=10ms"}, args...), strings.NewReader(""), w, io.Discard, func(name string) string { return env[name] })
		}()
		return bufio.NewScanner(r), func() { assert.NoError(t, r.Close()) }, code
	}
	do("init", "web", "--repository=r")

	lines, leave, code := watch("--lifecycle=Draft")
	for _, want := range []string{
		"EVENT      NAME       PACKAGE   WORKSPACENAME   REVISION   LATEST   LIFECYCLE   REPOSITORY",
		"ADDED      r.web.v1   web       v1              0          false    Draft       r",
	} {
		require.True(t, lines.Scan())
		assert.Equal(t, want, lines.Text())
	}
	do("init", "db", "--repository=r")
	require.True(t, lines.Scan())
	assert.Equal(t, "ADDED      r.db.v1    db        v1              0          false    Draft       r", lines.Text())
	do("propose", "r.web.v1")
	require.True(t, lines.Scan())
	assert.Equal(t, "DELETED    r.web.v1   web       v1              0          false    Proposed    r", lines.Text())
	leave()
	do("reject", "r.web.v1")
	assert.Equal(t, 1, <-code)

	// where there is nothing yet the column is as wide as any event
	lines, leave, code = watch("--package=late")
	do("init", "late", "--repository=r")
	require.True(t, lines.Scan())
	assert.Regexp(t, "^EVENT      NAME", lines.Text())
	leave()
	do("propose", "r.late.v1")
	assert.Equal(t, 1, <-code)

	events := filepath.Join(t.TempDir(), "events.jsonl")
	lines, leave, code = watch("r.db.v1", "-o", "json", "--events", events, "--events-filter", "type=deleted")
	require.True(t, lines.Scan())
	var event struct {
		Type   string
		Object struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct{ Tasks []struct{ Type string } }
		}
	}
	require.NoError(t, json.Unmarshal(lines.Bytes(), &event))
	assert.Equal(t, "ADDED", event.Type)
	assert.Equal(t, "PackageRevision", event.Object.Kind)
	assert.Equal(t, "r.db.v1", event.Object.Metadata.Name)
	assert.Equal(t, "init", event.Object.Spec.Tasks[0].Type)
	do("del", "r.db.v1")
	require.True(t, lines.Scan())
	require.NoError(t, json.Unmarshal(lines.Bytes(), &event))
	assert.Equal(t, "DELETED", event.Type)
	leave()
	do("init", "db", "--repository=r")
	assert.Equal(t, 1, <-code)
	written, err := os.ReadFile(events)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(written, []byte("\n")), string(written))
	var cloud struct {
		Type, Subject string
		Data          struct{ Repository, Package, Workspace, Lifecycle string }
	}
	require.NoError(t, json.Unmarshal(written, &cloud))
	assert.Equal(t, "dev.stoop.packagerevision.deleted.v1 r.db.v1", cloud.Type+" "+cloud.Subject)
	assert.Equal(t, "r db v1 Draft", strings.Join([]string{cloud.Data.Repository, cloud.Data.Package, cloud.Data.Workspace, cloud.Data.Lifecycle}, " "))
}

// Who makes a change is --user, else whom git names.
func TestRpkgUser(t *testing.T) {
	env := registered(t)
	t.Setenv("GIT_AUTHOR_NAME", "Ann")
	t.Setenv("GIT_AUTHOR_EMAIL", "ann@example.com")
	for _, tt := range []struct {
		name, user string
		code       int
		want       string
	}{
		{"git", "", 0, "ann@example.com"},
		{"both", "Bob B <bob@example.com>", 0, "bob@example.com"},
		{"name", "bob", 0, "bob"},
		{"bad", "Bob <bob", 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, args := range [][]string{{"init", tt.name, "--repository=r"}, {"propose", "r." + tt.name + ".v1"}, {"approve", "r." + tt.name + ".v1"}} {
				code, _, errs := stoop(t, env, append([]string{"rpkg", "--user", tt.user}, args...)...)
				require.Equal(t, tt.code, code, errs)
				if code != 0 {
					assert.Contains(t, errs, "--user is")
					return
				}
			}
			_, out, _ := stoop(t, env, "rpkg", "get", "r."+tt.name+".v1", "-o", "yaml")
			assert.Regexp(t, "publishedBy: .*"+tt.want, out)
		})
	}
}

// What is pulled as a list goes back as one, and files that are no resources stay.
func TestRpkgList(t *testing.T) {
	env := registered(t)
	do := func(in string, args ...string) (code int, stdout, stderr string) {
		t.Helper()
		var out, errs strings.Builder
		code = cli.Main(append([]string{"rpkg"}, args...), strings.NewReader(in), &out, &errs, func(name string) string { return env[name] })
		return code, out.String(), errs.String()
	}
	code, _, errs := do("", "init", "web", "--repository=r")
	require.Equal(t, 0, code, errs)
	code, list, errs := do("", "pull", "r.web.v1")
	require.Equal(t, 0, code, errs)
	assert.Contains(t, errs, "README.md")
	assert.Contains(t, list, "internal.kpt.dev/resource-version")
	code, _, errs = do(list, "push", "r.web.v1")
	require.Equal(t, 0, code, errs)
	_, again, _ := do("", "pull", "r.web.v1")
	assert.Equal(t, list, again, "what is the same is no commit")
	changed := strings.Replace(list, "name: example", "name: web # ours", 1)
	require.NotEqual(t, list, changed)
	code, out, errs := do(changed, "push", "r.web.v1")
	require.Equal(t, 0, code, errs)
	assert.Equal(t, "r.web.v1 pushed\n", out)
	dir := filepath.Join(t.TempDir(), "web")
	code, _, errs = do("", "pull", "r.web.v1", dir)
	require.Equal(t, 0, code, errs)
	assert.FileExists(t, filepath.Join(dir, "README.md"))
	context, err := os.ReadFile(filepath.Join(dir, "package-context.yaml"))
	require.NoError(t, err)
	assert.Contains(t, string(context), "name: web # ours")
	kptfile, err := os.ReadFile(filepath.Join(dir, "Kptfile"))
	require.NoError(t, err)
	assert.NotContains(t, string(kptfile), "resource-version")
	// the list is older than what is there now
	code, _, errs = do(list, "push", "r.web.v1")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "read it again")
}

// Naming an image in a command is leave to fetch it.
func TestRpkgCloneImage(t *testing.T) {
	env := registered(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image := strings.TrimPrefix(server.URL, "http://") + "/team/web:v1"
	client := &repository.OCI{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	lock, err := client.Push(t.Context(), repository.OCIRef{Image: image}, webPackage(t))
	require.NoError(t, err)
	code, out, errs := stoop(t, env, "rpkg", "clone", "oci://"+image, "shop", "--repository=r", "--cache-dir=")
	require.Equal(t, 0, code, errs)
	assert.Equal(t, "r.shop.v1 created\n", out)
	_, out, _ = stoop(t, env, "rpkg", "get", "--show-kptfile", "r.shop.v1")
	assert.Contains(t, out, lock.Image)
}

// A repository on the network, with a secret: naming it in --repos is leave to
// use it, and the secret is where the operator says.
func TestRpkgNetwork(t *testing.T) {
	repo := repositorytest.New(t)
	seen := &requests{password: password}
	url := repo.ServeHTTP([]string{"http.receivepack=true"}, seen.wrap)
	dir := t.TempDir()
	write(t, dir, "repos.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  git: {repo: '"+url+"', createBranch: true, directory: pkgs, secretRef: {name: login}}\n")
	write(t, dir, "secrets/login/username", "me")
	write(t, dir, "secrets/login/password", password)
	env := map[string]string{"STOOP_REPOS": filepath.Join(dir, "repos.yaml"), "STOOP_CACHE_DIR": filepath.Join(dir, "cache")}

	code, _, errs := stoop(t, env, "rpkg", "get")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "--credentials-dir")
	env["STOOP_CREDENTIALS_DIR"] = filepath.Join(dir, "secrets")
	for _, args := range [][]string{{"init", "web", "--repository=r"}, {"propose", "r.web.v1"}, {"approve", "r.web.v1"}} {
		code, out, errs := stoop(t, env, append([]string{"rpkg"}, args...)...)
		require.Equal(t, 0, code, errs)
		assert.NotContains(t, out+errs, password)
	}
	assert.Equal(t, "pkgs/web/v1", repo.Git("tag"))
	_, out, errs := stoop(t, env, "rpkg", "get", "-o", "yaml")
	assert.Contains(t, out, "directory: pkgs/web", "a lock has the whole path")
	assert.NotContains(t, out+errs, password)

	// credentials in a URL never get into what is written
	write(t, dir, "both.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  git: {repo: '"+
		strings.Replace(url, "://", "://"+neturl.UserPassword("me", password).String()+"@", 1)+"', directory: pkgs}\n")
	both := map[string]string{"STOOP_REPOS": filepath.Join(dir, "both.yaml")}
	code, _, errs = stoop(t, both, "rpkg", "clone", "r.web.v1", "copy", "--repository=r", "--cache-dir=")
	require.Equal(t, 0, code, errs)
	_, out, errs = stoop(t, both, "rpkg", "get", "r.copy.v1", "-o", "yaml", "--cache-dir=")
	assert.Contains(t, out, "repo: "+url)
	assert.NotContains(t, out+errs, "p4ss")

	write(t, dir, "secrets/login/password", "wrong")
	code, _, errs = stoop(t, env, "rpkg", "propose-delete", "r.web.v1")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "401")
	assert.NotContains(t, errs, "wrong")
}

// A registry is a repository like any other: packages are made there, cloned from
// there and upgraded.
func TestRpkgRegistry(t *testing.T) {
	env := registered(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	dir := t.TempDir()
	host := strings.TrimPrefix(server.URL, "http://")
	write(t, dir, "oci.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: up}\nspec:\n  oci: {registry: "+host+"/team}\n")
	env["STOOP_REPOS"] += "," + filepath.Join(dir, "oci.yaml")
	env["STOOP_CACHE_DIR"] = filepath.Join(dir, "cache")
	do := func(want string, args ...string) {
		t.Helper()
		code, out, errs := stoop(t, env, append([]string{"rpkg"}, args...)...)
		require.Equal(t, 0, code, errs)
		assert.Contains(t, out, want)
	}
	do("up.web.v1 created", "init", "web", "--repository=up")
	do("up.web.v1 proposed", "propose", "up.web.v1")
	do("up.web.v1 approved", "approve", "up.web.v1")
	do("r.shop.v1 created", "clone", "up.web.v1", "shop", "--repository=r")
	do(host+"/team/web@sha256:", "get", "--show-kptfile", "r.shop.v1")
	do("", "propose", "r.shop.v1")
	do("", "approve", "r.shop.v1")
	do("up.web.v2 created", "copy", "up.web.v1", "--workspace=v2")
	work := filepath.Join(dir, "work")
	do("", "pull", "up.web.v2", work)
	write(t, work, "cm.yaml", webMap)
	do("pushed", "push", "up.web.v2", work)
	do("", "propose", "up.web.v2")
	do("", "approve", "up.web.v2")
	do("   v2\n", "upgrade", "--discover=upstream")
	do("r.shop.v1 upgraded to r.shop.v2", "upgrade", "r.shop.v1", "--workspace=v2")
	do("a: b # kept", "pull", "r.shop.v2")
	do(host+"/team/web:v2", "get", "--show-kptfile", "r.shop.v2")
	do("", "propose-delete", "up.web.v1")
	code, _, errs := stoop(t, env, "rpkg", "del", "up.web.v1")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "is the upstream of r.shop.v1")
}
