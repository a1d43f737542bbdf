package builtin

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// field is a mapping of strings somewhere in resources of a kind, such as the
// labels of a pod template. Lists on the way stand for all of their items.
type field struct {
	path []string
	// create is how many leading elements of path have to be there for the
	// rest to be made: 0 makes all, len(path) nothing.
	create int
	group  string // empty: any; coreGroup: the one without a name
	// version is only for fields that a user adds, empty: any.
	version string
}

const coreGroup = "core"

// fieldTable holds fields by kind; those of the empty kind are in every
// resource.
type fieldTable map[string][]field

// newFieldTable reads lines of "KIND[.GROUP][,KIND...] PATH". A path has
// slashes; what comes after an exclamation mark in it is made where it is
// missing.
func newFieldTable(lines string) fieldTable {
	t := fieldTable{}
	for line := range strings.Lines(lines) {
		kinds, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		must, made, creates := strings.Cut(path, "!")
		f := field{path: strings.Split(must+made, "/")}
		f.create = len(f.path)
		if creates {
			f.create = strings.Count(must, "/")
		}
		for kind := range strings.SplitSeq(kinds, ",") {
			kind, f.group, _ = strings.Cut(kind, ".")
			if kind == "*" {
				kind = ""
			}
			t[kind] = append(t[kind], f)
		}
	}
	return t
}

// visit calls do for every mapping that the table's fields name in a resource,
// with the mapping's path, dotted and without list indices. Fields come in the
// table's order, those of every resource first.
func (t fieldTable) visit(o *fn.Object, n *yaml.Node, do func(m *yaml.Node, path string) error) error {
	kind := text(n, "kind")
	if err := t.visitKind("", o, n, do); err != nil || kind == "" {
		return err
	}
	return t.visitKind(kind, o, n, do)
}

// visitKind is visit for the fields of one kind.
func (t fieldTable) visitKind(kind string, o *fn.Object, n *yaml.Node, do func(m *yaml.Node, path string) error) error {
	apiVersion := text(n, "apiVersion")
	group := groupOf(apiVersion)
	if group == "" {
		group = coreGroup
	}
	for i := range t[kind] {
		f := &t[kind][i]
		if apiVersion != "" && (f.group != "" && f.group != group || f.version != "" && f.version != versionOf(apiVersion)) {
			continue
		}
		if err := f.visit(o, n, 0, do, &entered{}); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) visit(o *fn.Object, n *yaml.Node, depth int, do func(m *yaml.Node, path string) error, been *entered) error {
	n, first := been.enter(n, depth)
	if !first {
		return nil
	}
	if n.Kind == yaml.SequenceNode && depth > 0 {
		for _, e := range n.Content {
			if err := f.visit(o, e, depth, do, been); err != nil {
				return err
			}
		}
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fieldError(o, strings.Join(f.path[:depth], "."), "expect a mapping")
	}
	if depth == len(f.path) {
		return do(n, strings.Join(f.path, "."))
	}
	next := value(n, f.path[depth])
	if next == nil || isNull(deref(next)) {
		if depth < f.create {
			return nil
		}
		next = child(n, f.path[depth])
	}
	return f.visit(o, next, depth+1, do, been)
}

// entered is what a walk along a path has gone into through aliases, by node and
// place in the path. A walk goes into each once: a list may hold any number of
// aliases of one node, or of itself.
type entered map[entry]bool

type entry struct {
	node  *yaml.Node
	depth int
}

// enter returns the node that n stands for, and whether the walk is to go into
// it.
func (e *entered) enter(n *yaml.Node, depth int) (*yaml.Node, bool) {
	if n.Kind != yaml.AliasNode {
		return n, true
	}
	at := entry{n.Alias, depth}
	if (*e)[at] {
		return n.Alias, false
	}
	if *e == nil {
		*e = entered{}
	}
	(*e)[at] = true
	return n.Alias, true
}

// scalarField is a field that holds a string: a key of mappings.
type scalarField struct {
	parents fieldTable // the mappings
	key     string
	create  bool // the field, and the mappings it is in, are made where they are missing
}

// scalarFields reads a table as one of strings, not of mappings. Where creating
// is false no field is made, whatever the table says.
func scalarFields(t fieldTable, creating bool) []scalarField {
	var fields []scalarField
	for _, kind := range slices.Sorted(maps.Keys(t)) {
		for _, f := range t[kind] {
			last := len(f.path) - 1
			key, create := f.path[last], creating && f.create <= last
			if f.path = f.path[:last]; !create {
				f.create = last
			}
			fields = append(fields, scalarField{fieldTable{kind: {f}}, key, create})
		}
	}
	return fields
}

// path is the field's path, below a path of its parents.
func (f *scalarField) path(parents string) string {
	return strings.TrimPrefix(parents+"."+f.key, ".")
}

// additionalFields reads a list of field specs from a config: group, version
// and kind of the resources (each optional), path with slashes, and create.
func additionalFields(c *config, name string) (fieldTable, error) {
	list := get(c.node, name)
	if list == nil || isNull(list) {
		return nil, nil
	}
	if list.Kind != yaml.SequenceNode {
		return nil, c.errorf(name, "expect a list of field specs")
	}
	t := fieldTable{}
	for _, e := range list.Content {
		e = deref(e)
		path := strings.Trim(text(e, "path"), "/")
		if path == "" {
			return nil, c.errorf(name, "a field spec has no path")
		}
		f := field{path: splitPath(path), group: text(e, "group"), version: text(e, "version")}
		if text(e, "create") != "true" {
			f.create = len(f.path)
		}
		kind := text(e, "kind")
		t[kind] = append(t[kind], f)
	}
	return t, nil
}

// splitPath splits a path with slashes; a slash after a backslash belongs to an
// element, and so does not a pair of brackets, kustomize's mark of a list.
func splitPath(path string) []string {
	var parts []string
	var b strings.Builder
	flush := func() {
		parts = append(parts, strings.TrimSuffix(b.String(), "[]"))
		b.Reset()
	}
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path) && path[i+1] == '/':
			b.WriteByte('/')
			i++
		case path[i] == '/':
			flush()
		default:
			b.WriteByte(path[i])
		}
	}
	flush()
	return parts
}
