package repository

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"
)

// lockMark is the content of the lock files that are made here: so it can be
// told whether one is git's.
const lockMark = "locked by stoop\n"

// lockPattern with .lock is the file that lock files are links to, while they are
// made.
const lockPattern = "stoop-mark"

// gitLockPatience is how long a lock that git holds is waited for.
const gitLockPatience = 2 * time.Second

// packedRefsHeader is how git begins the file.
const packedRefsHeader = "# pack-refs with: peeled fully-peeled sorted \n"

// lock keeps other processes of this kind from changing the repository. What one
// that was killed has left locked is free afterwards.
func (l *local) lock(ctx context.Context) (*fileLock, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	lock, err := lockFile(ctx, filepath.Join(l.commonDir, "stoop.lock"))
	if err != nil {
		return nil, err
	}
	for name := range strings.Lines(lock.left()) {
		name = strings.TrimSuffix(name, "\n")
		if filepath.IsLocal(filepath.FromSlash(name)) && strings.HasSuffix(name, ".lock") {
			l.unlockRef(strings.TrimSuffix(name, ".lock"))
		}
	}
	return lock, nil
}

// unlockRef removes the lock of a ref or of packed-refs, if it is one of ours.
func (l *local) unlockRef(name string) {
	file := filepath.Join(l.commonDir, filepath.FromSlash(name)+".lock")
	if content, err := os.ReadFile(file); err != nil || string(content) != lockMark {
		return
	}
	_ = os.Remove(file)
	// Directories made for it, where nothing else is in them.
	for dir := path.Dir(name); strings.Count(dir, "/") >= 2; dir = path.Dir(dir) {
		if os.Remove(filepath.Join(l.commonDir, filepath.FromSlash(dir))) != nil {
			return
		}
	}
}

// push makes a change of the repository, with its lock held. All refs change in
// one rename of the file packed-refs, as git itself reads and writes it: whoever
// looks, and whenever this process is killed, all of the change is there or
// nothing. Git's own locks keep git from changing the same refs meanwhile.
func (l *local) push(ctx context.Context, p push, lock *fileLock) error {
	if err := l.writable(p); err != nil {
		return err
	}
	if err := writeLoose(l.objectDir, p.objects); err != nil {
		return fmt.Errorf("writing objects: %w", err)
	}
	crashPoint("objects")
	names := make([]string, 0, len(p.updates)+1)
	for _, u := range p.updates {
		names = append(names, u.name)
	}
	slices.Sort(names) // everybody in the same order
	names = append(names, "packed-refs")
	if err := lock.say(strings.Join(names, ".lock\n") + ".lock\n" + lockPattern + ".lock\n"); err != nil {
		return err
	}
	pattern := filepath.Join(l.commonDir, lockPattern+".lock")
	defer l.unlockRef(lockPattern)
	if err := writeWhole(pattern, []byte(lockMark), 0o644, false); err != nil {
		return err
	}
	for i, name := range names {
		if err := l.lockRef(ctx, name, pattern); err != nil {
			for _, held := range names[:i] {
				l.unlockRef(held)
			}
			return errors.Join(err, lock.say(""))
		}
	}
	crashPoint("locked")
	err := l.changeRefs(p.updates)
	for _, name := range slices.Backward(names) {
		l.unlockRef(name)
	}
	return errors.Join(err, lock.say(""))
}

