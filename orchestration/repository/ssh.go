package repository

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

const (
	sshTimeout = 30 * time.Second // to connect
	sshUser    = "git"            // where neither the URL nor the secret names one
)

// sshAuth logs in to an ssh server with one key, or with those of the agent.
// Keys of servers that aren't in known_hosts are refused.
type sshAuth struct {
	user       string
	key        ssh.Signer // nil: the agent's
	knownHosts string     // lines; "" means the user's own file
	address    string     // host:port
}

// newSSHAuth says how to log in with a credential; nil stands for the agent.
func newSSHAuth(loc location, cred *Credential) (*sshAuth, error) {
	h := cred.get()
	a := &sshAuth{
		user:       cmp.Or(loc.endpoint.User, h.username, sshUser),
		knownHosts: h.knownHosts,
		address:    net.JoinHostPort(loc.host, loc.port),
	}
	if cred == nil {
		return a, nil
	}
	if h.sshKey == "" {
		return nil, fmt.Errorf("the secret has no %s, which an ssh repository needs", keySSH)
	}
	key, err := ssh.ParsePrivateKey([]byte(h.sshKey))
	var passphrase *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &passphrase):
		return nil, fmt.Errorf("%s is locked with a passphrase, and nobody is asked for it: store the key without one", keySSH)
	case err != nil: // its text could quote the key
		return nil, fmt.Errorf("%s is no private key in PEM form", keySSH)
	}
	a.key = key
	return a, nil
}

// Name implements transport.AuthMethod.
func (a *sshAuth) Name() string { return gitssh.PublicKeysName }

// String implements transport.AuthMethod.
func (a *sshAuth) String() string { return a.user }

// ClientConfig implements go-git's ssh.AuthMethod.
func (a *sshAuth) ClientConfig() (*ssh.ClientConfig, error) {
	config := &ssh.ClientConfig{User: a.user, Timeout: sshTimeout}
	if a.key != nil {
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(a.key)}
	} else {
		agent, err := gitssh.NewSSHAgentAuth(a.user)
		if err != nil {
			return nil, errors.New("there is no ssh-agent to ask for keys (SSH_AUTH_SOCK)")
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(agent.Callback)}
	}
	var files []string // none: the user's own
	if a.knownHosts != "" {
		// They can only be read from a file. It holds nothing secret.
		f, err := os.CreateTemp("", "stoop-known-hosts-*")
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", keyKnownHosts, err)
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(a.knownHosts)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", keyKnownHosts, err)
		}
		files = []string{f.Name()}
	}
	hosts, err := gitssh.NewKnownHostsDb(files...)
	switch {
	case err != nil && a.knownHosts != "":
		return nil, fmt.Errorf("%s is malformed", keyKnownHosts)
	case err != nil:
		return nil, fmt.Errorf("there is no known_hosts file to know the server by: add %s to the secret", keyKnownHosts)
	}
	config.HostKeyCallback = hosts.HostKeyCallback()
	config.HostKeyAlgorithms = hosts.HostKeyAlgorithms(a.address)
	return config, nil
}

// explainSSH turns what the ssh library says into one short line.
func explainSSH(err error) error {
	var key *knownhosts.KeyError
	switch {
	case errors.As(err, &key) && len(key.Want) == 0:
		return errors.New("ssh: the server's key is not in known_hosts")
	case errors.As(err, &key):
		return errors.New("ssh: the server's key is another than the one in known_hosts")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return errors.New("ssh: the server refused the keys")
	case strings.HasPrefix(err.Error(), "ssh: "):
		return err
	}
	return fmt.Errorf("ssh: %w", err)
}
