package builtin

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// setterComment begins the line comment of a field that setters set.
const setterComment = "# kpt-set: "

// applySetters sets the fields that carry a comment such as
//
//	image: nginx:1.7 # kpt-set: ${image}:${tag}
//
// as apply-setters v0.2 of the catalog does. Setters that the config doesn't
// give keep the values that the field's present value has for them. A list is
// set whole by a comment of one setter.
func applySetters(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "apply-setters", "ConfigMap")
	if err != nil {
		return err
	}
	data, err := c.pairs("data")
	if err != nil {
		return err
	}
	s := &setterRun{call: call, config: c, values: pairMap(data), patterns: map[string]*setterPattern{}}
	first := len(call.Results)
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			continue
		}
		s.object = o
		if err := s.walk(n, ""); err != nil {
			return err
		}
	}
	if len(call.Results) == first {
		call.Results = append(call.Results, fn.Result{Message: "no matches for input setter(s)"})
	}
	return nil
}

// setterRun is one run of apply-setters.
type setterRun struct {
	call     *fn.Call
	config   *config
	values   map[string]string
	patterns map[string]*setterPattern // by the text of the comment
	object   *fn.Object
}

// setterPattern is a setter comment, read once for all fields that carry it.
type setterPattern struct {
	// literals and setters take turns: literals[0] setters[0] literals[1] ...
	literals, setters []string
	// wanted says whether a value is given for any of the setters.
	wanted bool
	// current finds the values of the setters in a field.
	current *regexp.Regexp
}

// parseSetters splits a pattern into literals and setter names. What looks like
// the beginning of a setter but has no end is literal.
func parseSetters(pattern string) (literals, setters []string) {
	literal := ""
	for {
		before, rest, ok := strings.Cut(pattern, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return append(literals, literal+pattern), setters
		}
		literals, setters = append(literals, literal+before), append(setters, name)
		literal, pattern = "", after
	}
}

// pattern returns the pattern in a line comment, nil when it has none or no
// value for it is given.
func (s *setterRun) pattern(comment string) *setterPattern {
	text, ok := strings.CutPrefix(comment, setterComment)
	if !ok {
		return nil
	}
	p := s.patterns[text]
	if p == nil {
		p = &setterPattern{}
		p.literals, p.setters = parseSetters(strings.TrimSpace(text))
		for _, name := range p.setters {
			if _, ok := s.values[name]; ok {
				p.wanted = true
			}
		}
		s.patterns[text] = p
	}
	if !p.wanted {
		return nil
	}
	return p
}

// walk visits every field below n. Aliases are passed over: what they stand for
// is visited at its anchor.
func (s *setterRun) walk(n *yaml.Node, path string) error {
	switch n.Kind {
	case yaml.MappingNode:
		below := func(key *yaml.Node) string {
			if path == "" {
				return key.Value
			}
			return path + "." + key.Value
		}
		// lists come first, so that results have the catalog's order
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key, v := n.Content[i], n.Content[i+1]; v.Kind == yaml.SequenceNode {
				if err := s.setList(key, v, below(key)); err != nil {
					return err
				}
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := s.walk(n.Content[i+1], below(n.Content[i])); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			if err := s.walk(e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		return s.setScalar(n, path)
	}
	return nil
}

func (s *setterRun) setScalar(n *yaml.Node, path string) error {
	if n.LineComment == "" {
		return nil
	}
	p := s.pattern(n.LineComment)
	if p == nil {
		return nil
	}
	v, missing := p.expand(s.values, n.Value)
	if len(missing) > 0 {
		return s.errorf(path, "values for setters %v must be provided", missing)
	}
	if v != n.Value || n.Tag == yaml.NodeTagNull {
		// without a tag the writer leaves a plain value the type it looks like
		n.Value, n.Tag = v, ""
		if v == "" {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	s.set(path, v)
	return nil
}

// setList sets a list that its key's comment, or its own when it is in
// brackets, names one setter for.
func (s *setterRun) setList(key, list *yaml.Node, path string) error {
	flow := list.Style&yaml.FlowStyle != 0
	comment := key.LineComment
	if flow {
		comment = list.LineComment
	}
	p := s.pattern(comment)
	if p == nil {
		return nil
	}
	if len(p.setters) != 1 || p.literals[0] != "" || p.literals[1] != "" {
		return s.errorf(path, "invalid setter pattern for array node: %q", strings.TrimSpace(strings.TrimPrefix(comment, setterComment)))
	}
	v := s.values[p.setters[0]]
	if strings.TrimSpace(v) == "" {
		// an empty list has to be in brackets, where the comment is the list's
		list.Content, list.Style = nil, yaml.FlowStyle
		list.LineComment, key.LineComment = comment, ""
		s.set(path, v)
		return nil
	}
	want, err := yaml.Parse(v)
	if err != nil || want.YNode().Kind != yaml.SequenceNode {
		return s.errorf(path, "input to array setter must be an array of values, but found %q", v)
	}
	if !sameScalars(list.Content, want.YNode().Content) {
		list.Content = want.YNode().Content
	}
	if flow && len(list.Content) > 0 {
		list.Style &^= yaml.FlowStyle
		list.LineComment, key.LineComment = "", comment
	}
	s.set(path, v)
	return nil
}

// sameScalars says whether two lists hold equal scalars, so that comments and
// quotes of an unchanged list stay.
func sameScalars(a, b []*yaml.Node) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Kind != yaml.ScalarNode || b[i].Kind != yaml.ScalarNode || a[i].Value != b[i].Value || a[i].ShortTag() != b[i].ShortTag() {
			return false
		}
	}
	return true
}

func (s *setterRun) set(path, v string) {
	addAbout(s.call, s.object, path, fmt.Sprintf("set field value to %q", v))
}

func (s *setterRun) errorf(path, format string, args ...any) error {
	return fmt.Errorf("failed to apply setters: %w", fieldError(s.object, path, fmt.Sprintf(format, args...)))
}

// expand puts the pattern together from given values and, for setters without
// one, from those that the current value has. It returns the setters that have
// neither.
func (p *setterPattern) expand(given map[string]string, current string) (v string, missing []string) {
	var derived map[string]string
	var b strings.Builder
	for i, name := range p.setters {
		b.WriteString(p.literals[i])
		v, ok := given[name]
		if !ok {
			if derived == nil {
				derived = p.derive(current)
			}
			if v, ok = derived[name]; !ok {
				missing = append(missing, "${"+name+"}")
			}
		}
		b.WriteString(v)
	}
	b.WriteString(p.literals[len(p.setters)])
	return b.String(), missing
}

// derive reads the setters' values out of a field. It is all or nothing: where
// one of them would be empty, none is known.
func (p *setterPattern) derive(current string) map[string]string {
	values := map[string]string{}
	if p.current == nil {
		var b strings.Builder
		for i, literal := range p.literals {
			b.WriteString(regexp.QuoteMeta(literal))
			if i < len(p.setters) {
				b.WriteString("(.*)")
			}
		}
		re, err := regexp.Compile(b.String())
		if err != nil {
			return values
		}
		p.current = re
	}
	m := p.current.FindStringSubmatch(current)
	for i, name := range p.setters {
		if m == nil || m[i+1] == "" {
			return map[string]string{}
		}
		values[name] = m[i+1]
	}
	return values
}
