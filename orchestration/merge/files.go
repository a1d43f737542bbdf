package merge

import (
	"bytes"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// mergeFile merges a file that can only be taken as a whole: text, scripts,
// binaries, symlinks, YAML that isn't resources. Content and executable bit are
// merged apart. The result is nil when the file is to go.
func (p *part) mergeFile(name string) (*kptpkg.File, error) {
	b, l, u := p.base.File(name), p.local.File(name), p.upstream.File(name)
	bb, err1 := content(b)
	lb, err2 := content(l)
	ub, err3 := content(u)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	sameFile := func(a, b *kptpkg.File, x, y []byte) bool {
		return a != nil && b != nil && a.Mode() == b.Mode() && bytes.Equal(x, y)
	}
	sheet := p.sheets[name]
	pristine := sameFile(b, l, bb, lb) || b != nil && l != nil && b.Mode() == l.Mode() && sheet != nil &&
		sheet.base != nil && sheet.local != nil && sheetUnchanged(sheet.base, sheet.local)
	settle := func(base, local, upstream, reason string) Side {
		return p.settle(Conflict{File: name, Base: base, Local: local, Upstream: upstream, Reason: reason}, false)
	}
	switch {
	case l == nil && u == nil:
		return nil, nil
	case l == nil && b == nil:
		return u, nil
	case u == nil && b == nil:
		return l, nil
	case u == nil:
		if pristine || settle(present, changed, deleted, goneUpstream) == Upstream {
			return nil, nil
		}
		return l, nil
	case l == nil:
		if !sameFile(b, u, bb, ub) && settle(present, deleted, changed, goneLocally) == Upstream {
			return u, nil
		}
		return nil, nil
	case sameFile(l, u, lb, ub):
		return l, nil
	case b == nil:
		if settle("", added, added, bothAdded) == Upstream {
			return u, nil
		}
		return l, nil
	case pristine:
		return u, nil
	case sameFile(b, u, bb, ub):
		return l, nil
	}
	links := 0
	for _, f := range []*kptpkg.File{b, l, u} {
		if f.Mode() == kptpkg.Symlink {
			links++
		}
	}
	mode, text := l.Mode(), lb
	if links == 0 || links == 3 {
		if l.Mode() == b.Mode() {
			mode = u.Mode()
		}
		switch {
		case bytes.Equal(lb, bb):
			text = ub
		case bytes.Equal(ub, bb), bytes.Equal(lb, ub):
		default:
			if settle(present, changed, changed, bothChanged) == Upstream {
				text = ub
			}
		}
		return withMode(l, mode, text), nil
	}
	if settle(present, changed, changed, bothChanged) == Upstream {
		return u, nil
	}
	return l, nil
}

func content(f *kptpkg.File) ([]byte, error) {
	if f == nil {
		return nil, nil
	}
	b, err := f.Bytes()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Path(), err)
	}
	return b, nil
}

// withMode is f with another mode and content, f itself where nothing differs.
func withMode(f *kptpkg.File, mode kptpkg.Mode, text []byte) *kptpkg.File {
	if have, err := f.Bytes(); err == nil && f.Mode() == mode && bytes.Equal(have, text) {
		return f
	}
	return kptpkg.NewFile(f.Path(), mode, text)
}
