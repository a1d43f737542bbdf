package repository

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Registration is a git repository of package revisions, laid out as Porch
// does. With D for its directory, which comes before all paths:
//
//   - tag D/PACKAGE/vN: a published revision
//   - branch drafts/D/PACKAGE/WORKSPACE, proposed/...: one that isn't published
//   - branch deletionProposed/D/PACKAGE/vN: marks a published one
//   - the registered branch: where all published packages are as directories;
//     each is a placeholder, no revision
//
// A package is a directory with a Kptfile, wherever such a ref says so: also
// inside another package, of which it is a subpackage, too.
type Registration struct {
	Name       string      // of the Repository object; a DNS label
	Repo       string      // as in [GitRef]
	Branch     string      // "" means main
	Directory  string      // where the packages are; "", "." and "/" are the root
	Credential *Credential // as in [GitRef]
}

// The first segments of the branches where Porch keeps revisions.
const (
	draftBranches    = "drafts"
	proposedBranches = "proposed"
	deletionBranches = "deletionProposed"
)

// Revisions lists the package revisions of a registered repository, placeholders
// too, sorted by package and number. It reads the refs and the directories they
// lead to, and no history. A repository without commits has none.
func (g *Git) Revisions(ctx context.Context, reg Registration) ([]Revision, error) {
	var all []Revision
	err := g.listing(ctx, reg, func(l *listing) (err error) {
		all, err = l.all(ctx)
		return err
	})
	return all, err
}

// Revision returns the revision of that name, a published one rather than a
// draft or placeholder with the same name. It reads what the name may stand
// for only. The error wraps [ErrNotFound] when there is none, and names some
// that there are.
func (g *Git) Revision(ctx context.Context, reg Registration, name string) (Revision, error) {
	var found Revision
	err := g.listing(ctx, reg, func(l *listing) (err error) {
		found, err = l.find(ctx, name)
		return err
	})
	return found, err
}

// Resources returns the package of a revision that Revisions or Revision gave,
// and the lock that pins it.
func (g *Git) Resources(ctx context.Context, reg Registration, rev Revision) (kptpkg.Tree, GitLock, error) {
	tree, lock, err := g.Fetch(ctx, GitRef{Repo: reg.Repo, Ref: rev.Commit, Directory: rev.Directory, Credential: reg.Credential})
	if err != nil {
		return kptpkg.Tree{}, GitLock{}, err
	}
	lock.Ref = rev.Ref
	return tree, lock, nil
}

func (g *Git) listing(ctx context.Context, reg Registration, use func(*listing) error) error {
	dir, err := cleanDir(reg.Directory)
	if err != nil {
		return err
	}
	branch := cmp.Or(reg.Branch, "main")
	if err := checkRef(branch); err != nil {
		return err
	}
	repo, err := g.open(ctx, reg.Repo, reg.Credential)
	if err != nil {
		return err
	}
	defer repo.release()
	refs, err := repo.listed(ctx)
	if err != nil && !errors.Is(err, errEmptyRepository) {
		return fmt.Errorf("repository %s: %w", repo.text, err)
	}
	l := &listing{repo: repo, refs: refs, name: reg.Name, branch: branch, prefix: dir + "/", trees: map[plumbing.Hash]map[string]treeEntry{}}
	if dir == "/" {
		l.prefix = ""
	}
	if err := use(l); err != nil {
		return fmt.Errorf("repository %s: %w", repo.text, err)
	}
	return nil
}

// listing is the reading of one repository's revisions.
type listing struct {
	*repo
	refs   refs
	name   string // of the registration
	branch string
	prefix string // of all paths: the directory and a slash, or ""

	trees map[plumbing.Hash]map[string]treeEntry // git trees by name, each read once
}

// all lists every revision.
func (l *listing) all(ctx context.Context) ([]Revision, error) {
	tip, ok := l.refs.hashes["refs/heads/"+l.branch]
	if !ok && len(l.refs.hashes) > 0 {
		return nil, fmt.Errorf("branch %w", l.refs.notFound(l.branch, false))
	}
	revisions, err := l.read(ctx, l.fromRefs(func(string) bool { return true }), tip)
	if err != nil || !ok {
		return revisions, err
	}
	placeholders, err := l.placeholders(ctx, tip, revisions)
	if err != nil {
		return nil, fmt.Errorf("branch %s: %w", l.branch, err)
	}
	revisions = append(revisions, placeholders...)
	slices.SortFunc(revisions, compareRevisions)
	return revisions, nil
}

func (l *listing) find(ctx context.Context, name string) (Revision, error) {
	if len(name) > 253 || !subdomain.MatchString(name) {
		return Revision{}, fmt.Errorf("%q is no name of a package revision", shorten(name))
	}
	// Only packages whose path the name begins with can be meant.
	revisions, err := l.read(ctx, l.fromRefs(func(pkg string) bool {
		return strings.HasPrefix(name, RevisionName{l.name, pkg, ""}.String())
	}), plumbing.ZeroHash)
	if err != nil {
		return Revision{}, err
	}
	if one, err := l.only(revisions, name); err == nil && one.IsPublished() || err != nil && !errors.Is(err, ErrNotFound) {
		return one, err
	}
	if revisions, err = l.all(ctx); err != nil {
		return Revision{}, err
	}
	return l.only(revisions, name)
}

