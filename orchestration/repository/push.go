package repository

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// refUpdate is a change of one ref: from a hash, zero when it must not be there,
// to another, zero to delete it.
type refUpdate struct {
	name     string
	old, new plumbing.Hash
}

// push is a change of a repository that is made whole or not at all.
type push struct {
	updates []refUpdate
	objects []object // what the new hashes need beside what is there
}

// errRace is wrapped by the error of a push that was refused because a ref isn't
// any more where it was thought to be.
var errRace = errors.New("somebody else changed the repository at the same time")

// declinedError is a push that the server refused for a reason of its own.
type declinedError struct{ text string }

func (e *declinedError) Error() string { return e.text }

// unsettledError is a push of which it isn't known whether it was made.
type unsettledError struct{ err error }

func (e *unsettledError) Error() string { return e.err.Error() }
func (e *unsettledError) Unwrap() error { return e.err }

// pushSession is a visit to a git server to change it: its list of refs and then
// one request.
type pushSession interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	// receivePack sends a request and returns its report, and what the server
	// and its hooks had to say beside it.
	receivePack(ctx context.Context, req *packp.ReferenceUpdateRequest) (report *packp.ReportStatus, said string, err error)
	io.Closer
}

// push makes a change at the server.
func (n *network) push(ctx context.Context, p push) error {
	adv, session, err := n.beginPush(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	for _, u := range p.updates {
		if adv.References[u.name] != u.old {
			return fmt.Errorf("%w: %s", errRace, u.name)
		}
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(adv.Capabilities)
	if !adv.Capabilities.Supports(capability.ReportStatus) {
		return errors.New("the server doesn't report what became of a push (report-status)")
	}
	if len(p.updates) > 1 {
		if !adv.Capabilities.Supports(capability.Atomic) {
			return errors.New("the server can't change several refs at once (atomic), without which half of a change could be made")
		}
		_ = req.Capabilities.Set(capability.Atomic)
	}
	// Set fails for capabilities that take arguments; none of these does.
	for _, c := range []capability.Capability{capability.Sideband64k, capability.DeleteRefs, capability.Quiet} {
		if adv.Capabilities.Supports(c) {
			_ = req.Capabilities.Set(c)
		}
	}
	writes := false
	for _, u := range p.updates {
		req.Commands = append(req.Commands, &packp.Command{Name: plumbing.ReferenceName(u.name), Old: u.old, New: u.new})
		writes = writes || !u.new.IsZero()
	}
	if writes {
		req.Packfile = io.NopCloser(bytes.NewReader(writePack(p.objects)))
	}
	report, said, err := session.receivePack(ctx, req)
	if err != nil {
		return n.explainPush(ctx, err)
	}
	return judge(report, said)
}

// beginPush opens a session and lists the refs as they are for a push. The
// context ends it too.
func (n *network) beginPush(ctx context.Context) (*packp.AdvRefs, pushSession, error) {
	var (
		adv     *packp.AdvRefs
		session pushSession
	)
	begin := func() error {
		return n.retry(ctx, func() (err error) {
			if session, err = n.pushing(ctx); err != nil {
				return err
			}
			adv, err = session.AdvertisedReferencesContext(ctx)
			if errors.Is(err, transport.ErrEmptyRemoteRepository) && adv != nil {
				err = nil
			}
			if err != nil {
				session.Close()
			}
			return err
		})
	}
	err := begin()
	if errors.Is(err, errNeedsCredentials) && n.helpers {
		if n.auth = askHelpers(ctx, n.loc); n.auth != nil {
			err = begin()
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("asking to push: %w", err)
	}
	return adv, session, nil
}

// explainPush is the error of a push without a report.
func (n *network) explainPush(ctx context.Context, err error) error {
	var (
		status *statusError
		said   *pktline.ErrorLine
	)
	switch {
	case ctx.Err() != nil:
		return &unsettledError{context.Cause(ctx)}
	case errors.As(err, &status) && status.code < http.StatusInternalServerError, errors.As(err, &said):
		return n.explain(err)
	}
	return &unsettledError{n.explain(err)}
}

// judge turns a report into an error unless all was done.
func judge(report *packp.ReportStatus, said string) error {
	if report.UnpackStatus != "ok" {
		return &declinedError{withSaid(fmt.Sprintf("the server couldn't take the objects: %q", shorten(report.UnpackStatus)), said)}
	}
	var reasons []string
	race := false
	for _, c := range report.CommandStatuses {
		switch lower := strings.ToLower(c.Status); {
		case c.Status == "ok", strings.Contains(lower, "atomic push fail"), strings.Contains(lower, "atomic transaction failed"), strings.Contains(lower, "transaction aborted"):
		case isRace(lower):
			race = true
			reasons = append(reasons, fmt.Sprintf("%s: %q", c.ReferenceName, shorten(c.Status)))
		default:
			reasons = append(reasons, fmt.Sprintf("%s: %q", c.ReferenceName, shorten(c.Status)))
		}
	}
	ok := !slices.ContainsFunc(report.CommandStatuses, func(c *packp.CommandStatus) bool { return c.Status != "ok" })
	switch {
	case ok:
		return nil
	case len(reasons) == 0 || race:
		return fmt.Errorf("%w: %s", errRace, withSaid(strings.Join(reasons, ", "), said))
	}
	return &declinedError{withSaid("the server declined "+strings.Join(reasons, ", "), said)}
}

// isRace says whether a server's reason may be that somebody else was faster.
func isRace(reason string) bool {
	for _, sign := range []string{
		"failed to update ref", "failed to lock", "cannot lock", "unable to lock", "lock failure", "reference already exists",
		"incorrect old value", "reference changed", "remote ref", "fetch first", "stale info", "non-fast-forward", "failed transaction",
		"non-existent ref",
	} {
		if strings.Contains(reason, sign) {
			return true
		}
	}
	return false
}

func withSaid(text, said string) string {
	if said = strings.TrimSpace(said); said != "" {
		text += fmt.Sprintf("; it says %q", shorten(said))
	}
	return text
}

// receivePack implements pushSession.
func (s *stream) receivePack(_ context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, string, error) {
	s.asked = true
	failed := req.Encode(s.in) // the answer says why, if there is one
	_ = s.in.Close()
	if _, err := s.out.Peek(1); err != nil {
		if silent := s.silence(); !errors.Is(silent, errHungUp) {
			return nil, "", silent
		}
		return nil, "", fmt.Errorf("%w: %w", errHungUp, errors.Join(failed, err))
	}
	return readReport(s.out, req)
}

// readReport reads the answer to a push.
func readReport(r io.Reader, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, string, error) {
	var said complaint
	if req.Capabilities.Supports(capability.Sideband64k) {
		d := sideband.NewDemuxer(sideband.Sideband64k, r)
		d.Progress = &said
		r = d
	}
	report := packp.NewReportStatus()
	// Through a buffer, or else what the server says after the report, which
	// its hooks may, would be lost.
	all, err := io.ReadAll(io.LimitReader(r, maxMeta))
	if decoded := report.Decode(bytes.NewReader(all)); decoded != nil {
		if err == nil {
			err = decoded
		}
		if len(all) == 0 {
			err = errors.Join(io.ErrUnexpectedEOF, err)
		}
		return nil, said.line(), fmt.Errorf("reading the report of the push: %w", err)
	}
	return report, said.line(), nil
}

// httpPush is a pushSession over http. go-git's own loses what an empty
// repository can do and what hooks say.
type httpPush struct {
	client *http.Client
	url    string // of the repository, without credentials
	auth   transport.AuthMethod
}

// AdvertisedReferencesContext returns both a list and
// transport.ErrEmptyRemoteRepository when there are no refs.
func (h *httpPush) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	res, err := h.do(ctx, http.MethodGet, h.url+"/info/refs?service="+transport.ReceivePackServiceName, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if err := h.follow(res.Request.URL); err != nil {
		return nil, err
	}
	if got, want := res.Header.Get("Content-Type"), "application/x-git-receive-pack-advertisement"; got != want {
		return nil, fmt.Errorf("the server doesn't speak git's smart protocol: it answers with the type %q", shorten(got))
	}
	adv := packp.NewAdvRefs()
	if err := adv.Decode(res.Body); err != nil && !errors.Is(err, packp.ErrEmptyAdvRefs) {
		return nil, err
	}
	return adv, nil
}

// follow makes where the list of refs came from the repository's place, as long
// as credentials don't come to another host by it.
func (h *httpPush) follow(to *url.URL) error {
	base := *to
	base.RawQuery, base.Path, base.RawPath = "", strings.TrimSuffix(base.Path, "/info/refs"), strings.TrimSuffix(base.RawPath, "/info/refs")
	from, err := url.Parse(h.url)
	if err != nil {
		return err
	}
	if from.Host != base.Host || from.Scheme != base.Scheme {
		return &movedError{api.WithoutCredentials(base.String())}
	}
	h.url = base.String()
	return nil
}

// movedError is a redirect to where no credentials go.
type movedError struct{ to string }

func (e *movedError) Error() string { return "the repository has moved to " + e.to + ": write that" }

// sameOrigin follows redirects on one server only: net/http would take credentials
// along to another port, and from https to http.
func sameOrigin(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		to := *req.URL
		to.RawQuery, to.Path, to.RawPath = "", strings.TrimSuffix(to.Path, "/info/refs"), strings.TrimSuffix(to.RawPath, "/info/refs")
		return &movedError{api.WithoutCredentials(to.String())}
	}
	if len(via) >= 10 {
		return errors.New("too many redirects")
	}
	return nil
}

func (h *httpPush) receivePack(ctx context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, string, error) {
	var body bytes.Buffer
	if err := req.Encode(&body); err != nil {
		return nil, "", err
	}
	res, err := h.do(ctx, http.MethodPost, h.url+"/"+transport.ReceivePackServiceName, &body)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	return readReport(bufio.NewReader(res.Body), req)
}

func (h *httpPush) do(ctx context.Context, method, to string, body *bytes.Buffer) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		content = body
	}
	req, err := http.NewRequestWithContext(ctx, method, to, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", capability.DefaultAgent())
	if body != nil {
		req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
		req.Header.Set("Accept", "application/x-git-receive-pack-result")
	}
	if auth, ok := h.auth.(interface{ SetAuth(*http.Request) }); ok {
		auth.SetAuth(req)
	}
	return h.client.Do(req)
}

func (h *httpPush) Close() error { return nil }
