package orchestration

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// order is an object that this workspace asks to be carried out: a
// PackageRevision, PackageRevisionResources that replace a package, a Plan or a
// Task.
type order struct {
	file      string // in the workspace; where it will be for a new function config
	number    int    // of the document among the file's; -1 for a new function config
	index     int    // as results count documents: those with content
	doc       *yamldoc.Doc
	object    api.Object                    // the object itself
	revision  *api.PackageRevision          // the object, or the one that holds what is replaced; nil in a Plan or Task
	resources *api.PackageRevisionResources // what replaces the package; nil in all others
	target    string                        // of the first two; a task's is work.dir
}

// found is all that a workspace says to stoop.
type found struct {
	orders       []*order                   // PackageRevisions, and what replaces packages
	plans        []*order                   // Plan and Task objects
	repositories map[string]*api.Repository // by namespace/name
	own          map[string]bool            // files that hold nothing but objects for stoop
	mixed        map[string]bool            // files that hold such objects beside content
	notes        []fn.Result                // objects that look like orders and aren't
	ignored      bool                       // only those are looked for
}

func newFound() *found {
	return &found{repositories: map[string]*api.Repository{}, own: map[string]bool{}, mixed: map[string]bool{}}
}

// discover reads the objects addressed to stoop. An object counts where the
// nearest Kptfile, looking upwards from its directory, is the root's or doesn't
// exist, and unless it is a Repository it has to be local config. All others
// are content.
func discover(ws kptpkg.Tree, config *yamldoc.Doc) (*found, error) {
	f := newFound()
	errs := []error{f.readAll(ws)}
	if config != nil {
		errs = append(errs, at(f.readConfig(config), "functionConfig", 0))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *found) readAll(ws kptpkg.Tree) error {
	var errs []error
	for _, p := range ws.Paths() {
		if file := ws.File(p); mayHoldOrders(file) {
			errs = append(errs, f.readFile(ws, file))
		}
	}
	return errors.Join(errs...)
}

// groups are the API groups of the objects that stoop reads.
var groups = []string{"porch.kpt.dev", "stoop.dev"}

// mayHoldOrders says whether a file has to be parsed to know what it holds: of
// a file that mentions none of the groups, and has no escapes that could spell
// one, that is known without.
func mayHoldOrders(f *kptpkg.File) bool {
	if !f.IsYAML() || path.Base(f.Path()) == kptpkg.KptfileName {
		return false
	}
	text := f.Text()
	return text == nil || bytes.IndexByte(text, '\\') >= 0 || bytes.IndexByte(text, 0) >= 0 || mentionsGroup(text)
}

// mentionsGroup says whether a text has one of the groups with a slash behind it, as
// apiVersions do. It looks for the slashes: of all characters of a group and what
// follows it they are the rarest by far.
func mentionsGroup(text []byte) bool {
	for {
		slash := bytes.IndexByte(text, '/')
		if slash < 0 {
			return false
		}
		for _, g := range groups {
			if slash >= len(g) && string(text[slash-len(g):slash]) == g {
				return true
			}
		}
		text = text[slash+1:]
	}
}

func (f *found) readFile(ws kptpkg.Tree, file *kptpkg.File) error {
	p := file.Path()
	pkg, ok := ws.PackageOf(path.Dir(p))
	declaring := !ok || pkg == "."
	var errs []error
	begin := lines(file)
	own, others, index := 0, 0, 0
	for i, d := range file.Docs() {
		root, err := d.Root()
		switch {
		case err != nil:
			if declaring && seemsOrder(d) {
				errs = append(errs, at(brokenOrder(begin[i], err), p, index))
			}
			others++
		case root == nil:
			continue
		default:
			o, mine, err := f.readObject(root, p, begin[i], pkg, declaring, index)
			switch {
			case err != nil:
				errs = append(errs, at(err, p, index))
			case o != nil:
				f.add(&order{file: p, number: i, index: index, doc: d, object: o})
			}
			if mine {
				own++
			} else {
				others++
			}
		}
		index++
	}
	switch {
	case own == 0:
	case others == 0:
		f.own[p] = true
	default:
		f.mixed[p] = true
	}
	return errors.Join(errs...)
}

// readObject reads one object of a file, which begins on a line of it; mine says
// that it is stoop's rather than content, and the object returned is an order.
func (f *found) readObject(root *yaml.Node, file string, line int, pkg string, declaring bool, index int) (_ api.Object, mine bool, _ error) {
	head := headOf(root)
	known := api.Known(head.APIVersion, head.Kind)
	switch {
	case head.Kind == "List" && head.APIVersion == "v1":
		f.ignoreListed(root, file, index)
		return nil, false, nil
	case !known && !(declaring && head.IsLocalConfig() && ours(head.APIVersion)):
		return nil, false, nil
	case head.Kind == "Repository":
		if !declaring {
			return nil, false, nil
		}
		return nil, head.IsLocalConfig(), f.addRepository(root, line)
	case !declaring:
		f.ignore(head, file, index, fmt.Sprintf("not carried out: it is content of the package %s, not of the root package; move it there and give it annotation %s: \"true\" if it is meant for stoop", pkg, api.LocalConfigAnnotation))
		return nil, false, nil
	case !head.IsLocalConfig():
		f.ignore(head, file, index, fmt.Sprintf("not carried out: it may be meant for a cluster; add annotation %s: \"true\" if it is meant for stoop", api.LocalConfigAnnotation))
		return nil, false, nil
	case f.ignored:
		return nil, true, nil
	}
	obj, err := api.Decode(root, line)
	if err != nil {
		return nil, true, err
	}
	switch o := obj.(type) {
	case *api.PackageRevision, *api.Plan, *api.PlanTask:
		return o, true, nil
	case *api.PackageRevisionResources:
		if o.Metadata.Annotations[api.CarrierAnnotation] == "" {
			return o, true, nil
		}
	}
	return nil, true, nil
}

// add notes an order.
func (f *found) add(o *order) {
	switch obj := o.object.(type) {
	case *api.PackageRevision:
		o.revision = obj
	case *api.PackageRevisionResources:
		o.resources = obj
	default:
		f.plans = append(f.plans, o)
		return
	}
	f.orders = append(f.orders, o)
}

// ours says whether objects of the version are either read by stoop or wrong.
func ours(apiVersion string) bool {
	group, _, _ := strings.Cut(apiVersion, "/")
	return slices.Contains(groups, group)
}

// lines are the lines on which the documents of a file begin, from 1; all 0 when the
// file wasn't read from text.
func lines(file *kptpkg.File) []int {
	docs := file.Docs()
	begin := make([]int, len(docs))
	if file.Text() == nil {
		return begin
	}
	line := 1
	for i, d := range docs {
		b, err := d.Bytes()
		if err != nil {
			break
		}
		begin[i] = line
		line += bytes.Count(b, []byte("\n"))
	}
	return begin
}

// seemsOrder says whether a document that isn't YAML was meant to be an object
// for stoop: one of its lines gives such an API version.
func seemsOrder(d *yamldoc.Doc) bool {
	text, err := d.Bytes()
	if err != nil {
		return false
	}
	for line := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(line, []byte("apiVersion:")); ok && ours(strings.Trim(string(v), " \t\r\n\"'")) {
			return true
		}
	}
	return false
}