// only returns the one revision of that name.
func (l *listing) only(revisions []Revision, name string) (Revision, error) {
	var same []Revision
	for _, r := range revisions {
		if r.Name() == name {
			same = append(same, r)
		}
	}
	if published := slices.DeleteFunc(slices.Clone(same), func(r Revision) bool { return !r.IsPublished() }); len(published) > 0 {
		same = published
	}
	switch len(same) {
	case 1:
		return same[0], nil
	case 0:
		names := make([]string, len(revisions))
		for i, r := range revisions {
			names[i] = r.Name()
		}
		if len(names) == 0 {
			return Revision{}, fmt.Errorf("package revision %q %w: it has none at all", name, ErrNotFound)
		}
		return Revision{}, fmt.Errorf("package revision %q %w: there is %s", name, ErrNotFound, strings.Join(nearest(name, names), ", "))
	}
	var refs []string
	for _, r := range same {
		refs = append(refs, r.Ref)
	}
	return Revision{}, fmt.Errorf("package revision %q is ambiguous: %s have that name; clone the one that is meant from git, by its ref", name, strings.Join(refs, " and "))
}

// refRevision is a revision as far as a ref tells.
type refRevision struct {
	Revision
	full string // name of the ref
	hash plumbing.Hash
}

// fromRefs are the revisions of packages to keep.
func (l *listing) fromRefs(keep func(pkg string) bool) []refRevision {
	var found []refRevision
	add := func(full, rest string, lifecycle api.Lifecycle) {
		rest, ok := strings.CutPrefix(rest, l.prefix)
		i := strings.LastIndexByte(rest, '/')
		if !ok || i <= 0 || !keep(rest[:i]) || kptpkg.CheckPath(rest) != nil {
			return
		}
		r := refRevision{full: full, hash: l.refs.hashes[full]}
		r.Repository, r.Package, r.Workspace, r.Lifecycle = l.name, rest[:i], rest[i+1:], lifecycle
		r.Directory, r.Ref = l.prefix+r.Package, l.shortRef(full, l.prefix+r.Package)
		if lifecycle == api.Published {
			r.Number = revisionNumber(r.Workspace)
			if _, marked := l.refs.hashes["refs/heads/"+deletionBranches+"/"+l.prefix+rest]; marked {
				r.Lifecycle = api.DeletionProposed
			}
		}
		found = append(found, r)
	}
	for _, full := range slices.Sorted(maps.Keys(l.refs.hashes)) {
		if tag, ok := strings.CutPrefix(full, "refs/tags/"); ok {
			add(full, tag, api.Published)
		} else if rest, ok := strings.CutPrefix(full, "refs/heads/"+draftBranches+"/"); ok {
			add(full, rest, api.Draft)
		} else if rest, ok := strings.CutPrefix(full, "refs/heads/"+proposedBranches+"/"); ok {
			add(full, rest, api.Proposed)
		}
	}
	return found
}

// shortRef is what names a ref when the package in dir is fetched.
func (l *listing) shortRef(full, dir string) string {
	_, short, _ := strings.Cut(strings.TrimPrefix(full, "refs/"), "/")
	for _, name := range refNames(dir, short) {
		if _, ok := l.refs.hashes[name]; ok {
			if name == full {
				return short
			}
			break
		}
	}
	return full
}

