package fn

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// The annotations by which kpt and kustomize tell a function where a resource
// is from, each under the name of now and the one of old. The id is ours to
// choose and comes back on what the function kept.
const (
	wirePath, wireOldPath   = "internal.config.kubernetes.io/path", "config.kubernetes.io/path"
	wireIndex, wireOldIndex = "internal.config.kubernetes.io/index", "config.kubernetes.io/index"
	wireID, wireOldID       = "internal.config.kubernetes.io/id", "config.k8s.io/id"
	// wirePackage is the directory of the resource's package. kpt writes it as
	// the host has it; here it starts at what is rendered, "/".
	wirePackage = "internal.config.kubernetes.io/package-path"
)

// isWire says whether EncodeCall adds the annotation.
func isWire(key string) bool {
	switch key {
	case wirePath, wireOldPath, wireIndex, wireOldIndex, wireID, wireOldID, wirePackage:
		return true
	}
	return false
}

// isHosts says whether hosts use the annotation to keep accounts, so that it
// has no place in a resource at rest.
func isHosts(key string) bool {
	return isWire(key) || strings.HasPrefix(key, "internal.config.kubernetes.io/") || strings.HasPrefix(key, "internal.config.k8s.io/")
}

// EncodeCall writes a call as the ResourceList that a function outside this
// process reads: items with path, index and an id in their annotations, then
// the functionConfig. The call's nodes stay as they are.
func EncodeCall(c *Call) ([]byte, error) {
	items := &yaml.Node{Kind: yaml.SequenceNode}
	for i, o := range c.Items {
		id := strconv.Itoa(i)
		add := append([]annotation{{key: wireID, value: id}, {key: wireOldID, value: id}}, placeAnnotations(o)...)
		if o.Package != "" {
			add = append(add, annotation{key: wirePackage, value: path.Join("/", o.Package)})
		}
		n, err := annotated(o.Node.YNode(), add)
		if err != nil {
			return nil, &ResultError{
				Result: Result{
					Message: err.Error(), Severity: Error, ResourceRef: o.Ref(),
					File: &File{Path: o.Path, Index: max(o.Index, 0)}, Field: &Field{Path: "metadata.annotations"},
				},
				Err: err,
			}
		}
		items.Content = append(items.Content, n)
	}
	return encodeList(items, c.Config, nil)
}

// encodeList writes a ResourceList. Config and results may be nil.
func encodeList(items *yaml.Node, config *yaml.RNode, results []Result) ([]byte, error) {
	list := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		stringNode("apiVersion"), stringNode("config.kubernetes.io/v1"),
		stringNode("kind"), stringNode("ResourceList"),
		stringNode("items"), items,
	}}
	if !config.IsNil() {
		list.Content = append(list.Content, stringNode("functionConfig"), config.YNode())
	}
	if len(results) > 0 {
		var n yaml.Node
		if err := n.Encode(results); err != nil {
			return nil, fmt.Errorf("writing results: %w", err)
		}
		list.Content = append(list.Content, stringNode("results"), &n)
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if err := e.Encode(list); err != nil {
		return nil, fmt.Errorf("writing the resource list: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("writing the resource list: %w", err)
	}
	return b.Bytes(), nil
}

// DecodeCall takes a function's answer to EncodeCall(c) into c, whose items must
// be those that were sent. Items are told by their id: one that was sent stays
// the same Object, with its comments and the order of its keys given back (see
// [Heal]); one without an id we gave is new; one that doesn't come back is gone.
// Paths are as the function wrote them and not checked. Index is -1 where the
// function named a file but no place in it.
//
// The answer must be one complete ResourceList. When it isn't, or its items
// can't be told apart, the error says so and c.Items is as before; results that
// could be read are added to c.Results in any case.
func DecodeCall(c *Call, answer []byte) error {
	l, err := parseList(answer)
	if err != nil {
		return fmt.Errorf("reading the function's answer: %w", err)
	}
	c.Results = append(c.Results, l.results...)
	items := make([]*Object, 0, len(l.items))
	news := make([]Object, len(l.items)) // what the items will be once all are known to be good
	back := make([]bool, len(c.Items))
	aliases := newExpander(l.items)
	for i, n := range l.items {
		fail := func(err error) error {
			return fmt.Errorf("reading the function's answer: item %d (%s): %w", i, describe(n), err)
		}
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("reading the function's answer: item %d is not an object", i)
		}
		a := annotations(n)
		o := &Object{}
		if id, ok := sentID(a, len(c.Items)); ok {
			if back[id] {
				return fail(fmt.Errorf("a second item with the %s %d; a function that copies an item must take the copy's id off", wireID, id))
			}
			back[id] = true
			o = c.Items[id]
		}
		if news[i].Path, news[i].Index, err = place(o, a); err != nil {
			return fail(err)
		}
		if dir := a[wirePackage]; dir != "" && (o.Node == nil || o.Package != "") {
			news[i].Package = cmp.Or(strings.Trim(dir, "/"), ".")
		}
		var old *yaml.Node
		if o.Node != nil {
			old = o.Node.YNode()
		}
		if err := aliases.expand(old, n); err != nil {
			return fail(err)
		}
		unannotate(old, n)
		news[i].Node = yaml.NewRNode(n)
		items = append(items, o)
	}
	for i, o := range items {
		if o.Node != nil {
			if old := o.Node.YNode(); Heal(old, news[i].Node.YNode()) == old {
				news[i].Node = o.Node
			}
		}
		*o = news[i]
	}
	c.Items = items
	return nil
}

