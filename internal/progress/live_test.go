package progress

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := NewLive(&b, Style{}, paths, nil)
		_, _ = dag.Run(t.Context(), sample(), dag.Options{Observe: l.Observe})
		require.NoError(t, l.Close())
		require.Equal(t, strings.TrimLeft(`
held: held back: nobody has approved
same: started
clone: started
same: completed, there was nothing to do
inner: started
inner/a: started
clone: completed in 1.5s
else: skipped: the condition isn't met: clone is Completed
flaky: started
gate: completed
flaky: to be tried again: attempt 1 of 2 failed, the next is in 2s: E5200: the other side is �[31mbusy�[0m
flaky: attempt 2 started
flaky: completed in 1.0s
inner/a: completed in 1m30s
inner/b: started
inner/b: to be tried again: attempt 1 of 2 failed, the next is in 1s: E5200: the other side is �[31mbusy�[0m
inner/b: attempt 2 started
inner/b: failed after 1.0s: E5205: attempt 2 of 2: the other side is �[31mbusy�[0m
inner: failed after 1m33s: E5204: inner/b: attempt 2 of 2: the other side is �[31mbusy�[0m
after: blocked: needs inner, which is Failed
`, "\n"), b.String())
	})
}

func TestLineOfHostileEvent(t *testing.T) {
	got := line(dag.Event{
		Step: strings.Repeat("x\n", 1000), From: dag.Executing, To: dag.Failed, Code: dag.RetriesExhausted,
		Err: errors.New("\x1b]0;title\a\u2028error: all is well\r\n" + strings.Repeat("y", 1<<20)),
	})
	requireHarmless(t, got)
	require.NotContains(t, got, "\n")
	require.Less(t, len(got), 1500)
	require.Contains(t, got, "…: failed after 0.0s: E5205: �]0;title� error: all is well  yyy")
}

// terminal obeys what the tree writes, as a terminal does, and nothing else.
type terminal struct {
	t             *testing.T
	width, height int

	mu       sync.Mutex
	screen   []string // from the top; what scrolled off is gone
	row      int
	nowrap   bool
	frames   int
	scrolled int
}

func (m *terminal) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frames++
	col := 0
	for s := string(b); s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case strings.HasPrefix(s, "\x1b["):
			seq := escape.FindStringSubmatch(s)
			require.NotNil(m.t, seq, "%q", s[:min(len(s), 20)])
			n = len(seq[0])
			switch arg, _ := strconv.Atoi(seq[1]); seq[2] {
			case "A":
				m.row -= arg
				require.GreaterOrEqual(m.t, m.row, 0)
			case "J":
				m.screen = m.screen[:min(m.row, len(m.screen))]
			case "K":
			case "m":
			case "l", "h":
				m.nowrap = seq[2] == "l"
			}
		case r == '\r':
			col = 0
		case r == '\n':
			m.row++
			col = 0
			if m.row == m.height {
				m.row--
				m.screen = m.screen[1:]
				m.scrolled++
			}
		default:
			if r < ' ' || !m.nowrap {
				require.Failf(m.t, "no text", "%q", s)
			}
			for len(m.screen) <= m.row {
				m.screen = append(m.screen, "")
			}
			if col == 0 {
				m.screen[m.row] = ""
			}
			if w := columns(r); col+w <= m.width {
				m.screen[m.row] += string(r)
				col += w
			}
			if col == 0 {
				col = 1
			}
		}
		s = s[n:]
	}
	require.False(m.t, m.nowrap)
	return len(b), nil
}

var escape = regexp.MustCompile(`^\x1b\[\??(\d*)([AJKmlh])`)

func (m *terminal) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.screen, "\n")
}

