//go:build unix

package repository_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

// history is a repository of packages, each of 20 files, and of commits that
// change one file each, by hand, and are tagged as revisions.
func history(b *testing.B, packages, commits int) *repositorytest.Repo {
	b.Helper()
	var stream strings.Builder
	file := func(p, f, version int) {
		name := fmt.Sprintf("file-%02d.yaml", f)
		if f == 0 {
			name = "Kptfile"
		}
		content := fmt.Sprintf("package: %d\nfile: %d\nversion: %d\n%s", p, f, version, noise(400))
		fmt.Fprintf(&stream, "M 644 inline pkg-%03d/%s\ndata %d\n%s\n", p, name, len(content), content)
	}
	for c := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Ann <ann@example.com> %d +0000\ndata 1\nx\n", 1704164645+c)
		if c == 0 {
			for p := range packages {
				for f := range 20 {
					file(p, f, 0)
				}
			}
		}
		file(c%packages, 1, 1+c/packages)
		fmt.Fprintf(&stream, "\nreset refs/tags/pkg-%03d/v%d\nfrom refs/heads/main\n\n", c%packages, 1+c/packages)
	}
	r := repositorytest.New(b)
	r.Import(stream.String())
	r.Git("gc", "-q")
	return r
}

// cpu is the processor time that this process has taken, without its children.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Listing by a process that knows nothing, by one that finds a cache, and by one
// that has the repository open; with a look at the server, and without.
func BenchmarkListRevisions(b *testing.B) {
	for _, size := range []struct{ packages, commits int }{{50, 200}, {50, 2000}, {500, 200}} {
		git := history(b, size.packages, size.commits)
		url := git.ServeHTTP(append(writable, filtering...), nil)
		full := b.TempDir()
		open(b, openerFor(b, git, full), declared(url, ""))
		measure := func(name string, do func(b *testing.B)) {
			b.Run(fmt.Sprintf("%dx%d/%s", size.packages, size.commits, name), func(b *testing.B) {
				b.ReportAllocs()
				before := cpu(b)
				for b.Loop() {
					do(b)
				}
				b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
			})
		}
		list := func(b *testing.B, r repository.Repository) {
			all, err := r.Revisions(context.Background(), repository.Filter{})
			require.NoError(b, err)
			require.Len(b, all, size.packages+size.commits)
		}
		fresh := func(url string, cache func(*testing.B) string) func(*testing.B) {
			return func(b *testing.B) {
				o := &repository.Opener{Git: newGit(git)}
				if dir := cache(b); dir != "" {
					o.Git.Cache = &repository.Cache{Dir: dir}
				}
				r, err := o.Open(context.Background(), declared(url, ""))
				require.NoError(b, err)
				list(b, r)
				require.NoError(b, o.Close())
			}
		}
		measure("local cold", fresh(git.Dir, func(*testing.B) string { return "" }))
		measure("http cold", fresh(url, func(b *testing.B) string { return b.TempDir() }))
		measure("http cached", fresh(url, func(*testing.B) string { return full }))
		for _, way := range []struct{ name, url string }{{"local", git.Dir}, {"http", url}} {
			r := open(b, openerFor(b, git, full), declared(way.url, ""))
			measure(way.name+" refresh", func(b *testing.B) {
				require.NoError(b, r.Refresh(context.Background()))
				list(b, r)
			})
			if way.name == "local" {
				measure("open", func(b *testing.B) { list(b, r) })
			}
		}
	}
}

// Revisions that are made, proposed and published one after the other in one
// repository on disk: what the first and last of them cost.
func BenchmarkPublish(b *testing.B) {
	const revisions = 1000
	for _, packages := range []int{10, 1000} {
		b.Run(fmt.Sprintf("%d revisions of %d packages", revisions, packages), func(b *testing.B) {
			for b.Loop() {
				git := repositorytest.New(b)
				git.Commit("main", entry{Path: "README.md"})
				r := open(b, openerFor(b, git, ""), declared(git.Dir, ""))
				publish := func(i int) {
					d, err := r.CreateDraft(context.Background(), fmt.Sprintf("team-%d/pkg-%d", i%10, i%packages), fmt.Sprint("ws-", i))
					require.NoError(b, err)
					var all []*kptpkg.File
					for f := range 10 {
						all = append(all, kptpkg.NewFile(fmt.Sprintf("file-%d.yaml", f), kptpkg.Regular, fmt.Appendf(nil, "package: %d\nfile: %d\n%s", i, f, noise(400))))
					}
					tree, err := kptpkg.NewTree(append(all, kptpkg.NewFile("Kptfile", kptpkg.Regular, fmt.Appendf(nil, "revision: %d\n", i)))...)
					require.NoError(b, err)
					require.NoError(b, d.UpdateResources(context.Background(), tree, initTask))
					rev, err := r.CloseDraft(context.Background(), d, repository.Close{Lifecycle: api.Draft})
					require.NoError(b, err)
					move(b, r, move(b, r, rev, api.Proposed), api.Published)
				}
				begun := time.Now()
				beforeAll := cpu(b)
				for i := range revisions {
					if i == 100 {
						b.ReportMetric(time.Since(begun).Seconds()/100*1e3, "first-ms")
						b.ReportMetric(float64(cpu(b)-beforeAll)/100/1e6, "first-cpu-ms")
					}
					if i == revisions-100 {
						last, lastCPU := time.Now(), cpu(b)
						defer func() {
							b.ReportMetric(time.Since(last).Seconds()/100*1e3, "last-ms")
							b.ReportMetric(float64(cpu(b)-lastCPU)/100/1e6, "last-cpu-ms")
						}()
					}
					publish(i)
				}
				b.ReportMetric(revisions/time.Since(begun).Seconds(), "revisions/s")
				all, err := r.Revisions(context.Background(), repository.Filter{Lifecycles: []api.Lifecycle{api.Published}})
				require.NoError(b, err)
				require.Len(b, all, revisions+packages)
			}
		})
	}
}
