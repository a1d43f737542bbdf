//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// asPackages writes a case that has one file a side as packages into work: a
// stream of resources by their paths, or one value of no kind, made a resource.
// It returns the packages to expect, any of them: where kyaml and kpt differ
// there are two.
func asPackages(dir, work string) ([]map[string][]byte, error) {
	names := []string{"base", "local", "upstream", "expected", "expected-kpt"}
	sides := map[string][]*yaml.Node{}
	for _, name := range names {
		nodes, err := readStream(filepath.Join(dir, name+".yaml"))
		if err != nil {
			return nil, err
		}
		sides[name] = nodes
	}
	if !areResources(sides) {
		makeResources(sides)
	}
	crd, err := crdOf(filepath.Join(dir, "schemas.yaml"))
	if err != nil {
		return nil, err
	}
	var want []map[string][]byte
	for _, name := range names {
		files := map[string][]byte{}
		for _, n := range sides[name] {
			to := takePath(n)
			text, err := yaml.Marshal(n)
			if err != nil {
				return nil, err
			}
			if files[to] != nil {
				text = slices.Concat(files[to], []byte("---\n"), text)
			}
			files[to] = text
		}
		if crd != nil {
			files["crd.yaml"] = crd
		}
		if strings.HasPrefix(name, "expected") {
			want = append(want, files)
		} else if err := writeFiles(filepath.Join(work, name), files); err != nil {
			return nil, err
		}
	}
	return want, nil
}

// areResources says whether all sides hold resources that say which they are.
func areResources(sides map[string][]*yaml.Node) bool {
	for _, nodes := range sides {
		for _, n := range nodes {
			if text(n, "apiVersion") == "" || text(n, "kind") == "" || text(child(n, "metadata"), "name") == "" {
				return false
			}
		}
	}
	return true
}

// makeResources makes the one value of each side a resource: by a name where all
// are of one kind, else by putting it into one.
func makeResources(sides map[string][]*yaml.Node) {
	types := map[[2]string]bool{}
	named := true
	for _, nodes := range sides {
		for _, n := range nodes {
			t := [2]string{text(n, "apiVersion"), text(n, "kind")}
			types[t] = true
			named = named && t[0] != "" && t[1] != ""
		}
	}
	named = named && len(types) == 1
	for _, nodes := range sides {
		for i, n := range nodes {
			if !named {
				nodes[i] = mapping("apiVersion", scalar("example.com/v1"), "kind", scalar("Case"),
					"metadata", mapping("name", scalar("case")), "value", n)
				continue
			}
			meta := child(n, "metadata")
			if meta == nil {
				meta = mapping()
				n.Content = append(n.Content, scalar("metadata"), meta)
			}
			if text(meta, "name") == "" {
				meta.Content = append(meta.Content, scalar("name"), scalar("case"))
			}
		}
	}
}

// pathAnnotation is where kpt remembers the file of a resource.
const pathAnnotation = "internal.config.kubernetes.io/path"

// takePath is the file that a resource of a stream goes to. An annotation that
// kpt adds as it writes is taken off.
func takePath(n *yaml.Node) string {
	to := "case.yaml"
	if annotations := child(child(n, "metadata"), "annotations"); annotations != nil {
		if p := text(annotations, pathAnnotation); p != "" {
			to = p
		}
		for i := 0; i+1 < len(annotations.Content); i += 2 {
			if annotations.Content[i].Value == "config.kubernetes.io/path" && to != "case.yaml" {
				annotations.Content = slices.Delete(annotations.Content, i, i+2)
				break
			}
		}
	}
	if text(n, "kind") == "Kptfile" {
		return "Kptfile"
	}
	return to
}

// crdOf turns the OpenAPI definitions of a case into the definition of a custom
// resource; nil where there are none.
func crdOf(file string) ([]byte, error) {
	nodes, err := readStream(file)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	var out []byte
	definitions := child(nodes[0], "definitions")
	for i := 1; i < len(definitions.Content); i += 2 {
		types := child(definitions.Content[i], "x-kubernetes-group-version-kind")
		if types == nil || len(types.Content) == 0 {
			continue
		}
		gvk := types.Content[0]
		version := mapping("name", scalar(text(gvk, "version")), "schema", mapping("openAPIV3Schema", definitions.Content[i]))
		crd, err := yaml.Marshal(mapping("apiVersion", scalar("apiextensions.k8s.io/v1"), "kind", scalar("CustomResourceDefinition"),
			"metadata", mapping("name", scalar(fmt.Sprintf("case-%d", i))),
			"spec", mapping("group", scalar(text(gvk, "group")), "names", mapping("kind", scalar(text(gvk, "kind"))),
				"versions", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{version}})))
		if err != nil {
			return nil, err
		}
		out = slices.Concat(out, []byte("---\n"), crd)
	}
	return out, nil
}

