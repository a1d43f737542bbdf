// Package repositorytest makes real git repositories for tests, with fixed
// names and dates so that hashes are the same in every run, and serves them on
// the loopback interface with git's own servers.
package repositorytest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The modes of an Entry, as git writes them.
const (
	Regular    = "100644"
	Executable = "100755"
	Symlink    = "120000"
	Submodule  = "160000"
)

// Entry is a file of a commit. Its path goes into git trees as it is, however
// hostile; the content of a Submodule is a commit's hash.
type Entry struct {
	Mode    string // "" is Regular
	Path    string
	Content string
}

// Repo is a bare repository on disk.
type Repo struct {
	Dir string // absolute; ends in .git
	t   testing.TB
}

// New makes an empty repository whose HEAD names the branch main. The test is
// skipped where git is missing.
func New(t testing.TB) *Repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not on PATH")
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	r := &Repo{Dir: filepath.Join(root, "repo.git"), t: t}
	command(t, root, "", "init", "-q", "--bare", "--template=", "-b", "main", r.Dir)
	return r
}

// Git runs git in the repository and returns what it prints, without the
// newline at its end.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	return command(r.t, r.Dir, "", args...)
}

// Import makes what a stream in the format of git fast-import says: for many
// commits at once.
func (r *Repo) Import(stream string) {
	r.t.Helper()
	command(r.t, r.Dir, stream, "fast-import", "--quiet")
}

// Commit makes the entries the whole content of a new commit of branch, and
// returns its hash.
func (r *Repo) Commit(branch string, entries ...Entry) string {
	r.t.Helper()
	text := "tree " + r.Tree(entries...) + "\n"
	if parent := r.Git("for-each-ref", "--format=%(objectname)", "refs/heads/"+branch); parent != "" {
		text += "parent " + parent + "\n"
	}
	commit := r.Object("commit", text+"author Ann <ann@example.com> 1704164645 +0000\ncommitter Ann <ann@example.com> 1704164645 +0000\n\ncommit\n")
	r.Git("update-ref", "refs/heads/"+branch, commit)
	return commit
}

// Tree writes the git tree of entries and returns its hash.
func (r *Repo) Tree(entries ...Entry) string {
	r.t.Helper()
	root := &dir{dirs: map[string]*dir{}}
	for _, e := range entries {
		hash := e.Content
		if e.Mode != Submodule {
			hash = r.Object("blob", e.Content)
		}
		mode := e.Mode
		if mode == "" {
			mode = Regular
		}
		root.add(e.Path, mode, hash)
	}
	return root.write(r)
}

// Object writes a git object as it is, however malformed, and returns its hash.
// It does so without git, as a process for each object is most of a test's time.
func (r *Repo) Object(typ, content string) string {
	r.t.Helper()
	whole := fmt.Appendf(nil, "%s %d\x00%s", typ, len(content), content)
	hash := fmt.Sprintf("%x", sha1.Sum(whole))
	name := filepath.Join(r.Dir, "objects", hash[:2], hash[2:])
	if _, err := os.Stat(name); err == nil {
		return hash
	}
	var loose bytes.Buffer
	w := zlib.NewWriter(&loose)
	_, err := w.Write(whole)
	require.NoError(r.t, errors.Join(err, w.Close(), os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, loose.Bytes(), 0o444)))
	return hash
}

// Subtrees writes the git tree whose entries are named by their hashes in
// Content, and returns its hash.
func (r *Repo) Subtrees(entries ...Entry) string {
	r.t.Helper()
	d := &dir{}
	for _, e := range entries {
		d.lines = append(d.lines, line{e.Mode, e.Path, e.Content})
	}
	return d.write(r)
}

// dir is a directory on its way into a git tree.
type dir struct {
	lines []line
	dirs  map[string]*dir
}

type line struct{ mode, name, hash string }

