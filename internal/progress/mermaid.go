package progress

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// mermaid writes the graph as a Mermaid flowchart. Mermaid by default draws no
// more than 500 edges and 50,000 characters.
func (d *drawing) mermaid(b *bytes.Buffer) {
	b.WriteString("flowchart LR\n")
	label := func(at int) string {
		lines := d.label(d.tree[at])
		for i := range lines {
			lines[i] = mermaidText(lines[i])
		}
		return strings.Join(lines, "<br/>")
	}
	id := func(at int) string {
		if d.tree[at].size > 0 {
			return fmt.Sprintf("s%d", at)
		}
		return fmt.Sprintf("n%d", at)
	}
	d.blocks(func(at int) {
		fmt.Fprintf(b, "%s%s[\"%s\"]\n", indent(d.tree[at].depth), id(at), label(at))
	}, func(at int) {
		fmt.Fprintf(b, "%ssubgraph %s[\"%s\"]\n", indent(d.tree[at].depth), id(at), label(at))
	}, func(depth int) {
		fmt.Fprintf(b, "%send\n", indent(depth))
	})
	critical := []string{}
	for i, l := range d.links() {
		arrow := "-->"
		if l.kind != "" && l.kind != "Blocking" {
			arrow = fmt.Sprintf("-. \"%s\" .->", mermaidText(clean(l.kind, widestName)))
		}
		fmt.Fprintf(b, "  %s %s %s\n", id(l.from), arrow, id(l.to))
		if l.critical {
			critical = append(critical, fmt.Sprint(i))
		}
	}
	for _, f := range fills {
		if ids := d.ids(id, func(n Node) bool { return n.State == f.state }); ids != "" {
			fmt.Fprintf(b, "  classDef %s fill:%s,color:#000\n  class %s %s\n", f.state, f.color, ids, f.state)
		}
	}
	if ids := d.ids(id, func(n Node) bool { return n.Critical }); ids != "" {
		fmt.Fprintf(b, "  classDef critical stroke:#c00000,stroke-width:2px\n  class %s critical\n", ids)
	}
	if len(critical) > 0 {
		fmt.Fprintf(b, "  linkStyle %s stroke:#c00000,stroke-width:2px\n", strings.Join(critical, ","))
	}
}

// ids are the ids of the nodes that are chosen.
func (d *drawing) ids(id func(int) string, chosen func(Node) bool) string {
	var ids []string
	for at, n := range d.tree {
		if chosen(d.nodes[n.item]) {
			ids = append(ids, id(at))
		}
	}
	return strings.Join(ids, ",")
}

// mermaidText escapes for a quoted label. Labels may be HTML and Markdown, so
// signs that mean something in either are written as their numbers; a point, a
// hyphen or a parenthesis does only before a space or at the end, an underscore
// only at the edge of a word.
func mermaidText(s string) string {
	var b strings.Builder
	before := ' '
	for i, r := range s {
		after, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		edge := after == ' ' || after == utf8.RuneError
		switch {
		case r >= utf8.RuneSelf, letter(r), strings.ContainsRune(" /:,", r),
			strings.ContainsRune(".-)", r) && !edge,
			r == '(',
			r == '_' && letter(before) && letter(after):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
		before = r
	}
	return b.String()
}

func letter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
