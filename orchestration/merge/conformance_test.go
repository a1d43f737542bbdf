package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// casesEnv names the directory of merge cases recorded from kpt: index.json and
// a directory for each case with base, local, upstream and expected.
const casesEnv = "STOOP_CASES"

type kptCase struct {
	Strategy, Case, Dir, Kind, Error string
	KptSame                          *bool
	Options                          struct{ IsRoot, UpdateUpstream bool }
}

// TestKptCases holds the merge against kpt's answers: the same files with the
// same values and comments, except for cases in testdata/merge-better.txt, which
// must differ, and says why.
func TestKptCases(t *testing.T) {
	dir := os.Getenv(casesEnv)
	if dir == "" {
		t.Skipf("%s isn't set: it names a directory with kpt's merge cases and their index.json", casesEnv)
	}
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	var index struct{ Cases []kptCase }
	require.NoError(t, json.Unmarshal(text, &index))
	better := readBetter(t)
	for _, c := range index.Cases {
		t.Run(c.Dir, func(t *testing.T) {
			err := c.check(filepath.Join(dir, c.Dir))
			why, listed := better[c.Dir]
			switch {
			case listed && err == nil:
				t.Errorf("listed as better (%s), but it is the same", why)
			case !listed && err != nil:
				t.Error(err)
			}
		})
	}
}

func readBetter(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/merge-better.txt")
	require.NoError(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, why, ok := strings.Cut(line, " better: ")
		require.True(t, ok, line)
		out[name] = why
	}
	return out
}

func (c kptCase) check(dir string) error {
	if c.Kind == "file" {
		return c.checkFile(dir)
	}
	base, local, upstream, want := readTree(dir, "base"), readTree(dir, "local"), readTree(dir, "upstream"), readTree(dir, "expected")
	var got kptpkg.Tree
	var err error
	switch c.Strategy {
	case "add-merge-comment":
		got, _, err = AddKeys(local)
	case "kptfile", "kptfile-no-base":
		m := &merger{Options: Options{OnConflict: TakeUpstream}}
		var k *kptpkg.File
		if k, err = m.mergeKptfile(trees{base, local, upstream}, kptpkg.KptfileName, c.Options.UpdateUpstream); err == nil {
			got, err = local.With(k)
		}
	case "non-krm-files":
		p := &part{merger: &merger{Options: Options{OnConflict: TakeUpstream}}, trees: trees{base, local, upstream}}
		got = local
		for _, f := range slices.Concat(base.Paths(), local.Paths(), upstream.Paths()) {
			if path.Ext(f) == ".yaml" {
				continue // another part of kpt's merge sees to those
			}
			file, err := p.mergeFile(f)
			if err != nil {
				return err
			}
			if got = got.Without(f); file != nil {
				got, _ = got.With(file)
			}
		}
	default:
		var res Result
		res, err = Merge(base, local, upstream, Options{Strategy: Strategy(c.Strategy), OnConflict: TakeUpstream, Root: c.Options.IsRoot})
		got = res.Tree
	}
	switch {
	case c.Error != "" && err == nil:
		return fmt.Errorf("merged, want an error like: %s", c.Error)
	case c.Error != "":
		return nil
	case err != nil:
		return err
	}
	return differ(got, want)
}

// checkFile checks a case that is one file on each side, as a stream of
// resources or as one value of no kind.
func (c kptCase) checkFile(dir string) error {
	if c.Strategy == "merge3" || c.Strategy == "kptfile-merge" {
		side := func(name string) kptpkg.Tree {
			return splitFile(filepath.Join(dir, name+".yaml"), filepath.Join(dir, "schemas.yaml"))
		}
		res, err := Merge(side("base"), side("local"), side("upstream"), Options{OnConflict: TakeUpstream, Root: true})
		if err != nil {
			return err
		}
		return differ(res.Tree.Without("crd.yaml"), side("expected").Without("crd.yaml"))
	}
	expected := "expected.yaml"
	if c.Case == "element-15-infer-merge-keys-merge" {
		expected = "expected-kpt.yaml" // kpt infers nothing
	}
	root := func(name string) *yaml.Node {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil
		}
		n, _ := yamldoc.Split(text)[0].Copy()
		return n
	}
	w := walker{clash: func(_ *place, _, _, _ *yaml.Node, prefer Side) Side { return prefer }}
	local := root("local.yaml")
	merged := w.value(&place{}, new(schemas).of(local), root("base.yaml"), local, root("upstream.yaml"))
	return differ(treeOf("f.yaml", mustMarshal(merged)), treeOf("f.yaml", mustMarshal(root(expected))))
}

