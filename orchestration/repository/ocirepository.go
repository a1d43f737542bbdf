package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// What is noted on an image beside its lifecycle and revision. The workspace
// keeps two revisions with the same files from being one manifest.
const (
	workspaceAnnotation   = "kpt.dev/workspace"
	labelsAnnotation      = "stoop.dev/labels"      // JSON
	annotationsAnnotation = "stoop.dev/annotations" // JSON
	authorAnnotation      = "org.opencontainers.image.authors"
	createdAnnotation     = "org.opencontainers.image.created" // of a published one: when
)

// ociLocks is the directory in the cache's that has the locks of packages.
const ociLocks = "oci-v1"

// ociRepository is a Repository in a registry, laid out as an [OCIRegistration]
// says. To close a draft is to push an image, whose layer is the package and
// whose history notes the tasks. A registry can't refuse a push because somebody
// else was faster: that is looked at right before. Processes that share a cache
// wait for one another; what others change in between is overwritten, and what
// they publish in between gets the same number. There are no placeholders, and no
// packages without revisions.
type ociRepository struct {
	client *OCI
	reg    OCIRegistration
	loc    location
	busy   chan struct{}
	closed bool // for whoever holds the token in busy

	now atomic.Pointer[[]Revision] // sorted
}

func (o *OCI) openRegistry(ctx context.Context, reg OCIRegistration) (*ociRepository, error) {
	reg.Registry = strings.TrimRight(reg.Registry, "/")
	_, loc, err := parseImage(reg.Registry + "/x:x")
	if err != nil {
		return nil, fmt.Errorf("registry %q: it is no address: write HOST[:PORT][/PATH]", shorten(api.WithoutCredentials(reg.Registry)))
	}
	loc.text = reg.Registry
	if err := o.Access.permitHost(loc); err != nil {
		return nil, err
	}
	r := &ociRepository{client: o, reg: reg, loc: loc, busy: make(chan struct{}, 1)}
	if err := r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *ociRepository) work(ctx context.Context, do func() error) error {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return fmt.Errorf("registry %s: %w", r.loc.text, context.Cause(ctx))
	}
	if r.closed {
		return fmt.Errorf("registry %s: it was closed", r.loc.text)
	}
	if err := do(); err != nil {
		return fmt.Errorf("registry %s: %w", r.loc.text, err)
	}
	return nil
}

// change has do work on the revisions of a package, of the moment, while no other
// process with the same cache does.
func (r *ociRepository) change(ctx context.Context, pkg string, do func([]Revision) error) error {
	return r.work(ctx, func() error {
		unlock, err := r.lock(ctx, pkg)
		if err != nil {
			return err
		}
		defer unlock()
		all, err := r.of(ctx, pkg)
		if err != nil {
			return err
		}
		return do(all)
	})
}

// lock keeps other processes with the same cache from changing a package. Where
// nothing can be written it does nothing, as a cache does.
func (r *ociRepository) lock(ctx context.Context, pkg string) (unlock func(), err error) {
	none := func() {}
	if r.client.Cache == nil || r.client.Cache.Dir == "" {
		return none, nil
	}
	dir := filepath.Join(r.client.Cache.Dir, ociLocks)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return none, nil
	}
	lock, err := lockFile(ctx, filepath.Join(dir, fmt.Sprintf("%x.lock", sha256.Sum256([]byte(r.reg.Registry+"/"+pkg)))))
	switch {
	case err == nil:
		return func() { _ = lock.unlock() }, nil
	case ctx.Err() != nil:
		return nil, err
	}
	return none, nil
}

// image is the name of a package's repository, or of one of its images.
func (r *ociRepository) image(pkg, tag string) string { return r.reg.Registry + "/" + pkg + ":" + tag }

// puller talks to the repository of a package.
func (r *ociRepository) puller(ctx context.Context, pkg, tag string) (*puller, name.Reference, error) {
	ref, _, err := parseImage(r.image(pkg, tag))
	if err != nil {
		return nil, nil, err
	}
	p, err := r.client.puller(ctx, ref, r.loc, r.reg.Credential)
	return p, ref, err
}

// Refresh implements [Repository].
func (r *ociRepository) Refresh(ctx context.Context) error {
	return r.work(ctx, func() error {
		all, err := r.list(ctx)
		if err == nil {
			r.now.Store(&all)
		}
		return err
	})
}

