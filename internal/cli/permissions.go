package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// permissions are what the operator allows, by flags or environment; nothing
// in a package can.
type permissions struct {
	exec, container, network, fileRepos []string
	status                              string
}

// anyValue is the value of a permission flag that is given without one.
const anyValue = "*"

func (p *permissions) flags(fs *pflag.FlagSet, getenv func(string) string) {
	p.permission(fs, &p.exec, "allow-exec", "let pipelines run executables: any, or only `PATH[@sha256:HEX],...`", getenv)
	p.permission(fs, &p.container, "allow-container", "let pipelines run containers: any image, or only `IMAGE-PATTERN,...`", getenv)
	p.permission(fs, &p.network, "allow-network", "let tasks read repositories on the network: any host, or only `HOST,...`", getenv)
	p.permission(fs, &p.fileRepos, "allow-file-repos", "let tasks read git repositories below `DIR,...`", getenv)
	fs.Lookup("allow-file-repos").NoOptDefVal = "" // a directory has to be named
}

// permission is a list flag whose default is the environment variable of the
// same name with STOOP_ before it.
func (p *permissions) permission(fs *pflag.FlagSet, to *[]string, name, usage string, getenv func(string) string) {
	variable := "STOOP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	var def []string
	switch v := getenv(variable); {
	case !isTrue(v):
	case isAny(v):
		def = []string{anyValue}
	default:
		for item := range strings.SplitSeq(v, ",") {
			def = append(def, strings.TrimSpace(item))
		}
	}
	fs.StringSliceVar(to, name, def, usage+" (environment: "+variable+")")
	fs.Lookup(name).NoOptDefVal = anyValue
	fs.Lookup(name).DefValue = "[]" // what the environment says is not shown as a default
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
		Network:   slices.Concat(allowList(p.network), more.Network),
		FileRepos: slices.Concat(p.fileRepos, more.FileRepos),
	}
}

// isTrue says whether an environment variable is set to something but no.
func isTrue(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

// isAny says whether an environment variable says yes and names nothing.
func isAny(v string) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "1", "true", "yes":
		return true
	}
	return false
}