func mustMarshal(n *yaml.Node) string {
	b, err := yaml.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func treeOf(name, text string) kptpkg.Tree {
	t, err := kptpkg.NewTree(kptpkg.NewFile(name, kptpkg.Regular, []byte(text)))
	if err != nil {
		panic(err)
	}
	return t
}

// splitFile reads a stream of resources into files: the Kptfile and the others
// by the path in their annotations. A schema beside it becomes a CRD.
func splitFile(name, schema string) kptpkg.Tree {
	text, err := os.ReadFile(name)
	if err != nil {
		return kptpkg.Tree{}
	}
	var files []*kptpkg.File
	for _, d := range yamldoc.Split(text) {
		root, _ := d.Copy()
		if root == nil {
			continue
		}
		to := kptpkg.KptfileName
		if p := child(child(child(root, "metadata"), "annotations"), "internal.config.kubernetes.io/path"); p != nil {
			to = p.Value
		}
		if ann := child(child(root, "metadata"), "annotations"); ann != nil {
			*ann = *without(ann, func(k string) bool { return k == "config.kubernetes.io/path" })
		}
		files = append(files, kptpkg.NewDocs(to, yamldoc.FromNode(root)))
	}
	if text, err := os.ReadFile(schema); err == nil {
		n, _ := yamldoc.Split(text)[0].Copy()
		for i := 1; i < len(child(n, "definitions").Content); i += 2 {
			def := child(n, "definitions").Content[i]
			gvk := child(def, "x-kubernetes-group-version-kind").Content[0]
			crd := fmt.Sprintf("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec:\n  group: %s\n  names: {kind: %s}\n  versions:\n  - name: %s\n    schema: {}\n",
				childText(gvk, "group"), childText(gvk, "kind"), childText(gvk, "version"))
			d, _ := yamldoc.Split([]byte(crd))[0].Copy()
			holder := child(child(child(d, "spec"), "versions").Content[0], "schema")
			holder.Content = append(holder.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "openAPIV3Schema"}, def)
			files = append(files, kptpkg.NewDocs("crd.yaml", yamldoc.FromNode(d)))
		}
	}
	t, err := kptpkg.NewTree(files...)
	if err != nil {
		panic(err)
	}
	return t
}

func childText(n *yaml.Node, key string) string { return text(child(n, key)) }

func readTree(dir, side string) kptpkg.Tree {
	var files []*kptpkg.File
	root := filepath.Join(dir, side)
	_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(root, p)
		info, _ := e.Info()
		mode := kptpkg.Regular
		var text []byte
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			mode, text = kptpkg.Symlink, []byte(to)
		default:
			text, _ = os.ReadFile(p)
			if info.Mode()&0o111 != 0 {
				mode = kptpkg.Executable
			}
		}
		files = append(files, kptpkg.NewFile(filepath.ToSlash(rel), mode, text))
		return nil
	})
	t, err := kptpkg.NewTree(files...)
	if err != nil {
		panic(err)
	}
	return t
}

// differ says how a tree differs from what kpt wrote. Comments above a whole
// document don't count, kpt loses them, nor do any in a Kptfile.
func differ(got, want kptpkg.Tree) error {
	var errs []error
	for _, p := range got.Paths() {
		if want.File(p) == nil {
			errs = append(errs, fmt.Errorf("%s: is there, want none", p))
		}
	}
	for _, p := range want.Paths() {
		g, w := got.File(p), want.File(p)
		if g == nil {
			errs = append(errs, fmt.Errorf("%s: is missing", p))
			continue
		}
		if err := differFile(g, w); err != nil {
			gb, _ := g.Bytes()
			wb, _ := w.Bytes()
			errs = append(errs, fmt.Errorf("%s: %w\n--- got\n%s\n--- want\n%s", p, err, gb, wb))
		}
	}
	return errors.Join(errs...)
}

func differFile(g, w *kptpkg.File) error {
	if !g.IsYAML() {
		if !sameBytes(g, w) {
			return errors.New("content differs")
		}
		return nil
	}
	// read back what is written
	text, err := g.Bytes()
	if err != nil {
		return err
	}
	roots := func(docs []*yamldoc.Doc) (out []*yaml.Node) {
		for _, d := range docs {
			root, err2 := d.Copy()
			if err2 != nil {
				err = err2
			}
			if root != nil {
				if len(root.Content) > 0 {
					root.Content[0].HeadComment = "" // the same, without a blank line
				}
				out = append(out, root)
			}
		}
		return out
	}
	gs, ws := roots(yamldoc.Split(text)), roots(w.Docs())
	if err != nil {
		return err
	}
	if len(gs) != len(ws) {
		return fmt.Errorf("%d documents, want %d", len(gs), len(ws))
	}
	for i := range gs {
		if path.Base(g.Path()) == kptpkg.KptfileName {
			if !same(gs[i], ws[i]) {
				return errors.New("values differ")
			}
		} else if !sameText(gs[i], ws[i]) {
			return fmt.Errorf("document %d: values or comments differ (values alone: %v)", i+1, !same(gs[i], ws[i]))
		}
	}
	return nil
}
