package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// checkNew says whether a revision can be called so.
func checkNew(pkg, workspace string) error {
	if err := kptpkg.CheckPath(pkg); err != nil {
		return fmt.Errorf("package: %w", err)
	}
	for seg := range strings.SplitSeq(pkg, "/") {
		if !subdomain.MatchString(seg) || strings.HasSuffix(seg, ".lock") {
			return fmt.Errorf("package %q: %q is no name: write small letters, digits and -, and slashes between names", shorten(pkg), shorten(seg))
		}
	}
	if len(workspace) > 253 || !subdomain.MatchString(workspace) || strings.HasSuffix(workspace, ".lock") {
		return fmt.Errorf("workspace %q is no name: write small letters, digits and -", shorten(workspace))
	}
	return nil
}

// transitions are the lifecycles that may follow one; "" is that of a new
// revision.
var transitions = map[api.Lifecycle][]api.Lifecycle{
	"":                   {api.Draft, api.Proposed, api.Published},
	api.Draft:            {api.Draft, api.Proposed},
	api.Proposed:         {api.Proposed, api.Draft, api.Published},
	api.Published:        {api.Published, api.DeletionProposed},
	api.DeletionProposed: {api.DeletionProposed, api.Published},
}

// checkTransition says whether a lifecycle may follow another.
func checkTransition(name string, from, to api.Lifecycle) error {
	allowed := transitions[from]
	if slices.Contains(allowed, to) {
		return nil
	}
	var can []string
	for _, l := range allowed {
		if l != from {
			can = append(can, string(l))
		}
	}
	return fmt.Errorf("package revision %s is %s and can't become %s: it can become %s", name, cmp.Or(from, "new"), to, strings.Join(can, " or "))
}

// CreateDraft implements [Repository].
func (r *gitRepository) CreateDraft(ctx context.Context, pkg, workspace string) (*Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(checkNew(pkg, workspace), r.now.Load().free(r, pkg, workspace)); err != nil {
		return nil, fmt.Errorf("repository %s: %w", r.text, err)
	}
	return &Draft{pkg: pkg, workspace: workspace}, nil
}

// free says whether there can be a revision of that name.
func (s *gitState) free(r *gitRepository, pkg, workspace string) error {
	if workspace == r.branch {
		return fmt.Errorf("workspace %q is the name of the branch, and stands for the package as it is there: choose another", workspace)
	}
	name := RevisionName{r.name, pkg, workspace}.String()
	if len(name) > 253 {
		return fmt.Errorf("package revision %s has a name of %d characters, more than 253", shorten(name)+"...", len(name))
	}
	for _, have := range s.revisions {
		switch {
		case have.IsPlaceholder():
		case have.Package == pkg && have.Workspace == workspace:
			return fmt.Errorf("package %s has the workspace %q already (%s): choose another", pkg, workspace, have.Lifecycle)
		case have.Name() == name:
			return fmt.Errorf("package revision %s would have the name of one of package %s: choose another workspace", name, have.Package)
		}
	}
	return nil
}

// OpenDraft implements [Repository].
func (r *gitRepository) OpenDraft(ctx context.Context, rev Revision) (*Draft, error) {
	if rev.IsPlaceholder() {
		return nil, fmt.Errorf("repository %s: %s is a placeholder, the package as it is on the branch, and no revision: it can't be changed", r.text, rev.Name())
	}
	if _, err := r.now.Load().find(r, rev); err != nil {
		return nil, fmt.Errorf("repository %s: %w", r.text, err)
	}
	return &Draft{pkg: rev.Package, workspace: rev.Workspace, of: &rev, read: func(ctx context.Context) (kptpkg.Tree, error) {
		return r.Resources(ctx, rev)
	}}, ctx.Err()
}

