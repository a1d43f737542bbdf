package kptdir

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
)

// files are a tree as tests write it: content by path. A content of "-> x" is a
// link to x, one that starts with "#!" is executable.
type files map[string]string

func (f files) tree(t testing.TB) kptpkg.Tree {
	t.Helper()
	var list []*kptpkg.File
	for p, content := range f {
		mode := kptpkg.Regular
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			mode, content = kptpkg.Symlink, target
		} else if strings.HasPrefix(content, "#!") {
			mode = kptpkg.Executable
		}
		list = append(list, kptpkg.NewFile(p, mode, []byte(content)))
	}
	tree, err := kptpkg.NewTree(list...)
	require.NoError(t, err)
	return tree
}

// filesOf is the reverse of tree.
func filesOf(t testing.TB, tree kptpkg.Tree) files {
	t.Helper()
	out := files{}
	for _, p := range tree.Paths() {
		f := tree.File(p)
		b, err := f.Bytes()
		require.NoError(t, err)
		content := string(b)
		switch {
		case f.Mode() == kptpkg.Symlink:
			content = "-> " + content
		case (f.Mode() == kptpkg.Executable) != strings.HasPrefix(content, "#!"):
			content = gitModes[f.Mode()] + " " + content // never what a test wants
		}
		out[p] = content
	}
	return out
}

// dir makes a directory that holds f.
func (f files) dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	f.fill(t, dir)
	return dir
}

func (f files) fill(t testing.TB, dir string) {
	t.Helper()
	for p, content := range f {
		name := filepath.Join(dir, filepath.FromSlash(p))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(target, name))
			continue
		}
		perm := fs.FileMode(0o666)
		if strings.HasPrefix(content, "#!") {
			perm = 0o777
		}
		require.NoError(t, os.WriteFile(name, []byte(content), perm))
	}
}

// open opens a directory until the end of the test.
func open(t testing.TB, dir string) *Dir {
	t.Helper()
	d, err := Open(context.Background(), dir, Limits{})
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// onDisk is everything below dir, by plain means: files as tests write them,
// "dir" for directories.
func onDisk(t testing.TB, dir string) files {
	t.Helper()
	out := files{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		p := filepath.ToSlash(rel)
		switch e.Type() {
		case fs.ModeDir:
			out[p+"/"] = "dir"
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			out[p] = "-> " + target
			return err
		case fs.ModeSocket, fs.ModeNamedPipe:
			out[p] = e.Type().String()
		default:
			b, err := os.ReadFile(name)
			out[p] = string(b)
			return err
		}
		return nil
	}))
	return out
}

// tempDir is in memory where the system offers that: syncs cost nothing there.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kptdir")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
