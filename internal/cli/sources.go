package cli

import (
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

// sourceFlags are how repositories and registries are read, as far as the
// operator allows it.
type sourceFlags struct {
	credentialsDir string
	cacheDir       string
	sshAgent       bool
	helpers        bool
	dockerConfig   bool
	attempts       int
}

func (f *sourceFlags) flags(fs *pflag.FlagSet, getenv func(string) string) {
	cache := getenv("STOOP_CACHE_DIR")
	if cache == "" {
		cache = repository.DefaultCacheDir()
	}
	fs.StringVar(&f.credentialsDir, "credentials-dir", getenv("STOOP_CREDENTIALS_DIR"), "`DIR` of the secrets that tasks may name, as Kubernetes mounts them: DIR/NAME or DIR/NAMESPACE/NAME (environment: STOOP_CREDENTIALS_DIR)")
	fs.StringVar(&f.cacheDir, "cache-dir", cache, "`DIR` where fetched packages are kept for later runs; empty: nowhere (environment: STOOP_CACHE_DIR)")
	fs.BoolVar(&f.sshAgent, "allow-ssh-agent", isTrue(getenv("STOOP_ALLOW_SSH_AGENT")), "let tasks authenticate by your ssh agent (environment: STOOP_ALLOW_SSH_AGENT)")
	fs.BoolVar(&f.helpers, "allow-credential-helpers", isTrue(getenv("STOOP_ALLOW_CREDENTIAL_HELPERS")), "let tasks authenticate by your git credential helpers (environment: STOOP_ALLOW_CREDENTIAL_HELPERS)")
	fs.BoolVar(&f.dockerConfig, "allow-docker-config", isTrue(getenv("STOOP_ALLOW_DOCKER_CONFIG")), "let tasks authenticate at registries as docker does (environment: STOOP_ALLOW_DOCKER_CONFIG)")
	fs.IntVar(&f.attempts, "attempts", 3, "how often a request is tried when the network or a server fails")
	fs.Lookup("credentials-dir").DefValue = ""
	fs.Lookup("cache-dir").DefValue = ""
}

// isTrue says whether an environment variable is set to something that means yes.
func isTrue(v string) bool {
	switch v {
	case "", "0", "false", "no":
		return false
	}
	return true
}

func (f *sourceFlags) cache() *repository.Cache {
	if f.cacheDir == "" {
		return nil
	}
	return &repository.Cache{Dir: f.cacheDir}
}

// git is the client for git repositories. named says that the operator has named
// the repository on the command line: authentication as git does it is then what
// was meant.
func (a *app) git(access repository.Access, named bool) *repository.Git {
	return &repository.Git{
		Access: a.perms.access(access), Attempts: a.sources.attempts, Cache: a.sources.cache(),
		SSHAgent: a.sources.sshAgent || named, CredentialHelpers: a.sources.helpers || named,
	}
}

// fill gives a handler the sources that the operator allows.
func (a *app) fill(h *orchestration.TaskHandler) {
	git := a.git(repository.Access{}, false)
	if dir := a.sources.credentialsDir; dir != "" {
		h.Credentials = &repository.CredentialsDir{Dir: dir}
	}
	h.Repositories = orchestration.GitRepositories{Client: git, Credentials: h.Credentials}
	h.Upstream = a.upstreams(git)
}

// upstreams are where packages come from: git, and registries as far as git may
// go.
func (a *app) upstreams(git *repository.Git) upstream.Mux {
	return upstream.Mux{
		upstream.TypeGit: upstream.Git{Client: git},
		upstream.TypeOCI: upstream.OCI{Client: &repository.OCI{
			Access: git.Access, Attempts: git.Attempts, Cache: git.Cache, DockerConfig: a.sources.dockerConfig,
		}},
	}
}
