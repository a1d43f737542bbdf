package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// links are the symlinks of a tree that stand for files with resources. As in
// kpt, functions see the resources of the file a link leads to at the link's own
// path too, and what they make of them goes into that file; a link that is left
// without resources is removed, the file isn't. Unlike kpt no link is followed
// that leads out of the tree, and functions that make two different things of
// one file fail, where kpt writes one of the two.
type links struct {
	given kptpkg.Tree // with the links
	to    []link      // by their paths
}

// link is a symlink that was followed.
type link struct {
	path, target string
	seen         bool // functions see the target by its own path too
}

// maxHops is how many links may lead to one another, as in Linux.
const maxHops = 40

// follow is tree with files in the place of the links that lead to files in it.
// why says, for the others that are named like files with resources, what keeps
// them from being followed.
func follow(tree kptpkg.Tree) (view kptpkg.Tree, ls links, why map[string]string) {
	ls.given, why = tree, map[string]string{}
	var files []*kptpkg.File
	for _, p := range tree.Paths() {
		if f := tree.File(p); f.Mode() != kptpkg.Symlink || path.Base(p) == kptpkg.KptfileName || !kptpkg.NewFile(p, kptpkg.Regular, nil).IsYAML() {
			continue
		}
		target, err := destination(tree, p)
		if err != nil {
			why[p] = err.Error()
			continue
		}
		text, err := target.Bytes()
		if err != nil {
			why[p] = err.Error()
			continue
		}
		files = append(files, kptpkg.NewFile(p, target.Mode(), text))
		ls.to = append(ls.to, link{path: p, target: target.Path()})
	}
	if len(files) == 0 {
		return tree, ls, why
	}
	view, err := tree.With(files...)
	if err != nil { // no path is a new one
		return tree, links{given: tree}, why
	}
	return view, ls, why
}

// Why a link isn't followed.
var (
	errOutside = errors.New("leads out of the package")
	errNowhere = errors.New("leads to no file of the package")
	errCircle  = errors.New("leads in a circle")
)

// destination is the file that the link at p leads to, over other links.
func destination(tree kptpkg.Tree, p string) (*kptpkg.File, error) {
	rest, at := strings.Split(p, "/"), "."
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." && at == "." {
			return nil, errOutside
		}
		at = path.Join(at, name)
		f := tree.File(at)
		switch {
		case f == nil: // a directory, or nothing
			continue
		case f.Mode() != kptpkg.Symlink && len(rest) > 0:
			return nil, errNowhere
		case f.Mode() != kptpkg.Symlink:
			return f, nil
		}
		text, err := f.Bytes()
		if err != nil {
			return nil, err
		}
		to := string(text)
		if path.IsAbs(to) || strings.Contains(to, `\`) || len(to) > 1 && to[1] == ':' {
			return nil, errOutside
		}
		if hops++; hops > maxHops {
			return nil, errCircle
		}
		at, rest = path.Dir(at), append(strings.Split(to, "/"), rest...)
	}
	return nil, errNowhere
}

// alike refuses an after, as functions see it, in which a link and the file it
// leads to, or two links, hold different things.
func (ls links) alike(after kptpkg.Tree) error {
	holds := map[string]string{} // by target: the path whose content it is to have
	for _, l := range ls.to {
		f := after.File(l.path)
		if f == nil {
			continue
		}
		other := holds[l.target]
		switch {
		case other == "" && l.seen:
			other = l.target
		case other == "":
			other = l.path
		}
		holds[l.target] = other
		same, err := equal(f, after.File(other))
		if err != nil {
			return err
		}
		if !same {
			return resultError(fn.Result{
				Message: fmt.Sprintf("%s is a link: functions made something else of %s, which is the same file; make it a file of its own, or let them treat both alike", l.path, other),
				File:    &fn.File{Path: l.path},
			})
		}
	}
	return nil
}

func equal(a, b *kptpkg.File) (bool, error) {
	if a == nil || b == nil {
		return a == b, nil
	}
	at, err := a.Bytes()
	if err != nil {
		return false, err
	}
	bt, err := b.Bytes()
	return bytes.Equal(at, bt), err
}

// restore is an after, as functions see it, with the links in their places and
// what they hold in the files they lead to.
func (ls links) restore(after kptpkg.Tree) (kptpkg.Tree, error) {
	var files []*kptpkg.File
	written := map[string]bool{}
	for _, l := range ls.to {
		f := after.File(l.path)
		if f == nil {
			continue // left without resources: the link goes, its target stays
		}
		files = append(files, ls.given.File(l.path))
		if l.seen || written[l.target] {
			continue
		}
		written[l.target] = true
		if same, err := equal(f, after.File(l.target)); err != nil {
			return after, err
		} else if !same {
			files = append(files, f.At(l.target))
		}
	}
	if len(files) == 0 {
		return after, nil
	}
	return after.With(files...)
}
