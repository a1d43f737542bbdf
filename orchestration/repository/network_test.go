package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// traffic counts what goes through a server.
type traffic struct{ lists, uploads, bytes atomic.Int64 }

func (c *traffic) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet {
			c.lists.Add(1)
		} else {
			c.uploads.Add(1)
		}
		next.ServeHTTP(countingWriter{w, &c.bytes}, req)
	})
}

type countingWriter struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	w.bytes.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// noise doesn't compress.
func noise(n int) string {
	var b strings.Builder
	for x := uint32(1); b.Len() < n; {
		x = x*1664525 + 1013904223
		b.WriteByte(byte(x >> 24))
	}
	return b.String()
}

func TestOnlyThePackageIsFetched(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("small", "old"), entry{Path: "big/history", Content: noise(300_000)})
	r.Commit("main", kptfile("small", "x"), kptfile("small2", "x"), entry{Path: "big/file", Content: noise(200_000)})

	for _, tc := range []struct {
		name     string
		config   []string
		uploads  int64
		min, max int64
	}{
		{"filter", filtering, 3, 0, 10_000},
		{"filter but no sha", []string{"uploadpack.allowFilter=true"}, 1, 200_000, 300_000},
		{"neither", nil, 1, 200_000, 300_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c traffic
			url, git := r.ServeHTTP(tc.config, c.count), newGit(r)
			for _, dir := range []string{"small", "small", "big", "small"} {
				if dir == "big" && tc.max < 100_000 {
					continue
				}
				_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: dir})
				require.NoError(t, err)
			}
			assert.EqualValues(t, 1, c.lists.Load())
			assert.LessOrEqual(t, c.uploads.Load(), tc.uploads)
			assert.GreaterOrEqual(t, c.bytes.Load(), tc.min)
			assert.LessOrEqual(t, c.bytes.Load(), tc.max)
		})
	}
}

func TestCommitIsFetchedAlone(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	old := r.Commit("main", kptfile("p", "old"))
	r.Commit("main", kptfile("p", "new"), entry{Path: "big", Content: noise(200_000)})
	for config, max := range map[string]int64{"uploadpack.allowReachableSHA1InWant=true": 10_000, "uploadpack.allowTipSHA1InWant=true": 300_000, "": 300_000} {
		var c traffic
		url := r.ServeHTTP(strings.Fields(config), c.count)
		tree, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: old, Directory: "p"})
		require.NoError(t, err, config)
		assert.Equal(t, "old", content(t, tree, "Kptfile"))
		assert.Equal(t, old, lock.Commit)
		assert.LessOrEqual(t, c.bytes.Load(), max, config)
	}
}

// A server that lets go of a filtered clone's files afterwards.
func TestServerRefusesFiles(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("p", "x"))
	var uploads atomic.Int64
	url := r.ServeHTTP(filtering, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodPost && uploads.Add(1) == 2 {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				text := "ERR upload-pack: not our ref 1234"
				fmt.Fprintf(w, "%04x%s", len(text)+4, text)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	tree, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "p"})
	require.NoError(t, err)
	assert.Equal(t, "x", content(t, tree, "Kptfile"))
	assert.EqualValues(t, 3, uploads.Load())
}

func TestRetries(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	for _, tc := range []struct {
		name     string
		fail     func(w http.ResponseWriter)
		failures int64 // of GET and of POST
		tries    int64
		want     string
	}{
		{"one 503", status(503), 1, 2, ""},
		{"connection cut", cut, 1, 2, ""},
		{"503 for ever", status(503), 99, 3, "503"},
		{"401", status(401), 99, 1, "credentials (401)"},
		{"403", status(403), 99, 1, "denied (403)"},
		{"404", status(404), 99, 1, "not found (404)"},
		{"a web page", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>hello</html>") }, 99, 1, "reading from the server"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(tc.name+" "+method, func(t *testing.T) {
				t.Parallel()
				var tries atomic.Int64
				url := r.ServeHTTP(nil, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						if req.Method == method && tries.Add(1) <= tc.failures {
							tc.fail(w)
							return
						}
						next.ServeHTTP(w, req)
					})
				})
				url = strings.Replace(url, "http://", "http://me:secret@", 1)
				_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
				assert.Equal(t, tc.tries, tries.Load())
				if tc.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, tc.want)
				assert.NotContains(t, err.Error(), "secret")
				assert.NotContains(t, err.Error(), "html")
				assert.Less(t, len(err.Error()), 200)
				if tc.name == "404" {
					assert.ErrorIs(t, err, repository.ErrNotFound)
				} else {
					assert.NotErrorIs(t, err, repository.ErrNotFound)
				}
			})
		}
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, "<html>a long page</html>", code) }
}

func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestCredentialsInTheURL(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	commit := r.Commit("main", kptfile("", "x"))
	bare := r.ServeHTTP(filtering, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			user, password, _ := req.BasicAuth()
			if user != "me" || password != "pa/ss" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	with := strings.Replace(bare, "http://", "http://me:pa%2Fss@", 1)
	_, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: with, Ref: "main"})
	require.NoError(t, err)
	assert.Equal(t, repository.GitLock{Repo: bare, Directory: "/", Ref: "main", Commit: commit}, lock)
	_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: with, Ref: "nope"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "me:")
	assert.NotContains(t, err.Error(), "pa%2Fss")
	_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: bare, Ref: "main"})
	assert.ErrorContains(t, err, "credentials (401)")
}

