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

// order is a PackageRevision that this workspace asks to be carried out.
type order struct {
	file     string // in the workspace; where it will be for a new function config
	index    int    // of the document in the file
	doc      *yamldoc.Doc
	revision *api.PackageRevision
	target   string
	config   bool // given as function config
	isNew    bool // a function config that isn't in the workspace
}

// found is all that a workspace says to stoop.
type found struct {
	orders       []*order
	repositories map[string]*api.Repository // by namespace/name
	carriers     map[string]bool            // files that hold carriers only
	orderFiles   map[string]bool            // files that hold orders only
	mixed        map[string]bool            // files that hold both orders and content
	notes        []fn.Result                // objects that look like orders and aren't
}

// discover reads the objects addressed to stoop. An object counts where the
// nearest Kptfile, looking upwards from its directory, is the root's or doesn't
// exist, and unless it is a Repository it has to be local config. All others
// are content.
func discover(ws kptpkg.Tree, config *yamldoc.Doc) (*found, error) {
	f := &found{
		repositories: map[string]*api.Repository{},
		carriers:     map[string]bool{}, orderFiles: map[string]bool{}, mixed: map[string]bool{},
	}
	var errs []error
	for _, p := range ws.Paths() {
		file := ws.File(p)
		if !file.IsYAML() || path.Base(p) == kptpkg.KptfileName || !mentionsStoop(file) {
			continue
		}
		errs = append(errs, f.readFile(ws, file))
	}
	if config != nil {
		errs = append(errs, f.readConfig(config))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f, nil
}

// groups are the API groups of the objects that stoop reads. A file that
// mentions none of them can't hold one and isn't parsed.
var groups = [][]byte{[]byte("porch.kpt.dev"), []byte("stoop.dev")}

func mentionsStoop(f *kptpkg.File) bool {
	b, err := f.Bytes()
	return err == nil && slices.ContainsFunc(groups, func(g []byte) bool { return bytes.Contains(b, g) })
}

func (f *found) readFile(ws kptpkg.Tree, file *kptpkg.File) error {
	p := file.Path()
	pkg, ok := ws.PackageOf(path.Dir(p))
	declaring := !ok || pkg == "."
	var errs []error
	orders, carriers, others := 0, 0, 0
	index := -1
	for i, d := range file.Docs() {
		root, err := d.Root()
		if err != nil {
			// Not YAML, so not an order; whoever uses the file will say so.
			return nil
		}
		if root == nil {
			continue
		}
		index++
		head := headOf(root)
		switch {
		case !api.Known(head.APIVersion, head.Kind):
			others++
			continue
		case head.Kind == "Repository":
			others++
			if declaring {
				errs = append(errs, at(f.addRepository(root), p, index))
			}
			continue
		case !declaring:
			f.ignore(head, p, index, fmt.Sprintf("not carried out: it is content of the package %s, not of the root package; move it there and give it annotation %s: \"true\" if it is meant for stoop", pkg, api.LocalConfigAnnotation))
			others++
			continue
		case !head.IsLocalConfig():
			f.ignore(head, p, index, fmt.Sprintf("not carried out: it may be meant for a cluster; add annotation %s: \"true\" if it is meant for stoop", api.LocalConfigAnnotation))
			others++
			continue
		}
		obj, err := api.Decode(root, 0)
		if err != nil {
			errs = append(errs, at(err, p, index))
			continue
		}
		switch o := obj.(type) {
		case *api.PackageRevision:
			orders++
			f.orders = append(f.orders, &order{file: p, index: i, doc: d, revision: o})
		case *api.PackageRevisionResources:
			if o.Metadata.Annotations[api.CarrierAnnotation] != "" {
				carriers++
				continue
			}
			errs = append(errs, at(resultError(o, "spec.resources", "replacing a package's resources is not built yet: edit the files themselves, or say that the object is luggage with annotation "+api.CarrierAnnotation, ErrNotBuilt), p, index))
		}
	}
	switch {
	case orders == 0 && carriers == 0:
	case others > 0:
		f.mixed[p] = true
	case orders == 0:
		f.carriers[p] = true
	default:
		f.orderFiles[p] = true
	}
	return errors.Join(errs...)
}

func (f *found) ignore(head *api.Header, p string, index int, message string) {
	f.notes = append(f.notes, fn.Result{Message: message, Severity: fn.Info, ResourceRef: head.Ref(), File: &fn.File{Path: p, Index: index}})
}

func (f *found) addRepository(root *yaml.Node) error {
	obj, err := api.Decode(root, 0)
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
	root, err := config.Copy()
	if err != nil || root == nil {
		return err
	}
	var pr *api.PackageRevision
	switch head := headOf(root); {
	case head.Kind == "ConfigMap" && head.APIVersion == "v1":
		if pr, err = api.FromConfigMap(root); err != nil || pr == nil {
			return at(err, "functionConfig", 0)
		}
	default:
		obj, err := api.Decode(root, 0)
		if err != nil {
			return at(err, "functionConfig", 0)
		}
		var ok bool
		if pr, ok = obj.(*api.PackageRevision); !ok {
			return at(resultError(obj, "kind", "can't be a function config: give a PackageRevision, or a ConfigMap with type=clone repo=… ref=… directory=…", nil), "functionConfig", 0)
		}
	}
	if pr.Metadata.Annotations == nil {
		pr.Metadata.Annotations = map[string]string{}
	}
	for _, a := range []string{functionAnnotation, pathAnnotation, indexAnnotation, packagePathAnnotation, legacyPathAnnotation, legacyIndexAnnotation} {
		delete(pr.Metadata.Annotations, a)
	}
	pr.Metadata.Annotations[api.LocalConfigAnnotation] = "true"
	for _, o := range f.orders {
		if *o.revision.Ref() != *pr.Ref() {
			continue
		}
		for _, a := range []string{api.AppliedAnnotation, api.ObservedAnnotation} {
			if v, ok := o.revision.Metadata.Annotations[a]; ok {
				pr.Metadata.Annotations[a] = v
			}
		}
		pr.Status = o.revision.Status
		if !sameOrder(o.revision, pr) {
			o.doc = o.doc.With(api.Node(pr))
		}
		o.revision, o.config = pr, true
		return nil
	}
	f.orders = append(f.orders, &order{
		file: path.Join(ordersDir, strings.ToLower(pr.Kind)+"-"+pr.Metadata.Name+".yaml"),
		doc:  yamldoc.FromNode(api.Node(pr)), revision: pr, config: true, isNew: true,
	})
	return nil
}

// sameOrder says whether two versions of an object ask for the same.
func sameOrder(a, b *api.PackageRevision) bool {
	n := len(a.Spec.Tasks)
	return n == len(b.Spec.Tasks) && a.TaskDigest(n) == b.TaskDigest(n) && a.ObservedDigest() == b.ObservedDigest() &&
		a.Lifecycle() == b.Lifecycle() && a.Spec.PackageName == b.Spec.PackageName && a.Spec.Repository == b.Spec.Repository
}

// headOf reads the head of any object, leniently.
func headOf(root *yaml.Node) *api.Header {
	n := yaml.NewRNode(root)
	if root.Kind != yaml.MappingNode {
		return &api.Header{}
	}
	return &api.Header{
		APIVersion: n.GetApiVersion(), Kind: n.GetKind(),
		Metadata: api.ObjectMeta{Name: n.GetName(), Namespace: n.GetNamespace(), Annotations: n.GetAnnotations()},
	}
}

// at gives the results in err the file they are about.
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
	var re *fn.ResultError
	if !errors.As(err, &re) {
		return fmt.Errorf("%s: %w", file, err)
	}
	if re.Result.File == nil {
		re.Result.File = &fn.File{Path: file, Index: index}
	}
	return err
}
