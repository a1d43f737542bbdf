package repository_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
)

func TestAccessNetwork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, repo string
		ok            bool
	}{
		{"*", "https://example.com/r", true},
		{"github.com", "https://github.com/o/r", true},
		{"GitHub.com.", "https://GITHUB.com./o/r", true},
		{"github.com", "git@github.com:o/r", true},
		{"github.com", "ssh://git@github.com:2222/o/r", true},
		{"github.com", "https://evilgithub.com/o/r", false},
		{"github.com", "https://github.com.evil.org/o/r", false},
		{"github.com", "https://github.com@evil.org/o/r", false},
		{"*.example.com", "https://git.example.com/r", true},
		{"*.example.com", "https://example.com/r", false},
		{"*example.com", "https://badexample.com/r", false},
		{"localhost:8080", "http://localhost:8080/r", true},
		{"localhost:8080", "http://localhost:8081/r", false},
		{"localhost:443", "https://localhost/r", true},
		{"::1", "git://[::1]/r", true},
		{"[::1]:80", "http://[::1]/r", true},
		{"", "https://example.com/r", false},
	} {
		err := repository.Access{Network: []string{tc.pattern}}.Check(tc.repo)
		assert.Equal(t, tc.ok, err == nil, "%s for %s: %v", tc.pattern, tc.repo, err)
	}

	err := repository.Access{FileRepos: []string{"/"}}.Check("https://me:secret@github.com/o/r")
	require.Error(t, err)
	assert.Equal(t, "repository https://github.com/o/r: network access to github.com is not allowed; "+
		"allow it with --allow-network=github.com or STOOP_ALLOW_NETWORK=github.com", err.Error())
}

func TestAccessFileRepos(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, dir := range []string{"allowed/repo", "allowed2/repo", "secret/repo"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(t, os.Symlink(filepath.Join(root, "secret"), filepath.Join(root, "allowed", "way-out")))
	require.NoError(t, os.Symlink(filepath.Join(root, "allowed"), filepath.Join(root, "way-in")))
	t.Chdir(filepath.Join(root, "allowed"))

	for repo, ok := range map[string]bool{
		"./repo":                                    true,
		".":                                         true,
		"./missing":                                 true,
		root + "/allowed/repo":                      true,
		"file://" + root + "/allowed/repo":          true,
		root + "/way-in/repo":                       true,
		root + "/allowed/../secret/repo":            false,
		root + "/allowed/way-out/repo":              false,
		root + "/allowed/way-out/missing":           false,
		root + "/allowed2/repo":                     false,
		"../secret/repo":                            false,
		"file://" + root + "/allowed/%2e%2e/secret": false,
		"/": false,
	} {
		for _, allowed := range []string{root + "/allowed", root + "/way-in", "."} {
			err := repository.Access{FileRepos: []string{"", allowed}}.Check(repo)
			assert.Equal(t, ok, err == nil, "%s in %s: %v", repo, allowed, err)
		}
	}

	err = repository.Access{Network: []string{"*"}}.Check("./repo")
	require.Error(t, err)
	dir := root + "/allowed/repo"
	assert.Equal(t, "repository ./repo: reading local repositories there is not allowed; "+
		"allow it with --allow-file-repos="+dir+" or STOOP_ALLOW_FILE_REPOS="+dir, err.Error())
}

func TestRepositoriesThatAreNone(t *testing.T) {
	t.Parallel()
	everything := repository.Access{Network: []string{"*"}, FileRepos: []string{"/"}}
	for _, repo := range []string{
		"", " ", "-x", "--upload-pack=touch", "repo", "github.com/o/r", "~/repo",
		"ext::sh -c touch% x", "fd::17", "git@h:-x", "git@-h:x", "git@h::x", "h:path",
		"ftp://h/r", "git+ssh://h/r", "javascript://x/y", "https:///r", "https://h", "https://h/", "https://h:0/r", "https://h:99999/r",
		"https://-h/r", "https://h/r?token=secret", "https://h/r#secret", "https://me:sec/ret@h/r", "https://h/r\nHost: x", "https://h/a%0ab",
		"ssh://git:secret@h/r", "me:secret@h:path", "git://me@h/r", "file://h/r", "file:r", "file://", "http://[::1/r",
	} {
		err := everything.Check(repo)
		require.Error(t, err, repo)
		assert.NotContains(t, err.Error(), "secret", repo)
		assert.NotContains(t, err.Error(), "sec/ret", repo)
	}
	for _, repo := range []string{"/a b", "./r", "../r", "..", "https://h/r", "http://me:pw@h:80/r.git", "ssh://h/r", "git@h.example:a/b.git", "git://h/r", "file:///a", "file://localhost/a"} {
		assert.NoError(t, everything.Check(repo), repo)
	}
}