func brokenOrder(line int, err error) error {
	return &fn.ResultError{Result: fn.Result{
		Severity: fn.Error,
		Message:  fmt.Sprintf("is not YAML, and seems to hold an object for stoop: %s: correct it, or take the file out", kptpkg.ShiftLines(err.Error(), max(line-1, 0))),
	}, Err: err}
}

func (f *found) ignore(head *api.Header, p string, index int, message string) {
	f.notes = append(f.notes, fn.Result{Message: message, Severity: fn.Info, ResourceRef: head.Ref(), File: &fn.File{Path: p, Index: index}})
}

// ignoreListed names the objects of a List that stoop would read by themselves.
func (f *found) ignoreListed(list *yaml.Node, p string, index int) {
	items := yaml.NewRNode(list).Field("items")
	if items == nil || items.Value.YNode().Kind != yaml.SequenceNode {
		return
	}
	for _, item := range items.Value.YNode().Content {
		if head := headOf(item); api.Known(head.APIVersion, head.Kind) {
			f.ignore(head, p, index, "not carried out: it is an item of a List; make it a document of its own if it is meant for stoop")
		}
	}
}

func (f *found) addRepository(root *yaml.Node, line int) error {
	obj, err := api.Decode(root, line)
	if err != nil {
		return err
	}
	repo := obj.(*api.Repository)
	if err := repo.Validate(); err != nil {
		return err
	}
	key := repo.Metadata.Namespace + "/" + repo.Metadata.Name
	if f.repositories[key] != nil {
		return resultError(repo, "metadata.name", "is declared twice: keep one", nil)
	}
	f.repositories[key] = repo
	return nil
}

// repository is the declared Repository that a revision belongs to, nil when
// there is none: a namespace that one of the two leaves out agrees with any.
func (f *found) repository(pr *api.PackageRevision) *api.Repository {
	name := pr.Spec.Repository
	if name == "" {
		return nil
	}
	if r := f.repositories[pr.Metadata.Namespace+"/"+name]; r != nil {
		return r
	}
	var only *api.Repository
	for _, r := range f.repositories {
		if r.Metadata.Name == name && (r.Metadata.Namespace == "" || pr.Metadata.Namespace == "") {
			if only != nil {
				return nil
			}
			only = r
		}
	}
	return only
}

