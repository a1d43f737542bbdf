package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWithoutCredentials(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0f", 32)
	for place, want := range map[string]string{
		"":                                     "",
		"./web":                                "./web",
		"https://host/r.git":                   "https://host/r.git",
		"http://joe:pw@host:80/priv/r.git":     "http://host:80/priv/r.git",
		"https://token@host/r":                 "https://host/r",
		"HTTPS://joe:pw@host/r":                "HTTPS://host/r",
		"ssh://git@host/r":                     "ssh://git@host/r",
		"ssh://git:pw@host/r":                  "ssh://host/r",
		"git@host:org/r":                       "git@host:org/r",
		"joe:pw@host/r":                        "host/r",
		"http://joe:pw@ho st/r.git":            "http://ho st/r.git",
		"http://joe:p/w@host/r":                "http://host/r",
		"http://joe:p@w@host/r":                "http://host/r",
		"http://joe:pw@host/r?access_token=pw": "http://host/r",
		"https://host/r@v1":                    "https://host/r@v1",
		"host:5000/r" + digest:                 "host:5000/r" + digest,
		"joe:pw@host/r:v1":                     "host/r:v1",
		"joe:pw@host/r" + digest:               "host/r" + digest,
		"http://joe:pw@sha256:0f/r":            "http://sha256:0f/r",

		// what should have been encoded in a password
		"https://joe:pw#x@127.0.0.1:1/r.git":      "https://127.0.0.1:1/r.git",
		"https://joe:pw?x@host/r":                 "https://host/r",
		"https://joe:12#x@host/r":                 "https://host/r",
		"https://joe:a@b#c@host/r":                "https://host/r",
		"https://tok#en@host/r":                   "https://host/r",
		"https://joe:p/w#x@host/r":                "https://host/r",
		"https://joe:/w@host/r":                   "https://host/r",
		"https://joe:a://b@host/r":                "https://host/r",
		"https://joe:12/pw@127.0.0.1/r.git":       "https://127.0.0.1/r.git",
		"https://joe:12/pw@127.0.0.1/r.git@v1":    "https://127.0.0.1/r.git@v1",
		"https://joe:12/p/w@git.example.org/r@v1": "https://git.example.org/r@v1",
		"https://joe:12/pw@server/r.git":          "https://server/r.git",
		"https://joe:12/pw@server:80/r":           "https://server:80/r",
		"https://joe:a@b/c@host.org/r":            "https://host.org/r",
		"https://host:8080/r.git/dir@v1":          "https://host:8080/r.git/dir@v1",
		"https://host:8080/org/r@feature/x":       "https://host:8080/org/r@feature/x",
		"https://host:8080/r@v1.2/x":              "https://host:8080/r@v1.2/x",
		"https://host:8080/r.git@a.b/x":           "https://host:8080/r.git@a.b/x",
		"https://joe:pw@host:8080/r.git@a.b/x":    "https://host:8080/r.git@a.b/x",
		"https://[::1]/r@a.b/x":                   "https://[::1]/r@a.b/x",
		"https://host/r.git@a.b/x":                "https://host/r.git@a.b/x",
		"file:///a:b/r.git@v1":                    "file:///a:b/r.git@v1",
	} {
		assert.Equal(t, want, WithoutCredentials(place), place)
	}
	task := Task{Type: TaskClone, Clone: &CloneTask{UpstreamRef: UpstreamRef{Git: &GitPackage{Repo: "http://joe:pw@host/r", Ref: "v1"}}}}
	assert.Equal(t, &GitPackage{Repo: "http://host/r", Ref: "v1"}, task.WithoutCredentials().Clone.UpstreamRef.Git)
	assert.Equal(t, "http://joe:pw@host/r", task.Clone.UpstreamRef.Git.Repo, "it is a copy")
}

func TestHidePasswords(t *testing.T) {
	for text, want := range map[string]string{
		"a: b@c # http:":                             "a: b@c # http:",
		"{repo: http://joe:pw@h/r, ref: v1@x}":       "{repo: http://REDACTED@h/r, ref: v1@x}",
		"'http://joe:pw@h' \"https://token@h/\"\n":   "'http://REDACTED@h' \"https://REDACTED@h/\"\n",
		"ssh://git@h/r git@h:r https://h/r@v1?a=b@c": "ssh://git@h/r git@h:r https://h/r@v1?a=b@c",

		"https://joe:pw/x@h/r.git https://joe:p#w@h/": "https://REDACTED@h/r.git https://REDACTED@h/",
		"docker://nginx@sha256:0f":                    "docker://nginx@sha256:0f",
		"docker://joe:pw@h/nginx@sha256:0f":           "docker://REDACTED@h/nginx@sha256:0f",
		"postgres://app@db/x redis://:pw@db/x":        "postgres://app@db/x redis://REDACTED@db/x",
		"https://a.io;b@x.org https://a.io?b@x.org":   "https://a.io;b@x.org https://a.io?b@x.org",
		"https://a.io,https://b.io/x@v1":              "https://a.io,https://b.io/x@v1",
		"db://a@b,https://joe:pw@h,https://c.io/x@v1": "db://a@b,https://REDACTED@h,https://c.io/x@v1",
		"https://h:80/npm/vue@3.2.1/vue.js":           "https://h:80/npm/vue@3.2.1/vue.js",
	} {
		assert.Equal(t, want, HidePasswords(text))
		assert.Equal(t, want, HidePasswords(want), "a second time changes nothing")
	}
}
