package repository

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// packed is git's own pack of three versions of a file, which it stores as
// deltas: by offset, or by hash.
func packed(t testing.TB, args ...string) (pack []byte, contents []string) {
	t.Helper()
	r := repositorytest.New(t)
	var hashes []string
	for _, end := range []string{"one", "two", "three"} {
		contents = append(contents, strings.Repeat("a line that all of them share\n", 50)+strings.Repeat(end, 20))
		hashes = append(hashes, r.Object("blob", contents[len(contents)-1]))
	}
	cmd := exec.Command("git", append([]string{"pack-objects", "-q", "--stdout"}, args...)...)
	cmd.Dir = r.Dir
	cmd.Stdin = strings.NewReader(strings.Join(hashes, "\n") + "\n")
	out, err := cmd.Output()
	require.NoError(t, err)
	return out, contents
}

func TestReadPack(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--delta-base-offset"}} {
		pack, contents := packed(t, args...)
		assert.Less(t, len(pack), 400, "there are deltas in it")
		got, err := readPack(bytes.NewReader(pack), 1<<20, 1<<20)
		require.NoError(t, err)
		require.Len(t, got, 3)
		for _, want := range contents {
			assert.Equal(t, want, string(got[plumbing.ComputeHash(plumbing.BlobObject, []byte(want))].content))
		}
		for cutAt := range len(pack) - 20 {
			_, err := readPack(bytes.NewReader(pack[:cutAt]), 1<<20, 1<<20)
			require.Error(t, err, "cut at %d", cutAt)
		}
		_, err = readPack(bytes.NewReader(pack), 100, 1<<20)
		require.ErrorIs(t, err, errTooBig)
		_, err = readPack(bytes.NewReader(pack), 1<<20, 2000)
		require.ErrorIs(t, err, errTooBig)
	}
}

// A delta may come before its base.
func TestReadPackBaseComesLast(t *testing.T) {
	t.Parallel()
	base := []byte("0123456789")
	hash := plumbing.ComputeHash(plumbing.BlobObject, base)
	copyAll := []byte{10, 10, 0x90, 10} // sizes of base and target, copy 10 bytes from 0
	twice := []byte{10, 20, 0x90, 10, 0x90, 10}
	second := plumbing.ComputeHash(plumbing.BlobObject, append(append([]byte{}, base...), base...))
	pack := makePack(
		object7{plumbing.REFDeltaObject, second[:], []byte{20, 3, 3, 'x', 'y', 'z'}},
		object7{plumbing.REFDeltaObject, hash[:], twice},
		object7{plumbing.REFDeltaObject, hash[:], copyAll},
		object7{plumbing.BlobObject, nil, base},
	)
	got, err := readPack(bytes.NewReader(pack), 1<<20, 1<<20)
	require.NoError(t, err)
	assert.Len(t, got, 3)
	assert.Contains(t, got, plumbing.ComputeHash(plumbing.BlobObject, []byte("xyz")))

	_, err = readPack(bytes.NewReader(makePack(object7{plumbing.REFDeltaObject, hash[:], copyAll})), 1<<20, 1<<20)
	require.ErrorContains(t, err, "without its base")
}

// A delta of a few bytes that says its result has an exabyte.
func TestReadPackBomb(t *testing.T) {
	t.Parallel()
	base := []byte("0123456789")
	hash := plumbing.ComputeHash(plumbing.BlobObject, base)
	huge := binary.AppendUvarint([]byte{10}, 1<<60)
	_, err := readPack(bytes.NewReader(makePack(
		object7{plumbing.BlobObject, nil, base}, object7{plumbing.REFDeltaObject, hash[:], append(huge, 0x90, 10)})), 1<<20, 1<<20)
	require.ErrorIs(t, err, errTooBig)
}

// object7 is an object of a pack whose size fits into seven bits.
type object7 struct {
	typ     plumbing.ObjectType
	base    []byte
	content []byte
}

func makePack(objects ...object7) []byte {
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02")
	_ = binary.Write(&b, binary.BigEndian, uint32(len(objects)))
	for _, o := range objects {
		n := len(o.content)
		b.WriteByte(0x80 | byte(o.typ)<<4 | byte(n&15))
		b.WriteByte(byte(n >> 4))
		b.Write(o.base)
		z := zlib.NewWriter(&b)
		_, _ = z.Write(o.content)
		_ = z.Close()
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

func FuzzReadPack(f *testing.F) {
	pack, _ := packed(f)
	f.Add(pack)
	pack, _ = packed(f, "--delta-base-offset")
	f.Add(pack)
	f.Fuzz(func(t *testing.T, pack []byte) {
		got, err := readPack(bytes.NewReader(pack), 1<<16, 1<<18)
		if err != nil {
			return
		}
		for h, o := range got {
			assert.Equal(t, h, plumbing.ComputeHash(o.typ, o.content))
			if o.typ == plumbing.TreeObject {
				_, _ = parseTree(o.content)
			}
			_, _, _ = peel(got, h)
		}
	})
}

func FuzzLocation(f *testing.F) {
	for _, s := range []string{"https://me:pw@h:1/r", "git@h:p", "ssh://git@h/p", "file:///x", "./x", "me:pw@h:x", "https://me:p/w@h/r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		loc, err := parseLocation(s)
		if err == nil {
			assert.Equal(t, loc.path == "", loc.endpoint != nil)
			assert.NotEmpty(t, loc.text)
		}
		// Whatever surrounds it, a password doesn't get through.
		for _, secret := range []string{"https://me:hunter2@" + s, "https://me:hun/hunter2@" + s} {
			assert.NotContains(t, strings.ReplaceAll(api.WithoutCredentials(secret), s, ""), "hunter2")
		}
	})
}

// Links that are accepted really stay inside, on a real file system.
func TestAcceptedLinksStayInside(t *testing.T) {
	t.Parallel()
	links := map[string]string{
		"up": ".", "a/up": "..", "a/b/up": "../..", "a/b/side": "../c", "a/c/deep": "up/d", "a/c/up": "../b",
		"out": "..", "a/out": "../..", "a/b/climb": "up/..", "a/b/slash": "/etc", "a/climb": "b/up/../..", "x": "a/./b//up",
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	pkg := filepath.Join(root, "deep", "package")
	require.NoError(t, os.MkdirAll(filepath.Join(pkg, "a/b"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(pkg, "a/c"), 0o755))
	accepted := 0
	for p, target := range links {
		if checkLink(p, target) == nil {
			require.NoError(t, os.Symlink(target, filepath.Join(pkg, p)))
			accepted++
		}
	}
	assert.Equal(t, 7, accepted)
	for p := range links {
		if real, err := filepath.EvalSymlinks(filepath.Join(pkg, p)); err == nil {
			assert.True(t, strings.HasPrefix(real+"/", pkg+"/"), "%s leads to %s", p, real)
		}
	}
}
