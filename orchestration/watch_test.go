package orchestration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

var watchedKey = repositoryKey{"ns", "r"}

// rev is a revision of package p in the repository that is watched.
func rev(workspace string, l api.Lifecycle, number int) Revision {
	return Revision{"ns", repository.Revision{Repository: "r", Package: "p", Workspace: workspace, Lifecycle: l, Number: number, Ref: workspace}}
}

// holds has the repository listed.
func (w *watchers) holds(t *testing.T, revisions ...Revision) {
	t.Helper()
	require.NoError(t, w.look(watchedKey, func() ([]Revision, error) { return revisions, nil }))
}

// drain takes what is in the queue, as "Type workspace lifecycle".
func drain(one *watcher) []string {
	var out []string
	for e, ok := one.take(); ok; e, ok = one.take() {
		out = append(out, fmt.Sprintf("%s %s %s", e.Type, e.Revision.Workspace, e.Revision.Lifecycle))
	}
	return out
}

func TestWatchersCompareListings(t *testing.T) {
	var w watchers
	one := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
	assert.Empty(t, drain(one))
	w.holds(t, rev("v1", api.Draft, 0), rev("main", api.Published, -1))
	assert.Equal(t, []string{"Added v1 Draft", "Added main Published"}, drain(one))
	w.holds(t, rev("v1", api.Draft, 0), rev("main", api.Published, -1))
	assert.Empty(t, drain(one), "nothing has changed")
	w.holds(t, rev("v1", api.Published, 1), rev("main", api.Published, -1))
	assert.Equal(t, []string{"Modified v1 Published"}, drain(one), "a draft that is published is the same revision")
	labelled := rev("v1", api.Published, 1)
	labelled.Labels = map[string]string{"a": "b"}
	w.holds(t, labelled)
	assert.Equal(t, []string{"Deleted main Published", "Modified v1 Published"}, drain(one))

	// who comes later begins with what there is
	assert.Equal(t, []string{"Added v1 Published"}, drain(w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})))
	// what can't be listed changes nothing
	failed := errors.New("no")
	assert.ErrorIs(t, w.look(watchedKey, func() ([]Revision, error) { return nil, failed }), failed)
	assert.Empty(t, drain(one))
}

// A draft in a workspace that is named as the branch is another revision than
// the placeholder; of two published ones of one name the last counts, always.
func TestWatchersSameName(t *testing.T) {
	var w watchers
	one := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
	a, b := rev("main", api.Published, 1), rev("main", api.Published, 2)
	a.Ref, b.Ref = "p/v1", "p/v2"
	for range 3 {
		w.holds(t, rev("main", api.Published, -1), a, b)
	}
	assert.Len(t, drain(one), 2)
	w.holds(t, rev("main", api.Published, -1))
	assert.Equal(t, []string{"Deleted main Published"}, drain(one))
}

func TestWatchersFilter(t *testing.T) {
	other := rev("v1", api.Draft, 0)
	other.Repository = "s"
	labelled := rev("v1", api.Draft, 0)
	labelled.Labels = map[string]string{"a": "b"}
	latest := rev("v1", api.Published, 3)
	latest.Latest = true
	deep := rev("v1", api.Draft, 0)
	deep.Package = "p/q"
	for _, tt := range []struct {
		name       string
		filter     Filter
		match, not Revision
	}{
		{"namespace", Filter{Namespace: "ns"}, rev("v1", api.Draft, 0), Revision{"else", other.Revision}},
		{"repository", Filter{Repository: "r"}, rev("v1", api.Draft, 0), other},
		{"package", Filter{Filter: repository.Filter{Package: "p"}}, rev("v1", api.Draft, 0), deep},
		{"path", Filter{Filter: repository.Filter{PathPrefix: "p/q"}}, deep, rev("v1", api.Draft, 0)},
		{"workspace", Filter{Filter: repository.Filter{Workspace: "v1"}}, rev("v1", api.Draft, 0), rev("v2", api.Draft, 0)},
		{"name", Filter{Filter: repository.Filter{Name: "r.p.v1"}}, rev("v1", api.Draft, 0), rev("v2", api.Draft, 0)},
		{"revision", Filter{Filter: repository.Filter{Number: 3}}, latest, rev("v2", api.Published, 2)},
		{"lifecycle", Filter{Filter: repository.Filter{Lifecycles: []api.Lifecycle{api.Draft, api.Proposed}}}, rev("v1", api.Proposed, 0), rev("v2", api.Published, 1)},
		{"labels", Filter{Filter: repository.Filter{Labels: map[string]string{"a": "b"}}}, labelled, rev("v2", api.Draft, 0)},
		{"latest", Filter{Filter: repository.Filter{Labels: map[string]string{repository.LatestLabel: "true"}}}, latest, rev("v2", api.Published, 2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w watchers
			one := w.add(t.Context(), tt.filter, []repositoryKey{watchedKey})
			w.holds(t, tt.match, tt.not)
			e, ok := one.take()
			require.True(t, ok)
			assert.Equal(t, Event{Added, tt.match}, e)
			assert.Empty(t, drain(one))
			w.holds(t)
			assert.Len(t, drain(one), 1)
		})
	}
}