// find returns a revision as it is now. It must be what it was when the caller
// saw it.
func (s *gitState) find(r *gitRepository, rev Revision) (Revision, error) {
	i, ok := s.refOf[r.refOf(rev)]
	if !ok {
		if other := slices.IndexFunc(s.revisions, func(o Revision) bool {
			return o.Package == rev.Package && o.Workspace == rev.Workspace && !o.IsPlaceholder()
		}); other >= 0 {
			return Revision{}, fmt.Errorf("%w: package revision %s was %s and somebody else made it %s", ErrConflict, rev.Name(), rev.Lifecycle, s.revisions[other].Lifecycle)
		}
		return Revision{}, fmt.Errorf("package revision %s %w: it isn't there any more", rev.Name(), ErrNotFound)
	}
	now := s.revisions[i]
	if now.Commit != rev.Commit {
		return Revision{}, fmt.Errorf("%w: somebody else changed package revision %s: it was at commit %s and is at %s", ErrConflict, rev.Name(), rev.Commit, now.Commit)
	}
	return now, nil
}

// CloseDraft implements [Repository].
func (r *gitRepository) CloseDraft(ctx context.Context, d *Draft, c Close) (Revision, error) {
	if d.closed {
		return Revision{}, fmt.Errorf("package %s, workspace %s: the draft was closed before", d.pkg, d.workspace)
	}
	rev, err := r.change(ctx, c.Author, func(s *gitState, b *builder) (planned, error) {
		cl := closing{r: r, s: s, b: b, draft: d, Close: c}
		if d.of != nil && d.of.IsPublished() {
			return cl.published()
		}
		return cl.unpublished()
	})
	if err != nil {
		return Revision{}, err
	}
	d.closed = true
	return rev, nil
}

// closing is the making of a plan for a draft.
type closing struct {
	r     *gitRepository
	s     *gitState
	b     *builder
	draft *Draft
	Close
}

// directory is the package's whole path.
func (c *closing) directory() string { return c.r.prefix + c.draft.pkg }

// unpublished plans for a new revision, a Draft or a Proposed one.
func (c *closing) unpublished() (planned, error) {
	var p planned
	now := Revision{Repository: c.r.name, Package: c.draft.pkg, Workspace: c.draft.workspace, Directory: c.directory()}
	to := cmp.Or(c.Lifecycle, api.Draft)
	head := c.s.head // with what this plan adds to it
	var tip plumbing.Hash
	if c.draft.of == nil {
		if err := c.s.free(c.r, c.draft.pkg, c.draft.workspace); err != nil {
			return p, fmt.Errorf("%w: %w", ErrConflict, err)
		}
		if len(c.draft.updates) == 0 {
			return p, fmt.Errorf("package %s, workspace %s: nothing was written to the new revision", c.draft.pkg, c.draft.workspace)
		}
		if head.IsZero() {
			head = c.b.commit(c.b.tree(nil), "Initial commit\n")
		}
		tip = head
	} else {
		var err error
		if now, err = c.s.find(c.r, *c.draft.of); err != nil {
			return p, err
		}
		to = cmp.Or(c.Lifecycle, now.Lifecycle)
		tip = plumbing.NewHash(now.Commit)
	}
	if err := checkTransition(now.Name(), now.Lifecycle, to); err != nil {
		return p, err
	}
	labels, annotations := now.Labels, now.Annotations
	if c.Labels != nil {
		labels = cloneMetadata(c.Labels)
	}
	if c.Annotations != nil {
		annotations = cloneMetadata(c.Annotations)
	}
	says := note{Package: c.directory(), WorkspaceName: c.draft.workspace, Revision: "0", Labels: labels, Annotations: annotations}
	start := tip
	tip, err := c.commitUpdates(tip, says)
	if err != nil {
		return p, err
	}
	described := !equalMetadata(labels, now.Labels) || !equalMetadata(annotations, now.Annotations)
	if tip == start && described && to != api.Published {
		if tip, err = c.commitNote(tip, says, fmt.Sprintf("Changing metadata of package revision %s/%s", c.directory(), c.draft.workspace)); err != nil {
			return p, err
		}
	}
	p.result = now
	p.result.Lifecycle, p.result.Commit, p.result.Labels, p.result.Annotations = to, tip.String(), labels, annotations
	var old plumbing.Hash // of the ref that the revision has now
	oldRef := ""
	if c.draft.of != nil {
		oldRef = c.r.refOf(now)
		old = c.s.refs.hashes[oldRef]
	}
	switch to {
	case api.Published:
		if err := c.publish(&p, head, tip, says); err != nil {
			return p, err
		}
	default:
		kind := draftBranches
		if to == api.Proposed {
			kind = proposedBranches
		}
		p.result.Ref = kind + "/" + c.directory() + "/" + c.draft.workspace
		p.ref = "refs/heads/" + p.result.Ref
		if p.ref == oldRef && tip == old {
			p.result = now
			return p, nil // as it was
		}
		u := refUpdate{name: p.ref, new: tip}
		if p.ref == oldRef {
			u.old = old
		}
		p.updates = append(p.updates, u)
		if head != c.s.head {
			p.updates = append(p.updates, refUpdate{name: "refs/heads/" + c.r.branch, old: c.s.head, new: head})
		}
	}
	if oldRef != "" && oldRef != p.ref {
		p.updates = append(p.updates, refUpdate{name: oldRef, old: old})
	}
	return p, nil
}

