package merge

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Rendered returns two versions of the local package in which some files and
// directories are as base has them, the others as they are locally: before it is
// rendered and after it. What local has as the second is what rendering wrote. What
// the pipeline is configured by is local's own, but for the files of inputs.
type Rendered func(contested, inputs []string) (before, after kptpkg.Tree, err error)

// changedError says that a package can't be replaced without losing changes.
type changedError struct {
	dir   string // of the package
	files []string
}

func (e *changedError) Error() string {
	return fmt.Sprintf("changed locally since it was cloned: %s; undo that, or use another strategy, such as %s",
		strings.Join(e.files, ", "), ResourceMerge)
}

// conflictAt is what a conflict is about, whatever its values are.
type conflictAt struct {
	file, field string
	object      identity
}

func (c Conflict) at() conflictAt { return conflictAt{c.File, c.Field, c.id} }

// settled is what a merge before this one found out to be nobody's change.
type settled struct {
	conflicts map[conflictAt]bool // upstream's to win
	packages  map[string][]string // which files fast-forward may mind, by package
}

// withoutRendered merges as mergeOnce does, but where that stops for values that
// rendering wrote upstream's are taken. Everything else stays as it is locally:
// what is taken back here is only compared with.
func withoutRendered(t trees, o Options) (Result, error) {
	res, err := settleRendered(t, o)
	copied := map[string]bool{}
	for _, c := range res.Conflicts {
		if c.overwritten() {
			copied[c.File] = true
		}
	}
	if len(copied) == 0 {
		return res, err
	}
	mine, failed := o.byHand(t, slices.Sorted(maps.Keys(copied)))
	if failed != nil {
		res.RenderError = renderError(failed)
		return res, err
	}
	res.Conflicts = slices.DeleteFunc(res.Conflicts, func(c Conflict) bool {
		return c.overwritten() && !slices.Contains(mine, c.File)
	})
	return res, err
}

// overwritten says whether the conflict only tells that copy-merge put upstream's
// file in the place of one that was changed.
func (c Conflict) overwritten() bool {
	return c.Info && (c.Reason == copiedOver || c.Reason == removedByCopy)
}

// settleRendered merges, and once more with upstream's to win where the conflict
// was of what rendering wrote.
func settleRendered(t trees, o Options) (Result, error) {
	s := settled{packages: map[string][]string{}}
	res, err := mergeOnce(t, o, s)
	for changed := (*changedError)(nil); errors.As(err, &changed); {
		dir := changed.dir
		plain, failed := o.takeBack(t.local, dir)
		if failed != nil {
			res.RenderError = renderError(failed)
			return res, err
		}
		plain = t.local.Replace(dir, plain.Sub(dir))
		_, failed = mergeOnce(trees{t.base, plain, t.upstream}, o, s)
		if errors.As(failed, &changed) && changed.dir == dir {
			if s.packages[dir], err = o.notDerived(t, changed.files); err != nil {
				return res, failed
			}
			return mergeOnce(t, o, s)
		}
		s.packages[dir] = nil
		res, err = mergeOnce(t, o, s)
	}
	found := res.contested()
	if len(found) == 0 {
		return res, err
	}
	var contested []string
	for at := range found {
		contested = append(contested, at.file)
	}
	slices.Sort(contested)
	contested = slices.Compact(contested)
	plain, failed := o.takeBack(t.local, contested...)
	if failed != nil {
		res.RenderError = renderError(failed)
		return res, err
	}
	left, failed := o.contestedIn(trees{t.base, plain, t.upstream}, s)
	if failed != nil {
		return res, err
	}
	for at := range left {
		if !found[at] {
			return res, err // the two can't be compared
		}
	}
	var stale map[conflictAt]bool
	if len(left) > 0 {
		if stale, failed = o.stale(t, s, contested); failed != nil {
			return res, err
		}
	}
	for at := range left {
		if !stale[at] {
			delete(found, at)
		}
	}
	if len(found) == 0 {
		return res, err
	}
	s.conflicts = found
	return mergeOnce(t, o, s)
}

// contestedIn is what is contested in a merge.
func (o Options) contestedIn(t trees, s settled) (map[conflictAt]bool, error) {
	res, err := mergeOnce(t, o, s)
	if err != nil && !errors.As(err, new(*ConflictError)) {
		return nil, err
	}
	return res.contested(), nil
}

// contested is what somebody has to settle, or has settled.
func (r Result) contested() map[conflictAt]bool {
	found := map[conflictAt]bool{}
	for _, c := range r.Conflicts {
		if !c.Info && !c.input {
			found[c.at()] = true
		}
	}
	return found
}

