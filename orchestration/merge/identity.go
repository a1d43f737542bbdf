package merge

import (
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const (
	mergeComment       = "kpt-merge:"
	upstreamIdentifier = "internal.kpt.dev/upstream-identifier"
	contextName        = "kptfile.kpt.dev" // of the ConfigMap that tells a package about itself
)

// identity says which object a resource is, whatever happened to it since it
// was cloned.
type identity struct {
	group, kind, namespace, name string
	// nameless is the path of a resource without a name, which has no other
	// identity than where it stands.
	nameless string
}

// clusterScoped says whether the kind is one of Kubernetes' own without
// namespaces.
func (id identity) clusterScoped() bool {
	switch id.group {
	case "":
		return id.kind == "Namespace" || id.kind == "Node" || id.kind == "PersistentVolume"
	case "rbac.authorization.k8s.io":
		return id.kind == "ClusterRole" || id.kind == "ClusterRoleBinding"
	case "storage.k8s.io":
		return id.kind == "StorageClass"
	}
	return id.group == "apiextensions.k8s.io" || id.group == "admissionregistration.k8s.io"
}

// identify returns the identity of a resource at path. A kpt-merge comment
// counts for more than the metadata, and so does the annotation where that has no
// place. unsure says that the namespace may be default as well as none at all. The
// error says the line.
func identify(path string, root *yaml.Node) (id identity, unsure bool, err error) {
	version := text(child(root, "apiVersion"))
	group, _, ok := strings.Cut(version, "/")
	if !ok {
		group = ""
	}
	id = identity{group: group, kind: text(child(root, "kind"))}
	key, meta := entryOf(root, "metadata")
	if key != nil {
		ns, name, ok, err := parseMergeComment(key, id)
		if err != nil {
			return identity{}, false, err
		}
		if ok {
			id.namespace, id.name = ns, name
			return id, false, nil
		}
	}
	id.namespace, id.name = text(child(meta, "namespace")), text(child(meta, "name"))
	if ns, name, ok := identified(key, meta, id); ok {
		unsure = ns == "default"
		if unsure && id.namespace != ns {
			ns = ""
		}
		id.namespace, id.name = ns, name
		return id, unsure, nil
	}
	if id.name == "" {
		id.name, id.nameless = text(child(meta, "generateName")), path
	}
	return id, false, nil
}

// identified reads the annotation that AddKeys writes, where its comment has no place
// at the key metadata: another one is there, or an anchor. The annotation says default
// of what has no namespace, too.
func identified(key, meta *yaml.Node, id identity) (namespace, name string, ok bool) {
	if key == nil || commentable(key, meta) {
		return "", "", false
	}
	prefix := id.group + "|" + id.kind + "|"
	rest, ok := strings.CutPrefix(text(child(child(meta, "annotations"), upstreamIdentifier)), prefix)
	namespace, name, found := strings.Cut(rest, "|")
	return namespace, name, ok && found && name != ""
}

// commentable says whether the key metadata has a place for a comment: there is none
// yet, nor an anchor, beside which one would be lost with others.
func commentable(key, meta *yaml.Node) bool { return key.LineComment == "" && meta.Anchor == "" }

// settleNamespaces gives the resources whose namespace is unsure the one that they
// have where it is sure, in base before upstream, else where nobody has changed it.
func settleNamespaces(base, local, upstream []*resource) {
	var inBase, inUpstream, unchanged = map[identity]bool{}, map[identity]bool{}, map[identity]bool{}
	var unsure []*resource
	for _, side := range []struct {
		resources []*resource
		sure      map[identity]bool
	}{{base, inBase}, {local, nil}, {upstream, inUpstream}} {
		for _, r := range side.resources {
			switch ns := text(child(child(r.root, "metadata"), "namespace")); {
			case r.unsure:
				unsure = append(unsure, r)
				if ns == r.id.namespace {
					unchanged[r.id] = true
				}
			case side.sure != nil:
				side.sure[r.id] = true
			}
		}
	}
	for _, r := range unsure {
		none, inDefault := r.id, r.id
		none.namespace, inDefault.namespace = "", "default"
		for _, known := range []map[identity]bool{inBase, inUpstream, unchanged} {
			if !known[none] && !known[inDefault] {
				continue
			}
			if !known[none] {
				r.id = inDefault
			} else if !known[inDefault] {
				r.id = none
			}
			break
		}
	}
}

// parseMergeComment reads the comment kpt-merge: namespace/name of the key
// metadata of a resource of id's kind; ok is false when there is none. Of a kind
// without namespaces it may be just the name, as old versions of kpt wrote it.
func parseMergeComment(key *yaml.Node, id identity) (namespace, name string, ok bool, err error) {
	c, ok := strings.CutPrefix(strings.TrimLeft(key.LineComment, "# \t"), mergeComment)
	if !ok {
		return "", "", false, nil
	}
	namespace, name, ok = strings.Cut(strings.TrimSpace(c), "/")
	if !ok && id.clusterScoped() {
		namespace, name, ok = "", namespace, true
	}
	if !ok || name == "" || strings.ContainsAny(name, "/ \t") || strings.ContainsAny(namespace, " \t") {
		return "", "", false, lineError{key.Line, fmt.Sprintf("malformed merge comment %q: write # kpt-merge: NAMESPACE/NAME, or remove it", key.LineComment)}
	}
	return namespace, name, true, nil
}

// lineError is an error at a line of a document, counted from one.
type lineError struct {
	line int
	msg  string
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

// notResource says why a document is none that can be merged by its identity;
// empty when it is one.
func notResource(root *yaml.Node) string {
	switch {
	case root.Kind != yaml.MappingNode:
		return "not a mapping"
	case text(child(root, "apiVersion")) == "" || text(child(root, "kind")) == "":
		return "without apiVersion and kind"
	}
	return ""
}

// isContext says whether a resource is the package context that kpt keeps in
// packages.
func isContext(root *yaml.Node) bool {
	return text(child(root, "kind")) == "ConfigMap" && text(child(root, "apiVersion")) == "v1" &&
		text(child(child(root, "metadata"), "name")) == contextName
}

// ref names a resource in results.
func ref(root *yaml.Node) fn.ResourceRef {
	meta := child(root, "metadata")
	return fn.ResourceRef{
		APIVersion: text(child(root, "apiVersion")), Kind: text(child(root, "kind")),
		Name: text(child(meta, "name")), Namespace: text(child(meta, "namespace")),
	}
}
