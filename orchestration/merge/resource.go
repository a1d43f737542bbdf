package merge

import (
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// What conflicts say happened.
const (
	bothChanged   = "changed differently on both sides"
	bothAdded     = "added differently on both sides"
	goneUpstream  = "deleted upstream, changed locally"
	goneLocally   = "deleted locally, changed upstream"
	ownInput      = "an input of the package: the local value stays"
	movedApart    = "moved to different files on both sides: it stays where it is locally"
	copiedOver    = "changed locally, replaced by upstream's file"
	removedByCopy = "changed locally, removed as upstream no longer has it"
)

// resolved says what happened where the usual side was to win and doesn't.
var resolved = map[string]string{ownInput: bothChanged, movedApart: "moved to different files on both sides", copiedOver: bothChanged, removedByCopy: goneUpstream}

// Words for what became of a whole resource or file.
const (
	present = "present"
	changed = "changed"
	added   = "added"
	deleted = "deleted"
)

// mergeResource returns what an object's document is to be, nil when it is to
// go: documents of local or upstream as they are wherever that will do.
func (p *part) mergeResource(t *triple) (*yamldoc.Doc, error) {
	b, l, u := t.base, t.local, t.upstream
	switch {
	case l == nil && u == nil:
		return nil, nil
	case l == nil && b == nil:
		return u.doc, nil
	case u == nil && b == nil:
		return l.doc, nil
	case u == nil:
		if unchanged(b.doc, l.doc) || p.settleWhole(t, present, changed, deleted, goneUpstream) == Upstream {
			return nil, nil
		}
		return l.doc, nil
	case l == nil:
		if b.doc != u.doc && !same(b.root, u.root) && p.settleWhole(t, present, deleted, changed, goneLocally) == Upstream {
			return u.doc, nil
		}
		return nil, nil
	case b != nil && b.doc == u.doc || sameDocText(l.doc, u.doc):
		return l.doc, nil
	case b != nil && sameDocText(b.doc, l.doc):
		return u.doc, nil
	}
	return p.mergeFields(t)
}

// mergeFields merges an object field by field.
func (p *part) mergeFields(t *triple) (*yamldoc.Doc, error) {
	b, l, u := t.base, t.local, t.upstream
	var base *yaml.Node
	if b != nil {
		base = b.root
	}
	if hasAliases(l.root) || hasAliases(u.root) || base != nil && hasAliases(base) {
		return p.mergeAliased(t), nil
	}
	root, err := l.doc.Copy()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	w := walker{entrywise: p.entrywise, clash: func(at *place, base, local, upstream *yaml.Node, prefer Side) Side {
		return p.settleField(t, at, base, local, upstream, prefer)
	}}
	merged := w.value(&place{line: 1}, p.schemas.of(l.root), toolless(base, root), root, toolless(u.root, root))
	if merged == nil { // unreachable: mappings of both sides stay
		return l.doc, nil
	}
	var from *yamldoc.Doc
	if b != nil {
		from = b.doc
	}
	return withHeader(from, l.doc, u.doc, l.doc.With(merged))
}

// withHeader gives a merged document upstream's header, where that has changed
// and local's is still base's. A header is what stands above a document with a
// blank line between them: a licence, mostly. base may be nil.
func withHeader(base, local, upstream, merged *yamldoc.Doc) (*yamldoc.Doc, error) {
	var was string
	if base != nil {
		_, was, _ = cutHeader(base)
	}
	_, mine, _ := cutHeader(local)
	_, is, _ := cutHeader(upstream)
	if was != mine || mine == is {
		return merged, nil
	}
	if _, err := merged.Bytes(); err != nil {
		return nil, err
	}
	marker, _, rest := cutHeader(merged)
	if docs := yamldoc.Split([]byte(marker + is + rest)); len(docs) == 1 {
		return docs[0], nil
	}
	return merged, nil
}

// cutHeader cuts a document into its separator line, its header and the rest.
func cutHeader(d *yamldoc.Doc) (marker, header, rest string) {
	b, _ := d.Bytes() // no header, where there are none
	rest = string(b)
	if strings.HasPrefix(rest, "---\n") {
		marker, rest = rest[:4], rest[4:]
	}
	end, at, comments := 0, 0, false
	for line := range strings.Lines(rest) {
		at += len(line)
		switch line = strings.TrimSpace(line); {
		case line == "" && comments:
			end = at
		case line == "":
		case line[0] == '#':
			comments = true
		default:
			return marker, rest[:end], rest[end:]
		}
	}
	return marker, rest[:end], rest[end:]
}

// mergeAliased merges an object with YAML aliases, which can't be taken apart.
func (p *part) mergeAliased(t *triple) *yamldoc.Doc {
	b, l, u := t.base, t.local, t.upstream
	reason, base := bothAdded, ""
	if b != nil {
		switch {
		case unchanged(b.doc, l.doc):
			return u.doc
		case same(b.root, u.root):
			return l.doc
		}
		reason, base = bothChanged, present
	}
	c := p.conflict(t, &place{line: l.root.Line})
	c.Base, c.Local, c.Upstream, c.Reason = base, changed, changed, reason+", and has YAML aliases"
	if p.settle(c, true) == Upstream {
		return u.doc
	}
	return l.doc
}

// toolless is a resource of another side less what tools keep in local's alone:
// the upstream identifier, which AddKeys writes anew.
func toolless(root, local *yaml.Node) *yaml.Node {
	if child(child(child(local, "metadata"), "annotations"), upstreamIdentifier) == nil {
		return root
	}
	meta := child(root, "metadata")
	ann := child(meta, "annotations")
	if child(ann, upstreamIdentifier) == nil {
		return root
	}
	ann = without(ann, func(k string) bool { return k == upstreamIdentifier })
	return with(root, "metadata", with(meta, "annotations", ann))
}

// unchanged says whether a document of local says what base's says. Merge keys
// and upstream identifiers, which a clone adds, don't count; comments do.
func unchanged(base, local *yamldoc.Doc) bool {
	if sameDocText(base, local) {
		return true
	}
	b, err1 := base.Root()
	l, err2 := local.Root()
	return err1 == nil && err2 == nil && sameText(stripped(b), stripped(l))
}

// stripped is a resource without what a clone adds.
func stripped(root *yaml.Node) *yaml.Node {
	key, meta := entryOf(root, "metadata")
	if meta == nil {
		return root
	}
	ann := child(meta, "annotations")
	if ann != nil && (len(ann.Content) == 0 || child(ann, upstreamIdentifier) != nil) {
		ann = without(ann, func(k string) bool { return k == upstreamIdentifier })
		if len(ann.Content) == 0 {
			ann = nil // as good as the empty annotations it may have been added to
		}
		root = with(root, "metadata", with(meta, "annotations", ann))
	}
	if !strings.HasPrefix(strings.TrimLeft(key.LineComment, "# \t"), mergeComment) {
		return root
	}
	n := *root
	n.Content = append([]*yaml.Node(nil), root.Content...)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "metadata" {
			k := *n.Content[i]
			k.LineComment = ""
			n.Content[i] = &k
			break
		}
	}
	return &n
}