// TestTreeWhile looks at the terminal at times of a run.
func TestTreeWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &terminal{t: t, width: 80, height: 24}
		l := NewLive(m, Style{Tree: true}, paths, nil)
		done := make(chan error)
		go func() {
			time.Sleep(30 * time.Millisecond) // nothing happens while the tree is drawn
			_, err := dag.Run(t.Context(), sample(), dag.Options{Observe: l.Observe})
			done <- err
		}()
		time.Sleep(3050 * time.Millisecond)
		require.Equal(t, strings.TrimSpace(`
4 of 10 tasks ended, 3.0s, 2 executing, 1 skipped
  ✓ clone  1.5s
  ✓ same   nothing to do
  · flaky  1.0s  to be tried again: attempt 1 of 2 failed, the next is in 2s: E…
  ▸ inner  3.0s
    ▸ a    3.0s
    · b
  ✓ gate
  · after
  − else   the condition isn't met: clone is Completed
  · held   nobody has approved`), m.text())
		time.Sleep(88*time.Second + 100*time.Millisecond)
		require.Contains(t, m.text(), "\n    · b    1.0s  to be tried again: ")
		time.Sleep(time.Second)
		require.Contains(t, m.text(), "\n    ▸ b    0.1s  attempt 2\n")
		require.Error(t, <-done)
		require.NoError(t, l.Close())
		require.Equal(t, "", m.text())
		require.Zero(t, m.scrolled)
	})
}

// TestTreeCountsTasks has a plan around the tasks: it is drawn, and not counted,
// also when nobody said that it would be there.
func TestTreeCountsTasks(t *testing.T) {
	for _, said := range [][]string{{"p", "p/a", "p/b"}, {"p/a", "p/b"}} {
		synctest.Test(t, func(t *testing.T) {
			m := &terminal{t: t, width: 80, height: 24}
			l := newLive(m, Style{Tree: true}, said, func(path string) bool { return path != "p" }, func() (int, int) { return m.width, m.height })
			g := &dag.Graph{Parallel: 1, Steps: []dag.Step{{Name: "p", Graph: &dag.Graph{Steps: []dag.Step{
				{Name: "a", Do: work(time.Second, nil)}, {Name: "b", Do: work(time.Second, nil)},
			}}}}}
			done := make(chan error)
			go func() {
				_, err := dag.Run(t.Context(), g, dag.Options{Observe: l.Observe})
				done <- err
			}()
			time.Sleep(1550 * time.Millisecond)
			require.Equal(t, "1 of 2 tasks ended, 1.5s, 1 executing\n  ▸ p    1.5s\n    ✓ a  1.0s\n    ▸ b  0.5s", m.text())
			require.NoError(t, <-done)
			time.Sleep(frameTime + frameTime/2)
			require.Contains(t, m.text(), "2 of 2 tasks ended")
			require.NotContains(t, m.text(), "executing")
			require.NoError(t, l.Close())
		})
	}
}

// TestTreeFits draws graphs that are too high for the terminal, with hostile
// names, and looks at every frame.
func TestTreeFits(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 6))
		synctest.Test(t, func(t *testing.T) {
			m := &terminal{t: t, width: 20 + random.IntN(80), height: 2 + random.IntN(12)}
			g := &dag.Graph{Parallel: 1 + random.IntN(30)}
			var paths []string
			for i := range 60 {
				s := dag.Step{Name: fmt.Sprintf("%d-%s", i, []string{"ok", "\x1b[2J\r\n", "界界界" + strings.Repeat("w", 200), "\u202e\u200b\u0301"}[random.IntN(4)])}
				paths = append(paths, s.Name)
				one := func(name string) dag.Step {
					d := time.Duration(random.IntN(3000)) * time.Millisecond
					if random.IntN(4) == 0 {
						return dag.Step{Name: name, Do: flaky(random.IntN(4)), Retry: dag.Retry{Limit: 2}}
					}
					return dag.Step{Name: name, Do: work(d, nil)}
				}
				if random.IntN(5) == 0 {
					s.Graph = &dag.Graph{}
					for j := range random.IntN(6) + 1 {
						s.Graph.Steps = append(s.Graph.Steps, one(fmt.Sprint(j)))
						paths = append(paths, s.Name+"/"+fmt.Sprint(j))
					}
				} else {
					s.Do = one("").Do
				}
				if i > 0 && random.IntN(3) == 0 {
					s.Needs = []dag.Need{{Step: g.Steps[random.IntN(i)].Name}}
				}
				g.Steps = append(g.Steps, s)
			}
			style := Style{Tree: true, Color: random.IntN(2) == 0}
			random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
			l := newLive(m, style, paths[random.IntN(3):], nil, func() (int, int) { return m.width, m.height })
			start := time.Now()
			report, _ := dag.Run(t.Context(), g, dag.Options{Observe: l.Observe})
			require.NotNil(t, report)
			require.NoError(t, l.Close())
			require.Empty(t, m.text())
			require.Zero(t, m.scrolled)
			require.Positive(t, m.frames)
			require.LessOrEqual(t, m.frames, int(time.Since(start)/frameTime)+1)
		})
	}
}

