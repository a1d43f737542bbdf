package merge

import (
	"errors"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A Skipped is a file that merge keys could not be added to.
type Skipped struct {
	Path string
	Err  error // why, with the line
}

// AddKeys notes on every resource what it is called upstream, so that a later
// merge finds it again however it was renamed: kpt's line comment
// `metadata: # kpt-merge: namespace/name` and the annotation
// internal.kpt.dev/upstream-identifier. A comment that is there already is
// believed, and one that says something else stays: there the annotation alone counts. Kptfiles, being known by their place, get none, nor do JSON files. A
// file that isn't YAML or has a malformed merge comment is left alone and
// returned in skipped.
func AddKeys(t kptpkg.Tree) (out kptpkg.Tree, skipped []Skipped, err error) {
	var changed []*kptpkg.File
	for _, p := range t.Paths() {
		f := t.File(p)
		if !mergeable(f) {
			continue
		}
		switch next, err := addKeys(f); {
		case err != nil:
			skipped = append(skipped, Skipped{p, err})
		case next != f:
			changed = append(changed, next)
		}
	}
	if len(changed) == 0 {
		return t, skipped, nil
	}
	out, err = t.With(changed...)
	return out, skipped, err
}

// addKeys returns f itself where there is nothing to add.
func addKeys(f *kptpkg.File) (*kptpkg.File, error) {
	s := &sheet{file: f, docs: f.Docs()}
	docs := slices.Clone(s.docs)
	touched := false
	for i, d := range docs {
		next, err := withKey(d)
		if err != nil {
			return nil, errors.New(kptpkg.ShiftLines(err.Error(), s.line(i, 1)-1))
		}
		if next != d {
			docs[i], touched = next, true
		}
	}
	if !touched {
		return f, nil
	}
	return f.WithDocs(docs...), nil
}

// withKey returns d itself where there is nothing to add.
func withKey(d *yamldoc.Doc) (*yamldoc.Doc, error) {
	root, err := d.Root()
	if err != nil || root == nil || notResource(root) != "" {
		return d, err
	}
	id, _, err := identify("", root)
	if err != nil || id.name == "" || text(child(child(root, "metadata"), "name")) == "" {
		return d, err
	}
	namespace := id.namespace
	if namespace == "" {
		namespace = "default"
	}
	want := strings.Join([]string{id.group, id.kind, namespace, id.name}, "|")
	key, meta := entryOf(root, "metadata")
	if !commentable(key, meta) && text(child(child(meta, "annotations"), upstreamIdentifier)) == want {
		return d, nil
	}
	if root, err = d.Copy(); err != nil {
		return nil, err
	}
	if key, _ = entryOf(root, "metadata"); commentable(key, meta) {
		key.LineComment = "# " + mergeComment + " " + id.namespace + "/" + id.name
	}
	if err := yaml.NewRNode(root).PipeE(yaml.SetAnnotation(upstreamIdentifier, want)); err != nil {
		return nil, err
	}
	return d.With(root), nil
}