// read completes revisions by what their commits say, and leaves out those that
// have no package. The commit at also is fetched with them.
func (l *listing) read(ctx context.Context, from []refRevision, also plumbing.Hash) ([]Revision, error) {
	var want []plumbing.Hash
	for _, r := range from {
		want = append(want, r.hash)
	}
	if !also.IsZero() {
		want = append(want, also)
	}
	slices.SortFunc(want, func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
	if err := l.repo.trees(ctx, slices.Compact(want)...); err != nil {
		return nil, err
	}
	var revisions []Revision
	latest := map[string]int{} // index of each package's
	for _, r := range from {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		commit, root, err := peel(l.repo, r.hash)
		if errors.Is(err, errNotCommit) {
			continue // a tag may be put on anything
		}
		if err != nil {
			return nil, fmt.Errorf("ref %q: %w", r.full, err)
		}
		has, err := l.hasPackage(root, r.Directory)
		if err != nil {
			return nil, fmt.Errorf("ref %q: %w", r.full, err)
		}
		if !has {
			continue
		}
		r.Commit = commit.String()
		if r.IsPublished() {
			noted, err := l.notedWorkspace(r.hash, r.Package, r.Directory)
			if err != nil {
				return nil, fmt.Errorf("ref %q: %w", r.full, err)
			}
			r.Workspace = cmp.Or(noted, r.Workspace)
		}
		revisions = append(revisions, r.Revision)
		if r.Number > 0 {
			if at, ok := latest[r.Package]; !ok || revisions[at].Number < r.Number {
				latest[r.Package] = len(revisions) - 1
			}
		}
	}
	for _, i := range latest {
		revisions[i].Latest = true
	}
	slices.SortFunc(revisions, compareRevisions)
	return revisions, nil
}

// notedWorkspace is what Porch notes in the message of a tag or of the commit it
// leads to: a line kpt: with JSON. "" when there is no such note on the package.
func (l *listing) notedWorkspace(h plumbing.Hash, pkg, dir string) (string, error) {
	for range maxTagChain {
		typ, content, err := l.repo.read(h, maxMeta)
		if err != nil {
			return "", err
		}
		_, message, _ := bytes.Cut(content, []byte("\n\n"))
		for line := range bytes.Lines(message) {
			raw, ok := bytes.CutPrefix(line, []byte("kpt:"))
			if !ok {
				continue
			}
			var note struct {
				Package       string `json:"package"`
				WorkspaceName string `json:"workspaceName"`
			}
			// Anybody can write such a line: what isn't a note is text.
			if json.Unmarshal(raw, &note) == nil && (note.Package == pkg || note.Package == dir) &&
				len(note.WorkspaceName) <= 253 && subdomain.MatchString(note.WorkspaceName) {
				return note.WorkspaceName, nil
			}
		}
		if typ != plumbing.TagObject {
			break
		}
		if h, err = header(content, "object"); err != nil {
			return "", err
		}
	}
	return "", nil
}

// placeholders are the packages on the branch: the first on every way down, and
// those further down that have been published by themselves.
func (l *listing) placeholders(ctx context.Context, tip plumbing.Hash, revisions []Revision) ([]Revision, error) {
	commit, root, err := peel(l.repo, tip)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{} // packages' paths
	for _, r := range revisions {
		if r.IsPublished() && !found[r.Package] {
			if found[r.Package], err = l.hasPackage(root, r.Directory); err != nil {
				return nil, err
			}
		}
	}
	at, err := l.lookup(root, strings.TrimSuffix(l.prefix, "/"))
	if err != nil {
		return nil, err
	}
	type dir struct {
		pkg  string
		hash plumbing.Hash
	}
	var todo []dir
	if !at.IsZero() {
		todo = append(todo, dir{"", at})
	}
	for count := 0; len(todo) > 0; count++ {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case count > l.limits.Files:
			return nil, fmt.Errorf("has more than %d directories", l.limits.Files)
		}
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		entries, err := l.tree(d.hash)
		if err != nil {
			return nil, err
		}
		if d.pkg != "" && isFile(entries[kptpkg.KptfileName]) {
			found[d.pkg] = true
			continue
		}
		for name, e := range entries {
			p := path.Join(d.pkg, name)
			if e.mode&modeType == modeDir && !strings.Contains(name, "/") && kptpkg.CheckPath(p) == nil && strings.Count(p, "/") < l.limits.Depth {
				todo = append(todo, dir{p, e.hash})
			}
		}
	}
	full := "refs/heads/" + l.branch
	var all []Revision
	for pkg, is := range found {
		if is {
			all = append(all, Revision{
				Repository: l.name, Package: pkg, Workspace: l.branch, Number: -1, Lifecycle: api.Published,
				Directory: l.prefix + pkg, Ref: l.shortRef(full, l.prefix+pkg), Commit: commit.String(),
			})
		}
	}
	return all, nil
}

func (l *listing) hasPackage(root plumbing.Hash, dir string) (bool, error) {
	at, err := l.lookup(root, dir)
	if err != nil || at.IsZero() {
		return false, err
	}
	entries, err := l.tree(at)
	return isFile(entries[kptpkg.KptfileName]), err
}

// lookup returns the git tree of a directory, zero when there is none; "" is the
// root.
func (l *listing) lookup(at plumbing.Hash, dir string) (plumbing.Hash, error) {
	if dir == "" {
		return at, nil
	}
	for seg := range strings.SplitSeq(dir, "/") {
		entries, err := l.tree(at)
		if err != nil {
			return at, err
		}
		e, ok := entries[seg]
		if !ok || e.mode&modeType != modeDir {
			return plumbing.ZeroHash, nil
		}
		at = e.hash
	}
	return at, nil
}

func (l *listing) tree(h plumbing.Hash) (map[string]treeEntry, error) {
	if known, ok := l.trees[h]; ok {
		return known, nil
	}
	entries, err := readTree(l.repo, h)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]treeEntry, len(entries))
	for _, e := range entries {
		byName[e.name] = e
	}
	l.trees[h] = byName
	return byName, nil
}

func isFile(e treeEntry) bool { return e.mode&modeType == modeRegular }
