package builtin

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

const (
	dependsOnAnnotation  = "config.kubernetes.io/depends-on"
	upstreamIDAnnotation = "internal.kpt.dev/upstream-identifier"
	// packageContext is the name of the ConfigMap kpt keeps a package's name in.
	packageContext = "kptfile.kpt.dev"
)

// dependsOn is a reference to a resource in a namespace: group, namespace, kind
// and name.
var dependsOn = regexp.MustCompile(`^([-.\w]*)/namespaces/([-.\w]*)/([-.\w]*)/([-.\w]*)$`)

// upstreamID is where a resource came from: group, kind, namespace (~C for
// none) and name.
var upstreamID = regexp.MustCompile(`^[a-z0-9-.]*\|[A-Z][a-zA-Z0-9]*\|([a-z0-9-]{1,63}|~C)\|([a-z0-9-.]{1,253})$`)

// setNamespace gives resources another namespace, as set-namespace v0.4 of the
// catalog documents it. Resources marked as local configuration stay as they
// are, and so do custom resources without a namespace, which may be
// cluster-scoped.
//
// In two places the catalog's code does something else than its documentation
// says, and the documentation is followed: subjects of a RoleBinding are
// renamed like those of a ClusterRoleBinding, and a CustomResourceDefinition or
// APIService without a service namespace gets none.
func setNamespace(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "set-namespace", "ConfigMap", "SetNamespace")
	if err != nil {
		return err
	}
	s := namespaceSetter{old: map[string]bool{}, dependsOnOld: map[string]bool{}}
	if err := s.configure(c); err != nil {
		return err
	}

	ids := map[string]bool{} // what can be depended on, as annotations name it
	var dependents []*fn.Object
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil || isLocalConfig(n) {
			continue
		}
		id := identify(n)
		if id.namespace != "" {
			ids[id.dependsOn()] = true
		}
		if annotation(n, dependsOnAnnotation) != "" {
			dependents = append(dependents, o)
		}
		if err := s.apply(o, n, id); err != nil {
			return err
		}
	}
	for _, o := range dependents {
		s.applyDependsOn(root(o.Node), ids)
	}

	call.Results = append(call.Results, s.origins...)
	if s.changed == 0 {
		call.Add(fn.Info, nil, "", fmt.Sprintf("all matching namespaces are already %q. no value changed", s.to))
	} else {
		call.Add(fn.Info, nil, "", fmt.Sprintf("namespace %v updated to %q, %d value(s) changed", sortedKeys(s.old), s.to, s.changed))
	}
	if s.dependsOnChanged == 0 {
		call.Add(fn.Info, nil, "", "all `depends-on` annotations are up-to-date. no `namespace` changed")
	} else {
		call.Add(fn.Info, nil, "", fmt.Sprintf("`depends-on` annotation namespace %v updated to %q, %d value(s) changed",
			sortedKeys(s.dependsOnOld), s.to, s.dependsOnChanged))
	}
	return nil
}

// namespaceSetter is one run of set-namespace.
type namespaceSetter struct {
	to    string
	match string // change only this namespace; empty: every one

	old              map[string]bool
	changed          int
	dependsOnOld     map[string]bool
	dependsOnChanged int
	origins          []fn.Result
}

func (s *namespaceSetter) configure(c *config) error {
	if c.kind == "SetNamespace" {
		opts, err := c.options("namespace", "namespaceMatcher")
		if err != nil {
			return err
		}
		s.to, s.match = opts["namespace"], opts["namespaceMatcher"]
		if s.to == "" {
			return c.errorf("namespace", "`namespace` should not be empty")
		}
		return nil
	}
	data, err := c.pairs("data")
	if err != nil {
		return err
	}
	var name string
	for _, p := range data {
		switch p.key {
		case "namespace":
			s.to = p.value
		case "namespaceMatcher":
			s.match = p.value
		case "name":
			name = p.value
		}
	}
	isContext := text(c.node, "metadata", "name") == packageContext
	if s.to == "" && isContext {
		s.to = name
	}
	if s.to == "" && isContext {
		return c.errorf("data.name", "`data.name` should not be empty")
	}
	if s.to == "" {
		return c.errorf("data.namespace", "`data.namespace` should not be empty")
	}
	return nil
}

// identity is what set-namespace has to know of a resource.
type identity struct {
	groupKind
	name string
	// namespace is the resource's, "default" when it has to have one and names
	// none, and empty when it is or may be cluster-scoped.
	namespace string
}

