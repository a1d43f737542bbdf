package repository

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// mirror is a bare repository in a cache directory with what a server has sent
// of one repository. Processes share it. It holds everything that the refs in
// its packed-refs lead to, files apart where the server sends them when asked.
// Every object proves by its hash to be what was sent; when one doesn't, the
// whole mirror is made anew.
type mirror struct {
	dir  string
	warn func(error)
	*local
}

const (
	mirrorLayout = "git-v1"         // the directory in the cache's: another layout gets another
	unpackLimit  = 100              // objects: fewer aren't worth a pack
	maxPacks     = 50               // after which a mirror is made anew
	mirrorLife   = 60 * 24          // hours after its last use that a mirror is removed
	maxHaves     = 256              // commits that a server is told of
	tempPrefix   = "tmp_obj_stoop_" // begins the names of files that aren't whole; so does what git itself leaves and removes
	mirrorConfig = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
)

// errDamaged is wrapped by the error of a mirror that isn't what it should be.
var errDamaged = errors.New("the cache is damaged")

// mirror returns the mirror of a repository, nil when nothing is to be kept.
func (c *Cache) mirror(loc location, authenticated bool, warn func(error)) *mirror {
	if c == nil || c.Dir == "" {
		return nil
	}
	m := &mirror{dir: c.mirrorDir(loc, authenticated), warn: warn}
	if err := m.init(); err != nil {
		warn(fmt.Errorf("cache %s: %w: what is fetched isn't kept", m.dir, err))
		return nil
	}
	m.removeUnused()
	return m
}

func (c *Cache) mirrorDir(loc location, authenticated bool) string {
	name := fmt.Sprintf("%x", sha256.Sum256([]byte(c.git(loc, authenticated).repo)))
	return filepath.Join(c.Dir, mirrorLayout, name)
}

// init makes the mirror, empty where it isn't there yet.
func (m *mirror) init() error {
	if !isGitDir(m.dir) {
		if err := m.create(); err != nil {
			return err
		}
	}
	now := time.Now()
	_ = os.Chtimes(m.dir, now, now) // the last use
	m.reopen()
	return nil
}

// create puts an empty mirror in place, whole: nobody has a lock yet, and other
// processes may be doing the same, or be using the one they have just made.
func (m *mirror) create() error {
	if err := os.MkdirAll(filepath.Dir(m.dir), 0o700); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(m.dir), filepath.Base(m.dir)+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made) // unless it has been put in place
	if err := errors.Join(
		os.MkdirAll(filepath.Join(made, "objects", "pack"), 0o700),
		os.Mkdir(filepath.Join(made, "refs"), 0o700),
		os.WriteFile(filepath.Join(made, "config"), []byte(mirrorConfig), 0o600),
		os.WriteFile(filepath.Join(made, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600),
	); err != nil {
		return err
	}
	err = os.Rename(made, m.dir)
	if err == nil || isGitDir(m.dir) { // in place, or another process was faster
		return nil
	}
	if err := m.remove(); err != nil { // what is there is no mirror
		return err
	}
	if err = os.Rename(made, m.dir); err != nil && isGitDir(m.dir) {
		return nil
	}
	return err
}

// reopen makes what was written meanwhile readable.
func (m *mirror) reopen() {
	if m.local != nil {
		m.local.close()
	}
	m.local = &local{given: m.dir, dir: m.dir, access: Access{FileRepos: []string{m.dir}}}
}

// removeUnused removes the mirrors of repositories that nobody asks for any
// more.
func (m *mirror) removeUnused() {
	all, err := os.ReadDir(filepath.Dir(m.dir))
	if err != nil {
		return
	}
	for _, d := range all {
		info, err := d.Info()
		if err == nil && d.Name() != filepath.Base(m.dir) && time.Since(info.ModTime()) > mirrorLife*time.Hour {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(m.dir), d.Name()))
		}
	}
}

// discard makes the mirror anew. Processes that still read the old one find
// what they have open, and no more.
func (m *mirror) discard() error {
	m.local.close()
	if err := m.remove(); err != nil {
		return err
	}
	return m.init()
}

