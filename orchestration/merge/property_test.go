package merge

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// drawTree draws a package of a few files out of a small world, so that two
// draws have much in common.
func drawTree(t *rapid.T, name string) kptpkg.Tree {
	files := []*kptpkg.File{kptpkg.NewFile(kptpkg.KptfileName, kptpkg.Regular, []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: p\n"))}
	docs := map[string][]string{}
	for _, obj := range []string{"a", "b", "c", "d"} {
		if !rapid.Bool().Draw(t, name+" has "+obj) {
			continue
		}
		to := rapid.SampledFrom([]string{"one.yaml", "two.yaml", "sub/three.yaml"}).Draw(t, name+" file of "+obj)
		docs[to] = append(docs[to], drawObject(t, name, obj))
	}
	for _, to := range slices.Sorted(maps.Keys(docs)) {
		text := strings.Join(docs[to], "---\n")
		if rapid.Bool().Draw(t, name+" header of "+to) {
			text = "# about " + to + "\n---\n" + text
		}
		files = append(files, kptpkg.NewFile(to, kptpkg.Regular, []byte(text)))
	}
	for _, plain := range []string{"README.md", "values.yaml", "run.sh"} {
		if v := rapid.IntRange(0, 3).Draw(t, name+" "+plain); v > 0 {
			mode := rapid.SampledFrom([]kptpkg.Mode{kptpkg.Regular, kptpkg.Executable}).Draw(t, name+" mode of "+plain)
			files = append(files, kptpkg.NewFile(plain, mode, fmt.Appendf(nil, "text: %d\n", v)))
		}
	}
	tree, err := kptpkg.NewTree(files...)
	require.NoError(t, err)
	return tree
}

func drawObject(t *rapid.T, side, obj string) string {
	n := func(what string) int { return rapid.IntRange(0, 2).Draw(t, side+" "+obj+" "+what) }
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s\n", obj)
	if v := n("label"); v > 0 {
		fmt.Fprintf(&b, "  labels:\n    l: \"%d\" # label %d\n", v, n("comment"))
	}
	if n("annotations") == 2 {
		b.WriteString("  annotations: {}\n")
	}
	fmt.Fprintf(&b, "spec:\n  replicas: %d\n", n("replicas"))
	if v := n("strategy"); v > 0 {
		fmt.Fprintf(&b, "  strategy: {type: %d}\n", v)
	}
	b.WriteString("  template:\n    spec:\n")
	containers := rapid.Permutation([]string{"x", "y", "z"}).Draw(t, side+" "+obj+" containers")[:n("how many")+1]
	b.WriteString("      containers:\n")
	for _, c := range containers {
		fmt.Fprintf(&b, "        # container %s\n        - name: %s\n          image: i:%d\n          args: [%d, %d]\n", c, c, n("image"), n("arg"), n("arg2"))
	}
	return b.String()
}

func mustMerge(t *rapid.T, base, local, upstream kptpkg.Tree) kptpkg.Tree {
	res, err := Merge(base, local, upstream, Options{Root: true})
	require.NoError(t, err)
	require.Empty(t, res.Conflicts)
	return res.Tree
}

// Who alone changed something gets what they wanted, byte by byte; and so do two
// who wanted the same.
func TestOneSideChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, other := drawTree(t, "base"), drawTree(t, "other")
		require.Equal(t, show(other), show(mustMerge(t, base, other, base)), "only local changed")
		require.Equal(t, show(other), show(mustMerge(t, base, base, other)), "only upstream changed")
		require.Equal(t, show(other), show(mustMerge(t, base, other, other)), "both changed alike")
	})
}

// A pristine clone becomes what upstream is, whatever keys cloning added.
func TestPristineCloneFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, upstream := drawTree(t, "base"), drawTree(t, "upstream")
		clone, skipped, err := AddKeys(base)
		require.NoError(t, err)
		require.Empty(t, skipped)
		for _, s := range strategies {
			res, err := Merge(base, clone, upstream, Options{Strategy: s, Root: true})
			require.NoError(t, err)
			require.Empty(t, res.Conflicts, s)
			require.Equal(t, objects(t, upstream), objects(t, res.Tree), s)
		}
	})
}

