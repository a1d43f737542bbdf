package progress

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"golang.org/x/term"
)

// Style is how a run is shown to people.
type Style struct {
	Tree  bool // a tree that is drawn again and again, else plain lines
	Color bool // of the tree
}

// StyleFor is the style for w: a tree if w is a terminal that can draw one and CI
// is not set in the environment, in colour if NO_COLOR isn't set either.
func StyleFor(w io.Writer, getenv func(string) string) Style {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || runtime.GOOS == "windows" {
		return Style{}
	}
	if t := getenv("TERM"); t == "" || t == "dumb" {
		return Style{}
	}
	if ci := getenv("CI"); ci != "" && ci != "false" && ci != "0" {
		return Style{}
	}
	return Style{Tree: true, Color: getenv("NO_COLOR") == ""}
}

// frameTime is the time between two drawings of the tree.
const frameTime = 100 * time.Millisecond

// Live shows a run while it takes place, as a tree or in lines.
//
// The tree is drawn at most 10 times a second, is never higher than the
// terminal, and is gone after Close. When it is too high, what runs, the last
// failures and what comes next are shown, and the rest is counted.
//
// There is a line when a task starts, completes, fails, is to be tried again, is
// held back, or won't be run, and why.
//
// Nothing but Live may write to the terminal until Close. Its methods may be
// called concurrently; those of a nil *Live do nothing.
type Live struct {
	lines  *queue  // nil: the tree
	screen *screen // nil: lines

	isTask func(path string) bool

	mu     sync.Mutex
	paths  []string
	tasks  []liveTask // as paths
	byPath map[string]int
	counts [dag.Cancelled + 1]int
	active map[int]bool // tasks that are Executing
	failed []int        // tasks in the order of their failures
	next   int          // all nodes of the tree before it have ended
	tree   tree         // nil: to be made
	places []int        // of tasks in the tree
	fresh  bool         // something is to be drawn
	begun  time.Time
}

// liveTask is what is known of a task.
type liveTask struct {
	state    dag.State
	clean    bool
	attempts int
	since    time.Time // when the attempt began
	took     time.Duration
	note     string // why it is where it is
}

// NewLive returns a Live that writes to w until Close. paths are those of all
// tasks and plans, in the order to show them; isTask says which are counted as
// tasks, nil for all.
func NewLive(w io.Writer, s Style, paths []string, isTask func(path string) bool) *Live {
	return newLive(w, s, paths, isTask, func() (width, height int) { return sizeOf(w) })
}

func newLive(w io.Writer, s Style, paths []string, isTask func(path string) bool, size func() (width, height int)) *Live {
	if !s.Tree {
		return &Live{lines: newQueue(w)}
	}
	l := &Live{
		paths: append([]string(nil), paths...), tasks: make([]liveTask, len(paths)), byPath: make(map[string]int, len(paths)),
		active: map[int]bool{}, begun: time.Now(), isTask: isTask,
	}
	for i, p := range paths {
		l.byPath[p] = i
		l.count(p, dag.Pending, 1)
	}
	l.screen = newScreen(w, size, s.Color, l.frame)
	return l
}

// Close ends the showing: lines are written to the end, a tree is erased. The
// error is that of the writer.
func (l *Live) Close() error {
	switch {
	case l == nil:
		return nil
	case l.lines != nil:
		return l.lines.close()
	}
	return l.screen.close()
}

// Observe takes an event of a run.
func (l *Live) Observe(e dag.Event) {
	switch {
	case l == nil:
	case l.lines == nil:
		l.take(e)
	case (e.To == dag.Ready || e.To == dag.Pending) && e.Reason == "" && e.Err == nil:
	default:
		l.lines.put(func(b []byte) []byte { return append(append(b, line(e)...), '\n') })
	}
}

const (
	widestPath = 200
	widestWhy  = 1000
)

// line is an event in words.
func line(e dag.Event) string {
	var b strings.Builder
	b.WriteString(clean(e.Step, widestPath))
	b.WriteString(": ")
	said := ""
	switch {
	case e.To == dag.Executing && e.Attempt > 1:
		fmt.Fprintf(&b, "attempt %d started", e.Attempt)
	case e.To == dag.Executing:
		b.WriteString("started")
	case e.To == dag.Completed && e.Clean:
		b.WriteString("completed, there was nothing to do")
	case e.To == dag.Completed:
		b.WriteString("completed")
		if e.From == dag.Executing {
			b.WriteString(" in " + span(e.Elapsed))
		}
	case e.To == dag.Failed:
		b.WriteString("failed")
		if e.From == dag.Executing {
			b.WriteString(" after " + span(e.Elapsed))
		}
		said = failure(e)
	case e.To == dag.Pending && e.Err != nil:
		b.WriteString("to be tried again")
		said = failure(e)
	case e.To == dag.Pending && e.Elapsed > 0:
		b.WriteString("interrupted after " + span(e.Elapsed))
	case e.To == dag.Pending: // a plan: its tasks say what they wait for
		b.WriteString("left for the next run")
	case e.To == dag.Ready:
		b.WriteString("held back")
		said = e.Reason
	default:
		b.WriteString(strings.ToLower(e.To.String()))
		said = e.Reason
	}
	if said != "" {
		b.WriteString(": " + clean(said, widestWhy))
	}
	return b.String()
}

// failure is what went wrong: the reason, the code and the error.
func failure(e dag.Event) string {
	reason, err := words(e)
	var parts []string
	for _, p := range []string{reason, string(e.Code), err} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// count adds n to how many tasks are in a state, if that is what is at path.
func (l *Live) count(path string, state dag.State, n int) {
	if l.isTask == nil || l.isTask(path) {
		l.counts[state] += n
	}
}

// take keeps what the tree shows of an event.
func (l *Live) take(e dag.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.byPath[e.Step]
	if !ok { // nobody said there would be this one
		i = len(l.paths)
		l.byPath[e.Step] = i
		l.paths = append(l.paths, e.Step)
		l.tasks = append(l.tasks, liveTask{})
		l.count(e.Step, dag.Pending, 1)
		l.tree = nil
	}
	t := &l.tasks[i]
	l.fresh = true
	l.count(e.Step, t.state, -1)
	l.count(e.Step, e.To, 1)
	if t.state == dag.Executing {
		delete(l.active, i)
	}
	t.state, t.attempts, t.took, t.clean = e.To, e.Attempt, e.Elapsed, e.Clean
	switch e.To {
	case dag.Executing:
		l.active[i] = true
		t.since = time.Now()
	case dag.Failed:
		l.failed = append(l.failed, i)
		t.note = clean(failure(e), widestPath)
	case dag.Completed:
		t.note = ""
	default:
		t.note = clean(e.Reason, widestPath)
		if e.To == dag.Pending && e.Err != nil {
			t.note = "to be tried again: " + clean(failure(e), widestPath)
		}
	}
}
