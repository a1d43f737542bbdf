package yamldoc

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Styled is a document and how [Format] is to write it.
type Styled struct {
	*Doc
	// Wide puts the items of lists two spaces to the right of their key
	// instead of under it; see [Doc.Wide].
	Wide bool
	// Tight takes away the empty line between a comment at the top and the
	// content, as kpt does to what passed through a function.
	Tight bool
}

// Format writes documents anew as kpt writes a file: two spaces, comments where
// they were, the order of keys and the style of scalars kept, and a separator
// line between documents. Empty metadata.annotations and documents without
// content, with their comments, are left out, as kpt does.
func Format(docs ...Styled) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	for _, d := range docs {
		n, err := d.document()
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		if d.Wide {
			e.DefaultSeqIndent()
		} else {
			e.CompactSeqIndent()
		}
		if err := e.Encode(n); err != nil {
			return nil, fmt.Errorf("writing YAML: %w", err)
		}
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return b.Bytes(), nil
}

// document is the document with the comments around it, nil without content.
func (d *Styled) document() (*yaml.Node, error) {
	if d.Tight {
		root, err := d.Item()
		if root == nil {
			return nil, err
		}
		if err := d.tighten(root); err != nil {
			return nil, err
		}
		return withoutEmptyAnnotations(root), nil
	}
	apart := d.Doc
	if rest := d.belowSeparator(); rest != nil && !d.Changed() {
		apart = rest
	}
	root, err := apart.Root()
	if root == nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{withoutEmptyAnnotations(root)}}
	n.HeadComment, n.FootComment = apart.around()
	return n, nil
}

// tighten gives root, the Item of the document, the empty lines that kpt leaves
// in the comments at the top.
func (d *Doc) tighten(root *yaml.Node) error {
	rest := d.belowSeparator()
	if rest == nil || root.HeadComment == "" {
		return nil
	}
	was, err := (&Doc{read: d.read}).Item()
	if err != nil || was == nil || was.HeadComment != root.HeadComment {
		return err
	}
	kpts, err := rest.Item()
	if kpts != nil {
		root.HeadComment = kpts.HeadComment
	}
	return err
}

// belowSeparator is the document as it was read without the separator line above
// it, which is how kpt reads all but the first of a file. With it the library
// takes the comments at the top for ones of the first key, and no more knows of
// an empty line below them. It is nil where that makes no difference.
func (d *Doc) belowSeparator() *Doc {
	if d.read == nil || d.read.first {
		return nil
	}
	line, rest, _ := bytes.Cut(d.read.bytes, []byte("\n"))
	if !isMarker(line, "---") || !isBlank(line[len("---"):]) || !isComment(bytes.TrimLeft(rest, " \t\r\n")) {
		return nil
	}
	return &Doc{read: &source{bytes: rest}}
}

// withoutEmptyAnnotations is root without metadata.annotations that hold nothing.
func withoutEmptyAnnotations(root *yaml.Node) *yaml.Node {
	r := yaml.NewRNode(root)
	meta := r.Field(yaml.MetadataField)
	if meta == nil || meta.Value.YNode().Kind != yaml.MappingNode {
		return root
	}
	if a := meta.Value.Field(yaml.AnnotationsField); a == nil || a.Value.YNode().Kind != yaml.MappingNode || len(a.Value.Content()) > 0 {
		return root
	}
	r = yaml.NewRNode(CopyNode(root))
	if err := yaml.ClearEmptyAnnotations(r); err != nil {
		return root // metadata is an alias, say
	}
	return r.YNode()
}

// Wide says whether the text that the document was read from indents lists, as
// kpt sees it: the first list in it decides. It is false for a document made
// from nodes.
func (d *Doc) Wide() bool {
	return d.read != nil && yaml.DeriveSeqIndentStyle(strings.ReplaceAll(string(d.read.bytes), "\r\n", "\n")) == string(yaml.WideSequenceStyle)
}

// Item is a copy of the content node that has the comments around the document
// too, to be an item of a list; nil when there is no content.
func (d *Doc) Item() (*yaml.Node, error) {
	root, err := d.Copy()
	if root == nil {
		return nil, err
	}
	head, foot := d.around()
	if root.Kind == yaml.MappingNode && root.Style&yaml.FlowStyle == 0 && len(root.Content) > 0 {
		// the parser gives the first key what stands above the mapping
		root.HeadComment = joinComments(root.HeadComment, root.Content[0].HeadComment)
		root.Content[0].HeadComment = ""
	}
	root.HeadComment = joinComments(head, root.HeadComment)
	root.FootComment = joinComments(root.FootComment, foot)
	return root, nil
}

// around are the comments before and after the content that aren't its own.
func (d *Doc) around() (head, foot string) {
	if d.read == nil {
		return "", ""
	}
	doc, err := d.read.parse()
	if err != nil || doc == nil {
		return "", ""
	}
	return doc.HeadComment, doc.FootComment
}

func joinComments(a, b string) string {
	if a != "" && b != "" {
		a += "\n"
	}
	return a + b
}
