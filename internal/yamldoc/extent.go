package yamldoc

import (
	"bytes"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// dash is where item i of a sequence starts: on the line of the item, or with
// nothing but comments between.
func (b *block) dash(i int) int {
	item := b.offset(b.old.Content[i])
	if item == none {
		return none
	}
	off := item
	for off > 0 && (b.src[off-1] == ' ' || b.src[off-1] == '\t') {
		off--
	}
	if off > 0 && b.src[off-1] == '-' {
		return off - 1
	}
	line := b.lineStart(item)
	if !isBlank(b.src[line:item]) {
		return none
	}
	for line > b.lines[0] {
		line = b.lineStart(line - 1)
		l := b.line(line)
		if isBlank(l) || isComment(l) {
			continue
		}
		dashes := len(l) - len(bytes.TrimLeft(l, " -"))
		last := bytes.LastIndexByte(l[:dashes], '-')
		if last < 0 {
			return none
		}
		if comment, _ := b.rest(line + last + 1); comment == none {
			return none
		}
		return line + last
	}
	return none
}

// dashColumn is where the dashes stand, judged by the first that is found.
func (b *block) dashColumn() int {
	for i := range b.old.Content {
		if off := b.dash(i); off != none {
			return off - b.lineStart(off)
		}
	}
	return none
}

// start is where element i starts: at its key or its dash, alone on the line or
// behind the dashes of sequences it begins.
func (b *block) start(i int) int {
	var off int
	if b.mapping {
		key := b.old.Content[2*i]
		if key.Column-1 != b.col || key.Kind != yaml.ScalarNode && key.Kind != yaml.AliasNode {
			return none
		}
		off = b.offset(key)
		if _, end := b.span(key); end == none {
			return none
		} else if end = b.skipBlanks(end); end >= len(b.src) || b.src[end] != ':' {
			return none
		}
	} else {
		off = b.dash(i)
	}
	if off == none || off-b.lineStart(off) != b.col {
		return none
	}
	for _, c := range b.src[b.lineStart(off):off] {
		if c != ' ' && (c != '-' || i > 0) {
			return none
		}
	}
	return off
}

// alone says whether nothing stands before off on its line.
func (b *block) alone(off int) bool { return isBlank(b.src[b.lineStart(off):off]) }

// head is where the comment above element i starts, the start of its line if
// it has none.
func (b *block) head(i int) int {
	off := b.start(i)
	if off == none {
		return none
	}
	if off = b.lineStart(off); b.commented(b.old, i).HeadComment == "" {
		return off
	}
	return b.above(off, b.commented(b.old, i).HeadComment)
}

// above is where a comment starts that ends above the line at off.
func (b *block) above(off int, comment string) int {
	lines := strings.Split(comment, "\n")
	for k := len(lines) - 1; k >= 0; {
		if strings.TrimSpace(lines[k]) == "" {
			k-- // how many blank lines, the node doesn't say
			continue
		}
		if off <= b.lines[0] {
			return none
		}
		off = b.lineStart(off - 1)
		line := strings.TrimSpace(string(b.line(off)))
		switch {
		case line == strings.TrimSpace(lines[k]):
			k--
		case line != "":
			return none
		}
	}
	return off
}

// tail is the start of the line after element i, with the comments that are
// indented deeper than it. clean says that these are none, and that no other
// comment follows before the next element, its head comment aside.
func (b *block) tail(i int) (off int, clean bool) {
	_, value := b.at(b.old, i)
	start := b.start(i)
	if start == none {
		return none, false
	}
	end := b.end(value)
	if end == none || end < start {
		return none, false
	}
	if _, eol := b.rest(end); eol < end {
		return none, false
	} else if comment, _ := b.rest(end); comment == none {
		return none, false
	}
	off = b.nextLine(end)
	limit := len(b.src)
	if i+1 < b.count(b.old) {
		if limit = b.head(i + 1); limit == none || limit < off {
			return none, false
		}
	}
	clean = true
	for at := off; at < limit; at = b.nextLine(at) {
		line := b.line(at)
		if isComment(line) {
			col := b.skipBlanks(at) - at
			clean = clean && col < b.col
			if col > b.col {
				off = b.nextLine(at)
			}
		} else if !isBlank(line) {
			break
		}
		if b.nextLine(at) == at {
			break
		}
	}
	return off, clean
}

// foot is where the comment below element i starts and ends.
func (b *block) foot(i int) (start, end int) {
	comment := b.commented(b.old, i).FootComment
	off, _ := b.tail(i)
	if off == none || comment == "" {
		return none, none
	}
	for off < len(b.src) && isBlank(b.line(off)) {
		off = b.nextLine(off)
	}
	start = off
	for _, want := range strings.Split(comment, "\n") {
		want = strings.TrimSpace(want)
		for want != "" && off < len(b.src) && isBlank(b.line(off)) {
			off = b.nextLine(off)
		}
		if want == "" {
			continue
		}
		if off >= len(b.src) || strings.TrimSpace(string(b.line(off))) != want {
			return none, none
		}
		off = b.nextLine(off)
	}
	return start, off
}
