package upstream_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/upstream"
)

func TestParseLocator(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"bare.git/objects", "bare.git/refs", "work/.git", "work/pkg", "odd@name/.git"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "bare.git", "HEAD"), []byte("ref: refs/heads/main\n"), 0o644))
	t.Chdir(root)

	for _, tc := range []struct{ in, repo, dir, ref string }{
		{"https://example.com/org/repo.git/dir@ref", "https://example.com/org/repo.git", "dir", "ref"},
		{"https://example.com/org/repo.git/a/b/@a/b/v1", "https://example.com/org/repo.git", "a/b", "a/b/v1"},
		{"https://example.com/org/repo.git@v1", "https://example.com/org/repo.git", "/", "v1"},
		{"https://example.com/org/repo.git", "https://example.com/org/repo.git", "/", ""},
		{"https://example.com/org.github/x.git/d", "https://example.com/org.github/x.git", "d", ""},
		{"https://example.com/repo@v1", "https://example.com/repo", "/", "v1"},
		{"https://github.com/org/repo/dir/sub@v1", "https://github.com/org/repo", "dir/sub", "v1"},
		{"https://github.com/org/repo", "https://github.com/org/repo", "/", ""},
		{"https://GitHub.com/org/repo.git/dir@v1", "https://GitHub.com/org/repo.git", "dir", "v1"},
		{"https://gitlab.com/org/repo/dir@v1", "https://gitlab.com/org/repo", "dir", "v1"},
		{"https://user@github.com/org/repo", "https://user@github.com/org/repo", "/", ""},
		{"https://u:p@bitbucket.org/org/repo/d@r", "https://u:p@bitbucket.org/org/repo", "d", "r"},
		{"git@github.com:org/repo.git/dir@ref", "git@github.com:org/repo.git", "dir", "ref"},
		{"git@github.com:org/repo/dir", "git@github.com:org/repo", "dir", ""},
		{"ssh://git@example.com:2222/repo.git/d@v1", "ssh://git@example.com:2222/repo.git", "d", "v1"},
		{root + "/bare.git/dir@ref", root + "/bare.git", "dir", "ref"},
		{root + "/work@ref", root + "/work", "/", "ref"},
		{"./work/pkg/deep@ref", "./work", "pkg/deep", "ref"},
		{"./work/", "./work", "/", ""},
		{"./odd@name/dir@v1", "./odd@name", "dir", "v1"},
		{"./nowhere.git/dir@v1", "./nowhere.git", "dir", "v1"},
		{"file://" + root + "/bare.git/dir@ref", "file://" + root + "/bare.git", "dir", "ref"},
		{"file://" + root + "/work/pkg", "file://" + root + "/work", "pkg", ""},
	} {
		repo, dir, ref, err := upstream.ParseLocator(tc.in)
		require.NoError(t, err, tc.in)
		assert.Equal(t, []string{tc.repo, tc.dir, tc.ref}, []string{repo, dir, ref}, tc.in)
	}

	for in, want := range map[string]string{
		"":                                    "empty",
		strings.Repeat("./", 5000):            "10000 characters",
		"https://example.com/org/repo/dir@v1": "write .git",
		"https://example.com/org/repo.git@":   "nothing follows the @",
		"https://example.com/org/repo.git/../x@v1": "leads out",
		"https://github.com/org@v1":                "OWNER/NAME",
		"https://example.com":                      "names no repository",
		"./nowhere/dir@v1":                         "no git repository there",
		"github.com/org/repo@v1":                   "no git repository there",
		"https://user:secret@example.com/a/b/c@v1": "write .git",
	} {
		_, _, _, err := upstream.ParseLocator(in)
		require.Error(t, err, in)
		assert.Contains(t, err.Error(), want, in)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func FuzzParseLocator(f *testing.F) {
	for _, s := range []string{"https://h/a.git/b@c", "git@h:a/b@c", "./a@b", "://@", "@", "file://@", "https://u:p@h@/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		repo, dir, _, err := upstream.ParseLocator(s)
		if err == nil {
			assert.NotEmpty(t, dir)
			assert.True(t, len(repo) <= len(s))
		}
	})
}
