//go:build !linux

package runtime

// canLimit says whether limits can be set; where they can't, Find says so in a
// note.
const canLimit = false

func (limits) apply(int) error { return nil }
