package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

// truncatedLines is how many lines are shown of long output, as in kpt.
const truncatedLines = 4

// printUntouched writes to standard error what the render has to say of files
// that no function sees.
func (a *app) printUntouched(r *render.Rendered) {
	a.printResults(slices.DeleteFunc(slices.Clone(r.Results), func(res fn.Result) bool {
		return res.Severity != fn.Warning || res.Tags["step"] != ""
	}))
}

// printSteps writes to standard error, in kpt's form, what a render did.
func (a *app) printSteps(r *render.Rendered, truncate bool) {
	for i := range r.Steps {
		s := &r.Steps[i]
		if i == 0 || s.Dir != r.Steps[i-1].Dir {
			if i > 0 {
				fmt.Fprintln(a.err)
			}
			fmt.Fprintf(a.err, "Package %q:\n", s.Package)
		}
		a.printStep(s, truncate)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintln(a.err)
	}
}

func (a *app) printStep(s *render.StepStatus, truncate bool) {
	name := s.Image + s.Exec // one of them
	if s.Skipped != "" {
		fmt.Fprintf(a.err, "[SKIPPED] %q (%s)\n", name, s.Skipped)
		return
	}
	if s.ExecutionError != "" && s.Took == 0 {
		return // it never ran: the error says all
	}
	on := ""
	if s.Selecting {
		on = fmt.Sprintf(" on %d resource(s)", s.Items)
	}
	fmt.Fprintf(a.err, "[RUNNING] %q%s on package %q\n", name, on, s.Package)
	failed := s.ExitCode != 0 || s.ExecutionError != ""
	verdict := "PASS"
	if failed {
		verdict = "FAIL"
	}
	fmt.Fprintf(a.err, "[%s] %q in %v\n", verdict, name, s.Took.Truncate(100*time.Millisecond))
	for _, note := range s.Notes {
		fmt.Fprintf(a.err, "  [%s]: %s\n", severityOf(note), note.Message)
	}
	if len(s.Results) > 0 {
		lines := make([]string, len(s.Results))
		for i, res := range s.Results {
			lines[i] = resultLine(res)
		}
		a.printBlock("[Results]", lines, truncate)
	}
	if s.Stderr != "" {
		a.printBlock("Stderr", strings.Split(s.Stderr, "\n"), truncate && failed)
	}
	if failed && s.ExecutionError == "" {
		fmt.Fprintf(a.err, "  Exit code: %d\n", s.ExitCode)
	}
}

func (a *app) printBlock(title string, lines []string, truncate bool) {
	fmt.Fprintf(a.err, "  %s:\n", title)
	more := 0
	if truncate && len(lines) > truncatedLines {
		more = len(lines) - truncatedLines
		lines = lines[:truncatedLines]
	}
	for _, l := range lines {
		fmt.Fprintf(a.err, "    %s\n", l)
	}
	if more > 0 {
		fmt.Fprintf(a.err, "    ...(%d line(s) truncated, use '--truncate-output=false' to disable)\n", more)
	}
}

// resultLine is a result as kpt shows it: severity, resource, field, message.
func resultLine(r fn.Result) string {
	var where []string
	if ref := r.ResourceRef; ref != nil {
		id := strings.Join([]string{ref.APIVersion, ref.Kind, ref.Namespace, ref.Name}, "/")
		where = append(where, strings.ReplaceAll(strings.Trim(id, "/"), "//", "/"))
	}
	if r.Field != nil && r.Field.Path != "" {
		where = append(where, r.Field.Path)
	}
	line := fmt.Sprintf("[%s]", severityOf(r))
	if len(where) > 0 {
		line += " " + strings.Join(where, " ")
	}
	return oneLine(line + ": " + r.Message)
}

// printRenderError writes why a render failed, first in kpt's words, which are
// what people search for, then where, and what else there is to say. dir is the
// directory that was rendered.
func (a *app) printRenderError(err error, dir string) {
	failed, ok := errors.AsType[*render.Error](err)
	if !ok {
		a.printError(err)
		return
	}
	reason := failed.Reason()
	if failed.Refused && strings.HasPrefix(reason, "yaml: ") {
		reason = fmt.Sprintf("Kptfile at %q can't be read.\n\nDetails:\n%s", path.Join(failed.Package, kptpkg.KptfileName), reason)
	}
	if missing, ok := errors.AsType[*fs.PathError](err); ok { // as the system says it of the file on disk
		onDisk := fmt.Sprintf("%s %s: %v", missing.Op, filepath.Join(dir, filepath.FromSlash(missing.Path)), syscall.ENOENT)
		reason = strings.Replace(reason, missing.Error(), onDisk, 1)
	}
	fmt.Fprintf(a.err, "Error: %s\n", reason)
	where := fmt.Sprintf("package %q", failed.Package)
	if failed.Step != nil {
		where += ", " + failed.Step.String()
	}
	fmt.Fprintf(a.err, "  in %s\n", where)
	more, said := failed.Err.Error(), reason
	if re, ok := errors.AsType[*fn.ResultError](err); ok {
		said = re.Result.Message
	}
	if !strings.HasSuffix(reason, more) && !strings.HasSuffix(more, said) {
		fmt.Fprintf(a.err, "  %s\n", oneLine(more))
	}
}
