// Package render does what `kpt fn render` does, in memory: it runs the
// pipelines of a package and its subpackages over their resources. A package
// goes in and a package comes out, with every byte that no function changed.
//
// The order is kpt's: subpackages before the package that holds them, or after
// it with the annotation kpt.dev/bfs-rendering; in each package the mutators,
// then the validators. A pipeline gets the resources of its package and of all
// subpackages. [Renderer.Eval] runs a single function in the same way, as
// `kpt fn eval` does.
//
// # Where a resource is
//
// As in kpt, functions see the path of a resource relative to the package the
// resource belongs to, not to the one that is rendered: in a pipeline of the
// root the file db/cm.yaml of a package db is "cm.yaml" in the package "db"
// ([fn.Object] holds both). The results of a [StepStatus] speak of such paths,
// since that is what kpt writes down; those of [Rendered] are relative to the
// root, so that people find the file.
//
// # Symlinks
//
// As in kpt, a symlink *.yaml, *.yml or *.json to a file of the tree is read as
// that file, and what functions make of it is written there; the link stays a
// link. One that leads elsewhere isn't followed, with a warning in the results.
package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Annotations of the root Kptfile that steer a render, as kpt has them.
const (
	// BreadthFirst renders a package before its subpackages when "true".
	BreadthFirst = "kpt.dev/bfs-rendering"
	// SaveOnFailure keeps what the steps before a failed one did when "true".
	SaveOnFailure = "kpt.dev/save-on-render-failure"
)

// A Renderer renders packages. It may be used from several goroutines at once.
type Renderer struct {
	// Runtime finds the functions of pipelines. It may be nil when no pipeline
	// has a step.
	Runtime runtime.Runtime
	// Name is the root package's name in messages, where kpt says its
	// directory's; empty means the name in its Kptfile.
	Name string
	// ImagePrefix goes before names of images that are but one word; empty
	// means runtime.DefaultPrefix, as kpt has it.
	ImagePrefix string
	// Strict refuses, as kpt does, YAML files that hold something else than
	// resources. Otherwise such documents are carried through untouched, with
	// a warning, and no function sees them.
	Strict bool
	// LenientResults lets a function pass that reports an error and yet returns
	// none, as kpt does.
	LenientResults bool
	// Limits bound every function that runs as a process or in a container,
	// beside the limits of the runtime.
	Limits runtime.Limits
}

// Rendered is what a render did.
type Rendered struct {
	// Tree is the package afterwards. Of a render that failed it is what ought
	// to be kept: the package as it was or, where its Kptfile asks for it with
	// [SaveOnFailure], as the steps before the failed one left it.
	Tree kptpkg.Tree
	// Steps are the steps that ran, in their order, and the one that failed.
	Steps []StepStatus
	// Results are those of all steps and what the render has to say itself,
	// with file paths relative to the root and tags that name the step.
	Results []fn.Result
	// Packages is the number of packages in the tree, Functions that of the
	// steps that succeeded.
	Packages, Functions int

	resources []*item     // those in Tree, unless the render failed and kept nothing
	view      kptpkg.Tree // Tree as functions see it, with files for links; only with resources
	links     links       // those
	failure   *Error      // nil when it succeeded
}

// WithoutTree is what there is to say about the render, and not what came of it.
func (r *Rendered) WithoutTree() *Rendered {
	return &Rendered{Steps: r.Steps, Results: r.Results, Packages: r.Packages, Functions: r.Functions, failure: r.failure}
}

// Error is a render that failed, or the run of a single function.
type Error struct {
	// Package is the package at fault, as messages name it: root/db.
	Package string
	// Step is the step at fault, nil when it wasn't a step's.
	Step *StepStatus
	// Err is the cause.
	Err error
	// Refused is true when nothing was tried, since the root Kptfile is missing
	// or wrong in a way for which kpt writes no status.
	Refused bool

	activity string // what failed
	message  string // of the Rendered condition, in kpt's form
}

// The activities that can fail.
const (
	rendering  = "rendering"
	evaluating = "running a function on"
)

