package cli

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/api"
)

// plain keeps what packages and functions say from steering the terminal: control
// characters but line feeds and tabs are replaced. Nor does it show the passwords of
// URLs, in whatever field somebody wrote them. Each Write is a text of its own.
type plain struct{ w io.Writer }

func (p plain) Write(b []byte) (int, error) {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, api.HidePasswords(string(b)))
	if _, err := io.WriteString(p.w, text); err != nil {
		return 0, err
	}
	return len(b), nil
}
