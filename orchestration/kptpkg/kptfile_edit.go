package kptpkg

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// KptfileEditor changes a Kptfile by its nodes, so that comments, order and
// unknown fields stay. New fields go where kpt writes them.
type KptfileEditor struct{ root *yaml.Node }

// kptfileOrder is the order in which kpt writes a Kptfile's fields.
var kptfileOrder = []string{"apiVersion", "kind", "metadata", "upstream", "upstreamLock", "info", "pipeline", "inventory", "status"}

var metadataOrder = []string{"name", "namespace", "labels", "annotations"}

// EditKptfile returns the tree with the Kptfile of the package at dir changed
// by edit. The first document with content is the Kptfile. Where edit changes
// nothing the tree is returned as it was.
func (t Tree) EditKptfile(dir string, edit func(*KptfileEditor) error) (Tree, error) {
	p := path.Join(dir, KptfileName)
	f := t.File(p)
	if f == nil {
		return t, fmt.Errorf("%s: no such file: a package needs a Kptfile", p)
	}
	docs := slices.Clone(f.Docs())
	for i, d := range docs {
		root, err := d.Copy()
		if err != nil {
			return t, fmt.Errorf("%s: %w", p, err)
		}
		if root == nil {
			continue
		}
		if root.Kind != yaml.MappingNode {
			return t, fmt.Errorf("%s: not a Kptfile: want a mapping with apiVersion kpt.dev/v1 and kind Kptfile", p)
		}
		if err := edit(&KptfileEditor{root}); err != nil {
			return t, fmt.Errorf("%s: %w", p, err)
		}
		if docs[i] = d.With(root); docs[i] == d {
			return t, nil
		}
		return t.With(f.WithDocs(docs...))
	}
	return t, fmt.Errorf("%s: empty: a package needs a Kptfile", p)
}

// SetName sets metadata.name.
func (k *KptfileEditor) SetName(name string) {
	setField(k.metadata(), "name", scalar(name), metadataOrder)
}

// Remove takes a top-level field away.
func (k *KptfileEditor) Remove(key string) { removeField(k.root, key) }

// SetUpstream sets upstream to u, keeping its comments where the form stays.
func (k *KptfileEditor) SetUpstream(u Upstream) {
	n := mapping()
	addField(n, "type", scalar(u.Type))
	git := mapping()
	if u.Git != nil {
		addField(git, "repo", scalar(u.Git.Repo))
		addField(git, "directory", scalar(u.Git.Directory))
		addField(git, "ref", scalar(u.Git.Ref))
		addField(n, "git", git)
	}
	addImage(n, u.OCI)
	if u.UpdateStrategy != "" {
		addField(n, "updateStrategy", scalar(u.UpdateStrategy))
	}
	k.update("upstream", n)
}

// SetUpstreamLock sets upstreamLock to l.
func (k *KptfileEditor) SetUpstreamLock(l UpstreamLock) {
	n := mapping()
	addField(n, "type", scalar(l.Type))
	if l.Git != nil {
		git := mapping()
		addField(git, "repo", scalar(l.Git.Repo))
		addField(git, "directory", scalar(l.Git.Directory))
		addField(git, "ref", scalar(l.Git.Ref))
		addField(git, "commit", scalar(l.Git.Commit))
		addField(n, "git", git)
	}
	addImage(n, l.OCI)
	k.update("upstreamLock", n)
}

// addImage adds the field oci to an upstream or its lock, where it has one.
func addImage(n *yaml.Node, o *OCI) {
	if o != nil {
		oci := mapping()
		addField(oci, "image", scalar(o.Image))
		addField(n, "oci", oci)
	}
}

// SetInfo sets the fields of info that n, a mapping, holds; others stay.
func (k *KptfileEditor) SetInfo(n *yaml.Node) {
	if len(n.Content) == 0 {
		return
	}
	info := child(k.root, "info", yaml.MappingNode, kptfileOrder)
	for i := 0; i+1 < len(n.Content); i += 2 {
		setField(info, n.Content[i].Value, n.Content[i+1], keys(n))
	}
}

// MergeLabels adds labels, overwriting those of the same key, in sorted order.
func (k *KptfileEditor) MergeLabels(labels map[string]string) { k.mergeMap("labels", labels) }

// MergeAnnotations adds annotations as MergeLabels does labels.
func (k *KptfileEditor) MergeAnnotations(a map[string]string) { k.mergeMap("annotations", a) }