// Whatever goes wrong, and wherever, a URL's credentials aren't in the error.
func TestCredentialsInTheURLStayOutOfErrors(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	served := strings.TrimPrefix(r.ServeHTTP(nil, nil), "http://")
	handle := func(h http.HandlerFunc) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://") + "/repo.git"
	}
	for url, want := range map[string]string{
		"http://me:s3cr3t@127.0.0.1:1/r":           "connection refused",
		"https://me:s3cr3t@127.0.0.1:1/r":          "connection refused",
		"http://me:s3cr3t@localhost.invalid:80/r":  "localhost.invalid",
		"https://me:s3cr3t@" + served:              "HTTP",
		"http://me:s3cr3t@" + served + "x":         "not found (404)",
		"http://s3cr3t@" + handle(cutRequest):      "reading from the server",
		"http://me:s3cr3t@" + handle(redirectAway): "network access to elsewhere.example is not allowed",
		"http://me:s3cr3t@" + handle(redirectToo):  "too many redirects",
		"https://me:s3cr3t@elsewhere.example/r":    "is not allowed",
		"http://me:s3cr3t@127.0.0.1:99999/r":       "has a port that is none",
		"http://me:s3cr3t@127.0.0.1:port/r":        "is no repository",
		"http://me:s3cr3t@[::1/r":                  "is no repository",
		"http://me:s3cr3t@127.0.0.1%zz/r":          "is no repository",
		"http://me:s3%zzcr3t@127.0.0.1/s3cr3t@h/r": "is no repository",
		"http://me:s3cr3t@127.0.0.1":               "names no repository",
		"http://me:s3cr3t@/r":                      "names no host",
		"http://me:s3cr3t@127.0.0.1/r?x":           "has a query",
		"ssh://me:s3cr3t@127.0.0.1/r":              "has a password",
		"git://me:s3cr3t@127.0.0.1/r":              "has a user",
		"file://me:s3cr3t@127.0.0.1/r":             "names a host",
		"ftp://me:s3cr3t@127.0.0.1/r":              "has the scheme",
		"me:s3cr3t@127.0.0.1:r":                    "is no repository",
		" http://me:s3cr3t@127.0.0.1/r":            "has spaces",
	} {
		git := &repository.Git{Access: repository.Access{Network: []string{"127.0.0.1", "localhost.invalid"}}, Attempts: 1}
		_, lock, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		assert.ErrorContains(t, err, want, url)
		_, defaultErr := git.DefaultRef(t.Context(), url)
		for ; err != nil; err = errors.Unwrap(err) { // also what a caller may take out of it
			assert.NotContains(t, fmt.Sprintf("%+v %+v %+v", err, defaultErr, lock), "cr3t", url)
		}
	}
}

func cutRequest(w http.ResponseWriter, _ *http.Request) { cut(w) }

func redirectAway(w http.ResponseWriter, req *http.Request) {
	http.Redirect(w, req, "http://me:s3cr3t@elsewhere.example"+req.URL.RequestURI(), http.StatusFound)
}

func redirectToo(w http.ResponseWriter, req *http.Request) {
	http.Redirect(w, req, "http://me:s3cr3t@"+req.Host+req.URL.RequestURI(), http.StatusFound)
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	target := r.ServeHTTP(nil, nil)
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, strings.TrimSuffix(target, "/repo.git")+req.URL.RequestURI(), http.StatusFound)
	}))
	defer redirect.Close()

	_, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: redirect.URL + "/repo.git", Ref: "main"})
	require.NoError(t, err)
	assert.Equal(t, redirect.URL+"/repo.git", lock.Repo, "the user's text")

	only := &repository.Git{Access: repository.Access{Network: []string{strings.TrimPrefix(redirect.URL, "http://")}}}
	_, _, err = only.Fetch(t.Context(), repository.GitRef{Repo: redirect.URL + "/repo.git", Ref: "main"})
	require.ErrorContains(t, err, "network access to 127.0.0.1 is not allowed")
}

func TestServersThatFail(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	empty := r.ServeHTTP(nil, nil)
	daemon := r.ServeGit(nil)
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake's failure is the point
	untrusted.StartTLS()
	defer untrusted.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	for url, want := range map[string]string{
		empty:                                    "the repository is empty",
		daemon:                                   "the repository is empty",
		daemon + "x":                             "repository not found",
		untrusted.URL + "/r":                     "TLS: ",
		"git://" + closed.Addr().String() + "/r": "connection refused",
	} {
		git := newGit(r)
		git.Attempts = 2
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		assert.ErrorContains(t, err, want, url)
	}
}

func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, conn)
		}
	}()
	for _, scheme := range []string{"http", "git"} {
		git := &repository.Git{Access: repository.Access{Network: []string{"*"}}}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, _, err = git.Fetch(ctx, repository.GitRef{Repo: scheme + "://" + listener.Addr().String() + "/r", Ref: "main"})
		require.ErrorIs(t, err, context.DeadlineExceeded, scheme)
		assert.Less(t, time.Since(start), 5*time.Second)
	}
}
