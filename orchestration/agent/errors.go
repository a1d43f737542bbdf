package agent

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/orchestration/dag"
)

// later is an error of a server that said when to come back.
type later struct {
	error
	after time.Duration
}

func (l *later) RetryAfter() time.Duration { return l.after }
func (l *later) Unwrap() error             { return l.error }

var errRedirect = errors.New("redirected")

// sameHost lets a request be sent again where the host stays the same and
// nothing of it would be lost: neither key nor prompt go to a host that nobody
// named.
func sameHost(req *http.Request, via []*http.Request) error {
	switch from := via[0].URL; {
	case req.URL.Scheme != from.Scheme || req.URL.Host != from.Host:
		return fmt.Errorf("%w to %s://%s, which isn't followed: if that is right make it the base URL", errRedirect, req.URL.Scheme, req.URL.Host)
	case req.Method != http.MethodPost:
		return fmt.Errorf("%w to %s in a way that drops the request: set the base URL that it belongs to", errRedirect, req.URL.Path)
	case len(via) >= 5:
		return fmt.Errorf("%w %d times: is the base URL right?", errRedirect, len(via))
	}
	return nil
}

// failed is why no response came.
func (c *Chat) failed(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which may have a secret in its query
	}
	cause := unreachable(err)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok || errors.Is(err, errRedirect) {
		cause = dag.Permanent
	}
	return dag.Mark(cause, err)
}

// unreachable is the cause of an error of the network.
func unreachable(err error) dag.Cause {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return dag.Timeout
	}
	return dag.Unavailable
}

// refused is why the response isn't 200 OK.
func (c *Chat) refused(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it
	message, code := c.message(data)
	err := fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if message != "" {
		err = fmt.Errorf("%w: %s", err, message)
	}
	if after, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		err = &later{err, after}
	}
	return dag.Mark(causeOf(resp.StatusCode, code), err)
}

// reported is the error that came in place of an answer, with status 200.
func (c *Chat) reported(raw json.RawMessage) error {
	data, _ := json.Marshal(map[string]json.RawMessage{"error": raw})
	message, code := c.message(data)
	cause := dag.Unavailable
	if status, err := strconv.Atoi(code); err == nil {
		cause = causeOf(status, "")
	} else if code == "insufficient_quota" || strings.HasPrefix(code, "invalid_") {
		cause = dag.Permanent
	}
	return dag.Mark(cause, fmt.Errorf("the server reports: %s", message))
}

// causeOf is why a request with this status, and the server's own code, failed.
func causeOf(status int, code string) dag.Cause {
	switch {
	case code == "insufficient_quota": // comes as 429, but nothing changes by itself
		return dag.Permanent
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return dag.Timeout
	case status == http.StatusConflict, status == http.StatusTooEarly:
		return dag.Transient
	case status == http.StatusTooManyRequests:
		return dag.Unavailable
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported, status < 500:
		return dag.Permanent
	}
	return dag.Unavailable
}

// message is what the body of an error says, in the forms that servers use:
// {"error": {"message", "code", "type"}}, {"error": "..."}, {"message": "..."},
// {"detail": ...}, one of these in a list, or text. Of code and type the first
// that is there is the code.
func (c *Chat) message(data []byte) (text, code string) {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return c.clean(string(data)), ""
	}
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	m, _ := v.(map[string]any)
	if inner, ok := m["error"].(map[string]any); ok {
		m = inner
	}
	for _, key := range []string{"code", "type"} {
		if v := m[key]; v != nil && code == "" {
			code = fmt.Sprint(v)
		}
	}
	for _, key := range []string{"message", "error", "detail"} {
		if s, ok := m[key].(string); ok && s != "" {
			return c.clean(s), code
		}
	}
	return c.clean(string(data)), code
}

// clean makes what a server said fit for a message. Servers like to repeat the
// key that they don't know.
func (c *Chat) clean(s string) string {
	if c.Key != "" {
		s = strings.ReplaceAll(s, c.Key, "[key]")
	}
	return oneLine(s)
}

// oneLine is s without control characters, and not too long.
func oneLine(s string) string {
	const most = 500
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(s) > most {
		cut := most
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

// retryAfter reads a Retry-After header, RFC 9110 10.2.3: seconds or a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if header == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
