package progress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stretchr/testify/require"
)

type doFunc = func(context.Context, dag.Inputs) (dag.Result, error)

// work works for d.
func work(d time.Duration, out dag.Outputs) doFunc {
	return func(ctx context.Context, _ dag.Inputs) (dag.Result, error) {
		select {
		case <-time.After(d):
			return dag.Result{Outputs: out}, nil
		case <-ctx.Done():
			return dag.Result{}, ctx.Err()
		}
	}
}

// flaky fails n times.
func flaky(n int) doFunc {
	return func(_ context.Context, in dag.Inputs) (dag.Result, error) {
		time.Sleep(time.Second)
		if in.Attempt <= n {
			return dag.Result{}, dag.Mark(dag.Transient, fmt.Errorf("the other side is\n\x1b[31mbusy\x1b[0m"))
		}
		return dag.Result{}, nil
	}
}

// sample is a graph in which everything happens.
func sample() *dag.Graph {
	return &dag.Graph{Steps: []dag.Step{
		{Name: "clone", Do: work(1500*time.Millisecond, dag.Outputs{"n": 3, "text": "<\u009b2J>"})},
		{Name: "same", Do: func(context.Context, dag.Inputs) (dag.Result, error) { return dag.Result{Clean: true}, nil }},
		{Name: "flaky", Do: flaky(1), Retry: dag.Retry{Limit: 1, Delay: 2 * time.Second}, Needs: []dag.Need{{Step: "clone"}}},
		{Name: "inner", Needs: []dag.Need{{Step: "same"}}, Graph: &dag.Graph{Steps: []dag.Step{
			{Name: "a", Do: work(90*time.Second, nil)},
			{Name: "b", Do: flaky(9), Needs: []dag.Need{{Step: "a"}}, Retry: dag.Retry{Limit: 1}},
		}}},
		{Name: "gate", Needs: []dag.Need{{Step: "clone"}}},
		{Name: "after", Do: work(0, nil), Needs: []dag.Need{{Step: "inner"}}},
		{Name: "else", Do: work(0, nil), Needs: []dag.Need{{Step: "clone", Type: dag.Conditional, On: []dag.State{dag.Failed}}}},
		{Name: "held", Do: work(0, nil), Hold: "nobody has approved"},
	}}
}

var paths = []string{"clone", "same", "flaky", "inner", "inner/a", "inner/b", "gate", "after", "else", "held"}

// epoch is the time in a bubble of synctest.
const epoch = "2000-01-01T00:00:00Z"

// decode reads events; each is one line, and what a terminal would obey is in
// none.
func decode(t *testing.T, text string) []map[string]any {
	t.Helper()
	requireHarmless(t, text)
	var all []map[string]any
	for line := range strings.Lines(text) {
		require.True(t, strings.HasSuffix(line, "\n"), line)
		e := map[string]any{}
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		all = append(all, e)
	}
	return all
}

