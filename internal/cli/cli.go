// Package cli is stoop's command line: flags in, one call of the library out.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The exit codes.
const (
	exitFailed    = 1
	exitUsage     = 2
	exitCancelled = 130
)

// exitError ends the program with a code, and says nothing more when err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// app is what all commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	screen   io.Writer // err as it is, for what cleans its text itself
	getenv   func(string) string
	kill     <-chan struct{} // closed when what was cancelled is to end at once
	args     []string        // of the command line
	perms    permissions
	runtimes runtimeFlags
	sources  sourceFlags
}

// Main runs the command line and returns the exit code: 0 done, 1 failed (or
// differences found, where differences are what was asked for), 2 wrong usage,
// 130 cancelled.
func Main(args []string, in io.Reader, out, errw io.Writer, getenv func(string) string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	kill, stop := make(chan struct{}), make(chan struct{})
	defer close(stop)
	go obeySignals(cancel, kill, stop)
	if !signal.Ignored(syscall.SIGHUP) { // as it is below nohup
		go obeyHangups(cancel, stop)
	}
	a := &app{in: in, out: out, err: plain{errw}, screen: errw, getenv: getenv, kill: kill}
	a.runtimes.kill = kill
	err := a.execute(ctx, args)
	if err == nil {
		return 0
	}
	var ee *exitError
	isExit := errors.As(err, &ee)
	if !isExit || ee.err != nil {
		a.printError(err)
	}
	switch {
	case ctx.Err() != nil:
		return exitCancelled
	case isExit:
		return ee.code
	}
	return exitFailed
}

// obeySignals cancels at the first interrupt or SIGTERM and kills at the second;
// the third one ends the process, as does any after stop.
func obeySignals(cancel context.CancelCauseFunc, kill chan<- struct{}, stop <-chan struct{}) {
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(sigs)
	interrupt := func(sig os.Signal) { cancel(interruptedBy(sig)) }
	for _, obey := range []func(os.Signal){interrupt, func(os.Signal) { close(kill) }} {
		select {
		case sig := <-sigs:
			obey(sig)
		case <-stop:
			return
		}
	}
}

// obeyHangups cancels at the first SIGHUP, which says that the terminal is gone. It
// comes from the shell and from the kernel, so that the second one says nothing new.
// From then on there may be nobody who reads, and what is done is still to be
// written: then a broken pipe is an error and no longer the end.
func obeyHangups(cancel context.CancelCauseFunc, stop <-chan struct{}) {
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, syscall.SIGHUP)
	defer signal.Stop(sigs)
	select {
	case sig := <-sigs:
		signal.Notify(sigs, syscall.SIGPIPE)
		cancel(interruptedBy(sig))
	case <-stop:
	}
	<-stop
}

// interruptedBy is why everything was cancelled.
func interruptedBy(sig os.Signal) error {
	switch sig {
	case syscall.SIGTERM:
		return errors.New("interrupted by SIGTERM")
	case syscall.SIGHUP:
		return errors.New("interrupted by SIGHUP")
	}
	return errors.New("interrupted by SIGINT")
}

func (a *app) execute(ctx context.Context, args []string) error {
	if a.getenv(activeVariable) != "" {
		return a.refuse(errors.New("stoop was called by a function that stoop is running: a pipeline can't run stoop inside stoop; take the step out"))
	}
	if config, rest, ok := legacyPlugin(args, a.getenv); ok {
		return a.plugin(ctx, config, rest)
	}
	root := a.root()
	a.args = args
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return root.ExecuteContext(ctx)
}

// activeVariable is set in the environment of every process that stoop starts.
const activeVariable = "STOOP_ACTIVE"

func (a *app) root() *cobra.Command {
	var f functionFlags
	root := &cobra.Command{
		Use:   "stoop < RESOURCELIST",
		Short: "Porch without the cluster, in one KRM function",
		Long: `stoop creates, clones and renders kpt packages from task objects kept in the package.

Without a command it is a KRM function: a ResourceList on standard input, one on
standard output. kpt fn eval, kpt fn render, kustomize and docker run -i call it so.`,
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		SilenceErrors:         true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.sources.bad },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("unknown command %q: run `stoop --help` for the commands", args[0])
			}
			if isTerminal(a.in) {
				_ = cmd.Help()
				return &exitError{code: exitUsage}
			}
			return a.function(cmd.Context(), f)
		},
	}
	a.perms.flags(root.PersistentFlags(), a.getenv)
	a.runtimes.flags(root.PersistentFlags())
	a.sources.flags(root.PersistentFlags(), a.getenv)
	f.flags(root.Flags(), a.getenv)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%v: run `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(a.runCommand(), a.planCommand(), a.renderCommand(), a.getCommand(), a.upgradeCommand(), a.diffCommand(), a.mergeCommand(), a.rpkgCommand(), a.fnCommand(), a.serveCommand(), a.explainCommand(), a.versionCommand())
	return root
}

// isTerminal says whether nobody has piped anything in.
func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// exactArgs is cobra.ExactArgs with our exit code.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError("%s takes %s: run `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
