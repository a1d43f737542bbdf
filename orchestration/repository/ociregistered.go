package repository

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// OCIRegistration is a registry of package revisions, laid out as Porch does:
// the package a/b is the repository REGISTRY/a/b, each of its tags a revision
// whose workspace the tag is. Annotations of an image's manifest say what its
// tag doesn't: kpt.dev/lifecycle and kpt.dev/revision.
type OCIRegistration struct {
	Name       string      // of the Repository object; a DNS label
	Registry   string      // HOST[:PORT][/PATH], what all images' names begin with
	Credential *Credential // as in [OCIRef]
}

// OCIRevision is one revision of a package in a registry.
type OCIRevision struct {
	Name    string // repository.path.segments.package.workspace
	Package string // path below the OCIRegistration's registry
	// Workspace is the tag.
	Workspace string
	// Number is what the image says, else N of a tag vN; 0 is none.
	Number int
	// Lifecycle is what the image says. One that says nothing was made by
	// another tool than Porch, and is published: that it is in the registry is
	// all that such tools do to publish it.
	Lifecycle api.Lifecycle
	Image     string // REGISTRY/PACKAGE:TAG
	Lock      OCILock
}

// IsPublished says whether it is a revision that isn't meant to change any more.
func (r OCIRevision) IsPublished() bool {
	return r.Lifecycle == api.Published || r.Lifecycle == api.DeletionProposed
}

// What Porch notes on an image.
const (
	lifecycleAnnotation = "kpt.dev/lifecycle"
	revisionAnnotation  = "kpt.dev/revision"
)

// maxTagParts bounds how many parts of a revision's name may be its tag: enough
// for v1.2.3-rc.1.
const maxTagParts = 5

// Revision returns the revision of that name. As tags may have dots (v1.2) and
// registries need not list what they have, every image that the name may stand
// for is asked for; Fetch of the one found reads what was found, though its tag
// may move. The error wraps [ErrNotFound] when there is none, and names the
// images that were looked for.
func (o *OCI) Revision(ctx context.Context, reg OCIRegistration, name string) (OCIRevision, error) {
	if len(name) > 253 || !subdomain.MatchString(name) {
		return OCIRevision{}, fmt.Errorf("%q is no name of a package revision", shorten(name))
	}
	rest, ok := strings.CutPrefix(name, reg.Name+".")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) < 2 {
		return OCIRevision{}, fmt.Errorf("package revision %q %w: a name is %s.PACKAGE.TAG", name, ErrNotFound, reg.Name)
	}
	var (
		found    []OCIRevision
		absences []string
		refused  error // a registry may say no where there is nothing
	)
	for n := 1; n <= min(len(parts)-1, maxTagParts); n++ {
		at := len(parts) - n
		rev := OCIRevision{Name: name, Package: strings.Join(parts[:at], "/"), Workspace: strings.Join(parts[at:], ".")}
		rev.Image = strings.TrimRight(reg.Registry, "/") + "/" + rev.Package + ":" + rev.Workspace
		err := o.describe(ctx, reg, &rev)
		switch {
		case err == nil:
			found = append(found, rev)
		case errors.Is(err, ErrNotFound):
			absences = append(absences, strings.TrimPrefix(err.Error(), "image "))
		case errors.Is(err, errForbidden), errors.Is(err, errNeedsCredentials), errors.Is(err, errBadCredentials):
			refused = errors.Join(refused, err)
		default:
			return OCIRevision{}, err
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return OCIRevision{}, fmt.Errorf("package revision %q is ambiguous: %s and %s are there; clone the one that is meant by its image", name, found[0].Image, found[1].Image)
	case refused != nil:
		return OCIRevision{}, refused
	}
	return OCIRevision{}, fmt.Errorf("package revision %q %w: %s", name, ErrNotFound, strings.Join(absences, "; "))
}

// describe completes a revision by what its image says.
func (o *OCI) describe(ctx context.Context, reg OCIRegistration, rev *OCIRevision) error {
	image, err := o.open(ctx, OCIRef{Image: rev.Image, Credential: reg.Credential})
	if err != nil {
		return err
	}
	defer image.release()
	if err := image.resolve(ctx); err != nil {
		return err
	}
	rev.Lock = image.lock()
	notes := image.manifest.Annotations
	switch l := api.Lifecycle(notes[lifecycleAnnotation]); l {
	case "":
		rev.Lifecycle = api.Published
	case api.Draft, api.Proposed, api.Published, api.DeletionProposed:
		rev.Lifecycle = l
	default:
		return fmt.Errorf("image %s: its annotation %s is %q, and no lifecycle", image.text, lifecycleAnnotation, shorten(string(l)))
	}
	rev.Number = revisionNumber(rev.Workspace)
	if n, err := strconv.Atoi(strings.TrimPrefix(notes[revisionAnnotation], "v")); err == nil && n > 0 {
		rev.Number = n
	}
	return nil
}
