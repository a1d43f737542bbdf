package merge

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// TestMerge runs testdata/*.txtar. The comment of an archive has options as
// `key: value` lines before what it is about; its files are base/, local/ and
// upstream/, what comes out of them byte by byte, expected/, and the table of
// conflicts or the error. -update writes the latter anew.
func TestMerge(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, archives)
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			require.NoError(t, err)
			c := readCase(t, ar)
			before := [3]string{show(c.base), show(c.local), show(c.upstream)}
			res, err := Merge(c.base, c.local, c.upstream, c.options)
			require.Equal(t, before, [3]string{show(c.base), show(c.local), show(c.upstream)}, "the input has changed")
			got := map[string]string{}
			for _, p := range res.Tree.Paths() {
				got["expected/"+shown(res.Tree.File(p))] = textOf(t, res.Tree.File(p))
			}
			if err != nil {
				require.Empty(t, res.Tree.Paths())
				got["error"] = err.Error() + "\n"
			}
			if len(res.Conflicts) > 0 {
				got["conflicts"] = res.Conflicts.Table()
			}
			if len(res.Skipped) > 0 {
				got["skipped"] = strings.Join(res.Skipped, "\n") + "\n"
			}
			if len(res.Unused) > 0 {
				got["unused"] = strings.Join(res.Unused, "\n") + "\n"
			}
			if *update {
				c.write(t, name, ar, got)
				return
			}
			require.Equal(t, c.want, got)
		})
	}
}

type mergeCase struct {
	base, local, upstream kptpkg.Tree
	options               Options
	want                  map[string]string
}

func readCase(t *testing.T, ar *txtar.Archive) mergeCase {
	c := mergeCase{want: map[string]string{}, options: Options{Root: true}}
	var resolve []string
	for line := range strings.Lines(string(ar.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "strategy":
			c.options.Strategy = Strategy(value)
		case "on-conflict":
			c.options.OnConflict = Policy(value)
		case "resolve":
			resolve = append(resolve, value)
		case "nested":
			c.options.Nested = value == "true"
		}
	}
	var err error
	c.options.Resolve, err = ParseResolve(resolve)
	require.NoError(t, err)
	for _, f := range ar.Files {
		side, name, ok := strings.Cut(f.Name, "/")
		tree := map[string]*kptpkg.Tree{"base": &c.base, "local": &c.local, "upstream": &c.upstream}[side]
		if !ok || tree == nil {
			c.want[f.Name] = string(f.Data)
			continue
		}
		mode := kptpkg.Regular
		if n, ok := strings.CutSuffix(name, "*"); ok {
			name, mode = n, kptpkg.Executable
		}
		*tree, err = tree.With(kptpkg.NewFile(name, mode, f.Data))
		require.NoError(t, err)
	}
	return c
}

func (c mergeCase) write(t *testing.T, name string, ar *txtar.Archive, got map[string]string) {
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		side, _, ok := strings.Cut(f.Name, "/")
		if ok && side != "expected" {
			out.Files = append(out.Files, f)
		}
	}
	for _, key := range sortedKeys(got) {
		out.Files = append(out.Files, txtar.File{Name: key, Data: []byte(got[key])})
	}
	require.NoError(t, os.WriteFile(name, txtar.Format(out), 0o644))
}

// shown is a file's path, with a star when it is executable.
func shown(f *kptpkg.File) string {
	if f.Mode() == kptpkg.Executable {
		return f.Path() + "*"
	}
	return f.Path()
}

func textOf(t testing.TB, f *kptpkg.File) string {
	b, err := f.Bytes()
	require.NoError(t, err)
	return string(b)
}

// show is a tree as text.
func show(t kptpkg.Tree) string {
	var b strings.Builder
	for _, p := range t.Paths() {
		f := t.File(p)
		text, err := f.Bytes()
		fmt.Fprintf(&b, "-- %s %d %v --\n%s\n", p, f.Mode(), err, text)
	}
	return b.String()
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Merge(kptpkg.Tree{}, kptpkg.Tree{}, kptpkg.Tree{}, Options{Strategy: "merge"})
	require.ErrorContains(t, err, `unknown strategy "merge"`)
	_, err = Merge(kptpkg.Tree{}, kptpkg.Tree{}, kptpkg.Tree{}, Options{OnConflict: "ours"})
	require.ErrorContains(t, err, `unknown way to settle conflicts "ours"`)
}

