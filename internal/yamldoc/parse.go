package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// MaxDepth is how deep the collections of a document may nest. It is far above
// what a Kubernetes object needs, and low enough that nobody who walks the
// nodes recursively needs to fear for the stack. Deeper documents are errors.
// How long a document may be is the caller's to limit: parsing takes memory in
// proportion to it, aliases included, which are never expanded.
const MaxDepth = 1000

// parse reads one document; nil without an error when there is none. The error
// says the line, from the start of text.
func parse(text []byte) (*yaml.Node, error) {
	if doc := parsePlain(text); doc != nil {
		return doc, nil
	}
	return parseAny(text)
}

// parseAny has the library read one document, as parse does.
func parseAny(text []byte) (doc *yaml.Node, err error) {
	work.parsed.Add(1)
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("invalid YAML: %v", p)
		}
	}()
	var first, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&first); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, plainError(err, text)
	}
	switch err := d.Decode(&second); {
	case err == nil:
		return nil, fmt.Errorf("line %d: a second document begins where no separator line shows it", max(second.Line, 1))
	case !errors.Is(err, io.EOF):
		return nil, plainError(err, text)
	}
	if err := checkDepth(&first, 0); err != nil {
		return nil, err
	}
	return &first, nil
}

func checkDepth(n *yaml.Node, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("line %d: nested deeper than %d levels", max(n.Line, 1), MaxDepth)
	}
	for _, c := range n.Content {
		if c == nil {
			return errors.New("a node is missing")
		}
		if err := checkDepth(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

var lineError = regexp.MustCompile(`^line (\d+): (.*)$`)

// plainError takes the library's name off its errors and puts the line right.
// The library counts from zero in errors of its parser (as opposed to its
// scanner) and says nothing on the first line.
func plainError(err error, text []byte) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := lineError.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	if name, ok := strings.CutPrefix(msg, "unknown anchor '"); ok && line == 0 {
		name, _, _ = strings.Cut(name, "'")
		if i := bytes.Index(text, []byte("*"+name)); i >= 0 {
			line = bytes.Count(text[:i], []byte("\n"))
		}
		return fmt.Errorf("line %d: %s", line+1, msg)
	}
	switch msg {
	case "did not find expected key", "did not find expected '-' indicator",
		"did not find expected ',' or ']'", "did not find expected ',' or '}'",
		"did not find expected node content", "did not find expected <document start>":
		line++
	}
	return fmt.Errorf("line %d: %s", max(line, 1), msg)
}