// DecodeResults returns the results of an answer whose items are of no use,
// since the function failed. ok is false when it is no ResourceList.
func DecodeResults(answer []byte) (results []Result, ok bool) {
	l, err := parseList(answer)
	if err != nil {
		return nil, false
	}
	return l.results, true
}

// wireList is a parsed ResourceList.
type wireList struct {
	items   []*yaml.Node
	config  *yaml.Node // nil when there is none
	results []Result
}

func parseList(src []byte) (*wireList, error) {
	if len(bytes.TrimSpace(src)) == 0 {
		return nil, errors.New("it is empty, want a ResourceList")
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(src))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, errors.New("it has nothing but comments, want a ResourceList")
	} else if err != nil {
		return nil, fmt.Errorf("it is not YAML: %w", err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) && (err != nil || !isEmpty(&more)) {
		return nil, errors.New("it goes on after the first document, want one ResourceList")
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	kind, version := mapValue(root, "kind"), mapValue(root, "apiVersion")
	if kind == nil || kind.Value != "ResourceList" || version == nil || !strings.HasPrefix(version.Value, "config.kubernetes.io/") {
		return nil, errors.New("it is not a ResourceList of config.kubernetes.io")
	}
	if root.Style&yaml.FlowStyle != 0 {
		inBlocks(root) // JSON, whose style is nobody's choice
	}
	l := &wireList{}
	// An SDK leaves out items when there are none, so their absence is an answer.
	if items := mapValue(root, "items"); items != nil && !isNullNode(items) {
		if items.Kind != yaml.SequenceNode {
			return nil, errors.New("items is not a list")
		}
		l.items = items.Content
	}
	if config := mapValue(root, "functionConfig"); config != nil && !isNullNode(config) {
		l.config = config
	}
	results := mapValue(root, "results")
	if results != nil && results.Kind == yaml.MappingNode { // as functions wrote it before v1
		results = mapValue(results, "items")
	}
	if results != nil && results.Kind == yaml.SequenceNode {
		for _, n := range results.Content {
			l.results = append(l.results, decodeResult(n))
		}
	}
	return l, nil
}

// decodeResult reads what can be read of a result: what a function has to say
// shouldn't be lost for one field of the wrong type.
func decodeResult(n *yaml.Node) Result {
	var r Result
	if err := n.Decode(&r); err != nil && r.Message == "" {
		r.Message = n.Value
	}
	return r
}

// sentID reads the id of an item; ok is false when it is none of the n sent.
func sentID(a map[string]string, n int) (id int, ok bool) {
	for _, key := range []string{wireID, wireOldID} {
		if id, err := strconv.Atoi(a[key]); err == nil && 0 <= id && id < n {
			return id, true
		}
	}
	return 0, false
}

// place is where an answer wants an object, which was where o says.
func place(o *Object, a map[string]string) (path string, index int, err error) {
	wasIndex := ""
	if o.Path != "" && o.Index >= 0 {
		wasIndex = strconv.Itoa(o.Index)
	}
	path, ok := reconcile(o.Path, a[wirePath], a[wireOldPath])
	if !ok {
		return "", 0, fmt.Errorf("annotations %s: %q and %s: %q contradict each other", wirePath, a[wirePath], wireOldPath, a[wireOldPath])
	}
	at, ok := reconcile(wasIndex, a[wireIndex], a[wireOldIndex])
	if !ok {
		return "", 0, fmt.Errorf("annotations %s: %q and %s: %q contradict each other", wireIndex, a[wireIndex], wireOldIndex, a[wireOldIndex])
	}
	switch {
	case path == "":
		return "", 0, nil
	case at == "":
		return path, -1, nil
	}
	index, err = strconv.Atoi(at)
	if err != nil || index < 0 {
		return "", 0, fmt.Errorf("annotation %s: %q is not a number from zero", wireIndex, at)
	}
	return path, index, nil
}

// reconcile chooses between an annotation's two names as kyaml does: one that
// is missing says what the other says, and of two that differ the one that was
// changed wins. ok is false when both were.
func reconcile(was, now, old string) (value string, ok bool) {
	switch {
	case now == "" || now == old:
		return old, true
	case old == "" || old == was:
		return now, true
	case now == was:
		return old, true
	}
	return "", false
}

type annotation struct {
	key, value string
	style      yaml.Style // of the value, as it came; 0 for one that is ours
}

// placeAnnotations say where an object is, if anywhere.
func placeAnnotations(o *Object) []annotation {
	if o.Path == "" {
		return nil
	}
	a := []annotation{{key: wirePath, value: o.Path}, {key: wireOldPath, value: o.Path}}
	if o.Index >= 0 {
		index := strconv.Itoa(o.Index)
		a = append(a, annotation{key: wireIndex, value: index}, annotation{key: wireOldIndex, value: index})
	}
	return a
}

// annotated is n with annotations added, sharing all other nodes with it. Where
// an alias stands for what is changed, it is a copy of what that was before.
func annotated(n *yaml.Node, add []annotation) (*yaml.Node, error) {
	if shared := anchoredBy(n, add); len(shared) > 0 {
		var err error
		if n, err = newExpander([]*yaml.Node{n}).detached(n, shared); err != nil {
			return nil, err
		}
	}
	root := shallow(n)
	root.Anchor = ""
	meta, err := openField(root, "metadata")
	if err != nil {
		return nil, err
	}
	ann, err := openField(meta, "annotations")
	if err != nil {
		return nil, err
	}
	for _, a := range add {
		removeField(ann, a.key)
		value := stringNode(a.value)
		value.Style = a.style
		ann.Content = append(ann.Content, stringNode(a.key), value)
	}
	return root, nil
}

// anchoredBy are the nodes with anchors that annotations change or replace where
// they are added: n, its metadata, the annotations, and those of the same keys.
func anchoredBy(n *yaml.Node, add []annotation) map[*yaml.Node]bool {
	var shared map[*yaml.Node]bool
	note := func(n *yaml.Node) {
		if n.Anchor != "" {
			if shared == nil {
				shared = map[*yaml.Node]bool{}
			}
			shared[n] = true
		}
	}
	note(n)
	meta := mapValue(n, "metadata")
	if meta == nil {
		return shared
	}
	note(meta)
	ann := mapValue(meta, "annotations")
	if ann == nil {
		return shared
	}
	note(ann)
	var within func(n *yaml.Node)
	within = func(n *yaml.Node) {
		note(n)
		for _, c := range n.Content {
			within(c)
		}
	}
	for i := 0; i+1 < len(ann.Content); i += 2 {
		if slices.ContainsFunc(add, func(a annotation) bool { return a.key == ann.Content[i].Value }) {
			within(ann.Content[i])
			within(ann.Content[i+1])
		}
	}
	return shared
}

// openField replaces a mapping's field by a shallow copy, a new mapping where it
// is absent or null, and returns it.
func openField(n *yaml.Node, field string) (*yaml.Node, error) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != field {
			continue
		}
		v := n.Content[i+1]
		if v.Kind == yaml.AliasNode && v.Alias != nil {
			var err error
			if v, err = newExpander([]*yaml.Node{v.Alias}).value(v, 0); err != nil {
				return nil, err
			}
		}
		switch {
		case isNullNode(v):
			n.Content[i+1] = &yaml.Node{Kind: yaml.MappingNode}
		case v.Kind == yaml.MappingNode:
			n.Content[i+1] = shallow(v)
			n.Content[i+1].Anchor = ""
		default:
			return nil, fmt.Errorf("%s is not a mapping", field)
		}
		return n.Content[i+1], nil
	}
	v := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, stringNode(field), v)
	return v, nil
}

