package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

const lsRefsTime = 5 * time.Second

// lsRefs returns those of the named refs that an http server has, by one
// request of git's protocol version 2 (gitprotocol-v2, ls-refs), however many
// refs there are: the list that versions 0 and 1 begin with has all of them. The
// request is made without asking first whether the server speaks version 2: one
// that doesn't takes it for nonsense and says so, which is an error like all
// others. No redirect is followed, and no server waited for that has nothing to say:
// the list of all refs is a better way to find out.
func (n *network) lsRefs(ctx context.Context, names []string) (refs, error) {
	ctx, cancel := context.WithTimeout(ctx, lsRefsTime)
	defer cancel()
	var body bytes.Buffer
	line := func(text string) { fmt.Fprintf(&body, "%04x%s\n", len(text)+5, text) }
	line("command=ls-refs")
	line("agent=" + capability.DefaultAgent())
	body.WriteString("0001")
	line("peel")
	for _, name := range names {
		line("ref-prefix " + name)
	}
	body.Write(pktline.FlushPkt)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.loc.endpoint.String()+"/"+transport.UploadPackServiceName, &body)
	if err != nil {
		return refs{}, err
	}
	req.Header.Set("User-Agent", capability.DefaultAgent())
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	const answer = "application/x-git-upload-pack-result"
	req.Header.Set("Accept", answer)
	if auth, ok := n.auth.(interface{ SetAuth(*http.Request) }); ok {
		auth.SetAuth(req)
	}
	client := *n.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return refs{}, err
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != answer {
		return refs{}, fmt.Errorf("%w: it has the type %q", errNoLsRefs, shorten(got))
	}
	return readLsRefs(io.LimitReader(res.Body, maxRefsBytes), names)
}

// readLsRefs reads the answer of ls-refs: "HASH NAME" and then attributes, a
// line each, to a flush packet. Names that only begin like a wanted one are in
// it too.
func readLsRefs(r io.Reader, names []string) (refs, error) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	list := refs{hashes: map[string]plumbing.Hash{}, peeled: map[plumbing.Hash]plumbing.Hash{}}
	packets := pktline.NewScanner(r)
	for packets.Scan() {
		text := strings.TrimSuffix(string(packets.Bytes()), "\n")
		if text == "" {
			return list, nil
		}
		fields := strings.Split(text, " ")
		if len(fields) < 2 || !plumbing.IsHash(fields[0]) {
			return refs{}, fmt.Errorf("%w: %q", errNoLsRefs, shorten(text))
		}
		if !wanted[fields[1]] {
			continue
		}
		hash := plumbing.NewHash(fields[0])
		list.hashes[fields[1]] = hash
		for _, attribute := range fields[2:] {
			if commit, ok := strings.CutPrefix(attribute, "peeled:"); ok && plumbing.IsHash(commit) {
				list.peeled[hash] = plumbing.NewHash(commit)
			}
		}
	}
	if err := packets.Err(); err != nil {
		return refs{}, fmt.Errorf("%w: %w", errNoLsRefs, err)
	}
	return refs{}, fmt.Errorf("%w: %w", errNoLsRefs, io.ErrUnexpectedEOF)
}

var errNoLsRefs = errors.New("the answer is no list of refs")

// isAnswer says whether an error of lsRefs shows that the server doesn't know
// such requests, and not that it can't answer now or wants to know who asks.
func isAnswer(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		switch status.code {
		case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
			return true
		}
		return false
	}
	return errors.Is(err, errNoLsRefs)
}
