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
	} {
		assert.Equal(t, want, HidePasswords(text))
	}
}
