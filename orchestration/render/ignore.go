package render

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// ignoreName is the file at the top of a package that names files of the
// package that are no resources, in the language of .gitignore. As in kpt it
// says nothing about subpackages.
const ignoreName = ".krmignore"

// ignore are the patterns of a .krmignore; nil ignores nothing.
type ignore []gitignore.Pattern

// readIgnore reads a .krmignore, f being nil when there is none.
func readIgnore(f *kptpkg.File) (ignore, error) {
	if f == nil || f.Mode() == kptpkg.Symlink {
		return nil, nil
	}
	text, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	var ig ignore
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			ig = append(ig, gitignore.ParsePattern(line, nil))
		}
	}
	return ig, nil
}

// match says whether a file, its path relative to the package, is ignored: it
// or a directory it is in.
func (ig ignore) match(rel string) bool {
	if len(ig) == 0 {
		return false
	}
	m := gitignore.NewMatcher(ig)
	segments := strings.Split(rel, "/")
	for i := 1; i < len(segments); i++ {
		if m.Match(segments[:i], true) {
			return true
		}
	}
	return m.Match(segments, false)
}
