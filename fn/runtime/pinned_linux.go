package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pinned copies an executable into memory while it is hashed and returns the
// path at which a child that inherits the file as descriptor 3 executes the
// copy: what runs is what was hashed, whatever happens to the file meanwhile.
func pinned(path, digest string) (copyPath string, f *os.File, err error) {
	src, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer src.Close()
	fd, err := unix.MemfdCreate("stoop-exec", unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("copying %s to memory: %w", path, err)
	}
	f = os.NewFile(uintptr(fd), "stoop-exec")
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), src); err != nil {
		f.Close()
		return "", nil, fmt.Errorf("copying %s to memory: %w", path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		f.Close()
		return "", nil, digestError(path, got, digest)
	}
	return "/proc/self/fd/3", f, nil
}
