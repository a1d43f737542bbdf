package runtime

import (
	"time"

	"golang.org/x/sys/unix"
)

const canLimit = true

// apply sets the limits of a process that has just been started. It gets its
// input only afterwards (see gate): what it does before isn't work on a package.
//
// Memory is RLIMIT_DATA: RLIMIT_AS counts address space, of which Go and Node
// reserve far more than they use. RLIMIT_NPROC counts all processes of the user
// and doesn't bind root. A limit that is lower already stays.
func (l limits) apply(pid int) error {
	for _, r := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, uint64(l.memory)},
		{unix.RLIMIT_CPU, uint64((l.cpu + time.Second - 1) / time.Second)},
		{unix.RLIMIT_NPROC, uint64(l.processes)},
	} {
		if r.most == 0 {
			continue
		}
		var now unix.Rlimit
		err := unix.Prlimit(pid, r.resource, nil, &now)
		if err == nil {
			err = unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: min(r.most, now.Cur), Max: min(r.most, now.Max)}, nil)
		}
		if err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}
