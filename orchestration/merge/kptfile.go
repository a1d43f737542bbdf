package merge

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// checkKptfiles refuses a Kptfile of the package at dir that can't be read, on
// whichever side.
func (t trees) checkKptfiles(dir string) error {
	for _, s := range t.sides() {
		f := s.tree.File(path.Join(dir, kptpkg.KptfileName))
		if f == nil {
			continue
		}
		if _, err := kptpkg.ReadKptfile(f); err != nil {
			return fmt.Errorf("%s side: %w", s.name, err)
		}
	}
	return nil
}

// mergeKptfile merges the Kptfile at p: name, namespace and status stay as they
// are locally; upstream and upstreamLock too, unless adopt says to take what
// upstream changed in them; everything else is merged as in any resource. A
// Kptfile that upstream deleted stays. The result is nil when there is none. Where it
// changes its YAML aliases are written out.
func (m *merger) mergeKptfile(t trees, p string, adopt bool) (*kptpkg.File, error) {
	b, l, u := t.base.File(p), t.local.File(p), t.upstream.File(p)
	switch {
	case l == nil && b == nil:
		return u, nil
	case l == nil, u == nil:
		return l, nil
	}
	base, _, err := kptfileRoot(b)
	if err != nil {
		return nil, err
	}
	upstream, _, err := kptfileRoot(u)
	if err != nil {
		return nil, err
	}
	root, i, err := kptfileRoot(l)
	if err != nil || root == nil || upstream == nil {
		return l, err
	}
	sheet := &sheet{file: l, docs: l.Docs()}
	before := root
	root = yamldoc.CopyNode(root)
	kept := []string{"status"}
	for _, key := range []string{"upstream", "upstreamLock"} {
		was, is := child(base, key), child(upstream, key)
		if !adopt || is == nil || same(was, is) {
			kept = append(kept, key)
			continue
		}
		if mine := child(root, key); mine != nil {
			root = with(root, key, taken(was, mine, is))
		}
		base = without(base, func(k string) bool { return k == key })
	}
	w := walker{entrywise: m.entrywise, clash: func(at *place, base, local, upstream *yaml.Node, prefer Side) Side {
		return m.settle(Conflict{
			File: p, Line: sheet.line(i, at.line), Resource: ref(root), Field: at.field(), Reason: reasonOf(base, local, upstream),
			Base: oneLine(base), Local: oneLine(local), Upstream: oneLine(upstream),
		}, prefer == Upstream)
	}}
	merged := w.value(&place{line: 1}, kptfileSchema{}, ofAuthor(base, kept), root, ofAuthor(upstream, kept))
	if yamldoc.Equal(before, merged) {
		return l, nil
	}
	docs := slices.Clone(l.Docs())
	docs[i] = docs[i].With(merged)
	return l.WithDocs(docs...), nil
}

// kptfileRoot is the first content of a Kptfile, its YAML aliases written out, and
// which document it is; nil of no file.
func kptfileRoot(f *kptpkg.File) (*yaml.Node, int, error) {
	if f == nil {
		return nil, 0, nil
	}
	for i, d := range f.Docs() {
		root, err := d.Root()
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", f.Path(), err)
		}
		if root != nil {
			if root, err = yamldoc.Expand(root); err != nil {
				return nil, 0, fmt.Errorf("%s: %w: write them out", f.Path(), err)
			}
			return root, i, nil
		}
	}
	return nil, 0, nil
}

// ofAuthor is a Kptfile of another side less what stays as it is locally.
func ofAuthor(root *yaml.Node, kept []string) *yaml.Node {
	root = without(root, func(k string) bool { return slices.Contains(kept, k) })
	meta := child(root, "metadata")
	if meta == nil {
		return root
	}
	return with(root, "metadata", without(meta, func(k string) bool { return k == "name" || k == "namespace" }))
}

// kptfileUnchanged says whether a Kptfile of local says what base's says, what
// cloning and rendering change aside. base may be nil.
func kptfileUnchanged(base, local *kptpkg.File) bool {
	l, _, err1 := kptfileRoot(local)
	b, _, err2 := kptfileRoot(base)
	if err1 != nil || err2 != nil || l == nil {
		return false
	}
	aside := []string{"status", "upstream", "upstreamLock"}
	if b == nil {
		aside = append(aside, "apiVersion", "kind")
	}
	strip := func(n *yaml.Node) *yaml.Node {
		n = ofAuthor(n, aside)
		if m := child(n, "metadata"); m != nil && len(m.Content) == 0 {
			n = with(n, "metadata", nil)
		}
		return n
	}
	l = strip(l)
	if b == nil {
		return len(l.Content) == 0
	}
	return sameText(strip(b), l)
}

// withoutRenderStatus is a Kptfile without what rendering other content said.
func withoutRenderStatus(f *kptpkg.File) (*kptpkg.File, error) {
	root, i, err := kptfileRoot(f)
	status := child(root, "status")
	if err != nil || status == nil {
		return f, err
	}
	status = without(status, func(k string) bool { return k == "renderStatus" })
	if list := child(status, "conditions"); list != nil && list.Kind == yaml.SequenceNode {
		n := *list
		n.Content = slices.DeleteFunc(slices.Clone(list.Content), func(c *yaml.Node) bool {
			return text(child(c, "type")) == "Rendered"
		})
		if status = with(status, "conditions", &n); len(n.Content) == 0 {
			status = with(status, "conditions", nil)
		}
	}
	if len(status.Content) == 0 {
		status = nil
	}
	next := with(root, "status", status)
	if yamldoc.Equal(root, next) {
		return f, nil
	}
	docs := slices.Clone(f.Docs())
	docs[i] = docs[i].With(next)
	return f.WithDocs(docs...), nil
}

// kptfileSchema is the schema of a Kptfile: the steps of its pipeline have an
// identity.
type kptfileSchema struct{ noSchema }

func (kptfileSchema) field(name string) schema {
	if name == "pipeline" {
		return pipelineSchema{}
	}
	return noSchema{}
}

type pipelineSchema struct{ noSchema }

func (pipelineSchema) field(name string) schema {
	if name == "mutators" || name == "validators" {
		return functionList{}
	}
	return noSchema{}
}

// functionList is a list of steps. They are told apart by name where all have
// one, else by image without tag or by executable, where no two have the same.
type functionList struct{ noSchema }

func (functionList) list(sides ...*yaml.Node) (keyFunc, schema) {
	for _, key := range []keyFunc{byName, byProgram} {
		if !slices.ContainsFunc(sides, func(n *yaml.Node) bool {
			if isNull(n) {
				return false
			}
			_, ok := listOf(n, key)
			return !ok
		}) {
			return key, noSchema{}
		}
	}
	return nil, noSchema{}
}

func byName(step *yaml.Node) (string, bool) {
	name := text(child(step, "name"))
	return "name=" + name, name != ""
}

func byProgram(step *yaml.Node) (string, bool) {
	if exec := text(child(step, "exec")); exec != "" {
		return "exec=" + exec, true
	}
	image := text(child(step, "image"))
	image, _, _ = strings.Cut(image, "@")
	if slash := strings.LastIndexByte(image, '/'); strings.LastIndexByte(image, ':') > slash {
		image = image[:strings.LastIndexByte(image, ':')]
	}
	return "image=" + image, image != ""
}
