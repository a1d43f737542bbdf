package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/task"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// permissions are what the operator allows, by flags or environment; nothing
// in a package can.
type permissions struct {
	exec, container, network, fileRepos []string
	engine, pullPolicy                  string
	status                              string
}

// any is the value of a permission flag that is given without one.
const anyValue = "*"

func (p *permissions) flags(fs *pflag.FlagSet, getenv func(string) string) {
	p.permission(fs, &p.exec, "allow-exec", "let pipelines run executables: any, or only `PATH[@sha256:HEX],...`", getenv)
	p.permission(fs, &p.container, "allow-container", "let pipelines run containers: any image, or only `IMAGE-PATTERN,...`", getenv)
	p.permission(fs, &p.network, "allow-network", "let tasks read repositories on the network: any host, or only `HOST,...`", getenv)
	p.permission(fs, &p.fileRepos, "allow-file-repos", "let tasks read git repositories below `DIR,...`", getenv)
	fs.Lookup("allow-file-repos").NoOptDefVal = "" // a directory has to be named
	fs.StringVar(&p.engine, "container-runtime", "docker", "the `PROGRAM` that runs containers: docker, or one with its commands")
}

// permission is a list flag whose default is the environment variable of the
// same name with STOOP_ before it.
func (p *permissions) permission(fs *pflag.FlagSet, to *[]string, name, usage string, getenv func(string) string) {
	variable := "STOOP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	var def []string
	switch v := strings.TrimSpace(getenv(variable)); strings.ToLower(v) {
	case "", "0", "false", "no":
	case "1", "true", "yes":
		def = []string{anyValue}
	default:
		def = strings.Split(v, ",")
	}
	fs.StringSliceVar(to, name, def, usage+" (environment: "+variable+")")
	fs.Lookup(name).NoOptDefVal = anyValue
	fs.Lookup(name).DefValue = "[]" // what the environment says is not shown as a default
}

// runtime is the chain of function runtimes that the operator allows.
func (p *permissions) runtime() runtime.Runtime {
	return runtime.FirstOf{
		builtin.New(builtin.Compatible),
		&runtime.Exec{Allow: p.exec, AllowAny: slices.Contains(p.exec, anyValue)},
		&runtime.Container{
			Allow: p.container, AllowAny: slices.Contains(p.container, anyValue),
			Engine: p.engine, Pull: runtime.PullPolicy(p.pullPolicy),
		},
	}
}

func allowList(list []string) []string {
	if slices.Contains(list, anyValue) {
		return []string{anyValue}
	}
	return list
}

// access is what the operator's flags let tasks read, and more, which the
// operator named on the command line.
func (p *permissions) access(more repository.Access) repository.Access {
	return repository.Access{
		Network:   append(allowList(p.network), more.Network...),
		FileRepos: append(slices.Clone(p.fileRepos), more.FileRepos...),
	}
}

// handler is the task handler that the operator's flags make.
func (p *permissions) handler() *orchestration.TaskHandler {
	git := &repository.Git{Access: p.access(repository.Access{})}
	return &orchestration.TaskHandler{
		Runtime:  p.runtime(),
		Upstream: upstream.Mux{upstream.TypeGit: upstream.Git{Client: git}},
		Status:   task.StatusPolicy(p.status),
	}
}