// ReplaceLabels makes the labels equal to labels; nil leaves them alone.
func (k *KptfileEditor) ReplaceLabels(labels map[string]string) { k.replaceMap("labels", labels) }

// ReplaceAnnotations makes the annotations equal to a; nil leaves them alone.
func (k *KptfileEditor) ReplaceAnnotations(a map[string]string) { k.replaceMap("annotations", a) }

func (k *KptfileEditor) mergeMap(key string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	n := child(k.metadata(), key, yaml.MappingNode, metadataOrder)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		setField(n, name, scalar(m[name]), nil)
	}
}

func (k *KptfileEditor) replaceMap(key string, m map[string]string) {
	if m == nil {
		return
	}
	if old := field(k.metadata(), key); old != nil {
		for _, name := range keys(old) {
			if _, keep := m[name]; !keep {
				removeField(old, name)
			}
		}
		if len(m) == 0 {
			removeField(k.metadata(), key)
		}
	}
	k.mergeMap(key, m)
}

// AddReadinessGates adds the condition types that info.readinessGates doesn't
// hold yet, in the order given.
func (k *KptfileEditor) AddReadinessGates(types []string) {
	if len(types) == 0 {
		return
	}
	gates := k.gates()
	have := gateTypes(gates)
	for _, t := range types {
		if !slices.Contains(have, t) {
			have = append(have, t)
			gates.Content = append(gates.Content, gate(t))
		}
	}
}

// ReplaceReadinessGates makes info.readinessGates hold types, in that order;
// nil leaves them alone, none removes them. Gates that stay keep their nodes.
func (k *KptfileEditor) ReplaceReadinessGates(types []string) {
	if types == nil {
		return
	}
	if len(types) == 0 {
		if info := field(k.root, "info"); info != nil {
			removeField(info, "readinessGates")
			if len(info.Content) == 0 {
				removeField(k.root, "info")
			}
		}
		return
	}
	gates := k.gates()
	byType := map[string]*yaml.Node{}
	for i, t := range gateTypes(gates) {
		byType[t] = gates.Content[i]
	}
	var out []*yaml.Node
	for _, t := range types {
		n := byType[t]
		if n == nil {
			n = gate(t)
			byType[t] = n
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	gates.Content = out
}

func (k *KptfileEditor) gates() *yaml.Node {
	info := child(k.root, "info", yaml.MappingNode, kptfileOrder)
	return child(info, "readinessGates", yaml.SequenceNode, nil)
}

func gate(t string) *yaml.Node {
	n := mapping()
	addField(n, "conditionType", scalar(t))
	return n
}

func gateTypes(gates *yaml.Node) []string {
	out := make([]string, len(gates.Content))
	for i, g := range gates.Content {
		if g.Kind == yaml.MappingNode {
			if t := field(g, "conditionType"); t != nil {
				out[i] = t.Value
			}
		}
	}
	return out
}

// ReplaceConditions makes status.conditions equal to conditions, in their
// order, leaving alone those whose type owned says are somebody else's: they
// keep their place ahead of the others. nil leaves all alone.
func (k *KptfileEditor) ReplaceConditions(conditions []Condition, owned func(conditionType string) bool) {
	if conditions == nil {
		return
	}
	status := field(k.root, "status")
	if status == nil && len(conditions) == 0 {
		return
	}
	list := k.conditions()
	byType := map[string]*yaml.Node{}
	var out []*yaml.Node
	for _, n := range list.Content {
		t := conditionType(n)
		if owned(t) {
			out = append(out, n)
		} else {
			byType[t] = n
		}
	}
	for _, c := range conditions {
		if owned(c.Type) {
			continue
		}
		n := byType[c.Type]
		if n == nil {
			n = mapping()
		}
		fillCondition(n, c)
		out = append(out, n)
	}
	list.Content = out
	k.dropEmptyStatus()
}

// SetCondition sets the condition of c's type, adding it at the end when there
// is none.
func (k *KptfileEditor) SetCondition(c Condition) {
	list := k.conditions()
	for _, n := range list.Content {
		if conditionType(n) == c.Type {
			fillCondition(n, c)
			return
		}
	}
	n := mapping()
	fillCondition(n, c)
	list.Content = append(list.Content, n)
}

// HasCondition says whether status.conditions holds one of the type.
func (k *KptfileEditor) HasCondition(typ string) bool {
	status := field(k.root, "status")
	if status == nil {
		return false
	}
	list := field(status, "conditions")
	return list != nil && slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return conditionType(n) == typ })
}