// differ says how the package in dir differs from all of want, as far as judged
// says; nil when it is one of them.
func differ(dir string, want []map[string][]byte, judged func(path string) bool) error {
	got, err := readFiles(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range want {
		err := differPackage(got, w, judged)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errs[0]
}

func differPackage(got, want map[string][]byte, judged func(path string) bool) error {
	var errs []error
	for p := range got {
		if judged(p) && want[p] == nil {
			errs = append(errs, fmt.Errorf("%s: is there, want none", p))
		}
	}
	for p, w := range want {
		if !judged(p) {
			continue
		}
		g, ok := got[p]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: is missing", p))
		} else if err := differFile(p, g, w); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n--- got\n%s\n--- want\n%s", p, err, g, w))
		}
	}
	return errors.Join(errs...)
}

func differFile(name string, got, want []byte) error {
	isKptfile := path.Base(name) == "Kptfile"
	if ext := path.Ext(name); bytes.Equal(got, want) || !isKptfile && ext != ".yaml" && ext != ".yml" {
		if !bytes.Equal(got, want) {
			return errors.New("content differs")
		}
		return nil
	}
	g, err := decode(got)
	if err != nil {
		return err
	}
	w, err := decode(want)
	if err != nil {
		return err
	}
	if len(g) != len(w) {
		return fmt.Errorf("%d documents, want %d", len(g), len(w))
	}
	for i := range g {
		if !alike(g[i], w[i], false) {
			return fmt.Errorf("document %d: values differ", i+1)
		}
		if !isKptfile && !alike(g[i], w[i], true) {
			return fmt.Errorf("document %d: comments differ", i+1)
		}
	}
	return nil
}

// alike says whether two nodes hold the same; the order of keys doesn't count.
func alike(a, b *yaml.Node, comments bool) bool {
	if a.Kind != b.Kind || a.ShortTag() != b.ShortTag() || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) ||
		comments && !sameComments(a, b) {
		return false
	}
	switch a.Kind {
	case yaml.ScalarNode:
		return a.Value == b.Value || a.ShortTag() == yaml.NodeTagNull
	case yaml.AliasNode:
		return a.Value == b.Value
	case yaml.MappingNode:
		at := map[string]int{}
		for i := 0; i+1 < len(b.Content); i += 2 {
			at[b.Content[i].Value] = i
		}
		for i := 0; i+1 < len(a.Content); i += 2 {
			j, ok := at[a.Content[i].Value]
			if !ok || comments && !sameComments(a.Content[i], b.Content[j]) || !alike(a.Content[i+1], b.Content[j+1], comments) {
				return false
			}
		}
		return true
	}
	for i := range a.Content {
		if !alike(a.Content[i], b.Content[i], comments) {
			return false
		}
	}
	return true
}

func sameComments(a, b *yaml.Node) bool {
	return a.HeadComment == b.HeadComment && a.LineComment == b.LineComment && a.FootComment == b.FootComment
}

// readStream reads the documents of a file that need not be there.
func readStream(file string) ([]*yaml.Node, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return decode(b)
}

// decode reads documents. Comments above a whole document are left out: kpt
// loses them.
func decode(b []byte) ([]*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var out []*yaml.Node
	for {
		var doc yaml.Node
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		n := doc.Content[0]
		if n.ShortTag() == yaml.NodeTagNull {
			continue
		}
		if len(n.Content) > 0 {
			n.Content[0].HeadComment = ""
		}
		out = append(out, n)
	}
}

// readFiles reads the files below dir; one that isn't there has none. A symlink
// is what it says.
func readFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == dir {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			files[filepath.ToSlash(rel)] = []byte(to)
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(p)
		return err
	})
	return files, err
}

// writeFiles writes files below dir, made if need be; for none it isn't.
func writeFiles(dir string, files map[string][]byte) error {
	for name, text := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

func child(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// text is the scalar in a field, empty where there is none.
func text(n *yaml.Node, name string) string {
	if c := child(n, name); c != nil && c.Kind == yaml.ScalarNode {
		return c.Value
	}
	return ""
}

func scalar(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }

// mapping is a mapping of keys and values in turn.
func mapping(fields ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(fields); i += 2 {
		n.Content = append(n.Content, scalar(fields[i].(string)), fields[i+1].(*yaml.Node))
	}
	return n
}
