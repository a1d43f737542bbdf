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
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// transport trusts the credential's certificates beside the system's.
func (c *Credential) transport() (http.RoundTripper, error) {
	ca := c.get().ca
	if ca == "" {
		return http.DefaultTransport, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without certificates
	}
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", keyCA)
	}
	own := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if shared, ok := http.DefaultTransport.(*http.Transport); ok {
		own = shared.Clone()
	}
	own.TLSClientConfig = &tls.Config{RootCAs: pool}
	return own, nil
}

// statusError is an http status that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code)))
}

// accessGuard asks Access before every request, redirected ones included.
type accessGuard struct {
	loc    location // of what was asked for, in errors
	access Access
	next   http.RoundTripper
}

func (g *accessGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	to := g.loc
	to.host = strings.TrimSuffix(strings.ToLower(req.URL.Hostname()), ".")
	if to.port = req.URL.Port(); to.port == "" {
		to.port = defaultPorts[req.URL.Scheme]
	}
	if err := g.access.permitHost(to); err != nil {
		return nil, err
	}
	return g.next.RoundTrip(req)
}

// gitGuard turns a git server's failures into errors without reading what it
// says about them, and bounds the list of refs.
type gitGuard struct{ next http.RoundTripper }

func (g *gitGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusBadRequest {
		res.Body.Close()
		return nil, &statusError{res.StatusCode}
	}
	if req.Method == http.MethodGet {
		res.Body = &boundedRefs{res.Body, maxRefsBytes}
	}
	return res, nil
}

// boundedRefs is a list of refs as it comes, up to a limit.
type boundedRefs struct {
	io.ReadCloser
	left int64
}

func (b *boundedRefs) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: the list of refs has more than %s", errTooBig, size(maxRefsBytes))
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

var (
	errNeedsCredentials = errors.New("there is none, or it needs credentials (401): allow --allow-credential-helpers for git, --allow-docker-config for images, or name a secret where there is a secretRef (--credentials-dir)")
	errBadCredentials   = errors.New("the server refused the credentials (401)")
	errForbidden        = errors.New("access denied (403)")
)

// explainHTTP says in one short line why a request failed; nil for what it
// doesn't know. What is what was asked for.
func explainHTTP(err error, authenticated bool, what string) error {
	err = unwrapUnexpected(err)
	var (
		status    *statusError
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &status):
		switch status.code {
		case http.StatusUnauthorized:
			if authenticated {
				return errBadCredentials
			}
			return errNeedsCredentials
		case http.StatusForbidden:
			return errForbidden
		case http.StatusNotFound, http.StatusGone:
			return fmt.Errorf("%s %w (%d)", what, ErrNotFound, status.code)
		}
		return status
	case IsDenied(err), errors.Is(err, errTooBig), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &authority):
		return fmt.Errorf("TLS: %w; if it is your own, add %s to the secret", authority, keyCA)
	case isTLS(err):
		return fmt.Errorf("TLS: %w", err)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("no such host %s", dns.Name)
	}
	return nil
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
