package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Node is a task, or an order, of a graph that is to be drawn.
type Node struct {
	// Path is unique; those inside it start with it and a slash.
	Path string `json:"path"`
	// Type is that of the task, such as clone.
	Type string `json:"type"`
	// Target is the package's directory; may be empty.
	Target string `json:"target"`
	// State is what would become of it: run, clean, blocked, fail, skip, hold or
	// unknown. Reason says why; may be empty.
	State  string `json:"state"`
	Reason string `json:"reason"`
	// Needs are in the order to show them.
	Needs    []Edge `json:"needs"`
	Priority int    `json:"priority"`
	Class    string `json:"class"`
	// Critical says that it is on the critical path.
	Critical bool `json:"critical"`
}

// Edge is what a node needs.
type Edge struct {
	To   string `json:"to"`   // the path of the node that is needed
	Type string `json:"type"` // such as Blocking, Data or Conditional
}

// Note is something to say about what a graph was made of. What it isn't about is
// empty.
type Note struct {
	Severity string `json:"severity"`
	File     string `json:"file"`
	Kind     string `json:"kind"` // of the object
	Name     string `json:"name"`
	Field    string `json:"field"`
	Message  string `json:"message"`
}

// GraphFormats are what WriteGraph can draw.
var GraphFormats = []string{"text", "json", "dot", "mermaid"}

