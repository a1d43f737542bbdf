package kptpkg_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Nothing gets to where some file system sees a .git directory.
func TestCheckPathGit(t *testing.T) {
	for _, p := range []string{
		".git", ".git/config", "sub/.GIT/hooks/post-checkout", "git~1/x", ".git /x", ".git./x",
		".g\u200cit/config", "\ufeff.git/config", ".git\u206f/config", ".\u200dG\u200ei\u200f\u202aT/\u202e", "g\u206ait~1/x",
		".git::$INDEX_ALLOCATION/config", ".git:$i30:$INDEX_ALLOCATION", "GIT~1::$INDEX_ALLOCATION/x", ".git. :x",
	} {
		assert.ErrorContains(t, kptpkg.CheckPath(p), "is inside a .git directory", "%q", p)
	}
	for _, p := range []string{".gitignore", "x.git/y", ".g\u00adit/x", "git/x", "git~2/x", "a\u200cb.yaml", "a:b"} {
		assert.NoError(t, kptpkg.CheckPath(p), "%q", p)
	}
}
