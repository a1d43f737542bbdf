package yamldoc

import (
	"bytes"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// block is a mapping or sequence in block style, as a row of elements: the
// entries of a mapping, the items of a sequence.
type block struct {
	*splice
	old, new *yaml.Node
	mapping  bool
	col      int  // where its keys or dashes stand
	flow     bool // it is in flow style: of row, which has the elements
	// moved says of new elements which old element they are, unchanged but in
	// another place.
	moved map[int]int
	// layout is that of the block's elements, zero until asked for.
	layout layout
}

func (b *block) count(n *yaml.Node) int {
	if b.mapping {
		return len(n.Content) / 2
	}
	return len(n.Content)
}

// at is the key (nil in a sequence) and the value of an element.
func (b *block) at(n *yaml.Node, i int) (key, value *yaml.Node) {
	if b.mapping {
		return n.Content[2*i], n.Content[2*i+1]
	}
	return nil, n.Content[i]
}

// commented is the node that carries the comments above and below an element.
func (b *block) commented(n *yaml.Node, i int) *yaml.Node {
	if b.mapping {
		return n.Content[2*i]
	}
	return n.Content[i]
}

func (b *block) change() bool {
	n := b.count(b.old)
	if b.mapping {
		b.col = b.old.Content[0].Column - 1
	} else if b.col = b.dashColumn(); b.col == none {
		return false
	}
	if b.mapping && len(b.new.Content)%2 != 0 {
		return false
	}
	pairs, ok := b.align()
	if !ok {
		return false
	}
	if len(pairs) == 0 {
		return false // nothing stays
	}
	lo, from := 0, 0
	for _, p := range pairs {
		if !b.gap(lo, p.old, from, p.new) || !b.pair(p.old, p.new) {
			return false
		}
		lo, from = p.old+1, p.new+1
	}
	return b.gap(lo, n, from, b.count(b.new))
}

// pair changes an element that stays.
func (b *block) pair(i, j int) bool {
	oldKey, oldValue := b.at(b.old, i)
	key, value := b.at(b.new, j)
	o, n := b.commented(b.old, i), b.commented(b.new, j)
	if o.HeadComment != n.HeadComment && !b.headComment(i, n.HeadComment) ||
		o.FootComment != n.FootComment && !b.footComment(i, n.FootComment) {
		return false
	}
	mark := len(b.edits)
	if !(b.coarse && b.old == b.root) && b.inside(oldKey, key, oldValue, value) {
		return true
	}
	b.edits = b.edits[:mark]
	if b.coarse && b.old == b.root && (key == nil || equal(bare(oldKey), bare(key), false)) &&
		equal(bare(oldValue), bare(value), false) {
		return true
	}
	return b.replace(i, key, value)
}

// inside changes the key and the value of an element where they stand.
func (b *block) inside(oldKey, key, oldValue, value *yaml.Node) bool {
	if b.mapping {
		if !alike(oldKey, key, false) {
			o, n := *oldKey, *key
			o.HeadComment, o.LineComment, o.FootComment = "", "", ""
			n.HeadComment, n.LineComment, n.FootComment = "", "", ""
			if o.Kind != yaml.ScalarNode || !b.scalar(&o, &n, asKey, b.col) {
				return false
			}
		} else if oldKey.Kind != yaml.ScalarNode && !equal(bare(oldKey), bare(key), false) {
			return false
		}
		if oldKey.LineComment != key.LineComment {
			_, end := b.span(oldKey)
			if end == none || oldValue.Kind == yaml.ScalarNode || isFlow(oldValue) {
				return false
			}
			if end = b.skipBlanks(end); end >= len(b.src) || b.src[end] != ':' ||
				!b.lineComment(end+1, oldKey.LineComment, key.LineComment) {
				return false
			}
			b.verify = true
		}
		if oldValue.HeadComment != value.HeadComment || oldValue.FootComment != value.FootComment {
			return false
		}
		return b.node(oldValue, value, b.col)
	}
	return b.node(bare(oldValue), bare(value), b.col)
}

// bare is n without the comments above and below it, which its element carries.
func bare(n *yaml.Node) *yaml.Node {
	if n == nil || n.HeadComment == "" && n.FootComment == "" {
		return n
	}
	c := *n
	c.HeadComment, c.FootComment = "", ""
	return &c
}

// commentLines is a comment as lines of the block's column.
func (b *block) commentLines(comment string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(comment, "\n"), "\n") {
		if line = strings.TrimRight(line, " \t\r"); line != "" {
			out.WriteString(strings.Repeat(" ", b.col))
			if line[0] != '#' {
				out.WriteString("# ")
			}
			out.WriteString(line)
		}
		out.WriteString(b.nl)
	}
	return out.String()
}

