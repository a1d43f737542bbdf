package builtin

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A bridge turns yaml nodes into Starlark values and back. On the way back only
// what changed is written: everything else keeps its node, and with it its
// comments, order and style.
type bridge struct {
	// origin is the node that a dictionary or list was made from.
	origin map[starlark.Value]*yaml.Node
	// budget is how many more values may be turned, so that aliases of
	// aliases, or lists that hold each other, end.
	budget int
	// aliases is how many aliases the value being turned is below.
	aliases int
}

// Limits of what is turned. Kubernetes accepts far less. A value that an alias
// repeats, which costs its author nothing, counts aliasCost times.
const (
	maxValues = 5_000_000
	maxDepth  = 1000
	aliasCost = 50
)

func newBridge() *bridge {
	return &bridge{origin: map[starlark.Value]*yaml.Node{}, budget: maxValues}
}

// spend counts a value.
func (b *bridge) spend(depth int) error {
	b.budget--
	if b.aliases > 0 {
		b.budget -= aliasCost
	}
	if b.budget < 0 {
		return errTooMany
	}
	if depth > maxDepth {
		return errTooDeep
	}
	return nil
}

var (
	errTooMany = fmt.Errorf("more than %d values, those of aliases counted %d times", maxValues, aliasCost)
	errTooDeep = fmt.Errorf("nested deeper than %d, or in a circle", maxDepth)
)

// below says in which key or item of a value an error is; not so for a limit,
// which is everybody's.
func below(place string, err error) error {
	if errors.Is(err, errTooMany) || errors.Is(err, errTooDeep) {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}

// value turns a node into a value that a script may change.
func (b *bridge) value(n *yaml.Node, depth int) (starlark.Value, error) {
	if err := b.spend(depth); err != nil {
		return nil, err
	}
	switch n.Kind {
	case yaml.AliasNode:
		b.aliases++
		defer func() { b.aliases-- }()
		return b.value(n.Alias, depth+1)
	case yaml.DocumentNode:
		if len(n.Content) == 1 {
			return b.value(n.Content[0], depth+1)
		}
		return starlark.None, nil
	case yaml.MappingNode:
		d := starlark.NewDict(len(n.Content) / 2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := deref(n.Content[i])
			if key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key is no scalar", key.Line)
			}
			v, err := b.value(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			if err := d.SetKey(scalarValue(key), v); err != nil {
				return nil, err
			}
		}
		b.origin[d] = n
		return d, nil
	case yaml.SequenceNode:
		elems := make([]starlark.Value, len(n.Content))
		for i, e := range n.Content {
			v, err := b.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			elems[i] = v
		}
		l := starlark.NewList(elems)
		b.origin[l] = n
		return l, nil
	case yaml.ScalarNode:
		return scalarValue(n), nil
	}
	return starlark.None, nil
}

// scalarValue turns a scalar into a value. What is no number, boolean or null
// is a string, timestamps too.
func scalarValue(n *yaml.Node) starlark.Value {
	switch n.ShortTag() {
	case yaml.NodeTagNull:
		return starlark.None
	case yaml.NodeTagBool, yaml.NodeTagInt, yaml.NodeTagFloat:
		var v any
		if n.Decode(&v) != nil {
			break
		}
		switch v := v.(type) {
		case bool:
			return starlark.Bool(v)
		case int:
			return starlark.MakeInt(v)
		case int64:
			return starlark.MakeInt64(v)
		case uint64:
			return starlark.MakeUint64(v)
		case float64:
			return starlark.Float(v)
		}
	}
	return starlark.String(n.Value)
}

// node turns a value into a node: into old where that can be kept or changed
// in place, else a new one. old may be nil.
func (b *bridge) node(v starlark.Value, old *yaml.Node, depth int) (*yaml.Node, error) {
	if err := b.spend(depth); err != nil {
		return nil, err
	}
	if old != nil && old.Kind == yaml.AliasNode {
		same, err := b.same(v, old.Alias)
		if err != nil {
			return nil, err
		}
		if same {
			return old, nil
		}
		old = detached(old.Alias)
	}
	switch v := v.(type) {
	case *starlark.Dict:
		return b.mapping(v, old, depth)
	case *starlark.List, starlark.Tuple, *starlark.Set:
		return b.sequence(v, old, depth)
	}
	value, tag, err := scalarText(v)
	if err != nil {
		return nil, err
	}
	if old == nil || old.Kind != yaml.ScalarNode {
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
		keepComments(n, old)
		return n, nil
	}
	if was := scalarValue(old); was.Type() == v.Type() {
		if equal, err := starlark.Equal(was, v); err == nil && equal {
			return old, nil
		}
	}
	if tag != yaml.NodeTagString || old.ShortTag() != yaml.NodeTagString {
		old.Style = 0
	}
	old.Value, old.Tag = value, tag
	return old, nil
}

// same says whether a value is what a node that others share already holds.
func (b *bridge) same(v starlark.Value, shared *yaml.Node) (bool, error) {
	was, err := b.value(shared, 0)
	if err != nil {
		return false, err
	}
	return starlark.EqualDepth(v, was, maxDepth)
}

// scalarText is a scalar as YAML writes it.
func scalarText(v starlark.Value) (text, tag string, err error) {
	switch v := v.(type) {
	case nil, starlark.NoneType:
		return "null", yaml.NodeTagNull, nil
	case starlark.Bool:
		return strconv.FormatBool(bool(v)), yaml.NodeTagBool, nil
	case starlark.Int:
		return v.String(), yaml.NodeTagInt, nil
	case starlark.Float:
		f := float64(v)
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return "", "", errors.New("a number is not finite")
		}
		if f == math.Trunc(f) && math.Abs(f) < 1e15 {
			return strconv.FormatFloat(f, 'f', 1, 64), yaml.NodeTagFloat, nil
		}
		return strconv.FormatFloat(f, 'g', -1, 64), yaml.NodeTagFloat, nil
	case starlark.String:
		return string(v), yaml.NodeTagString, nil
	}
	return "", "", fmt.Errorf("a %s is no value of a resource", v.Type())
}

