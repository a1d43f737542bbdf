package repositorytest

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Key returns an ssh private key, PEM, that is the same for the same seed.
func Key(seed byte) (private []byte, public ssh.PublicKey) {
	raw := make([]byte, ed25519.SeedSize)
	raw[0] = seed
	key := ed25519.NewKeyFromSeed(raw)
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		panic(err) // of an ed25519 key it can't fail
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(block), signer.PublicKey()
}

// ServeSSH serves the repository with an ssh server in this process, to the
// user git and the holder of one key. It returns the repository's URL and the
// line of known_hosts that the server is to be known by.
func (r *Repo) ServeSSH(authorized ssh.PublicKey, config []string) (url, knownHosts string) {
	r.t.Helper()
	private, public := Key(0)
	host, err := ssh.ParsePrivateKey(private)
	require.NoError(r.t, err)
	server := &ssh.ServerConfig{PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if conn.User() == "git" && string(key.Marshal()) == string(authorized.Marshal()) {
			return nil, nil
		}
		return nil, fmt.Errorf("not authorized")
	}}
	server.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serveSSH(conn, server, config)
		}
	}()
	address := listener.Addr().String()
	return "ssh://git@" + address + "/" + filepath.Base(r.Dir), knownhosts.Line([]string{knownhosts.Normalize(address)}, public) + "\n"
}

func (r *Repo) serveSSH(conn net.Conn, server *ssh.ServerConfig, config []string) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, server)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for req := range requests {
				var command struct{ Text string }
				ok := req.Type == "exec" && ssh.Unmarshal(req.Payload, &command) == nil
				name, isUpload := strings.CutPrefix(command.Text, "git-upload-pack '/")
				name, isQuoted := strings.CutSuffix(name, "'")
				ok = ok && isUpload && isQuoted && filepath.IsLocal(name)
				_ = req.Reply(ok, nil)
				if !ok {
					continue
				}
				git := exec.Command("git", "upload-pack", filepath.Join(filepath.Dir(r.Dir), name))
				git.Env = append(append(os.Environ(), fixedEnv()...), configEnv(config)...)
				git.Stdout, git.Stderr = channel, channel.Stderr()
				// A pipe, as with a reader Run waits for a client that has no
				// more to say.
				status := struct{ Code uint32 }{1}
				if in, err := git.StdinPipe(); err == nil {
					go func() {
						_, _ = io.Copy(in, channel)
						_ = in.Close()
					}()
					if git.Run() == nil {
						status.Code = 0
					}
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
				return
			}
		}()
	}
}
