package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// layers are the packages and what is below them, from the bottom up: each may
// import its own layer and those before it. The longest prefix counts.
var layers = [][]string{
	{"internal/yamldoc"},
	{"fn"},
	{"orchestration/api", "orchestration/kptpkg"},
	{"orchestration/"},
	{"orchestration"},
	{"internal/cli", "internal/progress", "orchestration/kptsdk"},
	{""},
}

// TestImports keeps the direction: main → cli → orchestration → its parts →
// kptpkg, api → fn → yamldoc. A package's tests and benchmarks may look at all.
func TestImports(t *testing.T) {
	const module = "github.com/stoop-dev/stoop"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		from, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(from, "/bench") {
			continue
		}
		for _, to := range strings.Fields(imports) {
			if strings.HasPrefix(to, module) {
				assert.LessOrEqual(t, layer(strings.TrimPrefix(to, module)), layer(strings.TrimPrefix(from, module)), "%s imports %s, which is above it", from, to)
			}
		}
	}
}

func layer(pkg string) int {
	pkg = strings.TrimPrefix(pkg, "/")
	best, longest := -1, -1
	for i, prefixes := range layers {
		for _, p := range prefixes {
			if below := pkg == p || p == "" || strings.HasPrefix(pkg, strings.TrimSuffix(p, "/")+"/"); below && len(p) > longest {
				best, longest = i, len(p)
			}
		}
	}
	return best
}
