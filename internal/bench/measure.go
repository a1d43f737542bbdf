package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// cost is what a command took, its children included.
type cost struct {
	cpu, wall time.Duration
	peak      int64 // bytes of the largest process, 0 where the system doesn't tell
}

// least keeps the smaller of each figure.
func (c *cost) least(d cost) {
	if c.wall == 0 {
		*c = d
		return
	}
	c.cpu, c.wall, c.peak = min(c.cpu, d.cpu), min(c.wall, d.wall), min(c.peak, d.peak)
}

// measure runs a command on fresh copies of a package, given as its last
// argument, and returns the least of each cost. pkg may be empty: there is no
// last argument then. done looks at what the last run left; it may be nil.
func (b *bench) measure(pkg string, done func(dir string) error, name string, args ...string) (cost, error) {
	var all cost
	for i := range b.runs {
		check := done
		if i < b.runs-1 {
			check = nil
		}
		c, err := b.once(pkg, check, name, args)
		if err != nil {
			return cost{}, err
		}
		all.least(c)
	}
	return all, nil
}

func (b *bench) once(pkg string, done func(dir string) error, name string, args []string) (cost, error) {
	if pkg != "" {
		// Copies stay until the end: where many files were deleted a moment ago
		// ext4 takes several times as long to make new ones.
		b.copies++
		copied := filepath.Join(b.dir, fmt.Sprintf("copy-%d", b.copies))
		if err := os.CopyFS(copied, os.DirFS(pkg)); err != nil {
			return cost{}, err
		}
		pkg = copied
		args = append(args[:len(args):len(args)], copied)
	}
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", cmd, err, said.Bytes())
	}
	c := cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin), peak(cmd.ProcessState)}
	if done != nil {
		if err := done(pkg); err != nil {
			return cost{}, fmt.Errorf("%s: %w\n%s", cmd, err, said.Bytes())
		}
	}
	return c, nil
}
