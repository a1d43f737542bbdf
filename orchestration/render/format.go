package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// WriteStream writes the resources of a render that succeeded, in the order the
// last step left them in, as one YAML stream in kpt's style.
func (r *Rendered) WriteStream(w io.Writer) error {
	if len(r.resources) == 0 {
		return nil
	}
	docs := make([]yamldoc.Styled, len(r.resources))
	for i, it := range r.resources {
		docs[i] = it.styled()
	}
	text, err := yamldoc.Format(docs...)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// styled is the resource as kpt writes it.
func (it *item) styled() yamldoc.Styled {
	return yamldoc.Styled{Doc: it.current(), Wide: it.doc != nil && it.doc.Wide(), Tight: it.passed}
}

// The annotations by which kpt remembers where a resource of a list is from, in
// kpt's order.
const (
	oldIndexAnnotation  = "config.kubernetes.io/index"
	oldPathAnnotation   = "config.kubernetes.io/path"
	indexAnnotation     = "internal.config.kubernetes.io/index"
	pathAnnotation      = "internal.config.kubernetes.io/path"
	seqIndentAnnotation = "internal.config.kubernetes.io/seqindent"
)

// WriteList writes the same resources as one ResourceList, each with its file,
// relative to the root, in annotations.
func (r *Rendered) WriteList(w io.Writer) error {
	items := &yaml.Node{Kind: yaml.SequenceNode}
	for _, it := range r.resources {
		n, err := it.current().Item()
		if err != nil {
			return err
		}
		at, style := it.location(), yaml.CompactSequenceStyle
		if it.doc != nil && it.doc.Wide() {
			style = yaml.WideSequenceStyle
		}
		index := strconv.Itoa(at.index)
		var add [][2]string
		put := func(key, value string, known bool) {
			if known {
				add = append(add, [2]string{key, value})
			}
		}
		put(oldIndexAnnotation, index, !it.loose)
		put(oldPathAnnotation, at.path, true)
		put(indexAnnotation, index, !it.loose)
		put(pathAnnotation, at.path, true)
		put(seqIndentAnnotation, string(style), it.doc != nil)
		annotate(n, it.read(), add)
		items.Content = append(items.Content, n)
	}
	e := yaml.NewEncoder(w)
	if err := e.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		word("apiVersion"), word("config.kubernetes.io/v1"), word("kind"), word("ResourceList"), word("items"), items,
	}}); err != nil {
		return fmt.Errorf("writing the resource list: %w", err)
	}
	return e.Close()
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// annotate sets annotations of n where kpt has them, which sets them when it
// reads a resource: behind what the resource had then, was, and before what
// functions added. was is nil for one that a function made.
func annotate(n, was *yaml.Node, add [][2]string) {
	wasMeta := fieldOf(was, "metadata")
	ann := openMapping(openMapping(n, was, "metadata"), wasMeta, "annotations")
	var nodes []*yaml.Node
	for _, a := range add {
		if i := keyIndex(ann, a[0]); i >= 0 {
			ann.Content = slices.Delete(ann.Content, i, i+2)
		}
		nodes = append(nodes, word(a[0]), &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Style: yaml.SingleQuotedStyle, Value: a[1]})
	}
	wasAnn := keys(fieldOf(wasMeta, "annotations"))
	if was != nil && wasAnn == nil {
		wasAnn = []string{}
	}
	insertBehind(ann, wasAnn, nodes)
}

// openMapping returns the mapping at a key of n, made where there is none.
func openMapping(n, was *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		v := n.Content[i+1]
		if v.Kind == yaml.AliasNode {
			v = yamldoc.CopyNode(v.Alias)
			v.Anchor = ""
		}
		if v.Kind != yaml.MappingNode {
			v = &yaml.Node{Kind: yaml.MappingNode}
		}
		n.Content[i+1] = v
		return v
	}
	v := &yaml.Node{Kind: yaml.MappingNode}
	insertBehind(n, keys(was), []*yaml.Node{word(key), v})
	return v
}

// insertBehind inserts keys and values behind the last key that is among was; at
// the end when was is nil.
func insertBehind(n *yaml.Node, was []string, nodes []*yaml.Node) {
	at := len(n.Content)
	if was != nil {
		for at > 0 && !slices.Contains(was, n.Content[at-2].Value) {
			at -= 2
		}
	}
	n.Content = slices.Insert(n.Content, at, nodes...)
}

// keys are the keys of a mapping, nil when there is no node.
func keys(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	out := []string{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		out = append(out, n.Content[i].Value)
	}
	return out
}

func keyIndex(n *yaml.Node, key string) int {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func fieldOf(n *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

// ResourceFiles are the files of the package that hold resources after a render
// that succeeded, as they are in r.Tree or, if anew is set, as kpt writes them.
// There are files for links.
func (r *Rendered) ResourceFiles(anew bool) (kptpkg.Tree, error) {
	var files []*kptpkg.File
	for p, items := range r.byPath() {
		f := r.view.File(p)
		if anew {
			b, err := format(p, items)
			if err != nil {
				return kptpkg.Tree{}, err
			}
			f = kptpkg.NewFile(p, f.Mode(), b)
		}
		files = append(files, f)
	}
	return kptpkg.NewTree(files...)
}

// Format is r.Tree with every file that holds resources written anew as kpt
// writes it. After a render that failed and kept nothing it is r.Tree.
func (r *Rendered) Format() (kptpkg.Tree, error) {
	if len(r.resources) == 0 {
		return r.Tree, nil
	}
	files, err := r.ResourceFiles(true)
	if err != nil {
		return r.Tree, err
	}
	anew := make([]*kptpkg.File, 0, files.Len())
	for _, p := range files.Paths() {
		anew = append(anew, files.File(p))
	}
	t, err := r.view.With(anew...)
	if err != nil {
		return r.Tree, err
	}
	return r.links.restore(t)
}

// byPath are the resources of each file in their order.
func (r *Rendered) byPath() map[string][]*item {
	files := map[string][]*item{}
	for _, it := range r.resources {
		p := it.location().path
		files[p] = append(files[p], it)
	}
	for _, items := range files {
		slices.SortStableFunc(items, func(a, b *item) int { return cmp.Compare(a.index, b.index) })
	}
	return files
}

// format is the file p with items as kpt writes it.
func format(p string, items []*item) ([]byte, error) {
	if path.Ext(p) == ".json" && len(items) == 1 {
		return toJSON(items[0].view().YNode())
	}
	docs := make([]yamldoc.Styled, len(items))
	for i, it := range items {
		docs[i] = it.styled()
	}
	b, err := yamldoc.Format(docs...)
	if err != nil {
		return nil, fmt.Errorf("formatting %s: %w", p, err)
	}
	return b, nil
}

// toJSON writes a resource as kpt writes it to a *.json file: keys sorted.
func toJSON(n *yaml.Node) ([]byte, error) {
	raw, err := yaml.NewRNode(n).MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(json.RawMessage(raw)); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return b.Bytes(), nil
}
