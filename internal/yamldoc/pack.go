package yamldoc

import "sigs.k8s.io/kustomize/kyaml/yaml"

// Pack has the document hold the nodes it was read as in a quarter of the
// memory, once they have been parsed, or not at all where reading them again is
// cheap: for who takes a Copy of many documents and won't look at the originals
// before they are written. Afterwards Root makes the nodes anew each time it is
// asked; nodes it returned before stay as they are.
func (d *Doc) Pack() {
	if d.read != nil {
		d.read.pack()
	}
}

func (s *source) pack() {
	doc := s.doc.Load()
	if doc == nil || s.anchors {
		return
	}
	if s.plain {
		s.doc.Store(nil)
		return
	}
	p := packNode(doc)
	// in this order: who finds no nodes finds them packed
	if s.packed.CompareAndSwap(nil, p) {
		s.doc.Store(nil)
	}
}

// packed is a tree of nodes without anchors and aliases.
type packed struct {
	nodes []packedNode // each before what is in it
	rare  []rareNode   // of the nodes that have one, in their order
}

// packedNode is what every node has. Documents are far too short for 32 bits to
// overflow: a column or a line takes a byte, a node several.
type packedNode struct {
	value                  string
	line, column, children uint32
	kind, style, tag       uint8 // tag is an index of commonTags
	rare                   bool
}

// rareNode is what few nodes have.
type rareNode struct{ tag, head, line, foot string }

var commonTags = [...]string{strTag, "!!map", "!!seq", "!!int", "!!bool", nullTag, "!!float", ""}

func packNode(n *yaml.Node) *packed {
	var aliases bool
	nodes, _ := count(n, &aliases)
	p := &packed{nodes: make([]packedNode, 0, nodes)}
	p.add(n)
	return p
}

func (p *packed) add(n *yaml.Node) {
	c := packedNode{
		value: n.Value, line: uint32(n.Line), column: uint32(n.Column), children: uint32(len(n.Content)),
		kind: uint8(n.Kind), style: uint8(n.Style),
	}
	for int(c.tag) < len(commonTags) && commonTags[c.tag] != n.Tag {
		c.tag++
	}
	c.rare = int(c.tag) == len(commonTags) || n.HeadComment != "" || n.LineComment != "" || n.FootComment != ""
	if c.rare {
		p.rare = append(p.rare, rareNode{n.Tag, n.HeadComment, n.LineComment, n.FootComment})
	}
	p.nodes = append(p.nodes, c)
	for _, child := range n.Content {
		p.add(child)
	}
}

// unpack makes the nodes that were packed.
func (p *packed) unpack() *yaml.Node {
	r := packReader{packed: *p}
	c := copier{nodes: make([]yaml.Node, len(p.nodes)), children: make([]*yaml.Node, len(p.nodes)-1)}
	var next func() *yaml.Node
	next = func() *yaml.Node {
		n := &c.nodes[0]
		c.nodes = c.nodes[1:]
		if k := r.next(n); k > 0 {
			n.Content = c.children[:k:k]
			c.children = c.children[k:]
			for i := range n.Content {
				n.Content[i] = next()
			}
		}
		return n
	}
	return next()
}

// equal is Equal of the content that was packed and n.
func (p *packed) equal(n *yaml.Node) bool {
	r := packReader{packed: *p}
	var doc yaml.Node
	return r.next(&doc) == 1 && r.equal(n, false)
}

// packReader takes nodes off a packed tree.
type packReader struct{ packed }

// next fills in a node without its children, whose number it returns.
func (r *packReader) next(n *yaml.Node) (children int) {
	c := &r.nodes[0]
	r.nodes = r.nodes[1:]
	n.Kind, n.Style, n.Value = yaml.Kind(c.kind), yaml.Style(c.style), c.value
	n.Line, n.Column = int(c.line), int(c.column)
	if c.rare {
		x := &r.rare[0]
		r.rare = r.rare[1:]
		n.Tag, n.HeadComment, n.LineComment, n.FootComment = x.tag, x.head, x.line, x.foot
	} else {
		n.Tag = commonTags[c.tag]
	}
	return int(c.children)
}

func (r *packReader) equal(n *yaml.Node, flow bool) bool {
	var was yaml.Node
	if r.next(&was) != len(n.Content) {
		return false
	}
	was.Content = n.Content // as many: what they are comes next
	if was.HeadComment != n.HeadComment || was.LineComment != n.LineComment || was.FootComment != n.FootComment || !alike(&was, n, flow) {
		return false
	}
	flow = flow || isFlow(&was)
	for _, c := range n.Content {
		if c == nil || !r.equal(c, flow) {
			return false
		}
	}
	return true
}
