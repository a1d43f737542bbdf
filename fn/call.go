package fn

import (
	"context"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A Func is a KRM function as its caller sees it: it changes the call's items
// in place and adds to its results. An error means that the call's items are of
// no use; results added before it are still worth showing. A result of severity
// error fails the function too, the caller sees to that.
type Func func(ctx context.Context, call *Call) error

// Call is what a function gets and gives back: a ResourceList in memory. The
// nodes belong to the function while it runs.
type Call struct {
	// Items are the resources. The function may change them, take some out
	// and add new ones.
	Items []*Object
	// Config is the functionConfig, nil when there is none.
	Config *yaml.RNode
	// Results are what the function has to say.
	Results []Result
	// Stderr is what a function outside this process wrote to its standard
	// error, whether it failed or not; cut where it is very long. Empty for
	// functions inside.
	Stderr string
}

// Object is one resource of a Call. A function that returns an Object it was
// given returns the same pointer; one that it made is new to the caller.
type Object struct {
	// Node is the resource, a mapping, without the annotations that hosts use
	// to remember files.
	Node *yaml.RNode
	// Path is the file the resource is in, with slashes, relative to the
	// package the resource belongs to; empty when a function made the resource
	// and named no file.
	Path string
	// Index is the place of the resource in its file, from zero. It is -1 when a
	// function outside this process named the file but no place in it: the
	// resource goes behind the others.
	Index int
	// Package is the directory of the package the resource belongs to, relative
	// to the root of what is rendered, "." for the root itself. Empty in a
	// resource that a function made: the package that is rendered.
	Package string
}

// Ref is a ResourceRef to the object, as far as it has the form of one.
func (o *Object) Ref() *ResourceRef {
	ref := &ResourceRef{}
	if o.Node.YNode().Kind != yaml.MappingNode {
		return ref
	}
	ref.APIVersion, ref.Kind = o.Node.GetApiVersion(), o.Node.GetKind()
	// kyaml panics when metadata is a list
	if m := o.Node.Field("metadata"); m != nil && m.Value.YNode().Kind == yaml.MappingNode {
		ref.Name, ref.Namespace = o.Node.GetName(), o.Node.GetNamespace()
	}
	return ref
}

// Add appends a result about an object (nil: about none) and, where path isn't
// empty, one of its fields.
func (c *Call) Add(sev Severity, o *Object, path, message string) {
	r := Result{Message: message, Severity: sev}
	if o != nil {
		r.ResourceRef = o.Ref()
		if o.Path != "" {
			r.File = &File{Path: o.Path, Index: o.Index}
		}
	}
	if path != "" {
		r.Field = &Field{Path: path}
	}
	c.Results = append(c.Results, r)
}
