package kptdir

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	before := files{"a": "1", "b": "1", "c": "1", "d": "!x", "e/f": "1", "l": "-> a"}
	after := files{"a": "1", "b": "2", "d": "#!x", "e/g": "1", "l": "-> b"}
	changes, err := Diff(before.tree(t), after.tree(t))
	require.NoError(t, err)
	var got []string
	for _, c := range changes {
		got = append(got, string(c.Kind())+" "+c.Path)
	}
	assert.Equal(t, []string{"modified b", "removed c", "modified d", "removed e/f", "added e/g", "modified l"}, got)

	changes, err = Diff(after.tree(t), after.tree(t))
	require.NoError(t, err)
	assert.Empty(t, changes)
}

func TestWriteDiff(t *testing.T) {
	before := files{
		"Kptfile": "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: a\n  labels:\n    x: y\ninfo:\n  description: d\n  keywords: []\npipeline: {}\n",
		"bin":     "a\x00",
		"gone":    "last\n",
		"end":     "no newline",
		"run.sh":  "!x\n",
		"link":    "-> Kptfile",
		"void":    "",
	}
	after := files{
		"Kptfile":     "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: b\n  labels:\n    x: y\ninfo:\n  description: d\n  keywords: []\npipeline:\n  mutators: []\n",
		"bin":         "b\x00",
		"end":         "no newline\n",
		"run.sh":      "#!x\n",
		"link":        "file\n",
		"new one.txt": "1\n2\n",
		"none":        "",
	}
	var out bytes.Buffer
	require.NoError(t, WriteDiff(&out, before.tree(t), after.tree(t)))
	assert.Equal(t, strings.ReplaceAll(`diff --git a/Kptfile b/Kptfile
index b5e8846..db84fc6 100644
--- a/Kptfile
+++ b/Kptfile
@@ -1,10 +1,11 @@
 apiVersion: kpt.dev/v1
 kind: Kptfile
 metadata:
-  name: a
+  name: b
   labels:
     x: y
 info:
   description: d
   keywords: []
-pipeline: {}
+pipeline:
+  mutators: []
diff --git a/bin b/bin
index 90802fe..28eacf2 100644
Binary files a/bin and b/bin differ
diff --git a/end b/end
index 20cbb4d..7bcfef5 100644
--- a/end
+++ b/end
@@ -1 +1 @@
-no newline
\ No newline at end of file
+no newline
diff --git a/gone b/gone
deleted file mode 100644
index b25fa3f..0000000
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-last
diff --git a/link b/link
deleted file mode 120000
index 6cd26e9..0000000
--- a/link
+++ /dev/null
@@ -1 +0,0 @@
-Kptfile
\ No newline at end of file
diff --git a/link b/link
new file mode 100644
index 0000000..f73f309
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+file
diff --git a/new one.txt b/new one.txt
new file mode 100644
index 0000000..1191247
--- /dev/null
+++ b/new one.txt<TAB>
@@ -0,0 +1,2 @@
+1
+2
diff --git a/none b/none
new file mode 100644
index 0000000..e69de29
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
index d1b14d7..fabf50c
--- a/run.sh
+++ b/run.sh
@@ -1 +1 @@
-!x
+#!x
diff --git a/void b/void
deleted file mode 100644
index e69de29..0000000
`, "<TAB>", "\t"), out.String())

	// which is what git writes
	dir := before.dir(t)
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "1")
	require.NoError(t, open(t, dir).Write(t.Context(), after.tree(t)))
	git(t, dir, "add", ".")
	assert.Equal(t, git(t, dir, "diff", "--cached", "--no-renames"), out.String())

	out.Reset()
	require.NoError(t, WriteDiff(&out, after.tree(t), after.tree(t)))
	assert.Empty(t, out.String())
}

