//go:build unix

package kptdir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The test binary, called with this variable, is a process that opens and
// writes a directory, and kills itself before a given step.
const childVar = "KPTDIR_TEST_CHILD"

// A child is what such a process is to do.
type child struct {
	Dir   string
	After files // what to write, nil to only open
	Kill  int64 // before which step; 0 for never
	Hold  bool  // stay, with the directory open, after saying so
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(childVar); spec != "" {
		if err := runChild(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(spec string) error {
	var c child
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	d, err := attach(c.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var steps atomic.Int64
	d.disk.fault = func(string, string) error {
		if steps.Add(1) == c.Kill {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	if err := d.recover(); err != nil {
		return err
	}
	if d.tree, err = read(context.Background(), d.disk.root, Limits{}); err != nil {
		return err
	}
	if c.Hold {
		fmt.Println("open")
		signal.Ignore(syscall.SIGTERM)
		select {}
	}
	if c.After == nil {
		return nil
	}
	t := new(testing.T)
	return d.Write(context.Background(), c.After.tree(t))
}

func (c child) command(t testing.TB) *exec.Cmd {
	t.Helper()
	spec, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+string(spec))
	return cmd
}

// killed runs the child and says whether it was killed; otherwise it must have
// ended well.
func (c child) killed(t testing.TB) bool {
	t.Helper()
	out, err := c.command(t).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	require.NoError(t, err, "%s", out)
	return false
}

// A write with all that can happen in one.
var (
	crashBefore = files{"keep": "k", "change": "1", "run": "!/bin/sh", "d/gone": "g", "x": "file", "y/a/b": "below", "y/c": "", "l": "-> keep"}
	crashAfter  = files{"keep": "k", "change": "2", "run": "#!/bin/sh", "new/e/w": "n", "x/f": "below", "y": "file", "l": "-> change"}
)

// assertWhole says that a directory is as before or as after, with nothing of
// stoop's left in it.
func assertWhole(t testing.TB, dir string, before, after files, at string) {
	t.Helper()
	d, err := Open(context.Background(), dir, Limits{})
	require.NoError(t, err, at)
	defer d.Close()
	is := filesOf(t, d.Tree())
	if assert.ObjectsAreEqual(before, is) {
		is = after
	}
	require.Equal(t, after, is, "neither before nor after: %s", at)
	_, err = os.Lstat(filepath.Join(dir, stageName))
	require.ErrorIs(t, err, os.ErrNotExist, at)
}

func TestKillAtEveryStep(t *testing.T) {
	for step := int64(1); ; step++ {
		dir := crashBefore.dir(t)
		killed := child{Dir: dir, After: crashAfter, Kill: step}.killed(t)
		if !killed {
			require.Greater(t, step, int64(30), "the child never came to be killed")
			assert.Equal(t, crashAfter, filesOf(t, open(t, dir).Tree()))
			return
		}
		assertWhole(t, dir, crashBefore, crashAfter, fmt.Sprintf("killed before step %d", step))
	}
}

// A write of more files than are synced one by one.
func TestKillInALargeWrite(t *testing.T) {
	before, after := files{}, files{}
	for i := range 20 {
		before[fmt.Sprintf("f%02d", i)] = "old"
		after[fmt.Sprintf("f%02d", i)] = "new"
	}
	for step := int64(1); ; step += 3 {
		dir := before.dir(t)
		if !(child{Dir: dir, After: after, Kill: step}).killed(t) {
			require.Greater(t, step, int64(60), "the child never came to be killed")
			return
		}
		assertWhole(t, dir, before, after, fmt.Sprintf("killed before step %d", step))
	}
}

func TestKillWhileRecovering(t *testing.T) {
	// killed when the manifest is there and some renames are done
	for step := int64(1); ; step++ {
		dir := crashBefore.dir(t)
		last := powerCut(t, dir, crashAfter, "rename", 4)
		require.True(t, last)
		if !(child{Dir: dir, Kill: step}).killed(t) {
			require.Greater(t, step, int64(5))
			break
		}
		assertWhole(t, dir, crashAfter, crashAfter, fmt.Sprintf("killed before step %d of the recovery", step))
	}
}

var errPower = errors.New("power cut")

// powerCut writes a directory, with every step failing from the nth on that op
// names ("" for any): what is on disk then is what a crash leaves. It says
// whether the write came that far.
func powerCut(t testing.TB, dir string, after files, op string, nth int64) bool {
	t.Helper()
	d, err := attach(dir)
	require.NoError(t, err)
	defer d.Close()
	cut := cutPower(d, op, nth)
	if err := d.recover(); err != nil {
		require.ErrorIs(t, err, errPower)
		return true
	}
	d.tree, err = read(context.Background(), d.disk.root, Limits{})
	require.NoError(t, err)
	if after != nil {
		err = d.Write(context.Background(), after.tree(t))
	}
	if !cut.Load() {
		require.NoError(t, err)
	}
	return cut.Load()
}

func cutPower(d *Dir, op string, nth int64) *atomic.Bool {
	var steps atomic.Int64
	cut := new(atomic.Bool)
	d.disk.fault = func(is, _ string) error {
		if (op == "" || op == is) && steps.Add(1) >= nth {
			cut.Store(true)
		}
		if cut.Load() {
			return errPower
		}
		return nil
	}
	return cut
}

// Every transition, cut at every step, and the recovery cut at every step, too.
func TestCrashTwice(t *testing.T) {
	for _, test := range transitions {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for first := int64(1); ; first++ {
				dir := tempDir(t)
				test.before.fill(t, dir)
				if !powerCut(t, dir, test.after, "", first) {
					break
				}
				image := onDisk(t, dir)
				for second := int64(1); ; second++ {
					again := tempDir(t)
					copyTree(t, dir, again)
					cut := powerCut(t, again, nil, "", second)
					assertWhole(t, again, test.before, test.after, fmt.Sprintf("cut at %d, again at %d", first, second))
					require.NoError(t, os.RemoveAll(again))
					if !cut {
						break
					}
				}
				require.Equal(t, image, onDisk(t, dir))
				require.NoError(t, os.RemoveAll(dir))
			}
		})
	}
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	for p, content := range onDisk(t, from) {
		name := filepath.Join(to, p)
		info, err := os.Lstat(filepath.Join(from, p))
		require.NoError(t, err)
		switch {
		case info.IsDir():
			require.NoError(t, os.MkdirAll(name, 0o777))
			continue
		case info.Mode()&os.ModeSymlink != 0:
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
			require.NoError(t, os.Symlink(strings.TrimPrefix(content, "-> "), name))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		require.NoError(t, os.WriteFile(name, []byte(content), info.Mode()))
	}
}

// A system that refuses any one step, and only that one: before the commit
// nothing has happened, after it the next Open does the rest.
func TestFailAtEveryStep(t *testing.T) {
	for step := int64(1); ; step++ {
		dir := tempDir(t)
		crashBefore.fill(t, dir)
		before := onDisk(t, dir)
		d, err := Open(context.Background(), dir, Limits{})
		require.NoError(t, err)
		var steps atomic.Int64
		var committed atomic.Bool
		failed := ""
		d.disk.fault = func(op, name string) error {
			if steps.Add(1) == step {
				failed = op + " " + name
				return &os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
			}
			if op == "rename" && name == manifestPath {
				committed.Store(true)
			}
			return nil
		}
		err = d.Write(context.Background(), crashAfter.tree(t))
		switch {
		case failed == "":
			require.NoError(t, err)
			require.Greater(t, step, int64(30))
			require.NoError(t, d.Close())
			return
		case committed.Load() && err == nil:
			require.Contains(t, failed, "remove ", "only an empty directory may be left")
		case committed.Load():
			require.ErrorIs(t, err, syscall.ENOSPC, failed)
			require.ErrorContains(t, err, "the next stoop command", failed)
		default:
			require.ErrorIs(t, err, syscall.ENOSPC, failed)
			require.Equal(t, before, onDisk(t, dir), failed)
			require.Equal(t, crashBefore, filesOf(t, d.Tree()))
		}
		require.NoError(t, d.Close())
		want := crashBefore
		if committed.Load() {
			want = crashAfter
		}
		assertWhole(t, dir, want, want, failed)
	}
}

func TestAnyTreeBecomesAnyOther(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "c"})
	anyTree := rapid.Custom(func(t *rapid.T) files {
		f := files{}
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			p := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), "/")
			f[p] = rapid.SampledFrom([]string{"", "1", "2", "#!1", "-> x", "-> y"}).Draw(t, "content")
		}
		for p := range f {
			for dir := range parents(p) {
				delete(f, dir)
			}
		}
		return f
	})
	root := tempDir(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		before, after := anyTree.Draw(rt, "before"), anyTree.Draw(rt, "after")
		at := rapid.Int64Range(1, 80).Draw(rt, "cut before step")
		n++
		dir := filepath.Join(root, strconv.Itoa(n))
		require.NoError(rt, os.Mkdir(dir, 0o777))
		before.fill(t, dir)
		if powerCut(t, dir, after, "", at) {
			assertWhole(t, dir, before, after, "cut")
		}
		powerCut(t, dir, after, "", 1<<60)
		want := files{}
		for p, content := range after {
			want[p] = content
			for above := range parents(p) {
				want[above+"/"] = "dir"
			}
		}
		for p, content := range onDisk(t, dir) { // links to nowhere are no directories
			require.Equal(rt, want[p], content, p)
			delete(want, p)
		}
		require.Empty(rt, want)
		require.NoError(rt, os.RemoveAll(dir))
	})
}

