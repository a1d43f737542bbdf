package repository_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// speakGit is a server in the git protocol that says its piece to everybody who
// has named a repository, and closes without reading more.
func speakGit(t *testing.T, piece func(visit int64) string) (url string, visits *atomic.Int64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	visits = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			_, _ = in.ReadString(0)
			_, _ = in.ReadString(0)
			_, _ = io.WriteString(conn, piece(visits.Add(1)))
			_ = conn.Close()
		}
	}()
	return "git://" + listener.Addr().String() + "/r", visits
}

// What a server says counts, though it closed before the whole request was
// written; and one that says nothing is asked again.
func TestServerThatDoesNotListen(t *testing.T) {
	t.Parallel()
	tip, lost := strings.Repeat("1", 40), strings.Repeat("2", 40)
	list := pktLine(tip+" HEAD\x00allow-reachable-sha1-in-want shallow\n") + pktLine(tip+" refs/heads/main\n") + "0000"
	for _, tc := range []struct {
		name, answer string
		ref          string
		tries        int64
		want         string
		notFound     bool
	}{
		{"error", list + pktLine("ERR out of memory\x1b[2J\n"), "main", 2, `the server says "out of memory\x1b[2J"`, false},
		{"refusal", list + pktLine("ERR upload-pack: not our ref "+tip), "main", 2, "the server refused", false},
		{"refused commit", list + pktLine("ERR upload-pack: not our ref "+lost), lost, 3, "the server refused", false}, // and everything
		{"silence", list, "main", 4, "the server hung up without an answer", false},
		{"silence from the start", "", "main", 3, "the server hung up without an answer", false},
		{"no such repository", pktLine("ERR access denied or repository not exported: /r"), "main", 1, "repository not found", true},
		{"error from the start", pktLine("ERR go away"), "main", 1, `the server says "go away"`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			url, visits := speakGit(t, func(int64) string { return tc.answer })
			git := &repository.Git{Access: repository.Access{Network: []string{"127.0.0.1"}}}
			_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: tc.ref})
			require.ErrorContains(t, err, tc.want)
			if tc.notFound {
				assert.ErrorIs(t, err, repository.ErrNotFound)
			} else {
				assert.NotErrorIs(t, err, repository.ErrNotFound)
			}
			assert.Equal(t, tc.tries, visits.Load())
		})
	}
}

// The same with real servers: of many wants, the first is refused.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	private, public := repositorytest.Key(1)
	r := repositorytest.New(t)
	r.Commit("main", kptfile("pkg", "x"))
	overSSH, known := r.ServeSSH(public, filtering)
	key := secret(t, map[string]string{"ssh-privatekey": string(private), "known_hosts": known})
	for url, cred := range map[string]*repository.Credential{r.ServeGit(filtering): nil, overSSH: key} {
		for range 5 {
			_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: strings.Repeat("0a", 20), Directory: "pkg", Credential: cred})
			require.ErrorIs(t, err, repository.ErrNotFound, url)
			assert.ErrorContains(t, err, "commit 0a0a")
		}
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url + "x", Ref: "main", Credential: cred})
		require.ErrorIs(t, err, repository.ErrNotFound, url)
		assert.ErrorContains(t, err, "repository not found")
		branch, err := newGit(r).DefaultRef(t.Context(), r.Dir)
		require.NoError(t, err)
		assert.Equal(t, "main", branch)
	}
}
