package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
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
	retryDelay     pause
	maxFiles       uint32
	maxFileBytes   byteSize
	maxTotalBytes  byteSize
	maxFetchBytes  byteSize
	bad            error // what the environment says that means nothing
}

func (f *sourceFlags) flags(fs *pflag.FlagSet, getenv func(string) string) {
	cache := getenv("STOOP_CACHE_DIR")
	if cache == "" {
		cache = repository.DefaultCacheDir()
	}
	fs.StringVar(&f.credentialsDir, "credentials-dir", getenv("STOOP_CREDENTIALS_DIR"), "`DIR` of the secrets that tasks and repositories may name (Kptfiles name none), as Kubernetes mounts them: DIR/NAME or DIR/NAMESPACE/NAME (environment: STOOP_CREDENTIALS_DIR)")
	fs.StringVar(&f.cacheDir, "cache-dir", cache, "`DIR` where fetched packages are kept for later runs; empty: nowhere (environment: STOOP_CACHE_DIR)")
	fs.BoolVar(&f.sshAgent, "allow-ssh-agent", isTrue(getenv("STOOP_ALLOW_SSH_AGENT")), "let tasks authenticate by your ssh agent (environment: STOOP_ALLOW_SSH_AGENT)")
	fs.BoolVar(&f.helpers, "allow-credential-helpers", isTrue(getenv("STOOP_ALLOW_CREDENTIAL_HELPERS")), "let tasks authenticate by your git credential helpers (environment: STOOP_ALLOW_CREDENTIAL_HELPERS)")
	fs.BoolVar(&f.dockerConfig, "allow-docker-config", isTrue(getenv("STOOP_ALLOW_DOCKER_CONFIG")), "let tasks authenticate at registries as docker does (environment: STOOP_ALLOW_DOCKER_CONFIG)")
	fs.IntVar(&f.attempts, "attempts", 3, "how often a request is tried when the network or a server fails")
	f.retryDelay = pause(200 * time.Millisecond)
	fs.Var(&f.retryDelay, "retry-delay", "about how long to wait before a request is tried again; later pauses are longer")
	fs.Uint32Var(&f.maxFiles, "max-files", 0, "how many files and directories a directory or fetched package may have (default 500000, fetched 100000)")
	fs.Var(&f.maxFileBytes, "max-file-bytes", "how large one file may be, `BYTES` with k, M or G (default 64M, fetched 100M)")
	fs.Var(&f.maxTotalBytes, "max-total-bytes", "how large all files of a directory or fetched package may be, and what is read from standard input, `BYTES` with k, M or G (default 1G)")
	fs.Var(&f.maxFetchBytes, "max-fetch-bytes", "how much memory what one request to a server brings may take, `BYTES` with k, M or G (default 2G, or twice --max-total-bytes)")
	for _, name := range []string{"max-files", "max-file-bytes", "max-total-bytes", "max-fetch-bytes"} {
		flag, variable := fs.Lookup(name), "STOOP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		flag.DefValue = "" // some have two, in the text
		flag.Usage += " (environment: " + variable + ")"
		if v := getenv(variable); v != "" {
			if err := flag.Value.Set(v); err != nil {
				f.bad = errors.Join(f.bad, usageError("%s: %v", variable, err))
			}
		}
	}
	fs.Lookup("max-files").DefValue = "0" // by which a number's is left out
	fs.Lookup("credentials-dir").DefValue = ""
	fs.Lookup("cache-dir").DefValue = ""
}

// pause is a time that is more than none, as a flag.
type pause time.Duration

func (p *pause) String() string { return time.Duration(*p).String() }

// Type implements pflag.Value.
func (p *pause) Type() string { return "duration" }

// Set implements pflag.Value.
func (p *pause) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no time to wait: write a number with ms, s or m", s)
	}
	*p = pause(d)
	return nil
}

// directoryLimits bound what is read of a directory on disk.
func (f *sourceFlags) directoryLimits() kptdir.Limits {
	return kptdir.Limits{Files: int(f.maxFiles), FileBytes: int64(f.maxFileBytes), TotalBytes: int64(f.maxTotalBytes)}
}

// packageLimits bound what is fetched for one package.
func (f *sourceFlags) packageLimits() repository.Limits {
	return repository.Limits{
		Files: int(f.maxFiles), FileBytes: int64(f.maxFileBytes), TotalBytes: int64(f.maxTotalBytes), FetchBytes: int64(f.maxFetchBytes),
	}
}

// bounded is standard input, up to a limit.
func (a *app) bounded() io.Reader {
	limit := cmp.Or(int64(a.sources.maxTotalBytes), 1<<30)
	return &boundedInput{a.in, limit, limit}
}

type boundedInput struct {
	io.Reader
	left, limit int64
}

func (b *boundedInput) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("standard input has more than %d bytes: --max-total-bytes or STOOP_MAX_TOTAL_BYTES sets another limit", b.limit)
	}
	return n, err
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
		Access: a.perms.access(access), Limits: a.sources.packageLimits(), Cache: a.sources.cache(),
		Attempts: a.sources.attempts, RetryDelay: time.Duration(a.sources.retryDelay),
		SSHAgent: a.sources.sshAgent || named, CredentialHelpers: a.sources.helpers || named,
	}
}

// fill gives a handler the sources that the operator allows.
func (a *app) fill(h *orchestration.TaskHandler) {
	git := a.git(repository.Access{}, false)
	oci := a.oci(git)
	if dir := a.sources.credentialsDir; dir != "" {
		h.Credentials = &repository.CredentialsDir{Dir: dir}
	}
	h.Repositories = orchestration.DeclaredRepositories{Git: git, OCI: oci, Credentials: h.Credentials}
	h.Upstream = upstreams(git, oci)
}

// oci is the client for registries, which may go as far as the one for git
// repositories.
func (a *app) oci(git *repository.Git) *repository.OCI {
	return &repository.OCI{
		Access: git.Access, Limits: git.Limits, Cache: git.Cache,
		Attempts: git.Attempts, RetryDelay: git.RetryDelay, DockerConfig: a.sources.dockerConfig,
	}
}

// upstreams are where packages come from.
func upstreams(git *repository.Git, oci *repository.OCI) upstream.Mux {
	return upstream.Mux{
		upstream.TypeGit: upstream.Git{Client: git},
		upstream.TypeOCI: upstream.OCI{Client: oci},
	}
}

// origins are where packages that a command is about come from.
func (a *app) origins() upstream.Mux {
	git := a.git(repository.Access{}, false)
	return upstreams(git, a.oci(git))
}
