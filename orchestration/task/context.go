package task

import (
	"context"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// AddPackageContext gives a package of a deployment repository its context: a
// ConfigMap kptfile.kpt.dev beside the root Kptfile with the package's name
// and path, in place of all those that came along. In other repositories it
// changes nothing. The rule is Porch's built-in package-context function.
var AddPackageContext = Mutation{"add package context", addPackageContext}

func addPackageContext(_ context.Context, j *Job) (kptpkg.Tree, error) {
	if !j.Deployment {
		return j.Package, nil
	}
	name := j.Revision.Spec.PackageName
	pkgPath := name
	if p := j.Revision.Spec.Parent; p != nil && p.Name != "" {
		pkgPath = path.Join(p.Name, name)
	}
	var changed []*kptpkg.File
	var gone []string
	for _, p := range j.Package.Paths() {
		f := j.Package.File(p)
		if !f.IsYAML() || p == contextFile {
			continue
		}
		docs := slices.DeleteFunc(slices.Clone(f.Docs()), isContext)
		switch {
		case len(docs) == len(f.Docs()):
		case slices.ContainsFunc(docs, hasContent):
			changed = append(changed, f.WithDocs(docs...))
		default:
			gone = append(gone, p)
		}
	}
	t, err := j.Package.Without(gone...).With(changed...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return setContext(t, path.Base(name), pkgPath)
}

// setContext writes the root's context, into the one that is there if it can.
func setContext(t kptpkg.Tree, name, pkgPath string) (kptpkg.Tree, error) {
	f := t.File(contextFile)
	if f == nil || !slices.ContainsFunc(f.Docs(), isContext) {
		f = kptpkg.NewFile(contextFile, kptpkg.Regular, []byte(contextText))
	}
	docs := slices.Clone(f.Docs())
	for i, d := range docs {
		if !isContext(d) {
			continue
		}
		root, err := d.Copy()
		if err != nil {
			return kptpkg.Tree{}, err
		}
		err = yaml.NewRNode(root).PipeE(
			yaml.LookupCreate(yaml.MappingNode, "data"),
			yaml.Tee(yaml.SetField("name", yaml.NewStringRNode(name))),
			yaml.Tee(yaml.SetField("package-path", yaml.NewStringRNode(pkgPath))))
		if err != nil {
			return kptpkg.Tree{}, err
		}
		docs[i] = d.With(root)
	}
	return t.With(f.WithDocs(docs...))
}

func isContext(d *yamldoc.Doc) bool {
	root, err := d.Root()
	if err != nil || root == nil || root.Kind != yaml.MappingNode {
		return false
	}
	n := yaml.NewRNode(root)
	return n.GetKind() == "ConfigMap" && n.GetApiVersion() == "v1" && kptpkg.Name(root) == contextName
}

func hasContent(d *yamldoc.Doc) bool {
	root, err := d.Root()
	return err != nil || root != nil
}