// WriteGraph draws a graph:
//
//   - text: a table, the tasks of a plan below it; columns with nothing in them
//     are left out;
//   - json: {"tasks":[…],"notes":[…]}, each a [Node] or [Note], in the order given;
//   - dot: for Graphviz, what holds others as a cluster;
//   - mermaid: a flowchart, what holds others as a subgraph.
//
// The same nodes in the same order give the same bytes. A need of a path that
// isn't there is in text and json only, and notes are in json only. Any other
// format is an error that names these.
func WriteGraph(w io.Writer, format string, nodes []Node, notes []Note) error {
	var b bytes.Buffer
	switch format {
	case "text":
		writeText(&b, nodes)
	case "json":
		if err := writeJSON(&b, nodes, notes); err != nil {
			return err
		}
	case "dot":
		newDrawing(nodes).dot(&b)
	case "mermaid":
		newDrawing(nodes).mermaid(&b)
	default:
		return fmt.Errorf("unknown format %q: write %s", format, strings.Join(GraphFormats, ", "))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeJSON(b *bytes.Buffer, nodes []Node, notes []Note) error {
	if notes == nil {
		notes = []Note{}
	}
	all := make([]Node, len(nodes)) // null is no list
	for i, n := range nodes {
		if n.Needs == nil {
			n.Needs = []Edge{}
		}
		all[i] = n
	}
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(struct {
		Tasks []Node `json:"tasks"`
		Notes []Note `json:"notes"`
	}{all, notes}); err != nil {
		return err
	}
	b.Write(appendSeen(nil, doc.String()))
	return nil
}

// table is rows of cells; the first row are the titles.
type table [][]string

// writeText writes a table of the nodes, and how many there are of each state.
func writeText(b *bytes.Buffer, nodes []Node) {
	paths := pathsOf(nodes)
	rows := table{{"TASK", "STATE", "TYPE", "TARGET", "PRIORITY", "CLASS", "NEEDS", "REASON"}}
	states := []string{}
	counts := map[string]int{}
	critical := false
	for _, t := range newTree(paths) {
		n := nodes[t.item]
		task := strings.Repeat("  ", t.depth) + clean(t.name, widestName)
		if n.Critical {
			task += " *"
			critical = true
		}
		priority := ""
		if n.Priority != 0 {
			priority = fmt.Sprint(n.Priority)
		}
		class := n.Class
		if class == n.Type { // the default
			class = ""
		}
		rows = append(rows, []string{task, clean(n.State, widestName), clean(n.Type, widestName), clean(n.Target, widestName),
			priority, clean(class, widestName), clean(needsOf(n), widestName), clean(n.Reason, widestPath)})
		if counts[n.State]++; counts[n.State] == 1 {
			states = append(states, n.State)
		}
	}
	if len(nodes) > 0 {
		rows.write(b)
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "%d tasks", len(nodes))
	for i, s := range states {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(b, "%s%d %s", sep, counts[s], clean(s, widestName))
	}
	b.WriteByte('\n')
	if critical {
		b.WriteString("* on the critical path\n")
	}
}

// needsOf is what a node needs in words; what is beside it goes by its name.
func needsOf(n Node) string {
	beside := n.Path[:strings.LastIndexByte(n.Path, '/')+1]
	var names []string
	for _, e := range n.Needs {
		name := e.To
		if rest, ok := strings.CutPrefix(e.To, beside); ok && !strings.Contains(rest, "/") {
			name = rest
		}
		if e.Type != "" && e.Type != "Blocking" {
			name += " (" + e.Type + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// write writes the columns that have something in them, aligned.
func (t table) write(b *bytes.Buffer) {
	widths := make([]int, len(t[0]))
	for _, row := range t[1:] {
		for i, cell := range row {
			widths[i] = max(widths[i], widthOf(cell))
		}
	}
	last := 0
	for i, w := range widths {
		if w > 0 {
			widths[i] = max(w, len(t[0][i]))
			last = i
		}
	}
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row[:last+1] {
			if widths[i] > 0 {
				line.WriteString(pad(cell, widths[i]+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

func pathsOf(nodes []Node) []string {
	paths := make([]string, len(nodes))
	for i, n := range nodes {
		paths[i] = n.Path
	}
	return paths
}

// drawing is a graph for those who make a picture of it. Nodes go by numbers, so
// that names are in labels only.
type drawing struct {
	nodes  []Node
	tree   tree
	places map[string]int // in the tree, by path
}

func newDrawing(nodes []Node) *drawing {
	d := &drawing{nodes: nodes, tree: newTree(pathsOf(nodes)), places: make(map[string]int, len(nodes))}
	for at, n := range d.tree {
		path := nodes[n.item].Path
		if _, twice := d.places[path]; !twice {
			d.places[path] = at
		}
	}
	return d
}

// label is what a picture says of a node, in lines.
func (d *drawing) label(n treeNode) []string {
	node := d.nodes[n.item]
	lines := []string{clean(n.name, widestName)}
	what := clean(node.Type, widestName)
	if node.Target != "" {
		what = strings.TrimSpace(what + " " + clean(node.Target, widestName))
	}
	if what != "" {
		lines = append(lines, what)
	}
	state := clean(node.State, widestName)
	if node.Reason != "" {
		state += ": " + clean(node.Reason, 2*widestName)
	}
	if state != "" {
		lines = append(lines, state)
	}
	return lines
}

// fills are the colours of states in pictures, for black letters.
var fills = []struct{ state, color string }{
	{"run", "#cfe8ff"},
	{"clean", "#d8f0d8"},
	{"blocked", "#ffd6d6"},
	{"fail", "#ffb3b3"},
	{"skip", "#eeeeee"},
	{"hold", "#fff2c2"},
	{"unknown", "#ffffff"},
}

func fillOf(state string) string {
	for _, f := range fills {
		if f.state == state {
			return f.color
		}
	}
	return "#ffffff"
}

// link is an edge of a picture, from what is needed to what needs it.
type link struct {
	from, to int // places in the tree
	kind     string
	critical bool
}

func (d *drawing) links() []link {
	var all []link
	for at, n := range d.tree {
		for _, e := range d.nodes[n.item].Needs {
			if from, ok := d.places[e.To]; ok {
				all = append(all, link{from, at, e.Type, d.nodes[n.item].Critical && d.nodes[d.tree[from].item].Critical})
			}
		}
	}
	return all
}

// blocks calls node for each node that holds none, and open and end around those
// inside one that does.
func (d *drawing) blocks(node, open func(at int), end func(depth int)) {
	var ends []int
	for at := range d.tree {
		for len(ends) > 0 && ends[len(ends)-1] < at {
			ends = ends[:len(ends)-1]
			end(len(ends))
		}
		if d.tree[at].size == 0 {
			node(at)
			continue
		}
		open(at)
		ends = append(ends, at+d.tree[at].size)
	}
	for len(ends) > 0 {
		ends = ends[:len(ends)-1]
		end(len(ends))
	}
}

// contains says whether the node inside is in the one at.
func (t tree) contains(at, inside int) bool { return at < inside && inside <= at+t[at].size }

// indent is what a line starts with inside so many others.
func indent(depth int) string { return strings.Repeat("  ", depth+1) }
