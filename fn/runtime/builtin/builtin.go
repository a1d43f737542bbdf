// Package builtin is the runtime for KRM functions that are compiled into this
// process. They work on parsed nodes, so that calling one costs no bytes, no
// process and no container.
//
// The functions stand for images of the kpt function catalog and behave as the
// versions that [List] names. To add one, write a file with its [fn.Func] and
// add a line to the table in functions.go.
package builtin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
)

// Mode says which tags of a catalog function its built-in twin answers to.
type Mode string

// The modes. The zero Mode is Compatible.
const (
	// Exact answers only to versions whose behaviour the built-in function has.
	Exact Mode = "exact"
	// Compatible answers to any tag of a function, with a note where the
	// behaviour is another version's.
	Compatible Mode = "compatible"
	// Never answers to nothing.
	Never Mode = "never"
)

// ParseMode reads a Mode as a flag gives it; the empty string is Compatible.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Compatible, nil
	case Exact, Compatible, Never:
		return m, nil
	}
	return "", fmt.Errorf("unknown mode %q for built-in functions: use exact, compatible or never", s)
}

// Info describes a built-in function.
type Info struct {
	// Name is the catalog's name of the function.
	Name string
	// Images are the image names it answers to, without tags.
	Images []string
	// Versions are the catalog versions whose behaviour it has, oldest first.
	Versions []string
	// Doc says in one line what it does.
	Doc string
	// Configs are the kinds of functionConfig it takes; empty when it takes none.
	Configs []string
}

// Runtime finds built-in functions. It implements [runtime.Runtime] and is safe
// for concurrent use.
type Runtime struct {
	mode   Mode
	byName map[string]*function
}

// New returns a Runtime that answers as mode says.
func New(mode Mode) *Runtime {
	r := &Runtime{mode: mode, byName: map[string]*function{}}
	for _, f := range functions() {
		r.byName[f.name] = &f
	}
	return r
}

