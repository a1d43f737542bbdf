package yamldoc

import (
	"bytes"
	"encoding/json"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// row is a flow collection as it stands in the text: elements between brackets,
// on one line or on lines of their own.
type row struct {
	*splice
	old, new *yaml.Node
	mapping  bool
	outer    *row // the flow collection around it, nil if there is none

	// What is read off the text when it is asked for.
	open, close int // the brackets
	pieces      []piece
	scanned     scanState
	manners     map[yaml.Kind]*manner // of nested collections, zero for its own
}

type scanState int

const (
	unscanned scanState = iota
	scanFailed
	scanDone
)

// piece is the text of an element.
type piece struct {
	start, end int
	comma      int // behind it; none if there is none
}

// manner is how a flow collection is written.
type manner struct {
	lines bool   // elements stand on lines of their own
	step  string // how much further in these lines are
	gap   string // behind a comma on one line
	colon string // between key and value, with blanks
	pad   string // inside the brackets on one line
	quote bool   // keys are in double quotes
}

// flow turns a flow collection into another: scalars where they stand, other
// elements among their siblings and like them. What that can't do is done by
// writing the smallest collection around it anew. outer is the flow collection
// it is in, if any.
func (s *splice) flow(old, n *yaml.Node, outer *row) bool {
	mark := len(s.edits)
	r := &row{splice: s, old: old, new: n, mapping: old.Kind == yaml.MappingNode, outer: outer}
	if r.change() {
		return true
	}
	s.edits = s.edits[:mark]
	return r.rewrite()
}

func (r *row) change() bool {
	b := block{splice: r.splice, old: r.old, new: r.new, mapping: r.mapping, flow: true}
	n, m := b.count(r.old), b.count(r.new)
	if r.mapping && len(r.new.Content)%2 != 0 {
		return false
	}
	if n == 0 || m == 0 {
		return n == m || r.scan() && r.gap(&b, 0, n, 0, m)
	}
	pairs, ok := b.align()
	if !ok {
		return false
	}
	lo, from := 0, 0
	for _, p := range append(pairs, match{n, m}) {
		if (lo < p.old || from < p.new) && !(r.scan() && r.gap(&b, lo, p.old, from, p.new)) {
			return false
		}
		if p.old < n && !r.pair(&b, p.old, p.new) {
			return false
		}
		lo, from = p.old+1, p.new+1
	}
	return true
}

// pair changes an element that stays.
func (r *row) pair(b *block, i, j int) bool {
	oldKey, o := b.at(r.old, i)
	key, v := b.at(r.new, j)
	if o.HeadComment != v.HeadComment || o.FootComment != v.FootComment {
		return false
	}
	if r.mapping {
		if oldKey.HeadComment != key.HeadComment || oldKey.LineComment != key.LineComment || oldKey.FootComment != key.FootComment {
			return false
		}
		if !equal(oldKey, key, true) && (oldKey.Kind != yaml.ScalarNode || r.json && key.ShortTag() != strTag || !r.scalar(oldKey, key, inFlow, none)) {
			return false
		}
	}
	mark := len(r.edits)
	switch {
	case o.Kind != v.Kind:
	case o.Kind == yaml.ScalarNode || o.Kind == yaml.AliasNode:
		if r.scalar(o, v, inFlow, none) {
			return true
		}
	case alike(o, v, true) && o.LineComment == v.LineComment:
		if r.flow(o, v, r) {
			return true
		}
	}
	r.edits = r.edits[:mark]
	if o.LineComment != v.LineComment || !r.scan() {
		return false
	}
	r.verify = true
	p := r.pieces[i]
	start, end := r.offset(o), r.end(o)
	if start == none || start >= end || end > p.end { // nothing, as in {a}
		if r.mapping && !equal(oldKey, key, true) {
			return false
		}
		text, ok := r.element(b, j, p.start)
		r.edit(p.start, p.end, text)
		return ok
	}
	c := *v
	c.LineComment = ""
	m, margin := r.mannerOf(&c), ""
	if m.lines {
		margin = r.indentOf(start)
	}
	var text strings.Builder
	ok := r.write(&text, &c, m, margin)
	r.edit(start, end, text.String())
	return ok
}

// gap takes out the elements lo to hi of the old collection and puts the
// elements from to to of the new one in their place.
func (r *row) gap(b *block, lo, hi, from, to int) bool {
	r.verify = true
	for ; lo < hi && from < to; lo, from = lo+1, from+1 {
		text, ok := r.element(b, from, r.pieces[lo].start)
		if !ok {
			return false
		}
		r.edit(r.pieces[lo].start, r.pieces[lo].end, text)
	}
	switch {
	case lo < hi && hi-lo == len(r.pieces):
		r.edit(r.open+1, r.close, "")
	case lo < hi && hi == len(r.pieces):
		r.removeLast(lo)
	case lo < hi:
		return r.remove(b, lo, hi)
	case from < to && len(r.pieces) == 0:
		return r.first(from, to)
	case from < to:
		return r.insert(b, lo-1, from, to)
	}
	return true
}

// removeLast takes out the elements from lo on, with what is on their lines; some
// stay before them.
func (r *row) removeLast(lo int) {
	comma, last := r.pieces[lo-1].comma, r.pieces[len(r.pieces)-1]
	at, end := comma+1, last.end
	if eol, ok := r.lineRest(at); ok {
		at = eol
	}
	switch {
	case last.comma != none:
		end = last.comma + 1
	case bytes.IndexByte(r.src[comma:at], '#') < 0:
		at = comma
	default:
		r.edit(comma, comma+1, "")
	}
	if eol, ok := r.lineRest(end); ok {
		end = eol
	}
	r.edit(at, end, "")
}

// remove takes out the elements lo to hi; some stay behind them.
func (r *row) remove(b *block, lo, hi int) bool {
	start, comma := r.pieces[lo].start, r.pieces[hi-1].comma
	eol, lineEnds := r.lineRest(comma + 1)
	switch {
	case lineEnds && r.ownLine(start):
		at := r.lineStart(start)
		if c := b.commented(r.old, lo).HeadComment; c != "" {
			if at = b.above(at, c); at == none {
				return false
			}
		}
		r.edit(at, r.nextLine(eol), "")
	case lineEnds:
		at := r.open + 1
		if lo > 0 {
			at = r.pieces[lo-1].comma + 1
		}
		r.edit(at, comma+1, "")
	default:
		r.edit(start, r.skipBlanks(comma+1), "")
	}
	return true
}

// insert puts new elements behind the old element i, none being before the first.
func (r *row) insert(b *block, i, from, to int) bool {
	m := r.manner()
	var text strings.Builder
	near := r.pieces[max(i, 0)]
	next := near // the element after
	if i >= 0 && i+1 < len(r.pieces) {
		next = r.pieces[i+1]
	}
	if r.ownLine(near.start) && r.ownLine(next.start) {
		margin := string(r.src[r.lineStart(near.start):near.start])
		at, last := r.open+1, ","
		if i >= 0 {
			if at = near.comma + 1; near.comma == none {
				r.edit(near.end, near.end, ",")
				at, last = near.end, ""
			}
		}
		if eol, ok := r.lineRest(at); ok && r.src[r.skipBlanks(at)] == '#' {
			at = eol
		}
		for j := from; j < to; j++ {
			s, ok := r.elementIn(b, j, margin)
			if !ok {
				return false
			}
			text.WriteString(r.nl + margin + s)
			if j < to-1 {
				text.WriteByte(',')
			}
		}
		r.edit(at, at, text.String()+last)
		return true
	}
	for j := from; j < to; j++ {
		s, ok := r.element(b, j, near.start)
		switch {
		case !ok:
			return false
		case i < 0:
			text.WriteString(s + "," + m.gap)
		default:
			text.WriteString("," + m.gap + s)
		}
	}
	at := near.end
	if i < 0 {
		at = near.start
	}
	r.edit(at, at, text.String())
	return true
}

// first puts elements into a collection that had none.
func (r *row) first(from, to int) bool {
	inner := r.src[r.open+1 : r.close]
	if bytes.IndexByte(inner, '#') >= 0 {
		return false
	}
	n := *r.new
	if r.mapping {
		n.Content = n.Content[2*from : 2*to]
	} else {
		n.Content = n.Content[from:to]
	}
	m := *r.manner()
	m.lines = m.lines || bytes.IndexByte(inner, '\n') >= 0
	margin := ""
	if m.lines {
		margin = r.indentOf(r.open)
	}
	var text strings.Builder
	if !r.collection(&text, &n, &m, margin) {
		return false
	}
	r.edit(r.open, r.close+1, text.String())
	return true
}

// element is element j of the new collection as text that is to stand at an
// offset of the old.
func (r *row) element(b *block, j, at int) (string, bool) {
	_, v := b.at(r.new, j)
	margin := ""
	if r.mannerOf(v).lines {
		margin = r.indentOf(at)
	}
	return r.elementIn(b, j, margin)
}

// elementIn is element j of the new collection on a line indented by margin. One
// that only moved is taken over as it stood.
func (r *row) elementIn(b *block, j int, margin string) (string, bool) {
	if i, ok := b.moved[j]; ok {
		return string(r.src[r.pieces[i].start:r.pieces[i].end]), true
	}
	key, v := b.at(r.new, j)
	var text strings.Builder
	if key != nil && !r.key(&text, key, r.manner()) {
		return "", false
	}
	ok := r.write(&text, v, r.mannerOf(v), margin)
	return text.String(), ok
}

// rewrite writes the collection anew in its place.
func (r *row) rewrite() bool {
	start, end := r.skipProperties(r.old), r.end(r.old)
	if start == none || end == none || r.src[start] != '{' && r.src[start] != '[' {
		return false
	}
	was := r.src[start:end]
	if r.json {
		m := *r.manner()
		m.lines = bytes.IndexByte(was, '\n') >= 0
		margin := ""
		if m.lines {
			margin = r.indentOf(start)
		}
		var b strings.Builder
		if !r.write(&b, r.new, &m, margin) {
			return false
		}
		r.edit(start, end, b.String())
		return true
	}
	if bytes.IndexByte(was, '\n') >= 0 || bytes.IndexByte(was, '#') >= 0 {
		return false
	}
	c := *r.new
	c.Anchor, c.Tag, c.Style = "", "", c.Style&^tagged
	if len(c.Content) > 0 {
		c.Style |= flowBit
	}
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	text, ok := libraryScalar(&c, inBlock)
	if !ok {
		return false
	}
	r.verify = true
	r.edit(start, end, text)
	return true
}

// scan finds the brackets, the elements and the commas in the text. False when
// they aren't what the nodes say.
func (r *row) scan() bool {
	if r.scanned == unscanned {
		r.scanned = scanFailed
		if r.scanPieces() {
			r.scanned = scanDone
		}
	}
	return r.scanned == scanDone
}

func (r *row) scanPieces() bool {
	r.open = r.skipProperties(r.old)
	if r.open == none || r.open >= len(r.src) || r.src[r.open] != '{' && r.src[r.open] != '[' {
		return false
	}
	step := 1
	if r.mapping {
		step = 2
	}
	r.pieces = make([]piece, 0, len(r.old.Content)/step)
	at := r.skipSpace(r.open + 1)
	for i := 0; i+step <= len(r.old.Content); i += step {
		p := piece{start: r.offset(r.old.Content[i]), comma: none}
		if p.start != at || at >= len(r.src) || i > 0 && r.pieces[len(r.pieces)-1].comma == none {
			return false
		}
		if r.mapping {
			if p.end = r.end(r.old.Content[i]); p.end == none {
				return false
			}
			v := r.old.Content[i+1]
			if colon := r.skipSpace(p.end); colon < len(r.src) && r.src[colon] == ':' {
				p.end = colon + 1
			} else if !absent(v) {
				return false
			}
			if !absent(v) {
				if r.skipSpace(p.end) != r.offset(v) {
					return false
				}
				p.end = r.end(v)
			}
		} else if p.end = r.end(r.old.Content[i]); p.end == none {
			return false
		}
		if p.end <= p.start {
			return false
		}
		if at = r.skipSpace(p.end); at < len(r.src) && r.src[at] == ',' {
			p.comma = at
			at = r.skipSpace(at + 1)
		}
		r.pieces = append(r.pieces, p)
	}
	r.close = at
	return at < len(r.src) && r.src[at] == r.src[r.open]+2 // as ASCII has it
}

// absent says whether a value may be without text.
func absent(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Anchor == "" && n.Style&(tagged|quoted) == 0
}

// ownLine says whether nothing stands before off on its line.
func (t *text) ownLine(off int) bool {
	for off > t.lines[0] && (t.src[off-1] == ' ' || t.src[off-1] == '\t') {
		off--
	}
	return off == t.lines[0] || t.src[off-1] == '\n'
}

// lineRest is the end of the line off is in; false if something else than a
// comment follows off there.
func (t *text) lineRest(off int) (eol int, ok bool) {
	i := t.skipBlanks(off)
	switch {
	case i == len(t.src) || t.src[i] == '\n' || t.src[i] == '\r':
		return i, true
	case t.src[i] == '#' && i > off:
		return t.lineEnd(i), true
	}
	return none, false
}

// indentOf is what the line off is in begins with.
func (t *text) indentOf(off int) string {
	start := t.lineStart(off)
	return string(t.src[start:t.skipBlanks(start)])
}

// manner is how the collection is written, judged by its first elements; what
// they don't show is taken from the collection around it.
func (r *row) manner() *manner {
	if m := r.manners[0]; m != nil {
		return m
	}
	m := manner{step: "  ", gap: " ", colon: ": ", quote: r.json}
	if r.outer != nil {
		m = *r.outer.manner()
	}
	r.keep(0, &m)
	if !r.scan() || len(r.pieces) == 0 {
		return &m
	}
	first := r.pieces[0]
	m.lines = r.ownLine(first.start)
	if blank := string(r.src[r.open+1 : first.start]); strings.Trim(blank, " ") == "" {
		m.pad = blank
	}
	if len(r.pieces) > 1 {
		second := r.pieces[1]
		if !m.lines && r.ownLine(second.start) {
			m.lines, first = true, second
		}
		if blank := string(r.src[r.pieces[0].comma+1 : second.start]); strings.Trim(blank, " ") == "" {
			m.gap = blank
		}
	}
	if m.lines {
		margin := string(r.src[r.lineStart(first.start):first.start])
		if step, ok := strings.CutPrefix(margin, r.indentOf(r.open)); ok && step != "" {
			m.step = step
		}
	}
	if !r.mapping && r.outer == nil && r.json {
		m.colon = ":" + m.gap
	}
	if r.mapping {
		key := r.old.Content[0]
		m.quote = key.Style&yaml.DoubleQuotedStyle != 0
		start, end := r.end(key), r.offset(r.old.Content[1])
		if start != none && start < end {
			colon := string(r.src[start:end])
			if strings.Trim(colon, " ") == ":" && (r.json || strings.HasSuffix(colon, " ")) {
				m.colon = colon
				if len(r.pieces) == 1 {
					_, m.gap, _ = strings.Cut(colon, ":")
				}
			}
		}
	}
	return &m
}

func (r *row) keep(kind yaml.Kind, m *manner) {
	if r.manners == nil {
		r.manners = make(map[yaml.Kind]*manner)
	}
	r.manners[kind] = m
}

// mannerOf is how a new value in the collection is to be written: like the first
// of its kind there, else like the collection.
func (r *row) mannerOf(v *yaml.Node) *manner {
	if m := r.manners[v.Kind]; m != nil {
		return m
	}
	m := r.manner()
	step := 1
	if r.mapping {
		step = 2
	}
	for i := step - 1; i < len(r.old.Content); i += step {
		if o := r.old.Content[i]; o.Kind == v.Kind && len(o.Content) > 0 {
			like := &row{splice: r.splice, old: o, mapping: o.Kind == yaml.MappingNode, outer: r}
			m = like.manner()
			break
		}
	}
	r.keep(v.Kind, m)
	return m
}

// write writes a value in a manner, on a line indented by margin. False for what
// has no text within brackets.
func (s *splice) write(b *strings.Builder, n *yaml.Node, m *manner, margin string) bool {
	if n.Anchor != "" || !s.json && (n.HeadComment != "" || n.LineComment != "" || n.FootComment != "") {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		if s.json {
			text, ok := jsonScalar(n)
			b.WriteString(text)
			return ok
		}
		c := *n
		if m.quote && c.Style == 0 && c.ShortTag() == strTag {
			c.Style = yaml.DoubleQuotedStyle
		}
		text, ok := scalarText(&c, inFlow)
		b.WriteString(text)
		return ok
	}
	return s.collection(b, n, m, margin)
}

func (s *splice) collection(b *strings.Builder, n *yaml.Node, m *manner, margin string) bool {
	open, step := byte('['), 1
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content)%2 == 0:
		open, step = '{', 2
	case n.Kind != yaml.SequenceNode:
		return false
	}
	if !s.json && explicitTag(n) {
		return false
	}
	b.WriteByte(open)
	inner := margin + m.step
	for i := 0; i < len(n.Content); i += step {
		switch {
		case m.lines && i > 0:
			b.WriteString("," + s.nl + inner)
		case m.lines:
			b.WriteString(s.nl + inner)
		case i > 0:
			b.WriteString("," + m.gap)
		default:
			b.WriteString(m.pad)
		}
		if step == 2 && !s.key(b, n.Content[i], m) || !s.write(b, n.Content[i+step-1], m, inner) {
			return false
		}
	}
	switch {
	case len(n.Content) == 0:
	case m.lines:
		b.WriteString(s.nl + margin)
	default:
		b.WriteString(m.pad)
	}
	b.WriteByte(open + 2)
	return true
}

