package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// step is one step of a pipeline, ready to run.
type step struct {
	StepStatus
	pkg       *pkg
	spec      kptpkg.Function
	function  *runtime.Function // nil when the step is skipped
	condition *condition        // nil when it has none
	handled   bool              // the function itself said what went wrong

	given  []*item            // what the function got
	byPath map[string][]*item // of given, made when a result asks for it
}

// prepare finds the function of step i of a phase of p. The step is returned
// with an error too.
func (x *execution) prepare(ctx context.Context, p *pkg, phase Phase, i int, spec kptpkg.Function) (*step, error) {
	s := &step{pkg: p, spec: spec, StepStatus: StepStatus{
		Package: p.display, Dir: p.dir, Phase: phase, Number: i + 1,
		Name: spec.Name, Image: x.fullImage(spec), Exec: spec.Exec,
		Selecting: len(spec.Selectors)+len(spec.Exclude) > 0,
	}}
	switch {
	case namesStoop(spec):
		return s, nil
	case x.Runtime == nil:
		return s, x.notRun(s, fmt.Errorf("function %q: %w: no runtime is set up", spec.String(), runtime.ErrNotFound))
	}
	if spec.Condition != "" {
		c, err := compileCondition(spec.Condition)
		if err != nil {
			return s, x.notRun(s, s.badCondition(err))
		}
		s.condition = c
	}
	image := spec.Image
	if x.ImagePrefix != "" && image != "" && !strings.Contains(image, "/") {
		image = strings.TrimSuffix(x.ImagePrefix, "/") + "/" + image
	}
	f, err := x.Runtime.Find(ctx, runtime.Ref{Image: image, Tag: spec.Tag, Exec: spec.Exec, Limits: x.Limits})
	if err == nil && (f == nil || f.Run == nil) {
		err = fmt.Errorf("function %q: %w", spec.String(), runtime.ErrNotFound)
	}
	if err != nil {
		return s, x.notRun(s, err)
	}
	s.function = f
	if spec.Tag != "" && strings.Contains(f.Name, "/") {
		s.Image = f.Name // with the tag that was chosen
	}
	return s, nil
}

// badCondition is the error of a condition that can't be read.
func (s *step) badCondition(err error) error {
	r := fn.Result{Message: err.Error(), Field: &fn.Field{Path: "condition", CurrentValue: s.spec.Condition}}
	if s.Phase != Evaluation {
		r.File = &fn.File{Path: path.Join(s.pkg.dir, kptpkg.KptfileName)}
		r.Field.Path = fmt.Sprintf("pipeline.%ss[%d].condition", s.Phase, s.Number-1)
	}
	return fmt.Errorf("reading the condition: %w", resultError(r))
}

// fullImage is the name of a step's image as kpt writes it into results; where
// the step has a constraint on the tag, it is still without one.
func (r *Renderer) fullImage(f kptpkg.Function) string {
	image := f.Image
	if image == "" {
		return ""
	}
	if !strings.Contains(image, "/") {
		image = strings.TrimSuffix(cmp.Or(r.ImagePrefix, runtime.DefaultPrefix), "/") + "/" + image
	}
	if f.Tag == "" && !strings.ContainsAny(path.Base(image), ":@") {
		image += ":latest"
	}
	return image
}