func TestParseResolve(t *testing.T) {
	r, err := ParseResolve([]string{"a.yaml:spec.env[name=X]=local", "b=upstream"})
	require.NoError(t, err)
	require.Equal(t, Resolutions{"a.yaml:spec.env[name=X]": Local, "b": Upstream}, r)
	for arg, want := range map[string]string{
		"a.yaml":      "want FILE:PATH=local",
		"=local":      "names no file",
		"a.yaml=mine": `unknown side "mine"`,
	} {
		_, err := ParseResolve([]string{arg})
		require.ErrorContains(t, err, want)
	}
	_, err = ParseResolve([]string{"a=local", "a=upstream"})
	require.ErrorContains(t, err, "twice")
}

// What a table suggests settles the conflict it was suggested for.
func TestAcceptIsReadBack(t *testing.T) {
	base := treeOf("all.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {x.io/y: \"1\"}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: \"1\"}\n")
	edit := func(to string) kptpkg.Tree {
		text, _ := base.File("all.yaml").Bytes()
		return treeOf("all.yaml", strings.ReplaceAll(string(text), `"1"`, to))
	}
	local, upstream := edit(`"2"`), edit(`"3"`)
	res, err := Merge(base, local, upstream, Options{})
	var open *ConflictError
	require.True(t, errors.As(err, &open))
	require.Len(t, open.Conflicts, 2)
	require.Equal(t, open.Conflicts, res.Conflicts)
	require.Equal(t, "all.yaml:ConfigMap/a:metadata.annotations[x.io/y]=local", res.Conflicts[0].Accept(Local))
	var args []string
	for _, c := range res.Conflicts {
		args = append(args, c.Accept(Upstream))
	}
	resolve, err := ParseResolve(args)
	require.NoError(t, err)
	res, err = Merge(base, local, upstream, Options{Resolve: resolve})
	require.NoError(t, err)
	require.Empty(t, res.Unused)
	require.Equal(t, show(upstream), show(res.Tree))
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func TestConflictAsResult(t *testing.T) {
	base := treeOf("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: 1}\n")
	edit := func(to string) kptpkg.Tree {
		return treeOf("a.yaml", strings.Replace(textOf(t, base.File("a.yaml")), "k: 1", "k: "+to, 1))
	}
	res, err := Merge(base, edit("2"), edit("3"), Options{})
	require.Error(t, err)
	require.Equal(t, []fn.Result{{
		Message:     "line 4: changed differently on both sides; accept one with --resolve 'a.yaml:data.k=local' or 'a.yaml:data.k=upstream'",
		Severity:    fn.Error,
		ResourceRef: &fn.ResourceRef{APIVersion: "v1", Kind: "ConfigMap", Name: "a"},
		Field:       &fn.Field{Path: "data.k", CurrentValue: "2", ProposedValue: "3"},
		File:        &fn.File{Path: "a.yaml"},
		Tags:        map[string]string{"base": "1"},
	}}, []fn.Result{res.Conflicts[0].Result()})
	res, err = Merge(base, edit("2"), edit("3"), Options{OnConflict: TakeUpstream})
	require.NoError(t, err)
	require.Equal(t, fn.Warning, res.Conflicts[0].Result().Severity)
	require.Equal(t, "line 4: changed differently on both sides (upstream taken)", res.Conflicts[0].Result().Message)
}

func TestConflictShowsNoPasswords(t *testing.T) {
	base := treeOf("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: 1}\n")
	edit := func(to string) kptpkg.Tree {
		return treeOf("a.yaml", strings.Replace(textOf(t, base.File("a.yaml")), "k: 1", "k: "+to, 1))
	}
	long := strings.Repeat("a", 4080)
	for value, want := range map[string]string{
		"https://joe:s3cr3t/x@h/r.git":       "https://REDACTED@h/r.git",
		long + " https://joe:s3cr3tlong@h/r": long + " https://REDACTE…",
	} {
		res, err := Merge(base, edit("2"), edit(value), Options{})
		require.Error(t, err)
		require.True(t, want == res.Conflicts[0].Upstream, want[max(0, len(want)-30):])
	}
}

// What upstream has from base is parsed once, and only what changes is written.
func TestWorkIsWhatChanged(t *testing.T) {
	const n = 200
	base, local, upstream := upgrade(t, n)
	parsed, written := yamldoc.Work()
	res, err := Merge(base, local, upstream, Options{Root: true})
	require.NoError(t, err)
	for _, p := range res.Tree.Paths() {
		textOf(t, res.Tree.File(p))
	}
	parsedAfter, writtenAfter := yamldoc.Work()
	require.LessOrEqual(t, parsedAfter-parsed, int64(n+n+n/10+n/10), "base, local, a tenth of upstream, a proof of each edit")
	require.EqualValues(t, n/10, writtenAfter-written)
}

func TestFileInTheWayOfADirectory(t *testing.T) {
	_, err := Merge(kptpkg.Tree{}, treeOf("a", "x"), treeOf("a/b.txt", "y"), Options{Root: true})
	require.ErrorContains(t, err, "a is a file on one side and a directory, with a/b.txt, on another")
}

func TestSymlinks(t *testing.T) {
	link := func(to string) kptpkg.Tree {
		tree, err := kptpkg.NewTree(kptpkg.NewFile("l.yaml", kptpkg.Symlink, []byte(to)))
		require.NoError(t, err)
		return tree
	}
	res, err := Merge(link("a"), link("a"), link("b"), Options{})
	require.NoError(t, err)
	require.Equal(t, show(link("b")), show(res.Tree))
	res, err = Merge(link("a"), treeOf("l.yaml", "a: 1\n"), link("b"), Options{OnConflict: TakeUpstream})
	require.NoError(t, err)
	require.Len(t, res.Conflicts, 1)
	require.Equal(t, show(treeOf("l.yaml", "a: 1\n")), show(res.Tree))
}

func TestAddKeys(t *testing.T) {
	tree, err := treeOf("bad.yaml", "a: 1\n---\na: [\n").With(
		kptpkg.NewFile("comment.yaml", kptpkg.Regular, []byte("apiVersion: v1\nkind: A\nmetadata: # kpt-merge: x\n  name: a\n")),
		kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: p\n")),
		kptpkg.NewFile("anchor.yaml", kptpkg.Regular, []byte("apiVersion: v1\nkind: A\nmetadata: &m\n  name: a # n\nx: 1 # x\n")),
		kptpkg.NewFile("renamed.yaml", kptpkg.Regular, []byte("apiVersion: apps/v1\nkind: A\nmetadata: # kpt-merge: ns/old\n  name: new\n")),
		kptpkg.NewFile("two.yaml", kptpkg.Regular, []byte("x: 1\n---\n# c\napiVersion: v1\nkind: A\nmetadata:\n  name: a # n\n  namespace: n\n")),
	)
	require.NoError(t, err)
	got, skipped, err := AddKeys(tree)
	require.NoError(t, err)
	require.Len(t, skipped, 2)
	require.Equal(t, "bad.yaml", skipped[0].Path)
	require.ErrorContains(t, skipped[0].Err, "line 4: did not find expected node content")
	require.Equal(t, "comment.yaml", skipped[1].Path)
	require.ErrorContains(t, skipped[1].Err, "line 3: malformed merge comment")
	require.Same(t, tree.File("Kptfile"), got.File("Kptfile"))
	require.Equal(t, "apiVersion: apps/v1\nkind: A\nmetadata: # kpt-merge: ns/old\n  name: new\n  annotations:\n    internal.kpt.dev/upstream-identifier: 'apps|A|ns|old'\n", textOf(t, got.File("renamed.yaml")))
	require.Equal(t, "apiVersion: v1\nkind: A\nmetadata: &m\n  name: a # n\n  annotations:\n    internal.kpt.dev/upstream-identifier: '|A|default|a'\nx: 1 # x\n", textOf(t, got.File("anchor.yaml")))
	require.Equal(t, "x: 1\n---\n# c\napiVersion: v1\nkind: A\nmetadata: # kpt-merge: n/a\n  name: a # n\n  namespace: n\n  annotations:\n    internal.kpt.dev/upstream-identifier: '|A|n|a'\n", textOf(t, got.File("two.yaml")))
	again, _, err := AddKeys(got)
	require.NoError(t, err)
	require.Equal(t, show(got), show(again))
}

func treeOf(name, text string) kptpkg.Tree {
	t, err := kptpkg.NewTree(kptpkg.NewFile(name, kptpkg.Regular, []byte(text)))
	if err != nil {
		panic(err)
	}
	return t
}

func childText(n *yaml.Node, key string) string { return text(child(n, key)) }
