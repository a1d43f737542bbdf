package repository_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// Attempts and RetryDelay say how often a server that is down is asked, and how
// soon.
func TestRetryDelay(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	down := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tries.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
	}
	r := repositorytest.New(t)
	url, host := r.ServeHTTP(nil, down), serveRegistry(t, down)
	fetches := map[string]func(context.Context, int, time.Duration) error{
		"git": func(ctx context.Context, attempts int, delay time.Duration) error {
			git := newGit(r)
			git.Attempts, git.RetryDelay = attempts, delay
			_, _, err := git.Fetch(ctx, repository.GitRef{Repo: url, Ref: "main"})
			return err
		},
		"oci": func(ctx context.Context, attempts int, delay time.Duration) error {
			oci := newOCI()
			oci.Attempts, oci.RetryDelay = attempts, delay
			_, _, err := oci.Fetch(ctx, repository.OCIRef{Image: host + "/x:v1"})
			return err
		},
	}
	for name, fetch := range fetches {
		tries.Store(0)
		start := time.Now()
		require.ErrorContains(t, fetch(t.Context(), 8, time.Millisecond), "503", name)
		assert.GreaterOrEqual(t, tries.Load(), int64(8), name)
		assert.Less(t, time.Since(start), 3*time.Second, "%s: by default the pauses take 3.2 s or more", name)

		tries.Store(0)
		require.ErrorContains(t, fetch(t.Context(), 1, time.Hour), "503", name)
		once := tries.Load() // a registry without TLS is asked with TLS too
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		tries.Store(0)
		require.ErrorIs(t, fetch(ctx, 3, time.Hour), context.DeadlineExceeded, name)
		cancel()
		assert.Equal(t, once, tries.Load(), "%s: it is waiting", name)
	}
}
