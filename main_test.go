package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
			if cond == "docker" {
				return exec.Command("docker", "info").Run() == nil, nil
			}
			return false, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
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
