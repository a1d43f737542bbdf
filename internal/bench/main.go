// Bench measures what a render costs, whole process, user and system time of
// the process and its children, the least of five runs: stoop beside a plain
// YAML round trip of the same package and, where kpt is on PATH, beside
// `kpt fn render` with the same functions as native executables.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const runs = 5

func main() {
	roundTripDir := flag.String("round-trip", "", "read and write the YAML files of a directory, and nothing else")
	files := flag.Int("files", 100, "files of the package")
	each := flag.Int("resources", 10, "resources in each file")
	flag.Parse()
	var err error
	if *roundTripDir != "" {
		err = roundTrip(*roundTripDir)
	} else {
		err = compare(*files, *each)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare builds the programs and runs them beside each other.
func compare(files, each int) error {
	work, err := os.MkdirTemp("", "stoop-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for name, pkg := range map[string]string{"stoop": ".", "bench": "./internal/bench", "krmfn": "./internal/bench/krmfn"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(work, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	stoop := filepath.Join(work, "stoop")
	images := filepath.Join(work, "images")
	size, err := makePackage(images, files, each, func(f string) string { return "image: gcr.io/kpt-fn/" + f })
	if err != nil {
		return err
	}
	fmt.Printf("%d files x %d resources, %d KB, set-namespace + set-labels + set-annotations; least of %d runs\n\n", files, each, size/1000, runs)

	fmt.Printf("%-40s %10s %10s %10s\n", "", "CPU s", "wall s", "peak MB")
	start, err := measure("", nil, stoop, "version")
	if err != nil {
		return err
	}
	start.print("stoop version (start-up)")
	plain, err := measure(images, nil, filepath.Join(work, "bench"), "-round-trip")
	if err != nil {
		return err
	}
	plain.print("plain YAML round trip")
	ours, err := measure(images, nil, stoop, "render")
	if err != nil {
		return err
	}
	ours.print("stoop render")
	fmt.Printf("%-40s %9.2fx\n", "  against the round trip", ours.cpu.Seconds()/plain.cpu.Seconds())

	kpt, err := exec.LookPath("kpt")
	if err != nil {
		fmt.Println("\nkpt is not on PATH: not compared with it")
		return nil
	}
	execs := filepath.Join(work, "execs")
	krmfn := filepath.Join(work, "krmfn")
	if _, err := makePackage(execs, files, each, func(f string) string {
		return "exec: " + krmfn + " " + f[:strings.IndexByte(f, ':')]
	}); err != nil {
		return err
	}
	theirs, err := measure(execs, nil, kpt, "fn", "render", "--allow-exec")
	if err != nil {
		return err
	}
	version, _ := exec.Command(kpt, "version").Output()
	theirs.print("kpt fn render, exec functions (" + strings.TrimSpace(string(version)) + ")")
	fmt.Printf("%-40s %9.1fx\n", "  stoop render costs less", theirs.cpu.Seconds()/ours.cpu.Seconds())
	return nil
}

// cost is what one run took.
type cost struct {
	cpu, wall time.Duration
	peak      int64 // bytes
}

func (c cost) print(name string) {
	fmt.Printf("%-40s %10.3f %10.3f %10.1f\n", name, c.cpu.Seconds(), c.wall.Seconds(), float64(c.peak)/1e6)
}

// measure runs a command on fresh copies of a package, given as its last
// argument, and returns the least of each cost.
func measure(pkg string, env []string, name string, args ...string) (cost, error) {
	var least cost
	for i := range runs {
		all := args
		if pkg != "" {
			copied, err := os.MkdirTemp("", "stoop-bench-run-")
			if err != nil {
				return cost{}, err
			}
			defer os.RemoveAll(copied)
			if err := os.CopyFS(filepath.Join(copied, "p"), os.DirFS(pkg)); err != nil {
				return cost{}, err
			}
			all = append(all[:len(all):len(all)], filepath.Join(copied, "p"))
		}
		cmd := exec.Command(name, all...)
		cmd.Env = append(os.Environ(), env...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = io.Discard, &said
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			return cost{}, fmt.Errorf("%s: %w\n%s", cmd, err, said.Bytes())
		}
		c := cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin), peak(cmd.ProcessState)}
		if i == 0 || c.cpu < least.cpu {
			least.cpu = c.cpu
		}
		if i == 0 || c.wall < least.wall {
			least.wall = c.wall
		}
		if i == 0 || c.peak < least.peak {
			least.peak = c.peak
		}
	}
	return least, nil
}

// makePackage writes a package and returns its size in bytes.
func makePackage(dir string, files, each int, step func(function string) string) (int, error) {
	var kptfile strings.Builder
	kptfile.WriteString("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: bench\npipeline:\n  mutators:\n")
	for _, f := range []struct{ name, key, value string }{
		{"set-namespace:v0.4.1", "namespace", "prod"},
		{"set-labels:v0.2.0", "team", "data"},
		{"set-annotations:v0.1.4", "owner", "somebody"},
	} {
		fmt.Fprintf(&kptfile, "  - %s\n    configMap:\n      %s: %s\n", step(f.name), f.key, f.value)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, err
	}
	size := kptfile.Len()
	err := os.WriteFile(filepath.Join(dir, "Kptfile"), []byte(kptfile.String()), 0o666)
	for i := range files {
		var b bytes.Buffer
		for j := range each {
			if j > 0 {
				b.WriteString("---\n")
			}
			fmt.Fprintf(&b, `apiVersion: v1
kind: ConfigMap
metadata:
  name: cm-%d-%d # a comment to keep
  labels:
    app: bench
  annotations:
    example.com/number: "%d"
data:
  key-one: a value of file %d
  key-two: "a quoted value"
  key-three: |
    two lines
    of text
`, i, j, j, i)
		}
		size += b.Len()
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%05d.yaml", i)), b.Bytes(), 0o666))
	}
	return size, err
}

// roundTrip parses every YAML file of a directory into nodes and writes them
// back: the least that a tool does that serialises what it has read.
func roundTrip(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		in, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		d, e := yaml.NewDecoder(bytes.NewReader(in)), yaml.NewEncoder(&out)
		for {
			var n yaml.Node
			if err := d.Decode(&n); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			if err := e.Encode(&n); err != nil {
				return err
			}
		}
		if err := e.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(name, out.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}
