package api

import "strings"

// place is where in an object the decoder is; nil is the object itself. Only
// errors pay for its text.
type place struct {
	up    *place
	step  string
	depth int
}

func (at *place) in(step string) *place {
	depth := 1
	if at != nil {
		depth = at.depth + 1
	}
	return &place{at, step, depth}
}

func (at *place) String() string {
	if at == nil {
		return ""
	}
	var steps []string
	for p := at; p != nil; p = p.up {
		steps = append(steps, p.step)
	}
	var b strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		if b.Len() == 0 {
			b.WriteString(strings.TrimPrefix(steps[i], "."))
		} else {
			b.WriteString(steps[i])
		}
	}
	return b.String()
}

// isPlainKey reports whether a key can stand after a dot.
func isPlainKey(s string) bool {
	return s != "" && len(s) <= 64 && s[0] != '-' && (s[0] < '0' || s[0] > '9') && isWord(s)
}

// isWord reports whether s has letters, digits, _ and - only.
func isWord(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// stepTo is a key as the next step of a field path: .key, or [key] for a key
// with dots and the like.
func stepTo(key string) string {
	if isPlainKey(key) {
		return "." + key
	}
	return "[" + printable(key) + "]"
}

// printable is a text as it is if that is short and does no harm, else quoted.
func printable(s string) string {
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
