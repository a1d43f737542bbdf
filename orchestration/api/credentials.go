package api

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	// pinnedImage is an image's name with a digest, whose @ is no user's.
	pinnedImage = regexp.MustCompile(`^([^@]*@)?[^@]+@sha256:[0-9A-Fa-f]*$`)
	// scpLike is git's short form of an ssh URL, whose user is a name and no
	// secret.
	scpLike = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^:\\-]`)
	// userinfo is what stands before the host of a URL that is part of a text.
	userinfo = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#"']*@`)
)

// WithoutCredentials is a repository's URL or path, or an image's name, as messages
// and locks have it: without the user and password that may be part of it, the rest
// as the user wrote it. Of text that is no proper URL it takes too much rather than
// too little.
func WithoutCredentials(place string) string {
	scheme, rest, ok := strings.Cut(place, "://")
	if !ok {
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
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	end := strings.IndexByte(rest, '/')
	if _, err := url.Parse(place); err != nil || end < 0 {
		end = len(rest) // a / may be part of the password
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return scheme + "://" + rest
	}
	user := ""
	if strings.EqualFold(scheme, "ssh") && !strings.Contains(rest[:at], ":") {
		user = rest[:at+1] // a name, not a secret: git@
	}
	return scheme + "://" + user + rest[at+1:]
}

// HidePasswords is a text, such as a file's, with the credentials of the URLs in it
// made unreadable.
func HidePasswords(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return userinfo.ReplaceAllStringFunc(text, func(before string) string {
		if WithoutCredentials(before) == before {
			return before
		}
		scheme, _, _ := strings.Cut(before, "://")
		return scheme + "://REDACTED@"
	})
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
