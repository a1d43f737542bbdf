package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn"
)

// Exec runs the functions that a pipeline names by `exec:`. Its zero value
// allows none.
//
// A function gets the call as a ResourceList on its standard input, in a process
// group of its own that doesn't outlive the call. Of the environment it sees
// PATH, HOME, TMPDIR, LANG and LC_* (on Windows also what programs there can't
// start without), and STOOP_ACTIVE=1, by which stoop notices that it was called
// by itself.
type Exec struct {
	// Allow lists what may run: PATH or PATH@sha256:HEX. A path without a
	// slash is looked up in PATH, a relative one starts at Dir. It must be the
	// path the function is named by, links are not followed: a link can make
	// another program of the same file.
	Allow []string
	// AllowAny lets any executable run, with a note that says so.
	AllowAny bool
	// Dir is the working directory, as kpt has it the caller's; empty: that of
	// this process.
	Dir string
	// Timeout is the time a call may take, by default 4 minutes.
	Timeout time.Duration
	// Grace is the time between asking a process to end and killing it, by
	// default 10 seconds.
	Grace time.Duration
	// Kill, when closed, ends that time for all that were asked to end; nil:
	// nobody is in such a hurry.
	Kill <-chan struct{}
	// MaxOutput limits the answer, in bytes, by default 256 MiB.
	MaxOutput int
	// Memory and CPU limit what one function may use: bytes of data, CPU time
	// rounded up to seconds. Zero is no limit. They hold on Linux; elsewhere a
	// note says that they don't.
	Memory int64
	CPU    time.Duration
	// Processes limits how many processes and threads the user may have, those
	// of others included, for the function to start more: by default 16384,
	// which stops one that does nothing else. Below zero is no limit. It holds
	// on Linux, and not for root.
	Processes int
}

// Find implements Runtime. It looks at the file but doesn't hash it; a digest is
// checked at each run.
func (e *Exec) Find(_ context.Context, ref Ref) (*Function, error) {
	if ref.Exec == "" {
		return nil, fmt.Errorf("exec: %w", ErrOtherSort)
	}
	argv, err := words(ref.Exec)
	if err != nil {
		return nil, fmt.Errorf("exec function %q: %w", ref.Exec, err)
	}
	path, lookErr := e.look(argv[0])
	digest, err := e.allowed(path)
	if err != nil {
		return nil, fmt.Errorf("exec function %q: %w", ref.Exec, err)
	}
	if lookErr != nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, e.missing(argv[0], path, lookErr))
	}
	if ref.Limits != (Limits{}) {
		bound := *e
		bound.Memory, bound.CPU = lower(e.Memory, ref.Limits.Memory), lower(e.CPU, ref.Limits.CPU)
		if n := ref.Limits.Processes; n > 0 {
			bound.Processes = lower(orDefault(e.Processes, defaultUserProcesses), n)
		}
		e = &bound
	}
	f := &Function{Name: ref.Exec, Run: func(ctx context.Context, call *fn.Call) error {
		return e.run(ctx, call, ref.Exec, path, digest, argv)
	}}
	f.Unbound = unboundProcess(ref.Limits)
	if digest == "" && e.AllowAny {
		f.note("any executable may run; to allow only this one, use --allow-exec=%s", path)
	}
	if !canLimit && (e.Memory != 0 || e.CPU != 0 || e.Processes > 0) {
		f.note("limits on memory, CPU and processes do not hold on %s", goruntime.GOOS)
	}
	return f, nil
}

// unboundProcess is why a process isn't held to some of the limits, empty when it is
// to all.
func unboundProcess(l Limits) string {
	var why []string
	if l.CPUs != 0 {
		why = append(why, "a process isn't held to a number of processors (cpu), only to processor time (cpuTime), memory and processes")
	}
	if l.Processes > 0 && os.Getuid() == 0 {
		why = append(why, "root, as whom stoop runs, isn't held to a number of processes (processes)")
	}
	return strings.Join(why, "; ")
}

