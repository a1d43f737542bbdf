package fn_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

func parse(t testing.TB, s string) *yaml.Node {
	t.Helper()
	n, err := yaml.Parse(s)
	require.NoError(t, err)
	return n.YNode()
}

func write(t testing.TB, n *yaml.Node) string {
	t.Helper()
	s, err := yaml.NewRNode(n).String()
	require.NoError(t, err)
	return s
}

func TestHeal(t *testing.T) {
	for _, tc := range []struct{ name, old, fresh, want string }{
		{
			"comments and order come back",
			"# top\nb: 1 # one\na:\n  # two\n  y: 2\n  x: 3\n",
			"a:\n  x: 3\n  y: 5\nb: 1\n",
			"# top\nb: 1 # one\na:\n  # two\n  y: 5\n  x: 3\n",
		},
		{
			"new keys go behind",
			"b: 1\na: 2\n", "0: new\na: 2\nb: 1\nz: new\n", "b: 1\na: 2\n0: new\nz: new\n",
		},
		{
			"a new comment is kept",
			"a: 1 # old\nb: 2 # old\nc: 3\n", "a: 1 # new\nb: 2\n# added\nc: 3\n", "a: 1 # new\nb: 2 # old\n# added\nc: 3\n",
		},
		{
			"a comment goes with its field",
			"# on a\na: 1\n# on b\nb: 2\n", "b: 2\n", "# on b\nb: 2\n",
		},
		{
			"named items keep theirs when they move",
			"l:\n- name: x # the x\n  v: 1\n- name: y # the y\n  v: 2\n",
			"l:\n- name: new\n- v: 3\n  name: y\n- v: 1\n  name: x\n",
			"l:\n- name: new\n- name: y # the y\n  v: 3\n- name: x # the x\n  v: 1\n",
		},
		{
			"equal items keep theirs when they move",
			"l:\n- a # the a\n- b # the b\n", "l:\n- new\n- b\n- a\n", "l:\n- new\n- b # the b\n- a # the a\n",
		},
		{
			"a changed item keeps the comment of its place",
			"l:\n- a # kpt-set: ${a}\n- b # kpt-set: ${b}\n", "l:\n- a\n- changed\n", "l:\n- a # kpt-set: ${a}\n- changed # kpt-set: ${b}\n",
		},
		{
			"the spelling of values stays",
			"i: 0x10\nf: 1.50\nn: ~\nb: True\nd: 2020-01-01\ns: 'x'\nbig: 9007199254740993\n",
			"i: 16\nf: 1.5\nn: null\nb: true\nd: \"2020-01-01\"\ns: y\nbig: 9007199254740992\n",
			"i: 0x10\nf: 1.50\nn: ~\nb: True\nd: 2020-01-01\ns: 'y'\nbig: 9007199254740992\n",
		},
		{
			"a change of type is a change",
			"a: \"1\"\nb: 1\nc: {x: 1}\nd: [1]\ne: 1 # gone with the number\n",
			"a: 1\nb: \"1\"\nc: [1]\nd: {x: 1}\ne: [1]\n",
			"a: 1\nb: \"1\"\nc: [1]\nd: {x: 1}\ne: [1]\n",
		},
		{
			"flow stays flow, what was empty takes the new style",
			"a: [x, y]\nb: {k: v}\nc: []\nd: {}\n",
			"a:\n- x\n- z\nb:\n  k: w\nc:\n- 1\nd:\n  k: v\n",
			"a: [x, z]\nb: {k: w}\nc:\n- 1\nd:\n  k: v\n",
		},
		{
			"a scalar that needs no quotes any more has none of ours",
			"a: 'x'\n", "a: |\n  two\n  lines\n", "a: |\n  two\n  lines\n",
		},
		{
			"aliases are taken as they are",
			"a: &x 1\nb: *x\nc: 1 # c\n", "a: &x 2\nb: *x\nc: 1\n", "a: &x 2\nb: *x\nc: 1 # c\n",
		},
		{
			"anchors and aliases that went come back",
			"a: &x {k: [1]}\nb: *x # c\nl:\n- *x\n- 2\nc: 1\n",
			"a:\n  k:\n  - 1\nb:\n  k:\n  - 1\nc: 2\nl:\n- k:\n  - 1\n- 2\n",
			"a: &x {k: [1]}\nb: *x # c\nl:\n- *x\n- 2\nc: 2\n",
		},
		{
			"an alias comes back where both places got the same value, else it stays away",
			"a: &x 1\nb: *x\nc: &y 1\nd: *y\ne: &z 1\nf: *z\n",
			"a: 2\nb: 2\nc: 1\nd: 2\ne: 3\nf: 1\n",
			"a: &x 2\nb: *x\nc: &y 1\nd: 2\ne: &z 3\nf: 1\n",
		},
		{
			"an alias whose anchor's place went stays away",
			"a: &x 1\nb: *x\nc: *x\n", "b: 1\nc: 1\n", "b: 1\nc: 1\n",
		},
		{
			"aliases within what has an anchor",
			"a: &x 1\nb: &y {k: *x}\nc: *y\nd: &x 1\ne: *x\n",
			"a: 1\nb: {k: 1}\nc: {k: 1}\nd: 1\ne: 1\nf: 1\n",
			"a: &x 1\nb: &y {k: *x}\nc: *y\nd: &x 1\ne: *x\nf: 1\n",
		},
		{
			"merge keys come back",
			"a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n  m: 4\nc:\n  <<: [*x]\n",
			"a: {k: 1, l: 2}\nb:\n  k: 1\n  l: 5\n  n: 6\n  m: 4\nc:\n  k: 1\n  l: 2\n",
			"a: &x {k: 1, l: 2}\nb:\n  !!merge <<: *x\n  l: 5\n  m: 4\n  n: 6\nc:\n  !!merge <<: [*x]\n",
		},
		{
			"merge keys whose anchor or fields changed don't",
			"a: &x {k: 1}\nb:\n  <<: *x\n  m: 4\nc: &y {k: 1}\nd:\n  <<: *y\n",
			"a: {k: 1}\nb:\n  k: 2\n  m: 4\nc: {k: 2}\nd:\n  k: 1\n",
			"a: &x {k: 1}\nb:\n  k: 2\n  m: 4\nc: &y {k: 2}\nd:\n  k: 1\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := parse(t, tc.old)
			got := fn.Heal(old, parse(t, tc.fresh))
			assert.Equal(t, tc.want, write(t, got))
			assert.Equal(t, write(t, parse(t, tc.old)), write(t, old), "the old one must stay as it was")
			assert.Same(t, old, fn.Heal(old, parse(t, tc.old)), "what says the same is the same")
		})
	}
}