// stale is what the contested files have from a rendering with base's inputs, where
// one with local's would write something else: an input changed since.
func (o Options) stale(t trees, s settled, contested []string) (map[conflictAt]bool, error) {
	inputs := t.changedInputs()
	if len(inputs) == 0 {
		return nil, nil
	}
	before, after, err := o.Rendered(contested, nil)
	if err != nil {
		return nil, err
	}
	written, err := o.contestedIn(trees{before, after, t.upstream}, s)
	if err != nil {
		return nil, err
	}
	plain, err := o.takeBackFrom(t.local, contested, inputs)
	if err != nil {
		return nil, err
	}
	left, err := o.contestedIn(trees{t.base, plain, t.upstream}, s)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(written, func(at conflictAt, _ bool) bool { return left[at] })
	return written, nil
}

// changedInputs are the files that configure the pipelines otherwise locally than in
// base, sorted; of Kptfiles those whose steps are still the same.
func (t trees) changedInputs() []string {
	var changed []string
	for f := range inputsOf(t.local) {
		b, l := t.base.File(f), t.local.File(f)
		switch {
		case b == nil || l == nil:
		case path.Base(f) == kptpkg.KptfileName && !t.configChanged(path.Dir(f)):
		case !sameBytes(b, l):
			changed = append(changed, f)
		}
	}
	slices.Sort(changed)
	return changed
}

// configChanged says whether the pipeline of the package at dir differs between base
// and local in the values of configMaps, and in nothing else.
func (t trees) configChanged(dir string) bool {
	b, err1 := t.base.Kptfile(dir)
	l, err2 := t.local.Kptfile(dir)
	if err1 != nil || err2 != nil || reflect.DeepEqual(b.Pipeline, l.Pipeline) {
		return false
	}
	return reflect.DeepEqual(withoutConfig(b.Pipeline), withoutConfig(l.Pipeline))
}

// withoutConfig is a pipeline less its configMaps.
func withoutConfig(p kptpkg.Pipeline) kptpkg.Pipeline {
	strip := func(steps []kptpkg.Function) []kptpkg.Function {
		steps = slices.Clone(steps)
		for i := range steps {
			steps[i].ConfigMap = nil
		}
		return steps
	}
	return kptpkg.Pipeline{Mutators: strip(p.Mutators), Validators: strip(p.Validators)}
}

// byHand are those of some files that were changed locally by somebody.
func (o Options) byHand(t trees, files []string) ([]string, error) {
	plain, err := o.takeBack(t.local, files...)
	if err != nil {
		return nil, err
	}
	return o.notDerived(t, changedFiles(t.base, plain, files))
}

// notDerived are those of some changed files that rendering doesn't write from the
// other ones: from the pipeline, what it is configured by, and what it reads only.
func (o Options) notDerived(t trees, files []string) ([]string, error) {
	before, after, err := o.Rendered(files, nil)
	if err != nil {
		return nil, err
	}
	inputs := inputsOf(t.local)
	var derived []string
	for _, f := range files {
		b, a := before.File(f), after.File(f)
		written := a != nil && (b == nil || !sameBytes(b, a))
		if written && !inputs[f] {
			derived = append(derived, f)
		}
	}
	if len(derived) == 0 || len(derived) == len(files) {
		return files, nil
	}
	plain, err := o.takeBack(t.local, derived...)
	if err != nil {
		return nil, err
	}
	if left := changedFiles(t.base, plain, files); len(left) > 0 {
		return left, nil
	}
	return files, nil
}

// inputsOf are the files of a tree that say what its pipelines do.
func inputsOf(tree kptpkg.Tree) map[string]bool {
	found := map[string]bool{}
	for _, dir := range tree.Packages() {
		found[path.Join(dir, kptpkg.KptfileName)] = true
		addInputs(found, tree, dir)
	}
	return found
}

// takeBack is local less what rendering wrote into the contested files and the
// directories among them.
func (o Options) takeBack(local kptpkg.Tree, contested ...string) (kptpkg.Tree, error) {
	return o.takeBackFrom(local, contested, nil)
}

// takeBackFrom is takeBack of what rendering with base's version of inputs wrote.
func (o Options) takeBackFrom(local kptpkg.Tree, contested, inputs []string) (kptpkg.Tree, error) {
	before, after, err := o.Rendered(contested, inputs)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	res, err := mergeOnce(trees{after, local, before}, Options{
		OnConflict: TakeLocal, Root: true, Nested: o.Nested, entrywise: true,
	}, settled{})
	return res.Tree, err
}

// renderError is an error of takeBack, unless it says what was changed locally.
func renderError(err error) error {
	if errors.As(err, new(*changedError)) {
		return nil
	}
	return err
}