// With any two sides changed, every policy but fail gives a package that reads
// back, and conflicts don't depend on the policy.
func TestPoliciesAgreeOnConflicts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, local, upstream := drawTree(t, "base"), drawTree(t, "local"), drawTree(t, "upstream")
		local, _, err := AddKeys(local)
		require.NoError(t, err)
		places := map[Policy][]string{}
		for _, p := range []Policy{Fail, TakeLocal, TakeUpstream} {
			res, err := Merge(base, local, upstream, Options{OnConflict: p, Root: true})
			for _, c := range res.Conflicts {
				places[p] = append(places[p], c.Place())
			}
			if p == Fail {
				decide := slices.ContainsFunc(res.Conflicts, func(c Conflict) bool { return !c.Info })
				require.Equal(t, decide, err != nil)
				continue
			}
			require.NoError(t, err)
			objects(t, res.Tree)
			again, err := Merge(upstream, res.Tree, upstream, Options{Root: true})
			require.NoError(t, err)
			require.Equal(t, show(res.Tree), show(again.Tree), "merged again with nothing new")
		}
		require.Equal(t, places[Fail], places[TakeLocal])
		require.Equal(t, places[Fail], places[TakeUpstream])
	})
}

// objects is what a tree holds: its resources by file and name, less merge keys,
// and the text of its other files.
func objects(t *rapid.T, tree kptpkg.Tree) map[string]any {
	out := map[string]any{}
	for _, p := range tree.Paths() {
		f := tree.File(p)
		text, err := f.Bytes()
		require.NoError(t, err)
		if !mergeable(f) || p == "values.yaml" {
			out[p] = fmt.Sprintf("%d %s", f.Mode(), text)
			continue
		}
		for _, d := range kptpkg.NewFile(p, f.Mode(), text).Docs() {
			root, err := d.Root()
			require.NoError(t, err, "%s", text)
			if root == nil {
				continue
			}
			var v any
			require.NoError(t, stripped(root).Decode(&v))
			key := p + " " + childText(child(root, "metadata"), "name")
			require.NotContains(t, out, key)
			out[key] = v
		}
	}
	return out
}

func FuzzMerge(f *testing.F) {
	f.Add("a: 1\n", "a: 2\n", "a: 3\n")
	f.Add("apiVersion: v1\nkind: A\nmetadata: {name: x}\nd: &a [1]\ne: *a\n", "apiVersion: v1\nkind: A\nmetadata: # kpt-merge: /x\n  name: y\nd: null\n", "apiVersion: v1\nkind: A\nmetadata: {name: x}\n? [k]\n: v\n")
	f.Add("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a}]}\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [null, {name: a}, 1]}\n---\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  # c\n  containers: {}\n")
	f.Fuzz(func(t *testing.T, base, local, upstream string) {
		side := func(text string) kptpkg.Tree {
			tree := treeOf("f.yaml", text)
			tree, _ = tree.With(kptpkg.NewFile("sub/Kptfile", kptpkg.Regular, []byte(text)))
			return tree
		}
		plain := func(text string) kptpkg.Tree { return treeOf("f.yaml", text) }
		for _, s := range strategies {
			for _, make := range []func(string) kptpkg.Tree{side, plain} {
				res, err := Merge(make(base), make(local), make(upstream), Options{Strategy: s, OnConflict: TakeUpstream, Nested: true})
				if err != nil {
					continue
				}
				for _, p := range res.Tree.Paths() {
					_, _ = res.Tree.File(p).Bytes()
				}
			}
		}
		var n yaml.Node
		if yaml.Unmarshal([]byte(base), &n) == nil {
			oneLine(&n)
		}
	})
}
