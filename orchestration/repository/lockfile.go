package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// fileLock is a lock that one process holds at a time, and that ends with it
// however it ends. What its file says is for the next holder to know what this
// one was about.
type fileLock struct{ f *lockedfile.File }

// lockFile waits for the lock of that file, which is made and, after use,
// removed.
func lockFile(ctx context.Context, name string) (*fileLock, error) {
	type locked struct {
		lock *fileLock
		err  error
	}
	got := make(chan locked, 1)
	go func() {
		lock, err := waitForLock(name)
		got <- locked{lock, err}
	}()
	select {
	case l := <-got:
		return l.lock, l.err
	case <-ctx.Done():
		go func() { // the wait itself can't be ended
			if l := <-got; l.err == nil {
				_ = l.lock.unlock()
			}
		}()
		return nil, fmt.Errorf("waiting for another process to finish (%s is locked): %w", name, context.Cause(ctx))
	}
}

func waitForLock(name string) (*fileLock, error) {
	for {
		f, err := lockedfile.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		have, err := f.Stat()
		if err == nil {
			var is os.FileInfo
			if is, err = os.Stat(name); err == nil && os.SameFile(have, is) {
				return &fileLock{f}, nil
			}
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("lock: %w", err)
		}
		// The one before removed the file; there may be a new one by now.
	}
}

// left is what a holder said and didn't take back, as it was killed.
func (l *fileLock) left() string {
	content, err := io.ReadAll(io.LimitReader(l.f, maxPointer))
	if err != nil {
		return ""
	}
	return string(content)
}

// say writes down what the holder is about to do.
func (l *fileLock) say(text string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(text), 0)
	return err
}

func (l *fileLock) unlock() error {
	_ = os.Remove(l.f.Name()) // some systems can't while it is open: then it stays
	return l.f.Close()
}
