package repository

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Cache keeps what git servers and registries sent in a directory, for other
// repositories of this process, other processes and later runs. Everything in
// it is found by the hash of what it is, a commit or a digest, and checked
// against that hash when it is read: what is damaged, or was put there by
// somebody else, is taken out and fetched again. What branches and tags mean is
// never kept, and neither are credentials: what was read with some is only
// given to who has some too, and only their user may read the files.
//
// A cache that can't be written is like none. It may be used concurrently, also
// by several processes.
type Cache struct {
	// Dir is the cache's directory, made when there is something to keep; it is
	// no part of any package. "" keeps nothing.
	Dir string
	// MaxBytes is what the cache may take on disk. When it has more, what was
	// not used for longest goes. 0 means 1 GiB.
	MaxBytes int64

	mu      sync.Mutex
	written int64 // bytes since the size was last looked at
	looked  bool  // at the size, ever
}

// DefaultCacheDir is the user's own: stoop in $XDG_CACHE_HOME, or where the
// system has such things. "" when there is none.
func DefaultCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "stoop")
}

const (
	cacheLayout   = "v1"      // the directory in Dir: another layout gets another
	cacheTempLife = time.Hour // after which a file that isn't whole was left by a crash
)

func (c *Cache) path(key string) string {
	name := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	return filepath.Join(c.Dir, cacheLayout, name[:2], name)
}

// get returns what was put under key, nil when there is nothing, or more than
// limit bytes. The caller checks it.
func (c *Cache) get(key string, limit int64) []byte {
	if c == nil || c.Dir == "" {
		return nil
	}
	name := c.path(key)
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // the last use
	return content
}

// put keeps content under key, whole or not at all.
func (c *Cache) put(key string, content []byte) {
	if c == nil || c.Dir == "" || int64(len(content)) > c.max() {
		return
	}
	name := c.path(key)
	if os.MkdirAll(filepath.Dir(name), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(name), "temp-*")
	if err != nil {
		return
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written += int64(len(content))
	if !c.looked || c.written > c.max()/8 {
		c.looked, c.written = true, 0
		c.prune()
	}
}

// drop takes out what turned out to be damaged.
func (c *Cache) drop(key string) { _ = os.Remove(c.path(key)) }

func (c *Cache) max() int64 { return cmp.Or(c.MaxBytes, 1<<30) }

// prune removes what was not used for longest until seven eighths are full at
// most, so that it isn't called again at once.
func (c *Cache) prune() {
	type file struct {
		name string
		size int64
		used time.Time
	}
	var files []file
	total, now := int64(0), time.Now()
	_ = filepath.WalkDir(filepath.Join(c.Dir, cacheLayout), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		switch {
		case err != nil: // another process was faster
		case strings.HasPrefix(d.Name(), "temp-"):
			if now.Sub(info.ModTime()) > cacheTempLife {
				_ = os.Remove(name)
			}
		default:
			files = append(files, file{name, info.Size(), info.ModTime()})
			total += info.Size()
		}
		return nil
	})
	if total <= c.max() {
		return
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= c.max()/8*7 {
			return
		}
		if os.Remove(f.name) == nil {
			total -= f.size
		}
	}
}

// gitCache is the part of a cache that holds one repository's packages, each a
// git pack with the commit, the directories that lead to the package, and all
// that is in it: by their hashes these prove to be what the commit says.
type gitCache struct {
	*Cache
	repo string
}

// git is the part of one repository, as it is seen with or without credentials.
func (c *Cache) git(loc location, authenticated bool) gitCache {
	who := "anonymous"
	if authenticated {
		who = "authenticated"
	}
	e := loc.endpoint
	return gitCache{c, fmt.Sprintf("git %s %s %q %s %s %q", who, loc.scheme, e.User, loc.host, loc.port, e.Path)}
}

func (c gitCache) key(commit plumbing.Hash, dir string) string {
	return fmt.Sprintf("%s %s %q", c.repo, commit, dir)
}

// load returns a package that was kept.
func (c gitCache) load(ctx context.Context, commit plumbing.Hash, dir string, limits Limits) (kptpkg.Tree, bool) {
	key := c.key(commit, dir)
	pack := c.get(key, limits.FetchBytes)
	if pack == nil {
		return kptpkg.Tree{}, false
	}
	objects, err := readPack(bytes.NewReader(pack), limits.FetchBytes, limits.FetchBytes)
	if err == nil {
		from := &repo{limits: limits, origin: stored{memory: objects}}
		var root plumbing.Hash
		if _, root, err = peel(from, commit); err == nil {
			var tree kptpkg.Tree
			if tree, err = from.readPackage(ctx, commit, root, dir); err == nil {
				return tree, true
			}
		}
	}
	// With the objects at hand only damage, the limits of this run and its end
	// can be in the way.
	if !errors.Is(err, errTooBig) && ctx.Err() == nil {
		c.drop(key)
	}
	return kptpkg.Tree{}, false
}

// store keeps a package that was read from its objects.
func (c gitCache) store(from objects, commit, root plumbing.Hash, dir string) {
	if c.Cache == nil || c.Dir == "" {
		return
	}
	pack, err := packPackage(from, commit, root, dir)
	if err == nil { // else it isn't all there, and can't have been read
		c.put(c.key(commit, dir), pack)
	}
}

// Beside the packages of a directory that were fetched by name stands whether
// the server may be asked for single refs: it may until its answer shows that it
// can't say.
const (
	mayAsk  = "ls-refs"
	dontAsk = "no ls-refs"
	maxNote = 64
)

func (c gitCache) askKey(dir string) string { return fmt.Sprintf("%s ls-refs %q", c.repo, dir) }

func (c gitCache) noteNamed(dir string) {
	if c.get(c.askKey(dir), maxNote) == nil {
		c.put(c.askKey(dir), []byte(mayAsk))
	}
}

func (c gitCache) mayAsk(dir string) bool { return string(c.get(c.askKey(dir), maxNote)) == mayAsk }

func (c gitCache) dontAsk(dir string) { c.put(c.askKey(dir), []byte(dontAsk)) }

// stored is the origin of a package from the cache: all there is is there.
type stored struct{ memory }

func (stored) refs(context.Context) (refs, error)                          { return refs{}, ErrNotFound }
func (stored) trees(context.Context, ...plumbing.Hash) error               { return nil }
func (stored) blobs(context.Context, plumbing.Hash, []plumbing.Hash) error { return nil }
func (stored) expand(string) (plumbing.Hash, error)                        { return plumbing.ZeroHash, ErrNotFound }
func (stored) close()                                                      {}
