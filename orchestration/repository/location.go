package repository

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// maxLocation bounds the length of a repository's URL or path.
const maxLocation = 4096

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22", "git": "9418"}

// location is a repository's URL or path, taken apart.
type location struct {
	text string // as given, without credentials: what errors and locks show
	path string // of a local repository; "" when it is on the network

	scheme, host, port string               // network: lower case, port never empty
	endpoint           *transport.Endpoint  // network: without credentials
	auth               transport.AuthMethod // network: the URL's own credentials, nil for none
}

// scpLike is git's short form of an ssh URL. The user is required: without it
// there is no telling a host from a helper's name or a Windows drive.
var scpLike = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*)@([A-Za-z0-9][A-Za-z0-9.-]*):([^:\\-].*)$`)

// parseLocation understands https, http, ssh, git and file URLs, user@host:path
// and paths that begin with /, ./ or ../, and nothing else: git's helper
// schemes (ext::) run commands.
func parseLocation(s string) (location, error) {
	bad := func(why string) (location, error) {
		return location{}, fmt.Errorf("repository %q: %s", api.WithoutCredentials(s), why)
	}
	switch {
	case s == "":
		return location{}, fmt.Errorf("the repository is empty: write its URL, or its path beginning with ./ or /")
	case len(s) > maxLocation:
		return location{}, fmt.Errorf("the repository's URL has %d characters, more than %d", len(s), maxLocation)
	case strings.ContainsFunc(s, unicode.IsControl):
		return bad("has a control character")
	case strings.TrimSpace(s) != s:
		return bad("has spaces around it")
	case strings.HasPrefix(s, "-"):
		return bad("begins with -, like an option")
	case isLocalPath(s):
		return location{text: s, path: s}, nil
	}
	if m := scpLike.FindStringSubmatch(s); m != nil && !strings.Contains(s, "://") {
		host := strings.ToLower(m[2])
		return location{
			text: s, scheme: "ssh", host: host, port: "22",
			endpoint: &transport.Endpoint{Protocol: "ssh", User: m[1], Host: host, Port: 22, Path: m[3]},
		}, nil
	}

	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(s, "://") && strings.Contains(s, "@"):
		return bad("is no repository, for its URL can't be read: in a password write %23 for #, %3F for ?, %2F for /, %40 for @ and %25 for %")
	case err != nil || !strings.Contains(s, "://"):
		return bad("is no repository: write https://HOST/PATH, http://, ssh://, git://, git@HOST:PATH, file:///PATH, or a path beginning with / or ./")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return bad("has a query or fragment, which repositories' URLs don't")
	case strings.ContainsFunc(u.Path, unicode.IsControl):
		return bad("has an encoded control character")
	}
	if u.Scheme == "file" {
		if u.Host != "" && u.Host != "localhost" {
			return bad("names a host: write file:///PATH")
		}
		if !filepath.IsAbs(u.Path) {
			return bad("has no absolute path: write file:///PATH")
		}
		return location{text: api.WithoutCredentials(s), path: u.Path}, nil
	}
	port, known := defaultPorts[u.Scheme]
	if !known {
		return bad("has the scheme " + strconv.Quote(u.Scheme) + ": https, http, ssh, git and file are understood")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "" || strings.HasPrefix(host, "-") {
		return bad("names no host")
	}
	if strings.Trim(u.Path, "/") == "" {
		return bad("names no repository on the host")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return bad("has a port that is none")
	}
	loc := location{text: api.WithoutCredentials(s), scheme: u.Scheme, host: host, port: port}
	loc.endpoint = &transport.Endpoint{Protocol: u.Scheme, Host: host, Port: int(number), Path: u.Path}
	password, hasPassword := u.User.Password()
	switch u.Scheme {
	case "https", "http":
		// These put the endpoint together again, the others dial its host.
		loc.endpoint.Path = u.EscapedPath()
		if strings.Contains(host, ":") {
			loc.endpoint.Host = "[" + host + "]"
		}
		if u.User != nil {
			loc.auth = &githttp.BasicAuth{Username: u.User.Username(), Password: password}
		}
	case "ssh":
		if hasPassword {
			return bad("has a password: ssh repositories are read with the keys of the ssh-agent")
		}
		loc.endpoint.User = u.User.Username()
	case "git":
		if u.User != nil {
			return bad("has a user: the git protocol knows none")
		}
	}
	return loc, nil
}

func isLocalPath(s string) bool {
	return filepath.IsAbs(s) || s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")
}
