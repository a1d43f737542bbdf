package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/internal/cli"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// kpt leaves the credentials of a repository's URL in the Kptfile. They are used,
// for the version in the lock too, and never shown; and the lock is compared
// without them.
func TestUpgradeWithCredentialsInURL(t *testing.T) {
	const secret = "s3cr3t"
	repo := repositorytest.New(t)
	commit := func(color string) string {
		return repo.Commit("main",
			repositorytest.Entry{Path: "p/Kptfile", Mode: repositorytest.Regular, Content: strings.Replace(webFile, "web", "p", 1)},
			repositorytest.Entry{Path: "p/cm.yaml", Mode: repositorytest.Regular, Content: strings.Replace(webMap, "a: b", "a: "+color, 1)})
	}
	red := commit("red")
	repo.Git("tag", "mv")
	server := requests{password: secret}
	plain := repo.ServeHTTP([]string{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"}, server.wrap)
	url := strings.Replace(plain, "http://", "http://me:"+secret+"@", 1)

	dir := filepath.Join(t.TempDir(), "c2")
	write(t, dir, "cm.yaml", strings.Replace(webMap, "a: b", "a: red", 1))
	write(t, dir, "Kptfile", strings.Replace(webFile, "web", "c2", 1)+"upstream:\n  type: git\n  git:\n    repo: "+url+
		"\n    directory: /p\n    ref: mv\n  updateStrategy: resource-merge\nupstreamLock:\n  type: git\n  git:\n    repo: "+url+
		"\n    directory: /p\n    ref: mv\n    commit: "+red+"\n")
	cmd := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := stoop(t, nil, append(args, "--allow-network=127.0.0.1", "--cache-dir=")...)
		assert.Equal(t, want, code, stderr)
		assert.NotContains(t, stdout+stderr, secret)
		return stdout, stderr
	}
	_, stderr := cmd(0, "upgrade", dir)
	assert.Contains(t, stderr, "is up to date with p of "+plain+" at mv (commit "+red+")")

	green := commit("green")
	repo.Git("tag", "-f", "mv")
	_, stderr = cmd(1, "upgrade", dir)
	assert.Contains(t, stderr, "tag mv of "+plain+" moved since it was locked: upstreamLock has commit "+red+", and the tag is at "+green+" now")

	stdout, stderr := cmd(0, "upgrade", dir+"@"+green, "--dry-run", "--diff")
	assert.Contains(t, stdout, "-    repo: http://REDACTED@127.0.0.1")
	assert.Contains(t, stderr, "from /p of "+plain+" at mv (commit "+red+") to p of "+plain+" at "+green)
	cmd(0, "upgrade", dir+"@"+green)
	kptfile, err := os.ReadFile(filepath.Join(dir, "Kptfile"))
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(kptfile), secret), "the lock has no credentials")

	// the version in the lock is read with the credentials of upstream
	blue := commit("blue")
	_, stderr = cmd(0, "upgrade", dir+"@"+blue)
	assert.Contains(t, stderr, "upgraded by resource-merge")
	stdout, _ = cmd(0, "diff", dir)
	assert.Empty(t, stdout)

	// nor are they noted in a repository that others read
	store := repositorytest.New(t)
	write(t, dir, "../repos.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  git: {repo: "+store.Dir+", createBranch: true}\n")
	repos := "--repos=" + filepath.Join(dir, "../repos.yaml")
	cmd(0, "rpkg", "clone", url+"/p@mv", "web", "--repository=r", repos)
	assert.NotContains(t, store.Git("log", "--all", "--format=%B"), secret)
	stdout, _ = cmd(0, "rpkg", "get", "r.web.v1", "-o", "yaml", repos)
	assert.Contains(t, stdout, "repo: "+plain)
	cmd(0, "rpkg", "propose", "r.web.v1", repos)
}

// What is wrong with a repository is said without its password, whoever asks.
func TestPasswordsInErrors(t *testing.T) {
	const secret = "s3cr3t"
	repositories := map[string]string{
		"space":     "git: {repo: 'http://joe:" + secret + "@ho st/r.git'}",
		"scheme":    "git: {repo: 'svn://joe:" + secret + "@127.0.0.1/r'}",
		"port":      "git: {repo: 'https://joe:" + secret + "@127.0.0.1:http/r'}",
		"no scheme": "git: {repo: 'joe:" + secret + "@127.0.0.1/r'}",
		"registry":  "oci: {registry: 'joe:" + secret + "@127.0.0.1/r'}",
		"image":     "oci: {registry: 'joe:" + secret + "@127.0.0.1 /r'}",
	}
	for name, spec := range repositories {
		t.Run(name, func(t *testing.T) {
			dir := shop(t, "{upstreamRef: {name: r.web.v1}}")
			write(t, dir, "repo.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  "+spec+"\n")
			for _, args := range [][]string{
				{"run", dir}, {"plan", dir}, {"plan", dir, "-o", "json"}, {"rpkg", "get", "--repos=" + dir},
				{"rpkg", "clone", "--repository=r", "http://joe:" + secret + "@ho st/r.git", "web", "--repos=" + dir},
				{"rpkg", "clone", "--repository=r", "--ref=v1", "https://joe:" + secret + "@127.0.0.1/r.git/x@v2", "web", "--repos=" + dir},
				{"rpkg", "clone", "--repository=r", "--ref=v1", "oci://joe:" + secret + "@127.0.0.1/x:v2", "web", "--repos=" + dir},
				{"get", "http://joe:" + secret + "@127.0.0.1:1/r.git/x@v2", "x", "--attempts=1"},
				{"get", "http://joe:" + secret + "@127.0.0.1:1:1/r.git/x@v2", "x"},
				{"get", "oci://joe:" + secret + "@127.0.0.1/x", "x"},
			} {
				code, stdout, stderr := stoop(t, map[string]string{"STOOP_ALLOW_NETWORK": "127.0.0.1"}, append(args, "--cache-dir=")...)
				assert.NotContains(t, stdout+stderr, secret, args)
				if args[0] != "plan" { // which asks no repository
					assert.NotEqual(t, 0, code, args)
				}
			}
		})
	}
}