// commitUpdates makes a commit for each update.
func (c *closing) commitUpdates(tip plumbing.Hash, says note) (plumbing.Hash, error) {
	for _, u := range c.draft.updates {
		_, root, err := peel(c.b, tip)
		if err != nil {
			return tip, err
		}
		files, err := c.b.files(u.content)
		if err != nil {
			return tip, fmt.Errorf("package %s: %w", c.draft.pkg, err)
		}
		changed, err := c.b.replace(root, c.directory(), files)
		if err != nil {
			return tip, err
		}
		t := api.Task{Type: taskRender}
		if u.task != nil {
			t = *u.task
		} else if changed == root {
			continue
		}
		if says.Task, err = encodeTask(t); err != nil {
			return tip, err
		}
		message, err := says.message(cmp.Or(subjects[t.Type], "Intermediate commit: "+string(t.Type)))
		if err != nil {
			return tip, err
		}
		tip = c.b.commit(changed, message, tip)
	}
	return tip, nil
}

// commitNote makes a commit that changes no file.
func (c *closing) commitNote(tip plumbing.Hash, says note, subject string) (plumbing.Hash, error) {
	_, root, err := peel(c.b, tip)
	if err != nil {
		return tip, err
	}
	message, err := says.message(subject)
	if err != nil {
		return tip, err
	}
	return c.b.commit(root, message, tip), nil
}

// publish plans the merge of a revision's commit into the branch, and its tag.
func (c *closing) publish(p *planned, head, tip plumbing.Hash, says note) error {
	dir := c.directory()
	number := c.s.last[c.draft.pkg] + 1
	says.Revision, says.Task = strconv.Itoa(number), nil
	_, draftRoot, err := peel(c.b, tip)
	if err != nil {
		return err
	}
	files, err := subtree(c.b, draftRoot, dir)
	if err != nil {
		return err
	}
	if files.IsZero() {
		return fmt.Errorf("package revision %s has no files", p.result.Name())
	}
	var root plumbing.Hash
	if head.IsZero() {
		head = c.b.commit(c.b.tree(nil), "Initial commit\n")
	}
	if _, root, err = peel(c.b, head); err != nil {
		return err
	}
	old, err := subtree(c.b, root, dir)
	if err != nil {
		return err
	}
	if !old.IsZero() {
		if files, err = c.b.keepNested(old, files, dir, c.r.publishedDirs(c.s)); err != nil {
			return err
		}
	}
	if root, err = c.b.replace(root, dir, files); err != nil {
		return err
	}
	message, err := says.message(fmt.Sprintf("Approving package revision %s/%d", dir, number))
	if err != nil {
		return err
	}
	merge := c.b.commit(root, message, head, tip)
	p.result.Number, p.result.Latest = number, true
	p.result.Commit = merge.String()
	p.result.Ref = fmt.Sprintf("%s/v%d", dir, number)
	p.result.PublishedBy, p.result.PublishedAt = cmp.Or(c.b.author.Email, c.b.author.Name), c.b.when.UTC().Truncate(1e9)
	p.ref = "refs/tags/" + p.result.Ref
	p.updates = append(p.updates,
		refUpdate{name: "refs/heads/" + c.r.branch, old: c.s.head, new: merge},
		refUpdate{name: p.ref, new: merge},
	)
	return nil
}

