package api

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// The annotations that stoop reads and writes on orders.
const (
	// LocalConfigAnnotation, "true", marks an object that is no resource for a
	// cluster; only such objects are orders. Set by the user; the name is
	// kpt's.
	LocalConfigAnnotation = "config.kubernetes.io/local-config"
	// TargetAnnotation is where the package is or will be, a path below the
	// package that declares the object, "." for that package itself. Default
	// spec.packageName. Set by the user.
	TargetAnnotation = "stoop.dev/target"
	// AppliedAnnotation is the [Applied] record of the tasks that have run.
	// Set by stoop; taking it off means that nothing has run yet.
	AppliedAnnotation = "stoop.dev/applied"
	// ObservedAnnotation is the ObservedDigest of what was last carried over
	// to the package. Set by stoop.
	ObservedAnnotation = "stoop.dev/observed"
	// CarrierAnnotation makes a PackageRevisionResources a carrier of files
	// rather than an order, see [Carrier]. Set by stoop.
	CarrierAnnotation = "stoop.dev/carrier"
	// OnConflictAnnotation is what an upgrade does where local and upstream
	// changes collide, see [OnConflict]. Set by the user.
	OnConflictAnnotation = "stoop.dev/on-conflict"
)

// annotationPrefix is that of stoop's own annotations and condition types.
const annotationPrefix = "stoop.dev/"

var annotations = []string{TargetAnnotation, AppliedAnnotation, ObservedAnnotation, CarrierAnnotation, OnConflictAnnotation}

// annotationField is the field path of an annotation.
func annotationField(name string) string { return "metadata.annotations" + stepTo(name) }

// validateAnnotations refuses annotations that only look like stoop's: a
// misspelt target would put a package in the wrong place.
func (h *Header) validateAnnotations(p *problems) {
	var unknown []string
	for a := range h.Metadata.Annotations {
		if strings.HasPrefix(a, annotationPrefix) && !slices.Contains(annotations, a) {
			unknown = append(unknown, a)
		}
	}
	slices.Sort(unknown)
	for _, a := range unknown {
		p.addf(annotationField(a), "unknown annotation of stoop%s (known: %s)",
			DidYouMean(a, annotations), strings.Join(annotations, ", "))
	}
	_, err := h.OnConflict()
	p.join(err)
}

// refuseAnnotations refuses those that are for other kinds, rather than to
// ignore what a user thought they do.
func (h *Header) refuseAnnotations(p *problems) {
	for _, a := range []struct{ name, instead string }{
		{TargetAnnotation, "a Task has spec.target"},
		{OnConflictAnnotation, "a Task has spec.upgrade.onConflict"},
		{AppliedAnnotation, "a Task has its record in status"},
		{ObservedAnnotation, "a Task has its record in status"},
		{CarrierAnnotation, "only a PackageRevisionResources can be a carrier"},
	} {
		if _, ok := h.Metadata.Annotations[a.name]; ok {
			p.addf(annotationField(a.name), "isn't for objects of kind %s: take it off; %s", h.Kind, a.instead)
		}
	}
}

// annotationError is a problem with the value of an annotation.
func (h *Header) annotationError(name, format string, args ...any) error {
	return &fn.ResultError{Result: fn.Result{
		Message: fmt.Sprintf(format, args...), Severity: fn.Error,
		ResourceRef: h.Ref(), Field: &fn.Field{Path: annotationField(name)},
	}}
}

// target is TargetAnnotation or else packageName, clean.
func (h *Header) target(packageName string) (string, error) {
	t, ok := h.Metadata.Annotations[TargetAnnotation]
	if !ok {
		if why := checkPackageName(packageName); why != "" {
			return "", &fn.ResultError{Result: fn.Result{
				Message: fmt.Sprintf("%s %s", quote(packageName), why), Severity: fn.Error,
				ResourceRef: h.Ref(), Field: &fn.Field{Path: "spec.packageName"},
			}}
		}
		return packageName, nil
	}
	if t == "" {
		return "", h.annotationError(TargetAnnotation, `is empty: write a path, "." for the package that declares the object, or take the annotation off for spec.packageName`)
	}
	if why := checkSubpath(t); why != "" {
		return "", h.annotationError(TargetAnnotation, "%s %s", quote(t), why)
	}
	return path.Clean(t), nil
}

// OnConflict is what an upgrade does where local and upstream changes collide.
type OnConflict string

// The answers to a conflict.
const (
	ConflictFail     OnConflict = "fail"     // stop and report, the default
	ConflictLocal    OnConflict = "local"    // keep what the package has
	ConflictUpstream OnConflict = "upstream" // take what upstream has
)

// OnConflict is the object's OnConflictAnnotation, ConflictFail when it has
// none. The error is an [fn.ResultError].
func (h *Header) OnConflict() (OnConflict, error) {
	a, ok := h.Metadata.Annotations[OnConflictAnnotation]
	switch c := OnConflict(a); {
	case !ok:
		return ConflictFail, nil
	case c == ConflictFail, c == ConflictLocal, c == ConflictUpstream:
		return c, nil
	}
	return "", h.annotationError(OnConflictAnnotation, "is %s: write %s, %s or %s", quote(a), ConflictFail, ConflictLocal, ConflictUpstream)
}

// Applied is the record of the tasks that have run: how many, and what they
// were, so that a task changed afterwards doesn't go unnoticed.
type Applied struct {
	// Tasks is how many of spec.tasks, from the first, have run; at least 1.
	Tasks int
	// Digest is [PackageRevision.TaskDigest] of that many.
	Digest string
}

// String is the value of AppliedAnnotation: <tasks>:<digest>.
func (a Applied) String() string { return strconv.Itoa(a.Tasks) + ":" + a.Digest }

var (
	appliedForm = regexp.MustCompile(`^([1-9][0-9]{0,5}):([0-9a-f]{64})$`)
	digestForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseApplied reads what [Applied.String] writes, and nothing else.
func ParseApplied(s string) (Applied, error) {
	m := appliedForm.FindStringSubmatch(s)
	if m == nil {
		return Applied{}, fmt.Errorf("%s isn't a record of applied tasks (<number>:<sha256 in hex>)", quote(s))
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return Applied{}, err
	}
	return Applied{Tasks: n, Digest: m[2]}, nil
}

// recordHint is what to do about a record that can't be right.
const recordHint = "it is stoop's own note and isn't edited by hand; put back the value it had"

// observed is the ObservedAnnotation, empty when there is none.
func (h *Header) observed() (string, error) {
	a, ok := h.Metadata.Annotations[ObservedAnnotation]
	if ok && !digestForm.MatchString(a) {
		return "", h.annotationError(ObservedAnnotation, "%s isn't a sha256 in hex: %s", quote(a), recordHint)
	}
	return a, nil
}