// readConfig takes the function config for an order. One that is also an item
// is the item's newer version: it keeps the item's record.
func (f *found) readConfig(config *yamldoc.Doc) error {
	obj, err := decodeConfig(config)
	if err != nil || obj == nil {
		return err
	}
	h := obj.Head()
	if h.Metadata.Annotations == nil {
		h.Metadata.Annotations = map[string]string{}
	}
	for a := range h.Metadata.Annotations {
		if hostAnnotations[a] || a == functionAnnotation {
			delete(h.Metadata.Annotations, a)
		}
	}
	h.Metadata.Annotations[api.LocalConfigAnnotation] = "true"
	for _, o := range slices.Concat(f.orders, f.plans) {
		if *o.object.Ref() == *obj.Ref() {
			o.supersede(obj)
			return nil
		}
	}
	f.add(&order{
		file:   path.Join(ordersDir, strings.ToLower(h.Kind)+"-"+h.Metadata.Name+".yaml"),
		number: -1, doc: yamldoc.FromNode(api.Node(obj)), object: obj,
	})
	return nil
}

// supersede makes a function config the order's object; the record stays.
func (o *order) supersede(obj api.Object) {
	same := false
	switch obj := obj.(type) {
	case *api.PackageRevision:
		for _, a := range []string{api.AppliedAnnotation, api.ObservedAnnotation} {
			if v, ok := o.revision.Metadata.Annotations[a]; ok {
				obj.Metadata.Annotations[a] = v
			}
		}
		obj.Status = o.revision.Status
		same = sameOrder(o.revision, obj)
		o.revision = obj
	case *api.Plan:
		was := o.object.(*api.Plan)
		obj.Status = was.Status
		same = api.Equal(&api.Plan{Spec: was.Spec}, &api.Plan{Spec: obj.Spec})
	case *api.PlanTask:
		was := o.object.(*api.PlanTask)
		obj.Status = was.Status
		same = api.Equal(&api.PlanTask{Spec: was.Spec}, &api.PlanTask{Spec: obj.Spec})
	}
	if !same {
		o.doc = o.doc.With(api.Node(obj))
	}
	o.object = obj
}

// decodeConfig reads a function config, nil when it is empty.
func decodeConfig(config *yamldoc.Doc) (api.Object, error) {
	root, err := config.Root()
	if err != nil || root == nil {
		return nil, err
	}
	if head := headOf(root); head.Kind == "ConfigMap" && head.APIVersion == "v1" {
		pr, err := api.FromConfigMap(root)
		if pr == nil {
			return nil, err
		}
		return pr, err
	}
	obj, err := api.Decode(root, 0)
	if err != nil {
		return nil, err
	}
	switch obj.(type) {
	case *api.PackageRevision, *api.Plan, *api.PlanTask:
		return obj, nil
	}
	return nil, resultError(obj, "kind", "can't be a function config: give a Plan, a Task, a PackageRevision, or a ConfigMap with type=clone repo=… ref=… directory=…", nil)
}

// sameOrder says whether two versions of an object ask for the same.
func sameOrder(a, b *api.PackageRevision) bool {
	n := len(a.Spec.Tasks)
	return n == len(b.Spec.Tasks) && a.TaskDigest(n) == b.TaskDigest(n) && a.ObservedDigest() == b.ObservedDigest() &&
		a.Lifecycle() == b.Lifecycle() && a.Spec.PackageName == b.Spec.PackageName && a.Spec.Repository == b.Spec.Repository &&
		a.Metadata.Annotations[api.TargetAnnotation] == b.Metadata.Annotations[api.TargetAnnotation]
}

// headOf reads the head of any object, leniently.
func headOf(root *yaml.Node) *api.Header {
	if root.Kind != yaml.MappingNode {
		return &api.Header{}
	}
	n := yaml.NewRNode(root)
	return &api.Header{
		APIVersion: n.GetApiVersion(), Kind: n.GetKind(),
		Metadata: api.ObjectMeta{Name: kptpkg.Name(root), Namespace: kptpkg.Namespace(root), Annotations: kptpkg.Annotations(root)},
	}
}

// at says which file err is about, of each that is joined in it, unless it says
// so itself.
func at(err error, file string, index int) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, at(e, file, index))
		}
		return errors.Join(out...)
	}
	r := fn.ResultOf(err)
	if r.File != nil {
		return err
	}
	r.File = &fn.File{Path: file, Index: index}
	return &fn.ResultError{Result: r, Err: err}
}
