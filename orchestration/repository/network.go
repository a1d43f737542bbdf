package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// maxRefsBytes bounds the list of refs that a server sends: a million of them.
const maxRefsBytes = 64 << 20

// network reads a repository from a git server, into memory. Where the server
// can, it gets a commit's directories first and then only the files of the
// package; else the commit with all of its files.
type network struct {
	memory
	loc     location
	auth    transport.AuthMethod // nil: none
	helpers bool                 // whether credential helpers may be asked for auth
	connect func(context.Context) (session, error)
	pushing func(context.Context) (pushSession, error)
	client  *http.Client // nil but for http and https
	limits  Limits
	retries retries

	// http is the session that listed the refs: it knows where a redirect
	// led. The other protocols take a new session for every request.
	http    session
	hashes  map[string]plumbing.Hash // of the refs
	pointed map[plumbing.Hash]bool   // nil until tips is called
	caps    *capability.List
}

func (g *Git) newNetwork(loc location, cred *Credential, limits Limits) (*network, error) {
	n := &network{memory: memory{}, loc: loc, auth: loc.auth, helpers: g.CredentialHelpers, limits: limits, retries: retries{g.Attempts, g.RetryDelay}}
	switch loc.scheme {
	case "ssh":
		if cred == nil && !g.SSHAgent {
			return nil, fmt.Errorf("ssh needs a key: name a secret with %s (secretRef, --credentials-dir), or allow --allow-ssh-agent", keySSH)
		}
		auth, err := newSSHAuth(loc, cred)
		if err != nil {
			return nil, err
		}
		n.auth = auth
		n.connect = func(ctx context.Context) (session, error) {
			return dialSSH(ctx, loc, auth, transport.UploadPackServiceName)
		}
		n.pushing = func(ctx context.Context) (pushSession, error) {
			return dialSSH(ctx, loc, auth, transport.ReceivePackServiceName)
		}
	case "git":
		if cred != nil {
			return nil, errors.New("the git protocol knows no credentials: they are for http, https and ssh")
		}
		n.connect = func(ctx context.Context) (session, error) { return dialGit(ctx, loc, transport.UploadPackServiceName) }
		n.pushing = func(ctx context.Context) (pushSession, error) {
			return dialGit(ctx, loc, transport.ReceivePackServiceName)
		}
	default:
		next, err := cred.transport()
		if err != nil {
			return nil, err
		}
		switch h := cred.get(); {
		case h.token != "":
			n.auth = &githttp.TokenAuth{Token: h.token}
		case h.basic:
			n.auth = &githttp.BasicAuth{Username: h.username, Password: h.password}
		case cred != nil && h.ca == "":
			return nil, fmt.Errorf("the secret has no %s and %s and no %s, which an http repository needs", keyUsername, keyPassword, keyBearer)
		}
		guard := &accessGuard{loc, g.Access, next}
		n.client = &http.Client{Transport: &gitGuard{guard}}
		client := githttp.NewClient(n.client)
		n.connect = func(context.Context) (session, error) {
			endpoint := *loc.endpoint // redirects change it
			return client.NewUploadPackSession(&endpoint, n.auth)
		}
		n.pushing = func(context.Context) (pushSession, error) {
			client := *n.client
			client.CheckRedirect = sameOrigin
			return &httpPush{client: &client, url: loc.endpoint.String(), auth: n.auth}, nil
		}
	}
	return n, nil
}

func (n *network) refs(ctx context.Context) (refs, error) {
	adv, err := n.advertised(ctx)
	if errors.Is(err, errNeedsCredentials) && n.helpers {
		if n.auth = askHelpers(ctx, n.loc); n.auth != nil {
			adv, err = n.advertised(ctx)
		}
	}
	if err != nil {
		return refs{}, err
	}
	n.caps = adv.Capabilities
	list := refs{hashes: adv.References, peeled: make(map[plumbing.Hash]plumbing.Hash, len(adv.Peeled))}
	for name, commit := range adv.Peeled {
		if h, ok := adv.References[name]; ok {
			list.peeled[h] = commit
		}
	}
	if adv.Head != nil {
		list.hashes["HEAD"] = *adv.Head
		for _, s := range adv.Capabilities.Get(capability.SymRef) {
			if branch, ok := strings.CutPrefix(s, "HEAD:refs/heads/"); ok {
				list.head = branch
			}
		}
	}
	n.hashes = list.hashes
	return list, nil
}

// tips is what refs point to. A package from the cache needs none of it.
func (n *network) tips() map[plumbing.Hash]bool {
	if n.pointed == nil {
		n.pointed = make(map[plumbing.Hash]bool, len(n.hashes))
		for _, h := range n.hashes {
			n.pointed[h] = true
		}
	}
	return n.pointed
}