// lockRef makes the file by which git keeps others from a ref: a link to pattern,
// so that it is never seen without its mark, however soon this process is killed.
func (l *local) lockRef(ctx context.Context, name, pattern string) error {
	file := filepath.Join(l.commonDir, filepath.FromSlash(name)+".lock")
	begun := time.Now()
	for {
		err := os.MkdirAll(filepath.Dir(file), 0o777)
		if err == nil {
			if err = newLock(pattern, file); err == nil {
				crashPoint("locking")
				return nil
			}
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // git removed the empty directory again
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("locking %s: %w", name, err)
		case time.Since(begun) > gitLockPatience:
			return fmt.Errorf("%s is locked by another git process; if there is none any more, remove %s", name, file)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// newLock makes a lock file, or fails with fs.ErrExist.
func newLock(pattern, file string) error {
	err := os.Link(pattern, file)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// a file system without links
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(lockMark)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(file)
	}
	return err
}

// changeRefs writes the refs anew, which are locked.
func (l *local) changeRefs(updates []refUpdate) error {
	now, packed, err := l.readRefs()
	if err != nil {
		return err
	}
	for _, u := range updates {
		if now.hashes[u.name] != u.old {
			return fmt.Errorf("%w: %s", errRace, u.name)
		}
	}
	if err := checkNesting(now, updates); err != nil {
		return err
	}
	// What has a file of its own is moved into packed-refs first, where it
	// means the same.
	var files []string
	for _, u := range updates {
		file := filepath.Join(l.commonDir, filepath.FromSlash(u.name))
		content, err := os.ReadFile(file)
		if err != nil {
			continue // none, or an empty directory
		}
		if strings.HasPrefix(string(content), "ref:") {
			return fmt.Errorf("%s is another name of %q and can't be changed: name that", u.name, strings.TrimSpace(string(content[4:])))
		}
		if err := packed.set(l, u.name, u.old); err != nil {
			return err
		}
		files = append(files, file)
	}
	if len(files) > 0 {
		if err := packed.write(l.commonDir); err != nil {
			return err
		}
		crashPoint("packed")
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return fmt.Errorf("writing refs: %w", err)
			}
		}
	}
	for _, u := range updates {
		if err := packed.set(l, u.name, u.new); err != nil {
			return err
		}
	}
	crashPoint("ready")
	if err := packed.write(l.commonDir); err != nil {
		return err
	}
	crashPoint("written")
	for _, u := range updates {
		if u.new.IsZero() {
			_ = os.Remove(filepath.Join(l.commonDir, "logs", filepath.FromSlash(u.name)))
		}
	}
	return nil
}

// checkNesting refuses refs that would be both a file and a directory to git.
func checkNesting(now refs, updates []refUpdate) error {
	gone, made := map[string]bool{}, map[string]bool{}
	for _, u := range updates {
		gone[u.name] = u.new.IsZero()
		made[u.name] = !u.new.IsZero() && u.old.IsZero()
	}
	above := map[string]string{} // directories that new refs are in
	for name := range made {
		if !made[name] {
			continue
		}
		for dir := path.Dir(name); dir != "." && dir != "refs"; dir = path.Dir(dir) {
			above[dir] = name
			if _, ok := now.hashes[dir]; ok && !gone[dir] {
				return nestingError(name, dir)
			}
		}
	}
	for name := range now.hashes {
		if below, ok := above[name]; ok && !gone[name] {
			return nestingError(below, name)
		}
		if gone[name] {
			continue
		}
		for dir := path.Dir(name); dir != "." && dir != "refs"; dir = path.Dir(dir) {
			if made[dir] {
				return nestingError(dir, name)
			}
		}
	}
	return nil
}

func nestingError(name, other string) error {
	return fmt.Errorf("git can't have the ref %s beside %s: choose another name for the package or workspace", name, other)
}

// writable refuses what git would refuse to take by a push, or ask a hook about.
func (l *local) writable(p push) error {
	hooks := filepath.Join(l.commonDir, "hooks")
	raw := gitconfig.New()
	if f, err := os.Open(filepath.Join(l.commonDir, "config")); err == nil {
		err = gitconfig.NewDecoder(io.LimitReader(f, maxPointer)).Decode(raw)
		f.Close()
		if err != nil {
			return fmt.Errorf("reading its config: %w", err)
		}
	}
	if dir := raw.Section("core").Option("hookspath"); dir != "" {
		if hooks = dir; !filepath.IsAbs(dir) {
			hooks = filepath.Join(l.dir, dir)
		}
	}
	for _, hook := range []string{"pre-receive", "update", "reference-transaction"} {
		if info, err := os.Stat(filepath.Join(hooks, hook)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return fmt.Errorf("it has the hook %s, a program that decides on pushes and isn't run here: use the repository through its server", hook)
		}
	}
	heads, err := filepath.Glob(filepath.Join(l.commonDir, "worktrees", "*", "HEAD"))
	if err != nil {
		return err
	}
	if !strings.EqualFold(raw.Section("core").Option("bare"), "true") {
		heads = append(heads, filepath.Join(l.commonDir, "HEAD"))
	}
	for _, head := range heads {
		to, err := readPointer(head, "ref: ")
		if err != nil {
			continue // a commit, no branch
		}
		if slices.ContainsFunc(p.updates, func(u refUpdate) bool { return u.name == to && !u.old.IsZero() }) {
			return fmt.Errorf("the branch %s is checked out, and would differ from the files there: check out another one, or use a bare repository", strings.TrimPrefix(to, "refs/heads/"))
		}
	}
	return nil
}

