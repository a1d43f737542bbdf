package repository

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// Access is what the operator of the process permits: which repositories may be
// read at all. Objects in a package can name a repository, only process flags
// and environment can make an Access. The zero Access permits nothing.
type Access struct {
	// Network are the hosts that may be contacted: a host name or address
	// (github.com), any host below a domain (*.example.com), or any host (*);
	// a port after it (localhost:8080) permits that port only. Redirects to
	// other hosts are refused. Empty permits no network.
	Network []string
	// FileRepos are the directories whose repositories may be read, themselves
	// and everything below, symlinks resolved first. Relative ones are below
	// the working directory. Empty permits no local repository.
	FileRepos []string
}

// Check says whether repo may be read; the error names the repository without
// its credentials, and the flag and environment variable that would permit it.
// A repo that is no repository's URL or path is an error too.
func (a Access) Check(repo string) error {
	loc, err := parseLocation(repo)
	if err != nil {
		return err
	}
	_, err = a.permit(loc)
	return err
}

// CheckImage is Check for an image of a registry.
func (a Access) CheckImage(image string) error {
	_, loc, err := parseImage(image)
	if err != nil {
		return err
	}
	return a.permitHost(loc)
}

// permit returns the real path of a local repository, "" for one on the
// network.
func (a Access) permit(loc location) (string, error) {
	if loc.path == "" {
		return "", a.permitHost(loc)
	}
	real, ok := a.permitDir(loc.path)
	if !ok {
		return "", &deniedError{fmt.Sprintf("repository %s: reading local repositories there is not allowed; allow it with %s",
			loc.text, allowFlag("file-repos", absolute(loc.path)))}
	}
	return real, nil
}

func (a Access) permitHost(loc location) error {
	if slices.ContainsFunc(a.Network, func(p string) bool { return matchHost(p, loc.host, loc.port) }) {
		return nil
	}
	host := loc.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return &deniedError{fmt.Sprintf("repository %s: network access to %s is not allowed; allow it with %s",
		loc.text, host, allowFlag("network", host))}
}

// permitDir returns dir with symlinks resolved, and whether that is inside a
// permitted directory.
func (a Access) permitDir(dir string) (real string, ok bool) {
	real = resolveSymlinks(absolute(dir))
	for _, allowed := range a.FileRepos {
		if allowed == "" {
			continue
		}
		rel, err := filepath.Rel(resolveSymlinks(absolute(allowed)), real)
		if err == nil && filepath.IsLocal(rel) {
			return real, true
		}
	}
	return real, false
}

// deniedError is a refused host or directory: it never becomes true by trying again.
type deniedError struct{ text string }

func (e *deniedError) Error() string { return e.text }

// IsDenied says whether err is that the operator doesn't permit a repository.
func IsDenied(err error) bool {
	var denied *deniedError
	return errors.As(err, &denied)
}

func allowFlag(name, value string) string {
	env := "STOOP_ALLOW_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	return fmt.Sprintf("--allow-%s=%s or %s=%s", name, value, env, value)
}

func matchHost(pattern, host, port string) bool {
	pattern = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(pattern)), ".")
	if pattern == "*" {
		return true
	}
	if h, p, err := net.SplitHostPort(pattern); err == nil {
		if p != port {
			return false
		}
		pattern = h
	}
	pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "["), "]")
	if domain, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasPrefix(domain, ".") && strings.HasSuffix(host, domain)
	}
	return pattern != "" && pattern == host
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// resolveSymlinks resolves the part of path that exists: whether the rest
// exists must not be told about places that aren't permitted.
func resolveSymlinks(path string) string {
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// AccessTo is the Access that permits one repository: the leave that a person
// gives by naming it on the command line. Of a network repository it permits
// the host.
func AccessTo(repo string) (Access, error) {
	loc, err := parseLocation(repo)
	if err != nil {
		return Access{}, err
	}
	if loc.path != "" {
		return Access{FileRepos: []string{loc.path}}, nil
	}
	return Access{Network: []string{loc.host}}, nil
}
