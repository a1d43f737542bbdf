package kptpkg

import "sigs.k8s.io/kustomize/kyaml/yaml"

// Name and Namespace are an object's, empty where there is none. Unlike kyaml's
// these, and [Annotations], stand objects of any form.
func Name(root *yaml.Node) string { return text(field(field(root, "metadata"), "name")) }

// Namespace is an object's, see [Name].
func Namespace(root *yaml.Node) string { return text(field(field(root, "metadata"), "namespace")) }

// Annotations are those of an object that are text; nil when there are none.
func Annotations(root *yaml.Node) map[string]string {
	return texts(field(field(root, "metadata"), "annotations"))
}

// texts are the values of a mapping as [text] has them, nil when n is none.
func texts(n *yaml.Node) map[string]string {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	out := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = text(n.Content[i+1])
	}
	return out
}
