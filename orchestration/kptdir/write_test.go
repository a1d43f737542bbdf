package kptdir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// transitions are pairs of trees with every way in which one can turn into the
// other.
var transitions = []struct {
	name          string
	before, after files
}{
	{"from nothing", files{}, files{"Kptfile": "k", "a/b/c.yaml": "x: 1"}},
	{"to nothing", files{"Kptfile": "k", "a/b/c.yaml": "x: 1", "a/d": ""}, files{}},
	{"add, change, remove", files{"keep": "k", "change": "1", "d/gone": "g", "d/stay": "s"}, files{"keep": "k", "change": "2", "d/stay": "s", "new/x": "n"}},
	{"file to directory", files{"x": "file", "keep": "k"}, files{"x/a/b": "below", "x/c": "", "keep": "k"}},
	{"directory to file", files{"x/a/b": "below", "x/a/c": "", "x/d": "", "keep": "k"}, files{"x": "file", "keep": "k"}},
	{"directory to link", files{"x/a/b": "below", "y/a/b": "", "x/z": ""}, files{"x": "-> y", "y/a/b": ""}},
	{"link to directory", files{"x": "-> y", "y/f": "y"}, files{"x/f": "x", "y/f": "y"}},
	{"link to file", files{"x": "-> y", "y": "y"}, files{"x": "x", "y": "y"}},
	{"file to link", files{"x": "x", "y": "y"}, files{"x": "-> ./y", "y": "y", "d/l": "-> ../y", "d/r": "-> .."}},
	{"other link", files{"x": "-> y", "y": "y", "z": "z"}, files{"x": "-> z", "y": "y", "z": "z"}},
	{"swap", files{"x": "1", "y/z": "2"}, files{"y": "1", "x/z": "2"}},
	{"becomes executable", files{"run": "!/bin/sh"}, files{"run": "#!/bin/sh"}},
	{"is executable no more", files{"run": "#!/bin/sh"}, files{"run": "!/bin/sh"}},
	{"siblings leave their directory empty", files{"a/b/x": "", "a/c/y": "", "a/c/z/w": ""}, files{"k": ""}},
	{"case of a name", files{"README.md": "r"}, files{"readme.md": "r"}},
}

func TestWrite(t *testing.T) {
	for _, test := range transitions {
		t.Run(test.name, func(t *testing.T) {
			d := open(t, test.before.dir(t))
			require.NoError(t, d.Write(t.Context(), test.after.tree(t)))
			assert.Equal(t, test.after, filesOf(t, d.Tree()))

			want := files{}
			for p, content := range test.after {
				want[p] = content
				for dir := range parents(p) {
					want[dir+"/"] = "dir"
				}
			}
			assert.Equal(t, want, onDisk(t, d.name), "no more and no less")

			name := d.name
			require.NoError(t, d.Close())
			assert.Equal(t, test.after, filesOf(t, open(t, name).Tree()))
		})
	}
}

func TestWriteOnceMore(t *testing.T) {
	d := open(t, files{"a": "1"}.dir(t))
	require.NoError(t, d.Write(t.Context(), files{"a": "2", "b": "1"}.tree(t)))
	require.NoError(t, d.Write(t.Context(), files{"b": "2"}.tree(t)))
	assert.Equal(t, files{"b": "2"}, onDisk(t, d.name))
}

func TestWriteTouchesNothingElse(t *testing.T) {
	dir := files{"same": "s", "d/same": "s", "d/other": "1", "e/gone": "g"}.dir(t)
	files{".git/config": "c", "e/.git": "gitdir", "d/.stoop/0": "junk"}.fill(t, dir)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty/too"), 0o777))
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, p := range []string{"same", "d/same", ".git/config", "e/.git", "empty", "."} {
		require.NoError(t, os.Chtimes(filepath.Join(dir, p), long, long))
	}
	d := open(t, dir)
	require.NoError(t, d.Write(t.Context(), d.Tree()))
	require.NoError(t, d.Write(t.Context(), files{"same": "s", "d/same": "s", "d/other": "1", "e/gone": "g"}.tree(t)))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, long, info.ModTime(), "nothing to write leaves no trace")

	require.NoError(t, d.Write(t.Context(), files{"same": "s", "d/same": "s", "d/other": "2"}.tree(t)))
	for _, p := range []string{"same", "d/same", ".git/config", "e/.git", "empty"} {
		info, err := os.Stat(filepath.Join(dir, p))
		require.NoError(t, err)
		assert.Equal(t, long, info.ModTime(), p)
	}
	assert.Equal(t, files{"same": "s", "d/": "dir", "d/same": "s", "d/other": "2", "d/.stoop/": "dir", "d/.stoop/0": "junk",
		".git/": "dir", ".git/config": "c", "e/": "dir", "e/.git": "gitdir", "empty/": "dir", "empty/too/": "dir"}, onDisk(t, dir))
}

