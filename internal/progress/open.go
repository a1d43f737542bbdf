package progress

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// OpenEvents opens what --events names: a FILE, which is made or emptied; - for
// stdout; or fd:N, a file descriptor that stoop was started with, which no
// process that stoop starts gets. taken is what stdout carries otherwise, such as
// "the diff": then - is refused; empty: nothing. Closing what is returned leaves
// stdout and the file descriptor open.
func OpenEvents(name string, stdout io.Writer, taken string) (io.WriteCloser, error) {
	number, isFD := strings.CutPrefix(name, "fd:")
	switch {
	case name == "":
		return nil, errors.New("--events: empty name: write FILE, - or fd:N")
	case name == "-" && taken != "":
		return nil, fmt.Errorf("--events -: standard output carries %s: write --events FILE or fd:N", taken)
	case name == "-":
		if f, ok := stdout.(*os.File); ok {
			return duplicate(int(f.Fd()), "standard output")
		}
		return unclosed{stdout}, nil
	case isFD:
		n, err := strconv.ParseUint(number, 10, 16)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--events %s: %q is no file descriptor: write fd:3", name, number)
		case n == 0:
			return nil, fmt.Errorf("--events %s: that is standard input: write fd:3", name)
		case n == 1 && taken != "":
			return nil, fmt.Errorf("--events %s: standard output carries %s: write another one, such as fd:3", name, taken)
		}
		f, err := duplicate(int(n), name)
		if err != nil {
			return nil, fmt.Errorf("--events %s: %w: open it where stoop is started, such as stoop run DIR --events fd:3 3>events.jsonl", name, err)
		}
		return f, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	return f, nil
}

// unclosed is somebody else's to close.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }
