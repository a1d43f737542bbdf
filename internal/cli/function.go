package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
)

// hostPatience is when work is cancelled: kpt kills a function after five
// minutes, and a killed function tells nobody why.
const hostPatience = 4*time.Minute + 30*time.Second

// hostStart is how long tasks of plans are begun for a host: what is at work then
// may finish, the rest is left to the next run.
const hostStart = 4 * time.Minute

// hostTime is ctx for the time that hosts give a function. When it is up, work is
// interrupted; a plan goes on with the next run.
func hostTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, hostPatience, dag.ErrSuspend)
}

// hostSuspends is closed when no more tasks are to begin.
func hostSuspends(ctx context.Context) <-chan struct{} {
	suspend := make(chan struct{})
	timer := time.AfterFunc(hostStart, func() { close(suspend) })
	context.AfterFunc(ctx, func() { timer.Stop() })
	return suspend
}

// functionFlags are those of stoop as a KRM function.
type functionFlags struct {
	output   string
	validate bool
	publish  bool
	plans    planFlags
}

func (f *functionFlags) flags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.StringVar(&f.output, "output", "items", "`FORM` in which packages come back: items, or envelope (one PackageRevisionResources a package, all files included)")
	fs.BoolVar(&f.validate, "validate", false, "return no items, for kustomize validators")
	publishFlag(fs, &f.publish, getenv)
	f.plans.flags(fs, getenv)
}

// function reads a ResourceList, carries out its orders and writes it back. It
// never succeeds without a complete list: a host would take an empty answer for
// an empty package. When it fails the items are written as they came, with the
// results, and the exit code is 1.
func (a *app) function(ctx context.Context, flags functionFlags) error {
	if flags.output != "items" && flags.output != "envelope" {
		return usageError("--output is %q: write items or envelope", flags.output)
	}
	list, err := fn.ReadList(a.bounded())
	if err != nil {
		return err
	}
	if list.Kind == "" && len(list.Items) == 0 {
		return errors.New("reading the resource list: there is nothing on standard input: pipe a ResourceList in, or run `stoop --help`")
	}
	return a.process(ctx, list, flags)
}

// process runs the function over a list and writes it.
func (a *app) process(ctx context.Context, list *fn.List, flags functionFlags) error {
	ctx, cancel := hostTime(ctx)
	defer cancel()
	came := len(list.Results)
	h, done, err := a.handler("")
	if err == nil {
		defer done()
		f := &orchestration.Function{Handler: h, Envelope: flags.output == "envelope", Validate: flags.validate, Options: orchestration.Options{Suspend: hostSuspends(ctx)}}
		if err = flags.plans.options(&f.Options, a.getenv); err == nil {
			err = a.processPublishing(ctx, f, list, flags.publish)
		}
	}
	if err == nil {
		if out, werr := list.Bytes(); werr == nil {
			a.printResults(list.Results[came:])
			_, err = a.out.Write(out)
			return err
		} else {
			err = werr
		}
	}
	if len(list.Results) == came {
		list.Results = append(list.Results, api.WithoutPasswords(fn.ResultsOf(err))...)
	}
	a.printResults(list.Results[came:])
	if werr := list.Write(a.out); werr != nil {
		return errors.Join(err, werr)
	}
	return &exitError{code: exitFailed}
}

// processPublishing runs the function over a list, with a publisher where the
// operator wants results to be published.
func (a *app) processPublishing(ctx context.Context, f *orchestration.Function, list *fn.List, publish bool) (err error) {
	if publish {
		p, done, err := a.publisher(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = done() }() // what was to be written is written
		f.Publisher = p
	}
	return caught(func() error { return f.Process(ctx, list) })
}

// refuse gives back the list on standard input, where there is one, with err
// among its results.
func (a *app) refuse(err error) error {
	if isTerminal(a.in) {
		return err
	}
	list, readErr := fn.ReadList(a.bounded())
	if readErr != nil || list.Kind == "" {
		return err
	}
	list.Results = append(list.Results, api.WithoutPasswords(fn.ResultsOf(err))...)
	a.printError(err)
	if err := list.Write(a.out); err != nil {
		return err
	}
	return &exitError{code: exitFailed}
}

// caught turns a panic into an error, so that the host gets its list back.
func caught(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("stoop has a bug, please report it: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// legacyPlugin says whether kustomize called us as a legacy exec plugin: the
// first argument is a file with the config, the others are the config's.
func legacyPlugin(args []string, getenv func(string) string) (config string, rest []string, ok bool) {
	config = getenv("KUSTOMIZE_PLUGIN_CONFIG_STRING")
	if config == "" || len(args) == 0 {
		return "", nil, false
	}
	if _, err := os.Stat(args[0]); err != nil {
		return "", nil, false
	}
	return config, args[1:], true
}

// plugin answers kustomize's legacy exec plugins: resources as a plain stream
// in, resources out; what there is to say goes to standard error.
func (a *app) plugin(ctx context.Context, config string, args []string) error {
	if len(args) > 0 {
		return usageError("argsOneLiner and argsFromFile are not used: write %q into the object itself", args)
	}
	in, err := io.ReadAll(a.bounded())
	if err != nil {
		return fmt.Errorf("reading resources: %w", err)
	}
	list, err := fn.ReadList(bytes.NewReader(in))
	if err != nil {
		return err
	}
	docs := yamldoc.Split([]byte(config))
	if len(docs) != 1 {
		return fmt.Errorf("KUSTOMIZE_PLUGIN_CONFIG_STRING holds %d documents: want one object", len(docs))
	}
	list.Config = docs[0]
	ctx, cancel := hostTime(ctx)
	defer cancel()
	// only the environment speaks here; flags have their defaults
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	a.perms.flags(flags, a.getenv)
	a.runtimes.flags(flags)
	a.sources.flags(flags, a.getenv)
	if a.sources.bad != nil {
		return a.sources.bad
	}
	h, done, err := a.handler("")
	if err != nil {
		return err
	}
	defer done()
	f := &orchestration.Function{Handler: h, Kustomize: true, Options: orchestration.Options{Suspend: hostSuspends(ctx)}}
	var plans planFlags
	plans.flags(flags, a.getenv)
	if err := plans.options(&f.Options, a.getenv); err != nil {
		return err
	}
	err = a.processPublishing(ctx, f, list, isTrue(a.getenv("STOOP_PUBLISH")))
	a.printResults(list.Results)
	if err != nil {
		return &exitError{code: exitFailed}
	}
	return list.Write(a.out)
}
