package repository

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Limits bound what one fetch may bring. Exceeding one is an error that names
// it; sizes are checked before content is read wherever the repository tells
// them. Zero in a field means its default.
type Limits struct {
	Files      int   // files and directories of a package; default 100,000
	FileBytes  int64 // bytes of one file; default 100 MiB
	TotalBytes int64 // bytes of all files of a package; default 1 GiB
	Depth      int   // nested directories of a package; default 100
	// FetchBytes bounds the memory that the objects of one request to a server
	// take. It matters where the server can't leave files of other packages
	// out; default 2 GiB, or twice TotalBytes where that is more.
	FetchBytes int64
}

func (l Limits) orDefaults() Limits {
	total := cmp.Or(l.TotalBytes, 1<<30)
	return Limits{
		Files:      cmp.Or(l.Files, 100_000),
		FileBytes:  cmp.Or(l.FileBytes, 100<<20),
		TotalBytes: total,
		Depth:      cmp.Or(l.Depth, 100),
		FetchBytes: cmp.Or(l.FetchBytes, max(2<<30, 2*total)),
	}
}

// fetchFlag sets Limits.FetchBytes.
const fetchFlag = "--max-fetch-bytes"

// errTooBig is what would take more memory than permitted.
var errTooBig = errors.New("too big")

func checkSize(n, limit int64) error {
	if n < 0 || n > limit {
		return fmt.Errorf("%w: %d bytes, more than %s", errTooBig, n, size(limit))
	}
	return nil
}

// checkFile checks the size of one file of a package.
func (l Limits) checkFile(n int64, mode kptpkg.Mode) error {
	if mode == kptpkg.Symlink && n > maxLinkTarget {
		return checkSize(n, maxLinkTarget)
	}
	if err := checkSize(n, l.FileBytes); err != nil {
		return fmt.Errorf("%w: --max-file-bytes sets another limit", err)
	}
	return nil
}

// size is a number of bytes as a person reads it.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
