package repository

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitgit "github.com/go-git/go-git/v5/plumbing/transport/git"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// maxRefsBytes bounds the list of refs that an http server sends: a million of
// them.
const maxRefsBytes = 64 << 20

// network reads a repository from a git server, into memory. Where the server
// can, it gets a commit's directories first and then only the files of the
// package; else the commit with all of its files.
type network struct {
	memory
	loc      location
	client   transport.Transport
	limits   Limits
	attempts int

	// http is the session that listed the refs: it knows where a redirect
	// led. The other protocols take a new session for every request.
	http transport.UploadPackSession
	tips map[plumbing.Hash]bool // what refs point to
	caps *capability.List
}

func newNetwork(loc location, access Access, limits Limits, attempts int) *network {
	n := &network{memory: memory{}, loc: loc, limits: limits, attempts: attempts}
	switch loc.scheme {
	case "ssh":
		n.client = gitssh.DefaultClient
	case "git":
		n.client = gitgit.DefaultClient
	default:
		n.client = githttp.NewClient(&http.Client{Transport: &httpGuard{loc, access, http.DefaultTransport}})
	}
	if n.attempts <= 0 {
		n.attempts = 3
	}
	return n
}

func (n *network) refs(ctx context.Context) (refs, error) {
	var adv *packp.AdvRefs
	err := n.retry(ctx, func() error {
		session, err := n.newSession(ctx)
		if err != nil {
			return err
		}
		if adv, err = session.AdvertisedReferencesContext(ctx); err != nil {
			session.Close()
			return err
		}
		if n.loc.scheme == "http" || n.loc.scheme == "https" {
			n.http = session
			return nil
		}
		session.Close() // with the list in hand nothing is lost
		return nil
	})
	if err != nil {
		return refs{}, err
	}
	n.caps = adv.Capabilities
	n.tips = make(map[plumbing.Hash]bool, len(adv.References))
	list := refs{hashes: make(map[string]plumbing.Hash, len(adv.References)+1)}
	for name, h := range adv.References {
		list.hashes[name] = h
		n.tips[h] = true
	}
	if adv.Head != nil {
		list.hashes["HEAD"] = *adv.Head
		n.tips[*adv.Head] = true
		for _, s := range adv.Capabilities.Get(capability.SymRef) {
			if branch, ok := strings.CutPrefix(s, "HEAD:refs/heads/"); ok {
				list.head = branch
			}
		}
	}
	return list, nil
}

func (n *network) trees(ctx context.Context, want plumbing.Hash) error {
	if _, ok := n.memory[want]; ok {
		return nil
	}
	anyCommit := n.caps.Supports(capability.AllowReachableSHA1InWant) || n.caps.Supports(capability.AllowTipSHA1InWant)
	if n.tips[want] || anyCommit {
		err := n.upload(ctx, request{want: []plumbing.Hash{want}, shallow: true, noBlobs: n.canFilter()})
		if err == nil || n.tips[want] || !isRefusal(err) {
			return err
		}
	}
	// The commit is somewhere in the history of a branch or tag, or nowhere.
	all := request{noBlobs: n.canFilter()}
	for h := range n.tips {
		all.want = append(all.want, h)
	}
	if err := n.upload(ctx, all); err != nil {
		return err
	}
	_, err := n.size(want)
	return err
}

// canFilter says whether the server can leave files out, and sends single ones
// later.
func (n *network) canFilter() bool {
	return n.caps.Supports(capability.Filter) && n.caps.Supports(capability.AllowReachableSHA1InWant)
}

func (n *network) blobs(ctx context.Context, commit plumbing.Hash, want []plumbing.Hash) error {
	want = slices.DeleteFunc(want, func(h plumbing.Hash) bool { _, ok := n.memory[h]; return ok })
	if len(want) == 0 {
		return nil
	}
	err := n.upload(ctx, request{want: want, files: true})
	if err == nil || !isRefusal(err) {
		return err
	}
	// Some servers filter and still don't send files by their hash.
	return n.upload(ctx, request{want: []plumbing.Hash{commit}, shallow: true})
}

// expand: a server tells nothing of hashes it hasn't been asked for in full.
func (n *network) expand(string) (plumbing.Hash, error) { return plumbing.ZeroHash, ErrNotFound }

func (n *network) close() {}

// request is what to ask a server for.
type request struct {
	want    []plumbing.Hash
	shallow bool // commits without their history
	noBlobs bool // directories without their files
	files   bool // want are files of a package: none may exceed its limit
}

// upload gets objects into memory.
func (n *network) upload(ctx context.Context, r request) error {
	return n.retry(ctx, func() error {
		got, err := n.uploadOnce(ctx, r)
		for h, o := range got {
			n.memory[h] = o
		}
		return err
	})
}

