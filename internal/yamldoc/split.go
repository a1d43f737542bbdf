package yamldoc

import "bytes"

var bom = []byte("\xef\xbb\xbf")

// split cuts src where one document ends and the next begins: before a
// separator line, and after a document end line when something follows. What
// stands before the first separator is a piece of its own only if it says
// something: directives, blank lines and a byte order mark stay with the
// document they introduce.
func split(src []byte) [][]byte {
	var out [][]byte
	start := 0      // of the piece being read
	ended := -1     // after the last document end line, -1 when the document goes on
	opened := false // the piece has its separator or content already
	remark := false // the piece has comments
	directive := false

	cut := func(at int) {
		if at > start {
			out = append(out, src[start:at:at])
			start = at
		}
		ended, opened, remark, directive = -1, false, false, false
	}
	for i := 0; i < len(src); {
		next := len(src)
		if n := bytes.IndexByte(src[i:], '\n'); n >= 0 {
			next = i + n + 1
		}
		line := src[i:next]
		if i == 0 {
			line = bytes.TrimPrefix(line, bom)
		}
		switch {
		case isMarker(line, "---"):
			switch {
			case ended >= 0:
				cut(ended)
			case opened, remark && !directive:
				cut(i)
			}
			opened = true
		case isMarker(line, "..."):
			opened, ended = true, next
		case isBlank(line):
		case isComment(line):
			remark = true
		default:
			if ended >= 0 {
				cut(ended)
			}
			if line[0] == '%' && !opened {
				directive = true
			} else {
				opened = true
			}
		}
		i = next
	}
	return append(out, src[start:])
}

// Join writes documents one after another as the content of a file, with a
// separator line before a document that needs one and has none. The documents
// of an unchanged [Split], in order, come out as the bytes they were.
func Join(docs []*Doc) ([]byte, error) {
	size := 0
	for _, d := range docs {
		t, err := d.Bytes()
		if err != nil {
			return nil, err
		}
		size += len(t) + len("\n...\n---\n")
	}
	b := make([]byte, 0, size)
	content := false // b has more than comments
	ended := false   // b ends with a document end line
	for _, d := range docs {
		t, _ := d.Bytes()
		if len(b) > 0 && d.read != nil && d.read.first {
			t = bytes.TrimPrefix(t, bom)
		}
		f := survey(t)
		if len(b) > 0 && len(t) > 0 {
			nl := lineBreak(b)
			if b[len(b)-1] != '\n' {
				b = append(b, nl...)
			}
			switch {
			case f.separated && f.directives && content && !ended:
				b = append(append(b, "..."...), nl...)
			case !f.separated && f.content && !ended:
				b = append(append(b, "---"...), nl...)
			}
		}
		b = append(b, t...)
		if f.separated || f.content || f.ended {
			content, ended = true, f.ended
		}
	}
	return b, nil
}

// features of a document's text, as far as lines show them.
type features struct {
	separated  bool // it begins with a separator or with directives
	directives bool
	content    bool // it has a line that isn't blank, comment or marker
	ended      bool // its last line, comments aside, is a document end line
}

func survey(t []byte) features {
	var f features
	t = bytes.TrimPrefix(t, bom)
	for len(t) > 0 {
		line := t
		if n := bytes.IndexByte(t, '\n'); n >= 0 {
			line = t[:n+1]
		}
		t = t[len(line):]
		switch {
		case isBlank(line), isComment(line):
		case isMarker(line, "---"):
			f.separated = f.separated || !f.content
			f.ended = false
			f.content = f.content || !isBlank(line[3:])
		case isMarker(line, "..."):
			f.ended = true
		case line[0] == '%' && !f.content && !f.separated:
			f.separated, f.directives = true, true
		default:
			f.content, f.ended = true, false
		}
	}
	return f
}

// isMarker says whether line is the document marker m, alone or with something
// after it.
func isMarker(line []byte, m string) bool {
	if len(line) < 3 || string(line[:3]) != m {
		return false
	}
	return len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r' || line[3] == '\n'
}

func isBlank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

func isComment(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return c == '#'
		}
	}
	return false
}

// lineBreak is how the lines of b end, judged by the first.
func lineBreak(b []byte) string {
	if n := bytes.IndexByte(b, '\n'); n > 0 && b[n-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
