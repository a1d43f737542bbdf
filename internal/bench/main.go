// Bench measures what stoop costs as users pay for it: whole processes, user
// and system time of the process and its children, the least of five runs. It
// stands beside a plain YAML round trip of the same package and, where kpt is
// on PATH, beside `kpt fn render` with the same functions as executables.
//
//	go run ./internal/bench              # all parts
//	go run ./internal/bench -only scale  # one of them
//
// It says where an aim is missed, and exits with 0 all the same: on a busy
// machine a figure means little. docs/benchmarks.md tells how to read them.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// parts are what can be measured by itself, in their order.
var parts = []struct {
	name, title string
	measure     func(*bench) error
}{
	{"render", "1,000 resources in 100 files, 3 builtin functions", (*bench).render},
	{"nothing", "nothing to do", (*bench).nothing},
	{"touch", "1,000 resources, 3 builtin functions, 10 % of the documents touched", (*bench).touch},
	{"steps", "1,000 resources, longer pipelines", (*bench).steps},
	{"scale", "larger packages, 3 builtin functions", (*bench).scale},
	{"exec", "1,000 resources, 3 exec functions, without what the functions cost", (*bench).exec},
	{"tasks", "a plan's tasks without work, in process", (*bench).tasks},
	{"fleet", "a plan of 1,000 packages, each cloned, set and rendered", (*bench).fleet},
}

func main() {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	only := flag.String("only", strings.Join(names, ","), "the `parts` to measure, separated by commas")
	runs := flag.Int("runs", 5, "how often each command runs; the least counts")
	kpt := flag.String("kpt", "kpt", "the kpt to compare with: a name on PATH or a path")
	roundTripDir := flag.String("round-trip", "", "read and write the YAML files of `DIR` and nothing else, the yardstick")
	flag.Parse()
	var err error
	if *roundTripDir != "" {
		err = roundTrip(*roundTripDir)
	} else {
		err = run(strings.Split(*only, ","), names, *runs, *kpt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is where measurements find their programs and packages.
type bench struct {
	dir    string // of everything that is made; removed at the end
	copies int    // of packages, made so far
	runs   int
	stoop  string // paths of programs
	self   string // this one
	krmfn  string
	kpt    string // empty when there is none
	table  table
}

func run(only, known []string, runs int, kpt string) error {
	wanted := map[string]bool{}
	for _, name := range only {
		wanted[name] = true
	}
	for _, name := range known {
		delete(wanted, name)
	}
	for name := range wanted {
		return fmt.Errorf("no part is called %q: there are %s", name, strings.Join(known, ", "))
	}
	if runs < 1 {
		return fmt.Errorf("-runs is %d: at least one", runs)
	}
	for _, name := range only {
		wanted[name] = true
	}
	dir, err := os.MkdirTemp("", "stoop-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, runs: runs}
	for _, program := range []struct {
		path *string
		name string
		pkg  string
	}{
		{&b.stoop, "stoop", "."},
		{&b.self, "bench", "./internal/bench"},
		{&b.krmfn, "krmfn", "./internal/bench/krmfn"},
	} {
		*program.path = filepath.Join(dir, program.name)
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *program.path, program.pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program.name, err, out)
		}
	}
	against := "no kpt on PATH: not compared with it"
	if b.kpt, err = exec.LookPath(kpt); err != nil {
		b.kpt = ""
	} else if out, err := exec.Command(b.kpt, "version").Output(); err == nil {
		against = "kpt " + strings.TrimSpace(string(out))
	}
	fmt.Printf("%s, %s/%s, %d processors; %s; the least of %d runs\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), against, runs)
	for _, p := range parts {
		if !wanted[p.name] {
			continue
		}
		b.table.head(p.name, p.title)
		if err := p.measure(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.table.foot()
	return nil
}
