package orchestration

import (
	"container/list"
	"context"
	"iter"
	"reflect"
	"slices"
	"sync"
)

// EventType is what happened to a package revision.
type EventType string

// The types of events.
const (
	Added    EventType = "Added"
	Modified EventType = "Modified"
	Deleted  EventType = "Deleted"
)

// Event is a change of a package revision.
type Event struct {
	Type EventType
	// Revision is the package revision as it is now, a deleted one as it was
	// last seen.
	Revision Revision
}

// watchers delivers what changes in repositories to whoever watches them. The
// zero value is ready to use.
//
// It remembers what each watched repository holds, and every event is the
// difference between that and a newer listing. So nobody has to say what
// changed, and a change that is seen twice, by the engine that made it and by a
// refresh, is one event.
//
// A watcher has a queue of its own that nobody ever waits for. It holds at most
// one event a revision: one that comes while another about the same revision is
// still there is merged into it. A slow watcher thus sees fewer steps but always
// the same end, and takes no more memory than a listing does.
type watchers struct {
	mu       sync.Mutex
	all      map[*watcher]bool
	contents map[repositoryKey]*contents // of the repositories that are watched
}

// repositoryKey names a registered repository.
type repositoryKey struct{ namespace, name string }

// contents is what a repository was last seen to hold.
type contents struct {
	listing   sync.Mutex // held from the listing until it is compared: the older listing comes first
	revisions map[string]Revision
}

// watcher is one who watches.
type watcher struct {
	filter Filter
	wake   chan struct{} // holds something when there may be something in the queue
	done   chan struct{} // closed when nobody watches any more

	mu     sync.Mutex
	queue  list.List                // of Event, the oldest first
	queued map[string]*list.Element // by the revision's key
}

// key tells revisions apart as long as they exist: a draft keeps its key when it
// is published.
func (r Revision) key() string {
	key := r.Namespace + "/" + r.Name()
	if r.IsPlaceholder() {
		key += "/" // a draft may have the branch's name
	}
	return key
}

// add makes a watcher of repositories, which are gone through when they are
// listed next: what they are known to hold is Added at once.
func (w *watchers) add(ctx context.Context, f Filter, repositories []repositoryKey) *watcher {
	one := &watcher{filter: f, queued: map[string]*list.Element{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all, w.contents = map[*watcher]bool{}, map[repositoryKey]*contents{}
	}
	w.all[one] = true
	var there []Revision
	for _, key := range repositories {
		if w.contents[key] == nil {
			w.contents[key] = &contents{revisions: map[string]Revision{}}
		}
		for _, r := range w.contents[key].revisions {
			there = append(there, r)
		}
	}
	slices.SortFunc(there, compareRevisions)
	for i := range there {
		one.offer(nil, &there[i])
	}
	context.AfterFunc(ctx, func() { w.remove(one) })
	return one
}

// remove frees a watcher; without any there is nothing to remember.
func (w *watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.all[one] {
		return
	}
	delete(w.all, one)
	close(one.done)
	if len(w.all) == 0 {
		w.all, w.contents = nil, nil
	}
}

// look lists a repository, if anybody watches it, and tells who does what has
// changed since the last time.
func (w *watchers) look(in repositoryKey, revisions func() ([]Revision, error)) error {
	w.mu.Lock()
	c := w.contents[in]
	w.mu.Unlock()
	if c == nil {
		return nil
	}
	c.listing.Lock()
	defer c.listing.Unlock()
	found, err := revisions()
	if err != nil {
		return err
	}
	now := make(map[string]Revision, len(found))
	for _, r := range found {
		now[r.key()] = r
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.contents[in] != c { // nobody watched for a while: c says what was before
		return nil
	}
	var gone []Revision
	for key, r := range c.revisions {
		if _, still := now[key]; !still {
			gone = append(gone, r)
		}
	}
	slices.SortFunc(gone, compareRevisions)
	for i := range gone {
		w.tell(&gone[i], nil)
	}
	for i := range found {
		key := found[i].key()
		old, known := c.revisions[key]
		switch {
		case now[key].Ref != found[i].Ref: // somebody else made two of one name: the last counts
		case !known:
			w.tell(nil, &found[i])
		case !reflect.DeepEqual(old, found[i]):
			w.tell(&old, &found[i])
		}
	}
	c.revisions = now
	return nil
}

// tell offers a change to all watchers.
func (w *watchers) tell(old, now *Revision) {
	for one := range w.all {
		one.offer(old, now)
	}
}

// offer puts a change into the watcher's queue as its filter sees it: what comes
// to match is Added, and what ceases to is Deleted. nil is no revision.
func (one *watcher) offer(old, now *Revision) {
	before, after := old != nil && one.filter.Matches(*old), now != nil && one.filter.Matches(*now)
	var e Event
	switch {
	case before && after:
		e = Event{Modified, *now}
	case after:
		e = Event{Added, *now}
	case before && now != nil:
		e = Event{Deleted, *now}
	case before:
		e = Event{Deleted, *old}
	default:
		return
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	key := e.Revision.key()
	at := one.queued[key]
	switch {
	case at == nil:
		one.queued[key] = one.queue.PushBack(e)
	case at.Value.(Event).Type == Added && e.Type == Deleted:
		one.queue.Remove(at)
		delete(one.queued, key)
	default:
		at.Value = merged(at.Value.(Event), e)
	}
	select {
	case one.wake <- struct{}{}:
	default:
	}
}

// merged is two events about one revision in one.
func merged(first, second Event) Event {
	switch {
	case first.Type == Added:
		second.Type = Added
	case first.Type == Deleted && second.Type == Added:
		second.Type = Modified
	}
	return second
}

// next waits for an event; ok is false when nobody watches any more.
func (one *watcher) next() (e Event, ok bool) {
	for {
		select {
		case <-one.done:
			return Event{}, false
		default:
		}
		if e, ok := one.take(); ok {
			return e, true
		}
		select {
		case <-one.wake:
		case <-one.done:
		}
	}
}

// take takes the oldest event out of the queue.
func (one *watcher) take() (e Event, ok bool) {
	one.mu.Lock()
	defer one.mu.Unlock()
	at := one.queue.Front()
	if at == nil {
		return Event{}, false
	}
	e = one.queue.Remove(at).(Event)
	delete(one.queued, e.Revision.key())
	return e, true
}

// events are the watcher's until it is removed, as it is when the loop ends.
func (w *watchers) events(one *watcher) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		defer w.remove(one)
		for e, ok := one.next(); ok && yield(e); e, ok = one.next() {
		}
	}
}