func TestWriteKeepsPermissions(t *testing.T) {
	if !hasExecutableBits {
		t.Skip("no permissions on this system")
	}
	dir := files{"secret": "1", "run": "#!1", "become": "1", "cease": "#!1"}.dir(t)
	for p, perm := range map[string]os.FileMode{"secret": 0o600, "run": 0o744, "become": 0o640, "cease": 0o755} {
		require.NoError(t, os.Chmod(filepath.Join(dir, p), perm))
	}
	d := open(t, dir)
	require.NoError(t, d.Write(t.Context(), files{"secret": "2", "run": "#!2", "become": "#!1", "cease": "1"}.tree(t)))
	for p, perm := range map[string]os.FileMode{"secret": 0o600, "run": 0o744, "become": 0o750, "cease": 0o644} {
		info, err := os.Stat(filepath.Join(dir, p))
		require.NoError(t, err)
		assert.Equal(t, perm, info.Mode(), p)
	}
}

func TestWriteRefuses(t *testing.T) {
	outside := t.TempDir()
	for _, test := range []struct {
		name          string
		before, after files
		disk          func(t *testing.T, dir string) // what happens between Open and Write
		path, want    string
	}{
		{name: "changed since", before: files{"a": "1", "b": "1"}, after: files{"a": "2", "b": "2"},
			disk: write("b", "user's"), path: "b", want: "changed on disk since"},
		{name: "executable since", before: files{"a": "1", "b": "1"}, after: files{"a": "2", "b": "2"},
			disk: func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "b"), 0o755)) }, path: "b", want: "changed on disk since"},
		{name: "removed since", before: files{"a": "1", "b": "1"}, after: files{"a": "2", "b": "2"},
			disk: remove("b"), path: "b", want: "changed on disk since"},
		{name: "to remove, but changed since", before: files{"a": "1", "b": "1"}, after: files{"a": "2"},
			disk: write("b", "user's"), path: "b", want: "changed on disk since"},
		{name: "to add, but there since", before: files{"a": "1"}, after: files{"a": "2", "b": "2"},
			disk: write("b", "user's"), path: "b", want: "changed on disk since"},
		{name: "a directory since", before: files{"a": "1", "b": "1"}, after: files{"a": "2", "b": "2"},
			disk: func(t *testing.T, dir string) { remove("b")(t, dir); files{"b/c": ""}.fill(t, dir) }, path: "b", want: "changed on disk since"},
		{name: "a link since", before: files{"a": "1", "b": "1"}, after: files{"a": "2", "b": "2"},
			disk: func(t *testing.T, dir string) { remove("b")(t, dir); files{"b": "-> a"}.fill(t, dir) }, path: "b", want: "changed on disk since"},
		{name: "the parent is a link since", before: files{"a": "1", "d/f": "1"}, after: files{"a": "2", "d/f": "2"},
			disk: func(t *testing.T, dir string) {
				remove("d")(t, dir)
				require.NoError(t, os.Symlink(outside, filepath.Join(dir, "d")))
			}, path: "d", want: "doesn't write through links"},
		{name: "the parent of a new file is a link since", before: files{"a": "1"}, after: files{"a": "2", "d/f": "2"},
			disk: func(t *testing.T, dir string) { require.NoError(t, os.Symlink(outside, filepath.Join(dir, "d"))) }, path: "d", want: "doesn't write through links"},
		{name: "the parent is a file since", before: files{"a": "1"}, after: files{"a": "2", "d/f": "2"},
			disk: write("d", ""), path: "d", want: "a file or symlink where a directory was expected"},
		{name: "below a link that stays", before: files{"d": "-> e", "e/f": ""}, after: files{"d": "-> e", "e/f": "", "d/g": ""}, path: "d/g", want: "d is a file and can't be a directory"},
		{name: "git's files in the way", before: files{"x/f": "1"}, after: files{"x": "file"},
			disk: func(t *testing.T, dir string) { files{"x/.git/HEAD": "ref"}.fill(t, dir) }, path: "x/.git/HEAD", want: "x has to become a file"},

		{name: "differ in case", before: files{}, after: files{"d/README.md": "1", "d/readme.md": "2"}, path: "d/readme.md", want: "differs from d/README.md only in case"},
		{name: "differ in case, one was there", before: files{"README.md": "1"}, after: files{"README.md": "1", "ReadMe.md": "2"}, path: "ReadMe.md", want: "differs from README.md only in case"},
		{name: "directories differ in case", before: files{"App/x": "1"}, after: files{"App/x": "1", "app/y": "2"}, path: "app", want: "differs from App only in case"},
		{name: "differ in composition", before: files{}, after: files{"caf\u00e9": "1", "cafe\u0301": "2"}, want: "only in case"},
		{name: "a file and a directory", before: files{}, after: files{"a": "", "a/b": ""}, path: "a/b", want: "a is a file"},

		{name: "absolute link", before: files{}, after: files{"l": "-> /etc/passwd"}, path: "l", want: "empty or absolute"},
		{name: "link out", before: files{}, after: files{"d/l": "-> ../../x"}, path: "d/l", want: "leads out of the package"},
		{name: "link out by way of a link", before: files{}, after: files{"a/b/up": "-> ../..", "l": "-> a/b/up/../secret"}, path: "l", want: "has .. after a name"},
		{name: "link into git", before: files{}, after: files{"l": "-> .git/config"}, path: "l", want: ".git directory"},
		{name: "changed link out", before: files{"l": "-> x"}, after: files{"l": "-> .."}, path: "l", want: "leads out of the package"},
		{name: "empty link", before: files{}, after: files{"l": "-> "}, path: "l", want: "empty"},

		{name: "a name of ours", before: files{}, after: files{"sub/.stoop/manifest.json": "{}"}, path: "sub/.stoop/manifest.json", want: "reserved for stoop"},
		{name: "a name of ours on some systems", before: files{}, after: files{".Stoop. /x": ""}, path: ".Stoop. /x", want: "reserved for stoop"},
		{name: "a long name", before: files{}, after: files{"d/" + strings.Repeat("n", 256): ""}, want: "longer than 255 bytes"},
		{name: "not UTF-8", before: files{}, after: files{"d/\xff": ""}, want: "not UTF-8"},
		{name: "too deep", before: files{}, after: files{strings.Repeat("d/", 101) + "f": ""}, want: "more than 100 directories"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t, test.before.dir(t))
			if test.disk != nil {
				test.disk(t, d.name)
			}
			before := onDisk(t, d.name)
			err := d.Write(t.Context(), test.after.tree(t))
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "write directory "+d.name)
			result := fn.ResultOf(err)
			require.NotNil(t, result.File)
			if test.path != "" {
				assert.Equal(t, test.path, result.File.Path)
			}
			assert.Equal(t, before, onDisk(t, d.name), "nothing written")
			assert.Equal(t, test.before, filesOf(t, d.Tree()), "the tree is what was read")
			assert.Empty(t, onDisk(t, outside))
		})
	}
}