// settleWhole settles what becomes of a whole resource.
func (p *part) settleWhole(t *triple, base, local, upstream, reason string) Side {
	at := &place{}
	if t.local != nil {
		at.line = t.local.root.Line
	}
	c := p.conflict(t, at)
	c.Base, c.Local, c.Upstream, c.Reason = base, local, upstream, reason
	c.Info = p.isInput(t)
	return p.settle(c, false)
}

// settleMove says a resource that both sides moved to different files, and where
// it goes: where it is locally, unless upstream's place was asked for.
func (p *part) settleMove(t *triple) Side {
	c := p.conflict(t, &place{line: t.local.root.Line})
	c.Base, c.Local, c.Upstream, c.Reason, c.Info = t.base.path, t.local.path, t.upstream.path, movedApart, true
	return p.settle(c, false)
}

// settleField settles a field.
func (p *part) settleField(t *triple, at *place, base, local, upstream *yaml.Node, prefer Side) Side {
	c := p.conflict(t, at)
	c.Base, c.Local, c.Upstream, c.Reason = oneLine(base), oneLine(local), oneLine(upstream), reasonOf(base, local, upstream)
	if p.isInput(t) {
		c.Info, c.Reason = true, ownInput
	}
	return p.settle(c, prefer == Upstream)
}

func reasonOf(base, local, upstream *yaml.Node) string {
	switch {
	case base == nil:
		return bothAdded
	case local == nil:
		return goneLocally
	case upstream == nil:
		return goneUpstream
	}
	return bothChanged
}

// isInput says whether a resource is one that the package's owner is meant to
// set: the package context, or the functionConfig of a step.
func (p *part) isInput(t *triple) bool {
	r := t.local
	if r == nil {
		r = t.upstream
	}
	return isContext(r.root) || p.inputs[r.path]
}

// conflict is a conflict about a resource, values and reason to be filled in.
func (p *part) conflict(t *triple, at *place) Conflict {
	r := t.local
	if r == nil {
		r = t.upstream
	}
	c := Conflict{File: r.path, Field: at.field(), Resource: ref(r.root), id: r.id}
	s := p.sheets[r.path]
	of := s.upstream
	if t.local != nil {
		of = s.local
		c.Line = s.local.line(r.index, at.line)
	}
	if of != nil && len(of.resources) > 1 {
		c.scope = scope(c.Resource)
	}
	return c
}

// scope tells a resource from others of its file.
func scope(r fn.ResourceRef) string {
	if r.Namespace != "" {
		return r.Kind + "/" + r.Namespace + "/" + r.Name + ":"
	}
	return r.Kind + "/" + r.Name + ":"
}
