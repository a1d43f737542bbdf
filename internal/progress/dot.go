package progress

import (
	"bytes"
	"fmt"
	"strings"
)

// dotText escapes for a quoted string of DOT that is a label: backslashes start
// escapes there, ampersands HTML entities.
var dotText = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `&`, `&amp;`)

// dot writes the graph for Graphviz. A cluster can't have edges, so each has a
// point inside that has them, cut off at the cluster's border.
func (d *drawing) dot(b *bytes.Buffer) {
	b.WriteString("digraph plan {\n  rankdir=LR;\n  compound=true;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	label := func(at int) string {
		lines := d.label(d.tree[at])
		for i := range lines {
			lines[i] = dotText.Replace(lines[i])
		}
		return strings.Join(lines, `\n`)
	}
	style := func(at int) string {
		n := d.nodes[d.tree[at].item]
		s := fmt.Sprintf("label=\"%s\", fillcolor=\"%s\"", label(at), fillOf(n.State))
		if n.Critical {
			s += ", color=\"#c00000\", penwidth=2"
		}
		return s
	}
	d.blocks(func(at int) {
		fmt.Fprintf(b, "%sn%d [%s];\n", indent(d.tree[at].depth), at, style(at))
	}, func(at int) {
		in := indent(d.tree[at].depth)
		fmt.Fprintf(b, "%ssubgraph cluster_%d {\n", in, at)
		fmt.Fprintf(b, "%s  graph [style=\"rounded,filled\", %s];\n", in, style(at))
		fmt.Fprintf(b, "%s  n%d [shape=point, style=invis];\n", in, at)
	}, func(depth int) {
		fmt.Fprintf(b, "%s}\n", indent(depth))
	})
	for _, l := range d.links() {
		var attrs []string
		if l.kind != "" && l.kind != "Blocking" {
			attrs = append(attrs, fmt.Sprintf("label=\"%s\", style=dashed", dotText.Replace(clean(l.kind, widestName))))
		}
		if l.critical {
			attrs = append(attrs, "color=\"#c00000\", penwidth=2")
		}
		if d.tree[l.from].size > 0 && !d.tree.contains(l.from, l.to) {
			attrs = append(attrs, fmt.Sprintf("ltail=cluster_%d", l.from))
		}
		if d.tree[l.to].size > 0 && !d.tree.contains(l.to, l.from) {
			attrs = append(attrs, fmt.Sprintf("lhead=cluster_%d", l.to))
		}
		fmt.Fprintf(b, "  n%d -> n%d", l.from, l.to)
		if len(attrs) > 0 {
			fmt.Fprintf(b, " [%s]", strings.Join(attrs, ", "))
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
}
