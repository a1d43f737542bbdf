package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// authenticator says who asks for an image.
func (o *OCI) authenticator(ctx context.Context, ref name.Reference, cred *Credential) (authn.Authenticator, error) {
	switch h := cred.get(); {
	case h.docker != "":
		return dockerAuth(h.docker, ref.Context())
	case h.token != "":
		return &authn.Bearer{Token: h.token}, nil
	case h.basic:
		return &authn.Basic{Username: h.username, Password: h.password}, nil
	case cred != nil && h.ca == "":
		return nil, fmt.Errorf("the secret has no %s, no %s and %s, and no %s, one of which a registry needs", keyDocker, keyUsername, keyPassword, keyBearer)
	case !o.DockerConfig:
		return authn.Anonymous, nil
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil { // its text may be a helper's, and say anything
		return nil, errors.New("docker's own credentials for it can't be read: see whether docker can pull it")
	}
	return auth, nil
}

// dockerAuth finds the entry of a docker config for a repository: of those for
// its registry the one with the longest path. Helpers that a config names are
// not run.
func dockerAuth(config string, repo name.Repository) (authn.Authenticator, error) {
	var parsed struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	// What json says of a value it can't take could be part of a password.
	if json.Unmarshal([]byte(config), &parsed) != nil {
		return nil, fmt.Errorf("%s is malformed", keyDocker)
	}
	best, found := "", false
	var auth authn.AuthConfig
	for place, a := range parsed.Auths {
		host, path := dockerPlace(place)
		if host != repo.RegistryStr() || path != "" && path != repo.RepositoryStr() && !strings.HasPrefix(repo.RepositoryStr(), path+"/") {
			continue
		}
		// Of two spellings of one place the same is taken every time.
		if !found || len(path) > len(best) || len(path) == len(best) && cmp.Compare(a.Username, auth.Username) < 0 {
			best, found, auth = path, true, a
		}
	}
	if !found {
		return nil, fmt.Errorf("%s has no entry for %s", keyDocker, repo.RegistryStr())
	}
	return authn.FromConfig(auth), nil
}

// dockerPlace takes a key of a docker config apart, which was a URL once.
func dockerPlace(key string) (host, path string) {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	return host, path
}
