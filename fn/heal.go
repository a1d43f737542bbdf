package fn

import (
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Heal gives a resource back what was lost on its way through a program that
// keeps values only: comments, the order of keys, the style of what didn't
// change. Values are never touched: the result says what fresh says.
//
// Where fresh says nothing that old doesn't, the result is old itself.
// Otherwise it is fresh, mended in place; it shares no nodes with old, and old
// isn't changed. Both are content nodes, not documents.
//
// Fields are matched by key. Items of lists are matched by a field that names
// them (name, key and their like) where every item has one of its own, else by
// being equal, and what is left by position in lists of one length. A comment
// that fresh has and old hasn't is kept. Where fresh has a copy of what an alias
// or merge key of old stands for, it gets the alias again if both places still
// say the same. The time is linear in the size of both.
func Heal(old, fresh *yaml.Node) *yaml.Node {
	h := healer{known: map[string]bool{}}
	h.learn(old)
	if h.heal(old, fresh) {
		return old
	}
	h.relink(fresh)
	return fresh
}

// healer is the state of one Heal.
type healer struct {
	// known are the lines of all head and foot comments of the old resource.
	// Reading and writing YAML moves such comments to neighbouring nodes, so
	// one of these in the fresh resource isn't news wherever it stands.
	known map[string]bool
	// sums are hashes of values, filled where lists need them.
	sums map[*yaml.Node]uint64
	seed maphash.Seed
	// links is what Heal has to know to put aliases back.
	links links
}

func (h *healer) learn(n *yaml.Node) {
	for _, c := range []string{n.HeadComment, n.FootComment} {
		if c == "" {
			continue
		}
		for line := range strings.SplitSeq(c, "\n") {
			h.known[strings.TrimSpace(line)] = true
		}
	}
	for _, c := range n.Content {
		h.learn(c)
	}
}

// heal mends fresh and reports whether it now says the same as old to the last
// comment.
func (h *healer) heal(old, fresh *yaml.Node) bool {
	if old.Kind == yaml.AliasNode && old.Alias != nil && fresh.Kind != yaml.AliasNode {
		return h.expanded(old, fresh)
	}
	same := old.Kind == fresh.Kind && h.value(old, fresh)
	if old.Anchor != "" && !h.links.inCopy {
		h.links.anchor(old, fresh, same)
	}
	return same
}

func (h *healer) value(old, fresh *yaml.Node) bool {
	same := h.comments(old, fresh)
	if fresh.Anchor != "" && old.Anchor != fresh.Anchor {
		same = false
	}
	switch old.Kind {
	case yaml.MappingNode:
		return h.mapping(old, fresh) && same
	case yaml.SequenceNode:
		return h.sequence(old, fresh) && same
	case yaml.AliasNode:
		return old.Value == fresh.Value && same
	}
	return scalar(old, fresh) && same
}

func (h *healer) comments(old, fresh *yaml.Node) bool {
	same := true
	for _, c := range []struct{ was, is *string }{
		{&old.HeadComment, &fresh.HeadComment},
		{&old.FootComment, &fresh.FootComment},
	} {
		if h.news(*c.is) {
			same = same && *c.is == *c.was
		} else {
			*c.is = *c.was
		}
	}
	switch fresh.LineComment {
	case "", old.LineComment:
		fresh.LineComment = old.LineComment
	default:
		same = false
	}
	return same
}

// news reports whether a head or foot comment has a line that the old resource
// hasn't.
func (h *healer) news(comment string) bool {
	if comment == "" {
		return false
	}
	for line := range strings.SplitSeq(comment, "\n") {
		if !h.known[strings.TrimSpace(line)] {
			return true
		}
	}
	return false
}

func (h *healer) mapping(old, fresh *yaml.Node) bool {
	merge := newMerge(old, fresh)
	same := collection(old, fresh) && (merge != nil || len(old.Content) == len(fresh.Content))
	at := make(map[string]int, len(old.Content)/2)
	for i := 0; i+1 < len(old.Content); i += 2 {
		if k := old.Content[i]; k.Kind == yaml.ScalarNode {
			at[scalarKey(k)] = i
		}
	}
	kept := make([]*yaml.Node, len(old.Content)) // the fresh fields in the old places
	var added []*yaml.Node
	for i := 0; i+1 < len(fresh.Content); i += 2 {
		k, v := fresh.Content[i], fresh.Content[i+1]
		j, ok := 0, false
		if k.Kind == yaml.ScalarNode {
			j, ok = at[scalarKey(k)]
		}
		if !ok && merge.take(h, k, v) {
			continue
		}
		if !ok || kept[j] != nil {
			added = append(added, k, v)
			same = false
			continue
		}
		kept[j], kept[j+1] = k, v
		sameKey := h.heal(old.Content[j], k)
		sameValue := h.heal(old.Content[j+1], v)
		same = same && sameKey && sameValue
	}
	if merge != nil {
		all := !slices.Contains(slices.Delete(slices.Clone(kept), merge.at, merge.at+2), nil)
		same = same && all && merge.whole()
		if all && merge.whole() && !h.links.inCopy {
			h.links.merge(fresh, merge)
		}
		kept = slices.Replace(kept, merge.at, merge.at+2, merge.content()...)
	}
	fresh.Content = append(slices.DeleteFunc(kept, func(n *yaml.Node) bool { return n == nil }), added...)
	return same
}

func (h *healer) sequence(old, fresh *yaml.Node) bool {
	same := collection(old, fresh) && len(old.Content) == len(fresh.Content)
	for i, j := range h.pair(old.Content, fresh.Content) {
		if j < 0 {
			same = false
			continue
		}
		sameItem := h.heal(old.Content[j], fresh.Content[i])
		same = same && sameItem && i == j
	}
	return same
}

// collection gives a mapping or list the style of the old one and reports
// whether they are of one type. What was empty was written {} or [] for want of
// a choice.
func collection(old, fresh *yaml.Node) bool {
	if old.ShortTag() != fresh.ShortTag() {
		return false
	}
	fresh.Tag = old.Tag
	if len(old.Content) > 0 || len(fresh.Content) == 0 {
		fresh.Style = old.Style
	}
	return true
}

// namingFields are the fields that tell the items of a list apart, in order of
// preference.
var namingFields = []string{"name", "key", "image", "mountPath", "containerPort", "port", "path", "type"}

// pair finds for each fresh item the index of the old item it came from, -1
// where there is none.
func (h *healer) pair(old, fresh []*yaml.Node) []int {
	from := make([]int, len(fresh))
	for i := range from {
		from[i] = -1
	}
	if len(old) == 0 || len(fresh) == 0 {
		return from
	}
	taken := make([]bool, len(old))
	take := func(i, j int) { from[i], taken[j] = j, true }

	if was, is := named(old, fresh); was != nil {
		for i, name := range is {
			if j, ok := was[name]; ok {
				take(i, j)
			}
		}
	} else {
		equals := make(map[uint64][]int, len(old))
		for j, n := range old {
			s := h.sum(n)
			equals[s] = append(equals[s], j)
		}
		for i, n := range fresh {
			s := h.sum(n)
			if js := equals[s]; len(js) > 0 {
				take(i, js[0])
				equals[s] = js[1:]
			}
		}
	}
	if len(old) == len(fresh) {
		for i := range from {
			if from[i] < 0 && !taken[i] {
				take(i, i)
			}
		}
	}
	return from
}

// named returns the indexes of the old items by name and the names of the fresh
// ones, nil when no field names all the items of both lists.
func named(old, fresh []*yaml.Node) (map[string]int, []string) {
	for _, field := range namingFields {
		was, ok := names(old, field)
		if !ok {
			continue
		}
		is, ok := names(fresh, field)
		if !ok {
			continue
		}
		at := make(map[string]int, len(was))
		for j, name := range was {
			at[name] = j
		}
		return at, is
	}
	return nil, nil
}

// names returns each item's value of field; ok means that all have one and no
// two the same.
func names(items []*yaml.Node, field string) (all []string, ok bool) {
	seen := make(map[string]bool, len(items))
	for _, n := range items {
		v := resolved(mapValue(resolved(n), field))
		if v == nil || v.Kind != yaml.ScalarNode || seen[v.Value] {
			return nil, false
		}
		seen[v.Value] = true
		all = append(all, v.Value)
	}
	return all, true
}

// mapValue is the value of a mapping's field, nil when n is no mapping or has
// no such field.
func mapValue(n *yaml.Node, field string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return n.Content[i+1]
		}
	}
	return nil
}