func (b *block) headComment(i int, comment string) bool {
	b.verify = true
	head, start := b.head(i), b.start(i)
	if head == none || !b.alone(start) {
		return false
	}
	lines := ""
	if comment != "" {
		lines = b.commentLines(comment)
	}
	b.edit(head, b.lineStart(start), lines)
	return true
}

func (b *block) footComment(i int, comment string) bool {
	b.verify = true
	off, _ := b.tail(i)
	if off == none {
		return false
	}
	end := off
	if b.commented(b.old, i).FootComment != "" {
		if off, end = b.foot(i); off == none {
			return false
		}
	}
	lines := ""
	if comment != "" {
		lines = b.commentLines(comment)
		if off == len(b.src) && !bytes.HasSuffix(b.src, []byte{'\n'}) {
			lines = b.nl + lines
		}
		if end < len(b.src) && !isBlank(b.line(end)) {
			lines += b.nl
		}
	}
	b.edit(off, end, lines)
	return true
}

// replace writes element i anew, with another value.
func (b *block) replace(i int, key, value *yaml.Node) bool {
	start := b.start(i)
	end, _ := b.tail(i)
	if start == none || end == none || b.json {
		return false
	}
	if !b.plain || b.old != b.root { // else it is whole lines, with no comment around
		b.verify = true
	}
	_, old := b.at(b.old, i)
	if b.coarse && b.old == b.root {
		old = nil // the document's layout
	}
	s, ok := b.element(bare(key), bare(value), old)
	if !ok {
		return false
	}
	b.edit(start, end, s[b.col:])
	return true
}

// element is an element as lines of the block. like is what it takes the place
// of and whose layout it takes, nil if there is none.
func (b *block) element(key, value, like *yaml.Node) (string, bool) {
	margin := strings.Repeat(" ", b.col)
	if value.Kind == yaml.ScalarNode && value.Anchor == "" && value.HeadComment == "" && value.FootComment == "" &&
		!strings.Contains(value.LineComment, "\n") && (key == nil || key.Kind == yaml.ScalarNode && key.Anchor == "" &&
		key.HeadComment == "" && key.LineComment == "" && key.FootComment == "") {
		lead, ok := "-", true
		if key != nil {
			lead, ok = scalarText(key, asKey)
			lead += ":"
		}
		if ok && look(value).style&blocky == 0 {
			if s, ok := scalarText(value, inBlock); ok {
				if s != "" {
					lead += " " + s
				}
				if c := value.LineComment; c != "" {
					if c[0] != '#' {
						c = "# " + c
					}
					lead += " " + c
				}
				return margin + lead + b.nl, true
			}
		}
	}
	wrap := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{value}}
	if key != nil {
		wrap = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, value}}
	}
	if b.layout.indent == 0 {
		b.layout = b.layoutOf(b.old)
	}
	l := b.layout
	if like != nil {
		l = detect(like, l)
	}
	out, err := encode(wrap, l)
	if err != nil {
		return "", false
	}
	if !tame(wrap) {
		b.verify = true
		if !readsAs(out, wrap) {
			// Either it has aliases, or the library has no way with a block scalar.
			if careful, err := encodeWith(wrap, l, quoteBlocks); err == nil && readsAs(careful, wrap) {
				out = careful
			}
		}
	}
	var s strings.Builder
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" {
			s.WriteString(margin)
			s.WriteString(line)
		}
		s.WriteString(b.nl)
	}
	return s.String(), true
}

// tame says whether the library is known to write n so that it reads back.
func tame(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.HeadComment != "" || n.LineComment != "" || n.FootComment != "" {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		return printable(n.Value) && !look(n).explicit && n.Style&blocky == 0
	}
	for _, c := range n.Content {
		if n.Style&flowBit != 0 || explicitTag(n) || !tame(c) {
			return false
		}
	}
	return true
}

