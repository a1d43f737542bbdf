//go:build unix

// Conformance holds a stoop against recorded answers of kpt fn render and of
// kpt's merges:
//
//	conformance CASES STOOP
//
// CASES is a folder with a runner in run-cases, cases in kpt-render and merges in
// merge, STOOP the program to try. A case of render holds when its exit code,
// resources, results file and standard output are kpt's; standard error and the
// comments that stoop keeps in Kptfiles may differ. A merge holds when the files
// and what they say are kpt's. Of the cases that show faults of kpt those listed
// in better and betterMerges must differ.
//
// The runner calls functions through a stand-in for docker that runs native
// programs; this program is all of them, by the name it is called by.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
)

// better are the cases in which stoop differs from kpt on purpose; the tests of
// orchestration/render say how.
var better = []string{
	"bfs-parent-deletes-subpackage", "cnrm-attribution", "empty-stdout-wipes-package",
	"kptfile-comments-and-order-lost", "selector-duplicate-match", "stale-config-by-unclean-path",
}

// loud are the functions that do nothing but fail, saying their name.
var loud = []string{"foo", "bar"}

const engineName = "engine"

func main() {
	if err := run(filepath.Base(os.Args[0])); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(name string) error {
	switch {
	case name == engineName:
		return engine(os.Args[1:])
	case slices.Contains(loud, name):
		fmt.Fprintln(os.Stderr, name)
		os.Exit(1)
	case slices.ContainsFunc(builtin.List(), func(f builtin.Info) bool { return f.Name == name }):
		return function(name)
	case len(os.Args) != 3:
		return fmt.Errorf("usage: %s CASES STOOP", name)
	}
	cases, err := filepath.Abs(os.Args[1])
	if err != nil {
		return err
	}
	stoop, err := filepath.Abs(os.Args[2])
	if err != nil {
		return err
	}
	return conform(cases, stoop)
}

// engine is docker, or the stand-in for it on PATH, without those flags of
// Container that the stand-in doesn't know. It is called as docker is.
func engine(args []string) error {
	var kept []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--read-only":
		case "--tmpfs", "--cap-drop":
			i++
		default:
			kept = append(kept, args[i])
		}
	}
	docker, err := exec.LookPath("docker")
	if err != nil {
		return err
	}
	return syscall.Exec(docker, append([]string{"docker"}, kept...), os.Environ())
}

// function is a builtin function as a program.
func function(name string) error {
	f, err := builtin.New(builtin.Compatible).Find(context.Background(), runtime.Ref{Image: name})
	if err != nil {
		return err
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, _, err := fn.Serve(context.Background(), f.Run, in)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}

// conform runs all cases.
func conform(cases, stoop string) error {
	dir, err := os.MkdirTemp("", "conformance-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	names := slices.Concat(loud, []string{engineName})
	for _, f := range builtin.List() {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_, err = os.Stat(filepath.Join(cases, "kpt-render", "fnbin"))
	if os.Getenv("SHIM_FNBIN") == "" && err != nil { // the cases bring no functions
		if err := os.Setenv("SHIM_FNBIN", dir); err != nil {
			return err
		}
	}
	command := fmt.Sprintf("'%s' render --format --allow-container --container-runtime '%s'", stoop, filepath.Join(dir, engineName))
	bad := 0
	for _, set := range []struct {
		path   string
		differ []string
	}{{"kpt-render/testdata/fn-render", nil}, {"kpt-render/extra", better}} {
		n, err := runSet(cases, set.path, command, filepath.Join(dir, "results.json"), set.differ)
		if err != nil {
			return fmt.Errorf("%s: %w", set.path, err)
		}
		bad += n
	}
	n, err := runMerges(filepath.Join(cases, "merge"), stoop, filepath.Join(dir, "merge"))
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	if bad += n; bad > 0 {
		return fmt.Errorf("%d cases don't hold", bad)
	}
	return nil
}

// outcome is a case as the runner reports it.
type outcome struct {
	Name, Status, Reason string
	Checks               map[string]struct {
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
	}
}

// broken are the checks that a case has to hold and doesn't.
func (o outcome) broken() []string {
	if o.Status == "FAIL" && len(o.Checks) == 0 {
		return []string{o.Reason}
	}
	var out []string
	for _, check := range []string{"exit", "diff_resources", "results", "stdout"} {
		if c, ok := o.Checks[check]; ok && !c.OK {
			out = append(out, check+": "+strings.TrimSpace(c.Detail))
		}
	}
	return out
}

// runSet runs a folder of cases and returns how many don't hold.
func runSet(cases, set, command, report string, differ []string) (bad int, err error) {
	args := []string{"run", ".", "--cmd", command, "--tool-name", "stoop", "--cases", filepath.Join(cases, filepath.FromSlash(set)), "--json", report}
	if kpt, err := exec.LookPath("kpt"); err == nil {
		args = append(args, "--kpt", kpt)
	}
	_ = os.Remove(report)
	runner := exec.Command("go", args...)
	runner.Dir = filepath.Join(cases, "run-cases")
	runner.Stderr = os.Stderr
	_ = runner.Run() // it fails for differences that are allowed here; without a report it failed
	text, err := os.ReadFile(report)
	if err != nil {
		return 0, fmt.Errorf("the runner wrote no report: %w", err)
	}
	var all struct{ Results []outcome }
	if err := json.Unmarshal(text, &all); err != nil {
		return 0, err
	}
	count := map[string]int{}
	for _, o := range all.Results {
		broken := o.broken()
		mustDiffer := slices.Contains(differ, o.Name)
		switch {
		case o.Status == "SKIP":
			count["skipped"]++
			fmt.Printf("SKIP   %s: %s\n", o.Name, o.Reason)
		case mustDiffer && o.Status == "FAIL":
			count["better"]++
			fmt.Printf("BETTER %s\n", o.Name)
		case mustDiffer:
			bad++
			fmt.Printf("FAIL   %s: does as kpt does, and should do better\n", o.Name)
		case len(broken) > 0:
			bad++
			fmt.Printf("FAIL   %s: %s\n", o.Name, strings.Join(broken, "\n  "))
		default:
			count["held"]++
			if o.Status != "PASS" {
				fmt.Printf("HELD   %s (differs in %s)\n", o.Name, o.Reason)
			}
		}
	}
	fmt.Printf("%s: %d of %d hold, %d better, %d skipped\n", set, count["held"], len(all.Results), count["better"], count["skipped"])
	return bad, nil
}