// key writes a key and its colon.
func (s *splice) key(b *strings.Builder, n *yaml.Node, m *manner) bool {
	if n.Kind != yaml.ScalarNode || s.json && n.ShortTag() != strTag || !s.write(b, n, m, "") {
		return false
	}
	b.WriteString(m.colon)
	return true
}

// jsonScalar is a scalar as JSON; ok is false for what JSON doesn't have.
func jsonScalar(n *yaml.Node) (string, bool) {
	switch n.ShortTag() {
	case nullTag:
		return "null", true
	case "!!bool":
		return strings.ToLower(n.Value), true
	case "!!int", "!!float":
		return n.Value, json.Valid([]byte(n.Value))
	case strTag:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(n.Value) != nil {
			return "", false
		}
		return strings.TrimSuffix(b.String(), "\n"), true
	}
	return "", false
}

// withoutComments is n itself where it has none, as JSON can't.
func withoutComments(n *yaml.Node) *yaml.Node {
	var found func(n *yaml.Node) bool
	found = func(n *yaml.Node) bool {
		if n.HeadComment != "" || n.LineComment != "" || n.FootComment != "" {
			return true
		}
		for _, c := range n.Content {
			if found(c) {
				return true
			}
		}
		return false
	}
	if !found(n) {
		return n
	}
	n = CopyNode(n)
	var clear func(n *yaml.Node)
	clear = func(n *yaml.Node) {
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
		for _, c := range n.Content {
			clear(c)
		}
	}
	clear(n)
	return n
}