func TestRecoverRefusesHostileManifests(t *testing.T) {
	sum := func(mode kptpkg.Mode, content string) string { return string(sumOf(mode, []byte(content))) }
	reg := sum(kptpkg.Regular, "staged")
	for _, test := range []struct {
		name     string
		manifest string
		more     files
		want     string
	}{
		{name: "not JSON", manifest: "{", want: "unexpected EOF"},
		{name: "another version", manifest: `{"version": 2}`, want: "version 2"},
		{name: "a field unknown", manifest: `{"version": 1, "run": "rm"}`, want: "unknown field"},
		{name: "a path out", manifest: `{"version": 1, "put": [{"path": "../x", "new": "` + reg + `"}]}`, want: "leads out"},
		{name: "an absolute path", manifest: `{"version": 1, "put": [{"path": "/tmp/x", "new": "` + reg + `"}]}`, want: "absolute"},
		{name: "git", manifest: `{"version": 1, "put": [{"path": ".git/hooks/pre-commit", "new": "` + reg + `"}]}`, want: ".git directory"},
		{name: "remove out", manifest: `{"version": 1, "remove": [{"path": "../../x"}]}`, want: "leads out"},
		{name: "remove git", manifest: `{"version": 1, "remove": [{"path": ".git/HEAD"}]}`, want: ".git directory"},
		{name: "itself", manifest: `{"version": 1, "put": [{"path": ".stoop/manifest.json", "new": "` + reg + `"}]}`, want: "reserved"},
		{name: "twice", manifest: `{"version": 1, "put": [{"path": "x", "new": "` + reg + `"}, {"path": "x"}]}`, want: "written twice"},
		{name: "both", manifest: `{"version": 1, "put": [{"path": "x", "new": "` + reg + `"}], "remove": [{"path": "x"}]}`, want: "written as well"},
		{name: "below one another", manifest: `{"version": 1, "put": [{"path": "x/y"}, {"path": "x", "new": "` + reg + `"}]}`, want: "below it"},
		{name: "another content", manifest: `{"version": 1, "put": [{"path": "x", "new": "` + sum(kptpkg.Regular, "other") + `"}]}`, want: "not what was to be written"},
		{name: "over a file it doesn't know", manifest: `{"version": 1, "put": [{"path": "f", "new": "` + reg + `"}]}`, want: "changed on disk"},
		{name: "removing a file it doesn't know", manifest: `{"version": 1, "remove": [{"path": "f"}]}`, want: "changed on disk"},
		{name: "through a link", manifest: `{"version": 1, "put": [{"path": "out/x", "new": "` + reg + `"}]}`, want: "doesn't write through links"},
		{name: "a link out", manifest: `{"version": 1, "put": [{"path": "x", "new": "` + reg + `"}, {"path": "l", "new": "` + sum(kptpkg.Symlink, "/etc") + `"}]}`,
			more: files{".stoop/1": "-> /etc"}, want: "empty or absolute"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := files{".stoop/0": "staged", "f": "user's", "out": "-> ..", ".stoop/manifest.json": test.manifest}.dir(t)
			test.more.fill(t, dir)
			before := onDisk(t, filepath.Dir(dir))
			_, err := Open(context.Background(), dir, Limits{})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "remove .stoop in it")
			assert.Equal(t, before, onDisk(t, filepath.Dir(dir)))
		})
	}
}