func (d *dir) add(path, mode, hash string) {
	name, rest, nested := strings.Cut(path, "/")
	if !nested {
		d.lines = append(d.lines, line{mode, name, hash})
		return
	}
	if d.dirs[name] == nil {
		d.dirs[name] = &dir{dirs: map[string]*dir{}}
	}
	d.dirs[name].add(rest, mode, hash)
}

// write doesn't use mktree, which refuses hostile names.
func (d *dir) write(r *Repo) string {
	for name, sub := range d.dirs {
		d.lines = append(d.lines, line{"40000", name, sub.write(r)})
	}
	order := func(l line) string {
		if l.mode == "40000" {
			return l.name + "/"
		}
		return l.name
	}
	sort.Slice(d.lines, func(i, j int) bool { return order(d.lines[i]) < order(d.lines[j]) })
	var raw bytes.Buffer
	for _, l := range d.lines {
		hash, err := hex.DecodeString(l.hash)
		require.NoError(r.t, err)
		fmt.Fprintf(&raw, "%s %s\x00%s", l.mode, l.name, hash)
	}
	return r.Object("tree", raw.String())
}

// ServeHTTP serves the repository with git http-backend and returns its URL.
// Config are settings of the server's git, such as uploadpack.allowFilter=true.
// Wrap, when not nil, stands between client and server.
func (r *Repo) ServeHTTP(config []string, wrap func(http.Handler) http.Handler) string {
	r.t.Helper()
	server := httptest.NewServer(r.backend(config, wrap))
	r.t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(r.Dir)
}

// ServeHTTPS is ServeHTTP with TLS. It also returns the certificate, PEM, that
// the server is to be known by.
func (r *Repo) ServeHTTPS(config []string, wrap func(http.Handler) http.Handler) (url string, ca []byte) {
	r.t.Helper()
	server := httptest.NewUnstartedServer(r.backend(config, wrap))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that tests make fail
	server.StartTLS()
	r.t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(r.Dir), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func (r *Repo) backend(config []string, wrap func(http.Handler) http.Handler) http.Handler {
	r.t.Helper()
	env := []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1"}
	env = append(env, configEnv(config)...)
	var handler http.Handler = &cgi.Handler{Path: program("git-http-backend"), Env: append(env, fixedEnv()...), Stderr: io.Discard}
	if wrap != nil {
		handler = wrap(handler)
	}
	return handler
}

// ServeGit serves the repository with git daemon and returns its URL.
func (r *Repo) ServeGit(config []string) string {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = listener.Close() })
	// The daemon doesn't listen itself: a port that was free a moment ago may
	// be somebody else's by then.
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serveGit(conn.(*net.TCPConn), config)
		}
	}()
	return fmt.Sprintf("git://%s/%s", listener.Addr(), filepath.Base(r.Dir))
}

func (r *Repo) serveGit(conn *net.TCPConn, config []string) {
	defer conn.Close()
	socket, err := conn.File()
	if err != nil {
		return
	}
	defer socket.Close()
	daemon := exec.Command(program("git-daemon"), "--inetd", "--export-all", "--base-path="+filepath.Dir(r.Dir))
	daemon.Env = append(append(os.Environ(), fixedEnv()...), configEnv(config)...)
	daemon.Stdin, daemon.Stdout = socket, socket
	_ = daemon.Run() // what the client gets tells
}

// program is one of git's own, without git before it, which would be a second
// process to start and to end.
func program(name string) string { return filepath.Join(execPath(), name) }

var execPath = sync.OnceValue(func() string {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		panic(err) // there is a git: New looked
	}
	return strings.TrimSpace(string(out))
})

func configEnv(config []string) []string {
	env := []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config))}
	for i, c := range config {
		key, value, _ := strings.Cut(c, "=")
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	return env
}

func fixedEnv() []string {
	const date = "2024-01-02T03:04:05Z"
	return []string{
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com", "GIT_COMMITTER_DATE=" + date,
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
	}
}

func command(t testing.TB, dir, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "core.fsync=none"}, args...)...) // no test outlives a power cut
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), fixedEnv()...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), stderr.String())
	return strings.TrimSuffix(string(out), "\n")
}
