package api

import (
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// The API versions of the objects in this package.
const (
	PorchV1Alpha1       = "porch.kpt.dev/v1alpha1"
	PorchConfigV1Alpha1 = "config.porch.kpt.dev/v1alpha1"
	StoopV1Alpha1       = "stoop.dev/v1alpha1" // stoop's own
)

// Object is one decoded object, with its kind's struct behind it.
type Object interface {
	// Head is what the object has in common with all others; never nil.
	Head() *Header
	// Ref names the object for results and errors.
	Ref() *fn.ResourceRef
	// Validate checks all that can be checked without looking at anything but
	// the object. Its error joins one [fn.ResultError] a problem.
	Validate() error
}

// kind is one kind of object that stoop reads.
type kind struct {
	apiVersion, kind string
	make             func() Object // an empty object to decode into
}

var kinds = []kind{
	{PorchV1Alpha1, "PackageRevision", func() Object { return new(PackageRevision) }},
	{PorchV1Alpha1, "PackageRevisionResources", func() Object { return new(PackageRevisionResources) }},
	{PorchConfigV1Alpha1, "Repository", func() Object { return new(Repository) }},
	{StoopV1Alpha1, "Plan", func() Object { return new(Plan) }},
	{StoopV1Alpha1, "Task", func() Object { return new(PlanTask) }},
}

// Known reports whether objects of the kind are stoop's to read: whether
// [Decode] reads them.
func Known(apiVersion, kindName string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.apiVersion == apiVersion && k.kind == kindName })
}

// makeObject returns an empty object of the kind. Where there is none it
// reports why to p and returns nil.
func makeObject(apiVersion, kindName string, p *problems) Object {
	var names, versions []string
	for _, k := range kinds {
		switch {
		case k.apiVersion == apiVersion && k.kind == kindName:
			return k.make()
		case k.apiVersion == apiVersion:
			names = append(names, k.kind)
		case k.kind == kindName && group(k.apiVersion) == group(apiVersion):
			versions = append(versions, k.apiVersion)
		}
	}
	switch {
	case apiVersion == "":
		p.addf("apiVersion", "is missing")
	case kindName == "":
		p.addf("kind", "is missing")
	case len(versions) > 0:
		p.addf("apiVersion", "%s isn't read by stoop: write the object as %s", quote(apiVersion), versions[0])
	case len(names) > 0:
		p.addf("kind", "unknown kind %s%s (known in %s: %s)", quote(kindName), DidYouMean(kindName, names), apiVersion, strings.Join(names, ", "))
	default:
		p.addf("apiVersion", "%s %s isn't an object that stoop reads (it reads %s)", quote(apiVersion), quote(kindName), knownKinds())
	}
	return nil
}

// knownKinds lists the kinds, for error messages.
func knownKinds() string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.kind)
	}
	return strings.Join(names, ", ")
}

func group(apiVersion string) string {
	g, _, _ := strings.Cut(apiVersion, "/")
	return g
}