// prefixed are files as they are called from the root.
func (m *merger) prefixed(files []string) []string {
	for i, f := range files {
		files[i] = path.Join(m.prefix, f)
	}
	return files
}

// WithCommentsLeft is base with some files less the comments that local's have no
// more: functions such as apply-setters go by them, and what one wrote is not written
// again once its comment is gone.
func WithCommentsLeft(base, local kptpkg.Tree, files []string) (kptpkg.Tree, error) {
	kinds := new(schemas)
	var pairs []sheets
	for _, p := range files {
		b, l := base.File(p), local.File(p)
		if b == nil || l == nil || !mergeable(b) || !mergeable(l) {
			continue
		}
		pairs = append(pairs, sheets{base: &sheet{file: b, docs: b.Docs()}, local: &sheet{file: l, docs: l.Docs()}})
	}
	if len(pairs) > 0 {
		kinds.learn(local)
		kinds.learn(base)
	}
	var changed []*kptpkg.File
	for _, s := range pairs {
		if s.local.takeStock("local") != nil || s.base.takeStock("base") != nil {
			continue // the merge itself says so
		}
		f, err := s.withCommentsLeft(kinds)
		if err != nil {
			return kptpkg.Tree{}, err
		}
		changed = append(changed, f)
	}
	return base.With(changed...)
}

// withCommentsLeft is base's file less the comments that local's has no more.
func (s sheets) withCommentsLeft(kinds *schemas) (*kptpkg.File, error) {
	settleNamespaces(s.base.resources, s.local.resources, nil)
	byID := make(map[identity]*yaml.Node, len(s.local.resources))
	for _, r := range s.local.resources {
		byID[r.id] = r.root
	}
	docs := slices.Clone(s.base.docs)
	for _, r := range s.base.resources {
		if byID[r.id] == nil {
			continue
		}
		root, err := r.doc.Copy()
		if err != nil {
			return nil, err
		}
		dropComments(kinds.of(byID[r.id]), root, byID[r.id])
		docs[r.index] = r.doc.With(root)
	}
	return s.base.file.WithDocs(docs...), nil
}

// learn adds the kinds that resources of a tree define.
func (s *schemas) learn(tree kptpkg.Tree) {
	for _, p := range tree.Paths() {
		f := tree.File(p)
		if !mergeable(f) {
			continue
		}
		for _, d := range f.Docs() {
			if root, err := d.Root(); err == nil && root != nil {
				s.add(root)
			}
		}
	}
}

// dropComments takes the comments off n, and off what is below it, that have none
// at the same place of local.
func dropComments(s schema, n, local *yaml.Node) {
	for _, c := range []struct {
		is  *string
		was string
	}{{&n.HeadComment, local.HeadComment}, {&n.LineComment, local.LineComment}, {&n.FootComment, local.FootComment}} {
		if c.was == "" {
			*c.is = ""
		}
	}
	switch {
	case n.Kind != local.Kind:
	case n.Kind == yaml.MappingNode:
		mine, _ := fieldsOf(local)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if f, ok := mine[n.Content[i].Value]; ok {
				of := commented(s.field(f.key.Value), f.key, n.Content[i])
				dropComments(noSchema{}, n.Content[i], f.key)
				dropComments(of, n.Content[i+1], f.value)
			}
		}
	case n.Kind == yaml.SequenceNode:
		key, of := s.list(n, local)
		for i, mine := range itemsLike(n, local, key) {
			if mine != nil {
				dropComments(of, n.Content[i], mine)
			}
		}
	}
}

// itemsLike are the items of local that are those of n, nil for one that has none:
// those of the same key, and of the others, whose key may be what was changed, those
// that come in the same order. Where key tells none apart, items are known by name,
// else by position.
func itemsLike(n, local *yaml.Node, key keyFunc) []*yaml.Node {
	out := make([]*yaml.Node, len(n.Content))
	if key != nil {
		is, ok1 := listOf(n, key)
		mine, ok2 := listOf(local, key)
		if ok1 && ok2 {
			left := slices.DeleteFunc(slices.Clone(mine.keys), func(k string) bool { return is.by[k] != nil })
			for i, k := range is.keys {
				switch {
				case mine.by[k] != nil:
					out[i] = mine.by[k]
				case len(left) > 0:
					out[i], left = mine.by[left[0]], left[1:]
				}
			}
			return out
		}
	}
	named := map[string]*yaml.Node{}
	for _, item := range local.Content {
		named[text(child(item, "name"))] = item
	}
	for i, item := range n.Content {
		if name := text(child(item, "name")); name != "" {
			out[i] = named[name]
		} else if i < len(local.Content) {
			out[i] = local.Content[i]
		}
	}
	return out
}
