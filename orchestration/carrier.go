package orchestration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Carriers bring files that can't be items of a list: PackageRevisionResources
// with annotation stoop.dev/carrier. They are unpacked on the way in and packed
// again on the way out; a directory keeps none.

const (
	ordersDir   = "stoop"                   // where stoop puts objects of its own
	carrierFile = ordersDir + "/files.yaml" // the carrier of a list's files
)

// carrier is one carrier as it was read.
type carrier struct {
	file    string
	index   int // among the file's documents with content
	doc     *yamldoc.Doc
	ref     *fn.ResourceRef
	kind    api.Carrier
	dir     string            // what the paths are relative to
	content map[string][]byte // by path relative to dir
}

// unpack takes the carriers out of ws and puts the files they bring into it.
func unpack(ws kptpkg.Tree) (kptpkg.Tree, []carrier, error) {
	var (
		carriers []carrier
		errs     []error
		changed  []*kptpkg.File
		gone     []string
	)
	for _, p := range ws.Paths() {
		f := ws.File(p)
		if !mayHoldOrders(f) {
			continue
		}
		if pkg, ok := ws.PackageOf(path.Dir(p)); ok && pkg != "." {
			continue
		}
		var rest []*yamldoc.Doc
		n, content, index := len(carriers), false, 0
		for _, d := range f.Docs() {
			root, err := d.Root()
			c, decodeErr := readCarrier(root)
			switch {
			case decodeErr != nil:
				errs = append(errs, at(decodeErr, p, index))
			case c != nil:
				c.file, c.index, c.doc = p, index, d
				carriers = append(carriers, *c)
			default:
				content = content || root != nil || err != nil
				rest = append(rest, d)
			}
			if root != nil || err != nil {
				index++
			}
		}
		switch {
		case len(carriers) == n:
		case content:
			changed = append(changed, f.WithDocs(rest...))
		default:
			gone = append(gone, p)
		}
	}
	if err := errors.Join(errs...); err != nil || len(carriers) == 0 {
		return ws, nil, err
	}
	out, err := ws.Without(gone...).With(changed...)
	if err != nil {
		return ws, nil, err
	}
	brought, err := bring(out, carriers)
	if err != nil {
		return ws, nil, err
	}
	if out, err = out.With(brought...); err != nil {
		return ws, nil, err
	}
	return out, carriers, nil
}

// bring returns the files that carriers bring and t doesn't have. A file that is
// there already has to be the same.
func bring(t kptpkg.Tree, carriers []carrier) ([]*kptpkg.File, error) {
	var files []*kptpkg.File
	var errs []error
	by := map[string]*carrier{}
	for i := range carriers {
		c := &carriers[i]
		for _, rel := range slices.Sorted(maps.Keys(c.content)) {
			if err := kptpkg.CheckPath(rel); err != nil {
				errs = append(errs, c.fail("spec.resources", err.Error()))
				continue
			}
			p := path.Join(c.dir, rel)
			if other := by[p]; other != nil {
				errs = append(errs, c.fail("spec.resources", fmt.Sprintf("%s is brought by the carrier %s in %s too: take it out of one", p, other.ref.Name, other.file)))
				continue
			}
			by[p] = c
			old := t.File(p)
			if old == nil {
				files = append(files, kptpkg.NewFile(p, kptpkg.Regular, c.content[rel]))
				continue
			}
			if b, err := old.Bytes(); err != nil || !bytes.Equal(b, c.content[rel]) {
				errs = append(errs, c.fail("spec.resources", fmt.Sprintf("%s is there and differs from what the carrier brings: remove one of the two", p)))
			}
		}
	}
	return files, errors.Join(errs...)
}

func (c *carrier) fail(field, message string) error {
	return &fn.ResultError{Result: fn.Result{
		Message: message, Severity: fn.Error, ResourceRef: c.ref,
		Field: &fn.Field{Path: field}, File: &fn.File{Path: c.file, Index: c.index},
	}}
}

// readCarrier returns nil for an object that is no carrier.
func readCarrier(root *yaml.Node) (*carrier, error) {
	if root == nil {
		return nil, nil
	}
	head := headOf(root)
	if head.Kind != "PackageRevisionResources" || head.APIVersion != api.PorchV1Alpha1 || !head.IsLocalConfig() || head.Metadata.Annotations[api.CarrierAnnotation] == "" {
		return nil, nil
	}
	obj, err := api.Decode(root, 0)
	if err != nil {
		return nil, err
	}
	res := obj.(*api.PackageRevisionResources)
	if err := res.Validate(); err != nil {
		return nil, err
	}
	c := &carrier{ref: res.Ref()}
	if c.kind, err = res.Carrier(); err != nil {
		return nil, err
	}
	if c.dir, err = res.Target(); err != nil {
		return nil, err
	}
	c.content, err = res.Files()
	return c, err
}

