//go:build unix

package progress

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what the process has used until now: time of processors, and the most
// memory at once in bytes.
func usage() (time.Duration, int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	rss := int64(u.Maxrss)
	if runtime.GOOS != "darwin" {
		rss *= 1024
	}
	// on Linux the figure above is at least that of the process that started us
	if peak := highWater(); peak > 0 {
		rss = peak
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), rss
}

// highWater is VmHWM of proc_pid_status(5) in bytes, 0 where there is none.
func highWater() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	field := bytes.Fields(rest)
	if len(field) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(string(field[0]), 10, 64)
	return kib * 1024
}
