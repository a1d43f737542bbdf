package repository

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Repository is an open registered repository of package revisions; git
// repositories and registries are behind it. Open one with an [Opener]. It is
// safe for concurrent use, and other processes, Porch included, may use the same
// repository at the same time.
//
// What it lists is the state it last saw: when it was opened, at its own last
// change, or at the last Refresh. What it writes is always based on the state
// of the moment: every change is one push that the server takes whole or not at
// all, and only if nobody has changed the same refs meanwhile. Where somebody
// has, the change is made anew on what is there now; the error wraps
// [ErrConflict] when that isn't possible.
type Repository interface {
	// Revisions lists the package revisions that match, placeholders too, sorted
	// by package and number.
	Revisions(context.Context, Filter) ([]Revision, error)
	// Packages lists the packages that have a matching revision, sorted.
	Packages(context.Context, Filter) ([]Package, error)
	// Resources returns the package of a revision that Revisions gave.
	Resources(context.Context, Revision) (kptpkg.Tree, error)
	// Tasks returns the tasks that made a revision, oldest first, as the commits
	// note them; empty for placeholders and for what was made by hand.
	Tasks(context.Context, Revision) ([]api.Task, error)

	// CreateDraft begins a new revision of a package, path and all. Nothing is
	// written before CloseDraft. A workspace that the package has already is an
	// error.
	CreateDraft(ctx context.Context, pkg, workspace string) (*Draft, error)
	// OpenDraft begins a change of a revision. The content and lifecycle of a
	// Draft or Proposed one can be changed, of a published one the lifecycle,
	// labels and annotations, of a placeholder nothing.
	OpenDraft(context.Context, Revision) (*Draft, error)
	// CloseDraft writes a draft into the repository and returns the revision as
	// it is now. With an error nothing was written. A lifecycle that can't follow
	// the present one is an error, see [Close].
	CloseDraft(context.Context, *Draft, Close) (Revision, error)

	// DeleteRevision deletes a Draft, a Proposed or a DeletionProposed revision;
	// what was published stays on the branch. A placeholder's deletion takes the
	// package's directory off the branch. Published ones are refused.
	DeleteRevision(context.Context, Revision) error
	// CreatePackage puts a new package with no more than a Kptfile on the branch,
	// where it is a placeholder. A package that is there already is an error.
	CreatePackage(ctx context.Context, pkg string) error
	// DeletePackage deletes a package: all of its revisions, and its directory on
	// the branch. A Published revision is an error: propose its deletion first.
	DeletePackage(ctx context.Context, pkg string) error

	// Version asks for the state of the repository; it is another text whenever
	// something in it has changed.
	Version(context.Context) (string, error)
	// Refresh brings what is listed up to date.
	Refresh(context.Context) error
	// Close ends the use of the repository. Drafts that are open are dropped.
	Close() error
}

// LatestLabel is Porch's label of a package's latest published revision. It is
// computed; nobody may set it.
const LatestLabel = "kpt.dev/latest-revision"

// Filter says which revisions are meant. What is zero matches all; a revision
// has to match every other field.
type Filter struct {
	Package    string            // the package's whole path
	PathPrefix string            // a path: the packages at and below it
	Workspace  string            // the workspace's name
	Name       string            // the revision's whole name, see [Revision.Name]
	Number     int               // the revision's number; -1: placeholders
	Lifecycles []api.Lifecycle   // one of these
	Labels     map[string]string // all of these, [LatestLabel] included
}

// Matches says whether the filter lets a revision through.
func (f Filter) Matches(r Revision) bool {
	if f.Package != "" && f.Package != r.Package ||
		f.PathPrefix != "" && f.PathPrefix != r.Package && !strings.HasPrefix(r.Package, f.PathPrefix+"/") ||
		f.Workspace != "" && f.Workspace != r.Workspace ||
		f.Name != "" && f.Name != r.Name() ||
		f.Number != 0 && f.Number != r.Number ||
		len(f.Lifecycles) > 0 && !slices.Contains(f.Lifecycles, r.Lifecycle) {
		return false
	}
	for key, want := range f.Labels {
		got, ok := r.Labels[key]
		if key == LatestLabel {
			got, ok = "true", r.Latest
		}
		if !ok || got != want {
			return false
		}
	}
	return true
}

// Package is a package of a repository.
type Package struct {
	Repository string // the registration's name
	Name       string // its path in the registration's directory
	Latest     string // name of its latest published revision; "" when it has none
}

// Close says how a draft is to be closed.
type Close struct {
	// Lifecycle is the revision's afterwards; "" leaves it, and makes a new
	// revision a Draft. A new revision may become Draft, Proposed or Published. A
	// Draft may become Proposed; a Proposed one Draft or Published; Published and
	// DeletionProposed may become one another.
	Lifecycle api.Lifecycle
	// Author is who made the change: the author of the commits, and who published
	// the revision. Where it is zero the registration's author counts, else
	// Porch.
	Author Author
	// Labels and Annotations are the revision's own, not those of its Kptfile,
	// and replace what it has; nil leaves them. [LatestLabel] isn't kept.
	Labels, Annotations map[string]string
}

// Author is a person in a commit.
type Author struct {
	Name, Email string
}

// equalMetadata says whether labels or annotations are the same, none being
// equal to empty.
func equalMetadata(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || maps.Equal(a, b)
}
