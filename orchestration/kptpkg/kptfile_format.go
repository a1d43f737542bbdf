package kptpkg

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// form is how kpt writes a part of a Kptfile.
type form struct {
	order []string         // of the fields; fields that aren't in it follow as they are
	below map[string]*form // of the fields, or of the items of the lists, in it
	mixed bool             // its scalars aren't all strings
}

// kptfileForm is the form of a Kptfile: the order of the fields of kpt's
// structs. Fields without an order of their own that are mappings are sorted.
var kptfileForm = func() *form {
	git := &form{order: []string{"repo", "directory", "ref", "commit"}}
	selector := &form{order: []string{"apiVersion", "kind", "name", "namespace", "labels", "annotations"}}
	step := &form{
		order: []string{"image", "exec", "configPath", "configMap", "name", "selectors", "exclude", "tag", "condition"},
		below: map[string]*form{"selectors": selector, "exclude": selector},
	}
	return &form{
		order: kptfileOrder,
		below: map[string]*form{
			"metadata":     {order: metadataOrder},
			"upstream":     {order: []string{"type", "git", "oci", "updateStrategy"}, below: map[string]*form{"git": git}},
			"upstreamLock": {order: []string{"type", "git", "oci"}, below: map[string]*form{"git": git}},
			"info":         {order: []string{"site", "email", "licenseFile", "description", "keywords", "man", "readinessGates"}},
			"pipeline":     {order: []string{"mutators", "validators"}, below: map[string]*form{"mutators": step, "validators": step}},
			"inventory":    {order: []string{"namespace", "name", "inventoryID", "labels", "annotations"}},
			"status": {order: []string{"conditions", "renderStatus"}, mixed: true, below: map[string]*form{
				"conditions":   {order: []string{"type", "status", "reason", "message"}},
				"renderStatus": nil,
			}},
		},
	}
}()

// FormatKptfile returns the tree with the Kptfile of the package at dir written
// anew as kpt writes it when it adds a status: the fields in the order of its
// structs, labels and the like sorted, lists indented, no quotes and no flow
// style that isn't needed. Other than kpt it keeps the comments and the fields
// that kpt doesn't know.
func (t Tree) FormatKptfile(dir string) (Tree, error) {
	p := path.Join(dir, KptfileName)
	f := t.File(p)
	if f == nil {
		return t, fmt.Errorf("%s: no such file: a package needs a Kptfile", p)
	}
	docs := make([]yamldoc.Styled, 0, 1)
	for _, d := range f.Docs() {
		root, err := d.Copy()
		if err != nil {
			return t, fmt.Errorf("%s: %w", p, err)
		}
		if root == nil {
			continue
		}
		if len(docs) == 0 {
			kptfileForm.apply(root)
			d = d.With(root)
		}
		docs = append(docs, yamldoc.Styled{Doc: d, Wide: true})
	}
	b, err := yamldoc.Format(docs...)
	if err != nil {
		return t, fmt.Errorf("%s: %w", p, err)
	}
	return t.With(NewFile(p, f.Mode(), b))
}

// apply gives n the form; a nil form leaves everything as it is.
func (fm *form) apply(n *yaml.Node) {
	if fm == nil {
		return
	}
	n.Style &^= yaml.FlowStyle
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			fm.apply(item)
			if item.Kind == yaml.MappingNode && item.LineComment != "" {
				item.HeadComment, item.LineComment = item.LineComment, ""
			}
		}
	case yaml.MappingNode:
		fm.sort(n)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			below, ok := fm.below[key]
			if !ok && (fm.order == nil || slices.Contains(fm.order, key)) {
				below = &form{mixed: fm.mixed}
			}
			restyle(n.Content[i])
			below.apply(n.Content[i+1])
			if v := n.Content[i+1]; below != nil && v.Kind != yaml.ScalarNode && v.LineComment != "" {
				// it stood behind the closing bracket
				n.Content[i].LineComment, v.LineComment = v.LineComment, ""
			}
		}
	case yaml.ScalarNode:
		if !fm.mixed && n.ShortTag() != yaml.NodeTagNull {
			n.Tag = yaml.NodeTagString
		}
		restyle(n)
	}
}

// restyle gives a scalar the style that the encoder gives its value: quotes only
// where they are needed, for YAML 1.1 too.
func restyle(n *yaml.Node) {
	n.Style = 0
	var fresh yaml.Node
	if n.ShortTag() == yaml.NodeTagString && fresh.Encode(n.Value) == nil {
		n.Style = fresh.Style
	}
}

// sort puts the fields of a mapping in order. A merge key changes what comes
// before what, so a mapping with one stays as it is.
func (fm *form) sort(n *yaml.Node) {
	type field struct{ key, value *yaml.Node }
	fields := make([]field, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind != yaml.ScalarNode || n.Content[i].ShortTag() == "!!merge" {
			return
		}
		fields = append(fields, field{n.Content[i], n.Content[i+1]})
	}
	slices.SortStableFunc(fields, func(a, b field) int {
		if fm.order == nil {
			return cmp.Compare(a.key.Value, b.key.Value)
		}
		return cmp.Compare(fm.rank(a.key.Value), fm.rank(b.key.Value))
	})
	if len(fields) > 0 && fields[0].key != n.Content[0] { // what stands above the mapping stays there
		first := n.Content[0]
		fields[0].key.HeadComment, first.HeadComment = first.HeadComment, fields[0].key.HeadComment
	}
	for i, f := range fields {
		n.Content[2*i], n.Content[2*i+1] = f.key, f.value
	}
}

func (fm *form) rank(key string) int {
	if i := slices.Index(fm.order, key); i >= 0 {
		return i
	}
	return len(fm.order)
}
