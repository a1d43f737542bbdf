package kptdir

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadTakesFilesLinksAndModes(t *testing.T) {
	want := files{
		"Kptfile":         "kind: Kptfile\n",
		"run.sh":          "#!/bin/sh\n",
		"empty.yaml":      "",
		"a/b/c/deep.yaml": "x: 1\n",
		"link":            "-> a/b",
		"away":            "-> ../elsewhere",
		"bin":             "a\x00b",
	}
	dir := want.dir(t)
	files{
		".git/config":     "git's",
		"a/.git":          "gitdir: ../.git/modules/a\n",
		"a/.stoop/0":      "left by a crash before the commit",
		"a/b/.stoop.lock": "7",
	}.fill(t, dir)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "nothing/in/it"), 0o777))
	before := onDisk(t, dir)

	alias := filepath.Join(t.TempDir(), "alias")
	require.NoError(t, os.Symlink(dir, alias))
	for _, name := range []string{dir, alias} {
		tree, err := Read(t.Context(), name, Limits{})
		require.NoError(t, err)
		assert.Equal(t, want, filesOf(t, tree))
	}
	assert.Equal(t, before, onDisk(t, dir), "reading leaves no trace")
}

func TestReadRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  files
		limits Limits
		make   func(t *testing.T, dir string)
		path   string // what the error is about
		want   string
	}{
		{name: "a file too big", files: files{"a/big": "12345", "b": "1"}, limits: Limits{FileBytes: 4}, path: "a/big", want: "has 5 bytes, the limit is 4"},
		{name: "too many bytes", files: files{"a": "123", "b": "456"}, limits: Limits{TotalBytes: 5}, want: "more than 5 bytes"},
		{name: "too many files", files: files{"a": "", "b": "", "c": ""}, limits: Limits{Files: 2}, want: "more than 2 files"},
		{name: "directories count", files: files{"a/b/c/d": ""}, limits: Limits{Files: 2}, path: "a/b/c", want: "more than 2 files"},
		{name: "too deep", files: files{strings.Repeat("d/", 102) + "f": ""}, want: "more than 100 directories deep"},
		{name: "a backslash", files: files{`a/x\y`: ""}, path: "a", want: `x\\y" has a backslash`},
		{name: "a control character", files: files{"a/x\ny": ""}, path: "a", want: `"a/x\ny" has a control character`},
		{name: "git by another name", files: files{"GIT~1/config": ""}, path: ".", want: "inside a .git directory"},
		{name: "a socket", make: func(t *testing.T, dir string) {
			t.Chdir(dir) // names of sockets are short
			l, err := net.Listen("unix", "sock")
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
		}, path: "sock", want: "neither a file, a directory nor a symlink"},
		{name: "a crash further down", files: files{"sub/.stoop/manifest.json": "{}"}, path: "sub", want: "was not finished"},
		{name: "something of the user's in the staging directory", files: files{".stoop/notes.txt": "mine"}, path: ".stoop/notes.txt", want: "move it elsewhere"},
		{name: "a link for a staging directory", files: files{".stoop": "-> /"}, path: ".stoop", want: "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && (test.make != nil || strings.ContainsAny(test.path+test.want, `\`)) {
				t.Skip("no such files on windows")
			}
			dir := test.files.dir(t)
			if test.make != nil {
				test.make(t, dir)
			}
			before := onDisk(t, dir)
			_, err := Read(t.Context(), dir, test.limits)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "directory "+dir)
			result := fn.ResultOf(err)
			require.NotNil(t, result.File)
			assert.NotEmpty(t, result.File.Path)
			if test.path != "" {
				assert.Equal(t, test.path, result.File.Path)
			}
			assert.Equal(t, before, onDisk(t, dir))
		})
	}
}

func TestReadSaysWhatIsMissing(t *testing.T) {
	_, err := Read(t.Context(), filepath.Join(t.TempDir(), "none"), Limits{})
	require.ErrorIs(t, err, os.ErrNotExist)

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	_, err = Read(t.Context(), file, Limits{})
	require.ErrorContains(t, err, "not a directory")
}

func TestReadStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Read(ctx, files{"a": "1"}.dir(t), Limits{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestReadManyFiles(t *testing.T) {
	want := manyFiles(10_000)
	dir := tempDir(t)
	want.fill(t, dir)
	tree, err := Read(t.Context(), dir, Limits{})
	require.NoError(t, err)
	assert.Equal(t, len(want), tree.Len())
	assert.Equal(t, want, filesOf(t, tree))
}

// manyFiles are n small files, twenty to a directory.
func manyFiles(n int) files {
	f := make(files, n)
	for i := range n {
		f[fmt.Sprintf("pkg%d/app%d/resource%d.yaml", i/200, i/20, i)] = fmt.Sprintf(
			"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-%d\ndata:\n  key: value-%d\n", i, i)
	}
	return f
}
