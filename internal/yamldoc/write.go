package yamldoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// write turns changed nodes into text that reads back as they are, keeping what
// it can of what was read. It tries the finest way first: changes spliced into
// the text where they belong, unless anew; then the changed entries of the root
// written anew; then the whole document.
func write(read *source, root *yaml.Node, anew bool) ([]byte, error) {
	if err := checkDepth(root, 1); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	if read == nil {
		return whole(nil, nil, root)
	}
	doc, err := read.parse()
	if err != nil {
		return whole(nil, nil, root)
	}
	old := content(doc)
	if old == nil {
		return appendContent(read.bytes, root)
	}
	json := isJSON(old, read.bytes)
	if json {
		root = withoutComments(root)
	}
	t := newText(read.bytes)
	if !t.exotic() && old.HeadComment == root.HeadComment && old.FootComment == root.FootComment {
		for _, coarse := range []bool{false, true} {
			if anew && !coarse && !json {
				continue
			}
			if out := spliced(t, read, doc, root, coarse, json); out != nil {
				return out, nil
			}
		}
	}
	return whole(read.bytes, doc, root)
}

// spliced is the text changed in places; nil if that can't be done.
func spliced(t *text, read *source, doc, root *yaml.Node, coarse, json bool) []byte {
	old := content(doc)
	s := splice{text: t, root: old, nl: lineBreak(t.src), coarse: coarse, plain: read.plain, verify: read.anchors, json: json}
	if !s.node(old, root, -1) {
		return nil
	}
	out := s.apply()
	if out == nil || s.verify && !proves(out, doc, root) {
		return nil
	}
	return out
}

// isJSON says whether the document has to stay JSON.
func isJSON(root *yaml.Node, src []byte) bool {
	return root.Style&flowBit != 0 && json.Valid(bytes.TrimPrefix(src, bom))
}

// proves says whether out reads back as root, with the comments that root and
// the document around it have and none that the document never had.
func proves(out []byte, doc, root *yaml.Node) bool {
	got, err := parse(out)
	if err != nil || content(got) == nil || !sameContent(content(got), root) {
		return false
	}
	was, is, should := make(map[string]int), make(map[string]int), make(map[string]int)
	countComments(was, doc)
	countComments(is, got)
	countComments(should, root)
	countComments(should, &yaml.Node{HeadComment: doc.HeadComment, LineComment: doc.LineComment, FootComment: doc.FootComment})
	for c, k := range should {
		if is[c] < k {
			return false
		}
	}
	for c, k := range is {
		if k > max(should[c], was[c]) {
			return false
		}
	}
	return true
}

func countComments(m map[string]int, n *yaml.Node) {
	for _, c := range [...]string{n.HeadComment, n.LineComment, n.FootComment} {
		if c == "" {
			continue
		}
		for line := range strings.SplitSeq(c, "\n") {
			if line = strings.TrimSpace(strings.TrimPrefix(line, "#")); line != "" {
				m[line]++
			}
		}
	}
	for _, c := range n.Content {
		countComments(m, c)
	}
}

// appendContent puts content into a document that had none but comments.
func appendContent(src []byte, root *yaml.Node) ([]byte, error) {
	b, err := whole(nil, nil, root)
	if err != nil {
		return nil, err
	}
	nl := lineBreak(src)
	if nl != "\n" {
		b = bytes.ReplaceAll(b, []byte("\n"), []byte(nl))
	}
	out := bytes.Clone(src)
	if len(bytes.TrimPrefix(out, bom)) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, nl...)
	}
	out = append(out, b...)
	if doc, err := parse(out); err != nil || content(doc) == nil || !sameContent(content(doc), root) {
		return whole(src, nil, root) // there was a document end line
	}
	return out, nil
}

