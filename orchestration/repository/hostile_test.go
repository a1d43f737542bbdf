package repository_test

import (
	"archive/tar"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// What is too much ends at a limit, whichever way it comes, and the error says
// how to set another.
func TestLimitsNameTheirFlags(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	entries := []entry{kptfile("p", "x"), {Path: "q/zeros", Content: strings.Repeat("\x00", 8<<20)}}
	for i := range 20 { // 20 MiB that are nothing on the wire
		entries = append(entries, entry{Path: fmt.Sprintf("p/zeros-%02d", i), Content: fmt.Sprint(i) + strings.Repeat("\x00", 1<<20)})
	}
	r.Commit("main", entries...)
	r.Git("config", "pack.window", "0") // looking for deltas would be most of the test
	r.Git("repack", "-adq")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			url := way.serve(r)
			cases := map[string]repository.Limits{
				"has more than 10 files and directories: --max-files": {Files: 10},
				"more than 1 MiB: --max-file-bytes sets another":      {FileBytes: 1 << 20},
				"more than 2 MiB: --max-total-bytes sets another":     {TotalBytes: 2 << 20},
			}
			if strings.Contains(way.name, "plain") { // the others leave q out
				cases["more than 25 MiB: --max-fetch-bytes sets another"] = repository.Limits{FetchBytes: 25 << 20}
			}
			for want, limits := range cases {
				git := newGit(r)
				git.Limits = limits
				_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "p"})
				require.Error(t, err)
				assert.Contains(t, err.Error(), want)
				assert.Less(t, len(err.Error()), 300)
			}
		})
	}
}

// Layers that are a few kilobytes on the wire and gigabytes in the end cost
// neither the time nor the memory of what they say they are.
func TestLayersThatUnpackToTooMuch(t *testing.T) {
	host := serveRegistry(t, nil)
	zeros := strings.Repeat("\x00", 1<<20)
	var large, many []any
	for i := range 32 {
		large = append(large, file(fmt.Sprint("zeros-", i)), zeros)
	}
	for i := range 20_000 {
		many = append(many, file(fmt.Sprintf("f%06d", i)))
	}
	sparse := tar.Header{Typeflag: tar.TypeReg, Name: "sparse", Size: 1 << 40}
	for want, layer := range map[string][]byte{
		"files have more than 16 MiB: --max-total-bytes":              archive(t, large...),
		"has more than 10000 files and directories: --max-files":      archive(t, many...),
		"sparse: too big: 1099511627776 bytes, more than 100 MiB: --": archive(t, sparse, "x"),
	} {
		image := host + "/x:v1"
		pushLayers(t, image, ociLayer{types.OCILayer, zipped(layer)})
		oci := newOCI()
		oci.Limits = repository.Limits{Files: 10_000, TotalBytes: 16 << 20}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := oci.Fetch(t.Context(), repository.OCIRef{Image: image})
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, want)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), want)
	}
}
