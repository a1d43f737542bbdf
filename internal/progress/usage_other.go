//go:build !unix

package progress

import "time"

// usage is not known here.
func usage() (time.Duration, int64) { return 0, 0 }
