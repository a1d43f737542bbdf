package progress

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// clean makes text harmless in one line: white space is a space each, what can't
// be seen (control characters, marks of direction, what isn't UTF-8) becomes
// U+FFFD, and passwords of URLs are hidden. It is cut after limit columns; 0 cuts nothing.
func clean(s string, limit int) string {
	s = api.HidePasswords(s)
	if end := limit * utf8.UTFMax; limit > 0 && len(s) > end {
		for back := end - utf8.UTFMax; end > back && !utf8.RuneStart(s[end]); {
			end--
		}
		s = s[:end] + "…"
	}
	if !harmless(s) {
		s = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				return ' '
			case !unicode.IsGraphic(r):
				return utf8.RuneError
			}
			return r
		}, s)
	}
	if limit > 0 {
		return cut(s, limit)
	}
	return s
}

// harmless says that s is ASCII one can see.
func harmless(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cut cuts s so that it takes at most limit columns, an ellipsis at its end
// included.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	taken, end := 0, 0 // end is where the ellipsis goes
	for i, r := range s {
		w := columns(r)
		if taken+w > limit {
			if limit < 1 {
				return ""
			}
			return s[:end] + "…"
		}
		if taken += w; taken < limit {
			end = i + utf8.RuneLen(r)
		}
	}
	return s
}

// widthOf is how many columns of a terminal s takes.
func widthOf(s string) int {
	if harmless(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += columns(r)
	}
	return n
}

func columns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// pad fills s up with spaces.
func pad(s string, to int) string {
	return s + strings.Repeat(" ", max(0, to-widthOf(s)))
}

// span is a length of time for people: 0.4s, 1m02s, 1h02m.
func span(d time.Duration) string {
	switch {
	case d < time.Minute-50*time.Millisecond:
		return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
	case d < time.Hour-time.Second/2:
		s := int(d.Round(time.Second).Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	m := int(d.Round(time.Minute).Minutes())
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}
