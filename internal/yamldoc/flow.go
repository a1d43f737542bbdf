package yamldoc

import (
	"bytes"
	"encoding/json"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// flow turns a flow collection into another: scalars where they stand, anything
// else by writing the smallest collection around it anew in its place.
func (s *splice) flow(old, n *yaml.Node) bool {
	mark := len(s.edits)
	if s.flowInside(old, n) {
		return true
	}
	s.edits = s.edits[:mark]
	return s.rewriteFlow(old, n)
}

func (s *splice) flowInside(old, n *yaml.Node) bool {
	if len(old.Content) != len(n.Content) {
		return false
	}
	for i, o := range old.Content {
		c := n.Content[i]
		if o.Kind != c.Kind || o.HeadComment != c.HeadComment || o.LineComment != c.LineComment || o.FootComment != c.FootComment {
			return false
		}
		if old.Kind == yaml.MappingNode && i%2 == 0 {
			if !equal(o, c, true) {
				return false
			}
			continue
		}
		switch o.Kind {
		case yaml.ScalarNode, yaml.AliasNode:
			if !s.scalar(o, c, inFlow, none) {
				return false
			}
		default:
			if !alike(o, c, true) || !s.flow(o, c) {
				return false
			}
		}
	}
	return true
}

func (s *splice) rewriteFlow(old, n *yaml.Node) bool {
	start, end := s.skipProperties(old), s.end(old)
	if start == none || end == none || s.src[start] != '{' && s.src[start] != '[' {
		return false
	}
	was := s.src[start:end]
	if s.json {
		// Indented like the line it is on, if it has lines.
		margin := "-"
		if bytes.IndexByte(was, '\n') >= 0 {
			from := s.lineStart(start)
			margin = string(s.src[from:s.skipBlanks(from)])
		}
		var b strings.Builder
		if !writeJSON(&b, n, s.nl, margin) {
			return false
		}
		s.edit(start, end, b.String())
		return true
	}
	if bytes.IndexByte(was, '\n') >= 0 || bytes.IndexByte(was, '#') >= 0 {
		return false
	}
	c := *n
	c.Anchor, c.Tag, c.Style = "", "", c.Style&^tagged
	if len(c.Content) > 0 {
		c.Style |= flowBit
	}
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	text, ok := libraryScalar(&c, inBlock)
	if !ok {
		return false
	}
	s.verify = true
	s.edit(start, end, text)
	return true
}

// jsonScalar is a scalar as JSON; ok is false for what JSON doesn't have.
func jsonScalar(n *yaml.Node) (string, bool) {
	switch n.ShortTag() {
	case nullTag:
		return "null", true
	case "!!bool":
		return strings.ToLower(n.Value), true
	case "!!int", "!!float":
		return n.Value, json.Valid([]byte(n.Value))
	case strTag:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(n.Value) != nil {
			return "", false
		}
		return strings.TrimSuffix(b.String(), "\n"), true
	}
	return "", false
}

// writeJSON writes n as JSON: in lines that are indented by margin and two
// columns a level, or on one line if margin is "-".
func writeJSON(b *strings.Builder, n *yaml.Node, nl, margin string) bool {
	if n.Anchor != "" {
		return false
	}
	open, end, step := byte('['), byte(']'), 1
	switch n.Kind {
	case yaml.ScalarNode:
		s, ok := jsonScalar(n)
		b.WriteString(s)
		return ok
	case yaml.MappingNode:
		open, end, step = '{', '}', 2
	case yaml.SequenceNode:
	default:
		return false
	}
	inner := margin
	if margin != "-" {
		inner += "  "
	}
	b.WriteByte(open)
	for i := 0; i+step <= len(n.Content); i += step {
		if i > 0 {
			b.WriteByte(',')
			if margin == "-" {
				b.WriteByte(' ')
			}
		}
		if margin != "-" {
			b.WriteString(nl + inner)
		}
		if step == 2 {
			key := *n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != strTag {
				return false
			}
			if !writeJSON(b, &key, nl, inner) {
				return false
			}
			b.WriteString(": ")
		}
		if !writeJSON(b, n.Content[i+step-1], nl, inner) {
			return false
		}
	}
	if margin != "-" && len(n.Content) > 0 {
		b.WriteString(nl + margin)
	}
	b.WriteByte(end)
	return true
}