// sum is a hash of what n says, without comments, styles and the order of keys.
// It only pairs the items of lists: two values with one sum cost a comment, no
// value.
func (h *healer) sum(n *yaml.Node) uint64 {
	if s, ok := h.sums[n]; ok {
		return s
	}
	if h.sums == nil {
		h.sums = map[*yaml.Node]uint64{}
		h.seed = maphash.MakeSeed()
	}
	var s uint64
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		h.sums[n] = 0 // within what it stands for itself
		s = h.sum(n.Alias)
		h.sums[n] = s
		return s
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s += maphash.Comparable(h.seed, [2]uint64{h.sum(n.Content[i]), h.sum(n.Content[i+1])})
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			s = maphash.Comparable(h.seed, [2]uint64{s, h.sum(c)})
		}
	default:
		s = maphash.String(h.seed, scalarKey(n))
	}
	s ^= uint64(n.Kind)
	h.sums[n] = s
	return s
}

// scalarKey is a scalar's type and text.
func scalarKey(n *yaml.Node) string { return scalarTag(n) + " " + n.Value }

// scalarTag is a scalar's type as Kubernetes has it: a date is a string.
func scalarTag(n *yaml.Node) string {
	if tag := n.ShortTag(); tag != "!!timestamp" {
		return tag
	}
	return yaml.NodeTagString
}

