package task

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// ReplaceFiles makes the job's resources the package: files that they don't
// name go, but for those that can't be named there, which are binary files and
// symlinks. A file whose text is the same stays what it is.
var ReplaceFiles = Mutation{"replace files", replaceFiles}

func replaceFiles(_ context.Context, j *Job) (kptpkg.Tree, error) {
	if _, err := BadPath(j.Resources.Spec.Resources); err != nil {
		return kptpkg.Tree{}, err
	}
	content, err := j.Resources.Files()
	if err != nil {
		return kptpkg.Tree{}, err
	}
	var gone []string
	var files []*kptpkg.File
	for _, p := range j.Package.Paths() {
		f := j.Package.File(p)
		b, err := f.Bytes()
		if err != nil {
			return kptpkg.Tree{}, err
		}
		if text, named := content[p]; named && f.Mode() != kptpkg.Symlink && bytes.Equal(text, b) {
			delete(content, p)
		} else if !named && f.Mode() != kptpkg.Symlink && utf8.Valid(b) && !bytes.ContainsRune(b, 0) {
			gone = append(gone, p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(content)) {
		mode := kptpkg.Regular
		if old := j.Package.File(p); old != nil && old.Mode() == kptpkg.Executable {
			mode = kptpkg.Executable
		}
		files = append(files, kptpkg.NewFile(p, mode, content[p]))
	}
	j.replaced = j.Package
	next := j.Package.Without(gone...)
	for _, p := range slices.Sorted(maps.Keys(content)) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if next.File(dir) != nil {
				return kptpkg.Tree{}, fmt.Errorf("path %q: %s is a file of the package that can't be given as text and stays, and no directory: rename one", p, dir)
			}
		}
	}
	return next.With(files...)
}

// BadPath finds the first of the paths at which a package can't have a file,
// alone or beside the others, and says why; without one the error is nil.
func BadPath(files map[string]string) (string, error) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := kptpkg.CheckPath(p); err != nil {
			return p, err
		}
		for seg := range strings.SplitSeq(p, "/") {
			if s := strings.TrimRight(seg, ". "); strings.EqualFold(s, ".stoop") || strings.EqualFold(s, ".stoop.lock") {
				return p, fmt.Errorf("path %q: the name %s is reserved for stoop's own files: rename it", p, seg)
			}
		}
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, file := files[dir]; file {
				return p, fmt.Errorf("path %q: %s is a file and can't be a directory as well: rename one", p, dir)
			}
		}
	}
	return "", nil
}

// KeepComments gives the resources back the comments that the replaced ones
// had: clients that build resources from values lose them. Resources are matched
// by what they are (version, kind, namespace, name), wherever they stood. What
// says nothing new keeps its bytes. Resources with ytt's markers (#@, #!) are
// left as they are given: there comments are code. The rule is Porch's; the
// time is linear.
var KeepComments = Mutation{"keep comments", keepComments}

func keepComments(_ context.Context, j *Job) (kptpkg.Tree, error) {
	before := identities(j.replaced)
	var healed []*kptpkg.File
	for _, p := range j.Package.Paths() {
		f := j.Package.File(p)
		if f == j.replaced.File(p) || !f.IsYAML() {
			continue
		}
		docs := slices.Clone(f.Docs())
		changed := false
		for i, d := range docs {
			old := before[identity(d)]
			if old == nil || hasCode(d) {
				continue
			}
			next, err := healedDoc(old, d)
			if err != nil {
				return kptpkg.Tree{}, err
			}
			if next != d {
				docs[i], changed = next, true
			}
		}
		if changed {
			healed = append(healed, f.WithDocs(docs...))
		}
	}
	return j.Package.With(healed...)
}

// healedDoc is fresh in the form that old had.
func healedDoc(old, fresh *yamldoc.Doc) (*yamldoc.Doc, error) {
	was, err := old.Root()
	if err != nil {
		return nil, err
	}
	is, err := fresh.Copy()
	if err != nil {
		return nil, err
	}
	return separatedAs(old.With(fn.Heal(was, is)), fresh), nil
}

// separatedAs is a healed document without the separator that it began with where it
// stood before, where the one that was given begins with none.
func separatedAs(healed, fresh *yamldoc.Doc) *yamldoc.Doc {
	separator := []byte("---\n")
	text, err1 := healed.Bytes()
	given, err2 := fresh.Bytes()
	if rest, ok := bytes.CutPrefix(text, separator); ok && err1 == nil && err2 == nil && !bytes.HasPrefix(given, separator) {
		if docs := yamldoc.Split(rest); len(docs) == 1 {
			return docs[0]
		}
	}
	return healed
}

// identities are the resources of a package by what they are. One that is there
// twice is nobody's.
func identities(t kptpkg.Tree) map[string]*yamldoc.Doc {
	out := map[string]*yamldoc.Doc{}
	for _, p := range t.Paths() {
		f := t.File(p)
		if !f.IsYAML() {
			continue
		}
		for _, d := range f.Docs() {
			id := identity(d)
			if _, twice := out[id]; twice || hasCode(d) {
				d = nil
			}
			if id != "" {
				out[id] = d
			}
		}
	}
	return out
}

// identity is empty for a document that is no resource.
func identity(d *yamldoc.Doc) string {
	root, err := d.Root()
	if err != nil || root == nil || root.Kind != yaml.MappingNode {
		return ""
	}
	n := yaml.NewRNode(root)
	if n.GetApiVersion() == "" || n.GetKind() == "" || kptpkg.Name(root) == "" {
		return ""
	}
	return strings.Join([]string{n.GetApiVersion(), n.GetKind(), kptpkg.Namespace(root), kptpkg.Name(root)}, "|")
}

// hasCode says whether comments of a resource are ytt's.
func hasCode(d *yamldoc.Doc) bool {
	b, err := d.Bytes()
	return err != nil || bytes.Contains(b, []byte("#@")) || bytes.Contains(b, []byte("#!"))
}