// gap takes out the elements lo to hi of the old block and puts the elements
// from to to of the new one in their place.
func (b *block) gap(lo, hi, from, to int) bool {
	if lo == hi && from == to {
		return true
	}
	if b.json {
		return false
	}
	var ins strings.Builder
	for j := from; j < to; j++ {
		s, ok := b.insertion(lo+j-from, hi, j)
		if !ok {
			return false
		}
		ins.WriteString(s)
	}
	if lo == 0 {
		first := b.start(0)
		if first == none {
			return false
		}
		if !b.alone(first) {
			return b.gapBehindDash(hi, ins.String())
		}
	}
	for i := lo; i < hi; i++ {
		if i == lo && ins.Len() > 0 {
			head := b.head(lo)
			if head == none {
				return false
			}
			b.edit(head, head, ins.String())
		}
		if !b.remove(i, ins.Len() > 0) {
			return false
		}
	}
	if lo == hi {
		return b.insert(lo, ins.String())
	}
	return true
}

// insertion is element j of the new block as text. An element that only moved
// is taken over as it stood. Old element i goes in exchange if it is before hi.
func (b *block) insertion(i, hi, j int) (string, bool) {
	if i, ok := b.moved[j]; ok {
		head, start := b.head(i), b.start(i)
		end, clean := b.tail(i)
		if head != none && end != none {
			if !clean {
				b.verify = true
			}
			s := string(b.src[head:end])
			if !b.alone(start) {
				s = strings.Repeat(" ", b.col) + string(b.src[start:end])
			}
			if !strings.HasSuffix(s, "\n") {
				s += b.nl
				b.verify = true
			}
			return s, true
		}
	}
	key, value := b.at(b.new, j)
	c := b.commented(b.new, j)
	if i < hi && c.FootComment != "" && c.FootComment == b.commented(b.old, i).FootComment {
		k := *c
		k.FootComment = ""
		// The comment below an element stays when it goes.
		if b.mapping {
			key = &k
		} else {
			value = &k
		}
	}
	return b.element(key, value, nil)
}

// insert puts lines between the elements lo-1 and lo, which both stay.
func (b *block) insert(lo int, lines string) bool {
	if lo == 0 {
		head := b.head(0)
		if head == none {
			return false
		}
		b.edit(head, head, lines)
		return true
	}
	at, clean := b.tail(lo - 1)
	if at == none {
		return false
	}
	if !clean {
		b.verify = true
		if lo < b.count(b.old) {
			if at = b.head(lo); at == none {
				return false
			}
		} else if b.commented(b.old, lo-1).FootComment != "" {
			if _, at = b.foot(lo - 1); at == none {
				return false
			}
			if b.src[at-1] != '\n' {
				lines = b.nl + lines
			}
			lines = b.nl + lines
		}
	}
	if at == len(b.src) && !bytes.HasSuffix(b.src, []byte{'\n'}) {
		lines = b.nl + strings.TrimSuffix(lines, b.nl)
	}
	b.edit(at, at, lines)
	return true
}

// remove takes out an element with the comment above it and, unless something
// takes its place, the blank lines that would double or end the text.
func (b *block) remove(i int, replaced bool) bool {
	head := b.head(i)
	end, clean := b.tail(i)
	if head == none || end == none {
		return false
	}
	if !clean || b.blocks {
		// A block scalar before it may take what is left behind for its own.
		b.verify = true
	}
	if !replaced && (head <= b.lines[0] || isBlank(b.line(b.lineStart(head-1)))) {
		for end < len(b.src) && isBlank(b.line(end)) && b.nextLine(end) > end {
			end = b.nextLine(end)
		}
	}
	if !replaced && end == len(b.src) {
		for head > b.lines[0] && isBlank(b.line(b.lineStart(head-1))) {
			head = b.lineStart(head - 1)
		}
	}
	b.edit(head, end, "")
	return true
}

// gapBehindDash is gap at the beginning of a collection whose first element
// stands behind the dash of the item it is.
func (b *block) gapBehindDash(hi int, lines string) bool {
	if strings.HasPrefix(strings.TrimLeft(lines, " "), "#") {
		return false // a comment there would change its meaning
	}
	start := b.start(0)
	if hi == 0 {
		b.edit(start, start, lines[b.col:]+strings.Repeat(" ", b.col))
		return true
	}
	end := start
	for i := range hi {
		tail, clean := b.tail(i)
		if tail == none || !clean || i > 0 && b.head(i) != b.lineStart(b.start(i)) {
			return false
		}
		end = tail
	}
	if lines != "" {
		b.edit(start, end, lines[b.col:])
		return true
	}
	if hi == b.count(b.old) {
		return false
	}
	next := b.start(hi)
	if next == none || b.head(hi) != b.lineStart(next) {
		return false
	}
	b.edit(start, next, "")
	return true
}
