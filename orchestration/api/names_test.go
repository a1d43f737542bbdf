package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 64)
	tests := []struct {
		s                      string
		label, subdomain, pack bool
	}{
		{"a", true, true, true},
		{"a-b9", true, true, true},
		{long[:63], true, true, true},
		{long, false, true, false},
		{"a.b", false, true, false},
		{"a/b", false, false, true},
		{"a..b", false, false, false},
		{"-a", false, false, false},
		{"a-", false, false, false},
		{"a.-b", false, false, false},
		{"A", false, false, false},
		{"a_b", false, false, false},
		{"é", false, false, false},
		{"", false, false, false},
		{strings.Repeat(long[:61]+".", 4), false, false, false},
		{strings.Repeat("ab.", 84) + "x", false, true, false}, // 253
		{strings.Repeat("ab.", 84) + "xy", false, false, false},
		{strings.Repeat("ab/", 84) + "x", false, false, true},
		{strings.Repeat("ab/", 84) + "xy", false, false, false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.label, checkLabel(tt.s) == "", "label %q", tt.s)
		assert.Equal(t, tt.subdomain, checkSubdomain(tt.s) == "", "subdomain %q", tt.s)
		assert.Equal(t, tt.pack, checkPackageName(tt.s) == "", "package name %q", tt.s)
	}
	assert.Equal(t, "is longer than 1024 characters", checkSubpath(strings.Repeat("a/", 600)))
}

func TestDNSPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "", ".": "", "/": "", "a/b": "a/b", "./A b/.c_": "a-b/c", "é/x": "x", strings.Repeat("a", 100): strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "-b": strings.Repeat("a", 62),
	} {
		assert.Equal(t, want, dnsPath(in), in)
	}
}
