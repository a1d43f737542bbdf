package repository

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// Revision is one revision of a package in a registered repository.
type Revision struct {
	Repository string // the Registration's name
	Package    string // path below the Registration's directory
	// Workspace tells the revisions of a package apart: what the commit notes
	// for a published one, else the last segment of the ref; the branch's name
	// for a placeholder.
	Workspace string
	// Number counts the published revisions from 1. It is 0 for what isn't
	// published and for tags that aren't vN, and -1 for a placeholder, the
	// package as it is on the repository's branch.
	Number    int
	Lifecycle api.Lifecycle
	Latest    bool // whether it has the highest Number of its package

	Directory string // the package's whole path in the git repository; "" in a registry
	Ref       string // tag or branch, a full ref name where a short one is ambiguous; in a registry the image
	Commit    string // 40 hexadecimal digits; in a registry the manifest's digest

	// PublishedBy and PublishedAt are who published it and when; zero for what
	// isn't published.
	PublishedBy string
	PublishedAt time.Time
	// Labels and Annotations are the revision's own, not those of its Kptfile;
	// nil where there are none.
	Labels, Annotations map[string]string
}

// Name is the revision's name as Porch makes it: repository, package and
// workspace joined by dots, and dots for the slashes.
func (r Revision) Name() string {
	return RevisionName{r.Repository, r.Package, r.Workspace}.String()
}

// IsPlaceholder says whether it is no revision but the package as it is on the
// repository's branch.
func (r Revision) IsPlaceholder() bool { return r.Number == -1 }

// IsPublished says whether it is a revision that doesn't change any more.
func (r Revision) IsPublished() bool {
	return !r.IsPlaceholder() && (r.Lifecycle == api.Published || r.Lifecycle == api.DeletionProposed)
}

// RevisionName are the parts of a revision's name.
type RevisionName struct {
	Repository string // a DNS label
	Package    string // path, segments joined by slashes
	Workspace  string
}

// String is repository.path.segments.package.workspace.
func (n RevisionName) String() string {
	return n.Repository + "." + strings.ReplaceAll(n.Package+"/"+n.Workspace, "/", ".")
}

// versionTag is how Porch numbers published revisions.
var versionTag = regexp.MustCompile(`^v([1-9][0-9]{0,8})$`)

// revisionNumber is N of vN, 0 for other texts.
func revisionNumber(version string) int {
	m := versionTag.FindStringSubmatch(version)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // digits, few
	return n
}

// compareRevisions orders by package, then placeholder, drafts and published
// ones by number.
func compareRevisions(a, b Revision) int {
	return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Ref, b.Ref))
}
