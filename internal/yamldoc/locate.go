package yamldoc

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// text is a document as it was read, with the means to find its nodes in it.
// The nodes know where they start; where they end is read off the text. Every
// such reading checks that the text is what the node says; none means "don't
// know", and the caller does without.
type text struct {
	src   []byte
	lines []int // where each line starts
	ascii bool
	// blocks says that there may be block scalars.
	blocks bool

	// Where every 256th rune of a line starts, as far as it was asked for, so
	// that the nodes of one long line are found in one pass.
	marks     []int
	marksLine int
}

// none is the offset of what wasn't found.
const none = -1

func newText(src []byte) *text {
	t := &text{src: src, ascii: true, marksLine: none}
	t.lines = make([]int, 1, 1+bytes.Count(src, []byte{'\n'}))
	if bytes.HasPrefix(src, bom) {
		t.lines[0] = len(bom)
	}
	for i := 0; ; {
		n := bytes.IndexByte(src[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
		t.lines = append(t.lines, i)
	}
	for _, c := range src {
		if c >= utf8.RuneSelf {
			t.ascii = false
		}
		t.blocks = t.blocks || c == '|' || c == '>'
	}
	return t
}

// exotic says whether the text has line breaks that YAML knows and the reading
// of lines here doesn't: a lone CR, NEL, LS, PS, or is UTF-16.
func (t *text) exotic() bool {
	src := t.src
	for i := 0; ; {
		n := bytes.IndexByte(src[i:], '\r')
		if n < 0 {
			break
		}
		i += n + 1
		if i == len(src) || src[i] != '\n' {
			return true
		}
	}
	return !t.ascii && (bytes.Contains(src, []byte("\u0085")) || bytes.Contains(src, []byte("\u2028")) ||
		bytes.Contains(src, []byte("\u2029")) || !utf8.Valid(src) || bytes.Contains(src[1:], bom))
}

// offset is where n starts: at its anchor or tag if it has one. Columns count
// runes.
func (t *text) offset(n *yaml.Node) int {
	line, col := n.Line-1, n.Column-1
	if line < 0 || line >= len(t.lines) || col < 0 {
		return none
	}
	off := t.lines[line]
	if t.ascii {
		off += col
	} else {
		const stride = 256
		if line != t.marksLine {
			t.marks, t.marksLine = append(t.marks[:0], off), line
		}
		k := min(col/stride, len(t.marks)-1)
		off = t.marks[k]
		for k *= stride; k < col && off < len(t.src); {
			_, size := utf8.DecodeRune(t.src[off:])
			off += size
			if k++; k == len(t.marks)*stride {
				t.marks = append(t.marks, off)
			}
		}
		if off == len(t.src) && k < col {
			return none
		}
	}
	if off > len(t.src) {
		return none
	}
	return off
}

// lineStart is the start of the line off is in.
func (t *text) lineStart(off int) int {
	i := bytes.LastIndexByte(t.src[:off], '\n') + 1
	if i == 0 {
		return t.lines[0]
	}
	return i
}

// lineEnd is the end of the line off is in, its break not included.
func (t *text) lineEnd(off int) int {
	n := bytes.IndexByte(t.src[off:], '\n')
	if n < 0 {
		return len(t.src)
	}
	if end := off + n; end > off && t.src[end-1] == '\r' {
		return end - 1
	}
	return off + n
}

// nextLine is the start of the line after the one off is in.
func (t *text) nextLine(off int) int {
	n := bytes.IndexByte(t.src[off:], '\n')
	if n < 0 {
		return len(t.src)
	}
	return off + n + 1
}

// line is the line that starts at off, its break not included.
func (t *text) line(off int) []byte { return t.src[off:t.lineEnd(off)] }

// rest is what follows off on its line: where a comment starts, which is where
// the line ends if there is none; none if anything else is there.
func (t *text) rest(off int) (comment, end int) {
	end = t.lineEnd(off)
	i := t.skipBlanks(off)
	switch {
	case i >= end:
		return end, end
	case t.src[i] == '#' && (i > off || t.lines[0] == i || t.src[i-1] == '\n'):
		return i, end
	}
	return none, end
}

func (t *text) skipBlanks(off int) int {
	for off < len(t.src) && (t.src[off] == ' ' || t.src[off] == '\t') {
		off++
	}
	return off
}

// skipSpace skips blanks, line breaks and comments.
func (t *text) skipSpace(off int) int {
	for off < len(t.src) {
		switch t.src[off] {
		case ' ', '\t', '\r', '\n':
			off++
		case '#':
			off = t.lineEnd(off)
		default:
			return off
		}
	}
	return off
}

// skipProperties is where n itself starts, behind its anchor and tag.
func (t *text) skipProperties(n *yaml.Node) int {
	off := t.offset(n)
	if off == none || n.Anchor == "" && n.Style&tagged == 0 {
		return off
	}
	for off < len(t.src) && (t.src[off] == '&' || t.src[off] == '!') {
		end := off
		for end < len(t.src) && !strings.ContainsRune(" \t\r\n,[]{}", rune(t.src[end])) {
			end++
		}
		next := t.skipBlanks(end)
		if next >= len(t.src) || t.src[next] != '&' && t.src[next] != '!' {
			if n.Kind == yaml.ScalarNode && n.Value == "" && n.Style&(quoted|blocky) == 0 {
				return end
			}
			return t.skipSpace(end)
		}
		off = next
	}
	return off
}

// span is where a scalar or alias starts, behind its properties, and ends.
func (t *text) span(n *yaml.Node) (start, end int) {
	start = t.skipProperties(n)
	if start == none {
		return none, none
	}
	src := t.src[start:]
	switch {
	case n.Kind == yaml.AliasNode:
		if len(src) > len(n.Value) && src[0] == '*' && string(src[1:1+len(n.Value)]) == n.Value {
			return start, start + 1 + len(n.Value)
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		return start, t.quoteEnd(start, '\'', n.Value)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return start, t.quoteEnd(start, '"', n.Value)
	case n.Style&blocky != 0:
		end, _ = t.blockScalar(start, n.Value)
		return start, end
	default:
		return start, t.plainEnd(start, n.Value)
	}
	return start, none
}

// quoteEnd is the end of a quoted scalar.
func (t *text) quoteEnd(start int, quote byte, value string) int {
	if start >= len(t.src) || t.src[start] != quote {
		return none
	}
	i, verbatim := start+1, true
	for ; i < len(t.src); i++ {
		switch c := t.src[i]; {
		case c == '\\' && quote == '"':
			i++
			verbatim = false
		case c == '\n':
			verbatim = false
		case c != quote:
		case quote == '\'' && i+1 < len(t.src) && t.src[i+1] == quote:
			i++
			verbatim = false
		default:
			if verbatim && string(t.src[start+1:i]) != value {
				return none
			}
			return i + 1
		}
	}
	return none
}

// plainEnd is the end of a plain scalar, which may be folded over lines.
func (t *text) plainEnd(start int, value string) int {
	if start+len(value) <= len(t.src) && string(t.src[start:start+len(value)]) == value && !strings.Contains(value, "\n") {
		return start + len(value)
	}
	j := start
	for i := 0; i < len(value); {
		if j >= len(t.src) {
			return none
		}
		if c := value[i]; c == ' ' || c == '\n' {
			if k := t.skipBlanks(j); k < len(t.src) && (t.src[k] == '\n' || t.src[k] == '\r') {
				breaks := 0
				for ; k < len(t.src); k++ {
					if b := t.src[k]; b == '\n' {
						breaks++
					} else if b != ' ' && b != '\t' && b != '\r' {
						break
					}
				}
				want := " "
				if breaks > 1 {
					want = strings.Repeat("\n", breaks-1)
				}
				if !strings.HasPrefix(value[i:], want) {
					return none
				}
				i, j = i+len(want), k
				continue
			}
		}
		if t.src[j] != value[i] {
			return none
		}
		i, j = i+1, j+1
	}
	return j
}

// blockScalar is the end of a literal or folded scalar that starts at its
// header, the break of its last line not included, and the column of its
// content, zero when it has none. Blank lines after it belong to it only if
// the header says to keep them.
func (t *text) blockScalar(start int, value string) (end, indent int) {
	if start >= len(t.src) || t.src[start] != '|' && t.src[start] != '>' {
		return none, 0
	}
	end = t.lineEnd(start)
	header, _, _ := bytes.Cut(t.src[start:end], []byte{'#'})
	keep := bytes.IndexByte(header, '+') > 0
	lead := len(value)
	for rest := value; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		if body := strings.TrimLeft(line, " "); body != "" {
			lead = len(line) - len(body)
			break
		}
		rest = after
	}
	blank := end
	for off := t.nextLine(start); off < len(t.src); off = t.nextLine(off) {
		line := t.line(off)
		spaces := 0
		for spaces < len(line) && line[spaces] == ' ' {
			spaces++
		}
		if spaces == len(line) && (indent == 0 || spaces <= indent) {
			blank = off + len(line)
			continue
		}
		if indent == 0 {
			if lead == len(value) {
				break // nothing but blank lines
			}
			if indent = spaces - lead; indent <= 0 {
				return none, 0
			}
		}
		if spaces < indent {
			break
		}
		end = off + len(line)
		blank = end
	}
	if keep {
		end = blank
	}
	return end, indent
}

// end is where n ends, the properties, brackets and contents included.
func (t *text) end(n *yaml.Node) int {
	switch n.Kind {
	case yaml.ScalarNode, yaml.AliasNode:
		_, end := t.span(n)
		return end
	case yaml.MappingNode, yaml.SequenceNode:
	default:
		return none
	}
	end := none
	if len(n.Content) > 0 {
		if end = t.end(n.Content[len(n.Content)-1]); end == none {
			return none
		}
	}
	if n.Style&flowBit == 0 {
		return end
	}
	start := t.skipProperties(n)
	if start == none || start >= len(t.src) {
		return none
	}
	closing := byte('}')
	switch t.src[start] {
	case '{':
	case '[':
		closing = ']'
	default:
		return end // a: b, as an item of a flow sequence
	}
	if end = max(end, start+1); end >= len(t.src) {
		return none
	}
	for {
		end = t.skipSpace(end)
		if end >= len(t.src) {
			return none
		}
		switch t.src[end] {
		case ',':
			end++
		case closing:
			return end + 1
		default:
			return none
		}
	}
}
