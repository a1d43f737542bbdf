package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// gitRepository is a Repository in git, laid out as a [Registration] says.
type gitRepository struct {
	listing            // how names are made; refs and trees aren't used
	mayCreate bool     // whether the branch may be made
	author    Author   // where a change has none
	store     gitStore // where refs and objects are; for whoever holds the token in busy
	tries     int      // of a push whose fate isn't known
	pause     time.Duration
	warn      func(error)
	closed    bool // for whoever holds the token in busy

	now atomic.Pointer[gitState] // nil until loaded

	// What was read before, for whoever holds the token in busy.
	known map[string]*knownRef       // by full name
	order []string                   // the names in known, as they were sorted last
	below map[plumbing.Hash][]string // packages in a git tree
	noted notedMetadata
}

// gitStore is a git repository that can be changed.
type gitStore interface {
	origin
	// lock keeps other processes from changing it, as far as that can be done.
	lock(context.Context) (unlock func(), err error)
	push(context.Context, push) error
	// repair begins anew after an error that may come of what was kept.
	repair(ctx context.Context, why error) error
}

// onDisk is a gitStore in a directory.
type onDisk struct {
	*local
	held *fileLock
	last memory // what was pushed last: it is looked at next
}

func (d *onDisk) size(h plumbing.Hash) (int64, error) {
	if n, err := d.last.size(h); err == nil {
		return n, nil
	}
	return d.local.size(h)
}

func (d *onDisk) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	if _, ok := d.last[h]; ok {
		return d.last.read(h, limit)
	}
	return d.local.read(h, limit)
}

// isOnDisk says whether a repository is one on disk, which may be a shallow
// clone.
func isOnDisk(from objects) bool {
	_, ok := from.(*onDisk)
	return ok
}

func (d *onDisk) lock(ctx context.Context) (func(), error) {
	lock, err := d.local.lock(ctx)
	if err != nil {
		return nil, err
	}
	d.held = lock
	return func() { _ = lock.unlock() }, nil
}

func (d *onDisk) push(ctx context.Context, p push) error {
	if err := d.local.push(ctx, p, d.held); err != nil {
		return err
	}
	d.last = make(memory, len(p.objects))
	for _, o := range p.objects {
		d.last[plumbing.ComputeHash(o.typ, o.content)] = o
	}
	return nil
}

// repair looks again at what packs there are: git may have made new ones.
func (d *onDisk) repair(context.Context, error) error {
	d.close()
	d.stores, d.last = nil, nil
	return d.open()
}

// gitState is a repository as it was at one moment. Nobody changes it.
type gitState struct {
	refs      refs
	head      plumbing.Hash // of the branch; zero when it isn't there
	revisions []Revision
	refOf     map[string]int // index in revisions by a full ref name
	last      map[string]int // highest number of each package
}

// refOf is the full name of a revision's ref.
func (l *listing) refOf(r Revision) string {
	switch {
	case r.IsPlaceholder():
		return "refs/heads/" + l.branch
	case strings.HasPrefix(r.Ref, "refs/"):
		return r.Ref
	case r.IsPublished():
		return "refs/tags/" + r.Ref
	}
	return "refs/heads/" + r.Ref
}

// openGit opens a registered git repository. The branch has to be there, unless
// it may be made or the repository is empty.
func (g *Git) openGit(ctx context.Context, reg Registration, mayCreate bool, author Author, warn func(error)) (*gitRepository, error) {
	dir, err := cleanDir(reg.Directory)
	if err != nil {
		return nil, err
	}
	branch := cmp.Or(reg.Branch, "main")
	if err := checkRef(branch); err != nil {
		return nil, err
	}
	loc, err := parseLocation(reg.Repo)
	if err != nil {
		return nil, err
	}
	onDiskAt, err := g.Access.permit(loc)
	if err != nil {
		return nil, err
	}
	r := &gitRepository{
		listing:   listing{name: reg.Name, branch: branch, prefix: dir + "/"},
		mayCreate: mayCreate,
		author:    author,
		tries:     cmp.Or(g.Attempts, 3),
		pause:     cmp.Or(g.RetryDelay, 200*time.Millisecond),
		warn:      warn,
	}
	if dir == "/" {
		r.prefix = ""
	}
	limits := g.Limits.orDefaults()
	if onDiskAt != "" {
		if reg.Credential != nil {
			return nil, fmt.Errorf("repository %s: it is on disk: credentials are for http, https and ssh", loc.text)
		}
		r.store = &onDisk{local: &local{given: loc.path, dir: onDiskAt, access: g.Access}}
	} else {
		n, err := g.newNetwork(loc, reg.Credential, limits)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", loc.text, err)
		}
		r.store = &mirrored{network: n, mirror: g.Cache.mirror(loc, n.auth != nil || n.helpers, warn)}
	}
	r.repo = &repo{text: loc.text, busy: make(chan struct{}, 1), limits: limits, origin: r.store}
	if err := r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// work has do use the store, alone.