// SetRenderStatus sets status.renderStatus; nil takes it away.
func (k *KptfileEditor) SetRenderStatus(n *yaml.Node) {
	if n == nil {
		removeField(field(k.root, "status"), "renderStatus")
		return
	}
	status := child(k.root, "status", yaml.MappingNode, kptfileOrder)
	setField(status, "renderStatus", n, nil)
}

// HasRenderStatus says whether there is a status.renderStatus.
func (k *KptfileEditor) HasRenderStatus() bool {
	status := field(k.root, "status")
	return status != nil && field(status, "renderStatus") != nil
}

func (k *KptfileEditor) conditions() *yaml.Node {
	status := child(k.root, "status", yaml.MappingNode, kptfileOrder)
	return child(status, "conditions", yaml.SequenceNode, nil)
}

func (k *KptfileEditor) dropEmptyStatus() {
	status := field(k.root, "status")
	if list := field(status, "conditions"); list != nil && len(list.Content) == 0 {
		removeField(status, "conditions")
	}
	if len(status.Content) == 0 {
		removeField(k.root, "status")
	}
}

func conditionType(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		if t := field(n, "type"); t != nil {
			return t.Value
		}
	}
	return ""
}

func fillCondition(n *yaml.Node, c Condition) {
	order := []string{"type", "status", "reason", "message"}
	setField(n, "type", scalar(c.Type), order)
	setField(n, "status", scalar(c.Status), order)
	for key, v := range map[string]string{"reason": c.Reason, "message": c.Message} {
		if v == "" {
			removeField(n, key)
		} else {
			setField(n, key, scalar(v), order)
		}
	}
}

func (k *KptfileEditor) metadata() *yaml.Node {
	return child(k.root, "metadata", yaml.MappingNode, kptfileOrder)
}

// update sets a top-level field, reusing the nodes that are there.
func (k *KptfileEditor) update(key string, v *yaml.Node) {
	if old := field(k.root, key); old != nil && old.Kind == yaml.MappingNode {
		overwrite(old, v)
		return
	}
	setField(k.root, key, v, kptfileOrder)
}

// overwrite makes the mapping old say what v says.
func overwrite(old, v *yaml.Node) {
	for _, key := range keys(old) {
		if field(v, key) == nil {
			removeField(old, key)
		}
	}
	for i := 0; i < len(v.Content); i += 2 {
		key, val := v.Content[i].Value, v.Content[i+1]
		if o := field(old, key); o != nil && o.Kind == yaml.MappingNode && val.Kind == yaml.MappingNode {
			overwrite(o, val)
			continue
		}
		setField(old, key, val, keys(v))
	}
}

// The few operations on nodes that edits are made of.

func scalar(v string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: v}
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap} }

func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func keys(n *yaml.Node) []string {
	var out []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, n.Content[i].Value)
	}
	return out
}

func addField(n *yaml.Node, key string, v *yaml.Node) {
	n.Content = append(n.Content, scalar(key), v)
}

// setField sets key to v. A scalar that is there keeps its style and comment; a
// new key goes before the first one that order puts after it.
func setField(n *yaml.Node, key string, v *yaml.Node, order []string) {
	if old := field(n, key); old != nil {
		if old.Kind == yaml.ScalarNode && v.Kind == yaml.ScalarNode {
			if old.Value != v.Value || old.ShortTag() != v.ShortTag() {
				old.Value, old.Tag = v.Value, v.Tag
				old.Style &= yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle
			}
			return
		}
		v.LineComment, v.HeadComment, v.FootComment = old.LineComment, old.HeadComment, old.FootComment
		*old = *v
		return
	}
	at := len(n.Content)
	if pos := slices.Index(order, key); pos >= 0 {
		for i := 0; i < len(n.Content); i += 2 {
			if slices.Contains(order[pos+1:], n.Content[i].Value) {
				at = i
				break
			}
		}
	}
	if len(n.Content) == 0 {
		n.Style &^= yaml.FlowStyle
	}
	n.Content = slices.Insert(n.Content, at, scalar(key), v)
}

func removeField(n *yaml.Node, key string) {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// child returns the value of key, made with kind when it is missing or null.
func child(n *yaml.Node, key string, kind yaml.Kind, order []string) *yaml.Node {
	if c := field(n, key); c != nil && c.Kind == kind {
		return c
	}
	c := &yaml.Node{Kind: kind}
	removeField(n, key)
	setField(n, key, c, order)
	return c
}