// remove takes what is in the mirror's place away, at once.
func (m *mirror) remove() error {
	old := fmt.Sprintf("%s.old-%d-%d", m.dir, os.Getpid(), time.Now().UnixNano())
	if err := os.Rename(m.dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_ = os.RemoveAll(old)
	return nil
}

// exclusively keeps other processes from fetching into the mirror.
func (m *mirror) exclusively(ctx context.Context) (*fileLock, error) {
	// Beside the mirror: the mirror may be made anew.
	return lockFile(ctx, m.dir+".lock")
}

// complete are the hashes with all that they lead to.
func (m *mirror) complete() map[plumbing.Hash]bool {
	packed, err := readPackedRefs(filepath.Join(m.dir, "packed-refs"))
	if err != nil {
		return nil
	}
	all := make(map[plumbing.Hash]bool, len(packed.lines))
	for _, line := range packed.lines {
		hash, _, _ := strings.Cut(line, " ")
		all[plumbing.NewHash(hash)] = true
	}
	return all
}

// note writes down which refs are complete.
func (m *mirror) note(hashes map[string]plumbing.Hash) error {
	packed := &packedRefs{header: "# pack-refs with: sorted \n", lines: make(map[string]string, len(hashes))}
	for name, h := range hashes {
		if strings.HasPrefix(name, "refs/") && !h.IsZero() {
			packed.lines[name] = h.String() + " " + name + "\n"
		}
	}
	return packed.write(m.dir)
}

// packs counts the packs.
func (m *mirror) packs() int {
	all, _ := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "*.pack")) // fails for bad patterns only
	return len(all)
}

// removeTemporary removes files that processes which were killed have left; only
// to be called exclusively.
func (m *mirror) removeTemporary() {
	for _, pattern := range []string{"objects/pack/" + tempPrefix + "*", "objects/??/" + tempPrefix + "*", tempPrefix + "*"} {
		all, _ := filepath.Glob(filepath.Join(m.dir, filepath.FromSlash(pattern)))
		for _, name := range all {
			_ = os.Remove(name)
		}
	}
}

// keep writes single objects.
func (m *mirror) keep(objects []object) error {
	return writeLoose(filepath.Join(m.dir, "objects"), objects)
}

func (m *mirror) size(h plumbing.Hash) (n int64, err error) {
	defer m.recover(&err)
	if err := m.local.open(); err != nil {
		return 0, m.damage(err)
	}
	n, err = m.local.size(h)
	return n, m.damage(err)
}

// has says whether an object is there, without looking at it.
func (m *mirror) has(h plumbing.Hash) bool {
	var err error
	defer m.recover(&err)
	return m.local.open() == nil && slices.ContainsFunc(m.local.stores, func(s *filesystem.ObjectStorage) bool { return s.HasEncodedObject(h) == nil })
}

// read returns an object that is what its hash says.
func (m *mirror) read(h plumbing.Hash, limit int64) (typ plumbing.ObjectType, content []byte, err error) {
	defer m.recover(&err)
	if err := m.local.open(); err != nil {
		return typ, nil, m.damage(err)
	}
	typ, content, err = m.local.read(h, limit)
	if err == nil && plumbing.ComputeHash(typ, content) != h {
		err = fmt.Errorf("object %s isn't what its hash says", h)
	}
	return typ, content, m.damage(err)
}

// recover takes what go-git thinks of a damaged index for an error.
func (m *mirror) recover(err *error) {
	if p := recover(); p != nil {
		*err = m.damage(fmt.Errorf("%v", p))
	}
}