func (r *gitRepository) work(ctx context.Context, do func() error) error {
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("repository %s: %w", r.text, context.Cause(ctx))
	}
	defer r.release()
	if r.closed {
		return fmt.Errorf("repository %s: it was closed", r.text)
	}
	if err := do(); err != nil {
		return fmt.Errorf("repository %s: %w", r.text, err)
	}
	return nil
}

// repaired does something again after what was kept of the repository proved to
// be damaged, or another process took it away.
func (r *gitRepository) repaired(ctx context.Context, do func() error) error {
	err := do()
	for again := 0; again < 2 && (errors.Is(err, errNoObject) || errors.Is(err, errDamaged)); again++ {
		if again > 0 && !errors.Is(err, errDamaged) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		if cannot := r.store.repair(ctx, err); cannot != nil {
			return errors.Join(err, cannot)
		}
		r.known, r.order, r.below, r.noted = nil, nil, nil, notedMetadata{} // and what it was read from has to be there again
		err = do()
	}
	return err
}

// Refresh implements [Repository].
func (r *gitRepository) Refresh(ctx context.Context) error {
	return r.work(ctx, func() error {
		_, err := r.load(ctx)
		return err
	})
}

// Version implements [Repository].
func (r *gitRepository) Version(ctx context.Context) (string, error) {
	version := ""
	err := r.work(ctx, func() error {
		list, err := r.ask(ctx)
		version = list.version()
		return err
	})
	return version, err
}

func (r *gitRepository) knownVersion() string { return r.now.Load().refs.version() }

// version is a digest of all refs.
func (l refs) version() string {
	digest := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(l.hashes)) {
		fmt.Fprintf(digest, "%s %s\n", l.hashes[name], name)
	}
	return fmt.Sprintf("%x", digest.Sum(nil))
}

// ask lists the refs as they are.
func (r *gitRepository) ask(ctx context.Context) (refs, error) {
	list, err := r.store.refs(ctx)
	if errors.Is(err, errEmptyRepository) {
		return refs{}, nil
	}
	return list, err
}

// load brings the state up to date and returns it.
func (r *gitRepository) load(ctx context.Context) (*gitState, error) {
	list, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	if now := r.now.Load(); now != nil && maps.Equal(now.refs.hashes, list.hashes) {
		return now, nil
	}
	return r.adopt(ctx, list)
}

// adopt makes the state that refs stand for the present one.
func (r *gitRepository) adopt(ctx context.Context, list refs) (*gitState, error) {
	var s *gitState
	err := r.repaired(ctx, func() (err error) {
		s, err = r.readState(ctx, list)
		return err
	})
	if err == nil {
		r.now.Store(s)
	}
	return s, err
}

// knownRef is a ref of a revision and what was read of it.
type knownRef struct {
	refRevision          // complete but for what other refs say
	is          bool     // whether there is a package; else it is no revision
	shadows     []string // refs that would make its short name mean another one
	mark        string   // the ref that proposes its deletion; "" for drafts
}