// unannotate takes the hosts' annotations off fresh, in place, except those
// that the resource itself had: of these the ones EncodeCall wrote over get
// their values back. What was empty before is left as it was.
func unannotate(old, fresh *yaml.Node) {
	meta := mapValue(fresh, "metadata")
	if meta == nil || meta.Kind != yaml.MappingNode {
		return
	}
	ann := mapValue(meta, "annotations")
	if ann == nil || ann.Kind != yaml.MappingNode {
		return
	}
	var oldMeta, oldAnn *yaml.Node
	if old != nil {
		oldMeta = resolved(mapValue(old, "metadata"))
	}
	if oldMeta != nil {
		oldAnn = resolved(mapValue(oldMeta, "annotations"))
	}
	var own map[string]*yaml.Node
	if oldAnn != nil && oldAnn.Kind == yaml.MappingNode {
		own = make(map[string]*yaml.Node, len(oldAnn.Content)/2)
		for i := 0; i+1 < len(oldAnn.Content); i += 2 {
			own[oldAnn.Content[i].Value] = oldAnn.Content[i+1]
		}
	}
	kept := ann.Content[:0]
	for i := 0; i+1 < len(ann.Content); i += 2 {
		k, v := ann.Content[i], ann.Content[i+1]
		if isHosts(k.Value) {
			was, ok := own[k.Value]
			if !ok {
				continue
			}
			if isWire(k.Value) {
				if v = yaml.CopyYNode(was); was.Kind == yaml.AliasNode && was.Alias != nil {
					v = yaml.CopyYNode(was.Alias) // Heal makes it one again
					v.Anchor = ""
				}
			}
		}
		kept = append(kept, k, v)
	}
	ann.Content = kept
	if closeField(oldAnn, meta, "annotations"); len(meta.Content) == 0 {
		closeField(oldMeta, fresh, "metadata")
	}
}

