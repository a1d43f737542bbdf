package kptdir

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

const (
	// contextLines are shown before and after what changed, as git does.
	contextLines = 3
	// maxText is how many bytes a file may have to be compared by lines.
	maxText = 16 << 20
)

// WriteDiff writes how to get from one tree to the other as a patch in git's
// format, which git apply and patch -p1 take. Of binary files, which are those
// with a NUL byte and those of more than 16 MiB, it says only that they differ.
// Credentials in URLs are hidden: lines with some don't apply.
func WriteDiff(w io.Writer, before, after kptpkg.Tree) error {
	changes, err := Diff(before, after)
	if err != nil {
		return err
	}
	out := patch{bufio.NewWriter(w)}
	for _, c := range changes {
		if c.Kind() == Modified && (c.Before.Mode() == kptpkg.Symlink) != (c.After.Mode() == kptpkg.Symlink) {
			// git knows no change from the one into the other
			if err = out.change(Change{Path: c.Path, Before: c.Before}); err == nil {
				err = out.change(Change{Path: c.Path, After: c.After})
			}
		} else {
			err = out.change(c)
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// A patch is the writer of one; Flush returns the error of all its writes.
type patch struct{ *bufio.Writer }

func (w patch) change(c Change) error {
	var was, is []byte
	var err error
	old, now := "/dev/null", "/dev/null"
	if c.Before != nil {
		old = quote("a/" + c.Path)
		if was, err = c.Before.Bytes(); err != nil {
			return err
		}
	}
	if c.After != nil {
		now = quote("b/" + c.Path)
		if is, err = c.After.Bytes(); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "diff --git %s %s\n", quote("a/"+c.Path), quote("b/"+c.Path))
	switch c.Kind() {
	case Added:
		fmt.Fprintf(w, "new file mode %s\n", gitModes[c.After.Mode()])
	case Removed:
		fmt.Fprintf(w, "deleted file mode %s\n", gitModes[c.Before.Mode()])
	case Modified:
		if c.Before.Mode() != c.After.Mode() {
			fmt.Fprintf(w, "old mode %s\nnew mode %s\n", gitModes[c.Before.Mode()], gitModes[c.After.Mode()])
		}
	}
	if c.Kind() != Modified || !bytes.Equal(was, is) {
		fmt.Fprintf(w, "index %s..%s", blobID(c.Before, was), blobID(c.After, is))
		if c.Kind() == Modified && c.Before.Mode() == c.After.Mode() {
			fmt.Fprintf(w, " %s", gitModes[c.After.Mode()])
		}
		fmt.Fprintln(w)
	}
	switch {
	case bytes.Equal(was, is): // the mode is all, or the file is empty
	case binary(was) || binary(is):
		fmt.Fprintf(w, "Binary files %s and %s differ\n", old, now)
	default:
		fmt.Fprintf(w, "--- %s\n+++ %s\n", endName(old), endName(now))
		a, b := splitLines(was), splitLines(is)
		w.hunks(a, b, editsOf(a, b))
	}
	return nil
}

// hunks writes the edits with the lines around them. Edits whose contexts touch
// share a hunk.
func (w patch) hunks(a, b [][]byte, edits []edit) {
	for len(edits) > 0 {
		n := 1
		for n < len(edits) && edits[n].a0-edits[n-1].a1 <= 2*contextLines {
			n++
		}
		w.hunk(a, b, edits[:n])
		edits = edits[n:]
	}
}

func (w patch) hunk(a, b [][]byte, edits []edit) {
	first, last := edits[0], edits[len(edits)-1]
	lead := min(contextLines, first.a0)
	trail := min(contextLines, len(a)-last.a1)
	fmt.Fprintf(w, "@@ -%s +%s @@\n",
		span(first.a0-lead, last.a1+trail), span(first.b0-lead, last.b1+trail))
	at := first.a0 - lead
	for _, e := range edits {
		w.lines(' ', a[at:e.a0])
		w.lines('-', a[e.a0:e.a1])
		w.lines('+', b[e.b0:e.b1])
		at = e.a1
	}
	w.lines(' ', a[at:at+trail])
}

func (w patch) lines(sign byte, lines [][]byte) {
	for _, l := range lines {
		w.WriteByte(sign)
		w.WriteString(api.HidePasswords(string(l)))
		if l[len(l)-1] != '\n' {
			w.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// span is a range of lines as a hunk's head has it: counted from one, without
// the length where it is one, and the line before where it is none.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func binary(text []byte) bool {
	return len(text) > maxText || bytes.IndexByte(text, 0) >= 0
}

// blobID is git's short name for the content of a file, zeros for no file. patch
// goes by it where an empty file is removed, git apply --3way finds the file with it.
func blobID(f *kptpkg.File, content []byte) string {
	if f == nil {
		return "0000000"
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return fmt.Sprintf("%x", h.Sum(nil))[:7]
}

// quote writes a path as git does where a quotation mark would mislead readers.
// Trees have neither backslashes nor control characters in their paths.
func quote(p string) string {
	if !strings.Contains(p, `"`) {
		return p
	}
	return `"` + strings.ReplaceAll(p, `"`, `\"`) + `"`
}

// endName ends a path with spaces in a tab, or patch would end it at a space.
func endName(p string) string {
	if strings.Contains(p, " ") {
		return p + "\t"
	}
	return p
}
