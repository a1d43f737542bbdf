package api

import (
	"encoding/base64"
	"maps"
	"slices"

	"github.com/stoop-dev/stoop/fn"
)

// PackageRevisionResources orders the content of a package to be replaced, or,
// as a carrier, brings along files that can't travel as resources. Schema:
// porch.kpt.dev/v1alpha1, with binaryResources added.
type PackageRevisionResources struct {
	Header `yaml:",inline"`
	// Spec is the package's content.
	Spec PackageRevisionResourcesSpec `yaml:"spec,omitempty"`
	// Status is what came of the last order; set by stoop or Porch.
	Status PackageRevisionResourcesStatus `yaml:"status,omitempty"`
}

// PackageRevisionResourcesSpec is the content of a package.
type PackageRevisionResourcesSpec struct {
	// PackageName is the package's path in its repository, as in a
	// PackageRevision. Required in an order, and in a carrier without a target
	// annotation; set by the user or stoop.
	PackageName string `yaml:"packageName,omitempty"`
	// WorkspaceName is that of the PackageRevision. Default none; set by the
	// user or Porch.
	WorkspaceName string `yaml:"workspaceName,omitempty"`
	// Revision is that of the PackageRevision. Set by Porch.
	Revision int `yaml:"revision,omitempty"`
	// Repository is the name of the Repository object the package belongs to.
	// Default none; set by the user or Porch.
	Repository string `yaml:"repository,omitempty"`
	// Resources are the package's text files by path below it. An order lists
	// them all: files that it doesn't name are deleted. Set by the user or
	// stoop.
	Resources map[string]string `yaml:"resources,omitempty"`
	// BinaryResources are files that aren't UTF-8 text by path, in base64 (RFC
	// 4648, standard, padded). In carriers only. Default none; set by stoop.
	BinaryResources map[string]string `yaml:"binaryResources,omitempty"`
}

// PackageRevisionResourcesStatus is what came of an order.
type PackageRevisionResourcesStatus struct {
	// RenderStatus is how the render went. Set by stoop or Porch.
	RenderStatus RenderStatus `yaml:"renderStatus,omitempty"`
}

// RenderStatus is how a render went.
type RenderStatus struct {
	// Result is what each function of the pipeline had to say.
	Result ResultList `yaml:"result,omitempty"`
	// Error is why the render failed; empty when it didn't.
	Error string `yaml:"error,omitempty"`
}

// ResultList is what the functions of a pipeline had to say, in the order they
// ran. Schema: kpt's FunctionResultList.
type ResultList struct {
	Header `yaml:",inline"`
	// ExitCode is 0 when all functions succeeded.
	ExitCode int `yaml:"exitCode,omitempty"`
	// Items are the functions.
	Items []FunctionResult `yaml:"items,omitempty"`
}

// FunctionResult is what one function had to say.
type FunctionResult struct {
	// Image is the function's image; unset for an executable.
	Image string `yaml:"image,omitempty"`
	// Exec is the executable with its arguments; unset for an image.
	Exec string `yaml:"exec,omitempty"`
	// Stderr is what the function wrote to its standard error.
	Stderr string `yaml:"stderr,omitempty"`
	// ExitCode is the function's.
	ExitCode int `yaml:"exitCode,omitempty"`
	// Results are the function's.
	Results []fn.Result `yaml:"results,omitempty"`
}

// Carrier is what kind of luggage a PackageRevisionResources is.
type Carrier string

// The kinds of carriers.
const (
	// NoCarrier is an order.
	NoCarrier Carrier = ""
	// CarrierFiles brings files that belong to the package beside those
	// already there; files that it doesn't name stay.
	CarrierFiles Carrier = "files"
	// CarrierPackage brings all files of the package that aren't resources.
	CarrierPackage Carrier = "package"
)

// Carrier is the object's CarrierAnnotation, NoCarrier when it has none. The
// error is an [fn.ResultError].
func (r *PackageRevisionResources) Carrier() (Carrier, error) {
	a, ok := r.Metadata.Annotations[CarrierAnnotation]
	switch c := Carrier(a); {
	case !ok:
		return NoCarrier, nil
	case c == CarrierFiles, c == CarrierPackage:
		return c, nil
	}
	return NoCarrier, r.annotationError(CarrierAnnotation, "is %s: write %s or %s, or take it off an order to replace the package's content", quote(a), CarrierFiles, CarrierPackage)
}

// Target is where the package is: a clean path below the package that declares
// the object, "." for that package itself. The error is an [fn.ResultError].
func (r *PackageRevisionResources) Target() (string, error) { return r.target(r.Spec.PackageName) }

// Files are the content of resources and binaryResources by path. The error
// joins one [fn.ResultError] for each path that is in both and each content
// that isn't base64. Paths aren't checked: kptpkg does that when it makes a
// tree of them.
func (r *PackageRevisionResources) Files() (map[string][]byte, error) {
	p := r.problems()
	files := r.files(p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return files, nil
}

func (r *PackageRevisionResources) files(p *problems) map[string][]byte {
	files := make(map[string][]byte, len(r.Spec.Resources)+len(r.Spec.BinaryResources))
	for path, content := range r.Spec.Resources {
		files[path] = []byte(content)
	}
	for _, path := range slices.Sorted(maps.Keys(r.Spec.BinaryResources)) {
		field := "spec.binaryResources" + stepTo(path)
		if _, twice := files[path]; twice {
			p.addf(field, "is in spec.resources too: keep one")
			continue
		}
		content, err := base64.StdEncoding.DecodeString(r.Spec.BinaryResources[path])
		if err != nil {
			p.addf(field, "isn't base64: %v", err)
		}
		files[path] = content
	}
	return files
}

// Validate implements [Object].
func (r *PackageRevisionResources) Validate() error {
	p := r.problems()
	r.Header.validate(p)
	validatePackage(p, r.Spec.PackageName, r.Spec.Repository, r.Spec.WorkspaceName, r.Spec.Revision)
	carrier, err := r.Carrier()
	p.join(err)
	_, own := r.Metadata.Annotations[TargetAnnotation]
	switch {
	case r.Spec.PackageName == "" && carrier == NoCarrier:
		p.addf("spec.packageName", "is missing: it names the package to replace")
	case r.Spec.PackageName == "" && !own:
		p.addf("spec.packageName", "is missing: a carrier needs it or annotation %s", TargetAnnotation)
	}
	if own {
		_, err := r.Target()
		p.join(err)
	}
	// an annotation that is wrong is an error already, not an order
	if carrier == NoCarrier && err == nil {
		if len(r.Spec.Resources) == 0 {
			p.addf("spec.resources", "is empty: it lists every file the package is to have, and what it doesn't name is deleted")
		}
		if len(r.Spec.BinaryResources) > 0 {
			p.addf("spec.binaryResources", "is for carriers only (annotation %s)", CarrierAnnotation)
		}
	}
	r.files(p)
	_, err = r.observed()
	p.join(err)
	return p.err()
}
