// Package upstreamtest holds what every upstream.Source must do.
package upstreamtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// Entry is a file to be published. Its path is published as it is, however
// hostile.
type Entry struct {
	Path    string
	Mode    kptpkg.Mode
	Content string // of a symlink, its target
}

// Place is somewhere packages are published, and the Source that reads them.
type Place struct {
	// Source is the one under test. It may remember what a version meant.
	Source upstream.Source
	// Fresh is a Source of the same place that remembers nothing.
	Fresh func() upstream.Source
	// Publish makes entries all that the place has at version, in place of
	// what was there. The versions used are tags' or branches' names.
	Publish func(t *testing.T, version string, entries ...Entry)
	// Ref names the directory dir of the place at version.
	Ref func(version, dir string) upstream.Ref
	// Lists says that the place can tell what it has, so that errors name it.
	Lists bool
}

// Conform runs the suite. Open makes an empty place; it is called for every
// test.
func Conform(t *testing.T, open func(t *testing.T) Place) {
	t.Run("content is exact", func(t *testing.T) {
		p := open(t)
		entries := []Entry{
			{Path: "Kptfile", Content: "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: a\n"},
			{Path: "README.md", Content: "windows\r\nlines\r\n"},
			{Path: "binary", Content: "\x00\x01\xff\xfe\n\x00"},
			{Path: "empty", Content: ""},
			{Path: "bin/run.sh", Mode: kptpkg.Executable, Content: "#!/bin/sh\n"},
			{Path: "bin/link", Mode: kptpkg.Symlink, Content: "../README.md"},
			{Path: "no newline at the end.txt", Content: "x"},
			{Path: "sub/Kptfile", Content: "kind: Kptfile\n"},
			{Path: "ümläut.yaml", Content: "a: b\n"},
		}
		p.Publish(t, "main", entries...)
		tree, _, err := p.Source.Fetch(t.Context(), p.Ref("main", "/"))
		require.NoError(t, err)
		assert.ElementsMatch(t, entries, entriesOf(t, tree))
	})

	t.Run("a directory is the root of its package", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "main",
			Entry{Path: "Kptfile", Content: "root"},
			Entry{Path: "apps/web/Kptfile", Content: "web"},
			Entry{Path: "apps/web/sub/cm.yaml", Content: "sub"},
			Entry{Path: "apps/web2/Kptfile", Content: "other"},
		)
		want := []Entry{{Path: "Kptfile", Content: "web"}, {Path: "sub/cm.yaml", Content: "sub"}}
		for _, dir := range []string{"apps/web", "/apps/web", "apps/web/", "./apps//web"} {
			tree, _, err := p.Source.Fetch(t.Context(), p.Ref("main", dir))
			require.NoError(t, err, dir)
			assert.ElementsMatch(t, want, entriesOf(t, tree), dir)
		}
	})

	t.Run("a directory needs no Kptfile", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "main", Entry{Path: "a/cm.yaml", Content: "x"})
		tree, _, err := p.Source.Fetch(t.Context(), p.Ref("main", "a"))
		require.NoError(t, err)
		assert.Equal(t, []string{"cm.yaml"}, tree.Paths())
	})

	t.Run("the lock pins what was read", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "main", Entry{Path: "a/Kptfile", Content: "one"})
		first, lock, err := p.Source.Fetch(t.Context(), p.Ref("main", "a"))
		require.NoError(t, err)
		p.Publish(t, "main", Entry{Path: "a/Kptfile", Content: "two"}, Entry{Path: "a/new", Content: "new"})

		source := p.Fresh()
		moved, movedLock, err := source.Fetch(t.Context(), p.Ref("main", "a"))
		require.NoError(t, err)
		assert.NotEqual(t, entriesOf(t, first), entriesOf(t, moved))
		assert.NotEqual(t, lock, movedLock)

		pinned, again, err := source.Fetch(t.Context(), lock.Ref())
		require.NoError(t, err)
		assert.Equal(t, entriesOf(t, first), entriesOf(t, pinned))
		assert.Equal(t, lock.Ref(), again.Ref())
	})

	t.Run("versions don't mix", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "v1", Entry{Path: "a/Kptfile", Content: "one"})
		p.Publish(t, "v2", Entry{Path: "a/Kptfile", Content: "two"})
		for version, want := range map[string]string{"v1": "one", "v2": "two"} {
			tree, _, err := p.Source.Fetch(t.Context(), p.Ref(version, "a"))
			require.NoError(t, err)
			assert.Equal(t, []Entry{{Path: "Kptfile", Content: want}}, entriesOf(t, tree))
		}
	})

	t.Run("not found", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "main", Entry{Path: "apps/web/Kptfile", Content: "x"})
		_, _, err := p.Source.Fetch(t.Context(), p.Ref("main", "apps/wbe"))
		require.ErrorIs(t, err, upstream.ErrNotFound)
		if p.Lists {
			assert.Contains(t, err.Error(), "apps/web", "names what is there")
		}
		_, _, err = p.Source.Fetch(t.Context(), p.Ref("mian", "apps/web"))
		require.ErrorIs(t, err, upstream.ErrNotFound)
		_, _, err = p.Source.Fetch(t.Context(), p.Ref("main", "apps/web/Kptfile"))
		require.ErrorIs(t, err, upstream.ErrNotFound, "a file is no directory")
	})

	t.Run("refs that make no sense", func(t *testing.T) {
		p := open(t)
		p.Publish(t, "main", Entry{Path: "Kptfile", Content: "x"})
		for _, ref := range []upstream.Ref{{}, {Type: "nonsense"}, {Type: p.Ref("main", "").Type}, p.Ref("", "/"), p.Ref("main", "../x"), p.Ref("main", "a\x00b"), p.Ref("-x", "/")} {
			_, _, err := p.Source.Fetch(t.Context(), ref)
			assert.Error(t, err, "%+v", ref)
		}
	})

	t.Run("hostile packages", func(t *testing.T) {
		cases := map[string][]Entry{
			"path leads out":              {{Path: "../evil"}},
			"path leads out further down": {{Path: "a/../../evil"}},
			"into .git":                   {{Path: ".git/config"}},
			"into .GIT":                   {{Path: "sub/.GIT/hooks/post-checkout"}},
			"into .git of HFS+":           {{Path: ".g\u200cit/config"}},
			"backslash":                   {{Path: `a\..\b`}},
			"control character":           {{Path: "a\nb"}},
			"same name but for case":      {{Path: "README"}, {Path: "readme"}},
			"directories but for case":    {{Path: "Dir/a"}, {Path: "dir/b"}},
			"absolute symlink":            {{Path: "l", Mode: kptpkg.Symlink, Content: "/etc/passwd"}},
			"symlink leads out":           {{Path: "sub/l", Mode: kptpkg.Symlink, Content: "../../x"}},
			"symlink leads out by a symlink": {
				{Path: "a/b/up", Mode: kptpkg.Symlink, Content: "../.."},
				{Path: "l", Mode: kptpkg.Symlink, Content: "a/b/up/.."},
			},
			"symlink into .git": {{Path: "l", Mode: kptpkg.Symlink, Content: ".git/config"}},
			"empty symlink":     {{Path: "l", Mode: kptpkg.Symlink}},
		}
		p := open(t)
		entries := []Entry{{Path: "good/Kptfile", Content: "x"}}
		dirs := map[string]string{}
		for name, hostile := range cases {
			dirs[name] = fmt.Sprint("bad", len(dirs))
			for _, e := range hostile {
				e.Path = dirs[name] + "/" + e.Path
				entries = append(entries, e)
			}
		}
		p.Publish(t, "main", entries...)
		for name, dir := range dirs {
			tree, _, err := p.Source.Fetch(t.Context(), p.Ref("main", dir))
			assert.Error(t, err, name)
			assert.Zero(t, tree.Len(), name)
		}
		_, _, err := p.Source.Fetch(t.Context(), p.Ref("main", "good"))
		assert.NoError(t, err, "other packages of the place are none the worse")
	})
}

func entriesOf(t *testing.T, tree kptpkg.Tree) []Entry {
	t.Helper()
	var entries []Entry
	for _, p := range tree.Paths() {
		f := tree.File(p)
		content, err := f.Bytes()
		require.NoError(t, err)
		entries = append(entries, Entry{Path: f.Path(), Mode: f.Mode(), Content: string(content)})
	}
	return entries
}