// keepComments gives a node that replaces another its comments.
func keepComments(n, old *yaml.Node) {
	if old != nil {
		n.HeadComment, n.LineComment, n.FootComment = old.HeadComment, old.LineComment, old.FootComment
	}
}

// base returns the node to write a dictionary or list into: old when the value
// came from it or from nowhere, a copy of its origin when that is elsewhere.
func (b *bridge) base(v starlark.Value, old *yaml.Node, kind yaml.Kind) *yaml.Node {
	origin := b.originOf(v)
	if origin != nil && origin != old {
		return detached(origin)
	}
	if old != nil && old.Kind == kind {
		return old
	}
	n := &yaml.Node{Kind: kind, Tag: yaml.NodeTagMap}
	if kind == yaml.SequenceNode {
		n.Tag = yaml.NodeTagSeq
	}
	keepComments(n, old)
	return n
}

func (b *bridge) originOf(v starlark.Value) *yaml.Node {
	switch v.(type) {
	case *starlark.Dict, *starlark.List:
		return b.origin[v]
	}
	return nil // other values may not be comparable
}

// detached returns a copy of a node that shares nothing with it and has no
// anchor that would be there twice.
func detached(n *yaml.Node) *yaml.Node {
	c := *n
	c.Anchor = ""
	c.Content = nil
	for _, e := range n.Content {
		if e.Kind != yaml.AliasNode {
			e = detached(e)
		}
		c.Content = append(c.Content, e)
	}
	return &c
}

func (b *bridge) mapping(d *starlark.Dict, old *yaml.Node, depth int) (*yaml.Node, error) {
	n := b.base(d, old, yaml.MappingNode)
	if len(n.Content) == 0 {
		n.Style &^= yaml.FlowStyle
	}
	content := make([]*yaml.Node, 0, 2*d.Len())
	var seen starlark.Dict
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		k := scalarValue(deref(key))
		v, ok, err := d.Get(k)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if err := seen.SetKey(k, starlark.None); err != nil {
			return nil, err
		}
		val, err := b.node(v, n.Content[i+1], depth+1)
		if err != nil {
			return nil, below(key.Value, err)
		}
		content = append(content, key, val)
	}
	for _, kv := range sortedItems(d) {
		if _, ok, err := seen.Get(kv[0]); err != nil {
			return nil, err
		} else if ok {
			continue
		}
		key, tag, err := scalarText(kv[0])
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", kv[0], err)
		}
		val, err := b.node(kv[1], nil, depth+1)
		if err != nil {
			return nil, below(key, err)
		}
		content = append(content, &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: key}, val)
	}
	n.Content = content
	return n, nil
}

// sortedItems are the items of a dictionary in the order in which the catalog
// writes what a script made.
func sortedItems(d *starlark.Dict) []starlark.Tuple {
	items := d.Items()
	slices.SortStableFunc(items, func(a, b starlark.Tuple) int {
		x, _ := starlark.AsString(a[0])
		y, _ := starlark.AsString(b[0])
		return strings.Compare(x, y)
	})
	return items
}

func (b *bridge) sequence(v starlark.Value, old *yaml.Node, depth int) (*yaml.Node, error) {
	n := b.base(v, old, yaml.SequenceNode)
	if len(n.Content) == 0 {
		n.Style &^= yaml.FlowStyle
	}
	var elems []starlark.Value
	for e := range starlark.Elements(v.(starlark.Iterable)) {
		elems = append(elems, e)
	}
	content := make([]*yaml.Node, len(elems))
	for i, was := range b.align(elems, n.Content) {
		e, err := b.node(elems[i], was, depth+1)
		if err != nil {
			return nil, below(fmt.Sprintf("[%d]", i), err)
		}
		content[i] = e
	}
	n.Content = content
	return n, nil
}

// align finds the old node of each element of a list: the one that it was made
// from, one with the same scalar, else the one in its place, if nobody has it.
func (b *bridge) align(elems []starlark.Value, old []*yaml.Node) []*yaml.Node {
	aligned := make([]*yaml.Node, len(elems))
	free := map[*yaml.Node]bool{}
	scalars := map[starlark.Value][]*yaml.Node{}
	for _, n := range old {
		free[n] = true
		if n.Kind == yaml.ScalarNode {
			s := scalarKey(scalarValue(n))
			scalars[s] = append(scalars[s], n)
		}
	}
	for i, e := range elems {
		n := b.originOf(e)
		if n == nil {
			if s := scalarKey(e); s != nil && len(scalars[s]) > 0 {
				n, scalars[s] = scalars[s][0], scalars[s][1:]
			}
		}
		if free[n] {
			aligned[i] = n
			delete(free, n)
		}
	}
	for i, e := range elems {
		if aligned[i] == nil && i < len(old) && free[old[i]] && b.originOf(e) == nil {
			aligned[i] = old[i]
			delete(free, old[i])
		}
	}
	return aligned
}

// scalarKey returns a scalar as a map key, nil for other values.
func scalarKey(v starlark.Value) starlark.Value {
	switch v := v.(type) {
	case starlark.String, starlark.Bool, starlark.NoneType:
		return v
	case starlark.Int, starlark.Float:
		return starlark.String("\x00" + v.String())
	}
	return nil
}
