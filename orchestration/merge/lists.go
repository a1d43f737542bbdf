package merge

import (
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// items merges lists item by item where the schema says what tells their items
// apart; ok is false where it doesn't, or where items can't be told apart.
func (w walker) items(at *place, s schema, base, local, upstream *yaml.Node) (r *yaml.Node, ok bool) {
	if !isList(base) || !isList(local) || !isList(upstream) || isNull(local) || isNull(upstream) {
		return nil, false
	}
	if isNull(base) {
		base = nil
	}
	key, of := s.list(base, local, upstream)
	if key == nil {
		return nil, false
	}
	bl, ok1 := listOf(base, key)
	ll, ok2 := listOf(local, key)
	ul, ok3 := listOf(upstream, key)
	if !ok1 || !ok2 || !ok3 {
		return nil, false
	}
	switch {
	case upstream == nil:
		// gone as a whole, as kpt takes it, with what was added to it locally
		return nil, false
	case local == nil && base == nil:
		return nil, false
	}
	out := map[string]*yaml.Node{}
	for i, k := range ll.keys {
		l, b, u := ll.nodes[i], bl.by[k], ul.by[k]
		switch here := at.down("["+k+"]", l); {
		case b == nil && u == nil:
			out[k] = l
		case u == nil: // deleted upstream
			out[k] = w.whole(here, b, l, nil)
		default:
			out[k] = w.value(here, of, b, l, u)
		}
	}
	for i, k := range ul.keys {
		if ll.by[k] == nil {
			// an item deleted locally comes back whole or not at all: a part of
			// it would be no valid item
			out[k] = w.whole(at.down("["+k+"]", nil), bl.by[k], nil, ul.nodes[i])
		}
	}
	gone := local == nil
	if gone {
		n := *upstream
		n.Content, n.Anchor, n.Line, n.Column = nil, "", 0, 0
		local = &n
	} else {
		nodeComments(base, local, upstream)
	}
	var order []string
	switch {
	case base != nil && ll.sameOrder(bl):
		order = ul.place(ll, out, nil) // only upstream may have changed the order
	case !ll.moved(ul):
		order = ll.place(ul, out, s)
	case w.takesOrder(at, s, bl, ll, ul):
		order = ul.around(ll, out)
	case ordered(s):
		order = ll.around(ul, out)
	default:
		order = ll.place(ul, out, s)
	}
	before := len(local.Content)
	local.Content = nil
	for _, k := range order {
		local.Content = append(local.Content, out[k])
	}
	switch {
	case len(local.Content) == 0 && (gone || len(ll.keys) == 0 && len(ul.keys) > 0):
		return nil, true // deleted locally, and nothing new
	case before == 0 && upstream.Style&yaml.FlowStyle == 0:
		local.Style &^= yaml.FlowStyle
	}
	return local, true
}

// takesOrder says whether items that local and upstream have in another order are
// to stand as upstream has them: upstream alone moved them, or wins where both did
// and the order means something to s.
func (w walker) takesOrder(at *place, s schema, base, local, upstream list) bool {
	switch here, there := local.moved(base), upstream.moved(base); {
	case here != there:
		return there
	case ordered(s):
		return w.clash(at, base.names(), local.names(), upstream.names(), Upstream) == Upstream
	}
	return false
}

// isList says whether a node may stand for a list: nothing and null are empty.
func isList(n *yaml.Node) bool { return n == nil || n.Kind == yaml.SequenceNode || isNull(n) }

// list is a list whose items can be told apart.
type list struct {
	keys  []string
	nodes []*yaml.Node
	by    map[string]*yaml.Node
}

// listOf indexes a list; ok is false when an item has no key or a key comes
// twice.
func listOf(n *yaml.Node, key keyFunc) (l list, ok bool) {
	if n == nil {
		return list{}, true
	}
	l.by = make(map[string]*yaml.Node, len(n.Content))
	for _, item := range n.Content {
		k, ok := key(item)
		if !ok || l.by[k] != nil {
			return list{}, false
		}
		l.by[k] = item
		l.keys = append(l.keys, k)
		l.nodes = append(l.nodes, item)
	}
	return l, true
}

func (l list) sameOrder(m list) bool {
	if len(l.keys) != len(m.keys) {
		return false
	}
	for i, k := range l.keys {
		if m.keys[i] != k {
			return false
		}
	}
	return true
}

// moved says whether items of both lists stand in another order in one of them.
func (l list) moved(m list) bool {
	i := 0
	for _, k := range l.keys {
		if m.by[k] == nil {
			continue
		}
		for l.by[m.keys[i]] == nil {
			i++
		}
		if m.keys[i] != k {
			return true
		}
		i++
	}
	return false
}

// names is a list of what tells the items apart, nil of none.
func (l list) names() *yaml.Node {
	if len(l.keys) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, k := range l.keys {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: k})
	}
	return n
}

// around orders the items of out: as in l, those only in m behind all that come
// before them there.
func (l list) around(m list, out map[string]*yaml.Node) []string {
	at := make(map[string]int, len(l.keys))
	for i, k := range l.keys {
		at[k] = i + 1
	}
	behind := make([][]string, len(l.keys)+1)
	last := 0
	for _, k := range m.keys {
		if i, ok := at[k]; ok {
			last = max(last, i)
		} else if out[k] != nil {
			behind[last] = append(behind[last], k)
		}
	}
	order := behind[0]
	for i, k := range l.keys {
		if out[k] != nil {
			order = append(order, k)
		}
		order = append(order, behind[i+1]...)
	}
	return order
}

// place orders the items of out: as in l, those only in m after the item they
// come after there and what follows it in l alone, else at the end. Where the
// order means something to s, items with none before them come before the one
// they come before in m.
func (l list) place(m list, out map[string]*yaml.Node, s schema) []string {
	after, before := map[string][]string{}, map[string][]string{}
	var head []string
	last := ""
	for _, k := range m.keys {
		switch {
		case l.by[k] != nil:
			if last == "" && ordered(s) {
				before[k], head = head, nil
			}
			last = k
		case out[k] == nil:
		case last != "":
			after[last] = append(after[last], k)
		default:
			head = append(head, k)
		}
	}
	var order, waiting []string
	for _, k := range l.keys {
		if m.by[k] != nil {
			order, waiting = append(order, waiting...), after[k]
		}
		order = append(order, before[k]...)
		if out[k] != nil {
			order = append(order, k)
		}
	}
	return append(append(order, waiting...), head...)
}
