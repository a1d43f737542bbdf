package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

var severities = []fn.Severity{fn.Error, fn.Warning, fn.Info}

// shown is how many results of each severity are printed; there may be one for
// every field of a large package.
var shown = map[fn.Severity]int{fn.Error: 100, fn.Warning: 20, fn.Info: 10}

// printResults writes results to standard error, the worst first: hosts show
// only the first lines.
func (a *app) printResults(results []fn.Result) {
	var b bytes.Buffer
	for _, sev := range severities {
		n := 0
		said := map[string]bool{} // many tasks may have the same to say
		for _, r := range results {
			line := ""
			if severityOf(r) == sev {
				line = fmt.Sprintf("%s: %s\n", sev, oneLine(r.Text()))
			}
			if line == "" || said[line] {
				continue
			}
			said[line] = true
			if n++; n <= shown[sev] {
				b.WriteString(line)
			}
		}
		if more := n - shown[sev]; more > 0 {
			fmt.Fprintf(&b, "%s: and %d more\n", sev, more)
		}
	}
	_, _ = a.err.Write(b.Bytes())
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
