package api

import (
	"slices"
	"strings"
)

// UpgradeTask merges the changes between two upstream revisions into a package
// that was cloned from the older one.
type UpgradeTask struct {
	// OldUpstreamRef is the PackageRevision that the package was cloned from
	// or last upgraded to. Required; set by the user.
	OldUpstreamRef PackageRevisionRef `yaml:"oldUpstreamRef,omitempty"`
	// NewUpstreamRef is the PackageRevision to upgrade to. Required; set by
	// the user.
	NewUpstreamRef PackageRevisionRef `yaml:"newUpstreamRef,omitempty"`
	// LocalPackageRevisionRef is the PackageRevision to be upgraded, with its
	// local changes. Where the target holds the package that is what made it, a
	// PackageRevision or Task on the target, or this object itself. Required; set
	// by the user.
	LocalPackageRevisionRef PackageRevisionRef `yaml:"localPackageRevisionRef,omitempty"`
	// Strategy is how to merge, see [MergeStrategy]. Default resource-merge;
	// set by the user.
	Strategy MergeStrategy `yaml:"strategy,omitempty"`
}

// MergeStrategy is how an upgrade merges upstream changes with local ones.
type MergeStrategy string

// The strategies of kpt and Porch.
const (
	// ResourceMerge merges field by field; the default.
	ResourceMerge MergeStrategy = "resource-merge"
	// CopyMerge takes upstream's files and keeps files upstream never had.
	CopyMerge MergeStrategy = "copy-merge"
	// ForceDeleteReplace takes upstream as it is.
	ForceDeleteReplace MergeStrategy = "force-delete-replace"
	// FastForward takes upstream as it is if there are no local changes.
	FastForward MergeStrategy = "fast-forward"
)

var strategies = []string{string(ResourceMerge), string(CopyMerge), string(ForceDeleteReplace), string(FastForward)}

func (t *UpgradeTask) validate(p *problems, field string) {
	t.OldUpstreamRef.validate(p, field+".oldUpstreamRef", "the PackageRevision that the package was cloned from or last upgraded to")
	t.NewUpstreamRef.validate(p, field+".newUpstreamRef", "the PackageRevision to upgrade to")
	t.LocalPackageRevisionRef.validate(p, field+".localPackageRevisionRef", "the PackageRevision to be upgraded")
	if s := string(t.Strategy); s != "" && !slices.Contains(strategies, s) {
		p.addf(field+".strategy", "is %s%s (known: %s)", quote(s), DidYouMean(s, strategies), strings.Join(strategies, ", "))
	}
}