// publishedDirs are the whole paths of packages that have been published, each
// once.
func (r *gitRepository) publishedDirs(s *gitState) []string {
	var dirs []string
	for _, rev := range s.revisions {
		if rev.IsPublished() && (len(dirs) == 0 || dirs[len(dirs)-1] != rev.Directory) {
			dirs = append(dirs, rev.Directory)
		}
	}
	return dirs
}

// published plans for a published revision: its tag and content never change.
func (c *closing) published() (planned, error) {
	now, err := c.s.find(c.r, *c.draft.of)
	if err != nil {
		return planned{}, err
	}
	to := cmp.Or(c.Lifecycle, now.Lifecycle)
	if err := checkTransition(now.Name(), now.Lifecycle, to); err != nil {
		return planned{}, err
	}
	p := planned{result: now, ref: c.r.refOf(now)}
	if c.Labels != nil {
		p.result.Labels = cloneMetadata(c.Labels)
	}
	if c.Annotations != nil {
		p.result.Annotations = cloneMetadata(c.Annotations)
	}
	if !equalMetadata(p.result.Labels, now.Labels) || !equalMetadata(p.result.Annotations, now.Annotations) {
		if c.s.head.IsZero() {
			return p, fmt.Errorf("the branch %s, on which a change of %s is noted, isn't there", c.r.branch, now.Name())
		}
		says := note{Package: c.directory(), WorkspaceName: now.Workspace, Revision: strconv.Itoa(now.Number), Commit: now.Commit, Labels: p.result.Labels, Annotations: p.result.Annotations}
		tip, err := c.commitNote(c.s.head, says, fmt.Sprintf("Changing metadata of package revision %s/%d", c.directory(), now.Number))
		if err != nil {
			return p, err
		}
		p.updates = append(p.updates, refUpdate{name: "refs/heads/" + c.r.branch, old: c.s.head, new: tip})
	}
	if to != now.Lifecycle {
		p.result.Lifecycle = to
		mark := refUpdate{name: c.r.deletionMark(now), new: plumbing.NewHash(now.Commit)}
		if to == api.Published {
			mark.old, mark.new = c.s.refs.hashes[mark.name], plumbing.ZeroHash
		}
		p.updates = append(p.updates, mark)
	}
	return p, nil
}

// deletionMark is the ref by which a published revision's deletion is proposed.
func (r *gitRepository) deletionMark(rev Revision) string {
	return "refs/heads/" + deletionBranches + "/" + strings.TrimPrefix(r.refOf(rev), "refs/tags/")
}

// DeleteRevision implements [Repository].
func (r *gitRepository) DeleteRevision(ctx context.Context, rev Revision) error {
	if rev.IsPlaceholder() {
		_, err := r.change(ctx, Author{}, func(s *gitState, b *builder) (planned, error) {
			var p planned
			tip, err := r.removal(s, b, rev.Package)
			if err == nil && tip == s.head {
				err = fmt.Errorf("package %s %w on the branch %s", rev.Package, ErrNotFound, r.branch)
			}
			p.updates = []refUpdate{{name: "refs/heads/" + r.branch, old: s.head, new: tip}}
			return p, err
		})
		return err
	}
	_, err := r.change(ctx, Author{}, func(s *gitState, b *builder) (planned, error) {
		now, err := s.find(r, rev)
		if err != nil {
			return planned{}, err
		}
		return planned{updates: r.deletion(s, now)}, deletable(now)
	})
	return err
}