// TestEventsOfRun compares with what the run told, event by event.
func TestEventsOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var told []dag.Event
		e := NewEvents(&b, EventsConfig{Run: "r1", Name: "my plan/ü"})
		e.PlanStarted(len(paths))
		report, err := dag.Run(t.Context(), sample(), dag.Options{Observe: func(ev dag.Event) { told = append(told, ev); e.Observe(ev) }})
		require.Error(t, err)
		e.PlanEnded(report)
		e.PackageRevision(Modified, PackageRevision{Name: "repo.pkg.v1", Repository: "repo", Package: "a/pkg", Workspace: "v1", Revision: -1, Lifecycle: "Draft"})
		require.NoError(t, e.Close())

		events := decode(t, b.String())
		require.Len(t, events, len(told)+3)
		for i, got := range events {
			require.Equal(t, "1.0", got["specversion"])
			require.Equal(t, fmt.Sprintf("r1-%d", i+1), got["id"])
			require.Equal(t, "/stoop/my%20plan%2F%C3%BC", got["source"])
			require.Equal(t, "application/json", got["datacontenttype"])
		}
		start, err := time.Parse(time.RFC3339, epoch)
		require.NoError(t, err)
		for i, ev := range told {
			got := events[i+1]
			require.Equal(t, "dev.stoop.task."+strings.ToLower(ev.To.String())+".v1", got["type"])
			require.Equal(t, ev.Step, got["subject"])
			require.Equal(t, start.Add(ev.At).Format(time.RFC3339Nano), got["time"])
			want := map[string]any{
				"from": ev.From.String(), "to": ev.To.String(), "attempt": float64(ev.Attempt), "code": string(ev.Code),
				"elapsedMs": float64(ev.Elapsed.Milliseconds()), "clean": ev.Clean, "reason": ev.Reason,
			}
			data := got["data"].(map[string]any)
			if ev.Err != nil {
				require.Contains(t, data["reason"], "the other side is\n\x1b[31mbusy\x1b[0m")
				require.Contains(t, data["reason"], ev.Reason)
				delete(want, "reason")
				delete(data, "reason")
			}
			if ev.Outputs != nil {
				want["outputs"] = map[string]any{"n": 3.0, "text": "<\u009b2J>"}
			}
			require.Equal(t, want, data)
		}
		require.Equal(t, []any{"dev.stoop.plan.started.v1", "my plan/ü", map[string]any{"tasks": 10.0}},
			[]any{events[0]["type"], events[0]["subject"], events[0]["data"]})
		ended, last := events[len(events)-2], events[len(events)-1]
		require.Equal(t, "dev.stoop.plan.ended.v1", ended["type"])
		require.Subset(t, ended["data"], map[string]any{"phase": string(report.Phase), "failed": float64(report.Stats.Failed), "elapsedMs": float64(report.Elapsed.Milliseconds())})
		require.Equal(t, "dev.stoop.packagerevision.modified.v1", last["type"])
		require.Equal(t, map[string]any{"name": "repo.pkg.v1", "repository": "repo", "package": "a/pkg", "workspace": "v1", "revision": -1.0, "lifecycle": "Draft"}, last["data"])
	})
}

func TestEventsFilter(t *testing.T) {
	for filter, want := range map[string][]string{
		"type=failed":                            {"failed inner/b", "failed inner"},
		"type=Failed,type=task.blocked":          {"failed inner/b", "failed inner", "blocked after"},
		"type=dev.stoop.task.skip*.v1":           {"skipped else"},
		"task=inner/*,type=executing":            {"executing inner/a", "executing inner/b", "executing inner/b"},
		"task=i*,type=failed":                    {"failed inner"},
		"task=i**,type=failed":                   {"failed inner/b", "failed inner"},
		"task=????,type=completed, task=inner/?": {"completed same", "completed gate", "completed inner/a"},
		"type=plan.*":                            {"started plan", "ended plan"},
		"type=added":                             {"added repo.pkg.v1"},
		"type=added,task=inner":                  nil,
	} {
		t.Run(filter, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := ParseFilter(filter)
				require.NoError(t, err)
				var b bytes.Buffer
				e := NewEvents(&b, EventsConfig{Run: "r", Name: "plan", Filter: f})
				e.PlanStarted(1)
				report, _ := dag.Run(t.Context(), sample(), dag.Options{Observe: e.Observe})
				e.PlanEnded(report)
				e.PackageRevision(Added, PackageRevision{Name: "repo.pkg.v1"})
				require.NoError(t, e.Close())
				var got []string
				for i, ev := range decode(t, b.String()) {
					require.Equal(t, fmt.Sprintf("r-%d", i+1), ev["id"])
					got = append(got, strings.Split(ev["type"].(string), ".")[3]+" "+ev["subject"].(string))
				}
				require.Equal(t, want, got)
			})
		})
	}
}

func TestParseFilterErrors(t *testing.T) {
	for text, want := range map[string]string{
		"failed":                `"failed" is no term: write type=GLOB or task=GLOB`,
		"type=":                 `"type=" is no term`,
		"type=failed,":          `"" is no term`,
		"type=fialed":           `no event has type "fialed": the types are task.pending, task.ready, `,
		"kind=x":                `there is no "kind" to filter by: write type=GLOB or task=GLOB`,
		"type=[a-z]*,task=\xff": `no event has type "[a-z]*"`,
	} {
		_, err := ParseFilter(text)
		require.ErrorContains(t, err, want)
	}
	f, err := ParseFilter("task=\xff(")
	require.NoError(t, err)
	require.False(t, f.passes(kind(dag.Failed), "x"))
}

