package task

import (
	"bytes"
	"context"
	"path"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Scaffold makes the files of an empty package: Kptfile, README.md and
// package-context.yaml, as Porch and kpt do. With a subpackage it makes both
// the package and, below it, the subpackage that the task describes. A Kptfile
// that is there already (an in-place target) is kept and completed.
var Scaffold = Mutation{"scaffold", scaffold}

func scaffold(_ context.Context, j *Job) (kptpkg.Tree, error) {
	spec := j.Task.Init
	root := spec
	if spec.Subpackage != "" {
		root = &api.InitTask{}
	}
	t, err := scaffoldAt(j.Package, ".", j.Revision.Spec.PackageName, root)
	if err != nil || spec.Subpackage == "" {
		return t, err
	}
	sub := path.Clean(spec.Subpackage)
	return scaffoldAt(t, sub, path.Base(sub), spec)
}

// kptfileInfo is the part of a Kptfile that init fills in, in kpt's order.
type kptfileInfo struct {
	Site        string   `yaml:"site,omitempty"`
	Description string   `yaml:"description,omitempty"`
	Keywords    []string `yaml:"keywords,omitempty"`
}

func scaffoldAt(t kptpkg.Tree, dir, name string, spec *api.InitTask) (kptpkg.Tree, error) {
	info := kptfileInfo{Site: spec.Site, Description: spec.Description, Keywords: spec.Keywords}
	var err error
	if t.File(path.Join(dir, kptpkg.KptfileName)) == nil {
		kptfile := "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: placeholder\n  annotations:\n    " +
			api.LocalConfigAnnotation + ": \"true\"\n"
		if t, err = t.With(kptpkg.NewFile(path.Join(dir, kptpkg.KptfileName), kptpkg.Regular, []byte(kptfile))); err != nil {
			return kptpkg.Tree{}, err
		}
	}
	var node yaml.Node
	if err := node.Encode(info); err != nil {
		return kptpkg.Tree{}, err
	}
	t, err = t.EditKptfile(dir, func(k *kptpkg.KptfileEditor) error {
		k.SetName(name)
		k.SetInfo(&node)
		return nil
	})
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return t.With(
		kptpkg.NewFile(path.Join(dir, "README.md"), kptpkg.Regular, readme(name, spec)),
		kptpkg.NewFile(path.Join(dir, contextFile), kptpkg.Regular, []byte(contextText)),
	)
}

// contextFile and its content are kpt's built-in package context: functions
// take it for the package's inputs.
const (
	contextFile = "package-context.yaml"
	contextName = "kptfile.kpt.dev"
	contextText = `apiVersion: v1
kind: ConfigMap
metadata:
  name: ` + contextName + `
  annotations:
    ` + api.LocalConfigAnnotation + `: "true"
data:
  name: example
`
)

// readme is a first README for people to go on with.
func readme(name string, spec *api.InitTask) []byte {
	var b bytes.Buffer
	b.WriteString("# " + name + "\n")
	if spec.Description != "" {
		b.WriteString("\n" + spec.Description + "\n")
	}
	if spec.Site != "" {
		b.WriteString("\nSite: " + spec.Site + "\n")
	}
	if len(spec.Keywords) > 0 {
		b.WriteString("\nKeywords: " + strings.Join(spec.Keywords, ", ") + "\n")
	}
	b.WriteString("\n## Use\n\n" +
		"Get a copy of this package, then set its values and render it:\n\n" +
		"    stoop get REPO/" + name + "@REF " + path.Base(name) + "\n" +
		"    stoop render " + path.Base(name) + "\n")
	return b.Bytes()
}