// scalar gives fresh the spelling of old where both say the same, and its
// quotes where both are strings.
func scalar(old, fresh *yaml.Node) bool {
	if equalScalars(old, fresh) {
		fresh.Value, fresh.Tag, fresh.Style = old.Value, old.Tag, old.Style
		return true
	}
	quoted := yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle
	if fresh.Style == 0 && old.Style&quoted != 0 && fresh.ShortTag() == yaml.NodeTagString && !strings.Contains(fresh.Value, "\n") {
		fresh.Style = old.Style & quoted
	}
	return false
}

// equalScalars reports whether two scalars are the same value, however it is
// spelled: null and ~, 0x10 and 16, 1.0 and 1.
func equalScalars(a, b *yaml.Node) bool {
	ta, tb := scalarTag(a), scalarTag(b)
	if a.Value == b.Value {
		return ta == tb
	}
	switch {
	case ta == yaml.NodeTagNull:
		return tb == yaml.NodeTagNull
	case ta == yaml.NodeTagBool && tb == yaml.NodeTagBool:
		return strings.EqualFold(a.Value, b.Value)
	case ta == yaml.NodeTagInt && tb == yaml.NodeTagInt:
		x, errA := integer(a.Value)
		y, errB := integer(b.Value)
		return errA == nil && errB == nil && x == y
	case isNumber(ta) && isNumber(tb):
		x, errA := strconv.ParseFloat(a.Value, 64)
		y, errB := strconv.ParseFloat(b.Value, 64)
		// above 2^53 a float no longer tells neighbouring integers apart
		return errA == nil && errB == nil && x == y && math.Abs(x) < 1<<53
	}
	return false
}

func isNumber(tag string) bool { return tag == yaml.NodeTagInt || tag == yaml.NodeTagFloat }

// integer reads what YAML takes for one; 0777 is octal as in YAML 1.1, which
// the library and Kubernetes follow.
func integer(s string) (int64, error) { return strconv.ParseInt(s, 0, 64) }