// A program that keeps values only has no anchors, aliases or merge keys.
func TestHealExpandedAliases(t *testing.T) {
	old := parse(t, "a: &x {k: &n 1, l: [2]} # one\nb: *x # two\nc:\n  <<: *x\n  l: 3\nd: [*n, *x]\n")
	fresh := parse(t, "a: {l: [2], k: 1}\nb: {k: 1, l: [2]}\nc: {l: 3, k: 1}\nd: [1, {k: 1, l: [2]}]\n")
	assert.Same(t, old, fn.Heal(old, fresh))
}

// TestHealMovedComments holds that comments which reading and writing pushes to
// other nodes aren't taken for news.
func TestHealMovedComments(t *testing.T) {
	old := parse(t, "l:\n# on the item\n- b: 1\n  # foot of b\n\n  a: 2\n")
	fresh := parse(t, "l:\n- a: 2\n  # on the item\n  b: 1\n# foot of b\n")
	assert.Same(t, old, fn.Heal(old, fresh))
}

func TestHealIsLinear(t *testing.T) {
	big := func(items int) (old, fresh *yaml.Node) {
		var a, b strings.Builder
		a.WriteString("l:\n")
		b.WriteString("l:\n")
		for i := range items {
			fmt.Fprintf(&a, "- x: %d # c\n  l: [{y: %d}, {y: 2}]\n", i, i)
			fmt.Fprintf(&b, "- l: [{y: 2}, {y: %d}]\n  x: %d\n", items-i, items-i)
		}
		return parse(t, a.String()), parse(t, b.String())
	}
	old, fresh := big(20_000)
	start := time.Now()
	fn.Heal(old, fresh)
	assert.Less(t, time.Since(start), 30*time.Second, "all pairs would take minutes")
}