func identify(n *yaml.Node) identity {
	id := identity{groupKind: groupKind{groupOf(text(n, "apiVersion")), text(n, "kind")}, name: text(n, "metadata", "name")}
	namespaced, known := scopes[id.groupKind]
	ns := value(get(n, "metadata"), "namespace")
	switch {
	case known && !namespaced, !known && ns == nil:
	case text(n, "metadata", "namespace") != "":
		id.namespace = text(n, "metadata", "namespace")
	default:
		id.namespace = "default"
	}
	return id
}

func (id identity) dependsOn() string {
	return id.group + "/namespaces/" + id.namespace + "/" + id.kind + "/" + id.name
}

// apply changes every namespace in one resource.
func (s *namespaceSetter) apply(o *fn.Object, n *yaml.Node, id identity) error {
	originNamespace, originName := id.namespace, id.name
	if up := annotation(n, upstreamIDAnnotation); up != "" {
		m := upstreamID.FindStringSubmatch(strings.TrimSpace(up))
		if m == nil || m[1] == "~C" {
			// where it came from it had no namespace, as far as one can tell
			originNamespace, originName = "", ""
			if m != nil {
				originName = m[2]
			}
		} else {
			originNamespace, originName = m[1], m[2]
		}
	}

	switch id.groupKind {
	case groupKind{"", "Namespace"}:
		return s.set(o, get(n, "metadata"), "metadata.", "name", originName)
	case groupKind{"apiextensions.k8s.io", "CustomResourceDefinition"}:
		return s.set(o, get(n, "spec", "conversion", "webhook", "clientConfig", "service"),
			"spec.conversion.webhook.clientConfig.service.", "namespace", "")
	case groupKind{"apiregistration.k8s.io", "APIService"}:
		return s.set(o, get(n, "spec", "service"), "spec.service.", "namespace", "")
	case groupKind{"rbac.authorization.k8s.io", "ClusterRoleBinding"}, groupKind{"rbac.authorization.k8s.io", "RoleBinding"}:
		subjects := get(n, "subjects")
		if subjects == nil || subjects.Kind != yaml.SequenceNode {
			break
		}
		for i, subject := range subjects.Content {
			if err := s.set(o, deref(subject), fmt.Sprintf("subjects[%d].", i), "namespace", ""); err != nil {
				return err
			}
		}
	}
	if id.namespace == "" || originNamespace == "" {
		return nil
	}
	metadata := child(n, "metadata")
	if metadata == nil {
		return fieldError(o, "metadata", "set-namespace: expect a mapping")
	}
	if value(metadata, "namespace") == nil && s.wants(id.namespace, originNamespace) {
		setText(metadata, "namespace", id.namespace) // the default that it stands for
	}
	return s.set(o, metadata, "metadata.", "namespace", originNamespace)
}

// wants says whether a namespace, or the one it was copied from, is to change.
func (s *namespaceSetter) wants(current, origin string) bool {
	return s.match == "" || current == s.match || origin != "" && origin == s.match
}

// set changes the value of key in m, if it has one.
func (s *namespaceSetter) set(o *fn.Object, m *yaml.Node, path, key, origin string) error {
	v := deref(value(m, key))
	if v == nil {
		return nil
	}
	if v.Kind != yaml.ScalarNode {
		return fieldError(o, path+key, "set-namespace: expect a string")
	}
	current := v.Value
	if isNull(v) || current == "" {
		current = "default"
	}
	if current == s.to || !s.wants(current, origin) {
		return nil
	}
	if s.match != "" && origin == s.match {
		n := root(o.Node)
		s.origins = append(s.origins, fn.Result{Severity: fn.Info, Message: fmt.Sprintf(
			"[Resource(apiVersion=%s, kind=%s, namespace=%s, name=%s)] has matching origin %s", text(n, "apiVersion"),
			text(n, "kind"), text(n, "metadata", "namespace"), text(n, "metadata", "name"), origin)})
	}
	s.old[current] = true
	s.changed++
	setScalar(v, s.to)
	return nil
}

// applyDependsOn changes a depends-on annotation that names a resource of the
// package by the namespace it had.
func (s *namespaceSetter) applyDependsOn(n *yaml.Node, ids map[string]bool) {
	ref := annotation(n, dependsOnAnnotation)
	m := dependsOn.FindStringSubmatch(ref)
	if m == nil || !ids[ref] || m[2] == s.to || s.match != "" && m[2] != s.match {
		return
	}
	s.dependsOnOld[m[2]] = true
	s.dependsOnChanged++
	setText(get(n, "metadata", "annotations"), dependsOnAnnotation, m[1]+"/namespaces/"+s.to+"/"+m[3]+"/"+m[4])
}

func sortedKeys(set map[string]bool) []string {
	var keys []string
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