// whole writes a document anew, with its byte order mark, directives, separator
// and document end line, and the comments of the document node. src and doc are
// nil where there are none.
func whole(src []byte, doc, root *yaml.Node) ([]byte, error) {
	d := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}}
	l := layout{indent: 2}
	if old := content(doc); old != nil {
		d.HeadComment, d.FootComment = doc.HeadComment, doc.FootComment
		l = detect(old, l)
		if isJSON(old, src) {
			if out := wholeJSON(src, old, root); out != nil {
				return out, nil
			}
		}
	}
	var problem error
	for care := keepStyles; care <= dropStyles; care++ {
		b, err := encodeWith(d, l, care)
		if err != nil {
			problem = err
			continue
		}
		out := frame(src, b)
		if len(src) > 0 && src[len(src)-1] != '\n' {
			if t := bytes.TrimRight(out, "\r\n"); readsAs(t, root) {
				return t, nil
			}
		}
		if readsAs(out, root) {
			return out, nil
		}
	}
	if problem == nil {
		problem = errors.New("what was written doesn't read back the same")
	}
	return nil, fmt.Errorf("writing YAML: %w", problem)
}

func readsAs(out []byte, root *yaml.Node) bool {
	doc, err := parse(out)
	if err != nil {
		return false
	}
	if doc == nil || len(doc.Content) == 0 {
		return root.ShortTag() == nullTag
	}
	return sameContent(doc.Content[0], root)
}

// frame puts around an encoded document what the text had around it.
func frame(src, b []byte) []byte {
	var out []byte
	rest, ok := bytes.CutPrefix(src, bom)
	if ok {
		out = append(out, bom...)
	}
	for len(rest) > 0 {
		line := rest
		if n := bytes.IndexByte(rest, '\n'); n >= 0 {
			line = rest[:n+1]
		}
		rest = rest[len(line):]
		if isMarker(line, "---") {
			out = append(out, "---\n"...)
			break
		}
		if line[0] == '%' {
			out = append(append(out, bytes.TrimRight(line, "\r\n")...), '\n')
		} else if !isBlank(line) && !isComment(line) {
			break
		}
	}
	out = append(out, b...)
	if survey(src).ended {
		out = append(out, "...\n"...)
	}
	if lineBreak(src) != "\n" {
		out = bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
	}
	return out
}

// wholeJSON writes a JSON document anew in the manner it had, nil for what JSON
// doesn't have.
func wholeJSON(src []byte, old, root *yaml.Node) []byte {
	s := &splice{text: newText(src), root: old, nl: lineBreak(src), json: true}
	r := &row{splice: s, old: old, mapping: old.Kind == yaml.MappingNode}
	m := *r.manner()
	m.lines = bytes.IndexByte(bytes.TrimSpace(src), '\n') >= 0
	var b strings.Builder
	if bytes.HasPrefix(src, bom) {
		b.Write(bom)
	}
	if !s.write(&b, root, &m, "") {
		return nil
	}
	if bytes.HasSuffix(src, []byte{'\n'}) {
		b.WriteString(s.nl)
	}
	if out := []byte(b.String()); readsAs(out, root) {
		return out
	}
	return nil
}

// layout is how a text indents.
type layout struct {
	indent int  // of a mapping within a mapping
	wide   bool // sequences are indented within a mapping
}

// detect reads the layout off n as it was read: from the first mapping and the
// first sequence in a mapping, else as given.
func detect(n *yaml.Node, l layout) layout {
	var mapping, sequence bool
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if mapping && sequence || n.Style&flowBit != 0 {
			return
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && len(c.Content) > 0 && c.Style&flowBit == 0 {
				by := c.Content[0].Column - n.Content[i-1].Column
				switch {
				case c.Kind == yaml.MappingNode && !mapping && by > 0:
					mapping, l.indent = true, min(max(by, 2), 9)
				case c.Kind == yaml.SequenceNode && !sequence:
					sequence, l.wide = true, by > 2 && c.Anchor == "" && c.Column > n.Content[i-1].Column
				}
			}
			walk(c)
		}
	}
	walk(n)
	return l
}