// TestEventsOutputsJSONCannotHold keeps the event and tells at the end.
func TestEventsOutputsJSONCannotHold(t *testing.T) {
	var b bytes.Buffer
	e := NewEvents(&b, EventsConfig{Run: "r"})
	e.Observe(dag.Event{Step: "a", To: dag.Completed, Outputs: dag.Outputs{"x": math.NaN()}})
	e.Observe(dag.Event{Step: "b", To: dag.Completed})
	require.ErrorContains(t, e.Close(), "writing events: outputs of a: json: unsupported value: NaN")
	require.Len(t, decode(t, b.String()), 2)
}

func TestEventsConcurrently(t *testing.T) {
	var b bytes.Buffer
	e := NewEvents(&b, EventsConfig{Run: "r"})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				e.PackageRevision(Deleted, PackageRevision{Name: "x"})
			}
		})
	}
	all.Wait()
	require.NoError(t, e.Close())
	for i, ev := range decode(t, b.String()) {
		require.Equal(t, fmt.Sprintf("r-%d", i+1), ev["id"])
	}
	require.Equal(t, 1600, strings.Count(b.String(), "\n"))
}

func TestNilEvents(t *testing.T) {
	var e *Events
	e.PlanStarted(1)
	e.Observe(dag.Event{})
	e.PackageRevision(Added, PackageRevision{})
	e.PlanEnded(&dag.Report{})
	require.NoError(t, e.Close())
}

// TestEventsReaderGone runs a graph to its end while nobody reads.
func TestEventsReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	e := NewEvents(w, EventsConfig{Run: "r"})
	e.PlanStarted(1)
	line := make([]byte, 1)
	_, err = io.ReadFull(r, line) // it is written though nobody closed anything
	require.NoError(t, err)
	require.NoError(t, r.Close())
	report, err := dag.Run(t.Context(), many(5000), dag.Options{Observe: e.Observe})
	require.NoError(t, err)
	require.Equal(t, 5000, report.Stats.Completed)
	require.ErrorContains(t, e.Close(), "broken pipe")
	require.NoError(t, w.Close())
}

func TestEventsDiskFull(t *testing.T) {
	f, err := OpenEvents("/dev/full", nil, "")
	if err != nil {
		t.Skipf("there is no /dev/full: %v", err)
	}
	e := NewEvents(f, EventsConfig{Run: "r"})
	report, err := dag.Run(t.Context(), many(100), dag.Options{Observe: e.Observe})
	require.NoError(t, err)
	require.Equal(t, 100, report.Stats.Completed)
	require.ErrorContains(t, e.Close(), "writing events: write /dev/full: no space left on device")
	require.NoError(t, f.Close())
}

// TestEventsReaderStuck has a reader that takes nothing at all.
func TestEventsReaderStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		e := NewEvents(w, EventsConfig{Run: "r"})
		start := time.Now()
		report, err := dag.Run(t.Context(), many(100), dag.Options{Observe: e.Observe})
		require.NoError(t, err)
		require.Equal(t, 100, report.Stats.Completed)
		require.Zero(t, time.Since(start))
		require.ErrorContains(t, e.Close(), "the reader has taken nothing for 10s")
		require.Equal(t, patience, time.Since(start))
		require.NoError(t, r.Close())
	})
}

// TestEventsReaderSlow has one that takes something now and then; it gets all.
func TestEventsReaderSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		e := NewEvents(w, EventsConfig{Run: "r"})
		_, err := dag.Run(t.Context(), many(1000), dag.Options{Observe: e.Observe})
		require.NoError(t, err)
		read := make(chan string)
		go func() {
			var all bytes.Buffer
			part := make([]byte, mostAtOnce)
			for {
				time.Sleep(patience - time.Second)
				n, err := r.Read(part)
				all.Write(part[:n])
				if err != nil {
					read <- all.String()
					return
				}
			}
		}()
		require.NoError(t, e.Close())
		require.NoError(t, w.Close())
		require.Len(t, decode(t, <-read), 3000)
	})
}

