package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/merge"
)

// conflictFlags say how to merge, and who wins where local and upstream changed
// the same thing differently.
type conflictFlags struct {
	strategy, onConflict string
	resolve              []string
}

func (f *conflictFlags) flags(fs *pflag.FlagSet, strategyDefault string) {
	fs.StringVar(&f.strategy, "strategy", "", "`STRATEGY` to merge by: resource-merge, fast-forward, force-delete-replace or copy-merge (default "+strategyDefault+")")
	f.settleFlags(fs, merge.Fail)
}

// settleFlags are the flags that say who wins. Without a default the objects say.
func (f *conflictFlags) settleFlags(fs *pflag.FlagSet, byDefault merge.Policy) {
	fs.StringVar(&f.onConflict, "on-conflict", string(byDefault), "`POLICY` for conflicts: fail (write nothing), local or upstream (that side wins)")
	fs.StringArrayVar(&f.resolve, "resolve", nil, "`FILE:PATH=local|upstream`: let one side win a conflict, as its message says; may be repeated")
}

// options are the flags' values; strategy stays empty where none is given.
func (f *conflictFlags) options() (merge.Options, error) {
	o := merge.Options{Strategy: merge.Strategy(f.strategy), OnConflict: merge.Policy(f.onConflict)}
	if _, err := merge.ParseStrategy(f.strategy); err != nil {
		return o, usageError("--strategy: %v", err)
	}
	switch o.OnConflict {
	case "", merge.Fail, merge.TakeLocal, merge.TakeUpstream:
	default:
		return o, usageError("--on-conflict is %q: write fail, local or upstream", f.onConflict)
	}
	var err error
	if o.Resolve, err = merge.ParseResolve(f.resolve); err != nil {
		return o, usageError("--%v", err)
	}
	return o, nil
}

// judge prints what there is to say of a merge, the news first, and returns the
// error that it ends with: err itself, or that a conflict was resolved that
// isn't there. The command that was called, with a flag added, settles a
// conflict.
func (a *app) judge(err error, conflicts merge.Conflicts, unused []string) error {
	var open *merge.ConflictError
	switch {
	case errors.As(err, &open):
		a.printError(err)
		a.printConflicts(conflicts)
		command := "stoop"
		for _, arg := range append(withoutResolve(a.args, unused), "--resolve", open.Conflicts[0].Accept(merge.Local)) {
			command += " " + shellQuote(arg)
		}
		for _, place := range unused {
			fmt.Fprintf(a.err, "--resolve %s: there is no such conflict: check the spelling\n", place)
		}
		fmt.Fprintf(a.err, "nothing was written; to accept a side, add it to the command: %s\n", command)
		return &exitError{code: exitFailed}
	case err != nil:
		return err
	case len(unused) > 0:
		a.printConflicts(conflicts)
		return fmt.Errorf("--resolve %s: there is no such conflict, so nothing was written: check the spelling, or take it out", strings.Join(unused, ", "))
	}
	a.printConflicts(conflicts)
	return nil
}

// withoutResolve are arguments less the resolutions of places that aren't there.
func withoutResolve(args, unused []string) []string {
	const flag = "--resolve"
	wrong := func(value string) bool {
		r, err := merge.ParseResolve([]string{value})
		return err == nil && slices.ContainsFunc(unused, func(place string) bool { return r[place] != "" })
	}
	var kept []string
	for i := 0; i < len(args); i++ {
		value, joined := strings.CutPrefix(args[i], flag+"=")
		switch {
		case joined && wrong(value):
		case args[i] == flag && i+1 < len(args) && wrong(args[i+1]):
			i++
		default:
			kept = append(kept, args[i])
		}
	}
	return kept
}

func (a *app) printConflicts(conflicts merge.Conflicts) {
	results := make([]fn.Result, len(conflicts))
	for i, c := range conflicts {
		results[i] = c.Result()
	}
	a.printResults(results)
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuote is a word as a POSIX shell reads it.
func shellQuote(s string) string {
	if shellSafe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// conflictJSON is a conflict as --conflicts json writes it.
type conflictJSON struct {
	File       string     `json:"file"`
	Line       int        `json:"line,omitempty"` // of the local file; none where the place isn't there
	APIVersion string     `json:"apiVersion,omitempty"`
	Kind       string     `json:"kind,omitempty"`
	Namespace  string     `json:"namespace,omitempty"`
	Name       string     `json:"name,omitempty"`
	Field      string     `json:"field,omitempty"` // none: the whole resource or file
	Base       string     `json:"base"`            // values are YAML on one line
	Local      string     `json:"local"`
	Upstream   string     `json:"upstream"`
	Reason     string     `json:"reason"`
	Taken      merge.Side `json:"taken,omitempty"` // none: the conflict is open
	Info       bool       `json:"info,omitempty"`  // needs nobody's decision
	Resolve    string     `json:"resolve"`         // FILE:PATH, as --resolve takes it
}

// writeConflicts writes conflicts as a JSON list.
func writeConflicts(w io.Writer, conflicts merge.Conflicts) error {
	list := make([]conflictJSON, len(conflicts))
	for i, c := range conflicts {
		list[i] = conflictJSON{
			File: c.File, Line: c.Line, Field: c.Field,
			APIVersion: c.Resource.APIVersion, Kind: c.Resource.Kind, Namespace: c.Resource.Namespace, Name: c.Resource.Name,
			Base: c.Base, Local: c.Local, Upstream: c.Upstream, Reason: c.Reason, Taken: c.Taken, Info: c.Info, Resolve: c.Place(),
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(list)
}
