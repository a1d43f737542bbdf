package fn

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Serve answers a ResourceList as f does: the other end of [EncodeCall] and
// [DecodeCall]. The answer has the items f left, with the hosts' annotations of
// those that came, the functionConfig, and the results.
//
// When f fails, or one of its results is an error, there is no answer: err says
// so and the results are what f said before.
func Serve(ctx context.Context, f Func, request []byte) (answer []byte, results []Result, err error) {
	l, err := parseList(request)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the request: %w", err)
	}
	c := &Call{}
	if l.config != nil {
		c.Config = yaml.NewRNode(l.config)
	}
	came := make(map[*Object][]annotation, len(l.items)) // the hosts' annotations
	aliases := newExpander(l.items)
	for i, n := range l.items {
		if n.Kind != yaml.MappingNode {
			return nil, nil, fmt.Errorf("reading the request: item %d is not an object", i)
		}
		if err := aliases.expand(n, n); err != nil {
			return nil, nil, fmt.Errorf("reading the request: item %d: %w", i, err)
		}
		o := &Object{}
		if o.Path, o.Index, err = place(o, annotations(n)); err != nil {
			return nil, nil, fmt.Errorf("reading the request: item %d (%s): %w", i, describe(n), err)
		}
		came[o] = hostAnnotations(n)
		unannotate(nil, n)
		o.Node = yaml.NewRNode(n)
		c.Items = append(c.Items, o)
	}
	if err := f(ctx, c); err != nil {
		return nil, c.Results, err
	}
	for _, r := range c.Results {
		if r.Severity == Error {
			return nil, c.Results, fmt.Errorf("function said: %s", r.Text())
		}
	}
	items := &yaml.Node{Kind: yaml.SequenceNode}
	for _, o := range c.Items {
		add := withPlace(came[o], o)
		n := o.Node.YNode()
		if len(add) > 0 {
			if n, err = annotated(n, add); err != nil {
				return nil, c.Results, fmt.Errorf("writing the answer: %s: %w", describe(n), err)
			}
		}
		items.Content = append(items.Content, n)
	}
	answer, err = encodeList(items, c.Config, c.Results)
	return answer, c.Results, err
}

// withPlace are the annotations an object came with, and its place now, quoted
// as it came.
func withPlace(came []annotation, o *Object) []annotation {
	var add []annotation
	place := placeAnnotations(o)
	for _, a := range came {
		if i := slices.IndexFunc(place, func(p annotation) bool { return p.key == a.key }); i >= 0 {
			place[i].style = a.style
		} else if !isPlace(a.key) {
			add = append(add, a)
		}
	}
	return append(add, place...)
}

// isPlace says whether an annotation says where a resource is.
func isPlace(key string) bool {
	switch key {
	case wirePath, wireOldPath, wireIndex, wireOldIndex:
		return true
	}
	return false
}

// hostAnnotations are those of the hosts.
func hostAnnotations(n *yaml.Node) []annotation {
	meta := mapValue(n, "metadata")
	if meta == nil {
		return nil
	}
	ann := mapValue(meta, "annotations")
	if ann == nil || ann.Kind != yaml.MappingNode {
		return nil
	}
	var out []annotation
	for i := 0; i+1 < len(ann.Content); i += 2 {
		if k, v := ann.Content[i], ann.Content[i+1]; isHosts(k.Value) {
			out = append(out, annotation{k.Value, v.Value, v.Style})
		}
	}
	return out
}