// TestQueueBound stops taking in before the memory is full, and what was taken is
// written.
func TestQueueBound(t *testing.T) {
	r, w := io.Pipe()
	q := newQueue(w)
	taken := 0
	for range mostQueued>>20 + 10 {
		q.put(func(b []byte) []byte { taken++; return append(b, make([]byte, 1<<20)...) })
	}
	require.Equal(t, mostQueued>>20+1, taken)
	read := make(chan int64)
	go func() { n, _ := io.Copy(io.Discard, r); read <- n }()
	require.ErrorContains(t, q.close(), "nobody has read 64 MiB: what followed is left out")
	require.NoError(t, w.Close())
	require.Equal(t, int64(taken)<<20, <-read)
}

// many is a graph of n tasks that do nothing.
func many(n int) *dag.Graph {
	g := &dag.Graph{}
	for i := range n {
		g.Steps = append(g.Steps, dag.Step{Name: fmt.Sprint("task-", i), Do: func(context.Context, dag.Inputs) (dag.Result, error) { return dag.Result{}, nil }})
	}
	return g
}

func TestOpenEvents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("what was there before"), 0o600))
	f, err := OpenEvents(file, nil, "")
	require.NoError(t, err)
	e := NewEvents(f, EventsConfig{Run: "r"})
	e.PlanStarted(1)
	require.NoError(t, errors.Join(e.Close(), f.Close()))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Len(t, decode(t, string(got)), 1)

	var out bytes.Buffer
	f, err = OpenEvents("-", &out, "")
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "x", out.String())

	for name, want := range map[string]string{
		"":         "--events: empty name: write FILE, - or fd:N",
		"-":        "--events -: standard output carries the diff: write --events FILE or fd:N",
		"fd:1":     "--events fd:1: standard output carries the diff: write another one, such as fd:3",
		"fd:0":     "--events fd:0: that is standard input: write fd:3",
		"fd:x":     `--events fd:x: "x" is no file descriptor: write fd:3`,
		"fd:-1":    `"-1" is no file descriptor`,
		"fd:999":   "--events fd:999: ",
		"/no/such": "--events: open /no/such: ",
	} {
		_, err := OpenEvents(name, &out, "the diff")
		require.ErrorContains(t, err, want)
	}
}

// TestOpenEventsInProcess starts this test as a process whose reader goes away,
// on stdout and on a descriptor of its own, and which starts another process.
func TestOpenEventsInProcess(t *testing.T) {
	if name := os.Getenv("STOOP_TEST_EVENTS"); name != "" {
		f, err := OpenEvents(name, os.Stdout, "")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		e := NewEvents(f, EventsConfig{Run: "r"})
		e.PlanStarted(1)
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the reader has gone
		e.PlanStarted(2)
		fmt.Fprintln(os.Stderr, e.Close())
		fds, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		fmt.Fprintln(os.Stderr, string(fds), err)
		os.Exit(0)
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skipf("no /proc to look for descriptors in: %v", err)
	}
	for _, name := range []string{"-", "fd:1", "fd:3"} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		cmd := exec.Command(os.Args[0], "-test.run=^TestOpenEventsInProcess$")
		cmd.Env = append(os.Environ(), "STOOP_TEST_EVENTS="+name)
		var said bytes.Buffer
		cmd.Stderr = &said
		if name == "fd:3" {
			cmd.ExtraFiles = []*os.File{w}
		} else {
			cmd.Stdout = w
		}
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		require.NoError(t, w.Close())
		line := make([]byte, 1)
		_, err = io.ReadFull(r, line)
		require.NoError(t, err)
		pipe, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.Fd()))
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.NoError(t, stdin.Close())
		require.NoError(t, cmd.Wait(), said.String())
		require.Contains(t, said.String(), "broken pipe")
		require.NotContains(t, said.String(), pipe, name) // ls has its own stdout
	}
}

func BenchmarkEvents(b *testing.B) {
	e := NewEvents(io.Discard, EventsConfig{Run: "2f6a", Name: "rollout"})
	ev := dag.Event{Step: "rollout/site-0042/render", From: dag.Executing, To: dag.Completed, Attempt: 1, Elapsed: time.Second}
	b.ReportAllocs()
	for b.Loop() {
		e.Observe(ev)
	}
	_ = e.Close() // io.Discard takes all
}