// readState reads what refs lead to, as far as it wasn't read before.
func (r *gitRepository) readState(ctx context.Context, list refs) (*gitState, error) {
	s := &gitState{refs: list, head: list.hashes["refs/heads/"+r.branch], refOf: make(map[string]int, len(r.known)), last: make(map[string]int, len(r.known))}
	if s.head.IsZero() && len(list.hashes) > 0 && !r.mayCreate {
		return nil, fmt.Errorf("branch %w; spec.git.createBranch lets it be made", list.notFound(r.branch, false))
	}
	if err := r.know(ctx, s); err != nil {
		return nil, err
	}
	if err := r.noted.walk(r.store, s.head); err != nil {
		return nil, fmt.Errorf("branch %s: %w", r.branch, err)
	}
	type found struct {
		Revision
		full string
	}
	all := make([]*found, 0, len(r.known))                                                       // sorted as pointers: there are many, and large
	latest, published := make(map[string]int, len(r.known)), make(map[string]bool, len(r.known)) // by package
	for _, full := range r.order {
		k := r.known[full]
		s.last[k.Package] = max(s.last[k.Package], k.Number)
		if !k.is {
			continue
		}
		rev := k.Revision
		if slices.ContainsFunc(k.shadows, func(other string) bool { _, ok := list.hashes[other]; return ok }) {
			rev.Ref = full
		}
		if k.mark != "" {
			published[k.Package] = true
			if _, ok := list.hashes[k.mark]; ok {
				rev.Lifecycle = api.DeletionProposed
			}
			if n, ok := r.noted.of[metadataKey{rev.Directory, rev.Commit}]; ok {
				rev.Labels, rev.Annotations = n.Labels, n.Annotations
			}
		}
		if rev.Number > 0 {
			if at, ok := latest[rev.Package]; !ok || all[at].Number < rev.Number {
				latest[rev.Package] = len(all)
			}
		}
		all = append(all, &found{rev, full})
	}
	for _, i := range latest {
		all[i].Latest = true
	}
	if !s.head.IsZero() {
		packages, commit, err := r.onBranch(ctx, s.head, published)
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", r.branch, err)
		}
		l := r.listing
		l.refs = list
		for _, pkg := range packages {
			all = append(all, &found{Revision: Revision{
				Repository: r.name, Package: pkg, Workspace: r.branch, Number: -1, Lifecycle: api.Published,
				Directory: r.prefix + pkg, Ref: l.shortRef("refs/heads/"+r.branch, r.prefix+pkg), Commit: commit.String(),
			}})
		}
	}
	slices.SortFunc(all, func(a, b *found) int { return compareRevisions(a.Revision, b.Revision) })
	s.revisions = make([]Revision, len(all))
	r.order = r.order[:0]
	for i, f := range all {
		s.revisions[i] = f.Revision
		if f.full != "" {
			s.refOf[f.full] = i
			r.order = append(r.order, f.full)
		}
	}
	for full, k := range r.known {
		if !k.is {
			r.order = append(r.order, full)
		}
	}
	return s, nil
}

// know makes known and order those of the state's refs.
func (r *gitRepository) know(ctx context.Context, s *gitState) error {
	known := make(map[string]*knownRef, len(r.known))
	order := make([]string, 0, len(r.known))
	for _, full := range r.order { // most are as they were, in the order of last time
		if k := r.known[full]; s.refs.hashes[full] == k.hash {
			known[full] = k
			order = append(order, full)
		}
	}
	l := r.listing
	l.refs = refs{hashes: map[string]plumbing.Hash{}}
	for full, h := range s.refs.hashes {
		if known[full] == nil {
			l.refs.hashes[full] = h
		}
	}
	fresh := l.fromRefs(func(string) bool { return true })
	want := make([]plumbing.Hash, 0, len(fresh)+1)
	for _, f := range fresh {
		want = append(want, f.hash)
	}
	if !s.head.IsZero() && s.head != r.noted.tip {
		want = append(want, s.head)
	}
	if err := r.store.trees(ctx, want...); err != nil {
		return err
	}
	for _, f := range fresh {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k := &knownRef{refRevision: f}
		if k.IsPublished() {
			k.Lifecycle = api.Published
			k.mark = "refs/heads/" + deletionBranches + "/" + strings.TrimPrefix(f.full, "refs/tags/")
		}
		_, k.Ref, _ = strings.Cut(strings.TrimPrefix(f.full, "refs/"), "/")
		for _, name := range refNames(f.Directory, k.Ref) {
			if name == f.full {
				break
			}
			k.shadows = append(k.shadows, name)
		}
		d, err := r.describe(f.hash)
		if err == nil && !d.tree.IsZero() { // a tag may be put on anything
			d.complete(&k.Revision)
			k.is, err = r.isPackage(d.tree, f.Directory)
		}
		if err != nil {
			return fmt.Errorf("ref %q: %w", f.full, err)
		}
		known[f.full] = k
		order = append(order, f.full)
	}
	r.known, r.order = known, order
	return nil
}

// onBranch are the packages on the branch, and its commit: the first packages on
// every way down, and those further down that have been published by themselves.
func (r *gitRepository) onBranch(ctx context.Context, head plumbing.Hash, published map[string]bool) ([]string, plumbing.Hash, error) {
	commit, top, err := peel(r.store, head)
	if err != nil {
		return nil, commit, err
	}
	root, err := subtree(r.store, top, strings.TrimSuffix(r.prefix, "/"))
	if err != nil || root.IsZero() {
		return nil, commit, err
	}
	w := packageWalk{ctx: ctx, from: r.store, limits: r.limits, before: r.below, below: make(map[plumbing.Hash][]string, len(r.below))}
	found, err := w.packages(root, 1, true)
	if err != nil {
		return nil, commit, err
	}
	r.below = w.below
	is := make(map[string]bool, len(found))
	for _, pkg := range found {
		is[pkg] = true
	}
	for pkg := range published {
		if is[pkg] {
			continue
		}
		for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
			if !is[dir] {
				continue
			}
			has, err := r.isPackage(top, r.prefix+pkg)
			if err != nil {
				return nil, commit, err
			}
			if has {
				found = append(found, pkg)
			}
			break
		}
	}
	return found, commit, nil
}