// Whoever watches drafts sees a proposed one go, and a rejected one come back.
func TestWatchersFilterTransition(t *testing.T) {
	var w watchers
	one := w.add(t.Context(), Filter{Filter: repository.Filter{Lifecycles: []api.Lifecycle{api.Draft}}}, []repositoryKey{watchedKey})
	w.holds(t, rev("v1", api.Draft, 0))
	assert.Equal(t, []string{"Added v1 Draft"}, drain(one))
	w.holds(t, rev("v1", api.Proposed, 0))
	assert.Equal(t, []string{"Deleted v1 Proposed"}, drain(one))
	w.holds(t, rev("v1", api.Draft, 0))
	assert.Equal(t, []string{"Added v1 Draft"}, drain(one))
}

func TestWatchersMergeWhatNobodyTook(t *testing.T) {
	draft, proposed, published := rev("v1", api.Draft, 0), rev("v1", api.Proposed, 0), rev("v1", api.Published, 1)
	for _, tt := range []struct {
		name string
		took []Revision   // what the watcher has seen
		then [][]Revision // what is listed then
		want []string
	}{
		{"added and changed", nil, [][]Revision{{draft}, {proposed}, {published}}, []string{"Added v1 Published"}},
		{"added and deleted", nil, [][]Revision{{draft}, {proposed}, {}}, nil},
		{"changed twice", []Revision{draft}, [][]Revision{{proposed}, {published}}, []string{"Modified v1 Published"}},
		{"changed and deleted", []Revision{draft}, [][]Revision{{proposed}, {}}, []string{"Deleted v1 Proposed"}},
		{"deleted and made anew", []Revision{published}, [][]Revision{{}, {draft}}, []string{"Modified v1 Draft"}},
		{"made, deleted and made anew", nil, [][]Revision{{draft}, {}, {proposed}}, []string{"Added v1 Proposed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w watchers
			one := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
			w.holds(t, tt.took...)
			drain(one)
			for _, list := range tt.then {
				w.holds(t, list...)
			}
			assert.Equal(t, tt.want, drain(one))
		})
	}
}

// Nobody waits for a watcher that takes nothing, and it keeps no more than there
// is.
func TestWatchersSlow(t *testing.T) {
	var w watchers
	slow := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
	for i := range 1000 {
		w.holds(t, rev("v1", api.Draft, i), rev(fmt.Sprintf("v%d", i+2), api.Draft, 0))
		require.LessOrEqual(t, slow.queue.Len(), 2)
	}
	assert.Equal(t, []string{"Added v1 Draft", "Added v1001 Draft"}, drain(slow))
}

func TestWatchersAreFreed(t *testing.T) {
	var w watchers
	ctx, cancel := context.WithCancel(t.Context())
	one := w.add(ctx, Filter{}, []repositoryKey{watchedKey})
	two := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
	w.holds(t, rev("v1", api.Draft, 0))

	for range w.events(two) {
		break // the loop is left
	}
	assert.Len(t, w.all, 1)
	for range w.events(two) {
		t.Error("an event after the end")
	}

	cancel()
	for range w.events(one) { // ends, whatever is in the queue
	}
	assert.Nil(t, w.all)
	assert.Nil(t, w.contents, "nothing is remembered for nobody")
	w.holds(t, rev("v2", api.Draft, 0)) // and nothing is listed
	assert.Nil(t, w.contents)
}

// A listing that began when others watched tells nobody who came meanwhile: it is
// compared with what those knew.
func TestWatchersLateListing(t *testing.T) {
	var w watchers
	ctx, cancel := context.WithCancel(t.Context())
	one := w.add(ctx, Filter{}, []repositoryKey{watchedKey})
	var two *watcher
	require.NoError(t, w.look(watchedKey, func() ([]Revision, error) {
		cancel()
		for range w.events(one) { // until it has gone
		}
		two = w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
		w.holds(t, rev("v1", api.Draft, 0))
		assert.Equal(t, []string{"Added v1 Draft"}, drain(two))
		return []Revision{rev("v1", api.Draft, 0)}, nil
	}))
	assert.Empty(t, drain(two))
}

// However listings and watchers come and go at the same time, everybody ends
// with what there is.
func TestWatchersConcurrently(t *testing.T) {
	var w watchers
	var mu sync.Mutex
	content := []Revision{rev("end", api.Draft, 0)}
	look := func() {
		assert.NoError(t, w.look(watchedKey, func() ([]Revision, error) {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(content), nil
		}))
	}
	keep := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
	defer w.remove(keep)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { // makes and deletes revisions
			for n := range 50 {
				mu.Lock()
				content = append(content, rev(fmt.Sprintf("w%d-%d", i, n), api.Draft, 0))
				mu.Unlock()
				look()
				mu.Lock()
				content = slices.DeleteFunc(content, func(r Revision) bool { return r.Workspace == fmt.Sprintf("w%d-%d", i, n) })
				mu.Unlock()
				look()
			}
		})
		wg.Go(func() { // watches
			seen := map[string]bool{}
			one := w.add(t.Context(), Filter{}, []repositoryKey{watchedKey})
			look()
			for e := range w.events(one) {
				key := e.Revision.Workspace
				assert.Equal(t, e.Type != Added, seen[key], "%s %s", e.Type, key)
				if seen[key] = e.Type != Deleted; seen["end"] && len(seen) > 20 {
					return
				}
				if e.Type == Added && key == "end" && i%2 == 0 {
					return
				}
			}
		})
	}
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() { // whoever waits for more events gets them
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-enough:
				return
			default:
			}
			mu.Lock()
			content = append(content[:0:0], rev("end", api.Draft, 0), rev(fmt.Sprintf("x%d", i), api.Draft, 0))
			mu.Unlock()
			look()
		}
	}()
	wg.Wait()
	close(enough)
	<-ended
	assert.Len(t, w.all, 1)
}