// namesStoop says whether a step would start this very program: rendering is
// what it does already.
func namesStoop(f kptpkg.Function) bool {
	if f.Image != "" {
		name, _, _ := strings.Cut(path.Base(f.Image), "@")
		name, _, _ = strings.Cut(name, ":")
		return name == "stoop"
	}
	words := strings.Fields(f.Exec)
	if len(words) == 0 {
		return false
	}
	program := strings.ReplaceAll(strings.Trim(words[0], `"'`), `\`, "/")
	return strings.TrimSuffix(path.Base(program), ".exe") == "stoop"
}

// run runs a step over items, which are all that its package and the packages
// below it have, and returns what they became. A failed step leaves them alone
// where it matters: when they are to be saved.
func (x *execution) run(ctx context.Context, s *step, items []*item) ([]*item, error) {
	if s.function == nil {
		s.Skipped = "it names stoop, which is rendering this package already"
		x.report(s)
		return items, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, x.notRun(s, err)
	}
	given := items
	if s.Selecting {
		given = nil
		for _, it := range items {
			if s.spec.Selects(it.view()) {
				given = append(given, it)
			}
		}
	}
	s.Items = len(given)
	if s.condition != nil {
		met, err := s.condition.holds(ctx, given)
		if err != nil {
			return nil, x.notRun(s, fmt.Errorf("evaluating the condition %q: %w", s.spec.Condition, err))
		}
		if !met {
			s.Skipped = "condition not met"
			x.report(s)
			return items, nil
		}
	}
	config, dir, err := x.config(s, items)
	if err != nil {
		return nil, x.notRun(s, err)
	}
	s.given = given
	call := &fn.Call{Config: config, Items: make([]*fn.Object, len(given))}
	from := make(map[*fn.Object]*item, len(given))
	objects := make([]fn.Object, len(given))
	for i, it := range given {
		o := &objects[i]
		*o = fn.Object{Path: it.path, Index: it.index, Package: it.owner.dir}
		if s.Phase == Validator || x.save {
			o.Node = it.view().Copy()
		} else {
			o.Node = it.edit(x.pack)
		}
		call.Items[i] = o
		from[o] = it
	}
	start := time.Now()
	err = invoke(ctx, s.function, call)
	s.Took = time.Since(start)
	s.Stderr, s.Results = call.Stderr, call.Results
	for i := range s.Results {
		if f := s.Results[i].File; f != nil && f.Index < 0 { // of a resource that has none yet
			s.Results[i].File = &fn.File{Path: f.Path}
		}
	}
	if err == nil && !x.LenientResults {
		err = s.reported()
	}
	if err != nil {
		s.failed(err)
		x.report(s)
		return nil, err
	}
	after, err := x.check(s, call.Items, from, dir)
	if err == nil && s.Phase != Validator {
		err = x.keepsKptfile(s, after)
	}
	if err != nil {
		return nil, x.notRun(s, err)
	}
	x.report(s)
	x.out.Functions++
	if s.Phase == Validator {
		return items, nil
	}
	return x.commit(after, from, given, items, s.Selecting), nil
}

// invoke calls a function; a panic in it is an error of its own.
func invoke(ctx context.Context, f *runtime.Function, call *fn.Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("function %s panicked: %v", f.Name, v)
		}
	}()
	return f.Run(ctx, call)
}

// reported is the error that the results of the function tell of, nil when they
// tell of none.
func (s *step) reported() error {
	var first error
	more := 0
	for _, r := range s.Results {
		switch {
		case r.Severity != fn.Error:
		case first == nil:
			first = &fn.ResultError{Result: s.fromRoot(r)}
		default:
			more++
		}
	}
	if more > 0 {
		return fmt.Errorf("%w (and %d more)", first, more)
	}
	return first
}

// config is the functionConfig of a step, nil when it has none: a copy, and of
// a file as the steps before left it. dir is where kpt puts what a function
// makes and names no file for: beside a configuration that it could find in
// memory, which takes a clean configPath, and one above a directory "functions".
func (x *execution) config(s *step, items []*item) (config *yaml.RNode, dir string, err error) {
	if s.spec.Config != nil {
		return yaml.NewRNode(yamldoc.CopyNode(s.spec.Config)), "", nil
	}
	if s.spec.ConfigPath == "" {
		if len(s.spec.ConfigMap) == 0 {
			return nil, "", nil
		}
		return configMap(s.spec.ConfigMap), "", nil
	}
	clean := path.Clean(s.spec.ConfigPath)
	var found *item
	for _, it := range items {
		if it.owner == s.pkg && it.path == clean && (found == nil || it.index < found.index) {
			found = it
		}
	}
	if found != nil {
		if clean == s.spec.ConfigPath {
			if dir = path.Dir(clean); path.Base(dir) == "functions" {
				dir = path.Dir(dir)
			}
		}
		return found.view().Copy(), dir, nil
	}
	// taken out by a step before, or ignored: as it was read
	for _, d := range x.tree.File(path.Join(s.pkg.dir, clean)).Docs() {
		n, err := d.Copy()
		if n != nil || err != nil {
			return yaml.NewRNode(n), "", err
		}
	}
	return nil, "", fmt.Errorf("functionConfig %q is empty", s.spec.ConfigPath)
}

// configMap is the functionConfig that kpt makes of a step's configMap.
func configMap(data map[string]string) *yaml.RNode {
	str := func(v string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: v}
	}
	values := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		values.Content = append(values.Content, str(k), str(data[k]))
	}
	return yaml.NewRNode(&yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap, Content: []*yaml.Node{
		str("apiVersion"), str("v1"),
		str("kind"), str("ConfigMap"),
		str("metadata"), {Kind: yaml.MappingNode, Tag: yaml.NodeTagMap, Content: []*yaml.Node{str("name"), str("function-input")}},
		str("data"), values,
	}})
}

// placed is an object that a function returned, with the place it gets.
type placed struct {
	*fn.Object
	owner *pkg
	path  string
	index int
}

// check decides where the objects that a function returned go and refuses those
// that can't go anywhere. dir is where those go that name no file.
func (x *execution) check(s *step, objects []*fn.Object, from map[*fn.Object]*item, dir string) ([]placed, error) {
	after := make([]placed, len(objects))
	moved := false
	seen := make(map[*fn.Object]bool, len(objects))
	for i, o := range objects {
		if o == nil || o.Node.IsNil() {
			return nil, errors.New("the function returned an item without content")
		}
		was := from[o]
		if seen[o] {
			return nil, taken(o.Node, o.Path, o.Index, "the function returned it twice")
		}
		seen[o] = true
		a := placed{Object: o, owner: s.pkg, path: o.Path, index: o.Index}
		if was != nil {
			a.owner = was.owner
			if o.Path == "" { // it lost its annotations: it is still where it was
				a.path, a.index = was.path, was.index
			}
		}
		if why := kptpkg.NotKRM(o.Node.YNode()); why != "" && (!exempt(a.path) || o.Node.YNode().Kind != yaml.MappingNode) {
			return nil, notKRM("output", a.owner, a.path, max(a.index, 0), why)
		}
		if a.path == "" {
			name := strings.ToLower(o.Node.GetKind()) + "_" + o.Node.GetName() + ".yaml"
			a.path, a.index = path.Join(dir, o.Node.GetNamespace(), name), -1
		}
		if was == nil || a.path != was.path || a.index != was.index || o.Package != "" && o.Package != was.owner.dir {
			moved = true
			if err := x.place(s, &a); err != nil {
				return nil, err
			}
		}
		after[i] = a
	}
	if !moved {
		return after, nil
	}
	return after, x.distinct(after)
}

// keepsKptfile refuses a function's answer that leaves its package without the
// Kptfile the function was given: it would be no package any more. kpt takes it,
// and an empty answer deletes all there is.
func (x *execution) keepsKptfile(s *step, after []placed) error {
	k := s.pkg.item
	if k == nil || !slices.Contains(s.given, k) {
		return nil
	}
	for _, a := range after {
		if a.owner == s.pkg && a.path == kptpkg.KptfileName && a.Node.GetKind() == kptpkg.KptfileName {
			return nil
		}
	}
	why := fmt.Sprintf("took out the Kptfile of package %q, which is none without it", s.Package)
	if len(after) == 0 {
		why = fmt.Sprintf("returned none of the %d resources of package %q", len(s.given), s.Package)
	}
	return resultError(fn.Result{
		Message: "the function " + why + ": it has to return what it leaves alone; to let it remove all it gets, give it only that, by selectors",
		File:    &fn.File{Path: path.Join(s.pkg.dir, kptpkg.KptfileName)},
	})
}

// place checks the package and path of an object that is new or was moved. As
// in kpt an absolute path is one below the package.
func (x *execution) place(s *step, a *placed) error {
	if a.Package != "" && a.Package != a.owner.dir {
		owner := x.byDir[path.Clean(a.Package)]
		if owner == nil || !s.pkg.holds(owner) {
			return outside(a.Object, a.Package)
		}
		a.owner = owner
	}
	p := path.Clean(strings.TrimLeft(a.path, "/"))
	if p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return outside(a.Object, a.path)
	}
	full := path.Join(a.owner.dir, p)
	refuse := func(why string) error {
		return resultError(fn.Result{
			Message:     fmt.Sprintf("function must not write %q: %s", a.path, why),
			ResourceRef: a.Ref(),
		})
	}
	if err := kptpkg.CheckPath(full); err != nil {
		return refuse(err.Error())
	}
	if !kptpkg.NewFile(full, kptpkg.Regular, nil).IsYAML() {
		return refuse("resources are in files named *.yaml, *.yml, *.json or Kptfile")
	}
	if x.tree.File(full) != nil && x.inputs[full] == nil {
		return refuse("a file that functions don't see has that name")
	}
	a.path = p
	return nil
}

func outside(o *fn.Object, p string) error {
	return resultError(fn.Result{
		Message:     "function must not modify resources outside of package: resource has path " + p,
		ResourceRef: o.Ref(),
	})
}

// distinct refuses two resources in one place. As in kpt those that the step
// didn't select don't count: what it made there comes behind them.
func (x *execution) distinct(after []placed) error {
	at := make(map[location]*yaml.RNode, len(after))
	put := func(owner *pkg, rel string, index int, r *yaml.RNode) error {
		if index < 0 {
			return nil // settle finds a place
		}
		loc := location{path.Join(owner.dir, rel), index}
		in := x.inputs[loc.path]
		if other := at[loc]; other != nil {
			return taken(r, rel, index, other.GetKind()+" "+strconv.Quote(other.GetName())+" is there")
		}
		if in != nil && in.carried[index] {
			return taken(r, rel, index, "a document that is no resource is there")
		}
		at[loc] = r
		return nil
	}
	for _, a := range after {
		if err := put(a.owner, a.path, a.index, a.Node); err != nil {
			return err
		}
	}
	return nil
}

// taken says, in kpt's words, that a resource can't have a place, and why.
func taken(r *yaml.RNode, rel string, index int, why string) error {
	return fmt.Errorf("%w: %s", resultError(fn.Result{
		Message:     fmt.Sprintf("resource at path %q and index %q already exists", rel, strconv.Itoa(index)),
		ResourceRef: (&fn.Object{Node: r}).Ref(),
	}), why)
}

// commit makes items what a mutator returned. Without selectors the order is the
// function's; with them, what it was given stays in its place among the others
// and what it made comes last.
func (x *execution) commit(after []placed, from map[*fn.Object]*item, given, items []*item, selecting bool) []*item {
	for _, it := range given {
		it.gone = true
	}
	returned := make([]*item, len(after))
	var made []*item
	for i, a := range after {
		it := from[a.Object]
		if it == nil {
			it = new(item)
			made = append(made, it)
		}
		it.set(a.Node, x.pack)
		it.owner, it.path, it.index, it.gone, it.passed = a.owner, a.path, a.index, false, true
		it.orderAnnotations()
		returned[i] = it
	}
	x.items = append(x.items, made...)
	if !selecting {
		return returned
	}
	kept := slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it.gone })
	return append(kept, made...)
}

// orderAnnotations puts annotations that a resource got to where kpt has them:
// it adds some of its own to every resource it reads, so that they stand behind
// what was in the metadata then and before what functions added.
func (it *item) orderAnnotations() {
	if it.meta == nil {
		return
	}
	meta := fieldOf(it.node.YNode(), "metadata")
	from := keyIndex(meta, "annotations")
	if from < 0 {
		return
	}
	pair := slices.Clone(meta.Content[from : from+2])
	meta.Content = slices.Delete(meta.Content, from, from+2)
	insertBehind(meta, it.meta, pair)
}

// notRun records a failure that isn't the function's own: it wasn't found, or
// what it returned can't be taken. It returns err.
func (x *execution) notRun(s *step, err error) error {
	s.ExitCode = 1
	s.ExecutionError = reason(err)
	if errors.Is(err, runtime.ErrExecNotAllowed) {
		s.ExecutionError = "must run with `--allow-exec` option to allow running function binaries" // kpt's words
	}
	x.report(s)
	return err
}

// failed records a failure of the function itself. That of an image is a result
// too, unless it said so by its exit code. One without a process of its own gets
// the line on standard error with which the catalog's images all end.
func (s *step) failed(err error) {
	s.ExitCode = 1
	exit, exited := errors.AsType[*runtime.ExitError](err)
	if exited {
		s.ExitCode = cmp.Or(exit.ExitCode, 1)
	}
	if !exited && s.Exec == "" {
		if s.reported() == nil {
			s.Results = append(s.Results, fn.ResultOf(err))
		}
		if s.function.InProcess {
			s.Stderr = cmp.Or(s.Stderr, "failed to evaluate function: error: function failure")
		}
	}
	s.handled = exited || s.Exec == "" || s.reported() != nil
}

// report adds a step to what was done.
func (x *execution) report(s *step) {
	if s.function != nil {
		s.Notes = s.function.Notes
	}
	x.out.Steps = append(x.out.Steps, s.StepStatus)
	results := s.Results
	switch {
	case s.Skipped != "":
		results = []fn.Result{{Severity: fn.Info, Message: "step skipped: " + s.Skipped}}
	case s.function != nil:
		results = slices.Concat(s.function.Notes, results)
	}
	for _, r := range results {
		r.Severity = cmp.Or(r.Severity, fn.Info)
		r = r.Tagged("package", s.Package).Tagged("step", s.String())
		x.out.Results = append(x.out.Results, s.fromRoot(r))
	}
}

// fromRoot is a result of the step with its path relative to the root.
func (s *step) fromRoot(r fn.Result) fn.Result {
	if r.File != nil && r.File.Path != "" {
		r.File = &fn.File{Path: path.Join(s.ownerOf(r), r.File.Path), Index: r.File.Index}
	}
	return r
}

// ownerOf is the directory of the package whose file a result of the step speaks
// of. Functions name files relative to the package the resource belongs to, so
// that a name alone may stand for files of several packages: then the first
// that has the resource, or the place, counts.
func (s *step) ownerOf(r fn.Result) string {
	if len(s.pkg.children) == 0 {
		return s.pkg.dir
	}
	if s.byPath == nil {
		s.byPath = make(map[string][]*item, len(s.given))
		for _, it := range s.given {
			s.byPath[it.path] = append(s.byPath[it.path], it)
		}
	}
	for _, it := range s.byPath[r.File.Path] {
		if ref := r.ResourceRef; ref != nil && ref.Name != "" {
			if v := it.view(); ref.Name == v.GetName() && (ref.Kind == "" || ref.Kind == v.GetKind()) {
				return it.owner.dir
			}
		} else if it.index == r.File.Index {
			return it.owner.dir
		}
	}
	return s.pkg.dir
}
