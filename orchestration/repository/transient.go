package repository

// IsTransient says whether an error of this package is one that may go away:
// the network or the server failed. A refusal, or something that isn't there,
// stays.
func IsTransient(err error) bool { return err != nil && isTransient(err) }
