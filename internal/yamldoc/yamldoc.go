// Package yamldoc holds YAML documents as values that remember the bytes they
// were read from, so that what nobody changed is written back as it came.
//
// A [Doc] is read once, parsed at most once and written once. Its nodes are
// shared and must not be changed; who wants to change a document takes a
// [Doc.Copy] of the nodes and makes a successor with [Doc.With]. Writing the
// successor splices the changed values into the original bytes where that can
// be done exactly and encodes the nodes anew where it can't.
package yamldoc

import (
	"fmt"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Doc is one YAML document of a file or list. It is immutable and safe for
// concurrent use.
type Doc struct {
	// read is what the document was read from, shared by all successors;
	// nil for a document made from nodes.
	read *source
	// root is the content node of a changed document, nil of one unchanged
	// since it was read.
	root *yaml.Node

	once  sync.Once
	bytes []byte
	err   error
}

// source is a document as it was read. Its nodes are parsed on first use.
type source struct {
	bytes []byte
	once  sync.Once
	doc   *yaml.Node // the DocumentNode, nil when there is no content
	err   error
}

// Split cuts a YAML stream into its documents. Each document keeps its
// separator line (`---`), directives and surrounding comments, so that the
// bytes of the unchanged documents in order are exactly src. A stretch without
// content (empty, or comments only) is a document whose Root is nil.
// Split does not parse: malformed YAML shows when Root is called.
func Split(src []byte) []*Doc {
	var docs []*Doc
	for _, b := range split(src) {
		docs = append(docs, &Doc{read: &source{bytes: b}})
	}
	return docs
}

// FromNode is a document made of nodes rather than bytes. The caller gives up
// root: it must not be changed afterwards.
func FromNode(root *yaml.Node) *Doc { return &Doc{root: content(root)} }

// Root returns the content node of the document (never a DocumentNode), nil
// when it has none. The nodes are shared: read, don't change. The error is a
// syntax error, with the line counted from the start of the document.
func (d *Doc) Root() (*yaml.Node, error) {
	if d.root != nil || d.read == nil {
		return d.root, nil
	}
	doc, err := d.read.parse()
	if err != nil {
		return nil, err
	}
	return content(doc), nil
}

// Copy returns a deep copy of the content node for the caller to change; nil
// when the document has no content.
func (d *Doc) Copy() (*yaml.Node, error) {
	root, err := d.Root()
	if err != nil || root == nil {
		return nil, err
	}
	return CopyNode(root), nil
}

// With returns the document with its content replaced by root, which the caller
// gives up. Bytes of the result keeps whatever of the original text still
// says what root says.
func (d *Doc) With(root *yaml.Node) *Doc { return &Doc{read: d.read, root: content(root)} }

// Changed reports whether the document says something else than the bytes it
// was read from. A document made by FromNode is always changed.
func (d *Doc) Changed() bool {
	if d.root == nil {
		return false
	}
	if d.read == nil {
		return true
	}
	doc, err := d.read.parse()
	return err != nil || !Equal(content(doc), d.root)
}

// Bytes is the document as text. For an unchanged document these are the bytes
// it was read from.
func (d *Doc) Bytes() ([]byte, error) {
	d.once.Do(func() {
		switch {
		case !d.Changed():
			d.bytes = d.read.bytes
		default:
			d.bytes, d.err = write(d.read, d.root)
		}
	})
	return d.bytes, d.err
}

// content unwraps a DocumentNode.
func content(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode {
		if len(n.Content) == 0 {
			return nil
		}
		return n.Content[0]
	}
	return n
}

func (s *source) parse() (*yaml.Node, error) {
	s.once.Do(func() {
		var doc yaml.Node
		if err := yaml.Unmarshal(s.bytes, &doc); err != nil {
			s.err = fmt.Errorf("parsing YAML: %w", err)
			return
		}
		if doc.Kind == yaml.DocumentNode {
			s.doc = &doc
		}
	})
	return s.doc, s.err
}