// deletable says whether a revision may be deleted.
func deletable(rev Revision) error {
	if rev.Lifecycle == api.Published && !rev.IsPlaceholder() {
		return fmt.Errorf("package revision %s is Published: propose its deletion first", rev.Name())
	}
	return nil
}

// deletion are the updates that delete a revision.
func (r *gitRepository) deletion(s *gitState, rev Revision) []refUpdate {
	ref := r.refOf(rev)
	updates := []refUpdate{{name: ref, old: s.refs.hashes[ref]}}
	if rev.IsPublished() {
		if old, ok := s.refs.hashes[r.deletionMark(rev)]; ok {
			updates = append(updates, refUpdate{name: r.deletionMark(rev), old: old})
		}
	}
	return updates
}

// removal makes a commit that takes a package off the branch; it is the branch's
// own when there is none.
func (r *gitRepository) removal(s *gitState, b *builder, pkg string) (plumbing.Hash, error) {
	if s.head.IsZero() {
		return s.head, nil
	}
	dir := r.prefix + pkg
	_, root, err := peel(b, s.head)
	if err != nil {
		return s.head, err
	}
	old, err := subtree(b, root, dir)
	if err != nil || old.IsZero() {
		return s.head, err
	}
	keep, err := b.keepNested(old, plumbing.ZeroHash, dir, r.publishedDirs(s))
	if err != nil || keep == old {
		return s.head, err
	}
	if root, err = b.replace(root, dir, keep); err != nil {
		return s.head, err
	}
	if root.IsZero() {
		root = b.tree(nil)
	}
	return b.commit(root, "Delete "+dir+"\n", s.head), nil
}

// CreatePackage implements [Repository].
func (r *gitRepository) CreatePackage(ctx context.Context, pkg string) error {
	if err := checkNew(pkg, "v1"); err != nil {
		return fmt.Errorf("repository %s: %w", r.text, err)
	}
	_, err := r.change(ctx, Author{}, func(s *gitState, b *builder) (planned, error) {
		var p planned
		if i := slices.IndexFunc(s.revisions, func(rev Revision) bool { return rev.Package == pkg }); i >= 0 {
			return p, fmt.Errorf("there is a package %s already (%s)", pkg, s.revisions[i].Name())
		}
		head := s.head
		if head.IsZero() {
			head = b.commit(b.tree(nil), "Initial commit\n")
		}
		_, root, err := peel(b, head)
		if err != nil {
			return p, err
		}
		old, err := subtree(b, root, r.prefix+pkg)
		if err != nil {
			return p, err
		}
		if !old.IsZero() {
			return p, fmt.Errorf("the directory %s is in use on the branch %s", r.prefix+pkg, r.branch)
		}
		kptfile := fmt.Sprintf("apiVersion: %s\nkind: Kptfile\nmetadata:\n  name: %s\n  annotations:\n    %s: \"true\"\n", kptpkg.KptfileAPIVersion, pkg, api.LocalConfigAnnotation)
		content, err := kptpkg.NewTree(kptpkg.NewFile(kptpkg.KptfileName, kptpkg.Regular, []byte(kptfile)))
		if err != nil {
			return p, err
		}
		files, err := b.files(content)
		if err != nil {
			return p, err
		}
		if root, err = b.replace(root, r.prefix+pkg, files); err != nil {
			return p, err
		}
		tip := b.commit(root, "Create "+r.prefix+pkg+"\n", head)
		p.updates = []refUpdate{{name: "refs/heads/" + r.branch, old: s.head, new: tip}}
		return p, nil
	})
	return err
}