func (m *mirror) damage(err error) error {
	if err == nil || errors.Is(err, errNoObject) || errors.Is(err, errTooBig) || errors.Is(err, errDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// packKeeper writes a pack into a mirror while it is read.
type packKeeper struct {
	mirror *mirror
	kept   bool // whether the objects are in the mirror now
}

func (k *packKeeper) read(r io.Reader, biggest, budget int64) (memory, error) {
	dir := filepath.Join(k.mirror.dir, "objects", "pack")
	file := &quietWriter{}
	if file.f, file.err = os.CreateTemp(dir, tempPrefix+"*"); file.err == nil {
		defer os.Remove(file.f.Name())
		defer file.f.Close()
	}
	p := newPackReader(biggest, budget)
	p.sums = map[int64]uint32{}
	checksum, err := p.readAll(io.TeeReader(r, file))
	if err != nil {
		return nil, err
	}
	if file.err == nil {
		file.err = k.store(p, file.f, checksum)
	}
	if file.err != nil {
		k.mirror.warn(fmt.Errorf("cache %s: %w: what is fetched isn't kept", k.mirror.dir, file.err))
	}
	k.kept = file.err == nil
	return p.objects, nil
}

func (k *packKeeper) store(p *packReader, pack *os.File, checksum plumbing.Hash) error {
	crashPoint("fetched")
	if len(p.objects) < unpackLimit {
		objects := make([]object, 0, len(p.objects))
		for _, o := range p.objects {
			objects = append(objects, o)
		}
		return k.mirror.keep(objects)
	}
	var end plumbing.Hash
	info, err := pack.Stat()
	if err != nil {
		return err
	}
	if _, err := pack.ReadAt(end[:], info.Size()-int64(len(end))); err != nil {
		return err
	}
	if end != checksum {
		return errors.New("something follows the pack")
	}
	var w idxfile.Writer
	_ = w.OnHeader(uint32(len(p.hashes))) // never fails
	for offset, hash := range p.hashes {
		w.Add(hash, uint64(offset), p.sums[offset])
	}
	if err := w.OnFooter(checksum); err != nil {
		return err
	}
	index, err := w.Index()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := idxfile.NewEncoder(&text).Encode(index); err != nil {
		return err
	}
	if err := errors.Join(pack.Chmod(0o400), pack.Close()); err != nil {
		return err
	}
	base := filepath.Join(filepath.Dir(pack.Name()), "pack-"+checksum.String())
	if err := writeWhole(base+".idx", text.Bytes(), 0o400, false); err != nil {
		return err
	}
	crashPoint("indexed")
	return os.Rename(pack.Name(), base+".pack")
}

// quietWriter writes as long as that works: reading goes on without.
type quietWriter struct {
	f   *os.File
	err error
}

func (w *quietWriter) Write(p []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.f.Write(p)
	}
	return len(p), nil
}

// mirrored is a repository on a server, with a mirror.
type mirrored struct {
	*network
	mirror   *mirror                // nil: there is none
	complete map[plumbing.Hash]bool // what is in memory with all that it leads to
	kept     bool                   // whether that is in the mirror too
}

func (m *mirrored) size(h plumbing.Hash) (int64, error) {
	n, err := m.network.size(h)
	if errors.Is(err, errNoObject) && m.mirror != nil {
		return m.mirror.size(h)
	}
	return n, err
}

func (m *mirrored) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	typ, content, err := m.network.read(h, limit)
	if errors.Is(err, errNoObject) && m.mirror != nil {
		return m.mirror.read(h, limit)
	}
	return typ, content, err
}

// trees fetches everything that has been added to the repository, with its
// history, as soon as something of it is wanted.
func (m *mirrored) trees(ctx context.Context, want ...plumbing.Hash) error {
	if !slices.ContainsFunc(want, func(h plumbing.Hash) bool { return !m.complete[h] }) {
		return nil
	}
	if m.mirror == nil {
		return m.fetch(ctx)
	}
	lock, err := m.mirror.exclusively(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		m.mirror.warn(fmt.Errorf("cache %s: %w: it isn't used", m.mirror.dir, err))
		m.mirror = nil
		return m.fetch(ctx)
	}
	defer lock.unlock()
	m.mirror.removeTemporary()
	m.mirror.reopen()
	if m.mirror.packs() > maxPacks {
		if err := m.mirror.discard(); err != nil {
			return err
		}
	}
	if err := m.fetch(ctx); err != nil {
		return err
	}
	if !m.kept {
		return nil
	}
	if err := m.mirror.note(m.hashes); err != nil {
		m.mirror.warn(fmt.Errorf("cache %s: %w", m.mirror.dir, err))
	}
	return nil
}

// fetch gets what refs lead to and isn't there yet.
func (m *mirrored) fetch(ctx context.Context) error {
	if m.complete == nil {
		m.complete, m.kept = map[plumbing.Hash]bool{}, m.mirror != nil
	}
	if m.mirror != nil {
		for h := range m.mirror.complete() {
			if !m.mirror.has(h) {
				return fmt.Errorf("%w: object %s is missing", errDamaged, h)
			}
			m.complete[h] = true
		}
	}
	tips := make(map[plumbing.Hash]bool, len(m.hashes))
	for _, h := range m.hashes {
		tips[h] = true
	}
	var want []plumbing.Hash
	for h := range tips {
		if !m.complete[h] {
			want = append(want, h)
		}
	}
	if len(want) == 0 {
		return nil
	}
	plumbing.HashesSort(want)
	r := request{want: want, noBlobs: m.canFilter(), have: m.haves(tips)}
	if m.mirror != nil {
		r.keep = &packKeeper{mirror: m.mirror}
	}
	err := m.upload(ctx, r)
	for again := 1; again < cmp.Or(m.retries.attempts, 3) && errors.Is(err, transport.ErrEmptyUploadPackRequest); again++ {
		err = m.upload(ctx, r) // an answer without content; no refusal, as refs lead there
	}
	if err != nil {
		return err
	}
	if r.keep != nil && r.keep.kept {
		m.mirror.reopen()
		for h, o := range m.memory {
			if o.typ == plumbing.BlobObject {
				delete(m.memory, h) // it is on the disk
			}
		}
	} else {
		m.kept = false
	}
	for _, h := range want {
		m.complete[h] = true
	}
	return nil
}

