package builtin

import (
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// renamer changes the names of resources and then the references to them.
//
// Which resources keep their names is kustomize's rule for name prefixes: a
// CustomResourceDefinition, an APIService and a Namespace do. So do, as in the
// other functions here, Kptfiles, the package context and whatever is marked as
// local configuration; such resources also keep the references they hold. A
// resource without a name, one with a generateName say, gets none.
//
// References are those of kustomize's default configuration, see
// [nameReferences]. Selectors, labels, and the config.kubernetes.io/depends-on
// annotation aren't among them. A name with an anchor is one value: it changes
// wherever the document has an alias of it.
type renamer struct {
	function string
	call     *fn.Call
	// fields hold the names. Only a change of metadata.name has references
	// fixed.
	fields []scalarField
	// rename returns the new name for an old one, or the old one where it is to
	// stay. It has to leave alone the names that it returns.
	rename func(name string) string
}

// nameFields are where kustomize puts name prefixes.
var nameFields = scalarFields(newFieldTable("* metadata/name"), false)

func (r *renamer) run() error {
	targets := referenceTargets{}
	for _, o := range r.call.Items {
		n := root(o.Node)
		if n == nil || keepsName(n) || isConfiguration(n) {
			continue
		}
		name := text(n, "metadata", "name")
		for i := range r.fields {
			if err := r.setField(o, n, &r.fields[i]); err != nil {
				return fmt.Errorf("%s: %w", r.function, err)
			}
		}
		if text(n, "metadata", "name") != name {
			targets.add(n, name)
		}
	}
	if len(targets) == 0 {
		return nil
	}
	for _, o := range r.call.Items {
		if n := root(o.Node); n != nil && !isConfiguration(n) {
			r.fixReferences(o, n, targets)
		}
	}
	return nil
}

// keepsName says whether kustomize adds no prefix to the name of a resource.
func keepsName(n *yaml.Node) bool {
	switch text(n, "kind") {
	case "CustomResourceDefinition", "Namespace":
		return true
	case "APIService":
		return groupOf(text(n, "apiVersion")) == "apiregistration.k8s.io"
	}
	return false
}

// isConfiguration says whether a resource is about the package and no part of
// what it deploys.
func isConfiguration(n *yaml.Node) bool {
	switch text(n, "kind") {
	case "Kptfile":
		return groupOf(text(n, "apiVersion")) == "kpt.dev"
	case "ConfigMap":
		return text(n, "metadata", "name") == packageContext || isLocalConfig(n)
	}
	return isLocalConfig(n)
}

// setField changes the names that one field of a resource holds.
func (r *renamer) setField(o *fn.Object, n *yaml.Node, f *scalarField) error {
	return f.parents.visit(o, n, func(m *yaml.Node, parents string) error {
		path := f.path(parents)
		v := deref(value(m, f.key))
		if v != nil && v.Kind != yaml.ScalarNode {
			return fieldError(o, path, "expect a string")
		}
		old := text(m, f.key)
		if old == "" && (!f.create || path == "metadata.name") {
			return nil
		}
		if to := r.rename(old); to != old {
			setText(m, f.key, to)
			r.call.Add(fn.Info, o, path, fmt.Sprintf("set name to %q", to))
		}
		return nil
	})
}