// list asks for all revisions.
func (r *ociRepository) list(ctx context.Context) ([]Revision, error) {
	p, ref, err := r.puller(ctx, "x", "x")
	if err != nil {
		return nil, err
	}
	var repos []string
	err = p.retry(ctx, func() (err error) {
		repos, err = remote.Catalog(ctx, ref.Context().Registry, append(p.options, remote.WithContext(ctx))...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing its repositories, which not every registry lets one do: %w", p.explain(err))
	}
	prefix := strings.TrimSuffix(ref.Context().RepositoryStr(), "x")
	found := make([][]Revision, len(repos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, repo := range repos {
		pkg, ok := strings.CutPrefix(repo, prefix)
		if !ok || kptpkg.CheckPath(pkg) != nil {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = r.of(ctx, pkg)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(found...)
	slices.SortFunc(all, compareRevisions)
	return all, nil
}

// of lists the revisions of a package; none when there is no such package.
func (r *ociRepository) of(ctx context.Context, pkg string) ([]Revision, error) {
	p, ref, err := r.puller(ctx, pkg, "x")
	if err != nil {
		return nil, err
	}
	var tags []string
	err = p.retry(ctx, func() (err error) {
		tags, err = remote.List(ref.Context(), append(p.options, remote.WithContext(ctx))...)
		return err
	})
	if err != nil {
		if err = p.explain(err); errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return nil, fmt.Errorf("package %s: listing its tags: %w", pkg, err)
	}
	var all []Revision
	latest := -1
	for _, tag := range tags {
		digest, m, err := p.manifest(ctx, ref.Context().Tag(tag))
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", r.image(pkg, tag), err)
		}
		rev := Revision{Repository: r.reg.Name, Package: pkg, Workspace: tag, Ref: r.image(pkg, tag), Commit: digest}
		if err := rev.readNotes(m.Annotations); err != nil {
			return nil, fmt.Errorf("image %s: %w", rev.Ref, err)
		}
		all = append(all, rev)
		if rev.Number > 0 && (latest < 0 || all[latest].Number < rev.Number) {
			latest = len(all) - 1
		}
	}
	if latest >= 0 {
		all[latest].Latest = true
	}
	return all, nil
}

// readNotes takes over what is noted on an image.
func (r *Revision) readNotes(notes map[string]string) error {
	switch l := api.Lifecycle(notes[lifecycleAnnotation]); l {
	case "":
		r.Lifecycle = api.Published
	case api.Draft, api.Proposed, api.Published, api.DeletionProposed:
		r.Lifecycle = l
	default:
		return fmt.Errorf("its annotation %s is %q, and no lifecycle", lifecycleAnnotation, shorten(string(l)))
	}
	if r.IsPublished() {
		r.Number = revisionNumber(r.Workspace)
		if n, err := strconv.Atoi(strings.TrimPrefix(notes[revisionAnnotation], "v")); err == nil && n > 0 {
			r.Number = n
		}
		r.PublishedBy = notes[authorAnnotation]
		if at, err := time.Parse(time.RFC3339, notes[createdAnnotation]); err == nil {
			r.PublishedAt = at.UTC()
		}
	}
	// What isn't JSON was noted by somebody else.
	_ = json.Unmarshal([]byte(notes[labelsAnnotation]), &r.Labels)
	_ = json.Unmarshal([]byte(notes[annotationsAnnotation]), &r.Annotations)
	return nil
}

// notes are those of readNotes.
func (r *Revision) notes() (map[string]string, error) {
	notes := map[string]string{lifecycleAnnotation: string(r.Lifecycle), workspaceAnnotation: r.Workspace}
	if r.IsPublished() {
		notes[revisionAnnotation] = strconv.Itoa(r.Number)
		notes[authorAnnotation] = r.PublishedBy
		notes[createdAnnotation] = r.PublishedAt.Format(time.RFC3339)
	}
	for key, values := range map[string]map[string]string{labelsAnnotation: r.Labels, annotationsAnnotation: r.Annotations} {
		if len(values) == 0 {
			continue
		}
		text, err := json.Marshal(values)
		if err != nil {
			return nil, err
		}
		notes[key] = string(text)
	}
	return notes, nil
}

// Revisions implements [Repository].
func (r *ociRepository) Revisions(ctx context.Context, f Filter) ([]Revision, error) {
	var all []Revision
	for _, rev := range *r.now.Load() {
		if f.Matches(rev) {
			rev.Labels, rev.Annotations = maps.Clone(rev.Labels), maps.Clone(rev.Annotations)
			all = append(all, rev)
		}
	}
	return all, ctx.Err()
}

// Packages implements [Repository].
func (r *ociRepository) Packages(ctx context.Context, f Filter) ([]Package, error) {
	return packagesOf(*r.now.Load(), f), ctx.Err()
}

// Version implements [Repository].
func (r *ociRepository) Version(ctx context.Context) (string, error) {
	version := ""
	err := r.work(ctx, func() error {
		all, err := r.list(ctx)
		version = versionOf(all)
		return err
	})
	return version, err
}

func (r *ociRepository) knownVersion() string { return versionOf(*r.now.Load()) }

func versionOf(all []Revision) string {
	digest := sha256.New()
	for _, rev := range all {
		fmt.Fprintf(digest, "%s %s\n", rev.Commit, rev.Ref)
	}
	return fmt.Sprintf("%x", digest.Sum(nil))
}

// Resources implements [Repository].
func (r *ociRepository) Resources(ctx context.Context, rev Revision) (kptpkg.Tree, error) {
	tree, _, err := r.client.Fetch(ctx, OCIRef{Image: r.reg.Registry + "/" + rev.Package + "@" + rev.Commit, Credential: r.reg.Credential})
	return tree, err
}

// Tasks implements [Repository].
func (r *ociRepository) Tasks(ctx context.Context, rev Revision) ([]api.Task, error) {
	var tasks []api.Task
	err := r.work(ctx, func() error {
		_, config, err := r.pull(ctx, rev)
		if err != nil {
			return err
		}
		for _, h := range config.History {
			raw, ok := strings.CutPrefix(h.CreatedBy, "kpt:")
			if !ok || !json.Valid([]byte(raw)) {
				continue
			}
			if t, err := decodeTask(json.RawMessage(raw)); err == nil && isTask(t) {
				tasks = append(tasks, t)
			}
		}
		return nil
	})
	return tasks, err
}

// pull returns the image of a revision, and its config.
func (r *ociRepository) pull(ctx context.Context, rev Revision) (image v1.Image, config *v1.ConfigFile, err error) {
	p, ref, err := r.puller(ctx, rev.Package, rev.Workspace)
	if err != nil {
		return nil, nil, err
	}
	err = p.retry(ctx, func() error {
		if image, err = remote.Image(ref.Context().Digest(rev.Commit), append(p.options, remote.WithContext(ctx))...); err == nil {
			config, err = image.ConfigFile()
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("image %s: %w", rev.Ref, p.explain(err))
	}
	return image, config, nil
}

// CreateDraft implements [Repository].
func (r *ociRepository) CreateDraft(ctx context.Context, pkg, workspace string) (*Draft, error) {
	err := checkNew(pkg, workspace)
	if err == nil {
		err = r.free(*r.now.Load(), pkg, workspace)
	}
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", r.loc.text, err)
	}
	return &Draft{pkg: pkg, workspace: workspace}, ctx.Err()
}

func (r *ociRepository) free(all []Revision, pkg, workspace string) error {
	if len(workspace) > 128 {
		return fmt.Errorf("workspace %q has more than 128 characters, which tags can't", shorten(workspace))
	}
	name := RevisionName{r.reg.Name, pkg, workspace}.String()
	for _, have := range all {
		switch {
		case have.Package == pkg && have.Workspace == workspace:
			return fmt.Errorf("package %s has the workspace %q already (%s): choose another", pkg, workspace, have.Lifecycle)
		case have.Name() == name:
			return fmt.Errorf("package revision %s would have the name of one of package %s: choose another workspace", name, have.Package)
		}
	}
	return nil
}

// OpenDraft implements [Repository].
func (r *ociRepository) OpenDraft(ctx context.Context, rev Revision) (*Draft, error) {
	if _, err := findImage(*r.now.Load(), rev); err != nil {
		return nil, fmt.Errorf("registry %s: %w", r.loc.text, err)
	}
	return &Draft{pkg: rev.Package, workspace: rev.Workspace, of: &rev, read: func(ctx context.Context) (kptpkg.Tree, error) {
		return r.Resources(ctx, rev)
	}}, ctx.Err()
}

// findImage returns a revision as it is now, which must be what it was.
func findImage(all []Revision, rev Revision) (Revision, error) {
	i := slices.IndexFunc(all, func(o Revision) bool { return o.Ref == rev.Ref })
	switch {
	case i < 0:
		return rev, fmt.Errorf("package revision %s %w: it isn't there any more", rev.Name(), ErrNotFound)
	case all[i].Commit != rev.Commit:
		return rev, fmt.Errorf("%w: somebody else changed package revision %s: it was %s and is %s", ErrConflict, rev.Name(), rev.Commit, all[i].Commit)
	}
	return all[i], nil
}

// CloseDraft implements [Repository].
func (r *ociRepository) CloseDraft(ctx context.Context, d *Draft, c Close) (Revision, error) {
	if d.closed {
		return Revision{}, fmt.Errorf("package %s, workspace %s: the draft was closed before", d.pkg, d.workspace)
	}
	var result Revision
	err := r.change(ctx, d.pkg, func(all []Revision) (err error) {
		result, err = r.close(ctx, all, d, c)
		return err
	})
	if err != nil {
		return Revision{}, err
	}
	d.closed = true
	return result, nil
}

// close pushes a draft; all are the package's revisions.
func (r *ociRepository) close(ctx context.Context, all []Revision, d *Draft, c Close) (Revision, error) {
	rev := Revision{Repository: r.reg.Name, Package: d.pkg, Workspace: d.workspace, Ref: r.image(d.pkg, d.workspace)}
	to := cmp.Or(c.Lifecycle, api.Draft)
	if d.of == nil {
		if err := r.free(all, d.pkg, d.workspace); err != nil {
			return rev, fmt.Errorf("%w: %w", ErrConflict, err)
		}
		if len(d.updates) == 0 {
			return rev, fmt.Errorf("package %s, workspace %s: nothing was written to the new revision", d.pkg, d.workspace)
		}
	} else {
		now, err := findImage(all, *d.of)
		if err != nil {
			return rev, err
		}
		rev, to = now, cmp.Or(c.Lifecycle, now.Lifecycle)
	}
	before := rev
	if err := checkTransition(rev.Name(), rev.Lifecycle, to); err != nil {
		return rev, err
	}
	if !rev.IsPublished() && to == api.Published {
		for _, o := range all {
			rev.Number = max(rev.Number, o.Number)
		}
		rev.Number++
		by := c.Author
		if by == (Author{}) {
			by = porch
		}
		rev.PublishedBy, rev.PublishedAt = cmp.Or(by.Email, by.Name), time.Now().UTC().Truncate(time.Second)
	}
	rev.Lifecycle = to
	if c.Labels != nil {
		rev.Labels = cloneMetadata(c.Labels)
	}
	if c.Annotations != nil {
		rev.Annotations = cloneMetadata(c.Annotations)
	}
	if d.of != nil && len(d.updates) == 0 && to == before.Lifecycle && equalMetadata(rev.Labels, before.Labels) && equalMetadata(rev.Annotations, before.Annotations) {
		return before, nil
	}
	image, err := r.draw(ctx, d, before)
	if err != nil {
		return rev, err
	}
	notes, err := rev.notes()
	if err != nil {
		return rev, err
	}
	image = mutate.Annotations(image, notes).(v1.Image)
	digest, err := image.Digest()
	if err != nil {
		return rev, err
	}
	p, ref, err := r.puller(ctx, d.pkg, d.workspace)
	if err != nil {
		return rev, err
	}
	err = p.retry(ctx, func() error {
		return remote.Write(ref, image, append(p.options, remote.WithContext(ctx))...)
	})
	if err != nil {
		return rev, fmt.Errorf("image %s: %w", rev.Ref, p.explain(err))
	}
	rev.Commit = digest.String()
	return r.replaced(d.pkg, append(slices.DeleteFunc(slices.Clone(all), func(o Revision) bool { return o.Ref == rev.Ref }), rev), rev.Ref), nil
}

// draw makes the image of a draft without its notes.
func (r *ociRepository) draw(ctx context.Context, d *Draft, before Revision) (v1.Image, error) {
	var history []v1.History
	var image v1.Image
	if d.of != nil {
		old, config, err := r.pull(ctx, before)
		if err != nil {
			return nil, err
		}
		image, history = old, slices.DeleteFunc(slices.Clone(config.History), func(h v1.History) bool { return !strings.HasPrefix(h.CreatedBy, "kpt:") })
	}
	if len(d.updates) == 0 {
		return image, nil
	}
	for _, u := range d.updates {
		t := api.Task{Type: taskRender}
		if u.task != nil {
			t = *u.task
		}
		text, err := encodeTask(t)
		if err != nil {
			return nil, err
		}
		history = append(history, v1.History{CreatedBy: "kpt:" + string(text)})
	}
	known, content := paths{}, d.updates[len(d.updates)-1].content
	for _, p := range content.Paths() {
		f := content.File(p)
		text, err := f.Bytes()
		if err == nil {
			err = known.add(p)
		}
		if err == nil {
			err = checkContent(p, f.Mode(), text)
		}
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", d.pkg, err)
		}
	}
	image, err := packageImage(content)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	for i := range history { // the last one made the layer
		history[i].EmptyLayer = i < len(history)-1
	}
	config.History = history
	return mutate.ConfigFile(image, config)
}

// replaced makes revisions all there is of a package, and returns the one with
// that ref.
func (r *ociRepository) replaced(pkg string, revisions []Revision, ref string) Revision {
	all := slices.DeleteFunc(slices.Clone(*r.now.Load()), func(o Revision) bool { return o.Package == pkg })
	latest := -1
	for i := range revisions {
		revisions[i].Latest = false
		if n := revisions[i].Number; n > 0 && (latest < 0 || revisions[latest].Number < n) {
			latest = i
		}
	}
	if latest >= 0 {
		revisions[latest].Latest = true
	}
	all = append(all, revisions...)
	slices.SortFunc(all, compareRevisions)
	r.now.Store(&all)
	i := slices.IndexFunc(all, func(o Revision) bool { return o.Ref == ref })
	if i < 0 {
		return Revision{}
	}
	return all[i]
}

// DeleteRevision implements [Repository].
func (r *ociRepository) DeleteRevision(ctx context.Context, rev Revision) error {
	return r.change(ctx, rev.Package, func(all []Revision) error {
		now, err := findImage(all, rev)
		if err != nil {
			return err
		}
		if err := deletable(now); err != nil {
			return err
		}
		if err := r.delete(ctx, now); err != nil {
			return err
		}
		r.replaced(rev.Package, slices.DeleteFunc(all, func(o Revision) bool { return o.Ref == rev.Ref }), "")
		return nil
	})
}

// delete takes an image out of the registry, by its tag where the registry lets
// one and else with its manifest, which no other revision has.
func (r *ociRepository) delete(ctx context.Context, rev Revision) error {
	p, ref, err := r.puller(ctx, rev.Package, rev.Workspace)
	if err != nil {
		return err
	}
	for _, what := range []name.Reference{ref, ref.Context().Digest(rev.Commit)} {
		err = p.retry(ctx, func() error {
			return remote.Delete(what, append(p.options, remote.WithContext(ctx))...)
		})
		var answer *transport.Error
		if err == nil || !errors.As(err, &answer) || answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusMethodNotAllowed {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("image %s: deleting it: %w", rev.Ref, p.explain(err))
	}
	return nil
}

// CreatePackage implements [Repository].
func (r *ociRepository) CreatePackage(context.Context, string) error {
	return fmt.Errorf("registry %s: it holds revisions only, and no packages without one: make a revision", r.loc.text)
}

// DeletePackage implements [Repository].
func (r *ociRepository) DeletePackage(ctx context.Context, pkg string) error {
	return r.change(ctx, pkg, func(all []Revision) error {
		if len(all) == 0 {
			return fmt.Errorf("package %s %w", pkg, ErrNotFound)
		}
		for _, rev := range all {
			if err := deletable(rev); err != nil {
				return err
			}
		}
		for len(all) > 0 { // one by one: a registry can't delete them together
			if err := r.delete(ctx, all[0]); err != nil {
				return err
			}
			all = all[1:]
			r.replaced(pkg, slices.Clone(all), "")
		}
		return nil
	})
}

// Close implements [Repository].
func (r *ociRepository) Close() error {
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	r.closed = true
	return nil
}
