package runtime

import (
	"errors"
	"strings"
)

// words cuts the command of an exec function into words as a shell does, without
// anything else of a shell: blanks separate, single and double quotes hold
// together, a backslash takes the meaning from a quote, blank or backslash. Any
// other backslash is one, as in the paths of Windows.
func words(s string) ([]string, error) {
	var (
		out   []string
		word  strings.Builder
		in    bool // a word has begun, be it empty
		quote byte
	)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s) && strings.IndexByte(" \t\n'\"\\", s[i+1]) >= 0:
			i++
			word.WriteByte(s[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote isn't closed")
	}
	if in {
		out = append(out, word.String())
	}
	if len(out) == 0 || out[0] == "" {
		return nil, errors.New("it names no executable")
	}
	return out, nil
}
