// Package yamldoc holds YAML documents as values that remember the bytes they
// were read from, so that what nobody changed is written back as it came.
//
// A [Doc] is read once, parsed at most once and written once. Its nodes are
// shared and must not be changed; who wants to change a document takes a
// [Doc.Copy] of the nodes and makes a successor with [Doc.With].
//
// Writing the successor compares its nodes with those that were read and edits
// the text where they differ: a scalar where it stands, an entry or item as
// lines of its own. Comments go with the node that yaml says they belong to,
// except that a comment below an element stays when the element goes. What
// can't be done in place is done by writing the smallest entry around it anew,
// in the end the document. Only positions of the nodes that were read are ever
// used, and what the text there says is checked against them. Edits that can go
// wrong all the same (around comments, block scalars, anchors) are proved by
// reading the result back; the plain ones, values set and keys added, are safe
// by the way they are made and cost no second parse.
package yamldoc

import (
	"slices"
	"sync"
	"sync/atomic"

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
	root    *yaml.Node
	changed bool // root isn't what was read; false where nobody has looked
	anew    bool // see WithAnew

	once  sync.Once
	bytes []byte
	err   error
}

// source is a document as it was read. Its nodes are parsed on first use.
type source struct {
	bytes   []byte
	first   bool // it is where its stream began
	once    sync.Once
	anchors bool // it has anchors or aliases
	plain   bool // parsePlain reads it
	err     error

	// The DocumentNode, in one of two forms; neither when there is no content,
	// or when it is plain and has been let go.
	doc    atomic.Pointer[yaml.Node]
	packed atomic.Pointer[packed]
}

// Split cuts a YAML stream into its documents. Each document keeps its
// separator line (`---`), directives and surrounding comments, so that the
// bytes of the unchanged documents in order are exactly src. A stretch without
// content (empty, or comments only) is a document whose Root is nil.
// Split does not parse: malformed YAML shows when Root is called.
func Split(src []byte) []*Doc {
	var docs []*Doc
	for i, b := range split(src) {
		docs = append(docs, &Doc{read: &source{bytes: b, first: i == 0}})
	}
	return docs
}

// FromNode is a document made of nodes rather than bytes. The caller gives up
// root: it must not be changed afterwards.
func FromNode(root *yaml.Node) *Doc { return &Doc{root: content(root)} }

// Root returns the content node of the document (never a DocumentNode), nil
// when it has none. The nodes are shared: read, don't change. The error says
// what is wrong with the text, after the line counted from the start of the
// document ("line 3: did not find expected key"); it is also one if the nodes
// nest deeper than [MaxDepth] or the text holds more than one document.
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
// gives up; nil stands for the content as it was read. Bytes of the result keeps
// whatever of the original text still says what root says. Where root has its
// nodes from doesn't matter: a changed Copy or another parser's work will do.
// Where root says what d says already, With returns d: so a caller sees whether
// anything changed since d, as opposed to since it was read ([Doc.Changed]).
func (d *Doc) With(root *yaml.Node) *Doc {
	root = content(root)
	now, err := d.Root()
	known := err == nil && now != nil && root != nil
	if known && Equal(now, root) {
		return d
	}
	return &Doc{read: d.read, root: root, changed: known && d.root == nil}
}

// WithAnew is With, but an entry of the root that says something else is written
// anew as a whole, in the layout of the document: its text then depends on what
// it says, and not on what it said before. JSON is an exception.
func (d *Doc) WithAnew(root *yaml.Node) *Doc {
	n := d.With(root)
	if n != d {
		n.anew = true
	}
	return n
}

// Changed reports whether the document says something else than the bytes it
// was read from. A document made by FromNode is always changed.
func (d *Doc) Changed() bool {
	if d.read == nil || d.changed {
		return true
	}
	if d.root == nil {
		return false
	}
	if p := d.read.packed.Load(); p != nil {
		return !p.equal(d.root)
	}
	doc, err := d.read.parse()
	return err != nil || !Equal(content(doc), d.root)
}

// Bytes is the document as text, which reads back as what Root returns. For an
// unchanged document these are the bytes it was read from. The error says that
// the nodes have no text, such as an alias of nothing.
func (d *Doc) Bytes() ([]byte, error) {
	d.once.Do(func() {
		switch {
		case !d.Changed():
			d.bytes = d.read.bytes
		case d.root == nil: // made from no node: nothing to write
		default:
			work.written.Add(1)
			d.bytes, d.err = write(d.read, d.root, d.anew)
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
		doc, err := parsePlain(s.bytes), error(nil)
		if s.plain = doc != nil; !s.plain {
			doc, err = parseAny(s.bytes)
		}
		if err != nil || doc == nil || len(doc.Content) == 0 {
			s.err = err
			return
		}
		if c := doc.Content[0]; c.Kind == yaml.ScalarNode && c.Value == "" && c.Tag == nullTag && c.Anchor == "" && c.Style == 0 {
			return // a separator with nothing after it
		}
		s.anchors = hasAnchors(doc)
		s.doc.Store(doc)
	})
	doc := s.doc.Load()
	if doc == nil {
		if p := s.packed.Load(); p != nil {
			doc = p.unpack()
		} else if s.plain {
			doc = parsePlain(s.bytes)
		}
	}
	return doc, s.err
}

func hasAnchors(n *yaml.Node) bool {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return true
	}
	return slices.ContainsFunc(n.Content, hasAnchors)
}