// closeField takes an empty mapping out of n again, or leaves what was there
// when it was null or empty before.
func closeField(old, n *yaml.Node, field string) {
	if v := mapValue(n, field); v == nil || len(v.Content) > 0 {
		return
	}
	if old == nil || len(old.Content) > 0 {
		removeField(n, field)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			n.Content[i+1] = yaml.CopyYNode(old)
		}
	}
}

// annotations are a resource's annotations, of any scalar type.
func annotations(n *yaml.Node) map[string]string {
	meta := resolved(mapValue(n, "metadata"))
	if meta == nil {
		return nil
	}
	ann := resolved(mapValue(meta, "annotations"))
	if ann == nil || ann.Kind != yaml.MappingNode {
		return nil
	}
	a := make(map[string]string, len(ann.Content)/2)
	for i := 0; i+1 < len(ann.Content); i += 2 {
		if v := ann.Content[i+1]; !isNullNode(v) {
			a[ann.Content[i].Value] = v.Value
		}
	}
	return a
}

// describe is an item's kind and name for an error.
func describe(n *yaml.Node) string {
	var words []string
	if k := mapValue(n, "kind"); k != nil {
		words = append(words, k.Value)
	}
	if m := mapValue(n, "metadata"); m != nil {
		if name := mapValue(m, "name"); name != nil {
			words = append(words, name.Value)
		}
	}
	return strings.Join(words, " ")
}

// inBlocks takes flow style and quotes off; what needs them gets them again
// when it is written.
func inBlocks(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle | yaml.DoubleQuotedStyle
	for _, c := range n.Content {
		inBlocks(c)
	}
}

// shallow is a copy of n with the same children.
func shallow(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = slices.Clone(n.Content)
	return &c
}

func removeField(n *yaml.Node, field string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// resolved follows an alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isEmpty says whether a document has no content.
func isEmpty(doc *yaml.Node) bool {
	return doc.Kind == 0 || doc.Kind == yaml.DocumentNode && (len(doc.Content) == 0 || isNullNode(doc.Content[0]))
}

func isNullNode(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull
}

func stringNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: s}
}