// packFiles returns the document that carries the omitted files of a list: the
// carrier they came with, where they are still the same, or a new version. There
// is none when nothing is left that a carrier can hold.
func packFiles(omitted []*kptpkg.File, carriers []carrier) (placedDoc, []fn.Result, error) {
	content, results, err := contentOf(omitted)
	if err != nil || len(content) == 0 {
		return placedDoc{}, results, err
	}
	var old *carrier
	for i, c := range carriers {
		if c.kind == api.CarrierFiles && c.dir == "." && maps.EqualFunc(c.content, content, bytes.Equal) {
			return placedDoc{c.file, -1, c.doc}, results, nil
		}
		if c.kind == api.CarrierFiles && c.file == carrierFile && old == nil {
			old = &carriers[i]
		}
	}
	results = append(results, fn.Result{
		Severity: fn.Warning, File: &fn.File{Path: carrierFile},
		Message: fmt.Sprintf("%s omitted, being no resources; `stoop run` writes what this carrier holds", count(len(content), "file")),
	})
	return placedDoc{carrierFile, -1, pack("stoop-files", api.CarrierFiles, ".", content, old)}, results, nil
}

// packTarget returns the document that carries the whole package at target.
func packTarget(pkg kptpkg.Tree, target string, carriers []carrier) (placedDoc, []fn.Result, error) {
	var files []*kptpkg.File
	for _, p := range pkg.Paths() {
		files = append(files, pkg.File(p))
	}
	content, results, err := contentOf(files)
	if err != nil {
		return placedDoc{}, nil, err
	}
	for _, c := range carriers {
		if c.kind == api.CarrierPackage && c.dir == target && maps.EqualFunc(c.content, content, bytes.Equal) {
			return placedDoc{c.file, -1, c.doc}, results, nil
		}
	}
	name := strings.ReplaceAll(target, "/", "-")
	return placedDoc{path.Join(ordersDir, "package-"+name+".yaml"), -1, pack(name, api.CarrierPackage, target, content, nil)}, results, nil
}

// contentOf is the content of files by path, and a warning about what a carrier
// can't hold: it has no symlinks and no modes.
func contentOf(files []*kptpkg.File) (map[string][]byte, []fn.Result, error) {
	content := map[string][]byte{}
	var links, executables []string
	for _, f := range files {
		if f.Mode() == kptpkg.Symlink {
			links = append(links, f.Path())
			continue
		}
		if f.Mode() == kptpkg.Executable {
			executables = append(executables, f.Path())
		}
		b, err := f.Bytes()
		if err != nil {
			return nil, nil, err
		}
		content[f.Path()] = b
	}
	var results []fn.Result
	warn := func(what string, paths []string) {
		if len(paths) > 0 {
			results = append(results, fn.Result{Severity: fn.Warning, Message: fmt.Sprintf("%s: %s; `stoop run` makes the whole package", what, some(paths))})
		}
	}
	warn("left out, since a list can't hold symlinks", links)
	warn("not executable any more, since a list can't hold modes", executables)
	return content, results, nil
}

// pack makes a carrier, as a new version of old where there is one.
func pack(name string, kind api.Carrier, target string, content map[string][]byte, old *carrier) *yamldoc.Doc {
	res := &api.PackageRevisionResources{}
	res.APIVersion, res.Kind = api.PorchV1Alpha1, "PackageRevisionResources"
	res.Metadata.Name = name
	res.Metadata.Annotations = map[string]string{
		api.LocalConfigAnnotation: "true",
		api.CarrierAnnotation:     string(kind),
		api.TargetAnnotation:      target,
	}
	for p, b := range content {
		if utf8.Valid(b) && !bytes.ContainsRune(b, 0) {
			if res.Spec.Resources == nil {
				res.Spec.Resources = map[string]string{}
			}
			res.Spec.Resources[p] = string(b)
			continue
		}
		if res.Spec.BinaryResources == nil {
			res.Spec.BinaryResources = map[string]string{}
		}
		res.Spec.BinaryResources[p] = base64.StdEncoding.EncodeToString(b)
	}
	if old != nil {
		return old.doc.With(api.Node(res))
	}
	return yamldoc.FromNode(api.Node(res))
}