// What users did after the crash is not overwritten.
func TestRecoverKeepsLaterEdits(t *testing.T) {
	dir := crashBefore.dir(t)
	require.True(t, powerCut(t, dir, crashAfter, "rename", 2)) // the manifest is there, no file yet
	write("change", "mine")(t, dir)
	_, err := Open(context.Background(), dir, Limits{})
	require.ErrorContains(t, err, "change: changed on disk")
	b, err := os.ReadFile(filepath.Join(dir, "change"))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(b))

	require.NoError(t, os.RemoveAll(filepath.Join(dir, stageName))) // as the message says
	open(t, dir)
}

func TestRecoverDiscardsAnIncompleteManifest(t *testing.T) {
	dir := files{"a": "1", ".stoop/0": "half", ".stoop/12": "-> a", ".stoop/manifest.tmp": `{"version":1,"put":[{"pa`}.dir(t)
	assert.Equal(t, files{"a": "1"}, filesOf(t, open(t, dir).Tree()))
	assert.Equal(t, files{"a": "1"}, onDisk(t, dir))
}

// asNobody runs the test again as a user without special rights when it runs as
// root, and says whether it did.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	bin := filepath.Join("/tmp", fmt.Sprintf("kptdir-%d.test", os.Getpid()))
	b, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(bin, b, 0o755))
	defer os.Remove(bin)
	cmd := exec.Command(bin, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return true
}