// layoutOf is the layout of n as it was read, where it shows none that of the
// document. n may be nil.
func (s *splice) layoutOf(n *yaml.Node) layout {
	if s.lay.indent == 0 {
		s.lay = detect(s.root, layout{indent: 2})
	}
	if n == nil {
		return s.lay
	}
	return detect(n, s.lay)
}

// care is how much of the presentation is given up to have the library write
// nodes so that they read back.
type care int

const (
	keepStyles  care = iota // nothing but what can't be
	quoteBlocks             // block scalars
	dropFlow                // and flow style
	dropStyles              // and comments
)

// encode has the library write n.
func encode(n *yaml.Node, l layout) ([]byte, error) {
	if out := encodePlain(n, l); out != nil {
		return out, nil
	}
	return encodeWith(n, l, keepStyles)
}

func encodeWith(n *yaml.Node, l layout, c care) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, fmt.Errorf("%v", p)
		}
	}()
	n = CopyNode(n)
	openFlow(n)
	present(n, c, false)
	var buf bytes.Buffer
	e := yaml.NewEncoder(&buf)
	e.SetIndent(l.indent)
	if l.wide {
		e.DefaultSeqIndent()
	} else {
		e.CompactSeqIndent()
	}
	if err := e.Encode(n); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := e.Close(); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return buf.Bytes(), nil
}

// openFlow makes blocks of the flow collections that have comments inside, and
// of those behind the comment of their key: within brackets the library puts
// comments where they belong to something else or make the text invalid.
// Comments of a value that the library has no place for go to where it has one.
// The result says whether n has comments, in it or on it.
func openFlow(n *yaml.Node) bool {
	inside := false
	for i, c := range n.Content {
		brackets, key := isFlow(c), c
		inside = openFlow(c) || inside
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			key = n.Content[i-1]
		}
		flow := isFlow(c)
		if flow && len(c.Content) > 0 && key != c && key.LineComment != "" {
			c.Style &^= flowBit
			flow = false
		}
		if key != c && (brackets || len(c.Content) == 0) && c.FootComment != "" {
			key.FootComment, c.FootComment = joinComments(key.FootComment, c.FootComment), ""
		}
		switch {
		case key != c && key.LineComment != "" && c.LineComment == "" && (flow || len(c.Content) == 0):
			key.LineComment, c.LineComment = "", key.LineComment // on one line it is the value's
		case c.LineComment == "" || flow || len(c.Content) == 0:
		case key != c && key.LineComment == "":
			key.LineComment, c.LineComment = c.LineComment, ""
		default:
			key.HeadComment = joinComments(key.HeadComment, c.LineComment)
			c.LineComment = ""
		}
	}
	if inside {
		n.Style &^= flowBit
	}
	return inside || n.HeadComment != "" || n.LineComment != "" || n.FootComment != ""
}

// present settles what the library would write otherwise than the nodes mean:
// quotes around what isn't a string, null as nothing where nothing reads as an
// empty string, several lines where there is but one. tight: n is a key or
// within a flow collection.
func present(n *yaml.Node, c care, tight bool) {
	if c >= dropStyles {
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	}
	if c >= dropFlow {
		n.Style &^= flowBit
	}
	tight = tight || isFlow(n)
	switch n.Kind {
	case yaml.ScalarNode:
		l := look(n)
		if !l.explicit {
			n.Style = l.style
			if l.tag == mergeTag {
				n.Tag = ""
			}
			switch {
			case !tight:
			case l.tag == nullTag && n.Value == "":
				n.Value = "null"
			case l.tag == strTag && strings.Contains(n.Value, "\n"):
				n.Style = yaml.DoubleQuotedStyle
			}
		}
		if c >= quoteBlocks && l.tag == strTag && (l.style&blocky != 0 || strings.TrimSpace(n.Value) != n.Value || !printable(n.Value)) {
			n.Style = n.Style&tagged | yaml.DoubleQuotedStyle
		}
	case yaml.MappingNode:
		for i, child := range n.Content {
			present(child, c, tight || i%2 == 0)
		}
		return
	}
	for _, child := range n.Content {
		present(child, c, tight)
	}
}
