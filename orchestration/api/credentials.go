package api

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

var (
	// pinnedImage is an image's name with a digest, whose @ is no user's.
	pinnedImage = regexp.MustCompile(`^([^@]*@)?[^@]+@sha256:[0-9A-Fa-f]*$`)
	// scpLike is git's short form of an ssh URL, whose user is a name and no
	// secret.
	scpLike = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:\\-]`)
	// nested is the scheme of a URL that follows another one without a space.
	nested = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*:$`)
	// hostBelow is a host after an @ that stands where the path of a URL should be: a
	// name with a dot, which ends in no number as versions do, an address, localhost,
	// a name with a port, or one before the path of a repository.
	hostBelow = regexp.MustCompile(`@(?:(?:[^/@:]*\.[A-Za-z][^/@:.]*|[0-9]+(?:\.[0-9]+){3}|localhost|\[[^/@]*\])(?::[0-9]+)?/|[^/@:]+:[0-9]+/|[^/@]+/[^@]*\.git(?:[/@]|$))`)
	// located is the part of a path up to and with the repository's name.
	located = regexp.MustCompile(`\.git(?:/|$)`)
	// urlInText is a URL in a text, with all that follows it without a space or quote.
	urlInText = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"']*`)
	// scheme is the scheme at the end of what stands before a ://.
	scheme = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*$`)
)

// WithoutCredentials is a repository's URL or path, or an image's name, as messages
// and locks have it: without the user and password that may be part of it, the rest
// as the user wrote it. Of text that is no proper URL it takes too much rather than
// too little.
func WithoutCredentials(place string) string {
	if !strings.Contains(place, "://") {
		name, digest := place, ""
		if pinnedImage.MatchString(place) {
			at := strings.LastIndexByte(place, '@')
			name, digest = place[:at], place[at:]
		}
		if at := strings.LastIndexByte(name, '@'); at >= 0 && strings.Contains(name[:at], ":") && !scpLike.MatchString(name) {
			name = name[at+1:]
		}
		return name + digest
	}
	before, rest := SplitCredentials(place)
	prefix, user, _ := strings.Cut(before, "://")
	if !strings.EqualFold(prefix, "ssh") || strings.Contains(user, ":") {
		user = "" // else it is a name, not a secret: git@
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	return prefix + "://" + user + rest
}

// SplitCredentials splits a URL before its host. Where a password has a /, ? or # that
// should have been encoded, the host is what seems to be meant as one.
func SplitCredentials(place string) (before, rest string) {
	i := strings.Index(place, "://")
	if i < 0 {
		return "", place
	}
	i += len("://")
	i += userEnd(place[i:], strings.LastIndexByte(place[i:], '@'))
	return place[:i], place[i:]
}

// userEnd returns where the user and password end, with their @, in what follows the
// :// of a URL; 0 when there are none. last is the last @ of rest, negative without.
// It looks no further than to the next ://, so that many of them cost no more than one.
func userEnd(rest string, last int) int {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 || last < end {
		return max(last+1, 0)
	}
	authority := rest[:end]
	if strings.HasPrefix(rest[end:], "//") {
		authority = nested.ReplaceAllString(authority, "")
	}
	at := strings.LastIndexByte(authority, '@')
	u, err := url.Parse("//" + authority)
	switch {
	case rest[end] != '/', err != nil, strings.HasSuffix(authority, ":"): // no host, so the password goes on
		return last + 1
	case u.Port() == "" && !strings.Contains(authority[:max(at, 0)], ":"):
		return at + 1
	}
	// joe:12/3@host may be a host with a port, or a user whose password has a /
	path, _, _ := strings.Cut(rest[end:], "://")
	if m := hostBelow.FindStringIndex(path); m != nil && !located.MatchString(path[:m[0]]) {
		return end + m[0] + 1
	}
	return at + 1
}

// HidePasswords is a text, such as a file's or a message, with the credentials of the
// URLs in it made unreadable: passwords, and the tokens that stand for them in those of
// the web. A user's name alone is none.
func HidePasswords(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	return urlInText.ReplaceAllStringFunc(text, hidePasswords)
}

// WithoutPasswords are results as others may read them: what they say and quote, with
// the credentials of the URLs in it made unreadable.
func WithoutPasswords(results []fn.Result) []fn.Result {
	out := slices.Clone(results)
	for i := range out {
		r := &out[i]
		r.Message = HidePasswords(r.Message)
		if r.ResourceRef != nil {
			ref := *r.ResourceRef
			ref.Name, ref.Namespace = HidePasswords(ref.Name), HidePasswords(ref.Namespace)
			r.ResourceRef = &ref
		}
		if r.Field != nil {
			f := *r.Field
			for _, value := range []*any{&f.CurrentValue, &f.ProposedValue} {
				if text, ok := (*value).(string); ok {
					*value = HidePasswords(text)
				}
			}
			r.Field = &f
		}
	}
	return out
}

// hidePasswords is HidePasswords of URLs that follow each other without a space.
func hidePasswords(urls string) string {
	var b strings.Builder
	last := strings.LastIndexByte(urls, '@')
	from := 0
	for from <= last {
		i := strings.Index(urls[from:last+1], "://")
		if i < 0 {
			break
		}
		before, begin := urls[from:from+i], from+i+len("://")
		b.WriteString(urls[from:begin])
		from = begin
		if end := begin + userEnd(urls[begin:], last-begin); isSecret(scheme.FindString(before), urls[begin:end]) {
			b.WriteString("REDACTED@")
			from = end
		}
	}
	return b.String() + urls[from:]
}

// isSecret says whether what stands before the host of a URL, with its @, is to be
// hidden.
func isSecret(scheme, user string) bool {
	name, rest, _ := strings.Cut(user, "@")
	authority := user
	if i := strings.IndexAny(user, "/?#"); i >= 0 {
		authority = user[:i]
	}
	if strings.Contains(authority, ":") {
		return true
	}
	web := strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
	return web && name != "" && rest == "" && !strings.ContainsAny(name, "/?#;,")
}

// WithoutCredentials is the task as it is recorded where others can read it: without
// the credentials that the URL of its repository may have.
func (t Task) WithoutCredentials() Task {
	if t.Clone == nil || t.Clone.UpstreamRef.Git == nil {
		return t
	}
	clone, git := *t.Clone, *t.Clone.UpstreamRef.Git
	git.Repo = WithoutCredentials(git.Repo)
	clone.UpstreamRef.Git = &git
	t.Clone = &clone
	return t
}
