package fn

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// List is a ResourceList on its way through this process as a KRM function:
// what a host wrote to standard input and what it gets back. Items that nobody
// changed come out with the bytes they went in with.
type List struct {
	// APIVersion and Kind are those of the list, written back as they came.
	// Both are empty for a plain stream of YAML documents.
	APIVersion, Kind string
	// Items are the resources. Take out, add and reorder as you like.
	Items []*Item
	// Config is the functionConfig, nil when there is none.
	Config *yamldoc.Doc
	// Results are those the list came with, then those added. Write leaves out
	// repetitions.
	Results []Result

	segments []segment // the list's top level as it was read
	resultsN int       // how many of Results it came with
}

// Item is one resource of a List.
type Item struct {
	// Doc is the resource, with the annotations hosts add.
	Doc *yamldoc.Doc

	origin any    // of the Doc the item was read as
	raw    []byte // the item's lines in the list as read, dash included
	lead   []byte // comment lines before the dash
}

// segment is one key of the list's top level with its lines.
type segment struct {
	key  string // "" for what comes before the first key
	text []byte
}

// listKinds are the kinds whose items are a list; kyaml's reader unwraps the
// same two.
var listKinds = []string{"ResourceList", "List"}

// ReadList reads a ResourceList (config.kubernetes.io v1, v1beta1, v1alpha1), a
// v1 List, or a plain stream of YAML documents. Unknown fields at the top of
// the list are kept. Errors name the line or the item.
func ReadList(r io.Reader) (*List, error) {
	src, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the resource list: %w", err)
	}
	docs := yamldoc.Split(src)
	var full []*yamldoc.Doc // those with content
	if len(docs) == 1 {
		if l, ok := readSegments(src); ok {
			return l, l.check()
		}
	}
	for i, d := range docs {
		root, err := d.Root()
		if err != nil {
			return nil, fmt.Errorf("reading the resource list: document %d: %w", i, err)
		}
		if root != nil {
			full = append(full, d)
		}
	}
	if len(full) == 1 {
		if l, ok, err := readNodes(full[0]); ok || err != nil {
			if err != nil {
				return nil, err
			}
			return l, l.check()
		}
	}
	l := &List{}
	for _, d := range full {
		l.Items = append(l.Items, newItem(d))
	}
	return l, l.check()
}

func newItem(d *yamldoc.Doc) *Item { return &Item{Doc: d, origin: d.Origin()} }

// NewItem is an item that a list didn't come with.
func NewItem(d *yamldoc.Doc) *Item { return &Item{Doc: d} }

// check refuses lists whose items are no objects and versions nobody knows.
func (l *List) check() error {
	if l.Kind == "ResourceList" {
		switch l.APIVersion {
		case "config.kubernetes.io/v1", "config.kubernetes.io/v1beta1", "config.kubernetes.io/v1alpha1":
		default:
			return fmt.Errorf("reading the resource list: apiVersion %q: want config.kubernetes.io/v1, v1beta1 or v1alpha1", l.APIVersion)
		}
	}
	for i, it := range l.Items {
		root, err := it.Doc.Root()
		if err != nil {
			return fmt.Errorf("reading the resource list: item %d: %w", i, err)
		}
		if root == nil || root.Kind != yaml.MappingNode {
			return fmt.Errorf("reading the resource list: item %d is not an object", i)
		}
	}
	return nil
}

// readSegments reads a list in block style by cutting its text: cheap, in
// parallel, and every item keeps its bytes. ok is false for anything it isn't
// sure of; then the list is read as one document.
//
// That cutting by lines is right follows from every piece being parsed: a line
// that looks like a key or an item but isn't one can only stand inside a quoted
// scalar, a flow collection or behind an anchor, and then the piece before it
// (an unclosed quote or bracket) or after it (an unknown alias) doesn't parse.
func readSegments(src []byte) (*List, bool) {
	l := &List{}
	start := 0 // of the last segment
	end := 0
	for _, line := range lines(src) {
		key, isKey := topKey(line)
		if isKey && hasKey(l.segments, key) {
			return nil, false
		}
		if isKey || len(l.segments) == 0 {
			l.segments = append(l.segments, segment{key: key})
			start = end
		}
		end += len(line)
		l.segments[len(l.segments)-1].text = src[start:end:end]
	}
	isList := false
	for i, s := range l.segments {
		switch s.key {
		case "":
			if i == 0 && onlyCommentsOrMarker(s.text) {
				continue
			}
			return nil, false
		case "items":
			items, ok := cutItems(s.text)
			if !ok {
				return nil, false
			}
			l.Items = items
			isList = true
			continue
		}
		doc := yamldoc.Split(s.text)
		if len(doc) != 1 {
			return nil, false
		}
		root, err := doc[0].Root()
		if err != nil || root == nil || root.Kind != yaml.MappingNode || len(root.Content) != 2 {
			return nil, false
		}
		if !l.set(s.key, root.Content[1]) {
			return nil, false
		}
		isList = isList || s.key == "functionConfig"
	}
	if !isList || !slices.Contains(listKinds, l.Kind) {
		return nil, false
	}
	l.resultsN = len(l.Results)
	return l, parseAll(l.Items)
}