// packageWalk looks for packages in git trees.
type packageWalk struct {
	ctx           context.Context
	from          objects
	limits        Limits
	before, below map[plumbing.Hash][]string // what was found in trees before, and is now
	count         int
}

// packages are the paths of the first packages on every way down; "" is the tree
// itself, unless it is the top.
func (w *packageWalk) packages(tree plumbing.Hash, depth int, top bool) ([]string, error) {
	if !top {
		if found, ok := w.before[tree]; ok {
			w.below[tree] = found
			return found, nil
		}
		if found, ok := w.below[tree]; ok {
			return found, nil
		}
	}
	switch w.count++; {
	case w.ctx.Err() != nil:
		return nil, context.Cause(w.ctx)
	case w.count > w.limits.Files:
		return nil, fmt.Errorf("has more than %d directories", w.limits.Files)
	}
	entries, err := readTree(w.from, tree)
	if err != nil {
		return nil, err
	}
	if !top && slices.ContainsFunc(entries, func(e treeEntry) bool { return e.name == kptpkg.KptfileName && isFile(e) }) {
		w.below[tree] = []string{""}
		return []string{""}, nil
	}
	var found []string
	for _, e := range entries {
		if e.mode&modeType != modeDir || strings.Contains(e.name, "/") || kptpkg.CheckPath(e.name) != nil || depth >= w.limits.Depth {
			continue
		}
		sub, err := w.packages(e.hash, depth+1, false)
		if err != nil {
			return nil, err
		}
		if len(found)+len(sub) > w.limits.Files {
			return nil, fmt.Errorf("has more than %d packages", w.limits.Files)
		}
		for _, p := range sub {
			found = append(found, path.Join(e.name, p))
		}
	}
	if !top {
		w.below[tree] = found
	}
	return found, nil
}

// isPackage says whether a directory of a git tree has a Kptfile.
func (r *gitRepository) isPackage(root plumbing.Hash, dir string) (bool, error) {
	at, err := subtree(r.store, root, dir)
	if err != nil || at.IsZero() {
		return false, err
	}
	content, err := treeContent(r.store, at)
	if err != nil {
		return false, err
	}
	mode, _ := findEntry(content, kptpkg.KptfileName)
	return mode&modeType == modeRegular, nil
}

// Revisions implements [Repository].
func (r *gitRepository) Revisions(ctx context.Context, f Filter) ([]Revision, error) {
	s := r.now.Load()
	var all []Revision
	for _, rev := range s.revisions {
		if f.Matches(rev) {
			rev.Labels, rev.Annotations = maps.Clone(rev.Labels), maps.Clone(rev.Annotations)
			all = append(all, rev)
		}
	}
	return all, ctx.Err()
}

// Packages implements [Repository].
func (r *gitRepository) Packages(ctx context.Context, f Filter) ([]Package, error) {
	return packagesOf(r.now.Load().revisions, f), ctx.Err()
}

// packagesOf are the packages of revisions that match, which are sorted.
func packagesOf(revisions []Revision, f Filter) []Package {
	var all []Package
	for len(revisions) > 0 {
		pkg := revisions[0].Package
		end := slices.IndexFunc(revisions, func(r Revision) bool { return r.Package != pkg })
		if end < 0 {
			end = len(revisions)
		}
		matches, latest := false, ""
		for _, rev := range revisions[:end] {
			matches = matches || f.Matches(rev)
			if rev.Latest {
				latest = rev.Name()
			}
		}
		if matches {
			all = append(all, Package{Repository: revisions[0].Repository, Name: pkg, Latest: latest})
		}
		revisions = revisions[end:]
	}
	return all
}

// Resources implements [Repository].
func (r *gitRepository) Resources(ctx context.Context, rev Revision) (kptpkg.Tree, error) {
	var tree kptpkg.Tree
	err := r.work(ctx, func() error {
		commit, ok := wholeCommit(rev.Commit)
		if !ok {
			return fmt.Errorf("package revision %s names no commit", rev.Name())
		}
		return r.repaired(ctx, func() error {
			if err := r.store.trees(ctx, commit); err != nil && !errors.Is(err, errNoObject) {
				return err
			}
			_, root, err := peel(r.repo, commit)
			if err == nil {
				tree, err = r.readPackage(ctx, commit, root, rev.Directory)
			}
			if err != nil {
				return fmt.Errorf("package revision %s: %w", rev.Name(), err)
			}
			return nil
		})
	})
	return tree, err
}

