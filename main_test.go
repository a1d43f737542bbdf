package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stoop": main})
}

// TestScripts runs testdata/script: one behaviour a file, over the real binary,
// with real git repositories and, where they are on PATH, real kpt and kustomize.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup:              setup,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "docker":
				return exec.Command("docker", "info").Run() == nil, nil
			case "nohup": // what ignores a signal hands that on to all it starts
				return signal.Ignored(syscall.SIGHUP), nil
			}
			return false, fmt.Errorf("no condition %q is known", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"chat":   chat,
			"commit": commit,
			"tree":   tree,
		},
	})
}

// setup makes git's answers the same everywhere: fixed names and dates, so that
// the commits of a script have the same hashes on every machine.
func setup(e *testscript.Env) error {
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		e.Setenv("GIT_"+who+"_NAME", "stoop")
		e.Setenv("GIT_"+who+"_EMAIL", "stoop@example.com")
		e.Setenv("GIT_"+who+"_DATE", "2026-01-02T03:04:05Z")
	}
	return nil
}

// commit DIR [TAG...] commits all of DIR, a git repository made if need be, and
// tags the commit.
func commit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: commit DIR [TAG...]")
	}
	if _, err := exec.LookPath("git"); err != nil {
		ts.Fatalf("git is needed to make the repositories of the tests")
	}
	dir := ts.MkAbs(args[0])
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		ts.Check(ts.Exec("git", "init", "-q", "-b", "main", dir))
	}
	ts.Check(ts.Exec("git", "-C", dir, "add", "."))
	ts.Check(ts.Exec("git", "-C", dir, "commit", "-q", "--allow-empty", "-m", strings.Join(append([]string{"commit"}, args[1:]...), " ")))
	for _, tag := range args[1:] {
		ts.Check(ts.Exec("git", "-C", dir, "tag", tag))
	}
}

// tree DIR writes the files below DIR to standard output, sorted, a line each.
func tree(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: tree DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".git" {
				return filepath.SkipDir
			}
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		_, err = ts.Stdout().Write([]byte(filepath.ToSlash(rel) + "\n"))
		return err
	}))
}

// chat starts a chat endpoint for stoop's agent tasks and says where it is in
// STOOP_AGENT_URL. It answers one request after the other with its arguments: a
// text, or busy for a 429; and the last one over and over. What it was asked is
// in asked.jsonl, a line a request.
func chat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: chat answer...")
	}
	var mu sync.Mutex
	next := 0
	asked := ts.MkAbs("asked.jsonl")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var f *os.File
			if f, err = os.OpenFile(asked, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
				_, err = f.Write(append(bytes.TrimSpace(body), '\n'))
				_ = f.Close()
			}
		}
		if err != nil || r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, `{"error":{"message":"who are you?"}}`, http.StatusUnauthorized)
			return
		}
		answer := args[min(next, len(args)-1)]
		next++
		if answer == "busy" {
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"error":{"message":"later"}}`, http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range strings.SplitAfter(answer, " ") {
			text, _ := json.Marshal(piece)
			fmt.Fprintf(w, "data: {\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", text)
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	ts.Defer(srv.Close)
	ts.Setenv("STOOP_AGENT_URL", srv.URL+"/v1")
}
