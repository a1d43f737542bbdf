package builtin

import (
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// The functions here read and write yaml nodes directly: they run for every
// resource and field, where filters made of filters would cost more than the
// change itself.

// deref returns the node that an alias stands for.
func deref(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// root returns the mapping of a resource, nil when it is none.
func root(r *yaml.RNode) *yaml.Node {
	n := r.YNode()
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	return n
}

// get returns the value at a path of mapping keys, nil when there is none.
func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		n = deref(value(n, key))
	}
	return n
}

// value returns what a mapping holds for key, nil when nothing or no mapping.
func value(m *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(m, key); i >= 0 {
		return m.Content[i+1]
	}
	return nil
}

// keyIndex returns where in a mapping's content a key is, -1 when nowhere.
func keyIndex(m *yaml.Node, key string) int {
	if m == nil || m.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// text returns the scalar at a path, empty when there is none or it is null.
func text(n *yaml.Node, path ...string) string {
	n = get(n, path...)
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == yaml.NodeTagNull {
		return ""
	}
	return n.Value
}

// isNull says whether a field holds nothing.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == yaml.NodeTagNull || n.Tag == "" && n.Value == "")
}

// child returns the mapping at key of a mapping and makes it where there is
// nothing. It returns nil where there is something else.
func child(m *yaml.Node, key string) *yaml.Node {
	v := deref(value(m, key))
	switch {
	case v == nil:
		v = &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap}
		m.Content = append(m.Content, stringNode(key), v)
	case isNull(v):
		v.Kind, v.Tag, v.Value, v.Style = yaml.MappingNode, yaml.NodeTagMap, "", 0
	case v.Kind != yaml.MappingNode:
		return nil
	}
	return v
}

// stringNode makes a string. The writer quotes it where it has to.
func stringNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: s}
}

// setText makes the value of key a string, in its place and style. It returns
// false where the value is no scalar.
func setText(m *yaml.Node, key, s string) bool {
	v := deref(value(m, key))
	if v == nil {
		if len(m.Content) == 0 {
			m.Style &^= yaml.FlowStyle
		}
		m.Content = append(m.Content, stringNode(key), stringNode(s))
		return true
	}
	if v.Kind != yaml.ScalarNode {
		return false
	}
	setScalar(v, s)
	return true
}

// setScalar makes a scalar the string s and keeps its style and comments.
func setScalar(v *yaml.Node, s string) {
	if v.Value == s && v.Tag == yaml.NodeTagString {
		return
	}
	if v.Tag == yaml.NodeTagNull {
		v.Style = 0
	}
	v.Value, v.Tag = s, yaml.NodeTagString
}

// remove takes a key and its value out of a mapping.
func remove(m *yaml.Node, key string) bool {
	i := keyIndex(m, key)
	if i < 0 {
		return false
	}
	m.Content = slices.Delete(m.Content, i, i+2)
	return true
}

// annotation returns an annotation of a resource, empty when it has none.
func annotation(n *yaml.Node, name string) string {
	return text(n, "metadata", "annotations", name)
}

const localConfigAnnotation = "config.kubernetes.io/local-config"

// isLocalConfig says whether a resource is marked as one that never reaches a
// cluster. As kpt has it, any value but "false" is a mark.
func isLocalConfig(n *yaml.Node) bool {
	v := annotation(n, localConfigAnnotation)
	return v != "" && v != "false"
}

// groupOf returns the API group of an apiVersion, empty for the core group.
func groupOf(apiVersion string) string {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return group
}

// versionOf returns the version of an apiVersion.
func versionOf(apiVersion string) string {
	return apiVersion[strings.Index(apiVersion, "/")+1:]
}

// refTo names a resource, whatever shape it has.
func refTo(n *yaml.Node) *fn.ResourceRef {
	return &fn.ResourceRef{
		APIVersion: text(n, "apiVersion"), Kind: text(n, "kind"),
		Name: text(n, "metadata", "name"), Namespace: text(n, "metadata", "namespace"),
	}
}

// fieldError is the error about a field of a resource.
func fieldError(o *fn.Object, path, message string) error {
	r := fn.Result{Message: message, Severity: fn.Error, ResourceRef: refTo(root(o.Node)), Field: &fn.Field{Path: path}}
	if o.Path != "" {
		r.File = &fn.File{Path: o.Path, Index: o.Index}
	}
	return &fn.ResultError{Result: r}
}

// addAbout appends a result about a field as the catalog's older functions do:
// with file and field, without severity, which hosts read as info.
func addAbout(call *fn.Call, o *fn.Object, path, message string) {
	r := fn.Result{Message: message, Field: &fn.Field{Path: path}}
	if o.Path != "" {
		r.File = &fn.File{Path: o.Path, Index: o.Index}
	}
	call.Results = append(call.Results, r)
}