func (n *network) uploadOnce(ctx context.Context, r request) (memory, error) {
	req := packp.NewUploadPackRequestFromCapabilities(n.caps)
	req.Wants = r.want
	// Set fails for capabilities that take arguments; none of these does.
	if n.caps.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	if r.shallow && n.caps.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		_ = req.Capabilities.Set(capability.Shallow)
	}
	if r.noBlobs {
		req.Filter = packp.FilterBlobNone()
		_ = req.Capabilities.Set(capability.Filter)
	}
	session := n.http
	if session == nil {
		var err error
		if session, err = n.newSession(ctx); err != nil {
			return nil, err
		}
		defer session.Close()
	}
	res, err := session.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	biggest := n.limits.FetchBytes
	if r.files {
		biggest = n.limits.FileBytes
	}
	return readPack(pack, biggest, n.limits.FetchBytes)
}

// newSession gives up on a server that doesn't answer when ctx does: go-git
// connects without one.
func (n *network) newSession(ctx context.Context) (transport.UploadPackSession, error) {
	type result struct {
		session transport.UploadPackSession
		err     error
	}
	done := make(chan result, 1)
	go func() {
		endpoint := *n.loc.endpoint // redirects change it
		session, err := n.client.NewUploadPackSession(&endpoint, n.loc.auth)
		done <- result{session, err}
	}()
	select {
	case r := <-done:
		return r.session, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.session.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (n *network) retry(ctx context.Context, do func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = 200 * time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if err != nil && !isTransient(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(uint(n.attempts)))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) { // the last try's
		err = permanent.Unwrap()
	}
	return n.explain(err)
}

// isTransient says whether trying again may help.
func isTransient(err error) bool {
	err = unwrapUnexpected(err)
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= 500
	}
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
	)
	switch {
	case isDenied(err), isTLS(err), errors.As(err, &cert), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &op), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isRefusal says whether the server understood and said no, which another
// request may get around.
func isRefusal(err error) bool { return errors.Is(err, errRefused) }

var errRefused = errors.New("the server refused")

// explain turns what go-git and net/http say into one short line.
func (n *network) explain(err error) error {
	err = unwrapUnexpected(err)
	var (
		status *statusError
		dns    *net.DNSError
	)
	switch {
	case errors.As(err, &status):
		switch status.code {
		case http.StatusUnauthorized:
			return errors.New("there is none, or it needs credentials (401)")
		case http.StatusForbidden:
			return errors.New("access denied (403)")
		case http.StatusNotFound, http.StatusGone:
			return fmt.Errorf("repository %w (%d)", ErrNotFound, status.code)
		}
		return status
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("repository %w", ErrNotFound)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return fmt.Errorf("commit %w: the repository is empty", ErrNotFound)
	case isDenied(err), errors.Is(err, errTooBig):
		return err
	case isTLS(err):
		return fmt.Errorf("TLS: %w", err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("no such host %s", dns.Name)
	case errors.Is(err, transport.ErrEmptyUploadPackRequest),
		strings.Contains(err.Error(), "not our ref"), // git; go-git keeps only the text
		strings.Contains(err.Error(), "not valid"):   // JGit
		return fmt.Errorf("%w: %w", errRefused, err)
	case n.loc.scheme == "ssh":
		return fmt.Errorf("ssh (keys come from the ssh-agent, hosts from known_hosts): %w", err)
	}
	return fmt.Errorf("reading from the server: %w", err)
}

func isTLS(err error) bool {
	var (
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	return errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &unknown) || errors.As(err, &name)
}

// unwrapUnexpected takes off wrappings that hide the cause or repeat the URL.
func unwrapUnexpected(err error) error {
	for {
		var (
			unexpected *plumbing.UnexpectedError
			permanent  *plumbing.PermanentError
			request    *url.Error
		)
		switch {
		case errors.As(err, &unexpected):
			err = unexpected.Err
		case errors.As(err, &permanent):
			err = permanent.Err
		case errors.As(err, &request):
			err = request.Err
		default:
			return err
		}
	}
}

// statusError is an http status that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code)))
}

// httpGuard asks Access before every request, redirected ones included, turns
// failures into errors without reading what the server says about them, and
// bounds the list of refs.
type httpGuard struct {
	loc    location
	access Access
	next   http.RoundTripper
}

func (g *httpGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	to := g.loc
	to.host = strings.TrimSuffix(strings.ToLower(req.URL.Hostname()), ".")
	if to.port = req.URL.Port(); to.port == "" {
		to.port = defaultPorts[req.URL.Scheme]
	}
	if err := g.access.permitHost(to); err != nil {
		return nil, err
	}
	res, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		res.Body.Close()
		return nil, &statusError{res.StatusCode}
	}
	if req.Method == http.MethodGet {
		res.Body = &boundedBody{res.Body, maxRefsBytes}
	}
	return res, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: the list of refs has more than %s", errTooBig, size(maxRefsBytes))
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
