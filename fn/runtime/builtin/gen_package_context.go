package builtin

import (
	"context"
	"path"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// genPackageContext adds package-context.yaml beside every Kptfile that has
// none: a ConfigMap with the package's name and, where data of a ConfigMap
// config has one, its package-path.
func genPackageContext(_ context.Context, call *fn.Call) error {
	packagePath := ""
	if call.Config != nil {
		packagePath = text(root(call.Config), "data", "package-path")
	}
	have := map[string]bool{} // directories
	for _, o := range call.Items {
		n := root(o.Node)
		if text(n, "kind") == "ConfigMap" && text(n, "metadata", "name") == packageContext {
			have[path.Dir(o.Path)] = true
		}
	}
	for _, o := range call.Items { // what is appended below is not looked at
		n := root(o.Node)
		dir := path.Dir(o.Path)
		if text(n, "kind") != "Kptfile" || groupOf(text(n, "apiVersion")) != "kpt.dev" || have[dir] {
			continue
		}
		have[dir] = true
		cm := &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		setText(cm, "apiVersion", "v1")
		setText(cm, "kind", "ConfigMap")
		metadata := child(cm, "metadata")
		setText(metadata, "name", packageContext)
		setText(child(metadata, "annotations"), localConfigAnnotation, "true")
		data := child(cm, "data")
		setText(data, "name", text(n, "metadata", "name"))
		if packagePath != "" {
			setText(data, "package-path", packagePath)
		}
		added := &fn.Object{Node: yaml.NewRNode(cm), Path: path.Join(dir, "package-context.yaml")}
		call.Items = append(call.Items, added)
		call.Add(fn.Info, added, "", "generated package context")
	}
	return nil
}
