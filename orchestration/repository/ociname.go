package repository

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// parseImage understands references that say everything: what a missing
// registry or tag would stand for is a docker convention.
func parseImage(s string) (name.Reference, location, error) {
	bad := func(why string) (name.Reference, location, error) {
		return nil, location{}, fmt.Errorf("image %q %s: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST", shorten(api.WithoutCredentials(s)), why)
	}
	switch {
	case s == "":
		return nil, location{}, errors.New("the image is empty: write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST")
	case len(s) > maxLocation:
		return nil, location{}, fmt.Errorf("the image's reference has %d characters, more than %d", len(s), maxLocation)
	case strings.ContainsFunc(s, unicode.IsControl):
		return bad("has a control character")
	case strings.Contains(s, "://"):
		return bad("is a URL")
	}
	ref, err := name.ParseReference(s, name.StrictValidation)
	if err != nil {
		return bad("is no full reference") // the library's text repeats s, and with it what may be a password
	}
	registry := ref.Context().Registry
	loc := location{text: s, scheme: registry.Scheme()}
	host, port, err := net.SplitHostPort(registry.RegistryStr())
	if err != nil {
		host, port = registry.RegistryStr(), defaultPorts[loc.scheme]
	}
	loc.host, loc.port = strings.TrimSuffix(strings.ToLower(host), "."), port
	if !ociName.MatchString(ref.Context().RepositoryStr()) {
		return bad("has a name that registries don't take")
	}
	if digest, ok := ref.(name.Digest); ok && !isSHA256(digest.DigestStr()) {
		return bad("has a digest that isn't sha256")
	}
	return ref, loc, nil
}

// ociName is the distribution specification's grammar of a repository's name. It
// keeps . and .. out of the URLs that are made of it.
var ociName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

func isSHA256(digest string) bool {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(sum) == 2*sha256.Size && isHex(sum)
}