func (n *network) advertised(ctx context.Context) (*packp.AdvRefs, error) {
	var adv *packp.AdvRefs
	err := n.retry(ctx, func() error {
		session, err := n.connect(ctx)
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
	return adv, err
}

func (n *network) trees(ctx context.Context, want ...plumbing.Hash) error {
	want = slices.DeleteFunc(slices.Clone(want), func(h plumbing.Hash) bool { _, ok := n.memory[h]; return ok })
	if len(want) == 0 {
		return nil
	}
	pointed := n.tips()
	tips := !slices.ContainsFunc(want, func(h plumbing.Hash) bool { return !pointed[h] })
	anyCommit := n.caps.Supports(capability.AllowReachableSHA1InWant) || n.caps.Supports(capability.AllowTipSHA1InWant)
	if tips || anyCommit {
		err := n.upload(ctx, request{want: want, shallow: true, noBlobs: n.canFilter()})
		if err == nil || tips || !isRefusal(err) {
			return err
		}
	}
	// The commits are somewhere in the history of branches and tags, or nowhere.
	all := request{noBlobs: n.canFilter()}
	for h := range pointed {
		all.want = append(all.want, h)
	}
	if err := n.upload(ctx, all); err != nil {
		return err
	}
	for _, h := range want {
		if _, err := n.size(h); err != nil {
			return err
		}
	}
	return nil
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

// deltaSlack is what the deltas of a package's files may take beside the files,
// as long as they wait for what they change.
const deltaSlack = 8 << 20

// request is what to ask a server for.
type request struct {
	want    []plumbing.Hash
	shallow bool // commits without their history
	noBlobs bool // directories without their files
	files   bool // want are files of a package: none may exceed its limit

	have []plumbing.Hash // commits whose history needn't be sent
	keep *packKeeper     // gets the pack as it comes; nil: nobody does
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
	req.Haves = r.have
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
		if session, err = n.connect(ctx); err != nil {
			return nil, err
		}
		defer session.Close()
	}
	res, err := session.UploadPack(ctx, req)
	if err != nil {
		if strings.HasSuffix(err.Error(), io.ErrUnexpectedEOF.Error()) {
			err = io.ErrUnexpectedEOF // go-git keeps only the text
		}
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
	if r.files {
		p := newPackReader(n.limits.FileBytes, n.limits.TotalBytes)
		p.files = true
		p.budget += int64(len(r.want))*2*objectCost + deltaSlack
		_, err := p.readAll(pack)
		return p.objects, err
	}
	if r.keep != nil {
		return r.keep.read(pack, n.limits.FetchBytes, n.limits.FetchBytes)
	}
	return readPack(pack, n.limits.FetchBytes, n.limits.FetchBytes)
}

func (n *network) retry(ctx context.Context, do func() error) error {
	if err := n.retries.retry(ctx, do); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return n.explain(err)
	}
	return nil
}

// isRefusal says whether the server said no, or went away for what it was asked,
// which another request may get around.
func isRefusal(err error) bool { return errors.Is(err, errRefused) || errors.Is(err, errHungUp) }

var (
	errRefused         = errors.New("the server refused")
	errEmptyRepository = fmt.Errorf("commit %w: the repository is empty", ErrNotFound)
)

// explain turns what go-git and net/http say into one short line.
func (n *network) explain(err error) error {
	if known := explainHTTP(err, n.auth != nil, "repository"); known != nil {
		return known
	}
	err = unwrapUnexpected(err)
	var said *pktline.ErrorLine
	var moved *movedError
	switch {
	case errors.As(err, &moved):
		return moved
	case errors.As(err, &said):
		return explainSaid(said.Text)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("repository %w", ErrNotFound)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return errEmptyRepository
	case errors.Is(err, errHungUp):
		return err
	case errors.Is(err, transport.ErrEmptyUploadPackRequest), saysNo(err.Error()): // go-git keeps only the text
		return fmt.Errorf("%w: %w", errRefused, err)
	case n.loc.scheme == "ssh":
		return explainSSH(err)
	}
	return fmt.Errorf("reading from the server: %w", err)
}

// explainSaid is the error for what a server said in place of an answer.
func explainSaid(text string) error {
	lower := strings.ToLower(text)
	for _, notFound := range []string{
		"access denied or repository not exported", "no such repository", "does not appear to be a git repository", // git
		"repository not found", "could not be found", "repository does not exist", // GitHub, GitLab, Bitbucket and Gogs
	} {
		if strings.Contains(lower, notFound) {
			return fmt.Errorf("repository %w", ErrNotFound)
		}
	}
	if saysNo(text) {
		return fmt.Errorf("%w: %q", errRefused, shorten(text))
	}
	return fmt.Errorf("the server says %q", shorten(text))
}

// saysNo says whether a server's text refuses a commit or file.
func saysNo(text string) bool {
	return strings.Contains(text, "not our ref") || // git
		strings.Contains(text, "not valid") // JGit
}
