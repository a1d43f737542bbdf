package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
)

// maxSecret bounds the values of one secret; Kubernetes takes no more.
const maxSecret = 1 << 20

// subdomain is what Kubernetes takes for an object's name. It holds no slash and
// no dots in a row, so it can't lead anywhere.
var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// CredentialsDir finds credentials in a directory of secrets as Kubernetes
// mounts them: DIR/NAMESPACE/NAME, else DIR/NAME, is a directory with a file for
// each key of the secret, see [FromSecret]. A mount doesn't tell a secret's
// type, except that of Porch's workload identity: a file type which says
// kpt.dev/workload-identity-auth. For a secret without ca.crt the one of
// NAMESPACE-ca-bundle is taken, as in Porch.
//
// A secret is sent to the host that the package asking for it names, so
// [Access] is what keeps secrets from hosts they aren't meant for.
//
// It may be used concurrently. Secrets are read anew each time, as they may
// rotate; Google's tokens are kept until shortly before they expire.
type CredentialsDir struct {
	// Dir is the directory. Symlinks in it may lead about inside it, as in a
	// mount, and never out of it.
	Dir string
	// MetadataURL is where Google's metadata server is; "" means
	// http://metadata.google.internal.
	MetadataURL string

	mu     sync.Mutex
	google googleToken
}

// Credential returns the secret of that name. The error says where it was looked
// for and never what was found; it wraps [ErrNotFound] when there is no such
// secret.
func (d *CredentialsDir) Credential(ctx context.Context, namespace, secret string) (*Credential, error) {
	if d.Dir == "" {
		return nil, errors.New("no credentials are allowed; allow them with --credentials-dir=DIR or STOOP_CREDENTIALS_DIR=DIR")
	}
	for _, name := range []string{namespace, secret} {
		if len(name) > 253 || name != "" && !subdomain.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of a secret or namespace in Kubernetes", shorten(name))
		}
	}
	if secret == "" {
		return nil, errors.New("the name of the secret is empty")
	}
	root, err := os.OpenRoot(d.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the credentials directory: %w", err)
	}
	defer root.Close()
	cred, err := readSecret(root, namespace, secret)
	if err != nil {
		return nil, err
	}
	if cred.get().ca == "" && namespace != "" {
		bundle, err := readSecret(root, namespace, namespace+"-ca-bundle")
		switch {
		case err == nil:
			cred = cred.with(func(h *held) { h.ca = bundle.get().ca })
		case !errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("%s-ca-bundle: %w", namespace, err)
		}
	}
	if cred.get().google {
		token, err := d.googleToken(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking Google's metadata server for a token: %w", err)
		}
		// The name that Google's git servers and registries expect.
		cred = cred.with(func(h *held) { h.basic, h.username, h.password = true, "oauth2accesstoken", token })
	}
	return cred, nil
}

// readSecret reads the first of the places where a secret may be.
func readSecret(root *os.Root, namespace, secret string) (*Credential, error) {
	places := []string{secret}
	if namespace != "" {
		places = []string{path.Join(namespace, secret), secret}
	}
	for _, dir := range places {
		info, err := root.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("reading %s in the credentials directory: %w", dir, pathError(err))
		case !info.IsDir():
			return nil, fmt.Errorf("%s in the credentials directory is a file: a secret is a directory with a file for each of its keys", dir)
		}
		data := map[string][]byte{}
		for _, key := range secretKeys {
			value, err := readSecretFile(root, path.Join(dir, key))
			switch {
			case err == nil:
				data[key] = value
			case !errors.Is(err, fs.ErrNotExist):
				return nil, fmt.Errorf("reading %s/%s in the credentials directory: %w", dir, key, pathError(err))
			}
		}
		cred, err := FromSecret(data)
		if errors.Is(err, errNoKeys) && dir != places[len(places)-1] {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s in the credentials directory: %w", dir, err)
		}
		return cred, nil
	}
	return nil, fmt.Errorf("%w in the credentials directory: looked for the directory %s", ErrNotFound, strings.Join(places, ", then "))
}

// readSecretFile reads a regular file: anything else could keep the reader
// waiting.
func readSecretFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	return content, checkSize(int64(len(content)), maxSecret)
}

// pathError takes off the path, which the message around it says better.
func pathError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// shorten keeps what a hostile name adds to a message within bounds.
func shorten(s string) string {
	const enough = 80
	return s[:min(len(s), enough)]
}