// DeletePackage implements [Repository].
func (r *gitRepository) DeletePackage(ctx context.Context, pkg string) error {
	_, err := r.change(ctx, Author{}, func(s *gitState, b *builder) (planned, error) {
		var p planned
		found := false
		for _, rev := range s.revisions {
			if rev.Package != pkg {
				continue
			}
			found = true
			if rev.IsPlaceholder() {
				continue
			}
			if err := deletable(rev); err != nil {
				return p, err
			}
			p.updates = append(p.updates, r.deletion(s, rev)...)
		}
		if !found {
			return p, fmt.Errorf("package %s %w", pkg, ErrNotFound)
		}
		// Without its revisions, so that it isn't kept as a nested one.
		tip, err := r.removal(s, b, pkg)
		if err == nil && tip != s.head {
			p.updates = append(p.updates, refUpdate{name: "refs/heads/" + r.branch, old: s.head, new: tip})
		}
		return p, err
	})
	return err
}

// maxHistory bounds the commits that are read to find a revision's tasks.
const maxHistory = 10_000

// Tasks implements [Repository].
func (r *gitRepository) Tasks(ctx context.Context, rev Revision) ([]api.Task, error) {
	if rev.IsPlaceholder() {
		return nil, nil
	}
	commit, ok := wholeCommit(rev.Commit)
	if !ok {
		return nil, fmt.Errorf("repository %s: package revision %s names no commit", r.text, rev.Name())
	}
	var tasks []api.Task
	err := r.work(ctx, func() error {
		return r.repaired(ctx, func() (err error) {
			tasks, err = r.tasks(ctx, rev, commit)
			return err
		})
	})
	return tasks, err
}

// tasks reads history from the commit of a revision to where it begins: to the
// commit before those of its workspace.
func (r *gitRepository) tasks(ctx context.Context, rev Revision, at plumbing.Hash) ([]api.Task, error) {
	var tasks []api.Task
	for range maxHistory {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		typ, content, err := r.store.read(at, maxMeta)
		if errors.Is(err, errNoObject) && at.String() != rev.Commit && isOnDisk(r.store) {
			break // where the history of a shallow clone ends
		}
		if err != nil {
			return nil, err
		}
		if typ != plumbing.CommitObject {
			break
		}
		mine, other := false, false
		for _, n := range slices.Backward(notesIn(content)) {
			if n.Package != rev.Directory && n.Package != rev.Package || n.WorkspaceName != rev.Workspace && !(n.WorkspaceName == "" && n.Revision == rev.Workspace) {
				other = true
				continue
			}
			mine = true
			if len(n.Task) == 0 {
				continue
			}
			t, err := decodeTask(n.Task)
			if err != nil || !isTask(t) {
				continue
			}
			tasks = append(tasks, t)
		}
		parents := parentsOf(content)
		switch {
		case other && !mine, len(parents) == 0:
			slices.Reverse(tasks)
			return tasks, nil
		case len(parents) > 1:
			at = parents[len(parents)-1] // the merged one
			continue
		}
		if !mine {
			// Somebody's own commit, of the revision or of what it began with.
			before, err := r.isSame(at, parents[0], rev.Directory)
			if err != nil && !errors.Is(err, errNoObject) {
				return nil, err
			}
			if before || err != nil {
				break
			}
		}
		at = parents[0]
	}
	slices.Reverse(tasks)
	return tasks, nil
}

// isSame says whether a directory is the same in two commits.
func (r *gitRepository) isSame(a, b plumbing.Hash, dir string) (bool, error) {
	var found [2]plumbing.Hash
	for i, commit := range []plumbing.Hash{a, b} {
		_, root, err := peel(r.store, commit)
		if err != nil {
			return false, err
		}
		if found[i], err = subtree(r.store, root, dir); err != nil {
			return false, err
		}
	}
	return found[0] == found[1], nil
}
