//go:build unix && !linux

package kptdir

import "errors"

func mountTiny(string) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }
