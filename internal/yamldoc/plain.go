package yamldoc

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// parsePlain reads a document that is as plain as most resources are: ASCII, in
// block style, its keys single words, its scalars on one line each or literal,
// its comments behind scalars. It makes the nodes that the YAML library makes,
// in a tenth of the time. Of any other text, be it YAML or not, it returns nil:
// it never guesses.
func parsePlain(text []byte) *yaml.Node {
	lines := 0
	for _, c := range text {
		switch {
		case c == '\n':
			lines++
		case c < ' ' || c > '~':
			return nil
		}
	}
	if lines == 0 || text[len(text)-1] != '\n' {
		return nil
	}
	p := plainParser{src: string(text), lines: lines, eol: -1}
	var doc *yaml.Node
	if strings.HasPrefix(p.src, "---\n") {
		p.line, p.eol = 1, 3
		doc = p.node(yaml.DocumentNode, "")
	}
	if !p.next() || p.column < 0 {
		return nil
	}
	if doc == nil {
		doc = p.node(yaml.DocumentNode, "")
	}
	root := p.collection()
	if root == nil || p.column >= 0 {
		return nil
	}
	doc.Content = []*yaml.Node{root}
	work.parsed.Add(1)
	return doc
}

// plainDepth is how deep collections may nest in a plain document.
const plainDepth = 100

// plainParser reads line by line. Its methods return nil or false where the text
// isn't plain.
type plainParser struct {
	src   string
	lines int // in src

	line   int // the current one, from 1
	pos    int // in src: where the rest of the line begins, behind indentation and dashes
	eol    int // in src: the break of the line
	column int // of pos, from 0; -1 at the end of the text
	depth  int

	nodes []yaml.Node  // to hand out
	stack []*yaml.Node // the entries of the collections that are being read
}

// next goes to the next line that isn't empty.
func (p *plainParser) next() bool {
	for start := p.eol + 1; start < len(p.src); start++ {
		p.line++
		p.eol = start + strings.IndexByte(p.src[start:], '\n')
		if p.eol == start {
			continue
		}
		p.pos = start
		for p.src[p.pos] == ' ' {
			p.pos++
		}
		p.column = p.pos - start
		return p.src[p.eol-1] != ' '
	}
	p.column = -1
	return true
}

// node is a node that begins at the current place.
func (p *plainParser) node(kind yaml.Kind, tag string) *yaml.Node {
	if len(p.nodes) == 0 {
		p.nodes = make([]yaml.Node, min(2*(p.lines-p.line)+4, 32)) // most lines have two
	}
	n := &p.nodes[0]
	p.nodes = p.nodes[1:]
	n.Kind, n.Tag, n.Line, n.Column = kind, tag, p.line, p.column+1
	return n
}

// collection reads the collection that begins at the current place.
func (p *plainParser) collection() *yaml.Node {
	if p.depth++; p.depth > plainDepth {
		return nil
	}
	column, base := p.column, len(p.stack)
	var n *yaml.Node
	var ok bool
	if p.src[p.pos] == '-' {
		n = p.node(yaml.SequenceNode, "!!seq")
		ok = p.items(column)
	} else {
		n = p.node(yaml.MappingNode, "!!map")
		ok = p.pairs(column)
	}
	if !ok || p.column > column {
		return nil
	}
	n.Content = append(n.Content, p.stack[base:]...)
	p.stack = p.stack[:base]
	p.depth--
	return n
}

// pairs reads the entries of a mapping whose keys are in a column.
func (p *plainParser) pairs(column int) bool {
	for p.column == column {
		k := p.key()
		if k == 0 {
			return false
		}
		key := p.node(yaml.ScalarNode, "")
		key.Value = p.src[p.pos : p.pos+k]
		key.Tag = resolve(key.Value)
		var value *yaml.Node
		if p.skip(k + 1); p.pos < p.eol {
			value = p.scalar(column)
		} else if p.next() && (p.column > column || p.column == column && p.src[p.pos] == '-') {
			value = p.collection()
		}
		if value == nil {
			return false
		}
		p.stack = append(p.stack, key, value)
	}
	return true
}

// items reads the items of a sequence whose dashes are in a column.
func (p *plainParser) items(column int) bool {
	for p.column == column && p.src[p.pos] == '-' {
		if p.src[p.pos+1] != ' ' {
			return false
		}
		p.skip(1)
		var item *yaml.Node
		if p.key() > 0 {
			item = p.collection()
		} else {
			item = p.scalar(column)
		}
		if item == nil {
			return false
		}
		p.stack = append(p.stack, item)
	}
	return true
}

// skip goes on by n characters and the spaces that follow.
func (p *plainParser) skip(n int) {
	for start := p.pos; p.pos < start+n || p.src[p.pos] == ' '; p.pos++ {
		p.column++
	}
}

// key is the length of the key at the current place, 0 when there is none.
func (p *plainParser) key() int {
	for i := p.pos; i < p.eol && i-p.pos < 256; i++ {
		switch c := p.src[i]; {
		case isWord(c):
		case c == ':' && (p.src[i+1] == ' ' || p.src[i+1] == '\n'):
			return i - p.pos
		case i == p.pos || c != '.' && c != '/' && c != '-':
			return 0
		}
	}
	return 0
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// scalar reads the scalar, or empty collection, that the rest of the line is,
// and its comment. parent is the column of the collection it is in.
func (p *plainParser) scalar(parent int) *yaml.Node {
	n := p.node(yaml.ScalarNode, strTag)
	s := p.src[p.pos:p.eol]
	end := 0 // of the value
	switch c := s[0]; {
	case s == "|" || s == "|-":
		n.Style = yaml.LiteralStyle
		if !p.literal(n, parent) || !p.next() {
			return nil
		}
		return n
	case c == '"' || c == '\'':
		n.Style = yaml.DoubleQuotedStyle
		if c == '\'' {
			n.Style = yaml.SingleQuotedStyle
		}
		end = strings.IndexByte(s[1:], c) + 2
		if end == 1 || c == '"' && strings.IndexByte(s[:end], '\\') >= 0 {
			return nil
		}
		n.Value = s[1 : end-1]
	case strings.HasPrefix(s, "{}"):
		n.Kind, n.Tag, n.Style = yaml.MappingNode, "!!map", yaml.FlowStyle
		end = 2
	case strings.HasPrefix(s, "[]"):
		n.Kind, n.Tag, n.Style = yaml.SequenceNode, "!!seq", yaml.FlowStyle
		end = 2
	case isWord(c), c == '/', c == '.', c == '-' && len(s) > 1 && s[1] != ' ':
		for end < len(s) && (s[end] != '#' || s[end-1] != ' ') {
			if s[end] == ':' && (end+1 == len(s) || s[end+1] == ' ') {
				return nil
			}
			end++
		}
		n.Value = strings.TrimRight(s[:end], " ")
		n.Tag = resolve(n.Value)
		end = len(n.Value)
	default:
		return nil
	}
	if comment := s[end:]; comment != "" {
		n.LineComment = strings.TrimLeft(comment, " ")
		if comment[0] != ' ' || n.LineComment[0] != '#' {
			return nil
		}
	}
	if !p.next() {
		return nil
	}
	return n
}

// literal reads the lines of a literal scalar, whose header is the rest of the
// line. They are deeper than the collection it is in, whose column is parent.
func (p *plainParser) literal(n *yaml.Node, parent int) bool {
	strip := p.src[p.eol-1] == '-'
	var b strings.Builder
	indent := 0 // of the first line, which settles it
	for start := p.eol + 1; start < len(p.src); start = p.eol + 1 {
		line := p.src[start : start+strings.IndexByte(p.src[start:], '\n')]
		text := strings.TrimLeft(line, " ")
		depth := len(line) - len(text)
		if indent == 0 {
			indent = depth
			if depth <= parent || text == "" {
				return false
			}
		}
		if line != "" {
			if text == "" {
				return false
			}
			if depth < indent {
				break
			}
			b.WriteString(line[indent:])
		}
		b.WriteByte('\n')
		p.line++
		p.eol += len(line) + 1
	}
	if indent == 0 {
		return false
	}
	n.Value = strings.TrimRight(b.String(), "\n")
	if !strip {
		n.Value = b.String()[:len(n.Value)+1]
	}
	return true
}

// isText says of most plain scalars that are strings that they are, by what they
// begin with: names, paths, and digests, which have letters that no number has.
func isText(s string) bool {
	if s == "" {
		return false
	}
	switch c := s[0]; {
	case strings.IndexByte("yYnNtTfFoO", c) >= 0:
		return len(s) > len("false")
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '/':
		return true
	case '1' <= c && c <= '9':
		other := false
		for i := range len(s) {
			c := s[i]
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
			other = other || c >= 'a' && c != 'e'
		}
		return other
	}
	return false
}
