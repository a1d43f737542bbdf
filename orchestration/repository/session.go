package repository

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/proxy"
)

// session is a visit to a git server: its list of refs and then, in the git and
// ssh protocols, at most one request. Of these the context that the session
// was made with ends all of it.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// errHungUp is a server that closed the connection in place of an answer.
var errHungUp = errors.New("the server hung up without an answer")

// stream is a session over one connection. A server that refuses says so and
// closes as soon as it knows, though there may be more of the request on its
// way: what it said counts, and not that it didn't listen to the end. go-git's
// own sessions give up at the first write that fails.
type stream struct {
	in      io.WriteCloser
	out     *bufio.Reader
	hangUp  func() error
	besides func() string // what an ssh server says elsewhere than in its answer; nil: there is no such place
	adv     *packp.AdvRefs
	asked   bool
}

func (s *stream) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	if s.adv != nil {
		return s.adv, nil
	}
	adv := packp.NewAdvRefs()
	err := adv.Decode(&boundedRefs{io.NopCloser(s.out), maxRefsBytes})
	switch {
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, s.silence()
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return nil, transport.ErrEmptyRemoteRepository
	case err == nil && adv.IsEmpty(): // what it can do is told even so
		s.adv = adv
		return adv, transport.ErrEmptyRemoteRepository
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	s.adv = adv
	return adv, nil
}

func (s *stream) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if _, err := s.AdvertisedReferencesContext(ctx); err != nil {
		return nil, err
	}
	var request bytes.Buffer
	if err := errors.Join(
		req.Validate(),
		req.UploadRequest.Encode(&request),
		req.UploadHaves.Encode(&request, true),
		pktline.NewEncoder(&request).EncodeString("done\n"),
	); err != nil {
		return nil, err
	}
	s.asked = true
	_, _ = s.in.Write(request.Bytes()) // where it fails, the answer or its lack says why
	_ = s.in.Close()                   // some ssh servers wait for it
	switch _, err := s.out.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil, s.silence()
	case err != nil: // reset, for what it didn't read of the request
		return nil, fmt.Errorf("%w: %w", errHungUp, err)
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(struct {
		io.Reader
		io.Closer
	}{s.out, s}); err != nil {
		return nil, err
	}
	return res, nil
}

// silence is the error of a server that ended without an answer.
func (s *stream) silence() error {
	if s.besides != nil {
		if text := s.besides(); text != "" {
			return &pktline.ErrorLine{Text: text}
		}
	}
	return errHungUp
}

// Close takes leave of a server that was asked for nothing: else it takes the
// end for a failure.
func (s *stream) Close() error {
	if s.adv != nil && !s.asked {
		s.asked = true
		_, _ = s.in.Write(pktline.FlushPkt)
	}
	return s.hangUp()
}

// dialGit begins a session with a service in the git protocol.
func dialGit(ctx context.Context, loc location, service string) (*stream, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(loc.host, loc.port))
	if err != nil {
		return nil, err
	}
	end := closeWith(ctx, conn)
	host := loc.host
	if loc.port != defaultPorts["git"] {
		host = net.JoinHostPort(loc.host, loc.port)
	}
	hello := packp.GitProtoRequest{RequestCommand: service, Pathname: loc.endpoint.Path, Host: host}
	_ = hello.Encode(conn) // where it fails, the answer or its lack says why
	return &stream{in: stayingOpen{conn}, out: bufio.NewReader(conn), hangUp: end}, nil
}

// stayingOpen is a connection's way to the server: closed, it would take the
// answer with it.
type stayingOpen struct{ io.Writer }

func (stayingOpen) Close() error { return nil }

// dialSSH begins a session with a service over ssh. As go-git's do, it goes by the proxy of
// $ALL_PROXY, and to the host and port that the user's ssh config has for
// the URL's.
func dialSSH(ctx context.Context, loc location, auth *sshAuth, service string) (_ *stream, err error) {
	config, err := auth.ClientConfig()
	if err != nil {
		return nil, err
	}
	address := sshAddress(loc)
	limited, cancel := context.WithTimeout(ctx, sshTimeout)
	defer cancel()
	conn, err := proxy.Dial(limited, "tcp", address)
	if err != nil {
		return nil, err
	}
	end := closeWith(ctx, conn)
	defer func() {
		if err != nil {
			_ = end()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(sshTimeout)); err != nil {
		return nil, err
	}
	under, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	remote, err := ssh.NewClient(under, channels, requests).NewSession()
	if err != nil {
		return nil, err
	}
	in, err := remote.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := remote.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr complaint
	remote.Stderr = &stderr
	if err := remote.Start(service + " " + shellQuote(loc.endpoint.Path)); err != nil {
		return nil, err
	}
	besides := func() string {
		_ = in.Close()
		waiting := time.AfterFunc(sshTimeout, func() { _ = end() })
		defer waiting.Stop()
		_ = remote.Wait() // for all of stderr; the status says no more
		return stderr.line()
	}
	return &stream{in: in, out: bufio.NewReader(out), hangUp: end, besides: besides}, nil
}

// closeWith closes conn when ctx is done or, by what it returns, before.
func closeWith(ctx context.Context, conn net.Conn) (end func() error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() error {
		stop()
		return conn.Close()
	}
}

func sshAddress(loc location) string {
	host, port := loc.host, loc.port
	if config := gitssh.DefaultSSHConfig; config != nil {
		if other := config.Get(host, "Hostname"); other != "" {
			if p := config.Get(host, "Port"); p != "" {
				port = p
			}
			host = other
		}
	}
	return net.JoinHostPort(host, port)
}

// shellQuote makes path one word for the shell that a server may give it to.
func shellQuote(path string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(path) + "'"
}

// complaint keeps the beginning of what a server writes to stderr.
type complaint struct{ text []byte }

func (c *complaint) Write(p []byte) (int, error) {
	const enough = 4 << 10
	c.text = append(c.text, p[:min(len(p), enough-len(c.text))]...)
	return len(p), nil
}

// line is the text in one line, without the frames that servers draw around it.
func (c *complaint) line() string {
	var lines []string
	for line := range strings.Lines(string(c.text)) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "remote:"))
		if strings.Trim(line, "= ") != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
