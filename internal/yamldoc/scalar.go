package yamldoc

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// where a scalar is to be written.
type where int

const (
	inBlock where = iota
	inFlow
	asKey // of a block mapping, on the line of its value
)

// scalarText is a scalar without comments and properties as it is written on
// one line; ok is false when it needs more than that.
func scalarText(n *yaml.Node, w where) (s string, ok bool) {
	l := look(n)
	if l.explicit {
		return "", false
	}
	v := n.Value
	switch l.style {
	case 0:
		if v == "" && w == inBlock || plainSafe(v, w) {
			return v, true
		}
	case yaml.DoubleQuotedStyle:
		if printable(v) && !strings.ContainsAny(v, `"\`) {
			return `"` + v + `"`, true
		}
	case yaml.SingleQuotedStyle:
		if printable(v) {
			return "'" + strings.ReplaceAll(v, "'", "''") + "'", true
		}
	}
	return libraryScalar(n, w)
}

// libraryScalar has the library choose how a scalar is written.
func libraryScalar(n *yaml.Node, w where) (string, bool) {
	c := *n
	c.Anchor, c.HeadComment, c.LineComment, c.FootComment = "", "", "", ""
	key := &yaml.Node{Kind: yaml.ScalarNode, Value: "k"}
	m := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, &c}}
	before, after := "k: ", "\n"
	switch w {
	case inFlow:
		m.Style = flowBit
		before, after = "{k: ", "}\n"
	case asKey:
		m.Content = []*yaml.Node{&c, {Kind: yaml.ScalarNode, Value: "v"}}
		before, after = "", ": v\n"
	}
	b, err := encodeWith(m, layout{indent: 2}, keepStyles)
	if err != nil {
		return "", false
	}
	s, ok := strings.CutPrefix(string(b), before)
	if ok {
		s, ok = strings.CutSuffix(s, after)
	}
	if !ok || strings.Contains(s, "\n") || strings.HasPrefix(s, "? ") {
		return "", false
	}
	return s, true
}

// plainSafe says whether a value can be plain, by rules that any parser shares.
// Of what it refuses, some could; the library decides then.
func plainSafe(v string, w where) bool {
	if v == "" || !printable(v) || w == asKey && len(v) > 128 {
		return false
	}
	switch c := v[0]; {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '/', c == '_', c == '$', c == '(', c == '+', c == '~':
	case c == '.':
		if strings.HasPrefix(v, "...") {
			return false
		}
	default:
		return false
	}
	if last := v[len(v)-1]; last == ' ' || last == ':' {
		return false
	}
	if w == inFlow && strings.ContainsAny(v, ",?:[]{}#") {
		return false
	}
	return !strings.Contains(v, ": ") && !strings.Contains(v, " #")
}

// printable says whether v is ASCII without control characters.
func printable(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// literal is a text as a literal block scalar: the header, and lines indented
// by so many columns, without the break of the last. parent is the column of
// the collection around it, -1 for none.
func literal(v string, parent, indent int, nl string) (s string, ok bool) {
	body := strings.TrimRight(v, "\n")
	if strings.Trim(body, " \t\n") == "" || body[0] == '\n' || !utf8.ValidString(v) {
		return "", false
	}
	for _, r := range v {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			return "", false
		}
	}
	var b strings.Builder
	b.WriteByte('|')
	if body[0] == ' ' || body[0] == '\t' {
		by := indent - max(parent, 0)
		if by < 1 || by > 9 {
			return "", false
		}
		b.WriteByte(byte('0' + by))
	}
	switch len(v) - len(body) {
	case 0:
		b.WriteByte('-')
	case 1:
	default:
		b.WriteByte('+')
	}
	margin := strings.Repeat(" ", indent)
	for line := range strings.SplitSeq(body, "\n") {
		b.WriteString(nl)
		if line != "" {
			b.WriteString(margin)
			b.WriteString(line)
		}
	}
	for k := len(v) - len(body); k > 1; k-- {
		b.WriteString(nl)
	}
	return b.String(), true
}

// scalar turns a scalar or alias of the text into another, in place. parent is
// the column of the block collection around it, -1 for none.
func (s *splice) scalar(old, n *yaml.Node, w where, parent int) bool {
	if old.HeadComment != n.HeadComment || old.FootComment != n.FootComment {
		return false
	}
	same := alike(old, n, w == inFlow)
	if same && old.LineComment == n.LineComment {
		return true
	}
	if old.LineComment != n.LineComment && w == asKey || old.Kind != n.Kind || old.Anchor != n.Anchor {
		return false
	}
	start, end := s.span(old)
	if end == none {
		return false
	}
	if same && old.Kind == yaml.ScalarNode && old.Style&blocky != 0 {
		return s.headerComment(old, n, start)
	}
	if !same {
		explicit := false
		if n.Kind == yaml.ScalarNode {
			lo, ln := look(old), look(n)
			if lo.explicit != ln.explicit || ln.explicit && (lo.tag != ln.tag || lo.style != ln.style) {
				return false
			}
			explicit = ln.explicit
			if ln.style&blocky != 0 || lo.style&blocky != 0 {
				return !explicit && w == inBlock && s.blockScalar(old, n, start, end, parent)
			}
		}
		if explicit {
			s.verify = true
			c := *n
			c.Tag, c.Style = "", n.Style&^tagged
			n = &c
			if resolve(n.Value) != strTag {
				n.Style |= quoted // anything goes behind a tag
			}
		}
		value := "*" + n.Value
		if n.Kind == yaml.ScalarNode {
			var ok bool
			if s.json {
				value, ok = jsonScalar(n)
			} else {
				value, ok = scalarText(n, w)
			}
			if !ok {
				return false
			}
		} else {
			s.verify = true
		}
		switch {
		case start == end: // there was no value
			if w != inBlock || start == 0 || s.src[start-1] != ':' && s.src[start-1] != '-' {
				return false
			}
			value = " " + value
		case value == "":
			if w != inBlock {
				return false
			}
			for start > 0 && (s.src[start-1] == ' ' || s.src[start-1] == '\t') {
				start--
			}
			s.verify = true
		}
		s.edit(start, end, value)
	}
	if old.LineComment == n.LineComment {
		return true
	}
	if w == inFlow {
		s.verify = true
		if i := s.skipBlanks(end); i < len(s.src) && s.src[i] == ',' {
			end = i + 1
		}
	}
	return s.lineComment(end, old.LineComment, n.LineComment)
}

// lineComment changes the comment behind off on its line.
func (s *splice) lineComment(off int, old, comment string) bool {
	at, end := s.rest(off)
	if at == none || strings.TrimRight(string(s.src[at:end]), " \t") != strings.TrimRight(old, " \t") ||
		strings.ContainsAny(comment, "\n\r") {
		return false
	}
	if comment != "" && comment[0] != '#' {
		comment = "# " + comment
	}
	switch {
	case old == "":
		s.edit(off, off, " "+comment)
	case comment == "":
		s.edit(off, end, "")
	default:
		s.edit(at, end, comment)
	}
	return true
}

// headerComment changes the comment behind the header of a block scalar.
func (s *splice) headerComment(old, n *yaml.Node, start int) bool {
	end := start
	for end < len(s.src) && strings.IndexByte("|>+-0123456789", s.src[end]) >= 0 {
		end++
	}
	return end > start && s.lineComment(end, old.LineComment, n.LineComment)
}

// blockScalar changes a scalar where the old value, the new one or both are
// block scalars.
func (s *splice) blockScalar(old, n *yaml.Node, start, end, parent int) bool {
	indent := max(parent, 0) + s.layoutOf(nil).indent
	comment := ""
	switch {
	case old.Style&blocky != 0:
		if _, at := s.text.blockScalar(start, old.Value); at > 0 {
			indent = at
		}
		header := s.src[start:s.lineEnd(start)]
		if i := bytes.IndexByte(header, '#'); i >= 0 {
			comment = string(header[len(bytes.TrimRight(header[:i], " \t")):])
		}
		if strings.TrimSpace(comment) != strings.TrimSpace(old.LineComment) {
			return false
		}
	default:
		at, eol := s.rest(end)
		if at == none || s.lineStart(start) != s.lineStart(end) ||
			strings.TrimSpace(string(s.src[at:eol])) != strings.TrimSpace(old.LineComment) {
			return false
		}
		comment = string(s.src[end:eol])
		if old.LineComment == "" {
			comment = ""
		}
		end = eol
	}
	if old.LineComment != n.LineComment {
		if strings.ContainsAny(n.LineComment, "\n\r") || n.LineComment != "" && n.LineComment[0] != '#' {
			return false
		}
		comment = ""
		if n.LineComment != "" {
			comment = " " + n.LineComment
		}
	}
	s.verify = true
	l := look(n)
	var value string
	switch {
	case l.style == yaml.LiteralStyle:
		var ok bool
		if value, ok = literal(n.Value, parent, indent, s.nl); !ok {
			if value, ok = libraryScalar(n, inBlock); !ok {
				return false
			}
			value, comment = value+comment, ""
		}
	case l.style == yaml.FoldedStyle:
		return false
	default:
		var ok bool
		if value, ok = scalarText(n, inBlock); !ok {
			return false
		}
	}
	if comment != "" {
		if i := strings.Index(value, s.nl); i >= 0 {
			value = value[:i] + comment + value[i:]
		} else {
			value += comment
		}
	}
	if start > 0 && (s.src[start-1] == ':' || s.src[start-1] == '-') {
		value = " " + value
	}
	s.edit(start, end, value)
	return true
}