// git runs git in a directory and returns what it says.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "core.abbrev=7"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// git and patch make the one tree into the other with it.
func TestPatchApplies(t *testing.T) {
	long := func(change map[int]string) string {
		var s strings.Builder
		for i := range 60 {
			if c, ok := change[i]; ok {
				s.WriteString(c)
			} else {
				fmt.Fprintf(&s, "line: %d\n", i%7)
			}
		}
		return s.String()
	}
	tests := append([]struct {
		name          string
		before, after files
	}{
		{"many hunks", files{"f": long(nil)}, files{"f": long(map[int]string{0: "first\n", 9: "", 16: "more\nmore\n", 40: "x\n", 59: "last"})}},
		{"names", files{"with space/and more": "1\n", "ünïcode": "1\n", `quo"ted name`: "1\n", "-dash": "1\n", "b/b": "1\n"},
			files{"with space/and more": "2\n", "ünïcode": "2\n", `quo"ted name`: "2\n", "-dash": "2\n", "b/b": "2\n", "a b": "\n"}},
		{"ends", files{"a": "1\n2", "b": "1\n2\n", "c": "\n\n", "d": "x\r\ny\r\n"}, files{"a": "1\n2\n", "b": "1\n2", "c": "\n", "d": "x\ny\r\n"}},
		{"diff-like content", files{"a": "--- a/x\n+++ b/x\n"}, files{"a": "@@ -1 +1 @@\n--- a/y\n"}},
	}, transitions...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, WriteDiff(&out, test.before.tree(t), test.after.tree(t)))

			dir := test.before.dir(t)
			cmd := exec.Command("git", "apply", "--whitespace=nowarn", "-")
			cmd.Dir, cmd.Stdin = dir, bytes.NewReader(out.Bytes())
			msg, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", msg, &out)
			assert.Equal(t, test.after, filesOf(t, open(t, dir).Tree()), "git")

			if _, err := exec.LookPath("patch"); err != nil || gitOnly(test.before, test.after) {
				return
			}
			dir = test.before.dir(t)
			cmd = exec.Command("patch", "-p1", "--binary", "--quiet")
			cmd.Dir, cmd.Stdin = dir, &out
			msg, err = cmd.CombinedOutput()
			require.NoError(t, err, "%s", msg)
			assert.Equal(t, test.after, filesOf(t, open(t, dir).Tree()), "patch")
		})
	}
}

// gitOnly says whether patch can't make the one tree into the other: it needs the
// removals first where files and directories change places, and knows no links.
func gitOnly(before, after files) bool {
	for _, pair := range [][2]files{{before, after}, {after, before}} {
		for p, content := range pair[0] {
			if strings.HasPrefix(content, "-> ") {
				return true
			}
			for dir := range parents(p) {
				if _, file := pair[1][dir]; file {
					return true
				}
			}
		}
	}
	return false
}

// Whatever the texts, the edits lead from one to the other; for short texts
// there is no shorter way but for the lines that were aligned first.
func TestEditsLeadFromOneToTheOther(t *testing.T) {
	line := rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "d\n", "e\n", "f\n"})
	rapid.Check(t, func(t *rapid.T) {
		texts := [2][][]byte{}
		for i := range texts {
			for _, l := range rapid.SliceOfN(line, 0, 40).Draw(t, "text") {
				texts[i] = append(texts[i], []byte(l))
			}
		}
		a, b := texts[0], texts[1]
		var got [][]byte
		at, bt := 0, 0
		for _, e := range editsOf(a, b) {
			require.Less(t, e.a0+e.b0, e.a1+e.b1, "an empty edit")
			require.Equal(t, e.a0-at, e.b0-bt, "what is between edits is the same")
			require.True(t, at == 0 && bt == 0 || e.a0 > at, "edits that touch are one")
			got = append(got, a[at:e.a0]...)
			got = append(got, b[e.b0:e.b1]...)
			at, bt = e.a1, e.b1
		}
		got = append(got, a[at:]...)
		require.Equal(t, string(bytes.Join(b, nil)), string(bytes.Join(got, nil)))

		x, y := number(a, b)
		require.Equal(t, longestCommon(x, y), len(shortest(x, y)), "not the shortest edit")
	})
}

// longestCommon is the length of the longest common subsequence, by the book.
func longestCommon(a, b []int) int {
	row := make([]int, len(b)+1)
	for i := range a {
		diagonal := 0
		for j := range b {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

func TestDiffOfBigFilesIsBounded(t *testing.T) {
	var a, b strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&a, "%d\n", i*7919%13)
		fmt.Fprintf(&b, "%d\n", i*i%11)
	}
	var out bytes.Buffer
	require.NoError(t, WriteDiff(&out, files{"f": a.String()}.tree(t), files{"f": b.String()}.tree(t)))
	assert.NotEmpty(t, out.String())

	out.Reset()
	require.NoError(t, WriteDiff(&out, files{}.tree(t), files{"f": strings.Repeat("x\n", maxText/2+1)}.tree(t)))
	assert.Contains(t, out.String(), "Binary files /dev/null and b/f differ")
}