// haves are some of the commits that the server needn't send again: those that
// refs still lead to, and then others.
func (m *mirrored) haves(tips map[plumbing.Hash]bool) []plumbing.Hash {
	var still, gone []plumbing.Hash
	for h := range m.complete {
		if tips[h] {
			still = append(still, h)
		} else {
			gone = append(gone, h)
		}
	}
	plumbing.HashesSort(still)
	plumbing.HashesSort(gone)
	all := append(gone[:min(len(gone), maxHaves/2)], still...)
	return all[:min(len(all), maxHaves)]
}

func (m *mirrored) blobs(ctx context.Context, commit plumbing.Hash, want []plumbing.Hash) error {
	var missing []plumbing.Hash
	for _, h := range want {
		if _, err := m.size(h); errors.Is(err, errNoObject) {
			missing = append(missing, h)
		} else if err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if m.caps == nil { // of a server that hasn't been asked yet
		if _, err := m.refs(ctx); err != nil {
			return err
		}
	}
	if err := m.network.blobs(ctx, commit, slices.Clone(missing)); err != nil {
		return err
	}
	objects := make([]object, len(missing))
	for i, h := range missing {
		objects[i] = m.memory[h]
	}
	m.keep(ctx, objects)
	return nil
}

// keep writes objects that are in memory into the mirror.
func (m *mirrored) keep(ctx context.Context, objects []object) {
	if m.mirror == nil || !m.kept {
		return
	}
	lock, err := m.mirror.exclusively(ctx)
	if err == nil {
		defer lock.unlock()
		err = m.mirror.keep(objects)
	}
	if err != nil {
		m.kept = false
		m.mirror.warn(fmt.Errorf("cache %s: %w: what is fetched isn't kept", m.mirror.dir, err))
	}
}

func (m *mirrored) close() {
	if m.mirror != nil {
		m.mirror.local.close()
	}
}

// repair begins anew after an error that may come of a damaged mirror: what is
// known of it is forgotten, as another process may have made it anew, and it is
// made anew where the error says so.
func (m *mirrored) repair(ctx context.Context, why error) error {
	m.memory, m.complete = memory{}, nil
	if m.mirror == nil {
		return nil
	}
	if !errors.Is(why, errDamaged) {
		m.mirror.reopen()
		return m.mirror.init()
	}
	lock, err := m.mirror.exclusively(ctx)
	if err != nil {
		return err
	}
	defer lock.unlock()
	m.mirror.warn(fmt.Errorf("cache %s: %w: it is made anew", m.mirror.dir, why))
	return m.mirror.discard()
}

// lock keeps other processes that share the mirror from pushing: it spares them
// races. Without a mirror there is nothing to do.
func (m *mirrored) lock(ctx context.Context) (unlock func(), err error) {
	if m.mirror == nil {
		return func() {}, nil
	}
	lock, err := lockFile(ctx, m.mirror.dir+".push.lock")
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return func() {}, nil
	}
	return func() { _ = lock.unlock() }, nil
}

// push makes a change, and keeps what it was.
func (m *mirrored) push(ctx context.Context, p push) error {
	if err := m.network.push(ctx, p); err != nil {
		return err
	}
	crashPoint("pushed")
	for _, o := range p.objects {
		m.memory[plumbing.ComputeHash(o.typ, o.content)] = o
	}
	if m.complete == nil {
		return nil
	}
	m.keep(context.WithoutCancel(ctx), p.objects)
	for _, u := range p.updates {
		if !u.new.IsZero() {
			m.complete[u.new] = true
		}
	}
	return nil
}
