package task

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// AddMergeKeys notes on every resource what it is called upstream, so that a
// later upgrade finds it again however it was renamed: kpt's line comment
// `metadata: # kpt-merge: namespace/name` and annotation
// internal.kpt.dev/upstream-identifier. A comment that is there already is
// believed. Kptfiles, being known by their place, get none. A file that is not
// YAML is left alone, with a warning (Porch loses the whole package).
var AddMergeKeys = Mutation{"add merge keys", addMergeKeys}

const (
	mergeComment       = "kpt-merge:"
	upstreamIdentifier = "internal.kpt.dev/upstream-identifier"
)

func addMergeKeys(_ context.Context, j *Job) (kptpkg.Tree, error) {
	var changed []*kptpkg.File
	for _, p := range j.Package.Paths() {
		f := j.Package.File(p)
		if !f.IsYAML() || path.Base(p) == kptpkg.KptfileName || path.Ext(p) == ".json" {
			continue
		}
		docs := slices.Clone(f.Docs())
		touched := false
		for i, d := range docs {
			next, err := withMergeKey(d)
			if err != nil {
				j.report(fn.Warning, p, fmt.Sprintf("no merge keys added, upgrades will treat this as a plain file: %v", err))
				touched = false
				break
			}
			if next != d {
				docs[i], touched = next, true
			}
		}
		if touched {
			changed = append(changed, f.WithDocs(docs...))
		}
	}
	if len(changed) == 0 {
		return j.Package, nil
	}
	return j.Package.With(changed...)
}

// withMergeKey returns d itself where there is nothing to add.
func withMergeKey(d *yamldoc.Doc) (*yamldoc.Doc, error) {
	root, err := d.Root()
	if err != nil {
		return nil, err
	}
	if root == nil || kptpkg.NotKRM(root) != "" {
		return d, nil
	}
	if root, err = d.Copy(); err != nil {
		return nil, err
	}
	n := yaml.NewRNode(root)
	key := metadataKey(root)
	name, namespace := kptpkg.Name(root), kptpkg.Namespace(root)
	if c, ok := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(key.LineComment, "#")), mergeComment); ok {
		ns, nm, ok := strings.Cut(strings.TrimSpace(c), "/")
		if !ok || nm == "" {
			return nil, fmt.Errorf("line %d: malformed comment %q: write # kpt-merge: NAMESPACE/NAME", key.Line, key.LineComment)
		}
		namespace, name = ns, nm
	} else if key.LineComment == "" {
		key.LineComment = "# " + mergeComment + " " + namespace + "/" + name
	}
	group, _, ok := strings.Cut(n.GetApiVersion(), "/")
	if !ok {
		group = ""
	}
	if namespace == "" {
		namespace = "default"
	}
	id := strings.Join([]string{group, n.GetKind(), namespace, name}, "|")
	if kptpkg.Annotations(root)[upstreamIdentifier] != id {
		if err := n.PipeE(yaml.SetAnnotation(upstreamIdentifier, id)); err != nil {
			return nil, err
		}
	}
	return d.With(root), nil
}

func metadataKey(root *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "metadata" {
			return root.Content[i]
		}
	}
	return &yaml.Node{} // unreachable for an object with a name
}