func TestPermissionDenied(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := files{"a": "1", "z/f": "1"}.dir(t)
	after := files{"a": "2", "z/f": "2"}
	t.Cleanup(func() { os.Chmod(dir, 0o777); os.Chmod(filepath.Join(dir, "z"), 0o777) })

	// a directory further down: found before anything is written
	require.NoError(t, os.Chmod(filepath.Join(dir, "z"), 0o555))
	d := open(t, dir)
	require.ErrorContains(t, d.Write(context.Background(), after.tree(t)), "z: write directory: permission denied")
	require.Equal(t, files{"a": "1", "z/": "dir", "z/f": "1"}, onDisk(t, dir))

	// the directory itself: reading is fine, and so is writing nothing
	require.NoError(t, d.Close())
	require.NoError(t, os.Chmod(dir, 0o555))
	d = open(t, dir)
	assert.Equal(t, files{"a": "1", "z/f": "1"}, filesOf(t, d.Tree()))
	require.NoError(t, d.Write(context.Background(), d.Tree()))
	require.ErrorContains(t, d.Write(context.Background(), after.tree(t)), "make the staging directory: permission denied")
	require.EqualError(t, d.Writable(), "write directory "+dir+": .stoop: make the staging directory: permission denied")
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, d.Writable())
	require.NoError(t, d.Close())

	// a file that can't be read
	require.NoError(t, os.Chmod(filepath.Join(dir, "a"), 0))
	_, err := Read(context.Background(), dir, Limits{})
	require.ErrorContains(t, err, "a: open: permission denied")
	require.NoError(t, os.Chmod(filepath.Join(dir, "a"), 0o644))
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := mountTiny(dir); err != nil {
		t.Skipf("needs a small file system: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unmount(dir)) })
	files{"a": "1"}.fill(t, dir)
	d := open(t, dir)
	defer d.Close()
	after := files{"a": "2"}
	for i := range 40 {
		after[fmt.Sprintf("big%d", i)] = strings.Repeat("x", 64<<10)
	}
	err := d.Write(context.Background(), after.tree(t))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "stage: no space left on device")
	assert.Equal(t, files{"a": "1"}, onDisk(t, dir))
	require.NoError(t, d.Write(context.Background(), files{"a": "2"}.tree(t)), "there is room again")
	require.NoError(t, d.Close())
}