// Nor are passwords shown of URLs that are none, or that stand where none belongs.
func TestPasswordsOfMalformedURLs(t *testing.T) {
	const secret = "s3cr3t"
	store := repositorytest.New(t)
	repos := filepath.Join(t.TempDir(), "repos.yaml")
	write(t, filepath.Dir(repos), "repos.yaml", "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {name: r}\nspec:\n  git: {repo: "+store.Dir+", createBranch: true}\n")
	cmd := func(args ...string) {
		t.Helper()
		code, stdout, stderr := stoop(t, nil, append(args, "--allow-network=127.0.0.1", "--cache-dir=", "--attempts=1")...)
		assert.NotEqual(t, 0, code, args)
		assert.NotContains(t, stdout+stderr, secret, args)
	}
	for _, url := range []string{
		"https://joe:" + secret + "#x@127.0.0.1:1/r.git",
		"https://joe:" + secret + "?x@127.0.0.1:1/r.git",
		"https://joe:" + secret + "/x@127.0.0.1:1/r.git",
		"https://joe:12/" + secret + "@127.0.0.1/r.git",
		"https://joe:" + secret + "@127.0.0.1:1/r.git",
	} {
		dir := shop(t, "{git: {repo: '"+url+"', directory: /p, ref: v1}}")
		kk := filepath.Join(t.TempDir(), "kk")
		git := "  type: git\n  git: {repo: '" + url + "', directory: /p, ref: v1"
		write(t, kk, "Kptfile", webFile+"upstream:\n"+git+"}\nupstreamLock:\n"+git+", commit: "+strings.Repeat("0f", 20)+"}\n")
		cmd("upgrade", kk)
		cmd("run", dir, "--events=-")
		cmd("get", url, filepath.Join(dir, "q"))
		cmd("get", url+"@v1", filepath.Join(dir, "q"))
		cmd("rpkg", "clone", url, "web", "--repository=r", "--repos="+repos)

		write(t, kk, "Kptfile", webFile+"upstream: '"+url+"'\n") // kpt's own short form isn't read
		cmd("upgrade", kk)
		for _, name := range []string{url, url + strings.Repeat("x", 200), "https://joe:" + secret + strings.Repeat("x", 200) + "@h/r"} {
			dir := shop(t, "{upstreamRef: {name: '"+name+"'}}")
			cmd("run", dir, "--events=-")
			for _, format := range []string{"text", "json", "dot", "mermaid"} {
				_, stdout, stderr := stoop(t, nil, "plan", dir, "-o", format)
				assert.NotContains(t, stdout+stderr, secret)
			}
		}
	}
}

// What a plan waits for is kept in its status, and told by events.
func TestNoPasswordsInStatus(t *testing.T) {
	const secret = "s3cr3t"
	dir := t.TempDir()
	write(t, dir, "plan.yaml", "apiVersion: stoop.dev/v1alpha1\nkind: Plan\nmetadata: {name: p, annotations: {config.kubernetes.io/local-config: 'true'}}\n"+
		"spec:\n  tasks:\n  - {name: g, type: approve, approve: {message: 'see https://joe:"+secret+"@h/x', approved: false}}\n")
	code, stdout, stderr := stoop(t, nil, "run", dir, "--events=-")
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "see https://REDACTED@h/x")
	assert.NotContains(t, stdout+stderr, secret)
	text, err := os.ReadFile(filepath.Join(dir, "plan.yaml"))
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(text), secret), string(text))
	assert.Contains(t, string(text), "see https://REDACTED@h/x")
}

// What a function has to say is part of its list.
func TestNoPasswordsInResults(t *testing.T) {
	const secret = "s3cr3t"
	url := "https://joe:" + secret + "@127.0.0.1/r"
	order := "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {name: a}\nspec:\n  packageName: a\n  repository: r\n  workspaceName: v1\n  lifecycle: Draft\n  tasks:\n  - {type: clone, clone: {upstreamRef: {upstreamRef: {name: '" + url + "'}}}}\n"
	list := "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\nfunctionConfig:\n  " + strings.ReplaceAll(order, "\n", "\n  ") + "\n"
	var out, errs bytes.Buffer
	code := cli.Main(nil, strings.NewReader(list), &out, &errs, func(string) string { return "" })
	stdout, stderr := out.String(), errs.String()
	assert.NotEqual(t, 0, code)
	assert.NotContains(t, stderr, secret)
	_, results, ok := strings.Cut(stdout, "results:")
	assert.True(t, ok, stdout)
	assert.NotContains(t, results, secret)
	assert.Contains(t, results, "https://REDACTED@127.0.0.1/r")
	assert.Contains(t, stdout[:len(stdout)-len(results)], url, "the config is as it was")
}
