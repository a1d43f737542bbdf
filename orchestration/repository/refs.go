package repository

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
)

// refs are the refs of a repository at the moment it was first asked.
type refs struct {
	hashes map[string]plumbing.Hash        // by full name; tags not peeled
	peeled map[plumbing.Hash]plumbing.Hash // the commits of annotated tags, where the server says so
	head   string                          // the branch that HEAD names, "" for none
}

// first is what the first of names that there is points to.
func (l refs) first(names []string) (plumbing.Hash, bool) {
	for _, name := range names {
		if h, ok := l.hashes[name]; ok {
			return h, true
		}
	}
	return plumbing.ZeroHash, false
}

// commit is the commit that a ref's hash stands for, as far as the server says.
func (l refs) commit(h plumbing.Hash) plumbing.Hash {
	if commit, ok := l.peeled[h]; ok {
		return commit
	}
	return h
}

// overridden has the names mean what they did earlier, so that one run sees one
// version of each.
func (l refs) overridden(earlier refs, names []string) refs {
	l.hashes, l.peeled = maps.Clone(l.hashes), maps.Clone(l.peeled)
	for _, name := range names {
		delete(l.hashes, name)
	}
	maps.Copy(l.hashes, earlier.hashes)
	maps.Copy(l.peeled, earlier.peeled)
	return l
}

// defaultBranch is the branch that HEAD names or, as git clone takes it, one
// that points where HEAD does; "" when there is none.
func (l refs) defaultBranch() string {
	if l.head != "" {
		return l.head
	}
	at, ok := l.hashes["HEAD"]
	if !ok {
		return ""
	}
	var same []string
	for name, h := range l.hashes {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok && h == at {
			same = append(same, branch)
		}
	}
	for _, usual := range []string{"main", "master"} {
		if slices.Contains(same, usual) {
			return usual
		}
	}
	if len(same) == 0 {
		return ""
	}
	return slices.Min(same)
}

// minAbbreviation is the fewest digits git takes for an abbreviated commit.
const minAbbreviation = 4

func checkRef(ref string) error {
	why := ""
	switch {
	case ref == "":
		return errors.New("the ref is empty: name a tag, branch or commit")
	case len(ref) > 1024:
		return errors.New("the ref has more than 1024 characters")
	case strings.ContainsFunc(ref, unicode.IsControl) || strings.ContainsAny(ref, ` ~^:?*[\`):
		why = "has a character that refs can't have"
	case strings.Contains(ref, "..") || strings.Contains(ref, "@{") || strings.Contains(ref, "//"):
		why = "is no ref's name"
	case strings.HasPrefix(ref, "-") || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, "/"):
		why = "begins or ends as no ref does"
	default:
		return nil
	}
	return fmt.Errorf("ref %q %s: name a tag, branch or commit", ref, why)
}

// wholeCommit is the commit that ref is, when it has all of its digits. Such a
// ref is never a tag or branch of that name, which could change what a lock
// means.
func wholeCommit(ref string) (plumbing.Hash, bool) {
	if len(ref) != 40 || !isHex(ref) {
		return plumbing.ZeroHash, false
	}
	return plumbing.NewHash(strings.ToLower(ref)), true
}

func isHex(s string) bool { return strings.Trim(strings.ToLower(s), "0123456789abcdef") == "" }

// resolve returns what ref means for the package in dir: the hash of a commit
// or of an annotated tag.
func (r *repo) resolve(list refs, dir, ref string) (plumbing.Hash, error) {
	if commit, ok := wholeCommit(ref); ok {
		return commit, nil
	}
	if h, ok := list.first(refNames(dir, ref)); ok {
		return h, nil
	}
	maybeCommit := isHex(ref) && len(ref) >= minAbbreviation
	if maybeCommit && len(ref) < 40 {
		h, err := r.expand(strings.ToLower(ref))
		if !errors.Is(err, ErrNotFound) {
			return h, err
		}
	}
	return plumbing.ZeroHash, list.notFound(ref, maybeCommit)
}

// refNames are the full names that ref may stand for when the package in dir is
// fetched; the first that there is counts.
func refNames(dir, ref string) []string {
	names := []string{"refs/tags/" + ref, "refs/heads/" + ref}
	if dir != "/" {
		names = append([]string{"refs/tags/" + dir + "/" + ref, "refs/heads/" + dir + "/" + ref}, names...)
	}
	if ref == "HEAD" || strings.HasPrefix(ref, "refs/") {
		names = append(names, ref)
	}
	return names
}

func (l refs) notFound(ref string, maybeCommit bool) error {
	var short []string
	for name := range l.hashes {
		for _, prefix := range []string{"refs/tags/", "refs/heads/"} {
			if s, ok := strings.CutPrefix(name, prefix); ok {
				short = append(short, s)
			}
		}
	}
	hint := ""
	if near := nearest(ref, short); len(near) > 0 {
		hint = ": there is " + strings.Join(near, ", ")
	}
	if maybeCommit {
		hint += "; a commit is written with all of its 40 digits"
	}
	return fmt.Errorf("ref %q %w%s", ref, ErrNotFound, hint)
}

// nearest returns a few of have, those most like want first. Alike is what
// begins and ends the same: cheap, and good at versions and paths.
func nearest(want string, have []string) []string {
	const few = 5
	type scored struct {
		name  string
		score int
	}
	all := make([]scored, len(have))
	for i, name := range have {
		n, score := min(len(want), len(name)), 0
		for score < n && want[score] == name[score] {
			score++
		}
		for end := 1; end <= n-score && want[len(want)-end] == name[len(name)-end]; end++ {
			score++
		}
		all[i] = scored{name, 2*score - max(len(want), len(name))}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name))
	})
	all = slices.CompactFunc(all, func(a, b scored) bool { return a.name == b.name })
	names := make([]string, 0, few)
	for _, s := range all[:min(few, len(all))] {
		names = append(names, s.name)
	}
	return names
}