func write(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, name))) }
}

func TestWriteAcceptsWhatWasThere(t *testing.T) {
	both := files{"README.md": "1", "readme.md": "2", "out": "-> /etc/passwd"}
	d := open(t, both.dir(t))
	if d.Tree().Len() < len(both) {
		t.Skip("this file system ignores case")
	}
	after := files{"README.md": "3", "readme.md": "2", "out": "-> /etc/passwd", "new": "n"}
	require.NoError(t, d.Write(t.Context(), after.tree(t)))
	assert.Equal(t, after, onDisk(t, d.name))
}

// Somebody else has made a part of the same change meanwhile.
func TestWriteWhatIsThereAlready(t *testing.T) {
	d := open(t, files{"a": "1", "b": "1", "gone": "g"}.dir(t))
	write("b", "2")(t, d.name)
	write("c", "new")(t, d.name)
	remove("gone")(t, d.name)
	after := files{"a": "2", "b": "2", "c": "new"}
	require.NoError(t, d.Write(t.Context(), after.tree(t)))
	assert.Equal(t, after, onDisk(t, d.name))
}

func TestWriteDocuments(t *testing.T) {
	d := open(t, files{"a.yaml": "x: 1\n---\ny: 2\n"}.dir(t))
	f := d.Tree().File("a.yaml")
	after, err := kptpkg.NewTree(f.WithDocs(f.Docs()[0]))
	require.NoError(t, err)
	require.NoError(t, d.Write(t.Context(), after))
	b, err := after.File("a.yaml").Bytes()
	require.NoError(t, err)
	assert.Equal(t, files{"a.yaml": string(b)}, onDisk(t, d.name))
}

func TestWriteStopsWhenCancelled(t *testing.T) {
	d := open(t, files{"a": "1"}.dir(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.Write(ctx, files{"a": "2"}.tree(t)), context.Canceled)
	assert.Equal(t, files{"a": "1"}, onDisk(t, d.name))
}

func TestWriteManyFiles(t *testing.T) {
	d := open(t, tempDir(t))
	want := manyFiles(10_000)
	require.NoError(t, d.Write(t.Context(), want.tree(t)))
	name := d.name
	require.NoError(t, d.Close())
	assert.Equal(t, want, filesOf(t, open(t, name).Tree()))
}