func (f *Function) note(format string, args ...any) {
	f.Notes = append(f.Notes, fn.Result{
		Severity: fn.Warning,
		Message:  fmt.Sprintf("function %q: ", f.Name) + fmt.Sprintf(format, args...),
	})
}

// look finds the absolute path of an executable. On failure the path is what it
// would be.
func (e *Exec) look(name string) (string, error) {
	if !strings.ContainsAny(name, `/\`) || (goruntime.GOOS != "windows" && !strings.Contains(name, "/")) {
		path, err := exec.LookPath(name)
		if err != nil {
			return name, err
		}
		return filepath.Abs(path)
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.Dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return name, err
	}
	_, err = exec.LookPath(path)
	return path, err
}

// missing says why there is no executable by the name, which was looked for at
// path.
func (e *Exec) missing(name, path string, err error) string {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Sprintf("no executable %s in PATH: install it, or name it by its path", name)
	case errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(name):
		return fmt.Sprintf("no executable %s: install it there, or correct the path", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no executable %s: relative paths begin at the working directory, not at the package", path)
	case errors.Is(err, fs.ErrPermission):
		return path + " can't be executed: it is a directory, or chmod +x is missing"
	}
	return err.Error()
}

// allowed finds the entry of the list that lets path run. The digest is empty
// when any content will do.
func (e *Exec) allowed(path string) (digest string, err error) {
	for _, entry := range e.Allow {
		want, digest, pinned := strings.Cut(entry, "@sha256:")
		if pinned && (len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "") {
			return "", fmt.Errorf("--allow-exec=%s: a digest is 64 hexadecimal digits in lower case", entry)
		}
		if at, _ := e.look(want); at == path {
			return digest, nil
		}
	}
	if e.AllowAny {
		return "", nil
	}
	return "", fmt.Errorf("%w: --allow-exec=%s or STOOP_ALLOW_EXEC=%[2]s", ErrExecNotAllowed, path)
}

func digestError(path, got, want string) error {
	return fmt.Errorf("%w: %s has the digest sha256:%s, --allow-exec says %s", ErrNotAllowed, path, got, want)
}

func (e *Exec) run(ctx context.Context, call *fn.Call, name, path, digest string, argv []string) error {
	in, err := fn.EncodeCall(call)
	if err != nil {
		return fmt.Errorf("function %q: %w", name, err)
	}
	p := process{
		path: path, args: argv, dir: e.Dir, env: execEnv(os.Environ()),
		timeout: e.Timeout, grace: e.Grace, kill: e.Kill, maxOutput: e.MaxOutput,
		limits: limits{memory: e.Memory, cpu: e.CPU, processes: max(orDefault(e.Processes, defaultUserProcesses), 0)},
	}
	if digest != "" {
		at, f, err := pinned(path, digest)
		if err != nil {
			return fmt.Errorf("function %q: %w", name, err)
		}
		if f != nil {
			defer f.Close()
			p.files = []*os.File{f}
		}
		p.path = at
	}
	out, err := p.run(ctx, in)
	if err != nil {
		call.Stderr = out.stderr
		return fmt.Errorf("function %q: %w%s", name, err, saying(out.stderr))
	}
	return out.take(call, name)
}

// execEnv is what a function sees of the environment.
func execEnv(all []string) []string {
	keep := map[string]bool{"PATH": true, "HOME": true, "TMPDIR": true, "LANG": true}
	if goruntime.GOOS == "windows" {
		for _, name := range []string{"SYSTEMROOT", "PATHEXT", "COMSPEC", "TEMP", "TMP", "USERPROFILE"} {
			keep[name] = true
		}
	}
	env := []string{"STOOP_ACTIVE=1"}
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if goruntime.GOOS == "windows" {
			name = strings.ToUpper(name)
		}
		if keep[name] || strings.HasPrefix(name, "LC_") {
			env = append(env, kv)
		}
	}
	return env
}
