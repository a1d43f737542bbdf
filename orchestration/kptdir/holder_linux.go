package kptdir

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockHolder finds the process that has the lock on f in /proc/locks, whose
// lines read "1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF" with
// the device in hexadecimal. It returns 0 when it isn't there: file systems that
// show stat another device than the kernel's (btrfs), processes of another
// namespace, or the lock was given back meanwhile.
func lockHolder(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	for s := bufio.NewScanner(locks); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) >= 6 && w[1] == "FLOCK" && w[5] == inode {
			pid, _ := strconv.Atoi(w[4])
			return max(pid, 0)
		}
	}
	return 0
}
