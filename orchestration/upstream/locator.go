package upstream

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// knownHosts are those whose repositories are the first two segments of a URL's
// path, so that no .git is needed to tell where the directory begins.
var knownHosts = map[string]bool{"github.com": true, "gitlab.com": true, "bitbucket.org": true}

// maxLocator bounds a locator's length, and with it how often the disk is asked
// whether a part of it is a repository.
const maxLocator = 8192

// ParseLocator takes a git locator of the command line apart,
// REPO[.git][/DIRECTORY][@REF]. The repository ends at .git, or after two
// segments of a well-known host's URL; of a local path it is the longest part
// that is a repository on disk. Where neither tells, the error asks for .git.
// dir is "/" for the root. ref is "" without @REF, which means the
// repository's default branch; the @ of git@host is no ref's.
func ParseLocator(s string) (repo, dir, ref string, err error) {
	if s == "" {
		return "", "", "", errors.New("the package's location is empty: write REPO[/DIRECTORY]@REF")
	}
	if len(s) > maxLocator {
		return "", "", "", fmt.Errorf("the package's location has %d characters, more than %d", len(s), maxLocator)
	}
	prefix, host, rest := splitHost(s)
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if rest, ref = rest[:at], rest[at+1:]; ref == "" {
			return "", "", "", fmt.Errorf("%q: nothing follows the @: write a tag, branch or commit, or leave the @ out", api.WithoutCredentials(s))
		}
	}
	var at int // where the repository ends in rest
	switch end := gitSuffix(rest); {
	case host == "":
		at = longestRepository(rest)
		if at < 0 {
			at = end
		}
		if at < 0 {
			return "", "", "", fmt.Errorf("%q: no git repository there: REPO is an https, ssh or file URL, git@HOST:PATH, or a path beginning with / or ./", api.WithoutCredentials(s))
		}
	case end >= 0:
		at = end
	default:
		if at, err = hostedRepository(host, rest); err != nil {
			return "", "", "", fmt.Errorf("%q: %w", api.WithoutCredentials(s), err)
		}
	}
	dir = strings.TrimPrefix(path.Clean("/"+rest[at:]), "/")
	if strings.Contains(rest[at:]+"/", "/../") {
		return "", "", "", fmt.Errorf("%q: the directory leads out of the repository (..)", api.WithoutCredentials(s))
	}
	if dir == "" {
		dir = "/"
	}
	return prefix + rest[:at], dir, ref, nil
}

// splitHost takes off what comes before the path: the scheme and host of a URL,
// git@host: of git's short form. host is "" when the path is a local one.
func splitHost(s string) (prefix, host, rest string) {
	if before, after := api.SplitCredentials(s); before != "" {
		end := strings.IndexByte(after, '/')
		if end < 0 {
			end = len(after)
		}
		host = after[:end]
		if scheme, _, _ := strings.Cut(before, "://"); strings.EqualFold(scheme, "file") {
			host = ""
		} else if host == "" {
			host = "?" // no host, yet not local: the repository's own check says so
		}
		end += len(before)
		return s[:end], strings.ToLower(host), s[end:]
	}
	local := path.IsAbs(s) || strings.HasPrefix(s, ".")
	if user, after, ok := strings.Cut(s, "@"); ok && !local && !strings.ContainsAny(user, "/:") {
		if host, _, ok := strings.Cut(after, ":"); ok && !strings.Contains(host, "/") {
			end := len(user) + len("@") + len(host) + len(":")
			return s[:end], strings.ToLower(host), s[end:]
		}
	}
	return "", "", s
}

// gitSuffix returns where the first segment that ends in .git ends, or -1.
func gitSuffix(p string) int {
	for from := 0; ; {
		i := strings.Index(p[from:], ".git")
		if i < 0 {
			return -1
		}
		begin, end := from+i, from+i+len(".git")
		if begin > 0 && p[begin-1] != '/' && (end == len(p) || p[end] == '/') {
			return end
		}
		from = end
	}
}

// hostedRepository returns where the repository ends in the path of a URL
// without .git.
func hostedRepository(host, p string) (int, error) {
	segments := strings.Split(strings.Trim(p, "/"), "/")
	lead := len(p) - len(strings.TrimLeft(p, "/"))
	switch {
	case segments[0] == "":
		return 0, errors.New("it names no repository")
	case len(segments) == 1 && !knownHosts[host]:
		return lead + len(segments[0]), nil
	case len(segments) < 2:
		return 0, fmt.Errorf("a repository on %s is OWNER/NAME", host)
	case knownHosts[host]:
		return lead + len(segments[0]) + len("/") + len(segments[1]), nil
	}
	return 0, errors.New("where the repository ends is not clear: write .git after its name, as in REPO.git/DIRECTORY@REF")
}

// longestRepository returns where the longest part of a path ends that is a git
// repository on disk, or -1.
func longestRepository(p string) int {
	for end := len(strings.TrimRight(p, "/")); end > 0; {
		if repository.IsRepository(filepath.FromSlash(p[:end])) {
			return end
		}
		end = strings.LastIndexByte(p[:end], '/')
	}
	return -1
}
