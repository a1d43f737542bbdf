package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Colours, as numbers of ECMA-48's SGR.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	gray   = "90"
)

// painter knows how wide lines may be, and whether they may be coloured.
type painter struct {
	color bool
	width int
}

func (p painter) paint(color, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// cut cuts what stands behind so many columns.
func (p painter) cut(text string, behind int) string { return cut(text, p.width-behind) }

// screen draws lines at the bottom of a terminal, over those drawn before.
type screen struct {
	w     io.Writer
	size  func() (width, height int)
	color bool
	frame func(p painter, height int) []string // none: as it was
	stop  chan struct{}
	done  chan error

	drawn int // how many lines are on the terminal
}

func newScreen(w io.Writer, size func() (width, height int), color bool, frame func(painter, int) []string) *screen {
	s := &screen{w: w, size: size, color: color, frame: frame, stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { s.done <- s.run() }()
	return s
}

func (s *screen) run() error {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.draw(); err != nil {
				return err // nobody sees what follows
			}
		case <-s.stop:
			return s.erase()
		}
	}
}

func (s *screen) close() error {
	close(s.stop)
	return <-s.done
}

// draw draws a frame in one write. Lines that are too long for the terminal after
// all are cut by it, so that their number stays right; the last line of the
// terminal is left to the cursor.
func (s *screen) draw() error {
	width, height := s.size()
	if height < 2 {
		return nil
	}
	lines := s.frame(painter{s.color, width}, height-1)
	if lines == nil {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("\x1b[?7l") // no wrapping
	s.up(&b, min(s.drawn, height-1))
	for _, l := range lines {
		b.WriteString(l + "\x1b[0m\x1b[K\n")
	}
	b.WriteString("\x1b[J\x1b[?7h")
	s.drawn = len(lines)
	_, err := s.w.Write(b.Bytes())
	return err
}

func (s *screen) erase() error {
	if s.drawn == 0 {
		return nil
	}
	var b bytes.Buffer
	s.up(&b, s.drawn)
	b.WriteString("\x1b[J")
	_, err := s.w.Write(b.Bytes())
	return err
}

func (s *screen) up(b *bytes.Buffer, lines int) {
	b.WriteByte('\r')
	if lines > 0 {
		fmt.Fprintf(b, "\x1b[%dA", lines)
	}
}

// sizeOf is the size of a terminal, 80 by 24 when it doesn't say.
func sizeOf(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		width, height, _ = term.GetSize(int(f.Fd()))
	}
	if width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}
