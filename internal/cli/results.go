package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

var severities = []fn.Severity{fn.Error, fn.Warning, fn.Info}

// printResults writes results to standard error, the worst first: hosts show
// only the first lines.
func (a *app) printResults(results []fn.Result) {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(x, y fn.Result) int {
		return slices.Index(severities, severityOf(x)) - slices.Index(severities, severityOf(y))
	})
	for _, r := range results {
		fmt.Fprintf(a.err, "%s: %s\n", severityOf(r), oneLine(r.Text()))
	}
}

// severityOf is the severity, info where a function left it out, as the
// specification says.
func severityOf(r fn.Result) fn.Severity {
	if !slices.Contains(severities, r.Severity) {
		return fn.Info
	}
	return r.Severity
}

// oneLine keeps what others wrote from looking like lines of ours.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

// printError writes an error, a line for each that was joined into it.
func (a *app) printError(err error) {
	a.printResults(fn.ResultsOf(err))
}