// Close implements [Repository].
func (r *gitRepository) Close() error {
	r.busy <- struct{}{}
	defer r.release()
	r.closed = true
	return nil
}

// planned is a change of a repository and what comes of it.
type planned struct {
	updates []refUpdate
	result  Revision // as far as the plan tells
	ref     string   // of the result, full; "" for none
}

const (
	maxRaces = 100 // lost to somebody whose change was seen afterwards
	// Lost to nobody who could be seen: so often, and for so long. On a busy
	// machine whoever holds the lock may take its time.
	maxStuck  = 8
	stuckTime = 30 * time.Second
)

// change makes a change that plan finds for the state of the moment, anew for
// every other state that it turns out to be.
func (r *gitRepository) change(ctx context.Context, author Author, plan func(*gitState, *builder) (planned, error)) (Revision, error) {
	var result Revision
	err := r.work(ctx, func() error {
		unlock, err := r.store.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if author == (Author{}) {
			author = cmp.Or(r.author, porch)
		}
		when := time.Now() // of all attempts: the same change is the same commit
		var before *gitState
		var since time.Time // when before was first seen
		for races, stuck := 0, 0; ; {
			s, err := r.load(ctx)
			if err != nil {
				return err
			}
			var p planned
			var b *builder
			err = r.repaired(ctx, func() (err error) {
				b = &builder{from: r.store, made: memory{}, when: when, author: author}
				p, err = plan(s, b)
				return err
			})
			if err != nil {
				return err
			}
			result = p.result
			if len(p.updates) == 0 {
				return nil
			}
			if err := checkNesting(s.refs, p.updates); err != nil {
				return err
			}
			crashPoint("planned")
			err = r.pushed(ctx, push{p.updates, b.objects})
			if err == nil {
				result = r.after(ctx, s, p)
				return nil
			}
			if !errors.Is(err, errRace) {
				return err
			}
			switch races++; {
			case s != before:
				before, since = s, time.Now()
			default:
				stuck++
			}
			if races > maxRaces || stuck > maxStuck && time.Since(since) > stuckTime {
				return fmt.Errorf("%w: %w", ErrConflict, err)
			}
			wait := time.Duration(rand.Int64N(int64(r.pause) * int64(min(stuck+1, 10))))
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return result, err
}

// after adopts the state after a change and returns the changed revision. The
// change is made: what fails now is no error of it.
func (r *gitRepository) after(ctx context.Context, s *gitState, p planned) Revision {
	list := s.refs
	list.hashes = maps.Clone(list.hashes)
	if list.hashes == nil {
		list.hashes = map[string]plumbing.Hash{}
	}
	for _, u := range p.updates {
		if u.new.IsZero() {
			delete(list.hashes, u.name)
		} else {
			list.hashes[u.name] = u.new
		}
	}
	now, err := r.adopt(context.WithoutCancel(ctx), list)
	if err != nil {
		r.warn(fmt.Errorf("repository %s: reading it after a change: %w", r.text, err))
		return p.result
	}
	if i, ok := now.refOf[p.ref]; ok {
		return now.revisions[i]
	}
	return p.result
}

// lookTimeout is how long it may take to find out what became of a push.
const lookTimeout = 30 * time.Second

// pushed pushes, and finds out what became of a push whose answer was lost: all
// of its refs have moved, or none.
func (r *gitRepository) pushed(ctx context.Context, p push) error {
	for try := 1; ; try++ {
		err := r.store.push(ctx, p)
		var unsettled *unsettledError
		if !errors.As(err, &unsettled) {
			return err
		}
		looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		list, cannot := r.ask(looking)
		cancel()
		if cannot != nil {
			return fmt.Errorf("the push was cut off (%w), and whether it was made isn't known as the repository can't be asked: look at it before you do it again", err)
		}
		made, open := true, true
		for _, u := range p.updates {
			made = made && list.hashes[u.name] == u.new
			open = open && list.hashes[u.name] == u.old
		}
		switch {
		case made:
			return nil
		case !open:
			return fmt.Errorf("%w, and the push was cut off", errRace)
		case try >= r.tries || ctx.Err() != nil || !isTransient(unwrapUnexpected(unsettled.err)) && !errors.Is(unsettled.err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the push failed and changed nothing: %w", err)
		}
		select {
		case <-time.After(r.pause * time.Duration(try)):
		case <-ctx.Done():
		}
	}
}
