package yamldoc

import (
	"bytes"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// write turns changed nodes into text, keeping what it can of what was read.
func write(read *source, root *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if err := e.Encode(root); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Join writes documents one after another as the content of a file.
func Join(docs []*Doc) ([]byte, error) {
	var b bytes.Buffer
	for _, d := range docs {
		t, err := d.Bytes()
		if err != nil {
			return nil, err
		}
		if b.Len() > 0 {
			if b.Bytes()[b.Len()-1] != '\n' {
				b.WriteByte('\n')
			}
			if !bytes.HasPrefix(t, []byte("---")) {
				b.WriteString("---\n")
			}
		}
		b.Write(t)
	}
	return b.Bytes(), nil
}

// split cuts at separator lines.
func split(src []byte) [][]byte {
	var out [][]byte
	start := 0
	for i := 0; i < len(src); {
		if i > start && bytes.HasPrefix(src[i:], []byte("---")) && (i+3 == len(src) || bytes.IndexByte([]byte(" \t\r\n"), src[i+3]) >= 0) {
			out = append(out, src[start:i])
			start = i
		}
		n := bytes.IndexByte(src[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
	}
	return append(out, src[start:])
}

// CopyNode is a deep copy.
func CopyNode(n *yaml.Node) *yaml.Node { return yaml.CopyYNode(n) }

// Equal says whether two nodes would be written alike.
func Equal(a, b *yaml.Node) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind || a.Value != b.Value || a.Tag != b.Tag || a.Style != b.Style ||
		a.Anchor != b.Anchor || a.HeadComment != b.HeadComment || a.LineComment != b.LineComment ||
		a.FootComment != b.FootComment || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !Equal(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
