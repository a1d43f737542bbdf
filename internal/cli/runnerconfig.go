package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/task"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// runnerConfig is the operator's file of --runner-config: how functions run for
// objects of each namespace. A namespace that isn't in it gets that of
// "default"; without one it gets what the flags say.
//
//	namespaces:
//	  default:
//	    imagePrefix: registry.example.com/functions   # for names without a slash
//	    runtimes: [builtin, container]                # of those that flags allow
//	    functions: ["registry.example.com/functions/*"]
//	    timeout: 2m
//	    memory: 512M
//	    cpu: 30s
//	    processes: 64
type runnerConfig struct {
	Namespaces map[string]namespaceConfig `yaml:"namespaces"`
}

// namespaceConfig narrows what flags allow; it can't widen it.
type namespaceConfig struct {
	ImagePrefix string   `yaml:"imagePrefix"`    // default: kpt's
	Runtimes    []string `yaml:"runtimes"`       // default: all that flags allow
	Functions   []string `yaml:"functions"`      // patterns; default: all
	Timeout     string   `yaml:"timeout"`        // default: --function-timeout
	Memory      string   `yaml:"memory"`         // default: --function-memory
	CPU         string   `yaml:"cpu"`            // default: --function-cpu
	Processes   int      `yaml:"processes"`      // default: --function-processes
	Lenient     bool     `yaml:"lenientResults"` // as --lenient-results
}

// readRunnerConfig reads the file, which must not be inside dir, the package at
// work: it would then be the package that says what may run. dir is empty for a
// list, which brings no files of its own.
func readRunnerConfig(name, dir string) (*runnerConfig, error) {
	fail := func(err error) (*runnerConfig, error) { return nil, fmt.Errorf("--runner-config %s: %w", name, err) }
	if inside, err := isInside(name, dir); err != nil {
		return fail(err)
	} else if inside {
		return fail(fmt.Errorf("the file is inside the package %s, which can't say what may run: move it out", dir))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return fail(err)
	}
	var c runnerConfig
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	for ns, n := range c.Namespaces {
		for _, r := range n.Runtimes {
			if !slices.Contains(runtimeNames, r) {
				return fail(fmt.Errorf("namespaces.%s.runtimes: %q is none: write %s", ns, r, strings.Join(runtimeNames, ", ")))
			}
		}
		if _, err := n.limits(limits{}); err != nil {
			return fail(fmt.Errorf("namespaces.%s: %w", ns, err))
		}
	}
	return &c, nil
}

// isInside says whether a file, or a link that it is named by, is below a
// directory, links resolved.
func isInside(name, dir string) (bool, error) {
	if dir == "" {
		return false, nil
	}
	below, err := realPath(dir)
	if err != nil {
		return false, err
	}
	file, err := realPath(name)
	if err != nil {
		return false, err
	}
	in, err := realPath(filepath.Dir(name)) // where the link is
	if err != nil {
		return false, err
	}
	for _, p := range []string{file, filepath.Join(in, filepath.Base(name))} {
		rel, err := filepath.Rel(below, p)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return true, nil
		}
	}
	return false, nil
}

func realPath(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// limits are the flags' limits as the namespace changes them.
func (n namespaceConfig) limits(l limits) (limits, error) {
	var err error
	if n.Timeout != "" {
		if l.timeout, err = time.ParseDuration(n.Timeout); err != nil || l.timeout <= 0 {
			return l, fmt.Errorf("timeout: %q is no duration: write 90s or 2m", n.Timeout)
		}
	}
	if n.CPU != "" {
		if l.cpu, err = time.ParseDuration(n.CPU); err != nil || l.cpu <= 0 {
			return l, fmt.Errorf("cpu: %q is no duration: write 30s", n.CPU)
		}
	}
	if n.Memory != "" {
		if err := l.memory.Set(n.Memory); err != nil {
			return l, fmt.Errorf("memory: %w", err)
		}
	}
	if n.Processes < 0 {
		return l, fmt.Errorf("processes: %d is less than none", n.Processes)
	}
	if n.Processes > 0 {
		l.processes = processCount(n.Processes)
	}
	return l, nil
}

// runners are the runner options of all namespaces.
type runners struct {
	byNamespace map[string]orchestration.RunnerOptions
	done        []func()
}

// of are the options of a namespace, "" being "default".
func (r *runners) of(namespace string) orchestration.RunnerOptions {
	if o, ok := r.byNamespace[namespace]; ok && namespace != "" {
		return o
	}
	return r.byNamespace["default"]
}

func (r *runners) close() {
	for _, done := range r.done {
		done()
	}
}

// runners makes the options of each namespace from the flags and the
// operator's file. dir is the package at work, empty for a list.
func (a *app) runners(dir string) (*runners, error) {
	config := &runnerConfig{}
	if a.runtimes.config != "" {
		var err error
		if config, err = readRunnerConfig(a.runtimes.config, dir); err != nil {
			return nil, err
		}
	}
	if _, ok := config.Namespaces["default"]; !ok {
		if config.Namespaces == nil {
			config.Namespaces = map[string]namespaceConfig{}
		}
		config.Namespaces["default"] = namespaceConfig{}
	}
	rs := &runners{byNamespace: map[string]orchestration.RunnerOptions{}}
	warned := false
	for ns, n := range config.Namespaces {
		l, err := n.limits(a.runtimes.limits)
		if err != nil {
			return nil, err
		}
		if l.processes > 0 && len(a.perms.exec) > 0 && os.Geteuid() == 0 && !warned {
			warned = true
			a.printResults([]fn.Result{{Severity: fn.Warning, Message: "the limit on processes does not bind the executables that root runs: run stoop as another user"}})
		}
		chain, done, err := a.runtimes.chain(&a.perms, l, n.Runtimes)
		if err != nil {
			return nil, err
		}
		rs.done = append(rs.done, done)
		o := orchestration.RunnerOptions{
			Runtime:        chain,
			ImagePrefix:    n.ImagePrefix,
			LenientResults: a.runtimes.lenient || n.Lenient,
		}
		if len(n.Functions) > 0 {
			o.Runtime = runtime.Only{Runtime: chain, Functions: n.Functions, By: fmt.Sprintf("%s for namespace %q", a.runtimes.config, ns)}
		}
		rs.byNamespace[ns] = o
	}
	return rs, nil
}

// handler is the task handler that the operator's flags make; done lets go of
// what it holds. dir is the package at work, empty for a list.
func (a *app) handler(dir string) (h *orchestration.TaskHandler, done func(), err error) {
	rs, err := a.runners(dir)
	if err != nil {
		return nil, nil, err
	}
	h = &orchestration.TaskHandler{Builtins: builtin.New(builtin.Compatible), RunnerOptions: rs.of, Status: task.StatusPolicy(a.perms.status)}
	a.fill(h)
	return h, rs.close, nil
}
