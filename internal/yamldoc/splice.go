package yamldoc

import (
	"bytes"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// splice collects the edits that turn the text of one tree into that of
// another. Its methods return false when they can't say how; the caller then
// drops the edits made since and writes the node anew, or passes it on.
type splice struct {
	*text
	root   *yaml.Node // as read
	nl     string
	json   bool // the text is JSON and has to stay it
	coarse bool // changed entries of the root are written anew
	plain  bool // parsePlain reads the text
	edits  []edit
	// verify is set by edits whose outcome only reading it back can prove.
	verify bool
	lay    layout // zero until asked for
}

// edit replaces src[start:end].
type edit struct {
	start, end int
	text       string
}

func (s *splice) edit(start, end int, text string) {
	s.edits = append(s.edits, edit{start, end, text})
}

// apply is the text with the edits made; nil if they get in each other's way.
func (s *splice) apply() []byte {
	slices.SortStableFunc(s.edits, func(a, b edit) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return a.end - b.end
	})
	size, last := len(s.src), 0
	for _, e := range s.edits {
		if e.start < last || e.end < e.start {
			return nil
		}
		last = e.end
		size += len(e.text) - (e.end - e.start)
	}
	out := make([]byte, 0, size)
	last = 0
	for _, e := range s.edits {
		out = append(out, s.src[last:e.start]...)
		out = append(out, e.text...)
		last = e.end
	}
	out = append(out, s.src[last:]...)
	if !bytes.HasSuffix(s.src, []byte{'\n'}) && last > s.lineStart(len(s.src)) {
		// The end of the text was touched, which has no break.
		s.verify = true
		out = bytes.TrimSuffix(out, []byte{'\n'})
		out = bytes.TrimSuffix(out, []byte{'\r'})
	}
	return out
}

// node turns one node of the text into another. parent is the column of the
// block collection it is in, -1 for the root. The head and foot comments are
// the caller's.
func (s *splice) node(old, n *yaml.Node, parent int) bool {
	switch {
	case old == n:
		return true
	case old.Kind != n.Kind:
		return false
	case old.Kind == yaml.ScalarNode || old.Kind == yaml.AliasNode:
		return s.scalar(old, n, inBlock, parent)
	case !alike(old, n, false):
		return false
	case isFlow(old):
		return old.LineComment == n.LineComment && s.flow(old, n, nil)
	}
	if old.LineComment != n.LineComment {
		return false
	}
	b := block{splice: s, old: old, new: n, mapping: old.Kind == yaml.MappingNode}
	return b.change()
}