// List describes every built-in function, sorted by name.
func List() []Info {
	var infos []Info
	for _, f := range functions() {
		info := Info{Name: f.name, Versions: f.versions, Doc: f.doc, Configs: f.configs}
		for _, prefix := range registries {
			info.Images = append(info.Images, prefix+f.name)
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// registries are the places the catalog's images are published at; the empty
// one is the short name, to which kpt adds the catalog's registry.
var registries = [...]string{
	"ghcr.io/kptdev/krm-functions-catalog/",
	"gcr.io/kpt-fn/",
	"gcr.io/kpt-fn-contrib/",
	"",
}

// Find implements [runtime.Runtime]. A step's own tag is a semver constraint
// and wins over the tag in its image; one that can't be read is an error other
// than ErrNotFound.
func (r *Runtime) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	if ref.Image == "" {
		return nil, fmt.Errorf("builtin: %w", runtime.ErrOtherSort)
	}
	if r.mode == Never {
		return nil, fmt.Errorf("%w: not built in, since --builtin=never", runtime.ErrNotFound)
	}
	name, tag, err := splitImage(ref.Image)
	if err != nil {
		return nil, err
	}
	f := r.byName[name]
	if f == nil {
		return nil, fmt.Errorf("%w: not built in%s", runtime.ErrNotFound, r.near(name))
	}

	image := ref.Image
	if !strings.Contains(image, "/") {
		image = runtime.DefaultPrefix + image
	}
	found := &runtime.Function{Name: image, Run: f.call, InProcess: true}
	if ref.Tag != "" {
		best, err := f.meets(ref.Tag)
		if err != nil {
			return nil, err
		}
		if best == "" {
			return nil, fmt.Errorf("%w: built in only as %s", runtime.ErrNotFound, f.has())
		}
		found.Name = strings.TrimSuffix(image, ":"+tag) + ":" + best
		return found, nil
	}
	if tag == "" {
		found.Name += ":latest"
	}
	if f.standsFor(tag) {
		return found, nil
	}
	if r.mode == Exact {
		return nil, fmt.Errorf("%w: built in only as %s", runtime.ErrNotFound, f.has())
	}
	asked := "no tag"
	if tag != "" {
		asked = "tag " + tag
	}
	found.Notes = []fn.Result{{
		Severity: fn.Info,
		Message:  fmt.Sprintf("%s is built in and behaves as %s; the image has %s", f.name, f.has(), asked),
	}}
	return found, nil
}

// splitImage takes the name and tag out of a catalog image.
func splitImage(image string) (name, tag string, err error) {
	if strings.Contains(image, "@") {
		return "", "", fmt.Errorf("%w: not built in, the image is pinned by digest", runtime.ErrNotFound)
	}
	rest := image
	for _, prefix := range registries {
		if after, ok := strings.CutPrefix(image, prefix); ok {
			rest = after
			break
		}
	}
	if strings.Contains(rest, "/") {
		return "", "", fmt.Errorf("%w: not built in, the image is not the catalog's", runtime.ErrNotFound)
	}
	name, tag, _ = strings.Cut(rest, ":")
	return name, tag, nil
}

// near names built-in functions that share a word or the beginning with name, those
// first that share more of the beginning.
func (r *Runtime) near(name string) string {
	var names []string
	words := strings.Split(name, "-")
	for known := range r.byName {
		shares := func(word string) bool { return slices.Contains(words, word) }
		if slices.ContainsFunc(strings.Split(known, "-"), shares) || shared(name, known) > len(known)/2 {
			names = append(names, known)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(shared(name, b)-shared(name, a), strings.Compare(a, b))
	})
	if len(names) > 4 {
		names = append(names[:4], "...")
	}
	return " (built in: " + strings.Join(names, ", ") + ")"
}

// shared is how many letters two names begin with alike.
func shared(a, b string) int {
	a, b = strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", "")
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// function is a line of the table of built-in functions.
type function struct {
	name string
	// versions are those whose behaviour it has, complete semantic versions
	// with a v, oldest first.
	versions []string
	doc      string
	configs  []string
	run      fn.Func
	// sorts is true where the catalog's function hands the resources back
	// sorted, as those do that are built with the catalog's SDK.
	sorts bool
}

// call runs the function on a call.
func (f *function) call(ctx context.Context, call *fn.Call) error {
	if err := f.run(ctx, call); err != nil || !f.sorts {
		return err
	}
	id := func(o *fn.Object) string {
		n := root(o.Node)
		return strings.Join([]string{text(n, "apiVersion"), text(n, "kind"), text(n, "metadata", "namespace"), text(n, "metadata", "name")}, " ")
	}
	ids := make(map[*fn.Object]string, len(call.Items))
	for _, o := range call.Items {
		ids[o] = id(o)
	}
	slices.SortStableFunc(call.Items, func(a, b *fn.Object) int { return strings.Compare(ids[a], ids[b]) })
	return nil
}

// has names the versions for messages.
func (f *function) has() string {
	return strings.Join(f.versions, ", ")
}

// standsFor says whether an image tag names one of the versions. The catalog
// moves a tag like v0.2 along with its patch releases.
func (f *function) standsFor(tag string) bool {
	return tag != "" && slices.ContainsFunc(f.versions, func(v string) bool {
		return v == tag || strings.Count(tag, ".") == 1 && strings.HasPrefix(v, tag+".")
	})
}

// meets returns the highest of the versions that meets a semver constraint,
// empty when none does. A tag that is no version, "latest" say, is an error.
func (f *function) meets(constraint string) (string, error) {
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return "", fmt.Errorf("function %s: tag %q is no version constraint such as ~0.4 or v0.2.0: %w", f.name, constraint, err)
	}
	for _, v := range slices.Backward(f.versions) {
		if version, err := semver.NewVersion(v); err == nil && c.Check(version) {
			return v, nil
		}
	}
	return "", nil
}

// patches lists the patch releases first to last of a minor version.
func patches(minor string, first, last int) []string {
	var versions []string
	for patch := first; patch <= last; patch++ {
		versions = append(versions, fmt.Sprintf("%s.%d", minor, patch))
	}
	return versions
}
