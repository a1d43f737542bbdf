package repository

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

func FuzzLayer(f *testing.F) {
	for _, names := range [][]string{{"a", "b/c"}, {"a/", "./a/b"}, {".wh.a", "b/.wh..wh..opq"}, {"../x"}, {".wh..", ".wh...", ".wh."}} {
		var plain, zipped bytes.Buffer
		w := tar.NewWriter(&plain)
		for _, name := range names {
			_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1})
			_, _ = w.Write([]byte("x"))
		}
		_ = w.Close()
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write(plain.Bytes())
		_ = z.Close()
		f.Add(plain.Bytes(), zipped.Bytes())
	}
	f.Fuzz(func(t *testing.T, below, above []byte) {
		l := layering{limits: Limits{Files: 100, FileBytes: 1000, TotalBytes: 10_000, Depth: 10}.orDefaults(), root: &ociNode{}, left: 1 << 20}
		for _, layer := range [][]byte{below, above} {
			if l.apply(t.Context(), layer) != nil {
				return
			}
		}
		tree, err := l.tree()
		if err != nil {
			return
		}
		assert.LessOrEqual(t, tree.Len(), 100)
		for _, p := range tree.Paths() {
			assert.NoError(t, kptpkg.CheckPath(p))
		}
	})
}