func TestStyleFor(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	require.Equal(t, Style{}, StyleFor(&bytes.Buffer{}, env("TERM", "xterm")))
	_, tty := openTerminal(t)
	require.Equal(t, Style{Tree: true, Color: true}, StyleFor(tty, env("TERM", "xterm")))
	require.Equal(t, Style{Tree: true}, StyleFor(tty, env("TERM", "xterm", "NO_COLOR", "1")))
	require.Equal(t, Style{}, StyleFor(tty, env("TERM", "xterm", "CI", "true")))
	require.Equal(t, Style{Tree: true, Color: true}, StyleFor(tty, env("TERM", "xterm", "CI", "false")))
	require.Equal(t, Style{}, StyleFor(tty, env("TERM", "dumb")))
	require.Equal(t, Style{}, StyleFor(tty, env()))
	plain, err := os.Create(t.TempDir() + "/x")
	require.NoError(t, err)
	defer plain.Close()
	require.Equal(t, Style{}, StyleFor(plain, env("TERM", "xterm")))
}

func TestNilLive(t *testing.T) {
	var l *Live
	l.Observe(dag.Event{})
	require.NoError(t, l.Close())
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

// TestLiveReaderGone goes on to the end.
func TestLiveReaderGone(t *testing.T) {
	for _, tree := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := NewLive(broken{}, Style{Tree: tree}, paths, nil)
			report, _ := dag.Run(t.Context(), sample(), dag.Options{Observe: l.Observe})
			require.Equal(t, 5, report.Stats.Completed)
			require.EqualError(t, l.Close(), "gone")
		})
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain", 5, "plain"},
		{"plainer", 5, "plai…"},
		{"世界", 4, "世界"},
		{"世界", 3, "世…"},
		{"世界", 2, "…"},
		{"a\tb\nc\x1b[m\u009b\u202e\u200b\xff", 0, "a b c�[m����"},
		{"x" + strings.Repeat("\u0301", 1000), 3, "x" + strings.Repeat("\u0301", 5) + "…"},
	} {
		got := clean(c.in, c.limit)
		require.Equal(t, c.want, got)
		if c.limit > 0 {
			require.LessOrEqual(t, widthOf(got), c.limit)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0.0s", 0: "0.0s", 49 * time.Millisecond: "0.0s", 1250 * time.Millisecond: "1.2s", 59949 * time.Millisecond: "59.9s",
		59951 * time.Millisecond: "1m00s", 61 * time.Second: "1m01s", time.Hour - time.Millisecond: "1h00m", 90 * time.Minute: "1h30m", 50 * time.Hour: "50h00m",
	} {
		require.Equal(t, want, span(d), d.String())
	}
}

func BenchmarkLiveNothingShown(b *testing.B) {
	var l *Live
	for b.Loop() {
		l.Observe(dag.Event{Step: "a", To: dag.Completed})
	}
}

// BenchmarkLiveTree has a tree of 100,000 tasks whose events come as fast as they
// can.
func BenchmarkLiveTree(b *testing.B) {
	paths := make([]string, 100_000)
	for i := range paths {
		paths[i] = fmt.Sprintf("rollout/site-%d", i)
	}
	l := NewLive(&bytes.Buffer{}, Style{Tree: true}, paths, nil)
	states := []dag.State{dag.Ready, dag.Executing, dag.Completed}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(dag.Event{Step: paths[i/3%len(paths)], To: states[i%3]})
		i++
	}
	_ = l.Close() // into memory
}
