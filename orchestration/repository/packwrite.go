package repository

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// packPackage makes a git pack of the commit, the directories down to dir, and
// everything in dir.
func packPackage(from objects, commit, root plumbing.Hash, dir string) ([]byte, error) {
	c := collector{from: from, seen: map[plumbing.Hash]bool{}}
	if err := c.add(commit); err != nil {
		return nil, err
	}
	at := root
	if dir != "/" {
		for seg := range strings.SplitSeq(dir, "/") {
			if err := c.add(at); err != nil {
				return nil, err
			}
			entries, err := readTree(from, at)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.name == seg })
			if i < 0 {
				return nil, errNoObject
			}
			at = entries[i].hash
		}
	}
	if err := c.addAll(at); err != nil {
		return nil, err
	}
	return writePack(c.objects), nil
}

// collector gathers objects, each once.
type collector struct {
	from    objects
	objects []object
	seen    map[plumbing.Hash]bool
}

func (c *collector) add(h plumbing.Hash) error {
	if c.seen[h] {
		return nil
	}
	n, err := c.from.size(h)
	if err != nil {
		return err
	}
	typ, content, err := c.from.read(h, n)
	if err != nil {
		return err
	}
	c.seen[h] = true
	c.objects = append(c.objects, object{typ, content})
	return nil
}

// addAll gathers a directory with everything below.
func (c *collector) addAll(tree plumbing.Hash) error {
	if c.seen[tree] {
		return nil
	}
	entries, err := readTree(c.from, tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		add := c.add
		if e.mode&modeType == modeDir {
			add = c.addAll
		}
		if err := add(e.hash); err != nil {
			return err
		}
	}
	return c.add(tree)
}

// writePack makes a git pack without deltas.
func writePack(objects []object) []byte {
	var pack bytes.Buffer
	pack.WriteString("PACK")
	pack.Write(binary.BigEndian.AppendUint32(nil, 2))
	pack.Write(binary.BigEndian.AppendUint32(nil, uint32(len(objects))))
	deflate, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	for _, o := range objects {
		n := len(o.content)
		b := byte(o.typ)<<4 | byte(n&0xf)
		for n >>= 4; n > 0; n >>= 7 {
			pack.WriteByte(b | 0x80)
			b = byte(n & 0x7f)
		}
		pack.WriteByte(b)
		deflate.Reset(&pack)
		_, _ = deflate.Write(o.content) // into memory
		_ = deflate.Close()
	}
	sum := sha1.Sum(pack.Bytes())
	return append(pack.Bytes(), sum[:]...)
}
