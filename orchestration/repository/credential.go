package repository

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode"
)

// Credential is what a secret holds for a git server or a registry; make one
// with [FromSecret] or [CredentialsDir]. Nothing prints what it holds: not fmt
// with any verb, slog or an encoder, and it is never part of an error, a lock, a
// cache or anything else that is written. It is immutable; the zero Credential
// holds nothing.
type Credential struct {
	// A func, as fmt finds its way through pointers when a verb doesn't fit,
	// and past methods when a struct that isn't exported has a Credential.
	held func() held
}

// held is the content of a Credential.
type held struct {
	username, password string // basic authentication; also what a token server gave
	basic              bool   // that there are username and password
	token              string // bearer
	sshKey             string // PEM
	knownHosts         string // lines of a known_hosts file; "" means the user's own
	ca                 string // PEM certificates, trusted beside the system's
	docker             string // a docker config, JSON
	google             bool   // the token is the metadata server's to give
}

// The keys of a secret that are understood, as Kubernetes and Porch name them.
const (
	keyUsername   = "username"
	keyPassword   = "password"
	keyBearer     = "bearerToken"
	keyToken      = "token"
	keySSH        = "ssh-privatekey"
	keyKnownHosts = "known_hosts"
	keyCA         = "ca.crt"
	keyDocker     = ".dockerconfigjson"
	keyType       = "type"
)

var secretKeys = []string{keyUsername, keyPassword, keyBearer, keyToken, keySSH, keyKnownHosts, keyCA, keyDocker, keyType}

// workloadIdentity is the type of a secret that holds nothing itself: Porch's
// way to say that the process's own Google identity is to be used.
const workloadIdentity = "kpt.dev/workload-identity-auth"

// FromSecret makes a Credential of the data of a Kubernetes secret, by its keys:
//
//   - username and password: basic authentication
//   - bearerToken or token: a bearer token
//   - ssh-privatekey, with known_hosts or else the user's own: ssh
//   - ca.crt: certificates to trust beside the system's; alone or with others
//   - .dockerconfigjson: a docker config; of it the auths are used, no helpers
//
// Other keys don't matter, and neither do line ends at the end of a value. What
// can't be used together, or not at all, is an error that names the keys.
func FromSecret(data map[string][]byte) (*Credential, error) {
	value := func(key string) string {
		if key == keySSH || key == keyKnownHosts || key == keyCA || key == keyDocker {
			return string(data[key])
		}
		return strings.TrimRight(string(data[key]), "\r\n")
	}
	h := held{
		username: value(keyUsername), password: value(keyPassword), token: value(keyBearer),
		sshKey: value(keySSH), knownHosts: value(keyKnownHosts), ca: value(keyCA), docker: value(keyDocker),
		google: value(keyType) == workloadIdentity,
	}
	if h.token == "" {
		h.token = value(keyToken)
	}
	// ssh-auth secrets may name the user that logs in.
	h.basic = h.password != "" || h.username != "" && h.sshKey == ""
	for _, key := range []string{keyUsername, keyPassword, keyBearer, keyToken} {
		if strings.ContainsFunc(value(key), unicode.IsControl) {
			return nil, fmt.Errorf("%s has a control character", key)
		}
	}
	var ways []string
	for _, w := range []struct {
		name string
		has  bool
	}{
		{keyUsername + " and " + keyPassword, h.basic}, {keyBearer, h.token != ""}, {keyType + " " + workloadIdentity, h.google},
	} {
		if w.has {
			ways = append(ways, w.name)
		}
	}
	switch {
	case len(ways) > 1:
		return nil, fmt.Errorf("it has %s: keep one of them", strings.Join(ways, " and "))
	case h.basic && h.password == "":
		return nil, fmt.Errorf("it has no %s", keyPassword)
	case strings.Contains(h.username, ":"):
		return nil, fmt.Errorf("%s has a colon, which basic authentication can't transmit", keyUsername)
	case len(ways) == 0 && h.sshKey == "" && h.docker == "" && h.ca == "":
		return nil, fmt.Errorf("%w: it has none of %s", errNoKeys, strings.Join(slices.DeleteFunc(slices.Clone(secretKeys), func(k string) bool {
			return k == keyType || k == keyKnownHosts
		}), ", "))
	}
	return newCredential(h), nil
}

func newCredential(h held) *Credential { return &Credential{func() held { return h }} }

// errNoKeys is what a secret is without any key that is understood.
var errNoKeys = errors.New("nothing to authenticate with")

// get is what the credential holds; nothing for nil.
func (c *Credential) get() held {
	if c == nil || c.held == nil {
		return held{}
	}
	return c.held()
}

// with is the credential with one thing changed.
func (c *Credential) with(change func(*held)) *Credential {
	h := c.get()
	change(&h)
	return newCredential(h)
}

// digest tells credentials apart; the same content has the same.
func (c *Credential) digest() [sha256.Size]byte {
	h := c.get()
	return sha256.Sum256(fmt.Appendf(nil, "%q", []string{
		h.username, h.password, h.token, h.sshKey, h.knownHosts, h.ca, h.docker, fmt.Sprint(h.basic, h.google),
	}))
}

const redacted = "REDACTED"

// String is the word REDACTED.
func (c Credential) String() string { return redacted }

// GoString is the word REDACTED.
func (c Credential) GoString() string { return redacted }

// Format writes the word REDACTED, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is the word REDACTED.
func (c Credential) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is the word REDACTED.
func (c Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }
