package orchestration

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
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
	doc     *yamldoc.Doc
	kind    api.Carrier
	dir     string            // what the paths are relative to
	content map[string][]byte // by path relative to dir
}

// unpack takes the carriers out of ws and puts the files they bring into it.
func unpack(ws kptpkg.Tree) (kptpkg.Tree, []carrier, error) {
	var (
		carriers []carrier
		errs     []error
		out      = ws
	)
	for _, p := range ws.Paths() {
		f := ws.File(p)
		if !f.IsYAML() || path.Base(p) == kptpkg.KptfileName || !mentionsStoop(f) {
			continue
		}
		if pkg, ok := ws.PackageOf(path.Dir(p)); ok && pkg != "." {
			continue
		}
		var rest []*yamldoc.Doc
		n := len(carriers)
		for i, d := range f.Docs() {
			c, err := readCarrier(d)
			switch {
			case err != nil:
				errs = append(errs, at(err, p, i))
			case c == nil:
				rest = append(rest, d)
			default:
				c.file = p
				carriers = append(carriers, *c)
			}
		}
		var err error
		switch {
		case len(carriers) == n:
		case slices.ContainsFunc(rest, func(d *yamldoc.Doc) bool { r, _ := d.Root(); return r != nil }):
			out, err = out.With(f.WithDocs(rest...))
		default:
			out = out.Without(p)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || len(carriers) == 0 {
		return ws, nil, err
	}
	var files []*kptpkg.File
	brought := map[string]string{} // path: the carrier's file
	for _, c := range carriers {
		for _, rel := range slices.Sorted(maps.Keys(c.content)) {
			p := path.Join(c.dir, rel)
			if err := kptpkg.CheckPath(rel); err != nil {
				return ws, nil, fmt.Errorf("%s: carrier: %w", c.file, err)
			}
			if by, twice := brought[p]; twice {
				return ws, nil, fmt.Errorf("%s: the carriers in %s and %s both bring it: remove one", p, by, c.file)
			}
			brought[p] = c.file
			if old := out.File(p); old != nil {
				if b, err := old.Bytes(); err != nil || string(b) != string(c.content[rel]) {
					return ws, nil, fmt.Errorf("%s: the file is there and differs from what the carrier in %s brings: remove one of the two", p, c.file)
				}
				continue
			}
			files = append(files, kptpkg.NewFile(p, kptpkg.Regular, c.content[rel]))
		}
	}
	out, err := out.With(files...)
	if err != nil {
		return ws, nil, err
	}
	return out, carriers, nil
}

// readCarrier returns nil for a document that is no carrier.
func readCarrier(d *yamldoc.Doc) (*carrier, error) {
	root, err := d.Root()
	if err != nil || root == nil {
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
	c := &carrier{doc: d, dir: "."}
	if c.kind, err = res.Carrier(); err != nil {
		return nil, err
	}
	if _, own := res.Metadata.Annotations[api.TargetAnnotation]; own || c.kind == api.CarrierPackage {
		if c.dir, err = res.Target(); err != nil {
			return nil, err
		}
	}
	c.content, err = res.Files()
	return c, err
}

// packFiles returns the file that carries the omitted files of a list, nil
// when there are none, and whether it says anything new.
func packFiles(omitted []*kptpkg.File, carriers []carrier) (file *kptpkg.File, isNew bool, err error) {
	if len(omitted) == 0 {
		return nil, false, nil
	}
	content := map[string][]byte{}
	for _, f := range omitted {
		if content[f.Path()], err = f.Bytes(); err != nil {
			return nil, false, err
		}
	}
	var old *carrier
	for i, c := range carriers {
		if c.kind == api.CarrierFiles && c.dir == "." && maps.EqualFunc(c.content, content, sameBytes) {
			return kptpkg.NewDocs(c.file, c.doc), false, nil
		}
		if c.file == carrierFile {
			old = &carriers[i]
		}
	}
	d, err := pack("stoop-files", api.CarrierFiles, ".", content, old)
	return kptpkg.NewDocs(carrierFile, d), true, err
}

// packTarget returns the file that carries the whole package at target.
func packTarget(ws kptpkg.Tree, target string, carriers []carrier) (*kptpkg.File, error) {
	content := map[string][]byte{}
	pkg := ws.Sub(target)
	for _, p := range pkg.Paths() {
		b, err := pkg.File(p).Bytes()
		if err != nil {
			return nil, err
		}
		content[p] = b
	}
	for _, c := range carriers {
		if c.kind == api.CarrierPackage && c.dir == target && maps.EqualFunc(c.content, content, sameBytes) {
			return kptpkg.NewDocs(c.file, c.doc), nil
		}
	}
	name := strings.ReplaceAll(target, "/", "-")
	d, err := pack(name, api.CarrierPackage, target, content, nil)
	return kptpkg.NewDocs(path.Join(ordersDir, "package-"+name+".yaml"), d), err
}

func sameBytes(a, b []byte) bool { return string(a) == string(b) }

// pack makes a carrier, as a new version of old where there is one.
func pack(name string, kind api.Carrier, target string, content map[string][]byte, old *carrier) (*yamldoc.Doc, error) {
	res := &api.PackageRevisionResources{}
	res.APIVersion, res.Kind = api.PorchV1Alpha1, "PackageRevisionResources"
	res.Metadata.Name = name
	res.Metadata.Annotations = map[string]string{
		api.LocalConfigAnnotation: "true",
		api.CarrierAnnotation:     string(kind),
		api.TargetAnnotation:      target,
	}
	for p, b := range content {
		if utf8.Valid(b) && !strings.ContainsRune(string(b), 0) {
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
		return old.doc.With(api.Node(res)), nil
	}
	return yamldoc.FromNode(api.Node(res)), nil
}
