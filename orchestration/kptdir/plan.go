package kptdir

import (
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A plan is a manifest with the files to stage for it.
type plan struct {
	manifest
	files []*kptpkg.File // for Put, in its order
}

func (p *plan) empty() bool { return len(p.Put)+len(p.Remove) == 0 }

// newPlan says how to get from one tree to the other. It refuses an after that
// no directory could hold.
func newPlan(before, after kptpkg.Tree) (*plan, error) {
	changes, err := Diff(before, after)
	if err != nil {
		return nil, err
	}
	p := &plan{manifest: manifest{Version: 1}}
	added := false
	for _, c := range changes {
		if !hasExecutableBits && c.Kind() == Modified && onlyExecutable(c) {
			continue
		}
		var m change
		if m, err = p.change(c); err != nil {
			return nil, err
		}
		if c.After == nil {
			p.Remove = append(p.Remove, m)
			continue
		}
		added = added || c.Before == nil
		p.Put = append(p.Put, m)
		p.files = append(p.files, c.After)
	}
	if added {
		if err := checkCollisions(before, after); err != nil {
			return nil, err
		}
	}
	return p, p.validate()
}

// onlyExecutable says whether a modified file differs in nothing but the
// executable bit.
func onlyExecutable(c Change) bool {
	if c.Before.Mode() == kptpkg.Symlink || c.After.Mode() == kptpkg.Symlink {
		return false
	}
	was, _ := c.Before.Bytes() // Diff has seen them both without an error
	is, _ := c.After.Bytes()
	return string(was) == string(is)
}

func (p *plan) change(c Change) (change, error) {
	m := change{Path: c.Path}
	if c.Before != nil {
		b, err := c.Before.Bytes()
		if err != nil {
			return m, err
		}
		m.Old = sumOf(c.Before.Mode(), b)
	}
	if c.After != nil {
		b, err := c.After.Bytes()
		if err != nil {
			return m, err
		}
		if c.After.Mode() == kptpkg.Symlink {
			if err := checkLink(c.Path, string(b)); err != nil {
				return m, err
			}
		}
		m.New = sumOf(c.After.Mode(), b)
	}
	return m, nil
}

// checkCollisions refuses a tree in which a path is both a file and a directory,
// and one with paths that differ only in case or in how letters are composed:
// on half of all machines one of them would overwrite the other. Such pairs that
// are in before are the user's own business.
func checkCollisions(before, after kptpkg.Tree) error {
	seen := make(map[string]string, after.Len()) // folded path: path
	dirs := map[string]bool{}
	var was map[string]bool // what before has, made when it matters
	check := func(p string) error {
		folded := fold(p)
		other, twice := seen[folded]
		if !twice {
			seen[folded] = p
			return nil
		}
		if was == nil {
			was = names(before)
		}
		if was[p] && was[other] {
			return nil
		}
		return refuse(p, "differs from %s only in case, so that many file systems can hold only one of them: rename one", other)
	}
	for _, p := range after.Paths() {
		for dir := range parents(p) {
			if dirs[dir] {
				continue
			}
			dirs[dir] = true
			if after.File(dir) != nil {
				return refuse(p, "%s is a file and can't be a directory as well", dir)
			}
			if err := check(dir); err != nil {
				return err
			}
		}
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

// names are the paths of all files and directories of a tree.
func names(t kptpkg.Tree) map[string]bool {
	all := make(map[string]bool, t.Len())
	for _, p := range t.Paths() {
		all[p] = true
		for dir := range parents(p) {
			all[dir] = true
		}
	}
	return all
}