// packedRefs is the file packed-refs.
type packedRefs struct {
	header string
	lines  map[string]string // by ref: its line, and a second for what a tag leads to
}

func readPackedRefs(name string) (*packedRefs, error) {
	p := &packedRefs{header: packedRefsHeader, lines: map[string]string{}}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRefsBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRefsBytes {
		return nil, fmt.Errorf("%w: packed-refs has more than %s", errTooBig, size(maxRefsBytes))
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	p.lines = make(map[string]string, bytes.Count(text, []byte{'\n'}))
	const hashLen = 2 * len(plumbing.ZeroHash)
	for rest := string(text); rest != ""; {
		end := strings.IndexByte(rest, '\n') + 1
		line := rest[:end]
		switch {
		case line[0] == '#':
			p.header = line
			if !strings.Contains(line, "sorted") {
				p.header = strings.TrimRight(line, " \n") + " sorted \n"
			}
		case len(line) > hashLen+2 && line[hashLen] == ' ' && isHex(line[:hashLen]):
			ref := line[hashLen+1 : end-1]
			if strings.HasPrefix(rest[end:], "^") {
				end += strings.IndexByte(rest[end:], '\n') + 1
			}
			p.lines[ref] = rest[:end]
		default:
			return nil, fmt.Errorf("packed-refs has the line %q, which can't be understood", shorten(strings.TrimSpace(line)))
		}
		rest = rest[end:]
	}
	return p, nil
}

// set makes a ref lead to h, nowhere when it is zero.
func (p *packedRefs) set(from objects, ref string, h plumbing.Hash) error {
	if h.IsZero() {
		delete(p.lines, ref)
		return nil
	}
	line := h.String() + " " + ref + "\n"
	if strings.HasPrefix(ref, "refs/tags/") {
		if commit, _, err := peel(from, h); err != nil && !errors.Is(err, errNotCommit) {
			return err
		} else if err == nil && commit != h {
			line += "^" + commit.String() + "\n"
		}
	}
	p.lines[ref] = line
	return nil
}

// write replaces the file, which is locked.
func (p *packedRefs) write(dir string) error {
	names := make([]string, 0, len(p.lines))
	for name := range p.lines {
		names = append(names, name)
	}
	slices.Sort(names)
	var text bytes.Buffer
	text.WriteString(p.header)
	for _, name := range names {
		text.WriteString(p.lines[name])
	}
	if err := writeWhole(filepath.Join(dir, "packed-refs"), text.Bytes(), 0o644, true); err != nil {
		return fmt.Errorf("writing refs: %w", err)
	}
	return nil
}

// writeWhole writes a file so that it is there as a whole or not at all; synced,
// also when the power fails.
func writeWhole(name string, content []byte, mode fs.FileMode, synced bool) error {
	temp := filepath.Join(filepath.Dir(name), fmt.Sprintf("%s%x", tempPrefix, rand.Uint64()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && synced {
		err = f.Sync()
	}
	crashPoint("temporary")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// writeLoose writes git objects into a directory of objects. As git does, it
// leaves it to the system when they are on the disk.
func writeLoose(dir string, objects []object) error {
	var loose bytes.Buffer
	w, err := zlib.NewWriterLevel(&loose, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, o := range objects {
		hash := plumbing.ComputeHash(o.typ, o.content).String()
		name := filepath.Join(dir, hash[:2], hash[2:])
		if _, err := os.Stat(name); err == nil {
			continue
		}
		loose.Reset()
		w.Reset(&loose)
		_, err := fmt.Fprintf(w, "%s %d\x00", o.typ, len(o.content))
		if err == nil {
			_, err = w.Write(o.content)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
		if err = writeWhole(name, loose.Bytes(), 0o444, false); errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(name), 0o777); err == nil {
				err = writeWhole(name, loose.Bytes(), 0o444, false)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
