package builtin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// createSetters marks the fields that hold the values of a ConfigMap's data
// with comments that apply-setters reads. Of values that hold each other the
// longer one counts. A value that is a list marks the fields that hold the same
// list. Fields that are marked already stay as they are.
func createSetters(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "create-setters", "ConfigMap")
	if err != nil {
		return err
	}
	data, err := c.pairs("data")
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return c.errorf("data", "`data` should not be empty")
	}
	m := setterMaker{call: call, lists: map[string]string{}}
	for _, p := range data {
		if strings.TrimSpace(p.value) == "" {
			continue
		}
		if n, err := yaml.Parse(p.value); err == nil && n.YNode().Kind == yaml.SequenceNode {
			if key, ok := listKey(n.YNode()); ok {
				m.lists[key] = p.key
			}
			continue
		}
		m.scalars = append(m.scalars, p)
	}
	slices.SortStableFunc(m.scalars, func(a, b pair) int { return len(b.value) - len(a.value) })
	var replace []string
	for _, p := range m.scalars {
		replace = append(replace, p.value, "${"+p.key+"}")
	}
	m.replacer = strings.NewReplacer(replace...)

	first := len(call.Results)
	for _, o := range call.Items {
		if n := root(o.Node); n != nil {
			m.object = o
			m.walk(n, nil, "")
		}
	}
	if len(call.Results) == first {
		call.Results = append(call.Results, fn.Result{Message: "no matches for input setter(s)"})
	}
	return nil
}

type setterMaker struct {
	call    *fn.Call
	scalars []pair // longest value first
	// replacer puts setters for values. Of values that begin at the same place
	// it takes the one given first.
	replacer *strings.Replacer
	lists    map[string]string // setter by list
	object   *fn.Object
}

// listKey writes a list of scalars as one string, regardless of order.
func listKey(n *yaml.Node) (string, bool) {
	var elems []string
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode {
			return "", false
		}
		elems = append(elems, e.Value)
	}
	slices.Sort(elems)
	return strings.Join(elems, "\x00"), len(elems) > 0
}

func (m *setterMaker) walk(n, key *yaml.Node, at string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			m.walk(n.Content[i+1], k, strings.TrimPrefix(at+"."+k.Value, "."))
		}
	case yaml.SequenceNode:
		if list, ok := listKey(n); ok && key != nil && m.lists[list] != "" {
			commented := key
			if n.Style&yaml.FlowStyle != 0 {
				commented = n
			}
			m.mark(commented, "${"+m.lists[list]+"}", at, strings.ReplaceAll(list, "\x00", ", "))
			return
		}
		for i, e := range n.Content {
			m.walk(e, nil, fmt.Sprintf("%s[%d]", at, i))
		}
	case yaml.ScalarNode:
		if strings.Contains(n.Value, "\n") || n.Value == "" {
			return
		}
		if pattern := m.replacer.Replace(n.Value); pattern != n.Value {
			m.mark(n, pattern, at, n.Value)
		}
	}
}

func (m *setterMaker) mark(n *yaml.Node, pattern, at, v string) {
	if strings.HasPrefix(n.LineComment, setterComment) {
		return
	}
	n.LineComment = setterComment + pattern
	addAbout(m.call, m.object, at, fmt.Sprintf("Added line comment %q for field with value %q", "kpt-set: "+pattern, v))
}
