package builtin

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// upsertResource puts the functionConfig, or each item of a List, in the place
// of the resource with the same group, kind, namespace and name, or adds it
// where there is none.
func upsertResource(_ context.Context, call *fn.Call) error {
	if call.Config == nil || root(call.Config) == nil || len(root(call.Config).Content) == 0 {
		return errors.New("upsert-resource: functionConfig is missing: expect the resource to put in, or a List of them")
	}
	c := &config{function: "upsert-resource", node: root(call.Config)}
	resources := []*yaml.Node{c.node}
	if text(c.node, "kind") == "List" && text(c.node, "apiVersion") == "v1" {
		resources = nil
		items := get(c.node, "items")
		if items == nil || items.Kind != yaml.SequenceNode {
			return c.errorf("items", "expect a list of resources")
		}
		for _, item := range items.Content {
			resources = append(resources, deref(item))
		}
	}

	byID := map[resourceID]*fn.Object{}
	for _, o := range call.Items {
		if n := root(o.Node); n != nil {
			if id := idOf(n); byID[id] == nil {
				byID[id] = o
			}
		}
	}
	for i, n := range resources {
		id := idOf(n)
		if id.kind == "" || id.name == "" {
			return c.errorf(fmt.Sprintf("items[%d]", i), "expect a resource with kind and metadata.name")
		}
		n = detached(n)
		o := byID[id]
		if o == nil {
			o = &fn.Object{}
			byID[id] = o
			call.Items = append(call.Items, o)
		}
		o.Node = yaml.NewRNode(n)
	}
	return nil
}

// resourceID is what makes two resources the same one.
type resourceID struct {
	groupKind
	namespace, name string
}

func idOf(n *yaml.Node) resourceID {
	return resourceID{
		groupKind{groupOf(text(n, "apiVersion")), text(n, "kind")},
		text(n, "metadata", "namespace"), text(n, "metadata", "name"),
	}
}