func (e *Error) Error() string {
	if e.Step == nil {
		return fmt.Sprintf("%s package %q: %v", e.activity, e.Package, e.Err)
	}
	return fmt.Sprintf("%s package %q: %s: %v", e.activity, e.Package, e.Step.String(), e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reason is the cause by itself, in kpt's words where kpt has words for it.
func (e *Error) Reason() string {
	if e.Step != nil && e.Step.ExecutionError != "" {
		return e.Step.ExecutionError
	}
	return reason(e.Err)
}

// reason is the message of the ResultError in err, or else all of err. A wrong
// value in a Kptfile's pipeline is said as kpt does it.
func reason(err error) string {
	re, ok := errors.AsType[*fn.ResultError](err)
	if !ok {
		return err.Error()
	}
	if f := re.Result.Field; f != nil && strings.HasPrefix(f.Path, "pipeline.") {
		value := ""
		if f.CurrentValue != nil {
			value = fmt.Sprintf("Value: %q\n", f.CurrentValue)
		}
		return fmt.Sprintf("Kptfile is invalid:\nField: `%s`\n%sReason: %s", f.Path, value, re.Result.Message)
	}
	if f := re.Result.File; f != nil && !names(re.Result.Message, path.Base(f.Path)) {
		return f.Path + ": " + re.Result.Message
	}
	return re.Result.Message
}

// names says whether a message names a file. That it says Kptfile may be about
// Kptfiles as such.
func names(message, file string) bool {
	if file == kptpkg.KptfileName {
		return strings.Contains(message, file+":") || strings.Contains(message, file+`"`)
	}
	return strings.Contains(message, file)
}

// execution is one render on its way.
type execution struct {
	*Renderer
	activity string
	tree     kptpkg.Tree // with files for the links that are followed
	links    links       // those
	root     *pkg
	byDir    map[string]*pkg   // the packages that resources belong to
	inputs   map[string]*input // the files resources were read from, by path
	items    []*item           // all resources, those that were read first
	save     bool
	pack     bool // what was read, while functions change it
	out      *Rendered
}

func (r *Renderer) begin(activity string, tree kptpkg.Tree) *execution {
	view, ls, why := follow(tree)
	x := &execution{
		Renderer: r, activity: activity, tree: view, links: ls,
		byDir: map[string]*pkg{}, inputs: map[string]*input{}, out: &Rendered{Tree: tree},
	}
	for _, p := range slices.Sorted(maps.Keys(why)) {
		x.out.Results = append(x.out.Results, fn.Result{
			Severity: fn.Warning, File: &fn.File{Path: p},
			Message: "a symlink that isn't followed, so that functions don't see it: it " + why[p],
		})
	}
	return x
}

// Render renders the package at the root of tree, with its subpackages. The
// tree must have a Kptfile at its root. An error is an [*Error]; what was done
// until then is returned with it, never nil.
func (r *Renderer) Render(ctx context.Context, tree kptpkg.Tree) (*Rendered, error) {
	x := r.begin(rendering, tree)
	err := x.open()
	if err != nil {
		return x.out, err
	}
	if err := x.load(); err != nil {
		return x.out, x.fail(x.root, err)
	}
	var items []*item
	if x.parentFirst() {
		err = x.renderLevels(ctx)
		items = x.root.all(nil)
	} else {
		items, err = x.renderBelow(ctx, x.root)
	}
	if err != nil {
		return x.out, err
	}
	return x.finish(items)
}

// finish makes items, which are all there is now, what came out.
func (x *execution) finish(items []*item) (*Rendered, error) {
	if err := x.keep(items); err != nil {
		return x.out, x.fail(x.root, err)
	}
	return x.out, nil
}

// keep makes items, which are all there is, the outcome.
func (x *execution) keep(items []*item) error {
	settle(items)
	view, err := x.write(items)
	if err != nil {
		return err
	}
	if err := x.links.alike(view); err != nil {
		return err
	}
	after, err := x.links.restore(view)
	if err != nil {
		return err
	}
	x.out.Tree, x.out.resources, x.out.view, x.out.links = after, items, view, x.links
	return nil
}

func (x *execution) parentFirst() bool {
	return x.root.kptfile.Metadata.Annotations[BreadthFirst] == "true"
}

// open finds the packages of the tree and checks all Kptfiles before anything
// runs.
func (x *execution) open() error {
	dirs := x.tree.Packages()
	if x.tree.File(kptpkg.KptfileName) == nil {
		dirs = []string{"."} // reading that one says what is missing
	}
	for _, dir := range dirs {
		k, err := x.tree.Kptfile(dir)
		if x.tree.File(path.Join(dir, kptpkg.KptfileName)) == nil {
			err = resultError(fn.Result{Message: fmt.Sprintf("No Kptfile found at %q", cmp.Or(x.Name, "."))}) // kpt's words
		}
		if err == nil {
			err = x.tree.CheckPipeline(dir, k)
		}
		if err != nil {
			e := &Error{Package: cmp.Or(path.Join(x.Name, dir), "."), Err: err, activity: x.activity, Refused: dir == "." && !errors.Is(err, kptpkg.ErrNotOfPackage)}
			e.message = "pkg.render: pkg " + (&pkg{dir: dir}).rel() + ": " + e.Reason() + "\n"
			x.out.failure = e
			return e
		}
		x.byDir[dir] = &pkg{dir: dir, kptfile: k}
	}
	x.out.Packages = len(x.byDir)
	x.root = x.byDir["."]
	x.save = x.root.kptfile.Metadata.Annotations[SaveOnFailure] == "true"
	x.link()
	return nil
}

// renderBelow renders the subpackages of p, then p. It returns the resources of
// p and of the packages below it.
func (x *execution) renderBelow(ctx context.Context, p *pkg) ([]*item, error) {
	items := slices.Clone(p.own)
	for _, c := range p.children {
		sub, err := x.renderBelow(ctx, c)
		if err != nil {
			return nil, err
		}
		items = append(items, sub...)
	}
	return x.pipeline(ctx, p, items)
}

// renderLevels renders level by level, from the root down. A subpackage whose
// Kptfile a package above it took out is none any more.
func (x *execution) renderLevels(ctx context.Context) error {
	queue := []*pkg{x.root}
	for len(queue) > 0 {
		p := queue[0]
		queue = append(queue[1:], p.children...)
		if p.item != nil && p.item.gone {
			continue
		}
		items, err := x.pipeline(ctx, p, p.all(nil))
		if err != nil {
			return err
		}
		p.distribute(items)
	}
	return nil
}

// pipeline runs the pipeline of p over items and returns what they became.
func (x *execution) pipeline(ctx context.Context, p *pkg, items []*item) ([]*item, error) {
	if err := x.accept(p, items); err != nil {
		return nil, err
	}
	steps := make([]*step, len(p.kptfile.Pipeline.Mutators))
	for i, f := range p.kptfile.Pipeline.Mutators {
		s, err := x.prepare(ctx, p, Mutator, i, f)
		if err != nil {
			return nil, x.failStep(s, err)
		}
		steps[i] = s
	}
	for _, s := range steps {
		out, err := x.run(ctx, s, items)
		if err != nil {
			return nil, x.failStep(s, err)
		}
		items = out
	}
	for i, f := range p.kptfile.Pipeline.Validators {
		s, err := x.prepare(ctx, p, Validator, i, f)
		if err == nil {
			_, err = x.run(ctx, s, items)
		}
		if err != nil {
			return nil, x.failStep(s, err)
		}
	}
	return items, nil
}

// accept refuses items that are no resources.
func (x *execution) accept(p *pkg, items []*item) error {
	for _, it := range items {
		if it.problem != "" {
			return x.fail(p, notKRM("input", it.owner, it.path, it.index, it.problem))
		}
	}
	return nil
}

// fail makes an Error of a failure of p that isn't a step's.
func (x *execution) fail(p *pkg, err error) error {
	e := &Error{Package: p.display, Err: err, activity: x.activity}
	e.message = "pkg.render: pkg " + p.rel() + ": " + reason(err)
	x.out.failure = e
	return e
}

// remaining are the resources that no step took out.
func (x *execution) remaining() []*item {
	return slices.DeleteFunc(slices.Clone(x.items), func(it *item) bool { return it.gone })
}

// failStep makes an Error of a failure of a step.
func (x *execution) failStep(s *step, err error) error {
	e := &Error{Package: s.pkg.display, Step: &s.StepStatus, Err: err, activity: x.activity}
	what := reason(err)
	switch {
	case s.ExecutionError != "":
		what = s.ExecutionError
	case s.handled:
		what = "already handled error"
	}
	e.message = "pkg.render: pkg " + s.pkg.rel() + ":\n\tpipeline.run: " + what
	if s.pkg != x.root && x.parentFirst() {
		e.message = "pkg.render: pkg .:\n\tpipeline.run: pkg " + s.pkg.rel() + ": " + what
	}
	x.out.failure = e
	if x.save {
		_ = x.keep(x.remaining()) // else the package stays as it was
	}
	return e
}
