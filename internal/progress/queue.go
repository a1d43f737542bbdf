package progress

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// mostQueued is how many bytes may wait for a reader.
	mostQueued = 64 << 20
	// patience is how long close waits for a reader that takes nothing.
	patience = 10 * time.Second
	// mostAtOnce is how much is written at once: what a pipe holds.
	mostAtOnce = 64 << 10
	// pause is the time between two writes, for the sake of a run that is as fast
	// as the one who writes about it.
	pause = time.Millisecond
)

// queue writes in the background: whoever puts something in never waits for a
// reader. What is put in is written at once, or together with what comes within
// the pause after the write before.
type queue struct {
	w       io.Writer
	wake    chan struct{} // holds something when something is waiting
	closing chan struct{}
	done    chan struct{} // closed when all is written, or nothing can be

	mu      sync.Mutex
	waiting []byte
	spare   []byte // the buffer that was written last
	taken   int64  // bytes
	written int64
	closed  bool
	err     error // why nothing more is taken
}

func newQueue(w io.Writer) *queue {
	q := &queue{w: w, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// put lets add append something. It isn't called when nothing can be written any
// more.
func (q *queue) put(add func([]byte) []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.err != nil {
		return
	}
	before := len(q.waiting)
	q.waiting = add(q.waiting)
	if q.taken += int64(len(q.waiting) - before); q.taken-q.written > mostQueued {
		q.err = fmt.Errorf("nobody has read %d MiB: what followed is left out", mostQueued>>20)
	}
	if before == 0 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// run writes until the queue is closed and empty, or a write fails.
func (q *queue) run() {
	defer close(q.done)
	for last := false; !last; {
		select {
		case <-q.wake:
		case <-q.closing:
			last = true
		}
		if !q.flush() {
			return
		}
		if !last {
			select {
			case <-time.After(pause):
			case <-q.closing:
			}
		}
	}
}

// flush writes what is waiting, and says whether it could.
func (q *queue) flush() bool {
	q.mu.Lock()
	b := q.waiting
	q.waiting, q.spare = q.spare[:0], nil
	q.mu.Unlock()
	for rest := b; len(rest) > 0; {
		n, err := q.w.Write(rest[:min(len(rest), mostAtOnce)])
		rest = rest[n:]
		q.mu.Lock()
		q.written += int64(n)
		if err != nil {
			q.err = errors.Join(q.err, err)
			q.waiting = nil
		}
		q.mu.Unlock()
		if err != nil {
			return false
		}
	}
	if cap(b) <= 8<<20 {
		q.mu.Lock()
		q.spare = b[:0]
		q.mu.Unlock()
	}
	return true
}

// close, to be called once, takes nothing more, waits until all is written or the
// reader has taken nothing for the time of patience, and returns what went wrong.
func (q *queue) close() error {
	q.mu.Lock()
	q.closed = true
	before := q.written
	q.mu.Unlock()
	close(q.closing)
	for {
		stalled := time.NewTimer(patience)
		select {
		case <-q.done:
			stalled.Stop()
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.err
		case <-stalled.C:
		}
		q.mu.Lock()
		now := q.written
		q.mu.Unlock()
		if now == before {
			return fmt.Errorf("the reader has taken nothing for %s: the rest is left out", patience)
		}
		before = now
	}
}
