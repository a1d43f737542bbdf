package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/progress"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptdir"
)

// watchFlags are how a run is shown.
type watchFlags struct {
	events, filter string
	stats          string

	shown *watch // the run, once it has started
}

func (w *watchFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&w.events, "events", "", "write what happens as CloudEvents, one in a line of JSON, to a `FILE`, - (standard output) or fd:N")
	fs.StringVar(&w.filter, "events-filter", "", "write only these events: `type=failed,task=PLAN/*,...`")
}

// statsFlag is for commands whose standard output is free.
func (w *watchFlags) statsFlag(fs *pflag.FlagSet) {
	fs.StringVar(&w.stats, "stats", "", "print figures of the run at the end, `FORMAT` text or json")
	fs.Lookup("stats").NoOptDefVal = "text"
}

// args checks arguments, and knows of one that --stats leaves standing: what its
// value may be is behind a =, since it may have none.
func (w *watchFlags) args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		for _, format := range []string{"text", "json"} {
			if err != nil && w.stats != "" && slices.Contains(args, format) {
				return usageError("--stats takes its format behind a =: write --stats=%s", format)
			}
		}
		return err
	}
}

// watch is a run being shown.
type watch struct {
	events *progress.Events
	sink   io.WriteCloser
	live   *progress.Live
	style  progress.Style
	lost   bool // events, which end has told
}

// isNews says whether an event is worth a line: what has only begun, and what
// there was nothing to do for, isn't.
func isNews(e dag.Event) bool {
	return e.To != dag.Ready && !(e.To == dag.Executing && e.Attempt == 1) && !(e.To == dag.Completed && e.Clean)
}

// open opens the events of what is at name. taken is what standard output carries
// otherwise.
func (w *watchFlags) open(a *app, name, taken string) (*watch, error) {
	filter, err := progress.ParseFilter(w.filter)
	if err != nil {
		return nil, usageError("--events-filter: %v", err)
	}
	s := &watch{}
	if w.events == "" {
		if w.filter != "" {
			return nil, usageError("--events-filter goes with --events")
		}
		return s, nil
	}
	if s.sink, err = progress.OpenEvents(w.events, a.out, taken); err != nil {
		return nil, err
	}
	s.events = progress.NewEvents(s.sink, progress.EventsConfig{Run: rand.Text()[:8], Name: name, Filter: filter})
	return s, nil
}

// start begins to show a run of what is at name. taken is what standard output
// carries otherwise. live says whether progress is shown to people, too.
func (w *watchFlags) start(a *app, opts *orchestration.Options, name, taken string, live bool) (*watch, error) {
	if w.stats != "" && w.stats != "text" && w.stats != "json" {
		return nil, usageError("--stats is %q: write text or json", w.stats)
	}
	s, err := w.open(a, name, taken)
	if err != nil {
		return nil, err
	}
	w.shown = s
	opts.Begin = func(steps []string) {
		tasks := 0
		for _, step := range steps {
			if isTask(step) {
				tasks++
			}
		}
		s.events.PlanStarted(tasks)
		if live && hasTasks(steps) {
			s.style = progress.StyleFor(a.screen, a.getenv)
			s.live = progress.NewLive(a.screen, s.style, steps, isTask)
		}
	}
	opts.Observe = func(e dag.Event) {
		s.events.Observe(e)
		if s.style.Tree || isNews(e) {
			s.live.Observe(e)
		}
	}
	return s, nil
}

// isTask says whether a step is a task or an order, rather than a plan.
func isTask(step string) bool { return strings.ContainsAny(step, "/:") }

// hasTasks says whether some of the steps are tasks rather than orders.
func hasTasks(steps []string) bool {
	for _, s := range steps {
		if !strings.HasPrefix(s, "PackageRevision") {
			return true
		}
	}
	return false
}

// end ends the showing. Nobody may write to standard error before.
func (s *watch) end(report *orchestration.Report) error {
	err := s.live.Close()
	if report != nil && report.Graph != nil {
		s.events.PlanEnded(report.Graph)
	}
	lost := s.events.Close()
	if s.sink != nil {
		lost = errors.Join(lost, s.sink.Close())
	}
	s.lost = lost != nil
	return errors.Join(err, lost)
}

// print prints the figures of a run. It fails where events of it were lost: what
// the run did is kept by now.
func (w *watchFlags) print(a *app, report *orchestration.Report) error {
	if err := w.printStats(a, report); err != nil {
		return err
	}
	if w.shown.lost {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (w *watchFlags) printStats(a *app, report *orchestration.Report) error {
	if w.stats == "" || report == nil || report.Graph == nil {
		return nil
	}
	st := progress.StatsOf(report.Graph)
	st.PlansExecuted = report.Plans
	if w.stats == "json" {
		return json.NewEncoder(a.out).Encode(st)
	}
	_, err := fmt.Fprint(a.out, st.String())
	return err
}

func (a *app) planCommand() *cobra.Command {
	var f runFlags
	format := "text"
	cmd := &cobra.Command{
		Use:   "plan DIR|FILE",
		Short: "Show what stoop run would do, and why",
		Long: `Shows the orders and tasks of a directory as the graph that stoop run makes of
them: what would run, what is done, what waits or is blocked, and why. Nothing is
run, changed or contacted.`,
		Args: exactArgs(1, "one directory or file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.plan(cmd.Context(), args[0], format, f)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", format, "`"+strings.Join(progress.GraphFormats, "|")+"`")
	f.plans.flags(cmd.Flags(), a.getenv)
	return cmd
}

func (a *app) plan(ctx context.Context, name, format string, f runFlags) error {
	var opts orchestration.Options
	if err := f.plans.options(&opts, a.getenv); err != nil {
		return err
	}
	name, only, err := declaringDir(name)
	if err != nil {
		return err
	}
	opts.Only = only
	tree, err := kptdir.Read(ctx, name, a.sources.directoryLimits())
	if err != nil {
		return err
	}
	h, done, err := a.handler(name)
	if err != nil {
		return err
	}
	defer done()
	planned, notes, err := orchestration.Inspect(h, tree, opts)
	if err != nil {
		return err
	}
	nodes := make([]progress.Node, len(planned))
	for i, p := range planned {
		nodes[i] = progress.Node{
			Path: p.Path, Type: p.Type, Target: p.Target, State: string(p.Prospect), Reason: api.HidePasswords(p.Reason),
			Priority: p.Priority, Class: p.Class, Critical: p.Critical,
		}
		for _, n := range p.Needs {
			nodes[i].Needs = append(nodes[i].Needs, progress.Edge{To: n.Path, Type: n.Type})
		}
	}
	if err := progress.WriteGraph(a.out, format, nodes, notesOf(notes)); err != nil {
		return usageError("-o: %v", err)
	}
	if format != "json" { // which has them
		a.printResults(notes)
	}
	return nil
}

// notesOf are results as the graph's notes.
func notesOf(results []fn.Result) []progress.Note {
	var notes []progress.Note
	for _, r := range results {
		n := progress.Note{Severity: string(severityOf(r)), Message: api.HidePasswords(r.Message)}
		if r.File != nil {
			n.File = r.File.Path
		}
		if r.ResourceRef != nil {
			n.Kind, n.Name = r.ResourceRef.Kind, r.ResourceRef.Name
		}
		if r.Field != nil {
			n.Field = r.Field.Path
		}
		notes = append(notes, n)
	}
	return notes
}

// nameOf is what events call a run on a directory.
func nameOf(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(dir)
}