func TestLock(t *testing.T) {
	dir := files{"a": "1"}.dir(t)
	holder := child{Dir: dir, Hold: true}.command(t)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	defer holder.Process.Kill()
	_, err = out.Read(make([]byte, 4))
	require.NoError(t, err)

	_, err = Open(context.Background(), dir, Limits{})
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	assert.Equal(t, dir, locked.Dir)
	assert.ErrorContains(t, err, "at work on "+dir)
	if locked.PID != 0 { // not all systems tell
		assert.Equal(t, holder.Process.Pid, locked.PID)
		assert.ErrorContains(t, err, fmt.Sprintf("process %d is", locked.PID))
	}
	assert.Equal(t, files{"a": "1"}, onDisk(t, dir), "no lock file")

	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	d := open(t, dir)
	_, err = Read(context.Background(), dir, Limits{})
	require.ErrorAs(t, err, &locked, "one process can't open it twice either")
	require.NoError(t, d.Close())
	_, err = Read(context.Background(), dir, Limits{})
	require.NoError(t, err)
}

// Many processes write at once: each has the directory to itself or is told at
// once that it hasn't.
func TestConcurrentWriters(t *testing.T) {
	dir := manyFiles(50).dir(t)
	outcomes := make(chan error)
	const writers = 8
	for w := range writers {
		after := manyFiles(50)
		for p := range after {
			after[p] = fmt.Sprintf("by: %d\n", w)
		}
		cmd := child{Dir: dir, After: after}.command(t)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			outcomes <- err
		}()
	}
	wrote := 0
	for range writers {
		if err := <-outcomes; err == nil {
			wrote++
		} else {
			assert.ErrorContains(t, err, "at work on "+dir)
		}
	}
	assert.Positive(t, wrote)
	tree := open(t, dir).Tree()
	one, err := tree.File(tree.Paths()[0]).Bytes()
	require.NoError(t, err)
	for p, content := range filesOf(t, tree) {
		assert.Equal(t, string(one), content, p)
	}
}

func TestGitStatusStaysClean(t *testing.T) {
	dir := files{"a": "1", "d/b": "#!2"}.dir(t)
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "1")
	d := open(t, dir)
	require.NoError(t, d.Write(context.Background(), d.Tree()))
	assert.Empty(t, git(t, dir, "status", "--porcelain"))
	require.NoError(t, d.Write(context.Background(), files{"a": "1", "d/b": "#!3"}.tree(t)))
	require.NoError(t, d.Close())
	assert.Equal(t, " M d/b\n", git(t, dir, "status", "--porcelain"))
}

func TestReadStopsAtFifo(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666))
	_, err := Read(context.Background(), dir, Limits{})
	require.ErrorContains(t, err, "pipe: neither a file, a directory nor a symlink")
}