// parseAll parses items on all processors and says whether all are YAML.
func parseAll(items []*Item) bool {
	var g errgroup.Group
	const chunk = 64
	for c := range slices.Chunk(items, chunk) {
		g.Go(func() error {
			for _, it := range c {
				if _, err := it.Doc.Root(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait() == nil
}

// set takes one field of the list's top level.
func (l *List) set(key string, v *yaml.Node) bool {
	switch key {
	case "apiVersion":
		l.APIVersion = v.Value
	case "kind":
		l.Kind = v.Value
	case "functionConfig":
		if v.Kind != yaml.MappingNode && !isNull(v) {
			return false
		}
		if !isNull(v) {
			l.Config = yamldoc.FromNode(v)
		}
	case "results":
		rs := v
		if v.Kind == yaml.MappingNode { // the legacy form {items: []}
			for i := 0; i < len(v.Content); i += 2 {
				if v.Content[i].Value == "items" {
					rs = v.Content[i+1]
				}
			}
		}
		if isNull(rs) {
			return true
		}
		return rs.Decode(&l.Results) == nil
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull }

// readNodes reads a list from the nodes of its document: any style, at the
// price of encoding the items anew. ok is false when d is no list.
func readNodes(d *yamldoc.Doc) (l *List, ok bool, err error) {
	root, err := d.Copy()
	if err != nil || root.Kind != yaml.MappingNode {
		return nil, false, err
	}
	l = &List{}
	var items *yaml.Node
	for i := 0; i < len(root.Content); i += 2 {
		key, v := root.Content[i].Value, root.Content[i+1]
		if key == "items" {
			items = v
			continue
		}
		if !l.set(key, v) {
			return nil, false, fmt.Errorf("reading the resource list: line %d: %s has the wrong form", v.Line, key)
		}
	}
	if !slices.Contains(listKinds, l.Kind) || (items == nil && l.Config == nil) {
		return nil, false, nil
	}
	if items != nil && items.Kind != yaml.SequenceNode && !isNull(items) {
		return nil, false, fmt.Errorf("reading the resource list: line %d: items must be a list", items.Line)
	}
	if items != nil {
		// items must stand alone: an alias of one may point into another
		aliases := newExpander(items.Content)
		for i, n := range items.Content {
			if n.Kind == yaml.AliasNode {
				n, err = aliases.value(n, 0)
			} else {
				err = aliases.expand(n, n)
			}
			if err != nil {
				return nil, false, fmt.Errorf("reading the resource list: item %d: %w", i, err)
			}
			text, err := yamldoc.FromNode(n).Bytes()
			if err != nil {
				return nil, false, fmt.Errorf("reading the resource list: item %d: %w", i, err)
			}
			l.Items = append(l.Items, newItem(yamldoc.Split(text)[0]))
		}
	}
	l.resultsN = len(l.Results)
	return l, true, nil
}

// Write writes the list. What is unchanged is written as it was read.
func (l *List) Write(w io.Writer) error {
	b, err := l.Bytes()
	if err != nil {
		return fmt.Errorf("writing the resource list: %w", err)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("writing the resource list: %w", err)
	}
	return nil
}

// Bytes is the list as text.
func (l *List) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if l.Kind == "" {
		var docs []*yamldoc.Doc
		for _, it := range l.Items {
			docs = append(docs, it.Doc)
		}
		return yamldoc.Join(docs)
	}
	segments := l.segments
	if segments == nil {
		segments = []segment{
			{key: "apiVersion", text: []byte("apiVersion: " + l.APIVersion + "\n")},
			{key: "kind", text: []byte("kind: " + l.Kind + "\n")},
		}
		if l.Config != nil {
			text, err := keyed("functionConfig", l.Config)
			if err != nil {
				return nil, err
			}
			segments = append(segments, segment{key: "functionConfig", text: text})
		}
	}
	results := unique(l.Results)
	came := len(unique(l.Results[:min(l.resultsN, len(l.Results))]))
	wroteItems, wroteResults := false, false
	for _, s := range segments {
		endLine(&b)
		switch {
		case s.key == "items":
			wroteItems = true
			if err := l.writeItems(&b, s.text); err != nil {
				return nil, err
			}
		case s.key == "results" && len(results) != came:
			wroteResults = true
			if err := writeResults(&b, results); err != nil {
				return nil, err
			}
		default:
			wroteResults = wroteResults || s.key == "results"
			if !wroteItems && s.key != "apiVersion" && s.key != "kind" && s.key != "" && !hasKey(segments, "items") {
				wroteItems = true
				if err := l.writeItems(&b, nil); err != nil {
					return nil, err
				}
			}
			b.Write(s.text)
		}
	}
	if !wroteItems {
		endLine(&b)
		if err := l.writeItems(&b, nil); err != nil {
			return nil, err
		}
	}
	if !wroteResults && len(results) > 0 {
		endLine(&b)
		if err := writeResults(&b, results); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func hasKey(segments []segment, key string) bool {
	return slices.ContainsFunc(segments, func(s segment) bool { return s.key == key })
}

// writeItems writes the items; text is how the segment was read.
func (l *List) writeItems(b *bytes.Buffer, text []byte) error {
	if len(l.Items) == 0 {
		if first := firstLine(text); len(first) > 0 && bytes.Contains(first, []byte("[")) {
			b.Write(first)
			return nil
		}
		b.WriteString("items: []\n")
		return nil
	}
	first := firstLine(text)
	if len(first) == 0 || !blankValue(first[len("items:"):]) {
		first = []byte("items:\n")
	}
	b.Write(first)
	dash := ""
	if len(l.Items) > 0 {
		for _, it := range l.Items {
			if it.raw != nil {
				dash = strings.Repeat(" ", indentOf(it.raw))
				break
			}
		}
	}
	for i, it := range l.Items {
		endLine(b)
		b.Write(it.lead)
		if it.raw != nil && it.Doc.Origin() == it.origin && !it.Doc.Changed() {
			b.Write(it.raw)
			continue
		}
		text, err := it.Doc.Bytes()
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		writeIndented(b, dash, text)
	}
	return nil
}

// writeIndented writes one item's document behind a dash.
func writeIndented(b *bytes.Buffer, dash string, text []byte) {
	text = bytes.TrimPrefix(text, []byte("---\n"))
	first := true
	for _, line := range lines(text) {
		switch {
		case first:
			b.WriteString(dash + "- ")
			first = false
		case len(bytes.TrimRight(line, "\r\n")) > 0:
			b.WriteString(dash + "  ")
		}
		b.Write(line)
	}
}

func writeResults(b *bytes.Buffer, results []Result) error {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	if err := e.Encode(map[string]any{"results": results}); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	b.Write(out.Bytes())
	return nil
}

// unique leaves out results that were said already, so that saying the same
// again on a second run changes nothing.
func unique(results []Result) []Result {
	seen := make(map[string]bool, len(results))
	var out []Result
	for _, r := range results {
		if key := r.key(); !seen[key] {
			seen[key] = true
			out = append(out, r)
		}
	}
	return out
}

// key is equal for results that say the same.
func (r Result) key() string {
	ref, field, file := ResourceRef{}, Field{}, File{}
	if r.ResourceRef != nil {
		ref = *r.ResourceRef
	}
	if r.Field != nil {
		field = *r.Field
	}
	if r.File != nil {
		file = *r.File
	}
	// maps are printed in the order of their keys
	return fmt.Sprintf("%q %q %q %q %q %q %d %q", r.Message, r.Severity, ref, field.Path, fmt.Sprint(field.CurrentValue, field.ProposedValue), file.Path, file.Index, r.Tags)
}

// keyed is a document as the value of a key.
func keyed(key string, d *yamldoc.Doc) ([]byte, error) {
	root, err := d.Root()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	err = e.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: key}, root,
	}})
	if err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// cutItems cuts the lines of an items field into its items.
func cutItems(text []byte) ([]*Item, bool) {
	all := lines(text)
	if len(all) == 0 {
		return nil, false
	}
	rest := bytes.TrimSpace(stripComment(all[0][len("items:"):]))
	if len(rest) > 0 {
		return nil, len(all) == 1 && (string(rest) == "[]" || string(rest) == "null" || string(rest) == "~")
	}
	var (
		items []*Item
		dash  = -1 // column of the dashes
		lead  []byte
		cur   [][]byte
		fine  = true
	)
	flush := func() {
		if len(cur) == 0 {
			return
		}
		it, ok := cutItem(cur, dash)
		if !ok {
			fine = false
			return
		}
		it.lead = lead
		items = append(items, it)
		lead, cur = nil, nil
	}
	for i := 1; i < len(all); i++ {
		line := all[i]
		in := indentOf(line)
		body := bytes.TrimRight(line[in:], "\r\n")
		switch {
		case dash < 0 && (len(body) == 0 || body[0] == '#'):
			lead = append(lead, line...)
		case dash < 0 && !isDash(body):
			return nil, false
		case isDash(body) && (dash < 0 || in == dash):
			// comment lines at the dashes' column belong to the item that follows
			cut := len(cur)
			for cut > 1 && indentOf(cur[cut-1]) <= max(dash, 0) && bytes.HasPrefix(bytes.TrimSpace(cur[cut-1]), []byte("#")) {
				cut--
			}
			var next []byte
			if len(cur) > 0 {
				for _, l := range cur[cut:] {
					next = append(next, l...)
				}
				cur = cur[:cut]
			}
			if dash >= 0 {
				flush()
				lead = next
			}
			dash = in
			cur = append(cur, line)
		default:
			cur = append(cur, line)
		}
	}
	flush()
	return items, fine
}

// cutItem takes the dash and the indentation off an item's lines.
func cutItem(ls [][]byte, dash int) (*Item, bool) {
	after := ls[0][dash+1:]
	col := dash + 1 + indentOf(after)
	if len(bytes.TrimSpace(after)) == 0 {
		return nil, false // content starts on the next line
	}
	var raw, doc []byte
	for i, line := range ls {
		raw = append(raw, line...)
		if i == 0 {
			doc = append(doc, line[col:]...)
			continue
		}
		// comments may stand further to the left
		if t := bytes.TrimSpace(line); len(t) == 0 || t[0] == '#' && indentOf(line) < col {
			doc = append(doc, bytes.TrimLeft(line[:min(col, len(line))], " ")...)
			doc = append(doc, line[min(col, len(line)):]...)
			continue
		}
		if indentOf(line) < col {
			return nil, false
		}
		doc = append(doc, line[col:]...)
	}
	docs := yamldoc.Split(doc)
	if len(docs) != 1 {
		return nil, false
	}
	return &Item{Doc: docs[0], origin: docs[0].Origin(), raw: raw}, true
}

func isDash(body []byte) bool {
	return len(body) > 1 && body[0] == '-' && body[1] == ' '
}

// topKey returns the key when line starts a field of the top level.
func topKey(line []byte) (string, bool) {
	if len(line) == 0 || !('a' <= line[0] && line[0] <= 'z' || 'A' <= line[0] && line[0] <= 'Z') {
		return "", false
	}
	key, rest, ok := bytes.Cut(line, []byte(":"))
	if !ok || bytes.ContainsAny(key, " \t\"'") || (len(rest) > 0 && !bytes.ContainsAny(rest[:1], " \t\r\n")) {
		return "", false
	}
	return string(key), true
}

func onlyCommentsOrMarker(text []byte) bool {
	for _, line := range lines(text) {
		t := bytes.TrimSpace(line)
		if len(t) > 0 && t[0] != '#' && string(t) != "---" {
			return false
		}
	}
	return true
}

// blankValue says whether what follows a key on its line is no value.
func blankValue(rest []byte) bool { return len(bytes.TrimSpace(stripComment(rest))) == 0 }

func stripComment(b []byte) []byte {
	if i := bytes.Index(b, []byte(" #")); i >= 0 {
		return b[:i]
	}
	return b
}

func firstLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return b
}

// lines cuts b after each line feed; the pieces are adjacent parts of b.
func lines(b []byte) [][]byte {
	var out [][]byte
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n') + 1
		if n == 0 {
			n = len(b)
		}
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func indentOf(line []byte) int {
	n := 0
	for n < len(line) && line[n] == ' ' {
		n++
	}
	return n
}

func endLine(b *bytes.Buffer) {
	if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
		b.WriteByte('\n')
	}
}
